import { few, madd, storeFew } from '../lanes';

/** Pixels that all channels take before the next ones come: what they read stays in L1 and L2. */
// @ts-ignore: decorator
@inline const BAND: u32 = 64;

/**
 * depthwise_nxc — convolution of each channel by itself, channels innermost.
 *
 *   y[to[t] + c] = clamp(Σᵣ x[at[t] + taps[r] + c]·w[r, c] + bias[c]
 *                        + residual[to[t] + c], low, high)
 *
 * layout      at, to, taps, bias, residual, reach, span as in conv_nxc; w [runs, cols], cols the
 *             channels
 * sizes       count, cols ≥ 1; runs ≥ 0
 * alias       y may be residual; no other overlap. Pixels lie apart in y
 * align       4 bytes required, 16 preferred
 * accumulate  f32, in order of r: a pixel's result does not depend on the pixels beside it
 * numerics    a NaN passes the clamp
 * traffic     2·count·runs·cols flops; tiles of 4 pixels × 8 channels
 */
export function depthwise_nxc_f32(
  x: usize, w: usize, bias: usize, residual: usize, y: usize, at: usize, to: usize, taps: usize,
  low: f32, high: f32, count: u32, runs: u32, cols: u32, reach: u32, span: u32,
): void {
  const least = f32x4.splat(low);
  const most = f32x4.splat(high);
  const onto = residual ? (residual - y) | 1 : 0;
  for (let first: u32 = 0; first < count; first += BAND) {
    const n = min(BAND, count - first);
    const from = at + ((<usize>first) << 2);
    const into = to + ((<usize>first) << 2);
    for (let c: u32 = 0; c < cols; c += 8) {
      const byte = (<usize>c) << 2;
      const width = min(8, cols - c);
      const b = bias ? bias + byte : 0;
      if (width == 8) {
        for (let t: u32 = 0; t < n; t += 4) {
          const i = (<usize>t) << 2;
          tile(x + byte, w + byte, b, y + byte, from + i, into + i, taps, onto, least, most, runs, min(4, n - t), (<usize>cols) << 2);
        }
      } else {
        for (let t: u32 = 0; t < n; t++) {
          const i = (<usize>t) << 2;
          tail(x + byte, w + byte, b, y + byte, from + i, into + i, taps, onto, least, most, runs, width, (<usize>cols) << 2);
        }
      }
    }
  }
}

// @ts-ignore: decorator
@inline
function place(array: usize, table: usize): usize {
  return array + ((<usize>load<u32>(table)) << 2);
}

/** Up to four pixels × eight channels; fewer repeat the last one, and store nothing for it. */
function tile(
  x: usize, w: usize, bias: usize, y: usize, at: usize, to: usize, taps: usize, onto: usize,
  least: v128, most: v128, runs: u32, n: u32, stride: usize,
): void {
  const p0 = place(x, at);
  const p1 = place(x, at + (min(1, n - 1) << 2));
  const p2 = place(x, at + (min(2, n - 1) << 2));
  const p3 = place(x, at + ((n - 1) << 2));
  let a0 = f32x4.splat(0);
  let a1 = f32x4.splat(0);
  let b0 = f32x4.splat(0);
  let b1 = f32x4.splat(0);
  let c0 = f32x4.splat(0);
  let c1 = f32x4.splat(0);
  let d0 = f32x4.splat(0);
  let d1 = f32x4.splat(0);
  for (const end = taps + ((<usize>runs) << 2); taps < end; taps += 4, w += stride) {
    const tap = (<usize>load<u32>(taps)) << 2;
    const w0 = v128.load(w);
    const w1 = v128.load(w, 16);
    a0 = madd(v128.load(p0 + tap), w0, a0);
    a1 = madd(v128.load(p0 + tap, 16), w1, a1);
    b0 = madd(v128.load(p1 + tap), w0, b0);
    b1 = madd(v128.load(p1 + tap, 16), w1, b1);
    c0 = madd(v128.load(p2 + tap), w0, c0);
    c1 = madd(v128.load(p2 + tap, 16), w1, c1);
    d0 = madd(v128.load(p3 + tap), w0, d0);
    d1 = madd(v128.load(p3 + tap, 16), w1, d1);
  }
  emit(place(y, to), a0, a1, bias, onto, least, most, 8);
  if (n > 1) emit(place(y, to + 4), b0, b1, bias, onto, least, most, 8);
  if (n > 2) emit(place(y, to + 8), c0, c1, bias, onto, least, most, 8);
  if (n > 3) emit(place(y, to + 12), d0, d1, bias, onto, least, most, 8);
}

/** One pixel × fewer than eight channels. */
function tail(
  x: usize, w: usize, bias: usize, y: usize, at: usize, to: usize, taps: usize, onto: usize,
  least: v128, most: v128, runs: u32, width: u32, stride: usize,
): void {
  const p = place(x, at);
  let v0 = f32x4.splat(0);
  let v1 = f32x4.splat(0);
  const n = min(4, width);
  for (const end = taps + ((<usize>runs) << 2); taps < end; taps += 4, w += stride) {
    const q = place(p, taps);
    v0 = madd(few(q, n), few(w, n), v0);
    if (width > 4) v1 = madd(few(q + 16, width - 4), few(w + 16, width - 4), v1);
  }
  emit(place(y, to), v0, v1, bias, onto, least, most, width);
}

/**
 * Stores up to eight sums, plus bias and residual, clamped. `onto`: bytes from the output to the
 * residual, plus 1; 0: none.
 */
// @ts-ignore: decorator
@inline
function emit(y: usize, v0: v128, v1: v128, bias: usize, onto: usize, least: v128, most: v128, width: u32): void {
  if (width == 8) {
    if (bias) {
      v0 = f32x4.add(v0, v128.load(bias));
      v1 = f32x4.add(v1, v128.load(bias, 16));
    }
    if (onto) {
      const r = y + (onto & ~3);
      v0 = f32x4.add(v0, v128.load(r));
      v1 = f32x4.add(v1, v128.load(r, 16));
    }
    v128.store(y, f32x4.pmin(f32x4.pmax(v0, least), most));
    v128.store(y, f32x4.pmin(f32x4.pmax(v1, least), most), 16);
  } else emitFew(y, v0, v1, bias, onto, least, most, width);
}

/** The same for fewer than eight. */
function emitFew(y: usize, v0: v128, v1: v128, bias: usize, onto: usize, least: v128, most: v128, width: u32): void {
  if (bias) {
    v0 = f32x4.add(v0, few(bias, min(4, width)));
    if (width > 4) v1 = f32x4.add(v1, few(bias + 16, width - 4));
  }
  if (onto) {
    const r = y + (onto & ~3);
    v0 = f32x4.add(v0, few(r, min(4, width)));
    if (width > 4) v1 = f32x4.add(v1, few(r + 16, width - 4));
  }
  storeFew(y, f32x4.pmin(f32x4.pmax(v0, least), most), min(4, width));
  if (width > 4) storeFew(y + 16, f32x4.pmin(f32x4.pmax(v1, least), most), width - 4);
}
