import { dispatch, Long } from '../activations';
import { few, loadTail, storeFew, storeTail } from '../lanes';

/**
 * activate_grad — gradient through an activation, element by element.
 *
 *   dx[i] = dy[i]·f′(x[i])
 *
 * layout    x, dy, dx [size] f32; x is what the activation was given, not what it returned
 * sizes     any
 * alias     dx may be dy or x; no other overlap
 * align     4 bytes required, 16 preferred
 * numerics  f32; where f′ is 0 the result is 0 whatever dy holds
 * traffic   12 bytes per element
 */
export function activate_grad_f32(x: usize, dy: usize, dx: usize, kind: i32, alpha: f32, size: u32): void {
  dispatch<Sweep>(kind, x, dy, dx, alpha, size);
}

class Sweep {
  @inline none(_x: usize, dy: usize, dx: usize, size: u32): void {
    if (dx != dy) memory.copy(dx, dy, (<usize>size) << 2);
  }

  @inline run<K>(x: usize, dy: usize, dx: usize, alpha: f32, size: u32): void {
    if (changetype<K>(0) instanceof Long) slowSweep<K>(x, dy, dx, alpha, size);
    else sweep<K>(x, dy, dx, alpha, size);
  }
}

// @ts-ignore: decorator
@inline
function sweep<K>(x: usize, dy: usize, dx: usize, alpha: f32, size: u32): void {
  const a = f32x4.splat(alpha);
  const zero = size >> 31;
  const end = x + ((<usize>(size & ~3)) << 2);
  let g = dy;
  let q = dx;
  for (let p = x; p < end; p += 16, g += 16, q += 16) {
    v128.store(q, changetype<K>(0).gradient(v128.load(p), v128.load(g), a, zero));
  }
  const rest = size & 3;
  if (rest) storeTail(q, changetype<K>(0).gradient(loadTail(end, rest), loadTail(g, rest), a, zero), rest);
}

/**
 * The same with the loop's body once: where that is long, to ask each time whether the vector is
 * whole costs nothing, and half the code is enough.
 */
// @ts-ignore: decorator
@inline
function slowSweep<K>(x: usize, dy: usize, dx: usize, alpha: f32, size: u32): void {
  const a = f32x4.splat(alpha);
  const zero = size >> 31;
  for (let left = size; left; x += 16, dy += 16, dx += 16) {
    const n = min(left, 4);
    storeFew(dx, changetype<K>(0).gradient(few(x, n), few(dy, n), a, zero), n);
    left -= n;
  }
}
