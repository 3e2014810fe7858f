import { few, storeFew } from '../lanes';
import { median } from '../moments';

/**
 * pivot_nxc — a middle value of each channel, channels innermost: of nine rows spread over all (of
 * three, if there are not nine), the median of the medians of three. See moments.ts.
 *
 *   pivot[c] = median of x[r₀,c] … x[r₈,c]
 *
 * layout    x [rows, channels] f32, rows `stride` elements apart; pivot [channels] f32
 * sizes     all ≥ 1; channels need not be a multiple of 4
 * alias     none
 * align     4 bytes
 * numerics  exact: one of the values
 * traffic   nine rows
 */
export function pivot_nxc_f32(x: usize, pivot: usize, rows: u32, channels: u32, stride: u32): void {
  const samples: u32 = rows >= 9 ? 9 : rows >= 3 ? 3 : 1;
  const step = ((<usize>(rows / samples)) * stride) << 2;
  for (let c: u32 = 0; c < channels; c += 4) {
    const lanes = min(4, channels - c);
    const p = x + ((<usize>c) << 2);
    let v = few(p, lanes);
    if (samples >= 3) v = median(v, few(p + step, lanes), few(p + 2 * step, lanes));
    if (samples == 9) {
      const second = median(few(p + 3 * step, lanes), few(p + 4 * step, lanes), few(p + 5 * step, lanes));
      v = median(v, second, median(few(p + 6 * step, lanes), few(p + 7 * step, lanes), few(p + 8 * step, lanes)));
    }
    storeFew(pivot + ((<usize>c) << 2), v, lanes);
  }
}
