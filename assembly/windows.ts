// Windows of pooling: where they lie, and the values in them, four windows or four channels at a
// time.
//
// A table has four f32 values for each output of an axis, outputs of the first axis before those of
// the next (src/kernels/pool/windows.ts): the first place inside the input, how many places inside
// follow it, what an average divides by, and 1 or 2 where this window and the three behind it have
// as many places each and begin so many places apart, else 0.

import { is } from './flags';
import { few, storeFew } from './lanes';

/** Bytes of one window in the table. */
// @ts-ignore: decorator
@inline export const WINDOW: usize = 16;

// @ts-ignore: decorator
@inline export function firstOf(at: usize): usize { return <usize>load<f32>(at); }
// @ts-ignore: decorator
@inline export function countOf(at: usize): u32 { return <u32>load<f32>(at, 4); }
// @ts-ignore: decorator
@inline export function divisorOf(at: usize): f32 { return load<f32>(at, 8); }
// @ts-ignore: decorator
@inline export function paceOf(at: usize): f32 { return load<f32>(at, 12); }

/**
 * Where the four lanes of a vector lie: side by side; at every other place; side by side, only the
 * first of them.
 */
export class Whole {}
export class Every2 {}
export class First {}

/** The lanes at `p`. Of `First` the first `n`, the others 0. */
// @ts-ignore: decorator
@inline
export function lanesAt<K>(p: usize, n: u32): v128 {
  if (is<K, Every2>()) return v128.shuffle<i32>(v128.load(p), v128.load(p, 16), 0, 2, 4, 6);
  return is<K, First>() ? few(p, n) : v128.load(p);
}

/** Adds to the lanes at `p`. */
// @ts-ignore: decorator
@inline
export function addTo<K>(p: usize, v: v128, n: u32): void {
  if (is<K, Every2>()) {
    const none = f32x4.splat(0);
    v128.store(p, f32x4.add(v128.load(p), v128.shuffle<i32>(v, none, 0, 4, 1, 5)));
    v128.store(p, f32x4.add(v128.load(p, 16), v128.shuffle<i32>(v, none, 2, 6, 3, 7)), 16);
  } else if (is<K, First>()) storeFew(p, f32x4.add(few(p, n), v), n);
  else v128.store(p, f32x4.add(v128.load(p), v));
}

/**
 * The largest value of each lane in a window of d·h·w places; NaN where one is. Of equal ones the
 * first.
 */
// @ts-ignore: decorator
@inline
export function largest<K>(p: usize, n: u32, d: u32, h: u32, w: u32, deep: usize, down: usize, right: usize): v128 {
  let most = f32x4.splat(-Infinity);
  let odd = f32x4.splat(0);
  for (; d; d--, p += deep) {
    let line = p;
    for (let i = h; i; i--, line += down) {
      let at = line;
      for (let j = w; j; j--, at += right) {
        const v = lanesAt<K>(at, n);
        most = f32x4.pmax(most, v);
        odd = v128.or(odd, f32x4.ne(v, v));
      }
    }
  }
  return v128.or(most, odd);
}
