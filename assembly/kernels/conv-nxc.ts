import { few, madd, storeFew } from '../lanes';

/** Pixels that every panel takes before the next ones come: what they read stays in L2. */
// @ts-ignore: decorator
@inline const BAND: u32 = 512;

/**
 * conv_nxc — convolution of padded pixels with channels innermost, as packed products without a
 * copy of the windows.
 *
 *   y[to[t] + o] = clamp(Σᵣ Σⱼ x[at[t] + taps[r] + j]·w[r·run + j, o] + bias[o]
 *                        + residual[to[t] + o], low, high)
 *
 * layout      at, to [count] u32: where the window of each output pixel begins in x, and where the
 *             pixel lies in y, in values; taps [runs] u32: where each run of the window lies behind
 *             its beginning; packed: w [runs·run, cols] in panels of 8 columns, as `pack_taps`
 *             writes them; bias [cols] f32 or 0; residual laid out as y, or 0. reach, span: values
 *             of x and of y, all that tables may point to
 * sizes       count, cols ≥ 1; runs, run ≥ 0
 * alias       y may be residual; no other overlap. Pixels lie apart in y
 * align       4 bytes required, 16 preferred
 * accumulate  f32, in order of r and j: a pixel's result does not depend on the pixels beside it
 * numerics    a NaN passes the clamp
 * traffic     2·count·runs·run·cols flops; tiles of 4 pixels × 8 columns, one splat per pixel and
 *             step
 */
export function conv_nxc_f32(
  x: usize, packed: usize, bias: usize, residual: usize, y: usize, at: usize, to: usize, taps: usize,
  low: f32, high: f32, count: u32, runs: u32, run: u32, cols: u32, reach: u32, span: u32,
): void {
  const panel = (<usize>(runs * run)) << 5;
  const least = f32x4.splat(low);
  const most = f32x4.splat(high);
  // a multiple of 4: the lowest bit says that there is one
  const onto = residual ? (residual - y) | 1 : 0;
  for (let first: u32 = 0; first < count; first += BAND) {
    const last = min(first + BAND, count);
    let w = packed;
    for (let o: u32 = 0; o < cols; o += 8, w += panel) {
      const width = min(8, cols - o);
      const out = y + ((<usize>o) << 2);
      const b = bias ? bias + ((<usize>o) << 2) : 0;
      for (let t = first; t < last; t += 4) {
        const n = min(4, last - t);
        const from = at + ((<usize>t) << 2);
        const into = to + ((<usize>t) << 2);
        if (n == 4 && width == 8) tile(x, from, w, taps, b, out, into, onto, least, most, runs, run, 8, 4);
        else if (n == 1) single(x, from, w, taps, b, out, into, onto, least, most, runs, run, width);
        else part(x, from, w, taps, b, out, into, onto, least, most, runs, run, width, n);
      }
    }
  }
}

/** The address of value `load(table)` of an array. */
// @ts-ignore: decorator
@inline
function place(array: usize, table: usize): usize {
  return array + ((<usize>load<u32>(table)) << 2);
}

/**
 * Two to four pixels × one panel; fewer than four repeat the last one, and store nothing for it.
 * Inlined, as a call of so many arguments keeps some of them in memory throughout the loop: whole
 * tiles of the fixed build are a tenth faster (1×1, 384 → 96 channels, 14²: 45.7 GFLOP/s, 41.4
 * before).
 */
// @ts-ignore: decorator
@inline
function tile(
  x: usize, at: usize, w: usize, taps: usize, bias: usize, y: usize, to: usize, onto: usize,
  least: v128, most: v128, runs: u32, run: u32, width: u32, n: u32,
): void {
  const p0 = place(x, at);
  const p1 = place(x, at + 4);
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
  const bytes = (<usize>run) << 2;
  for (const end = taps + ((<usize>runs) << 2); taps < end; taps += 4) {
    let x0 = place(p0, taps);
    let x1 = place(p1, taps);
    let x2 = place(p2, taps);
    let x3 = place(p3, taps);
    for (const until = x0 + bytes; x0 < until; ) {
      const w0 = v128.load(w, 0);
      const w1 = v128.load(w, 16);
      const v0 = v128.load32_splat(x0);
      a0 = madd(v0, w0, a0);
      a1 = madd(v0, w1, a1);
      const v1 = v128.load32_splat(x1);
      b0 = madd(v1, w0, b0);
      b1 = madd(v1, w1, b1);
      const v2 = v128.load32_splat(x2);
      c0 = madd(v2, w0, c0);
      c1 = madd(v2, w1, c1);
      const v3 = v128.load32_splat(x3);
      d0 = madd(v3, w0, d0);
      d1 = madd(v3, w1, d1);
      x0 += 4;
      x1 += 4;
      x2 += 4;
      x3 += 4;
      w += 32;
    }
  }
  emit(place(y, to), a0, a1, bias, onto, least, most, width);
  emit(place(y, to + 4), b0, b1, bias, onto, least, most, width);
  if (n > 2) emit(place(y, to + 8), c0, c1, bias, onto, least, most, width);
  if (n > 3) emit(place(y, to + 12), d0, d1, bias, onto, least, most, width);
}

/** The same for what is left over of pixels, and of columns. */
function part(
  x: usize, at: usize, w: usize, taps: usize, bias: usize, y: usize, to: usize, onto: usize,
  least: v128, most: v128, runs: u32, run: u32, width: u32, n: u32,
): void {
  tile(x, at, w, taps, bias, y, to, onto, least, most, runs, run, width, n);
}

/** One pixel × one panel. */
function single(
  x: usize, at: usize, w: usize, taps: usize, bias: usize, y: usize, to: usize, onto: usize,
  least: v128, most: v128, runs: u32, run: u32, width: u32,
): void {
  const p = place(x, at);
  let a0 = f32x4.splat(0);
  let a1 = f32x4.splat(0);
  const bytes = (<usize>run) << 2;
  for (const end = taps + ((<usize>runs) << 2); taps < end; taps += 4) {
    let x0 = place(p, taps);
    for (const until = x0 + bytes; x0 < until; x0 += 4, w += 32) {
      const v = v128.load32_splat(x0);
      a0 = madd(v, v128.load(w, 0), a0);
      a1 = madd(v, v128.load(w, 16), a1);
    }
  }
  emit(place(y, to), a0, a1, bias, onto, least, most, width);
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
