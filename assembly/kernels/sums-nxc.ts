import { few, madd } from '../lanes';
import { BLOCK, flush, reset } from '../row-sums';

/**
 * sums_nxc — the sums that statistics are made of, channels innermost, for each segment of rows by
 * itself.
 *
 *   sum[s,c] = Σ (x[r,c] − pivot[c])     square[s,c] = Σ (x[r,c] − pivot[c])²
 *   over the rows r of segment s
 *
 * layout      x [rows, channels] f32, rows `stride` elements apart; pivot [channels] f32; segments
 *             of `segment` rows, the last may be shorter; sum, square [segments, channels] f64;
 *             lanes [segments, ⌈channels/4⌉, 8] f32, overwritten
 * sizes       all ≥ 1; channels need not be a multiple of 4; segment a multiple of 32
 * alias       none
 * align       x, pivot and lanes 4 bytes, sum and square 8
 * accumulate  f32 over blocks of 32 rows, in order, with `together` = 1 four rows by pairs; blocks
 *             in f64, in order
 * traffic     4 bytes per element
 */
export function sums_nxc_f32(
  x: usize, pivot: usize, lanes: usize, sum: usize, square: usize,
  rows: u32, channels: u32, stride: u32, segment: u32, together: u32,
): void {
  const row = (<usize>stride) << 2;
  for (let left = rows; left; ) {
    const size = min(left, segment);
    left -= size;
    reset(lanes, sum, square, channels);
    for (let rest = size; rest; ) {
      const block = min(rest, BLOCK);
      rest -= block;
      let n: u32 = 0;
      if (together) for (; n + 4 <= block; n += 4, x += row << 2) four(x, row, pivot, lanes, channels);
      for (; n < block; n++, x += row) one(x, pivot, lanes, channels);
      flush(lanes, sum, square, channels);
    }
    lanes += ((<usize>channels + 3) & ~3) << 3;
    sum += (<usize>channels) << 3;
    square += (<usize>channels) << 3;
  }
}

/** Adds four rows to the accumulators. */
// @ts-ignore: decorator
@inline
function four(x: usize, row: usize, pivot: usize, lanes: usize, channels: u32): void {
  for (const end = x + ((<usize>channels & ~3) << 2); x < end; x += 16, pivot += 16, lanes += 32) accumulateFour(x, row, pivot, lanes, 4);
  if (channels & 3) accumulateFour(x, row, pivot, lanes, channels & 3);
}

// @ts-ignore: decorator
@inline
function accumulateFour(x: usize, row: usize, pivot: usize, lanes: usize, count: u32): void {
  const h = few(pivot, count);
  const a = f32x4.sub(few(x, count), h);
  const b = f32x4.sub(few(x + row, count), h);
  const c = f32x4.sub(few(x + 2 * row, count), h);
  const d = f32x4.sub(few(x + 3 * row, count), h);
  v128.store(lanes, f32x4.add(v128.load(lanes, 0), sumOf(a, b, c, d)), 0);
  v128.store(lanes, f32x4.add(v128.load(lanes, 16), squaresOf(a, b, c, d)), 16);
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
