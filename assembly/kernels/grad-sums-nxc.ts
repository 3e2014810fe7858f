import { few, madd } from '../lanes';
import { BLOCK, flush, reset } from '../row-sums';

/**
 * grad_sums_nxc — the two sums of the backward pass, channels innermost, for each segment of rows
 * by itself.
 *
 *   sum[s,c] = Σ dy[r,c]     dot[s,c] = Σ dy[r,c]·((x[r,c] − center[c])·invStd[c])
 *   over the rows r of segment s
 *
 * layout      x, dy [rows, channels] f32, rows `stride` elements apart; center, invStd [channels]
 *             f32; segments, sum, dot and lanes as in sums_nxc
 * sizes       all ≥ 1; channels need not be a multiple of 4; segment a multiple of 32
 * alias       none
 * align       x, dy, center, invStd and lanes 4 bytes; sum, dot 8
 * accumulate  as sums_nxc
 * numerics    as grad_stats_ncx
 * traffic     8 bytes per element
 */
export function grad_sums_nxc_f32(
  x: usize, dy: usize, center: usize, invStd: usize, lanes: usize, sum: usize, dot: usize,
  rows: u32, channels: u32, stride: u32, segment: u32, together: u32,
): void {
  const row = (<usize>stride) << 2;
  for (let left = rows; left; ) {
    const size = min(left, segment);
    left -= size;
    reset(lanes, sum, dot, channels);
    for (let rest = size; rest; ) {
      const block = min(rest, BLOCK);
      rest -= block;
      let n: u32 = 0;
      if (together) {
        for (; n + 4 <= block; n += 4, x += row << 2, dy += row << 2) four(x, dy, row, center, invStd, lanes, channels);
      }
      for (; n < block; n++, x += row, dy += row) one(x, dy, center, invStd, lanes, channels);
      flush(lanes, sum, dot, channels);
    }
    lanes += ((<usize>channels + 3) & ~3) << 3;
    sum += (<usize>channels) << 3;
    dot += (<usize>channels) << 3;
  }
}

// @ts-ignore: decorator
@inline
function hat(x: v128, h: v128, s: v128): v128 {
  return f32x4.mul(f32x4.sub(x, h), s);
}

/** Adds four rows to the accumulators. */
// @ts-ignore: decorator
@inline
function four(x: usize, dy: usize, row: usize, center: usize, invStd: usize, lanes: usize, channels: u32): void {
  const x1 = x + row;
  const x2 = x1 + row;
  const x3 = x2 + row;
  const g1 = dy + row;
  const g2 = g1 + row;
  const g3 = g2 + row;
  let c: usize = 0;
  for (const end = (<usize>channels & ~3) << 2; c < end; c += 16) {
    const h = v128.load(center + c);
    const s = v128.load(invStd + c);
    const d0 = v128.load(dy + c);
    const d1 = v128.load(g1 + c);
    const d2 = v128.load(g2 + c);
    const d3 = v128.load(g3 + c);
    const a = f32x4.add(f32x4.add(d0, d1), f32x4.add(d2, d3));
    const b0 = madd(d1, hat(v128.load(x1 + c), h, s), f32x4.mul(d0, hat(v128.load(x + c), h, s)));
    const b1 = madd(d3, hat(v128.load(x3 + c), h, s), f32x4.mul(d2, hat(v128.load(x2 + c), h, s)));
    const at = lanes + (c << 1);
    v128.store(at, f32x4.add(v128.load(at, 0), a), 0);
    v128.store(at, f32x4.add(v128.load(at, 16), f32x4.add(b0, b1)), 16);
  }
  const rest = channels & 3;
  if (rest) {
    for (let n = 0; n < 4; n++, x += row, dy += row) accumulate(x + c, dy + c, center + c, invStd + c, lanes + (c << 1), rest);
  }
}

/** Adds one row to the accumulators. */
// @ts-ignore: decorator
@inline
function one(x: usize, g: usize, center: usize, invStd: usize, lanes: usize, channels: u32): void {
  for (const end = x + ((<usize>channels & ~3) << 2); x < end; ) {
    accumulate(x, g, center, invStd, lanes, 4);
    x += 16;
    g += 16;
    center += 16;
    invStd += 16;
    lanes += 32;
  }
  if (channels & 3) accumulate(x, g, center, invStd, lanes, channels & 3);
}

// @ts-ignore: decorator
@inline
function accumulate(x: usize, g: usize, center: usize, invStd: usize, lanes: usize, count: u32): void {
  const d = few(g, count);
  v128.store(lanes, f32x4.add(v128.load(lanes, 0), d), 0);
  v128.store(lanes, madd(d, hat(few(x, count), few(center, count), few(invStd, count)), v128.load(lanes, 16)), 16);
}
