/**
 * byte_sums — what a file's checksum is made of, over the bytes of values.
 *
 *   totals[0] = Σᵢ b[i] mod 2³²     totals[1] = Σᵢ (n − i)·b[i] mod 2³²     n = 4·size bytes
 *
 * layout      x [size] f32, of which only the bits count; totals [2] f64
 * sizes       any
 * alias       none
 * align       4 bytes
 * accumulate  u32, exact
 * traffic     4 bytes per value
 */
export function byte_sums_f32(x: usize, totals: usize, size: u32): void {
  let bytes = i32x4.splat(0); // their sums so far
  let before = i32x4.splat(0); // those sums, once for each vector behind them
  let within = i32x4.splat(0); // by their places in a vector
  for (; size >= 4; size -= 4, x += 16) {
    const v = v128.load(x);
    const low = v128.extend_low<u8>(v);
    const high = v128.extend_high<u8>(v);
    before = i32x4.add(before, bytes);
    within = i32x4.add(within, v128.dot<i16>(low, i16x8(16, 15, 14, 13, 12, 11, 10, 9)));
    within = i32x4.add(within, v128.dot<i16>(high, i16x8(8, 7, 6, 5, 4, 3, 2, 1)));
    bytes = i32x4.add(bytes, v128.extadd_pairwise<u16>(i16x8.add(low, high)));
  }
  let sum = sumOf(bytes);
  let weighted: u32 = 16 * sumOf(before) + sumOf(within);
  for (let left = size << 2; left; left--, x++) {
    sum += load<u8>(x);
    weighted += sum;
  }
  store<f64>(totals, <f64>sum);
  store<f64>(totals, <f64>weighted, 8);
}

// @ts-ignore: decorator
@inline
function sumOf(v: v128): u32 {
  return v128.extract_lane<u32>(v, 0) + v128.extract_lane<u32>(v, 1) + v128.extract_lane<u32>(v, 2) + v128.extract_lane<u32>(v, 3);
}
