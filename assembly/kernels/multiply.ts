import { loadTail, storeTail } from '../lanes';

/**
 * multiply — products, element by element.
 *
 *   y[i] = x[i]·w[i]
 *
 * layout    x, w, y [size] f32
 * sizes     any
 * alias     y may be x or w; no other overlap
 * align     4 bytes required, 16 preferred
 * numerics  one rounding
 * traffic   12 bytes per element
 */
export function multiply_f32(x: usize, w: usize, y: usize, size: u32): void {
  const end = x + ((<usize>(size & ~15)) << 2);
  for (; x < end; x += 64, w += 64, y += 64) {
    const a = v128.load(x);
    const b = v128.load(x, 16);
    const c = v128.load(x, 32);
    const d = v128.load(x, 48);
    const e = v128.load(w);
    const f = v128.load(w, 16);
    const g = v128.load(w, 32);
    const h = v128.load(w, 48);
    v128.store(y, f32x4.mul(a, e));
    v128.store(y, f32x4.mul(b, f), 16);
    v128.store(y, f32x4.mul(c, g), 32);
    v128.store(y, f32x4.mul(d, h), 48);
  }
  for (const last = x + ((<usize>(size & 12)) << 2); x < last; x += 16, w += 16, y += 16) {
    v128.store(y, f32x4.mul(v128.load(x), v128.load(w)));
  }
  const rest = size & 3;
  if (rest) storeTail(y, f32x4.mul(loadTail(x, rest), loadTail(w, rest)), rest);
}
