import { highF64, loadTail, lowF64, madd, storeTail } from '../lanes';
import { isTrusted, median, pivotNear, varianceOf } from '../moments';

/** Rows summed in f32 before they join the f64 sums. */
// @ts-ignore: decorator
@inline const BLOCK: u32 = 32;

/**
 * stats_nxc — mean and variance of each channel, channels innermost.
 *
 *   mean[c] = Σ x[r,c] / m     variance[c] = Σ (x[r,c] − mean[c])² / m     m = rows
 *
 * layout      x [rows, channels] f32, rows `stride` elements apart; mean, variance [channels] f64; pivot [channels] f32, overwritten
 * sizes       all ≥ 1; channels need not be a multiple of 4
 * alias       none
 * align       x and pivot 4 bytes, mean and variance 8
 * accumulate  differences from pivot ≈ mean in f32 over 32 rows; blocks in f64, in order. Again in f64 around the mean where
 *             moments.ts says so. The order depends on rows alone.
 * numerics    as stats_ncx
 * traffic     4 bytes per element
 */
export function stats_nxc_f32(
  x: usize, pivot: usize, mean: usize, variance: usize, rows: u32, channels: u32, stride: u32,
): void {
  const row = (<usize>stride) << 2;
  const rest = channels & 3;

  setPivots(x, pivot, row, rows, channels);
  memory.fill(mean, 0, (<usize>channels) << 3);
  memory.fill(variance, 0, (<usize>channels) << 3);

  for (let first: u32 = 0; first < rows; first += BLOCK) {
    const p = x + (<usize>first) * row;
    const end = p + (<usize>min(BLOCK, rows - first)) * row;
    let c: u32 = 0;
    for (; c + 16 <= channels; c += 16) sum16(p, end, row, c, pivot, mean, variance);
    for (; c + 4 <= channels; c += 4) sum4(p, end, row, c, pivot, mean, variance);
    if (rest) sumRest(p, end, row, c, rest, pivot, mean, variance);
  }

  for (let c: u32 = 0; c < channels; c += 4) finish4(x, row, rows, c, min(4, channels - c), pivot, mean, variance);
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

// @ts-ignore: decorator
@inline
function few(p: usize, lanes: u32): v128 {
  return lanes == 4 ? v128.load(p) : loadTail(p, lanes);
}

/** Adds the four lanes to four f64 sums. */
// @ts-ignore: decorator
@inline
function addF64(at: usize, v: v128): void {
  v128.store(at, f64x2.add(v128.load(at), lowF64(v)), 0);
  v128.store(at, f64x2.add(v128.load(at, 16), highF64(v)), 16);
}

/** Σd and Σd² of 16 channels (one cache line of each row) over one block. */
function sum16(p: usize, end: usize, row: usize, c: u32, pivot: usize, sum: usize, square: usize): void {
  const h = pivot + ((<usize>c) << 2);
  const h0 = v128.load(h, 0);
  const h1 = v128.load(h, 16);
  const h2 = v128.load(h, 32);
  const h3 = v128.load(h, 48);
  let a0 = f32x4.splat(0);
  let a1 = f32x4.splat(0);
  let a2 = f32x4.splat(0);
  let a3 = f32x4.splat(0);
  let b0 = f32x4.splat(0);
  let b1 = f32x4.splat(0);
  let b2 = f32x4.splat(0);
  let b3 = f32x4.splat(0);
  const offset = (<usize>c) << 2;
  for (let q = p + offset, stop = end + offset; q < stop; q += row) {
    const d0 = f32x4.sub(v128.load(q, 0), h0);
    a0 = f32x4.add(a0, d0);
    b0 = madd(d0, d0, b0);
    const d1 = f32x4.sub(v128.load(q, 16), h1);
    a1 = f32x4.add(a1, d1);
    b1 = madd(d1, d1, b1);
    const d2 = f32x4.sub(v128.load(q, 32), h2);
    a2 = f32x4.add(a2, d2);
    b2 = madd(d2, d2, b2);
    const d3 = f32x4.sub(v128.load(q, 48), h3);
    a3 = f32x4.add(a3, d3);
    b3 = madd(d3, d3, b3);
  }
  const s = sum + ((<usize>c) << 3);
  addF64(s, a0);
  addF64(s + 32, a1);
  addF64(s + 64, a2);
  addF64(s + 96, a3);
  const t = square + ((<usize>c) << 3);
  addF64(t, b0);
  addF64(t + 32, b1);
  addF64(t + 64, b2);
  addF64(t + 96, b3);
}

function sum4(p: usize, end: usize, row: usize, c: u32, pivot: usize, sum: usize, square: usize): void {
  const offset = (<usize>c) << 2;
  const h = v128.load(pivot + offset);
  let a = f32x4.splat(0);
  let b = f32x4.splat(0);
  for (let q = p + offset, stop = end + offset; q < stop; q += row) {
    const d = f32x4.sub(v128.load(q), h);
    a = f32x4.add(a, d);
    b = madd(d, d, b);
  }
  addF64(sum + ((<usize>c) << 3), a);
  addF64(square + ((<usize>c) << 3), b);
}

function sumRest(p: usize, end: usize, row: usize, c: u32, rest: u32, pivot: usize, sum: usize, square: usize): void {
  const offset = (<usize>c) << 2;
  const h = loadTail(pivot + offset, rest);
  let a = f32x4.splat(0);
  let b = f32x4.splat(0);
  for (let q = p + offset, stop = end + offset; q < stop; q += row) {
    const d = f32x4.sub(loadTail(q, rest), h);
    a = f32x4.add(a, d);
    b = madd(d, d, b);
  }
  addRest(sum + ((<usize>c) << 3), a, rest);
  addRest(square + ((<usize>c) << 3), b, rest);
}

function addRest(at: usize, v: v128, rest: u32): void {
  store<f64>(at, load<f64>(at) + <f64>f32x4.extract_lane(v, 0));
  if (rest > 1) store<f64>(at, load<f64>(at, 8) + <f64>f32x4.extract_lane(v, 1), 8);
  if (rest > 2) store<f64>(at, load<f64>(at, 16) + <f64>f32x4.extract_lane(v, 2), 16);
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
