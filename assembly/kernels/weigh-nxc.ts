import { few, storeFew } from '../lanes';

/**
 * weigh_nxc — values by the weights of their rows, channels innermost, in place.
 *
 *   y[r,c] = w[r] ≠ 0 ? y[r,c]·w[r] : 0
 *
 * layout    y [rows, channels] f32, contiguous; weights [rows] f32
 * sizes     all ≥ 1; channels need not be a multiple of 4
 * alias     none
 * align     4 bytes required, 16 preferred
 * numerics  as weigh_ncx
 * traffic   4 bytes per element of a row that does not count, 8 of one whose weight is not 1, none
 *           of the others
 */
export function weigh_nxc_f32(y: usize, weights: usize, rows: u32, channels: u32): void {
  const row = (<usize>channels) << 2;
  for (; rows; rows--, y += row, weights += 4) {
    const weight = load<f32>(weights);
    if (weight == 1) continue;
    if (weight == 0) {
      memory.fill(y, 0, row);
      continue;
    }
    const w = f32x4.splat(weight);
    for (let c: usize = 0; c < row; c += 16) {
      const lanes = <u32>min<usize>((row - c) >> 2, 4);
      storeFew(y + c, f32x4.mul(few(y + c, lanes), w), lanes);
    }
  }
}
