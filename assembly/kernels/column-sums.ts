import { highF64, lowF64 } from '../lanes';

/**
 * column_sums — the sum of each column.
 *
 *   sums[c] = Σ x[r,c]
 *
 * layout      x [rows, cols] f32, contiguous; sums [cols] f64
 * sizes       cols ≥ 1; rows ≥ 0
 * alias       none
 * align       x 4 bytes, sums 8
 * accumulate  f64, in order of rows
 * traffic     4 bytes per element
 */
export function column_sums_f32(x: usize, sums: usize, rows: u32, cols: u32): void {
  memory.fill(sums, 0, (<usize>cols) << 3);
  const whole = sums + ((<usize>cols & ~3) << 3);
  const end = sums + ((<usize>cols) << 3);
  for (let r: u32 = 0; r < rows; r++) {
    let s = sums;
    for (; s < whole; s += 32, x += 16) {
      const v = v128.load(x);
      v128.store(s, f64x2.add(v128.load(s), lowF64(v)), 0);
      v128.store(s, f64x2.add(v128.load(s, 16), highF64(v)), 16);
    }
    for (; s < end; s += 8, x += 4) store<f64>(s, load<f64>(s) + <f64>load<f32>(x));
  }
}
