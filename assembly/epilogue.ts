// The forward map of one vector, and what happens to it on its way to memory: a residual is added,
// an activation applied. ReLU is part of the loop that stores; the other activations sweep a piece
// that still lies in L1.

import { NONE, RELU } from './activations';
import { is, Yes } from './flags';
import { activate_f32 } from './kernels/activate';
import { few, madd } from './lanes';

/**
 * Elements between two sweeps of an activation: x, residual and y of one piece fit in L1 together.
 */
// @ts-ignore: decorator
@inline export const PIECE: u32 = 2048;

/** Is the activation applied by the loop itself? */
// @ts-ignore: decorator
@inline
export function isFused(kind: i32): bool {
  return kind == NONE || kind == RELU;
}

/**
 * x·a + b, or with a centre (C) (x − h)·a + b; plus the residual (R); above 0 (A, ReLU; this order
 * keeps NaN).
 */
// @ts-ignore: decorator
@inline
export function mapped<C, R, A>(x: v128, h: v128, a: v128, b: v128, residual: v128): v128 {
  let v = madd(is<C, Yes>() ? f32x4.sub(x, h) : x, a, b);
  if (is<R, Yes>()) v = f32x4.add(v, residual);
  if (is<A, Yes>()) v = f32x4.pmax(v, f32x4.splat(0));
  return v;
}

/** The residual's vector, where there is one. */
// @ts-ignore: decorator
@inline
export function residualAt<R>(r: usize, offset: usize): v128 {
  return is<R, Yes>() ? v128.load(r + offset) : f32x4.splat(0);
}

/** The residual's first lanes, where there is one. */
// @ts-ignore: decorator
@inline
export function residualFew<R>(r: usize, n: u32): v128 {
  return is<R, Yes>() ? few(r, n) : f32x4.splat(0);
}

/** Applies an activation to what was just stored; nothing where the loop has done it. */
// @ts-ignore: decorator
@inline
export function sweep(y: usize, kind: i32, alpha: f32, size: u32): void {
  if (!isFused(kind)) activate_f32(y, y, kind, alpha, size);
}
