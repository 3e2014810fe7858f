// Passes over batches in which not every place counts: sums by weight, and the usual maps, after
// which places that do not count are cleared while they lie in cache.

import { type ActivationCode, NO_ACTIVATION } from '../kernels/activations.ts';
import type { Backend } from '../kernels/create-backend.ts';
import { type AffineVectors, activate, affine } from '../kernels/inference/calls.ts';
import { maskedSums, type Weights, weigh } from '../kernels/masked/calls.ts';
import { gradInput } from '../kernels/training/calls.ts';
import type { Call } from '../tensors/call.ts';
import { floats, store } from '../wasm/views.ts';
import type { Training } from './coefficients.ts';
import type { Mask } from './mask.ts';
import { vectorsFrom, walk } from './passes.ts';
import type { Plan } from './plan.ts';

/** A mask in linear memory, for the length of a call. */
export interface MaskInMemory {
  readonly mask: Mask;
  /** 1 or 0. */
  readonly places: Weights;
  /** What statistics weigh by, and one over it; the places, where all weights are 1. */
  readonly weights: Weights;
  readonly inverse: Weights;
  readonly lanes: number;
}

export function placeMask(backend: Backend, call: Call, mask: Mask): MaskInMemory {
  const { places, weights, sampleStep, channelStep, plan } = mask;
  const many = places.length;
  const at = call.scratch(many * 4 * (weights ? 3 : 1));
  const lanes = call.scratch(Math.ceil(plan.channels / 4) * 32);
  const stored = (values: ArrayLike<number>, index: number): Weights => {
    const start = at + index * many * 4;
    store(backend.heap, start, values);
    return { at: start, sampleStep, channelStep };
  };
  const flags = stored(places, 0);
  if (!weights) return { mask, places: flags, weights: flags, inverse: flags, lanes };
  const inverse = weights.map((w) => (w === 0 ? 0 : 1 / w));
  return { mask, places: flags, weights: stored(weights, 1), inverse: stored(inverse, 2), lanes };
}

/**
 * Rounds in which a channel finds a centre and a scale that keep its digits: a first guess, the
 * mean, and the mean by a better scale.
 */
const ROUNDS = 4;
const MOST_SHIFT = 0.667;
/** Channels are summed again one by one where no more than one in so many asks for it. */
const FEW = 32;

/**
 * Mean and variance of each channel over the places that count: v.mean, v.variance.
 *
 * As in the kernels without weights: sums of differences from a value near the mean, in f32 over
 * blocks and f64 over those; where they cannot be trusted, because that value lies far from the
 * mean or squares leave the range of f32, again around the mean.
 */
export function maskedStats(backend: Backend, plan: Plan, x: number, placed: MaskInMemory, v: Training): void {
  const { total } = placed.mask;
  const { channels } = plan;
  setFirst(backend, plan, x, placed, v.views().gradCenter);
  v.views().invStd.fill(1);
  const done = new Uint8Array(channels);
  let open = channels;
  let isPlain = !placed.mask.weights;
  for (let round = 1; round <= ROUNDS && open > 0; round++) {
    const sum = (from: number, to: number) =>
      maskedSums(
        backend,
        plan,
        x,
        0,
        placed.weights,
        isPlain,
        v.gradCenter,
        v.invStd,
        placed.lanes,
        v.dbeta,
        v.dgamma,
        from,
        to,
      );
    if (open * FEW > channels) sum(0, channels);
    else for (let c = 0; c < channels; c++) if (!done[c]) sum(c, c + 1);
    const { gradCenter: center, invStd: scale, dbeta: sums, dgamma: dots, mean: means, variance } = v.views();
    for (let c = 0; c < channels; c++) {
      if (done[c]) continue;
      const s = scale[c];
      const shift = sums[c] / total[c];
      const square = dots[c] / total[c];
      const h = center[c];
      means[c] = h + shift / s;
      variance[c] = Math.max(square - shift * shift, 0) / (s * s);
      const apart = shift * shift <= MOST_SHIFT * square;
      if ((square >= 1e-30 && square < Number.POSITIVE_INFINITY && apart) || (square === 0 && shift === 0)) {
        done[c] = 1;
        open--;
        continue;
      }
      const mean = Math.fround(means[c]);
      if (Number.isFinite(mean)) center[c] = mean;
      // squares beyond f32, or below it: once either way, since a scale is f32 as well
      if (s !== 1 || !(square === Number.POSITIVE_INFINITY || square < 1e-30)) continue;
      scale[c] = square < 1e-30 ? 2 ** 64 : 2 ** -64;
      isPlain = false;
    }
  }
}

/** Places of which the first centre of a channel is a middle one. */
const SAMPLES = 9;

/**
 * A middle value of a few places that count, as the first centre of each channel; 0 where that is
 * not finite.
 */
function setFirst({ heap }: Backend, plan: Plan, x: number, { mask }: MaskInMemory, center: Float32Array): void {
  const { channels, inner, size } = plan;
  const { channelStep } = mask;
  const values = floats(heap, x, size);
  let chosen: Int32Array = new Int32Array(0);
  for (let c = 0; c < channels; c++) {
    if (c === 0 || channelStep) chosen = choosePlaces(plan, mask, c * channelStep);
    const from = c * inner;
    const middle = (i: number) =>
      median(values[from + chosen[i]], values[from + chosen[i + 1]], values[from + chosen[i + 2]]);
    const many = chosen.length;
    const value =
      many === SAMPLES
        ? median(middle(0), middle(3), middle(6))
        : many >= 3
          ? middle(0)
          : many
            ? values[from + chosen[0]]
            : 0;
    center[c] = Number.isFinite(value) ? value : 0;
  }
}

/** Places that count, spread over all: where they lie in a channel. */
function choosePlaces({ outer, channels, inner }: Plan, { places, sampleStep }: Mask, from: number): Int32Array {
  const count = outer * inner;
  const found: number[] = [];
  for (let s = 0; s < SAMPLES; s++) {
    const end = Math.floor(((s + 1) * count) / SAMPLES);
    for (let place = Math.floor((s * count) / SAMPLES); place < end; place++) {
      const n = Math.floor(place / inner);
      const i = place - n * inner;
      if (!places[n * sampleStep + from + i]) continue;
      found.push(n * channels * inner + i);
      break;
    }
  }
  return Int32Array.from(found);
}

function median(a: number, b: number, c: number): number {
  return Math.max(Math.min(a, b), Math.min(Math.max(a, b), c));
}

/**
 * Σdy and Σdy·(x − gradCenter)·invStd over the places that count, of channels `from` to `to`:
 * v.dbeta, v.dgamma.
 */
export function maskedGradStats(
  backend: Backend,
  plan: Plan,
  x: number,
  dy: number,
  placed: MaskInMemory,
  v: Training,
  from: number,
  to: number,
): void {
  const { places, lanes } = placed;
  maskedSums(backend, plan, x, dy, places, true, v.gradCenter, v.invStd, lanes, v.dbeta, v.dgamma, from, to);
}

/**
 * Values of a piece that is mapped and then cleared: it and what it comes from lie in L2 meanwhile.
 */
const PIECE = 1 << 16;

/** Calls `visit` for pieces of a tensor, with what tells the weights of each. */
function pieces(
  plan: Plan,
  visit: (
    from: number,
    size: number,
    extent: Parameters<Parameters<typeof walk>[2]>[2],
    c: number,
    of: (w: Weights) => Weights,
  ) => void,
): void {
  const { kernel, channels, inner } = plan;
  walk(plan, PIECE, (from, size, extent, c) => {
    const n = Math.floor(from / (channels * inner));
    const i = kernel === 'nxc' ? 0 : from % inner;
    visit(from, size, extent, c, (w) => ({ ...w, at: w.at + (n * w.sampleStep + c * w.channelStep + i) * 4 }));
  });
}

/** The forward map; 0 in places that do not count. */
export function maskedAffine(
  backend: Backend,
  plan: Plan,
  x: number,
  map: AffineVectors,
  residual: number,
  y: number,
  activation: ActivationCode,
  { places }: MaskInMemory,
): void {
  pieces(plan, (from, _, extent, c, of) => {
    const at = from * 4;
    affine(backend, extent, x + at, vectorsFrom(map, c), residual ? residual + at : 0, y + at, activation);
    weigh(backend, extent, y + at, of(places));
  });
}

/**
 * The gradient's map, dx = scale·(dy − w·(k + b·(x − gradCenter))); 0 in places that do not count.
 *
 * @param spare memory of `PIECE` values, or of a row if that is longer
 */
export function maskedGradInput(
  backend: Backend,
  plan: Plan,
  x: number,
  dy: number,
  v: Pick<Training, 'gradCenter' | 'scale' | 'b' | 'k'>,
  dx: number,
  { mask, places, weights, inverse }: MaskInMemory,
  spare: number,
): void {
  pieces(plan, (from, size, extent, c, of) => {
    const at = from * 4;
    const shifted = {
      gradCenter: v.gradCenter + c * 4,
      scale: v.scale + c * 4,
      b: v.b + c * 4,
      k: v.k + c * 4,
    };
    let g = dy + at;
    if (mask.weights) {
      activate(backend, g, spare, NO_ACTIVATION, size);
      weigh(backend, extent, spare, of(inverse));
      g = spare;
    }
    gradInput(backend, extent, x + at, g, shifted, dx + at, 0, extent.channels);
    weigh(backend, extent, dx + at, of(mask.weights ? weights : places));
  });
}

/** Values of `maskedGradInput`'s spare memory. */
export function spareFor({ kernel, channels }: Plan): number {
  return Math.max(PIECE, kernel === 'nxc' ? channels : 1);
}

/** 0 in places that do not count. */
export function clearMasked(backend: Backend, plan: Plan, y: number, { places }: MaskInMemory): void {
  weigh(backend, plan, y, places);
}
