import { loadTail, storeTail } from '../lanes';

/**
 * dropout — inverted dropout whose mask is a function of seed and position, so that forward and
 * backward need not store it.
 *
 *   y[i] = hash(seed, i) < threshold ? x[i]·scale : 0
 *
 * layout    x, y [size] f32
 * sizes     any
 * alias     y may be x; no other overlap
 * align     4 bytes required, 16 preferred
 * numerics  one multiplication; values are selected, so a dropped NaN is 0. hash: two rounds of
 *           multiply and xor-shift over 32 bits
 * traffic   8 bytes per element
 */
export function dropout_f32(x: usize, y: usize, seed: u32, threshold: u32, scale: f32, size: u32): void {
  const k = f32x4.splat(scale);
  const limit = i32x4.splat(threshold);
  const s = i32x4.splat(seed);
  const four = i32x4.splat(4);
  let index = i32x4(0, 1, 2, 3);
  const end = x + ((<usize>size & ~3) << 2);
  for (; x < end; x += 16, y += 16) {
    const keep = i32x4.lt_u(hash(index, s), limit);
    v128.store(y, v128.and(f32x4.mul(v128.load(x), k), keep));
    index = i32x4.add(index, four);
  }
  const rest = size & 3;
  if (rest) storeTail(y, v128.and(f32x4.mul(loadTail(x, rest), k), i32x4.lt_u(hash(index, s), limit)), rest);
}

// @ts-ignore: decorator
@inline
function hash(index: v128, seed: v128): v128 {
  let h = v128.xor(i32x4.mul(index, i32x4.splat(0x9e3779b1)), seed);
  h = v128.xor(h, i32x4.shr_u(h, 16));
  h = i32x4.mul(h, i32x4.splat(0x21f0aaad));
  h = v128.xor(h, i32x4.shr_u(h, 15));
  h = i32x4.mul(h, i32x4.splat(0x735a2d97));
  return v128.xor(h, i32x4.shr_u(h, 15));
}
