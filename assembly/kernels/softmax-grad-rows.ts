import { few, highF64, lowF64, storeFew, sumF64 } from '../lanes';
import { exp } from '../transcendental';

/**
 * softmax_grad_rows — gradient through softmax_rows, from what it returned.
 *
 *   dx[r,j] = y[r,j]·(dy[r,j] − Σₖ dy[r,k]·y[r,k])        log = 0
 *   dx[r,j] = dy[r,j] − e^y[r,j]·Σₖ dy[r,k]               log = 1
 *
 * layout      y, dy, dx [rows, cols] f32, contiguous
 * sizes       rows any, cols ≥ 1, which need not be a multiple of 4
 * alias       dx may be y or dy; no other overlap
 * align       4 bytes required, 16 preferred
 * accumulate  products in f32, their sum in f64: two pairs of lanes, added at the end
 * numerics    the sum rounded to f32
 * traffic     12 bytes per element, and two rows in L1 once more
 */
export function softmax_grad_rows_f32(y: usize, dy: usize, dx: usize, log: u32, rows: u32, cols: u32): void {
  const zero = <i32>(cols >> 31);
  const row = (<usize>cols) << 2;
  for (; rows; rows--, y += row, dy += row, dx += row) {
    let low = f64x2.splat(0);
    let high = f64x2.splat(0);
    let p = y;
    let g = dy;
    for (let left = cols; left; p += 16, g += 16) {
      const n = min(left, 4);
      const d = few(g, n);
      const v = log ? d : f32x4.mul(d, few(p, n));
      low = f64x2.add(low, lowF64(v));
      high = f64x2.add(high, highF64(v));
      left -= n;
    }
    const sum = f32x4.splat(<f32>(sumF64(low) + sumF64(high)));
    p = y;
    g = dy;
    let q = dx;
    for (let left = cols; left; p += 16, g += 16, q += 16) {
      const n = min(left, 4);
      const v = few(p, n);
      const d = few(g, n);
      storeFew(q, log ? f32x4.sub(d, f32x4.mul(exp(v, zero), sum)) : f32x4.mul(v, f32x4.sub(d, sum)), n);
      left -= n;
    }
  }
}
