// What happens to a value on its way to memory: a residual is added, an activation applied.
// ReLU is part of the loop that stores; the other activations sweep a piece that still lies in L1.

import { is, NONE, RELU } from './activations';
import { activate_f32 } from './kernels/activate';
import { loadTail } from './lanes';

/** Elements between two sweeps of an activation: x, residual and y of one piece fit in L1 together. */
// @ts-ignore: decorator
@inline export const PIECE: u32 = 2048;

/** Is the activation applied by the loop itself? */
// @ts-ignore: decorator
@inline
export function isFused(kind: i32): bool {
  return kind == NONE || kind == RELU;
}

/** Compile-time answers: is there a residual, is the activation ReLU? */
export class Yes {}
export class No {}

/** The value to store. */
// @ts-ignore: decorator
@inline
export function finish<R, A>(v: v128, r: v128): v128 {
  if (is<R, Yes>()) v = f32x4.add(v, r);
  if (is<A, Yes>()) v = f32x4.pmax(v, f32x4.splat(0)); // this order keeps NaN
  return v;
}

/** The residual's vector, where there is one. */
// @ts-ignore: decorator
@inline
export function residualAt<R>(r: usize, offset: usize): v128 {
  return is<R, Yes>() ? v128.load(r + offset) : f32x4.splat(0);
}

/** The residual's last lanes, where there is one. */
// @ts-ignore: decorator
@inline
export function residualTail<R>(r: usize, n: u32): v128 {
  return is<R, Yes>() ? loadTail(r, n) : f32x4.splat(0);
}

/** Applies an activation to what was just stored; nothing where the loop has done it. */
// @ts-ignore: decorator
@inline
export function sweep(y: usize, kind: i32, alpha: f32, size: u32): void {
  if (!isFused(kind)) activate_f32(y, y, kind, alpha, size);
}
