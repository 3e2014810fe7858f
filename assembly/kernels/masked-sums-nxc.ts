import { few, madd, storeFew } from '../lanes';
import { BLOCK, flush, reset } from '../row-sums';

/**
 * masked_sums_nxc — weighted sums of each channel, channels innermost.
 *
 *   d = (x[r,c] − center[c])·invStd[c]
 *   without dy   sum[c] = Σ w[r]·d         dot[c] = Σ w[r]·d²        for statistics
 *   with dy      sum[c] = Σ dy[r,c]        dot[c] = Σ dy[r,c]·d      for gradients
 *   over the rows whose weight w is not 0
 *
 * layout      x, dy [rows, channels] f32, rows `stride` elements apart; dy may be 0: none; weights [rows] f32; center, invStd [channels] f32;
 *             lanes [⌈channels/4⌉, 8] f32, overwritten; sum, dot [channels] f64
 * sizes       all ≥ 1; channels need not be a multiple of 4
 * alias       none
 * align       x, dy, vectors and lanes 4 bytes; sum, dot 8
 * accumulate  32 rows in f32, then f64
 * numerics    rows of weight 0 are not read; otherwise as masked_sums_ncx
 * traffic     4 bytes per element that counts, 8 with dy
 */
export function masked_sums_nxc_f32(
  x: usize, dy: usize, weights: usize, center: usize, invStd: usize, lanes: usize, sum: usize, dot: usize,
  rows: u32, channels: u32, stride: u32,
): void {
  const row = (<usize>stride) << 2;
  reset(lanes, sum, dot, channels);
  let n: u32 = 0;
  for (let r: u32 = 0; r < rows; r++, x += row, weights += 4) {
    if (load<f32>(weights) != 0) {
      const w = v128.load32_splat(weights);
      if (dy) gradients(x, dy, center, invStd, lanes, channels);
      else statistics(x, w, center, invStd, lanes, channels);
      if (++n % BLOCK == 0) flush(lanes, sum, dot, channels);
    }
    if (dy) dy += row;
  }
  flush(lanes, sum, dot, channels);
}

function statistics(x: usize, w: v128, center: usize, invStd: usize, lanes: usize, channels: u32): void {
  let c: usize = 0;
  for (const end = (<usize>channels & ~3) << 2; c < end; c += 16) {
    const d = distance(v128.load(x + c), v128.load(center + c), v128.load(invStd + c));
    accumulate(lanes + (c << 1), f32x4.mul(w, d), d, 4);
  }
  const rest = channels & 3;
  if (rest) {
    const d = distance(few(x + c, rest), few(center + c, rest), few(invStd + c, rest));
    accumulate(lanes + (c << 1), f32x4.mul(w, d), d, rest);
  }
}

function gradients(x: usize, dy: usize, center: usize, invStd: usize, lanes: usize, channels: u32): void {
  let c: usize = 0;
  for (const end = (<usize>channels & ~3) << 2; c < end; c += 16) {
    const d = distance(v128.load(x + c), v128.load(center + c), v128.load(invStd + c));
    accumulate(lanes + (c << 1), v128.load(dy + c), d, 4);
  }
  const rest = channels & 3;
  if (rest) {
    const d = distance(few(x + c, rest), few(center + c, rest), few(invStd + c, rest));
    accumulate(lanes + (c << 1), few(dy + c, rest), d, rest);
  }
}

// @ts-ignore: decorator
@inline
function distance(x: v128, h: v128, s: v128): v128 {
  return f32x4.mul(f32x4.sub(x, h), s);
}

// @ts-ignore: decorator
@inline
function accumulate(lanes: usize, g: v128, d: v128, count: u32): void {
  storeFew(lanes, f32x4.add(few(lanes, count), g), count);
  storeFew(lanes + 16, madd(g, d, few(lanes + 16, count)), count);
}
