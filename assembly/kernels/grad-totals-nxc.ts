import { exactSums } from '../gradient';
import { total } from '../row-sums';

/**
 * grad_totals_nxc — the two sums of the backward pass from those of its segments, channels
 * innermost.
 *
 *   dbeta[c] = Σ sum[s,c]     total[c] = Σ dot[s,c]
 *
 * layout      x, dy [rows, channels] f32, rows `stride` elements apart; center, invStd [channels]
 *             f32; sum, dot [segments, channels] f64, as grad_sums_nxc leaves them; dbeta, total
 *             [channels] f64
 * sizes       all ≥ 1
 * alias       none
 * align       x, dy, center, invStd 4 bytes, the others 8
 * accumulate  f64, segments in order. Channels whose sums are not finite are read again in f64
 * traffic     none to speak of; 8 bytes per element of the channels that are read again
 */
export function grad_totals_nxc_f32(
  x: usize, dy: usize, center: usize, invStd: usize, sum: usize, dot: usize, dbeta: usize, totals: usize,
  rows: u32, channels: u32, stride: u32, segments: u32,
): void {
  const row = (<usize>stride) << 2;
  total(sum, dbeta, channels, segments);
  total(dot, totals, channels, segments);
  for (let c: u32 = 0; c < channels; c++) {
    const at = (<usize>c) << 3;
    const b = load<f64>(dbeta + at);
    const d = load<f64>(totals + at);
    if (b - b == 0 && d - d == 0) continue;
    const v = (<usize>c) << 2;
    exactSums(x + v, dy + v, center + v, invStd + v, dbeta + at, totals + at, rows, 1, row);
  }
}
