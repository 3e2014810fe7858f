// Statistics of groups of channels, made of those of their channels; and the gradient through them.

import type { Heap } from '../wasm/memory.ts';
import type { Training } from './coefficients.ts';

/** Gives every channel the mean and variance of its group. */
export function poolGroups({ f64 }: Heap, v: Training, channels: number, groups: number): void {
  const mean = v.mean >>> 3;
  const variance = v.variance >>> 3;
  const size = channels / groups;
  if (size === 1) return;
  for (let first = 0; first < channels; first += size) {
    // around the first mean: what they share cancels before it is rounded
    const pivot = f64[mean + first];
    let shift = 0;
    for (let c = first; c < first + size; c++) shift += f64[mean + c] - pivot;
    shift /= size;
    let within = 0;
    for (let c = first; c < first + size; c++) {
      const d = f64[mean + c] - pivot - shift;
      within += f64[variance + c] + d * d;
    }
    for (let c = first; c < first + size; c++) {
      f64[mean + c] = pivot + shift;
      f64[variance + c] = within / size;
    }
  }
}

/** A gamma of 0 in a group would divide by 0: so small a share of the group's largest in its place is lost in rounding. */
const LEAST = 2 ** -30;

/**
 * The gradient's map with statistics of groups: dx = s·(gamma·dy − B/m − x̂·D/m), B = Σ gamma·dy and D = Σ gamma·dy·x̂ over the group, m its values; as
 * the kernels take it a·((dy − k) − b·(x − gradCenter)) with a = gamma·s.
 *
 * Reads the sums as the kernels leave them, by channel; turns the second into dgamma, and writes a, b, k.
 *
 * @param count values of a channel
 */
export function setGroupGradient(
  { f32, f64 }: Heap,
  v: Training,
  channels: number,
  groups: number,
  count: number,
  gamma: Float32Array | undefined,
): void {
  const [dbeta, dgamma] = [v.dbeta >>> 3, v.dgamma >>> 3];
  const size = channels / groups;
  const values = count * size;
  for (let first = 0; first < channels; first += size) {
    const s = f32[(v.invStd >>> 2) + first];
    const center = f32[(v.gradCenter >>> 2) + first];
    const left = (f64[(v.mean >>> 3) + first] - center) * s;
    let sum = 0;
    let dot = 0;
    let most = 0;
    for (let c = first; c < first + size; c++) {
      const g = gamma ? gamma[c] : 1;
      if (left) f64[dgamma + c] -= left * f64[dbeta + c];
      sum += g * f64[dbeta + c];
      dot += g * f64[dgamma + c];
      most = Math.max(most, Math.abs(g));
    }
    for (let c = first; c < first + size; c++) {
      const given = gamma ? gamma[c] : 1;
      const g = Math.abs(given) < most * LEAST ? most * LEAST : given;
      const share = g === 0 ? 0 : dot / values / g;
      f32[(v.a >>> 2) + c] = g * s;
      f32[(v.b >>> 2) + c] = share * s;
      f32[(v.k >>> 2) + c] = g === 0 ? 0 : sum / values / g - left * share;
    }
  }
}
