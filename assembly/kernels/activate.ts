import * as act from '../activations';
import { few, storeFew } from '../lanes';

/**
 * activate — an activation, element by element.
 *
 *   y[i] = f(x[i])
 *
 * layout    x, y [size] f32
 * sizes     any
 * alias     y may be x; no other overlap
 * align     4 bytes required, 16 preferred
 * numerics  f32; exponentials to 4 units in the last place (transcendental.ts)
 * traffic   8 bytes per element
 */
export function activate_f32(x: usize, y: usize, kind: i32, alpha: f32, size: u32): void {
  switch (kind) {
    case act.NONE: { if (x != y) memory.copy(y, x, (<usize>size) << 2); break; }
    case act.RELU: { sweep<act.Relu>(x, y, alpha, size); break; }
    case act.RELU6: { sweep<act.Relu6>(x, y, alpha, size); break; }
    case act.LEAKY_RELU: { sweep<act.LeakyRelu>(x, y, alpha, size); break; }
    case act.ELU: { sweep<act.Elu>(x, y, alpha, size); break; }
    case act.SILU: { sweep<act.Silu>(x, y, alpha, size); break; }
    case act.SIGMOID: { sweep<act.Sigmoid>(x, y, alpha, size); break; }
    case act.TANH: { sweep<act.Tanh>(x, y, alpha, size); break; }
    case act.GELU: { sweep<act.Gelu>(x, y, alpha, size); break; }
    case act.GELU_TANH: { sweep<act.GeluTanh>(x, y, alpha, size); break; }
    case act.HARD_SWISH: { sweep<act.HardSwish>(x, y, alpha, size); break; }
    case act.HARD_SIGMOID: { sweep<act.HardSigmoid>(x, y, alpha, size); break; }
    case act.SOFTPLUS: { sweep<act.Softplus>(x, y, alpha, size); break; }
    case act.MISH: { sweep<act.Mish>(x, y, alpha, size); break; }
  }
}

// @ts-ignore: decorator
@inline
function sweep<K>(x: usize, y: usize, alpha: f32, size: u32): void {
  const a = f32x4.splat(alpha);
  const nought = size >> 31;
  let q = y;
  let p = x;
  for (const stop = x + ((<usize>(size & ~7)) << 2); p < stop; p += 32, q += 32) {
    v128.store(q, act.value<K>(v128.load(p, 0), a, nought), 0);
    v128.store(q, act.value<K>(v128.load(p, 16), a, nought), 16);
  }
  for (let left = size & 7; left; p += 16, q += 16) {
    const n = min(left, 4);
    storeFew(q, act.value<K>(few(p, n), a, nought), n);
    left -= n;
  }
}
