// Maps by channel folded into weights, in f64. After a layer W′ = W·scale by output channel and b′
// = (b − center)·scale + shift; before one W′ = W·scale by input channel and b′ = b + Σ W·(shift −
// center·scale).

import { allOf, held, type Stored } from '../tensors/stored.ts';
import type { ChannelMap } from './operation.ts';

/** Which channels a weight belongs to. */
export interface WeightAxes {
  readonly outChannels: number;
  /** Output and input channel of each weight. */
  readonly outOf: (index: number) => number;
  readonly inOf: (index: number) => number;
}

/** Weights with a bias for each output channel, in f64. */
export interface ExactWeights {
  readonly weight: Float64Array;
  readonly bias: Float64Array;
}

interface GivenWeights {
  readonly weight: ArrayLike<number>;
  readonly bias?: ArrayLike<number> | null | undefined;
}

/** Weights that were never folded, or what folding has made of them. */
export type ExactValues = Stored | Float64Array;

/** What an operation adds up: weights, and a bias for each output channel. */
export interface Weights {
  readonly weight: ExactValues;
  readonly bias: Float32Array | Float64Array | null;
}

/** The same in f32. */
export interface RoundedWeights {
  readonly weight: Stored;
  readonly bias: Float32Array | null;
}

/** Weights as they are, to be read by index. */
export const valuesOf = (weight: ExactValues): Float32Array | Float64Array =>
  weight instanceof Float64Array ? weight : allOf(weight);

/** Weights in f32; the same where they are it already. */
export const singles = (values: ArrayLike<number>): Float32Array =>
  values instanceof Float32Array ? values : new Float32Array(values);

/** Weights and bias rounded to f32. */
export const roundedOf = ({ weight, bias }: Weights): RoundedWeights => ({
  weight: weight instanceof Float64Array ? held(singles(weight)) : weight,
  bias: bias && singles(bias),
});

/** Weights that do what a layer and then a map of its output channels do. */
export function foldedBehind(
  { weight, bias }: GivenWeights,
  { outChannels, outOf }: WeightAxes,
  { center, scale, shift }: Omit<ChannelMap, 'center'> & Partial<ChannelMap>,
): ExactWeights {
  // a loop: Float64Array.from takes ten times as long, and weights are millions
  const folded = new Float64Array(weight.length);
  for (let i = 0; i < folded.length; i++) folded[i] = weight[i] * scale[outOf(i)];
  return {
    weight: folded,
    bias: biasBehind(bias, outChannels, { center, scale, shift }),
  };
}

/** The bias alone of what a layer and then a map of its output channels do. */
export function biasBehind(
  bias: ArrayLike<number> | null | undefined,
  outChannels: number,
  { center, scale, shift }: Omit<ChannelMap, 'center'> & Partial<ChannelMap>,
): Float64Array {
  const made = new Float64Array(outChannels);
  for (let o = 0; o < outChannels; o++) {
    made[o] = ((bias ? bias[o] : 0) - (center ? center[o] : 0)) * scale[o] + shift[o];
  }
  return made;
}

/** The largest absolute value; NaN where there is one. */
export function largestOf(values: ArrayLike<number>): number {
  // bits without the sign are in the order of magnitudes, those of NaN above all: whole numbers
  // compare in a third of the time, and weights are millions
  if (values instanceof Float32Array) {
    const bits = new Int32Array(values.buffer, values.byteOffset, values.length);
    let most = 0;
    for (let i = 0; i < bits.length; i++) {
      const magnitude = bits[i] & 0x7fffffff;
      if (magnitude > most) most = magnitude;
    }
    return new Float32Array(Int32Array.of(most).buffer)[0];
  }
  let most = 0;
  for (let i = 0; i < values.length; i++) {
    const magnitude = Math.abs(values[i]);
    // a NaN stays: nothing is larger
    if (magnitude > most || Number.isNaN(magnitude)) most = magnitude;
  }
  return most;
}

/** What no absolute value of weights exceeds, up to rounding; NaN where a weight is NaN. */
export const mostOf = (weight: ExactValues): number =>
  weight instanceof Float64Array ? largestOf(weight) : (weight.most ?? largestOf(allOf(weight)));

/** Weights that do what a map of its input channels and then a layer do. */
export function foldedBefore(
  { weight, bias }: GivenWeights,
  { outChannels, outOf, inOf }: WeightAxes,
  { center, scale, shift }: Omit<ChannelMap, 'center'> & Partial<ChannelMap>,
): ExactWeights {
  const sums = Float64Array.from({ length: outChannels }, (_, o) => (bias ? bias[o] : 0));
  const shifts = Float64Array.from(shift, (value, c) => (center ? value - center[c] * scale[c] : value));
  const folded = new Float64Array(weight.length);
  for (let i = 0; i < folded.length; i++) {
    const c = inOf(i);
    sums[outOf(i)] += weight[i] * shifts[c];
    folded[i] = weight[i] * scale[c];
  }
  return { weight: folded, bias: sums };
}

/** Σ|stored − exact| over the weights of each output channel. */
export function roundingOf(
  exact: ArrayLike<number>,
  stored: ArrayLike<number>,
  { outChannels, outOf }: WeightAxes,
): Float64Array {
  const sums = new Float64Array(outChannels);
  for (let i = 0; i < exact.length; i++) sums[outOf(i)] += Math.abs(exact[i] - stored[i]);
  return sums;
}

/** Do all values fit in f32? */
export function fitsF32(values: Float64Array): boolean {
  for (let i = 0; i < values.length; i++) if (!Number.isFinite(Math.fround(values[i]))) return false;
  return true;
}

/**
 * ((x − c₁)·s₁ + t₁ − c₂)·s₂ + t₂ as one map, around the value of which the second norm makes 0:
 * where one of them has a centre, so has the whole.
 */
export function composedMaps(first: ChannelMap, second: ChannelMap): Record<keyof ChannelMap, Float64Array> {
  const center = Float64Array.from(first.center, (h, c) => {
    const [s, root] = [first.scale[c], h + (second.center[c] - first.shift[c]) / first.scale[c]];
    return (h || second.center[c]) && s && Number.isFinite(Math.fround(root)) ? Math.fround(root) : h;
  });
  const at = (x: number, c: number) => (x - first.center[c]) * first.scale[c] + first.shift[c] - second.center[c];
  return {
    center,
    scale: Float64Array.from(first.scale, (value, c) => value * second.scale[c]),
    shift: Float64Array.from(second.shift, (value, c) => at(center[c], c) * second.scale[c] + value),
  };
}
