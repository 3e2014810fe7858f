// Statistics of groups of channels, made of those of their channels; and the gradient through them.

import type { Training } from './coefficients.ts';

/** Gives every channel the mean and variance of its group. */
export function poolGroups(v: Training, channels: number, groups: number): void {
  const { mean, variance } = v.views();
  const size = channels / groups;
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
 * @param count values of a channel
 */
export function setGroupGradient(
  v: Training,
  channels: number,
  groups: number,
  count: number,
  gamma: Float32Array | undefined,
): void {
  const { mean, dbeta, dgamma, invStd, gradCenter, a, b, k } = v.views();
  const size = channels / groups;
  const values = count * size;
  for (let first = 0; first < channels; first += size) {
    const s = invStd[first];
    const left = (mean[first] - gradCenter[first]) * s;
    let sum = 0;
    let dot = 0;
    let most = 0;
    for (let c = first; c < first + size; c++) {
      const g = gamma ? gamma[c] : 1;
      if (left) dgamma[c] -= left * dbeta[c];
      sum += g * dbeta[c];
      dot += g * dgamma[c];
      most = Math.max(most, Math.abs(g));
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
