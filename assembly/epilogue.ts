// What happens to a value on its way to memory: a residual is added, an activation applied.
// ReLU is part of the loop that stores; the other activations sweep a piece that still lies in L1.

import { NONE, RELU } from './activations';
import { activate_f32 } from './kernels/activate';

/** Elements between two sweeps of an activation: x, residual and y of one piece fit in L1 together. */
// @ts-ignore: decorator
@inline export const PIECE: u32 = 2048;

/** Is the activation applied by the loop itself? */
// @ts-ignore: decorator
@inline
export function isFused(kind: i32): bool {
  return kind == NONE || kind == RELU;
}

/** The value to store. `relu` and `residual` are constants wherever this is inlined. */
// @ts-ignore: decorator
@inline
export function finish(v: v128, r: v128, residual: bool, relu: bool): v128 {
  if (residual) v = f32x4.add(v, r);
  if (relu) v = f32x4.pmax(v, f32x4.splat(0)); // this order keeps NaN
  return v;
}

/** Applies an activation to what was just stored; nothing where the loop has done it. */
// @ts-ignore: decorator
@inline
export function sweep(y: usize, kind: i32, alpha: f32, size: u32): void {
  if (!isFused(kind)) activate_f32(y, y, kind, alpha, size);
}
