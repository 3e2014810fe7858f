import { few, highF64, lowF64 } from '../lanes';
import { isTrusted, pivotNear, varianceOf } from '../moments';
import { total } from '../row-sums';

/**
 * moments_nxc — mean and variance of each channel from the sums of its segments, channels
 * innermost.
 *
 *   mean[c] = pivot[c] + Σ sum[s,c] / rows
 *   variance[c] = Σ square[s,c] / rows − (Σ sum[s,c] / rows)²
 *
 * layout      x [rows, channels] f32, rows `stride` elements apart; pivot [channels] f32; sum,
 *             square [segments, channels] f64, as sums_nxc leaves them; mean, variance [channels]
 *             f64
 * sizes       all ≥ 1; channels need not be a multiple of 4
 * alias       none
 * align       x and pivot 4 bytes, the others 8
 * accumulate  f64, segments in order. Read again in f64 around the mean where moments.ts says so
 * numerics    as stats_ncx
 * traffic     none to speak of; 4 bytes per element of the channels that are read again
 */
export function moments_nxc_f32(
  x: usize, pivot: usize, sum: usize, square: usize, mean: usize, variance: usize,
  rows: u32, channels: u32, stride: u32, segments: u32,
): void {
  const row = (<usize>stride) << 2;
  total(sum, mean, channels, segments);
  total(square, variance, channels, segments);
  for (let c: u32 = 0; c < channels; c += 4) finish4(x, row, rows, c, min(4, channels - c), pivot, mean, variance);
}

/**
 * Turns the sums of up to four channels into statistics; a channel that asks for it is read again
 * in f64, and changes no other.
 */
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

/**
 * Up to four channels in f64, around the pivots in `mean`; writes those whose bit in `wanted` is
 * set.
 */
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
