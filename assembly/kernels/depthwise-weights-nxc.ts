import { few, madd, storeFew } from '../lanes';

/**
 * Pixels between two sums: their values stay in L1 and L2 for every tap, and no f32 sum has more
 * terms.
 */
// @ts-ignore: decorator
@inline const BLOCK: u32 = 128;

/**
 * depthwise_weights_nxc — gradient with respect to the weights of a depthwise convolution.
 *
 *   dw[r, c] = Σₜ x[at[t] + taps[r] + c]·dy[to[t] + c]
 *
 * layout      at, to, taps, reach, span as in conv_nxc; dw [runs, cols], cols the channels
 * sizes       all ≥ 1
 * alias       none
 * align       4 bytes required, 16 preferred
 * accumulate  f32: 128 pixels in order, and the sums of these in order
 * traffic     2·count·runs·cols flops; tiles of 4 taps × 4 channels
 */
export function depthwise_weights_nxc_f32(
  x: usize, dy: usize, at: usize, to: usize, taps: usize, dw: usize,
  count: u32, runs: u32, cols: u32, reach: u32, span: u32,
): void {
  const stride = (<usize>cols) << 2;
  memory.fill(dw, 0, stride * runs);
  for (let first: u32 = 0; first < count; first += BLOCK) {
    const n = min(BLOCK, count - first);
    const from = at + ((<usize>first) << 2);
    const given = to + ((<usize>first) << 2);
    for (let c: u32 = 0; c < cols; c += 4) {
      const byte = (<usize>c) << 2;
      const width = min(4, cols - c);
      for (let r: u32 = 0; r < runs; r += 4) {
        const w = dw + (<usize>r) * stride + byte;
        tile(x + byte, dy + byte, from, given, taps + ((<usize>r) << 2), w, n, min(4, runs - r), width, stride);
      }
    }
  }
}

/** Up to four taps × four channels; fewer taps repeat the first one, and add nothing for it. */
function tile(
  x: usize, dy: usize, at: usize, to: usize, taps: usize, w: usize, n: u32, rest: u32, width: u32, stride: usize,
): void {
  const t0 = x + ((<usize>load<u32>(taps)) << 2);
  const t1 = rest > 1 ? x + ((<usize>load<u32>(taps, 4)) << 2) : t0;
  const t2 = rest > 2 ? x + ((<usize>load<u32>(taps, 8)) << 2) : t0;
  const t3 = rest > 3 ? x + ((<usize>load<u32>(taps, 12)) << 2) : t0;
  let a = f32x4.splat(0);
  let b = f32x4.splat(0);
  let c = f32x4.splat(0);
  let d = f32x4.splat(0);
  const end = at + ((<usize>n) << 2);
  if (width == 4) {
    for (; at < end; at += 4, to += 4) {
      const p = (<usize>load<u32>(at)) << 2;
      const g = v128.load(dy + ((<usize>load<u32>(to)) << 2));
      a = madd(v128.load(t0 + p), g, a);
      b = madd(v128.load(t1 + p), g, b);
      c = madd(v128.load(t2 + p), g, c);
      d = madd(v128.load(t3 + p), g, d);
    }
  } else {
    for (; at < end; at += 4, to += 4) {
      const p = (<usize>load<u32>(at)) << 2;
      const g = few(dy + ((<usize>load<u32>(to)) << 2), width);
      a = madd(few(t0 + p, width), g, a);
      b = madd(few(t1 + p, width), g, b);
      c = madd(few(t2 + p, width), g, c);
      d = madd(few(t3 + p, width), g, d);
    }
  }
  add(w, a, width);
  if (rest > 1) add(w + stride, b, width);
  if (rest > 2) add(w + 2 * stride, c, width);
  if (rest > 3) add(w + 3 * stride, d, width);
}

// @ts-ignore: decorator
@inline
function add(w: usize, v: v128, width: u32): void {
  storeFew(w, f32x4.add(few(w, width), v), width);
}
