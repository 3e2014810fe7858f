/**
 * sum_runs — sums of values side by side.
 *
 *   y[i] = Σⱼ x[i·run + j], j < run
 *
 * layout      x [count, run], y [count] f32
 * sizes       count, run ≥ 1
 * alias       none
 * align       4 bytes
 * accumulate  f32, in order
 */
export function sum_runs_f32(x: usize, y: usize, count: u32, run: u32): void {
  for (let i: u32 = 0; i < count; i++, y += 4) {
    let sum: f32 = 0;
    for (let j: u32 = 0; j < run; j++, x += 4) sum += load<f32>(x);
    store<f32>(y, sum);
  }
}
