import { dispatch } from '../activations';
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
  dispatch<Sweep>(kind, x, 0, y, alpha, size);
}

class Sweep {
  @inline none(x: usize, _dy: usize, y: usize, size: u32): void {
    if (x != y) memory.copy(y, x, (<usize>size) << 2);
  }

  @inline run<K>(x: usize, _dy: usize, y: usize, alpha: f32, size: u32): void {
    const a = f32x4.splat(alpha);
    const zero = size >> 31;
    let q = y;
    let p = x;
    for (const stop = x + ((<usize>(size & ~7)) << 2); p < stop; p += 32, q += 32) {
      v128.store(q, changetype<K>(0).value(v128.load(p, 0), a, zero), 0);
      v128.store(q, changetype<K>(0).value(v128.load(p, 16), a, zero), 16);
    }
    for (let left = size & 7; left; p += 16, q += 16) {
      const n = min(left, 4);
      storeFew(q, changetype<K>(0).value(few(p, n), a, zero), n);
      left -= n;
    }
  }
}
