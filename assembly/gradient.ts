// The gradient's map of one vector, shared by grad_input_ncx and grad_input_nxc; and its sums where
// f32 will not do, shared by grad_stats_ncx and grad_totals_nxc.

import { is, Yes } from './flags';
import { nmadd } from './lanes';

/** a·((dy − k) − b·(x − h)), or without a centre (C) a·((dy − k) − b·x). */
// @ts-ignore: decorator
@inline
export function gradient<C>(x: v128, dy: v128, h: v128, a: v128, b: v128, k: v128): v128 {
  return f32x4.mul(a, nmadd(b, is<C, Yes>() ? f32x4.sub(x, h) : x, f32x4.sub(dy, k)));
}

/**
 * Σdy and Σdy·(x − center)·invStd of one channel in f64: for sums that leave the range of f32 on
 * their way.
 */
export function exactSums(
  x: usize, dy: usize, center: usize, invStd: usize, dbeta: usize, dot: usize, outer: u32, inner: u32, row: usize,
): void {
  const h = <f64>load<f32>(center);
  const s = <f64>load<f32>(invStd);
  let sum: f64 = 0;
  let product: f64 = 0;
  for (let n: u32 = 0; n < outer; n++) {
    for (let i: u32 = 0; i < inner; i++) {
      const at = (<usize>n) * row + ((<usize>i) << 2);
      const g = <f64>load<f32>(dy + at);
      sum += g;
      product += g * ((<f64>load<f32>(x + at) - h) * s);
    }
  }
  store<f64>(dbeta, sum);
  store<f64>(dot, product);
}
