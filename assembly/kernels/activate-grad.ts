import * as act from '../activations';
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
  switch (kind) {
    case act.NONE: { if (dx != dy) memory.copy(dx, dy, (<usize>size) << 2); break; }
    case act.RELU: { sweep<act.Relu>(x, dy, dx, alpha, size); break; }
    case act.RELU6: { sweep<act.Relu6>(x, dy, dx, alpha, size); break; }
    case act.LEAKY_RELU: { sweep<act.LeakyRelu>(x, dy, dx, alpha, size); break; }
    case act.ELU: { slowSweep<act.Elu>(x, dy, dx, alpha, size); break; }
    case act.SILU: { slowSweep<act.Silu>(x, dy, dx, alpha, size); break; }
    case act.SIGMOID: { slowSweep<act.Sigmoid>(x, dy, dx, alpha, size); break; }
    case act.TANH: { sweep<act.Tanh>(x, dy, dx, alpha, size); break; }
    case act.GELU: { sweep<act.Gelu>(x, dy, dx, alpha, size); break; }
    case act.GELU_TANH: { sweep<act.GeluTanh>(x, dy, dx, alpha, size); break; }
    case act.HARD_SWISH: { sweep<act.HardSwish>(x, dy, dx, alpha, size); break; }
    case act.HARD_SIGMOID: { sweep<act.HardSigmoid>(x, dy, dx, alpha, size); break; }
    case act.SOFTPLUS: { slowSweep<act.Softplus>(x, dy, dx, alpha, size); break; }
    case act.MISH: { slowSweep<act.Mish>(x, dy, dx, alpha, size); break; }
  }
}

// @ts-ignore: decorator
@inline
function sweep<K>(x: usize, dy: usize, dx: usize, alpha: f32, size: u32): void {
  const a = f32x4.splat(alpha);
  const nought = size >> 31;
  const end = x + ((<usize>(size & ~3)) << 2);
  let g = dy;
  let q = dx;
  for (let p = x; p < end; p += 16, g += 16, q += 16) {
    v128.store(q, act.gradient<K>(v128.load(p), v128.load(g), a, nought));
  }
  const rest = size & 3;
  if (rest) storeTail(q, act.gradient<K>(loadTail(end, rest), loadTail(g, rest), a, nought), rest);
}

/** The same with the loop's body once: where that is long, to ask each time whether the vector is whole costs nothing, and half the code is enough. */
// @ts-ignore: decorator
@inline
function slowSweep<K>(x: usize, dy: usize, dx: usize, alpha: f32, size: u32): void {
  const a = f32x4.splat(alpha);
  const nought = size >> 31;
  for (let left = size; left; x += 16, dy += 16, dx += 16) {
    const n = min(left, 4);
    storeFew(dx, act.gradient<K>(few(x, n), few(dy, n), a, nought), n);
    left -= n;
  }
}
