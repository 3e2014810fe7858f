// The gradient's map of one vector: shared by grad_input_ncx and grad_input_nxc.

import { is, Yes } from './flags';
import { nmadd } from './lanes';

/** a·((dy − k) − b·(x − h)), or without a centre (C) a·((dy − k) − b·x). */
// @ts-ignore: decorator
@inline
export function gradient<C>(x: v128, dy: v128, h: v128, a: v128, b: v128, k: v128): v128 {
  return f32x4.mul(a, nmadd(b, is<C, Yes>() ? f32x4.sub(x, h) : x, f32x4.sub(dy, k)));
}
