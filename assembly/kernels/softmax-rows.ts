import { few, highF64, loadTailOver, lowF64, storeFew, sumF64 } from '../lanes';
import { exp } from '../transcendental';

/**
 * softmax_rows — exponentials of each row over their sum, or the logarithm of that.
 *
 *   y[r,j] = e^(x[r,j] − m[r]) / S[r]             log = 0
 *   y[r,j] = (x[r,j] − m[r]) − ln S[r]     log = 1     m[r] = maxⱼ x[r,j]
 *   S[r] = Σⱼ e^(x[r,j] − m[r])
 *
 * layout      x, y [rows, cols] f32, contiguous
 * sizes       rows any, cols ≥ 1, which need not be a multiple of 4
 * alias       y may be x; no other overlap
 * align       4 bytes required, 16 preferred
 * accumulate  S in f64: two pairs of lanes, added at the end
 * numerics    the largest value subtracted; 1/S and ln S in f64. A row with NaN or +Inf, or of −Inf
 *             alone, is NaN
 * traffic     8 bytes per element, and a row in L1 twice more
 */
export function softmax_rows_f32(x: usize, y: usize, log: u32, rows: u32, cols: u32): void {
  const zero = <i32>(cols >> 31);
  const row = (<usize>cols) << 2;
  for (; rows; rows--, x += row, y += row) {
    const most = f32x4.splat(largest(x, cols));
    let low = f64x2.splat(0);
    let high = f64x2.splat(0);
    let q = y;
    let p = x;
    for (let left = cols; left; p += 16, q += 16) {
      const n = min(left, 4);
      const d = f32x4.sub(n == 4 ? v128.load(p) : loadTailOver(p, n, f32x4.splat(-Infinity)), most);
      const e = exp(d, zero);
      low = f64x2.add(low, lowF64(e));
      high = f64x2.add(high, highF64(e));
      storeFew(q, log ? d : e, n);
      left -= n;
    }
    const sum = sumF64(low) + sumF64(high);
    const factor = f32x4.splat(<f32>(1 / sum));
    const shift = f32x4.splat(log ? <f32>ln(sum) : 0);
    q = y;
    for (let left = cols; left; q += 16) {
      const n = min(left, 4);
      const v = few(q, n);
      storeFew(q, log ? f32x4.sub(v, shift) : f32x4.mul(v, factor), n);
      left -= n;
    }
  }
}

/** The largest of some values; any of them where one is NaN. */
// @ts-ignore: decorator
@inline
function largest(x: usize, cols: u32): f32 {
  const least = f32x4.splat(-Infinity);
  let most = least;
  for (let left = cols; left; x += 16) {
    const n = min(left, 4);
    most = f32x4.pmax(most, n == 4 ? v128.load(x) : loadTailOver(x, n, least));
    left -= n;
  }
  most = f32x4.pmax(most, v128.shuffle<i32>(most, most, 2, 3, 0, 1));
  return f32x4.extract_lane(f32x4.pmax(most, v128.shuffle<i32>(most, most, 1, 0, 3, 2)), 0);
}

/**
 * ln s for s ≥ 1 to 1e-13: s = m·2ᵏ with m in √½ … √2, ln m = 2·artanh((m − 1)/(m + 1)). NaN stays.
 */
function ln(s: f64): f64 {
  const bits = reinterpret<i64>(s);
  // √½ as the border between exponents
  const k = (bits - 0x3fe6a09e667f3bcd) >> 52;
  const m = reinterpret<f64>(bits - (k << 52));
  const z = (m - 1) / (m + 1);
  const w = z * z;
  const series = 1 + w * (1.0 / 3.0 + w * (1.0 / 5.0 + w * (1.0 / 7.0 + w * (1.0 / 9.0 + w * (1.0 / 11.0 + w * (1.0 / 13.0 + w * (1.0 / 15.0)))))));
  const result = <f64>k * 0.6931471805599453 + 2 * z * series;
  return s == s ? result : s;
}
