// Statistics of groups of channels, made of those of their channels; and the gradient through them.

import type { Training } from './coefficients.ts';

/**
 * Gives every channel the mean and variance of its group.
 *
 * @param totals Σw by channel, where not every place counts; groups in which none does get 0
 */
export function poolGroups(v: Training, channels: number, groups: number, totals?: Float64Array): void {
  const { mean, variance } = v.views();
  const size = channels / groups;
  if (totals) {
    for (let first = 0; first < channels; first += size) poolWeighted(mean, variance, totals, first, first + size);
    return;
  }
  if (size === 1) return;
  for (let first = 0; first < channels; first += size) {
    // around the first mean: what they share cancels before it is rounded
    const pivot = mean[first];
    let shift = 0;
    for (let c = first; c < first + size; c++) shift += mean[c] - pivot;
    shift /= size;
    let within = 0;
    for (let c = first; c < first + size; c++) {
      const d = mean[c] - pivot - shift;
      within += variance[c] + d * d;
    }
    for (let c = first; c < first + size; c++) {
      mean[c] = pivot + shift;
      variance[c] = within / size;
    }
  }
}

/** The same of one group, in which channels have the weight of their places. */
function poolWeighted(
  mean: Float64Array,
  variance: Float64Array,
  totals: Float64Array,
  first: number,
  end: number,
): void {
  let total = 0;
  let pivot = 0;
  for (let c = first; c < end; c++) {
    if (total === 0 && totals[c] > 0) pivot = mean[c];
    total += totals[c];
  }
  let shift = 0;
  // channels of which no place counts have no mean
  for (let c = first; c < end; c++) if (totals[c] > 0) shift += (totals[c] / total) * (mean[c] - pivot);
  let within = 0;
  for (let c = first; c < end; c++) {
    if (totals[c] === 0) continue;
    const d = mean[c] - pivot - shift;
    within += (totals[c] / total) * (variance[c] + d * d);
  }
  mean.fill(pivot + shift, first, end);
  variance.fill(within, first, end);
}

/**
 * A gamma of 0 in a group would divide by 0: so small a share of the group's largest in its place
 * is lost in rounding.
 */
const LEAST = 9.313225746154785e-10; // 2⁻³⁰

/**
 * The gradient's map with statistics of groups: dx = s·(gamma·dy − B/m − x̂·D/m), B = Σ gamma·dy
 * and D = Σ gamma·dy·x̂ over the group, m its values; as the kernels take it a·((dy − k) − b·(x −
 * gradCenter)) with a = gamma·s.
 *
 * Reads the sums as the kernels leave them, by channel; turns the second into dgamma, and writes a,
 * b, k.
 *
 * @param count values of a channel; by channel Σw, where not every place counts
 */
export function setGroupGradient(
  v: Training,
  channels: number,
  groups: number,
  count: number | Float64Array,
  gamma: Float32Array | undefined,
): void {
  const { mean, dbeta, dgamma, invStd, gradCenter, a, b, k } = v.views();
  const size = channels / groups;
  for (let first = 0; first < channels; first += size) {
    const s = invStd[first];
    const left = (mean[first] - gradCenter[first]) * s;
    let sum = 0;
    let dot = 0;
    let most = 0;
    let values = typeof count === 'number' ? count * size : 0;
    for (let c = first; c < first + size; c++) {
      const g = gamma ? gamma[c] : 1;
      if (left) dgamma[c] -= left * dbeta[c];
      sum += g * dbeta[c];
      dot += g * dgamma[c];
      most = Math.max(most, Math.abs(g));
      if (typeof count !== 'number') values += count[c];
    }
    for (let c = first; c < first + size; c++) {
      const given = gamma ? gamma[c] : 1;
      const g = Math.abs(given) < most * LEAST ? most * LEAST : given;
      const share = g === 0 ? 0 : dot / values / g;
      a[c] = g * s;
      b[c] = share * s;
      k[c] = g === 0 ? 0 : sum / values / g - left * share;
    }
  }
}
