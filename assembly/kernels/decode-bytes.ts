/**
 * decode_bytes — numbers of a byte each as the values that they stand for.
 *
 *   y[i] = b[i]·scale + min
 *
 * layout    y [count] f32, in the last quarter of whose memory b [count] lies before
 * sizes     any
 * alias     in place
 * align     4 bytes required, 16 preferred
 * numerics  in f64, rounded once
 * traffic   5 bytes per value
 */
export function decode_bytes_f32(y: usize, scale: f64, min: f64, count: u32): void {
  const scales = f64x2.splat(scale);
  const mins = f64x2.splat(min);
  const end = y + ((<usize>count) << 2);
  let b = y + (<usize>count) * 3;
  for (; y + 16 <= end; y += 16, b += 4) {
    const codes = v128.extend_low<u16>(v128.extend_low<u8>(v128.load32_zero(b)));
    const low = f64x2.add(f64x2.mul(f64x2.convert_low_i32x4_u(codes), scales), mins);
    const above = v128.shuffle<i64>(codes, codes, 1, 1);
    const high = f64x2.add(f64x2.mul(f64x2.convert_low_i32x4_u(above), scales), mins);
    v128.store(y, v128.shuffle<i64>(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 2));
  }
  for (; y < end; y += 4, b++) store<f32>(y, <f32>(<f64>load<u8>(b) * scale + min));
}
