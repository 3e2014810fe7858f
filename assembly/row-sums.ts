// Sums over rows with channels innermost, two for each channel: shared by sums_nxc and
// grad_sums_nxc, and by what adds up their segments.
//
// A few rows are read side by side, from their first channel to their last, so that memory is read
// in streams; their sums are added to accumulators in f32 that lie in L1, two vectors for four
// channels, and these join the f64 sums of a block of rows.

import { highF64, lowF64 } from './lanes';

/** Rows whose sums are accumulated in f32 before they join the f64 sums. */
// @ts-ignore: decorator
@inline export const BLOCK: u32 = 32;

/** Adds the accumulators to the f64 sums, and clears them. */
export function flush(lanes: usize, first: usize, second: usize, channels: u32): void {
  for (; channels >= 4; channels -= 4, lanes += 32, first += 32, second += 32) {
    join(first, v128.load(lanes, 0));
    join(second, v128.load(lanes, 16));
    clear(lanes);
  }
  if (channels) {
    joinFew(first, v128.load(lanes, 0), channels);
    joinFew(second, v128.load(lanes, 16), channels);
    clear(lanes);
  }
}

/** Adds up the sums of all segments, in order. */
export function total(sums: usize, to: usize, channels: u32, segments: u32): void {
  const bytes = (<usize>channels) << 3;
  memory.copy(to, sums, bytes);
  for (let s: u32 = 1; s < segments; s++) {
    sums += bytes;
    const whole = (<usize>channels & ~1) << 3;
    for (let c: usize = 0; c < whole; c += 16) v128.store(to + c, f64x2.add(v128.load(to + c), v128.load(sums + c)));
    if (channels & 1) store<f64>(to + whole, load<f64>(to + whole) + load<f64>(sums + whole));
  }
}

/** Clears the accumulators and the f64 sums. */
export function reset(lanes: usize, first: usize, second: usize, channels: u32): void {
  memory.fill(first, 0, (<usize>channels) << 3);
  memory.fill(second, 0, (<usize>channels) << 3);
  for (const end = lanes + ((<usize>(channels + 3) & ~3) << 3); lanes < end; lanes += 32) clear(lanes);
}

// @ts-ignore: decorator
@inline
function clear(lanes: usize): void {
  v128.store(lanes, f32x4.splat(0), 0);
  v128.store(lanes, f32x4.splat(0), 16);
}

// @ts-ignore: decorator
@inline
function join(sums: usize, v: v128): void {
  v128.store(sums, f64x2.add(v128.load(sums, 0), lowF64(v)), 0);
  v128.store(sums, f64x2.add(v128.load(sums, 16), highF64(v)), 16);
}

// @ts-ignore: decorator
@inline
function joinFew(sums: usize, v: v128, lanes: u32): void {
  store<f64>(sums, load<f64>(sums) + <f64>f32x4.extract_lane(v, 0));
  if (lanes > 1) store<f64>(sums, load<f64>(sums, 8) + <f64>f32x4.extract_lane(v, 1), 8);
  if (lanes > 2) store<f64>(sums, load<f64>(sums, 16) + <f64>f32x4.extract_lane(v, 2), 16);
}
