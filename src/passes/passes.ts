// How a pass walks over memory: statistics of as many channels as a cache holds, then the map of
// the same channels while they still lie there.

import { type ActivationCode, NO_ACTIVATION } from '../kernels/activations.ts';
import type { Backend } from '../kernels/create-backend.ts';
import { type AffineVectors, affine, type Extent } from '../kernels/inference/calls.ts';
import { gradInput, gradStats, stats } from '../kernels/training/calls.ts';
import { floats, store } from '../wasm/views.ts';
import { setGradient, type Training } from './coefficients.ts';
import type { Plan } from './plan.ts';

/**
 * Bytes of one input that two verbs in a row work on: what a shared last-level cache keeps until
 * the second verb comes. Smaller tiles, of the size of L2, are slower, since channels of a tile lie
 * apart in memory and every gap stops the prefetchers (training forward of 32x64x56x56, of the
 * speed of memory.copy: 0.44 with 0.8 MB, 0.69 with 3.2 MB, 0.75 with 13 MB, 0.81 whole; Node 20,
 * AMD EPYC, 1 MB of L2, 32 MB of L3).
 */
const TILE = 1 << 25;
/** Values of the piece in which pre-activations are worked out again. */
const PIECE = 1 << 14;

/**
 * Channels that fit in a tile. All of them where channels are innermost: their rows cannot be taken
 * apart.
 */
function tileWidth({ kernel, channels, count }: Plan): number {
  return kernel === 'nxc' ? channels : Math.max(1, Math.floor(TILE / (count * 4)));
}

/** Mean and variance of every channel. */
export function statistics(backend: Backend, plan: Plan, x: number, v: Training): void {
  stats(backend, plan, x, v, 0, plan.channels);
}

/**
 * Statistics and training map. `derive` turns the statistics of a range into coefficients.
 *
 * @param known the statistics are there already
 */
export function trainForward(
  backend: Backend,
  plan: Plan,
  x: number,
  residual: number,
  y: number,
  activation: ActivationCode,
  v: Training,
  derive: (from: number, to: number) => void,
  known = false,
): void {
  const { channels } = plan;
  const width = tileWidth(plan);
  for (let from = 0; from < channels; from += width) {
    const to = Math.min(channels, from + width);
    if (!known) stats(backend, plan, x, v, from, to);
    derive(from, to);
    affine(backend, plan, x, v, residual, y, activation, from, to);
  }
}

/** The two sums, and the gradient from them. */
export function trainBackward(backend: Backend, plan: Plan, x: number, dy: number, dx: number, v: Training): void {
  const { channels } = plan;
  const width = tileWidth(plan);
  const sumAgain = (channel: number) => gradStats(backend, plan, x, dy, v, channel, channel + 1);
  for (let from = 0; from < channels; from += width) {
    const to = Math.min(channels, from + width);
    gradStats(backend, plan, x, dy, v, from, to);
    setGradient(v, from, to, plan.count, sumAgain);
    gradInput(backend, plan, x, dy, v, dx, from, to);
  }
}

/** The gradient with constant statistics: dx = scale·dy. With `sums`, dbeta and dgamma as well. */
export function constantBackward(
  backend: Backend,
  plan: Plan,
  x: number,
  dy: number,
  dx: number,
  v: Training,
  sums: boolean,
): void {
  if (sums) gradStats(backend, plan, x, dy, v, 0, plan.channels);
  affine(backend, plan, dy, { center: 0, scale: v.scale, shift: v.k }, 0, dx, NO_ACTIVATION);
}

/**
 * Calls `visit` for one piece of a tensor after the other, in the order of memory: whole rows or
 * planes of one sample, or parts of a plane.
 */
export function walk(
  { kernel, outer, channels, inner, whole = outer }: Plan,
  most: number,
  visit: (at: number, size: number, extent: Extent, channel: number) => void,
): void {
  if (kernel === 'nxc') {
    const rows = Math.max(1, Math.floor(most / channels));
    for (let first = 0; first < outer; first += rows) {
      const many = Math.min(rows, outer - first);
      visit(first * channels, many * channels, { kernel, outer: many, channels, inner, whole }, 0);
    }
    return;
  }
  const planes = Math.max(1, Math.floor(most / inner));
  const part = Math.min(inner, most);
  for (let n = 0; n < outer; n++) {
    for (let c = 0; c < channels; c += planes) {
      const many = Math.min(planes, channels - c);
      for (let i = 0; i < inner; i += part) {
        const width = Math.min(part, inner - i);
        const at = (n * channels + c) * inner + i;
        visit(at, many * width, { kernel, outer: 1, channels: many, inner: width }, c);
      }
    }
  }
}

/** The coefficients of the channels from `c` on. */
export function vectorsFrom({ center, scale, shift }: AffineVectors, c: number): AffineVectors {
  return { center: center && center + c * 4, scale: scale + c * 4, shift: shift + c * 4 };
}

/**
 * Values of the piece in which plain arrays are staged: 1 MB, which stays in cache. Copies of less
 * go byte by byte on some processors (evaluation of 32x64x56x56 from and to plain arrays: 3.7 ms
 * with 256 kB, 2.9 ms with 1 to 4 MB, 1.7 ms on tensors, 1.7 ms for the copy of one array to
 * another; Node 20, glibc 2.36, AMD EPYC).
 */
const STAGE = 1 << 18;

/** Bytes of scratch that `stagedAffine` needs. */
export function stagedScratch({ size, kernel, channels }: Plan): number {
  return 8 * pieceSize(STAGE, size, kernel === 'nxc' ? channels : 1);
}

/**
 * The map on plain arrays: copied in, mapped and copied out piece by piece, so that the pieces stay
 * in cache and memory is read and written once.
 *
 * @param scratch memory of `stagedScratch` bytes
 */
export function stagedAffine(
  backend: Backend,
  plan: Plan,
  x: Float32Array,
  map: AffineVectors,
  residual: Float32Array | undefined,
  y: Float32Array,
  activation: ActivationCode,
  scratch: number,
): void {
  const added = residual ? scratch + stagedScratch(plan) / 2 : 0;
  const { heap } = backend;
  // one piece without the walk, which costs a call of 1x64 a tenth of its time
  if (plan.size <= STAGE) {
    store(heap, scratch, x);
    if (residual) store(heap, added, residual);
    affine(backend, plan, scratch, map, added, scratch, activation);
    y.set(floats(heap, scratch, plan.size));
    return;
  }
  walk(plan, STAGE, (at, size, extent, c) => {
    store(heap, scratch, x.subarray(at, at + size));
    if (residual) store(heap, added, residual.subarray(at, at + size));
    affine(backend, extent, scratch, vectorsFrom(map, c), added, scratch, activation);
    y.set(floats(heap, scratch, size), at);
  });
}

/** Values of a piece of at most `most`, or of one row where that is longer. */
function pieceSize(most: number, size: number, row: number): number {
  return Math.min(size, Math.max(most, row));
}

/** Bytes of scratch that `preActivations` needs. */
export function activationScratch({ size, kernel, channels }: Plan): number {
  return 4 * pieceSize(PIECE, size, kernel === 'nxc' ? channels : 1);
}

/**
 * Pre-activations worked out again piece by piece as forward did, so that corners fall the same
 * way.
 *
 * @param map how they were made: by the training map or by the evaluation map
 * @param scratch memory of `activationScratch` bytes
 * @param visit is told where a piece begins and how many values it has
 */
export function preActivations(
  backend: Backend,
  plan: Plan,
  x: number,
  residual: number,
  map: AffineVectors,
  scratch: number,
  visit: (from: number, size: number) => void,
): void {
  walk(plan, PIECE, (from, size, extent, c) => {
    const at = from * 4;
    affine(backend, extent, x + at, vectorsFrom(map, c), residual ? residual + at : 0, scratch, NO_ACTIVATION);
    visit(from, size);
  });
}
