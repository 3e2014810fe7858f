// How a pass walks over memory: statistics of as many channels as a cache holds, then the map of the same channels while they still lie
// there.

import { type ActivationCode, NO_ACTIVATION } from '../kernels/activations.ts';
import type { Backend } from '../kernels/backend.ts';
import { affine, gradInput, gradStats, normalize, stats } from '../kernels/calls.ts';
import type { Evaluation, Training } from './coefficients.ts';
import type { Plan } from './plan.ts';

/**
 * Bytes of one input that two verbs in a row work on: what a shared last-level cache keeps until the second verb comes. Smaller tiles, of
 * the size of L2, are slower, since channels of a tile lie apart in memory and every gap stops the prefetchers (train 32x64x56x56: 4.3 ms
 * with 0.5 MB, 2.8 ms with 4 MB, 2.4 ms with 16 MB; 32x64x112x112: 9.9, 9.4, 9.3, and 11.1 ms untiled; Node 20, AMD EPYC, 1 MB of L2).
 */
const TILE = 1 << 24;
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
    normalize(kernels, plan, x, v, residual, y, activation, from, to);
  }
}

/** The two sums, and the gradient from them. `derive` turns the sums of a range into coefficients. */
export function trainBackward(
  { kernels }: Backend,
  plan: Plan,
  x: number,
  dy: number,
  dx: number,
  v: Training,
  derive: (from: number, to: number) => void,
): void {
  const { channels } = plan;
  const width = tileWidth(plan);
  for (let from = 0; from < channels; from += width) {
    const to = Math.min(channels, from + width);
    gradStats(kernels, plan, x, dy, v, from, to);
    derive(from, to);
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
  affine(kernels, plan, dy, { scale: v.scale, shift: v.k }, 0, dx, NO_ACTIVATION);
}

/** How a pre-activation was made: by the training map or by the evaluation map. */
export type Map = { readonly training: Training } | { readonly evaluation: Evaluation };

/** Bytes of scratch that `activationBackward` needs. */
export function activationScratch({ kernel, channels, inner, size }: Plan): number {
  return 4 * Math.min(size, Math.max(PIECE, kernel === 'nxc' ? channels : inner));
}

/**
 * g = dy·f′(pre), the pre-activations worked out again piece by piece as forward did, so that corners fall the same way.
 *
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
  map: Map,
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
    if ('training' in map) {
      const { hi, lo, scale, beta } = map.training;
      const v = { hi: hi + c * 4, lo: lo + c * 4, scale: scale + c * 4, beta: beta + c * 4 };
      normalize(kernels, extent, x + at, v, from, scratch, NO_ACTIVATION, 0, extent.channels);
    } else {
      const { scale, shift } = map.evaluation;
      affine(kernels, extent, x + at, { scale: scale + c * 4, shift: shift + c * 4 }, from, scratch, NO_ACTIVATION);
    }
    kernels.activate_grad_f32(scratch, dy + at, g + at, activation.kind, activation.alpha, many * unit);
    first += many;
  }
}
