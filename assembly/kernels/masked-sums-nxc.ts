import { is, No, Yes } from '../flags';
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
 * layout      x, dy [rows, channels] f32, rows `stride` elements apart; dy may be 0: none; weights
 *             [rows] f32; center, invStd [channels] f32; lanes [⌈channels/4⌉, 8] f32, overwritten;
 *             sum, dot [channels] f64
 * sizes       all ≥ 1; channels need not be a multiple of 4. plain as in masked_sums_ncx
 * alias       none
 * align       x, dy, vectors and lanes 4 bytes; sum, dot 8
 * accumulate  32 rows that count in f32, then f64; with `together` = 1 two rows side by side
 * numerics    rows of weight 0 are not read; otherwise as masked_sums_ncx
 * traffic     4 bytes per element that counts, 8 with dy
 */
export function masked_sums_nxc_f32(
  x: usize, dy: usize, weights: usize, center: usize, invStd: usize, lanes: usize, sum: usize, dot: usize,
  plain: u32, together: u32, rows: u32, channels: u32, stride: u32,
): void {
  const row = (<usize>stride) << 2;
  reset(lanes, sum, dot, channels);
  let n: u32 = 0;
  // a row that waits for another
  let waiting: usize = 0;
  let other: usize = 0;
  for (let r: u32 = 0; r < rows; r++, x += row, weights += 4) {
    if (load<f32>(weights) != 0) {
      if (together && (dy || plain)) {
        if (waiting) {
          if (dy) two<Yes>(waiting, other, x, dy, center, invStd, lanes, channels);
          else two<No>(waiting, 0, x, 0, center, invStd, lanes, channels);
          waiting = 0;
        } else {
          waiting = x;
          other = dy;
        }
      } else {
        const w = v128.load32_splat(weights);
        if (dy) one<Yes, Yes>(x, dy, w, center, invStd, lanes, channels);
        else if (plain) one<No, Yes>(x, 0, w, center, invStd, lanes, channels);
        else one<No, No>(x, 0, w, center, invStd, lanes, channels);
      }
      if (++n % BLOCK == 0) flush(lanes, sum, dot, channels);
    }
    if (dy) dy += row;
  }
  if (waiting) {
    const w = f32x4.splat(1);
    if (dy) one<Yes, Yes>(waiting, other, w, center, invStd, lanes, channels);
    else one<No, Yes>(waiting, 0, w, center, invStd, lanes, channels);
  }
  flush(lanes, sum, dot, channels);
}

/**
 * Adds a row to the accumulators: gradients (G) or statistics, of a row that is not weighed and not
 * scaled (P).
 */
// @ts-ignore: decorator
@inline
function one<G, P>(x: usize, dy: usize, w: v128, center: usize, invStd: usize, lanes: usize, channels: u32): void {
  for (const end = x + ((<usize>channels & ~3) << 2); x < end; x += 16, center += 16, lanes += 32) {
    oneAt<G, P>(x, dy, w, center, invStd, lanes, 4);
    if (is<G, Yes>()) dy += 16;
    if (is<G, Yes>() || is<P, No>()) invStd += 16;
  }
  if (channels & 3) oneAt<G, P>(x, dy, w, center, invStd, lanes, channels & 3);
}

// @ts-ignore: decorator
@inline
function oneAt<G, P>(x: usize, dy: usize, w: v128, center: usize, invStd: usize, lanes: usize, count: u32): void {
  const d = distance<G, P>(few(x, count), few(center, count), invStd, count);
  const g = is<G, Yes>() ? few(dy, count) : is<P, Yes>() ? d : f32x4.mul(w, d);
  storeFew(lanes, f32x4.add(few(lanes, count), g), count);
  storeFew(lanes + 16, madd(g, d, few(lanes + 16, count)), count);
}

/** Two rows that are not weighed. */
// @ts-ignore: decorator
@inline
function two<G>(x: usize, dy: usize, x2: usize, dy2: usize, center: usize, invStd: usize, lanes: usize, channels: u32): void {
  for (const end = x + ((<usize>channels & ~3) << 2); x < end; x += 16, x2 += 16, center += 16, lanes += 32) {
    twoAt<G>(x, dy, x2, dy2, center, invStd, lanes, 4);
    if (is<G, Yes>()) {
      dy += 16;
      dy2 += 16;
      invStd += 16;
    }
  }
  if (channels & 3) twoAt<G>(x, dy, x2, dy2, center, invStd, lanes, channels & 3);
}

// @ts-ignore: decorator
@inline
function twoAt<G>(x: usize, dy: usize, x2: usize, dy2: usize, center: usize, invStd: usize, lanes: usize, count: u32): void {
  const h = few(center, count);
  const d = distance<G, Yes>(few(x, count), h, invStd, count);
  const e = distance<G, Yes>(few(x2, count), h, invStd, count);
  const g = is<G, Yes>() ? few(dy, count) : d;
  const k = is<G, Yes>() ? few(dy2, count) : e;
  storeFew(lanes, f32x4.add(few(lanes, count), f32x4.add(g, k)), count);
  storeFew(lanes + 16, f32x4.add(few(lanes + 16, count), madd(k, e, f32x4.mul(g, d))), count);
}

// @ts-ignore: decorator
@inline
function distance<G, P>(x: v128, h: v128, invStd: usize, count: u32): v128 {
  const d = f32x4.sub(x, h);
  return is<P, Yes>() && !is<G, Yes>() ? d : f32x4.mul(d, few(invStd, count));
}
