import { sideBySide } from '../bands';
import { few, highF64, lowF64, madd, storeTail } from '../lanes';
import { isTrusted, median, pivotNear, varianceOf } from '../moments';
import { BLOCK, flush, reset } from '../row-sums';

/**
 * stats_nxc — mean and variance of each channel, channels innermost.
 *
 *   mean[c] = Σ x[r,c] / m     variance[c] = Σ (x[r,c] − mean[c])² / m     m = rows
 *
 * layout      x [rows, channels] f32, rows `stride` elements apart; mean, variance [channels] f64; pivot [channels] f32 and
 *             lanes [⌈channels/4⌉, 8] f32, overwritten
 * sizes       all ≥ 1; channels need not be a multiple of 4
 * alias       none
 * align       x, pivot and lanes 4 bytes, mean and variance 8
 * accumulate  differences from pivot ≈ mean in f32: single rows, or four by pairs (bands.ts), in order; blocks of 32 rows in f64, in order.
 *             Again in f64 around the mean where moments.ts says so. The order depends on rows and stride alone.
 * numerics    as stats_ncx
 * traffic     4 bytes per element
 */
export function stats_nxc_f32(
  x: usize, pivot: usize, lanes: usize, mean: usize, variance: usize, rows: u32, channels: u32, stride: u32,
): void {
  const row = (<usize>stride) << 2;
  const together = sideBySide(rows, stride);
  setPivots(x, pivot, row, rows, channels);
  reset(lanes, mean, variance, channels);
  let p = x;
  for (let left = rows; left; ) {
    const size = min(left, BLOCK);
    left -= size;
    let n: u32 = 0;
    for (; together && n + 4 <= size; n += 4, p += row << 2) four(p, row, pivot, lanes, channels);
    for (; n < size; n++, p += row) one(p, pivot, lanes, channels);
    flush(lanes, mean, variance, channels);
  }
  for (let c: u32 = 0; c < channels; c += 4) finish4(x, row, rows, c, min(4, channels - c), pivot, mean, variance);
}

/** Adds four rows to the accumulators. */
// @ts-ignore: decorator
@inline
function four(x: usize, row: usize, pivot: usize, lanes: usize, channels: u32): void {
  const x1 = x + row;
  const x2 = x1 + row;
  const x3 = x2 + row;
  let c: usize = 0;
  for (const end = (<usize>channels & ~7) << 2; c < end; c += 32) {
    const h = v128.load(pivot + c, 0);
    const d0 = f32x4.sub(v128.load(x + c, 0), h);
    const d1 = f32x4.sub(v128.load(x1 + c, 0), h);
    const d2 = f32x4.sub(v128.load(x2 + c, 0), h);
    const d3 = f32x4.sub(v128.load(x3 + c, 0), h);
    const at = lanes + (c << 1);
    v128.store(at, f32x4.add(v128.load(at, 0), sumOf(d0, d1, d2, d3)), 0);
    v128.store(at, f32x4.add(v128.load(at, 16), squaresOf(d0, d1, d2, d3)), 16);
    const k = v128.load(pivot + c, 16);
    const e0 = f32x4.sub(v128.load(x + c, 16), k);
    const e1 = f32x4.sub(v128.load(x1 + c, 16), k);
    const e2 = f32x4.sub(v128.load(x2 + c, 16), k);
    const e3 = f32x4.sub(v128.load(x3 + c, 16), k);
    v128.store(at, f32x4.add(v128.load(at, 32), sumOf(e0, e1, e2, e3)), 32);
    v128.store(at, f32x4.add(v128.load(at, 48), squaresOf(e0, e1, e2, e3)), 48);
  }
  for (; c < (<usize>channels) << 2; c += 16) {
    const count = <u32>min<usize>((((<usize>channels) << 2) - c) >> 2, 4);
    const h = few(pivot + c, count);
    const d0 = f32x4.sub(few(x + c, count), h);
    const d1 = f32x4.sub(few(x1 + c, count), h);
    const d2 = f32x4.sub(few(x2 + c, count), h);
    const d3 = f32x4.sub(few(x3 + c, count), h);
    const at = lanes + (c << 1);
    v128.store(at, f32x4.add(v128.load(at, 0), sumOf(d0, d1, d2, d3)), 0);
    v128.store(at, f32x4.add(v128.load(at, 16), squaresOf(d0, d1, d2, d3)), 16);
  }
}

// @ts-ignore: decorator
@inline
function sumOf(a: v128, b: v128, c: v128, d: v128): v128 {
  return f32x4.add(f32x4.add(a, b), f32x4.add(c, d));
}

// @ts-ignore: decorator
@inline
function squaresOf(a: v128, b: v128, c: v128, d: v128): v128 {
  return f32x4.add(madd(b, b, f32x4.mul(a, a)), madd(d, d, f32x4.mul(c, c)));
}

/** Adds one row to the accumulators. */
// @ts-ignore: decorator
@inline
function one(x: usize, pivot: usize, lanes: usize, channels: u32): void {
  for (const end = x + ((<usize>channels & ~3) << 2); x < end; x += 16, pivot += 16, lanes += 32) accumulate(x, pivot, lanes, 4);
  if (channels & 3) accumulate(x, pivot, lanes, channels & 3);
}

// @ts-ignore: decorator
@inline
function accumulate(x: usize, pivot: usize, lanes: usize, count: u32): void {
  const d = f32x4.sub(few(x, count), few(pivot, count));
  v128.store(lanes, f32x4.add(v128.load(lanes, 0), d), 0);
  v128.store(lanes, madd(d, d, v128.load(lanes, 16)), 16);
}

/** A middle value of each channel: of nine rows spread over all (of three, if there are not nine), the median of the medians of three. */
function setPivots(x: usize, pivot: usize, row: usize, rows: u32, channels: u32): void {
  const samples: u32 = rows >= 9 ? 9 : rows >= 3 ? 3 : 1;
  const step = <usize>(rows / samples) * row;
  for (let c: u32 = 0; c < channels; c += 4) {
    const lanes = min(4, channels - c);
    const p = x + ((<usize>c) << 2);
    let v = few(p, lanes);
    if (samples >= 3) v = median(v, few(p + step, lanes), few(p + 2 * step, lanes));
    if (samples == 9) {
      const second = median(few(p + 3 * step, lanes), few(p + 4 * step, lanes), few(p + 5 * step, lanes));
      v = median(v, second, median(few(p + 6 * step, lanes), few(p + 7 * step, lanes), few(p + 8 * step, lanes)));
    }
    const at = pivot + ((<usize>c) << 2);
    if (lanes == 4) v128.store(at, v);
    else storeTail(at, v, lanes);
  }
}

/** Turns the sums of up to four channels into statistics; a channel that asks for it is read again in f64, and changes no other. */
function finish4(x: usize, row: usize, rows: u32, c: u32, lanes: u32, pivot: usize, mean: usize, variance: usize): void {
  const count = <f64>rows;
  let again: u32 = 0;
  for (let i: u32 = 0; i < lanes; i++) {
    const at = (<usize>(c + i)) << 3;
    const h = <f64>load<f32>(pivot + ((<usize>(c + i)) << 2));
    const shift = load<f64>(mean + at) / count;
    const square = load<f64>(variance + at) / count;
    if (isTrusted(shift, square)) {
      store<f64>(mean + at, h + shift);
      store<f64>(variance + at, varianceOf(shift, square));
    } else {
      store<f64>(mean + at, pivotNear(h, shift));
      again |= 1 << i;
    }
  }
  if (again) exact4(x + ((<usize>c) << 2), row, rows, lanes, again, mean + ((<usize>c) << 3), variance + ((<usize>c) << 3));
}

/** Up to four channels in f64, around the pivots in `mean`; writes those whose bit in `wanted` is set. */
function exact4(x: usize, row: usize, rows: u32, lanes: u32, wanted: u32, mean: usize, variance: usize): void {
  let h0 = f64x2.splat(load<f64>(mean));
  let h1 = f64x2.splat(0);
  if (lanes > 1) h0 = f64x2.replace_lane(h0, 1, load<f64>(mean, 8));
  if (lanes > 2) h1 = f64x2.replace_lane(h1, 0, load<f64>(mean, 16));
  if (lanes > 3) h1 = f64x2.replace_lane(h1, 1, load<f64>(mean, 24));
  let s0 = f64x2.splat(0);
  let s1 = f64x2.splat(0);
  let q0 = f64x2.splat(0);
  let q1 = f64x2.splat(0);
  for (let n: u32 = 0; n < rows; n++, x += row) {
    const v = few(x, lanes);
    const d0 = f64x2.sub(lowF64(v), h0);
    const d1 = f64x2.sub(highF64(v), h1);
    s0 = f64x2.add(s0, d0);
    s1 = f64x2.add(s1, d1);
    q0 = f64x2.add(q0, f64x2.mul(d0, d0));
    q1 = f64x2.add(q1, f64x2.mul(d1, d1));
  }
  const count = <f64>rows;
  for (let i: u32 = 0; i < lanes; i++) {
    if (!(wanted & (1 << i))) continue;
    const s = i < 2 ? s0 : s1;
    const q = i < 2 ? q0 : q1;
    const shift = ((i & 1) == 0 ? f64x2.extract_lane(s, 0) : f64x2.extract_lane(s, 1)) / count;
    const square = ((i & 1) == 0 ? f64x2.extract_lane(q, 0) : f64x2.extract_lane(q, 1)) / count;
    const at = (<usize>i) << 3;
    store<f64>(mean + at, load<f64>(mean + at) + shift);
    store<f64>(variance + at, varianceOf(shift, square));
  }
}
