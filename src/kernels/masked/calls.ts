// The verbs of batches in which not every place counts; see ../inference/calls.ts.

import type { Backend } from '../create-backend.ts';
import { type Extent, kernelsFor } from '../inference/calls.ts';
import { sideBySide } from '../training/calls.ts';
import { withMasked } from './part.ts';

/**
 * Where the weights of a tensor's places lie. With channels innermost one for each row; else that
 * of (n, c, i) at n·sampleStep + c·channelStep + i.
 */
export interface Weights {
  readonly at: number;
  readonly sampleStep: number;
  readonly channelStep: number;
}

/**
 * Σw·d and Σw·d², or with `dy` Σdy and Σdy·d, over places whose weight is not 0, for channels
 * `from` to `to`; d = (x − center)·invStd.
 *
 * @param isPlain all weights are 0 or 1 and, without dy, every invStd is 1
 * @param lanes scratch of 32 bytes for each four channels
 */
export function maskedSums(
  backend: Backend,
  { kernel, outer, channels, inner, whole = outer }: Extent,
  x: number,
  dy: number,
  weights: Weights,
  isPlain: boolean,
  center: number,
  invStd: number,
  lanes: number,
  sum: number,
  dot: number,
  from = 0,
  to = channels,
): void {
  const many = to - from;
  const kernels = kernelsFor(withMasked(backend), outer * many * inner);
  const { sampleStep, channelStep } = weights;
  const at = weights.at + from * channelStep * 4;
  const plane = from * inner * 4;
  const [p, g, h, s] = [x + plane, dy && dy + plane, center + from * 4, invStd + from * 4];
  const [a, b] = [sum + from * 8, dot + from * 8];
  const plain = isPlain ? 1 : 0;
  if (kernel === 'nxc') {
    const together = sideBySide(whole, channels) ? 1 : 0;
    kernels.masked_sums_nxc_f32(p, g, at, h, s, lanes, a, b, plain, together, outer, many, channels);
    return;
  }
  const stride = channels * inner;
  kernels.masked_sums_ncx_f32(p, g, at, h, s, a, b, plain, outer, many, inner, stride, sampleStep, channelStep);
}

/** y = w ≠ 0 ? y·w : 0, in place. */
export function weigh(backend: Backend, { kernel, outer, channels, inner }: Extent, y: number, weights: Weights): void {
  const kernels = kernelsFor(withMasked(backend), outer * channels * inner);
  const { at, sampleStep, channelStep } = weights;
  if (kernel === 'nxc') kernels.weigh_nxc_f32(y, at, outer, channels);
  else kernels.weigh_ncx_f32(y, at, outer, channels, inner, channels * inner, sampleStep, channelStep);
}
