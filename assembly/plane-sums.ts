// Sums over channel planes, two for each channel: shared by stats_ncx and grad_stats_ncx.
//
// Samples are read in order, all their channels before the next, so that memory is read in the
// order in which it lies. The two sums of a channel are kept as two lanes of f64 each, which are
// added up at the very end.

import { foldF64, sumF64 } from './lanes';

/** Elements summed in f32 before they join the f64 sums: 32 additions in each of 16 lanes. */
// @ts-ignore: decorator
@inline export const BLOCK: u32 = 512;

/**
 * Planes shorter than this are read without asking whether their channel needs a centre: a wrong
 * guess costs more than a subtraction.
 */
// @ts-ignore: decorator
@inline export const SHORT: u32 = 64;

/**
 * Clears the sums of every channel. (A loop: for few channels memory.fill costs more than it
 * clears.)
 */
export function clear(sums: usize, channels: u32): void {
  const zero = f64x2.splat(0);
  for (const end = sums + ((<usize>channels) << 5); sums < end; sums += 32) {
    v128.store(sums, zero, 0);
    v128.store(sums, zero, 16);
  }
}

/** Adds two accumulators in f32 to two lanes of f64. */
// @ts-ignore: decorator
@inline
export function join(sum: v128, a: v128, b: v128): v128 {
  return f64x2.add(sum, foldF64(f32x4.add(a, b)));
}

/** The first sum of a channel. */
// @ts-ignore: decorator
@inline
export function firstSum(sums: usize): f64 {
  return sumF64(v128.load(sums, 0));
}

/** The second sum of a channel. */
// @ts-ignore: decorator
@inline
export function secondSum(sums: usize): f64 {
  return sumF64(v128.load(sums, 16));
}
