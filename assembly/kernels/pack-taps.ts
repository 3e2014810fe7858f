/**
 * pack_taps — one place of a convolution's window in the panels that conv_nxc reads.
 *
 *   packed[⌊o/8⌋·panelStride + k·8 + o mod 8] = w[k·depthStride + o·colStride]·factors[o],
 *   0 for columns beyond cols
 *
 * layout    factors [cols] f64, null: 1; w: element (k, o) at k·depthStride + o·colStride; panels
 *           `panelStride` values apart, of which 8·depth are written
 * sizes     depth, cols ≥ 1
 * alias     none
 * align     4 bytes; factors 8
 * numerics  products in f64, rounded once
 */
export function pack_taps_f32(
  w: usize, packed: usize, factors: usize, depth: u32, cols: u32, depthStride: u32, colStride: u32, panelStride: u32,
): void {
  const step = (<usize>depthStride) << 2;
  const across = (<usize>colStride) << 2;
  for (let o: u32 = 0; o < cols; o += 8, packed += (<usize>panelStride) << 2, w += across << 3) {
    const width = min(8, cols - o);
    let p = w;
    let q = packed;
    for (let k: u32 = 0; k < depth; k++, p += step, q += 32) {
      if (across == 4 && width == 8) {
        v128.store(q, times(v128.load(p), factors));
        v128.store(q, times(v128.load(p, 16), factors + (factors ? 32 : 0)), 16);
        continue;
      }
      let from = p;
      let j: u32 = 0;
      for (; j < width; j++, from += across) {
        const value = load<f32>(from);
        store<f32>(q + ((<usize>j) << 2), factors ? <f32>(<f64>value * load<f64>(factors + ((<usize>j) << 3))) : value);
      }
      for (; j < 8; j++) store<f32>(q + ((<usize>j) << 2), 0);
    }
    if (factors) factors += 64;
  }
}

/** Four values times as many factors in f64. */
// @ts-ignore: decorator
@inline
function times(values: v128, factors: usize): v128 {
  if (!factors) return values;
  const low = f64x2.mul(f64x2.promote_low_f32x4(values), v128.load(factors));
  const high = f64x2.mul(f64x2.promote_low_f32x4(v128.shuffle<i64>(values, values, 1, 1)), v128.load(factors, 16));
  return v128.shuffle<i64>(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 2);
}
