// Sums over channel planes, two for each channel: shared by stats_ncx and grad_stats_ncx.
//
// Samples are read in order, all their channels before the next, so that memory is read in the order in which it lies. Whole blocks of a
// plane join the f64 sums at once; what is left of each plane stays in f32 lanes of its channel for a few planes, as folding the lanes of
// a 7 × 7 plane costs more than summing it.

import { foldF64, sumF64 } from './lanes';

/** Elements summed in f32 before they join the f64 sums: 16 additions in each of 16 lanes. */
// @ts-ignore: decorator
@inline export const BLOCK: u32 = 256;
/** Additions in one lane after which the lanes join the f64 sums. */
// @ts-ignore: decorator
@inline export const MOST_ADDITIONS: u32 = 16;

/** Clears the lanes and both f64 sums of every channel. (A loop: for few channels memory.fill costs more than it clears.) */
export function clear(lanes: usize, first: usize, second: usize, channels: u32): void {
  const zero = f32x4.splat(0);
  for (const end = first + ((<usize>channels) << 3); first < end; first += 8, second += 8, lanes += 32) {
    store<f64>(first, 0);
    store<f64>(second, 0);
    v128.store(lanes, zero, 0);
    v128.store(lanes, zero, 16);
  }
}

/** Adds all lanes, eight for each channel, to the two f64 sums of the channel, and clears them. */
export function gather(lanes: usize, first: usize, second: usize, channels: u32): void {
  const zero = f32x4.splat(0);
  for (const end = first + ((<usize>channels) << 3); first < end; first += 8, second += 8, lanes += 32) {
    store<f64>(first, load<f64>(first) + sumF64(foldF64(v128.load(lanes, 0))));
    store<f64>(second, load<f64>(second) + sumF64(foldF64(v128.load(lanes, 16))));
    v128.store(lanes, zero, 0);
    v128.store(lanes, zero, 16);
  }
}
