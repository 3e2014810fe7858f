// The verbs of batches in which not every place counts; see ../inference/calls.ts.

import type { Backend } from '../create-backend.ts';
import { type Extent, kernelsFor } from '../inference/calls.ts';
import { withMasked } from './part.ts';

/** Where the weights of a tensor's places lie. With channels innermost one for each row; else that of (n, c, i) at n·sampleStep + c·channelStep + i. */
export interface Weights {
  readonly at: number;
  readonly sampleStep: number;
  readonly channelStep: number;
}

/**
 * Σw·d and Σw·d², or with `dy` Σdy and Σdy·d, over places whose weight is not 0; d = (x − center)·invStd.
 *
 * @param lanes scratch of 32 bytes for each four channels
 */
export function maskedSums(
  backend: Backend,
  { kernel, outer, channels, inner }: Extent,
  x: number,
  dy: number,
  weights: Weights,
  center: number,
  invStd: number,
  lanes: number,
  sum: number,
  dot: number,
): void {
  const kernels = kernelsFor(withMasked(backend), outer * channels * inner);
  const { at, sampleStep, channelStep } = weights;
  if (kernel === 'nxc') {
    kernels.masked_sums_nxc_f32(x, dy, at, center, invStd, lanes, sum, dot, outer, channels, channels);
    return;
  }
  const stride = channels * inner;
  kernels.masked_sums_ncx_f32(
    x,
    dy,
    at,
    center,
    invStd,
    sum,
    dot,
    outer,
    channels,
    inner,
    stride,
    sampleStep,
    channelStep,
  );
}

/** y = w ≠ 0 ? y·w : 0, in place. */
export function weigh(backend: Backend, { kernel, outer, channels, inner }: Extent, y: number, weights: Weights): void {
  const kernels = kernelsFor(withMasked(backend), outer * channels * inner);
  const { at, sampleStep, channelStep } = weights;
  if (kernel === 'nxc') kernels.weigh_nxc_f32(y, at, outer, channels);
  else kernels.weigh_ncx_f32(y, at, outer, channels, inner, channels * inner, sampleStep, channelStep);
}
