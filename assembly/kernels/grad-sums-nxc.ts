import { few, madd } from '../lanes';
import { BLOCK, flush, reset } from '../row-sums';

/**
 * grad_sums_nxc — the two sums of the backward pass, channels innermost, for each segment of rows by itself.
 *
 *   sum[s,c] = Σ dy[r,c]     dot[s,c] = Σ dy[r,c]·((x[r,c] − center[c])·invStd[c])     over the rows r of segment s
 *
 * layout      x, dy [rows, channels] f32, rows `stride` elements apart; center, invStd [channels] f32; segments, sum, dot and lanes as in
 *             sums_nxc
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
function four(x0: usize, g0: usize, row: usize, center: usize, invStd: usize, lanes: usize, channels: u32): void {
  let x1 = x0 + row;
  let x2 = x1 + row;
  let x3 = x2 + row;
  let g1 = g0 + row;
  let g2 = g1 + row;
  let g3 = g2 + row;
  for (const end = x0 + ((<usize>channels & ~3) << 2); x0 < end; ) {
    const h = v128.load(center);
    const s = v128.load(invStd);
    const d0 = v128.load(g0);
    const d1 = v128.load(g1);
    const d2 = v128.load(g2);
    const d3 = v128.load(g3);
    const a = f32x4.add(f32x4.add(d0, d1), f32x4.add(d2, d3));
    const b0 = madd(d1, hat(v128.load(x1), h, s), f32x4.mul(d0, hat(v128.load(x0), h, s)));
    const b1 = madd(d3, hat(v128.load(x3), h, s), f32x4.mul(d2, hat(v128.load(x2), h, s)));
    v128.store(lanes, f32x4.add(v128.load(lanes, 0), a), 0);
    v128.store(lanes, f32x4.add(v128.load(lanes, 16), f32x4.add(b0, b1)), 16);
    x0 += 16;
    x1 += 16;
    x2 += 16;
    x3 += 16;
    g0 += 16;
    g1 += 16;
    g2 += 16;
    g3 += 16;
    center += 16;
    invStd += 16;
    lanes += 32;
  }
  const rest = channels & 3;
  if (rest) for (let n = 0; n < 4; n++, x0 += row, g0 += row) accumulate(x0, g0, center, invStd, lanes, rest);
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
