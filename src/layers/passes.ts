// How a pass walks over memory: statistics of as many channels as a cache holds, then the map of the same channels while they still lie
// there.

import { type ActivationCode, NO_ACTIVATION } from '../kernels/activations.ts';
import type { Backend } from '../kernels/backend.ts';
import { type AffineVectors, affine, gradInput, gradStats, stats } from '../kernels/calls.ts';
import { setGradient, type Training } from './coefficients.ts';
import type { Plan } from './plan.ts';

/**
 * Bytes of one input that two verbs in a row work on: what a shared last-level cache keeps until the second verb comes. Smaller tiles, of
 * the size of L2, are slower, since channels of a tile lie apart in memory and every gap stops the prefetchers (training forward of
 * 32x64x56x56, of the speed of memory.copy: 0.44 with 0.8 MB, 0.69 with 3.2 MB, 0.75 with 13 MB, 0.81 whole; Node 20, AMD EPYC, 1 MB of L2,
 * 32 MB of L3).
 */
const TILE = 1 << 25;
/** Values of the piece in which pre-activations are worked out again. */
const PIECE = 1 << 14;

/** Channels that fit in a tile. All of them where channels are innermost: their rows cannot be taken apart. */
function tileWidth({ kernel, channels, count }: Plan): number {
  return kernel === 'nxc' ? channels : Math.max(1, Math.floor(TILE / (count * 4)));
}

/**
 * Statistics and training map. `derive` turns the statistics of a range into coefficients; `check`, if given, sees all statistics
 * before the first value is written, and may throw.
 */
export function trainForward(
  { kernels }: Backend,
  plan: Plan,
  x: number,
  residual: number,
  y: number,
  activation: ActivationCode,
  v: Training,
  derive: (from: number, to: number) => void,
  check?: () => void,
): void {
  const { channels } = plan;
  const width = tileWidth(plan);
  if (check) {
    stats(kernels, plan, x, v, 0, channels);
    check();
  }
  for (let from = 0; from < channels; from += width) {
    const to = Math.min(channels, from + width);
    if (!check) stats(kernels, plan, x, v, from, to);
    derive(from, to);
    affine(kernels, plan, x, v, residual, y, activation, from, to);
  }
}

/** The two sums, and the gradient from them. */
export function trainBackward(
  { kernels, heap }: Backend,
  plan: Plan,
  x: number,
  dy: number,
  dx: number,
  v: Training,
): void {
  const { channels } = plan;
  const width = tileWidth(plan);
  const sumAgain = (channel: number) => gradStats(kernels, plan, x, dy, v, channel, channel + 1);
  for (let from = 0; from < channels; from += width) {
    const to = Math.min(channels, from + width);
    gradStats(kernels, plan, x, dy, v, from, to);
    setGradient(heap, v, from, to, plan.count, sumAgain);
    gradInput(kernels, plan, x, dy, v, dx, from, to);
  }
}

/** The gradient with constant statistics: dx = scale·dy. With `sums`, dbeta and dgamma as well. */
export function constantBackward(
  { kernels }: Backend,
  plan: Plan,
  x: number,
  dy: number,
  dx: number,
  v: Training,
  sums: boolean,
): void {
  if (sums) gradStats(kernels, plan, x, dy, v, 0, plan.channels);
  affine(kernels, plan, dy, { center: 0, scale: v.scale, shift: v.k }, 0, dx, NO_ACTIVATION);
}

/** Bytes of scratch that `activationBackward` needs. */
export function activationScratch({ kernel, channels, inner, size }: Plan): number {
  return 4 * Math.min(size, Math.max(PIECE, kernel === 'nxc' ? channels : inner));
}

/**
 * g = dy·f′(pre), the pre-activations worked out again piece by piece as forward did, so that corners fall the same way.
 *
 * @param map how the pre-activations were made: by the training map or by the evaluation map
 * @param scratch memory of `activationScratch` bytes
 */
export function activationBackward(
  { kernels }: Backend,
  plan: Plan,
  x: number,
  residual: number,
  dy: number,
  g: number,
  activation: ActivationCode,
  map: AffineVectors,
  scratch: number,
): void {
  const { kernel, outer, channels, inner } = plan;
  const unit = kernel === 'nxc' ? channels : inner;
  const units = kernel === 'nxc' ? outer : outer * channels;
  const most = Math.max(1, Math.floor(PIECE / unit));
  for (let first = 0; first < units; ) {
    // rows, or planes of one sample
    const c = kernel === 'nxc' ? 0 : first % channels;
    const many = Math.min(most, kernel === 'nxc' ? units - first : channels - c);
    const at = first * unit * 4;
    const extent =
      kernel === 'nxc' ? { kernel, outer: many, channels, inner } : { kernel, outer: 1, channels: many, inner };
    const from = residual ? residual + at : 0;
    const v = { center: map.center && map.center + c * 4, scale: map.scale + c * 4, shift: map.shift + c * 4 };
    affine(kernels, extent, x + at, v, from, scratch, NO_ACTIVATION);
    kernels.activate_grad_f32(scratch, dy + at, g + at, activation.kind, activation.alpha, many * unit);
    first += many;
  }
}
