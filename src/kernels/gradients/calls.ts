// The verbs of gradients of convolutions' weights and of pooling; see ../inference/calls.ts.

import { store } from '../../wasm/views.ts';
import type { Backend } from '../create-backend.ts';
import { kernelsFor } from '../inference/calls.ts';
import { WORTHWHILE_PRODUCT } from '../part.ts';
import type { PoolExtent } from '../pool/calls.ts';
import { withGradients } from './part.ts';

/** A call for one group: tables in memory, sizes (assembly/kernels/conv-weights-nxc.ts). */
export interface ConvCall {
  readonly at: number;
  readonly to: number;
  readonly taps: number;
  readonly count: number;
  readonly runs: number;
  readonly run: number;
  readonly cols: number;
  readonly isDepthwise: boolean;
  /** Values behind x and y, or dy. */
  readonly reach: number;
  readonly span: number;
}

/** The gradient with respect to the weights, as they are packed. */
export function convWeights(
  backend: Backend,
  x: number,
  dy: number,
  dw: number,
  { at, to, taps, count, runs, run, cols, isDepthwise, reach, span }: ConvCall,
): void {
  const kernels = kernelsFor(withGradients(backend), count * runs * run * cols, WORTHWHILE_PRODUCT);
  if (isDepthwise) kernels.depthwise_weights_nxc_f32(x, dy, at, to, taps, dw, count, runs, cols, reach, span);
  else kernels.conv_weights_nxc_f32(x, dy, at, to, taps, dw, count, runs, run, cols, reach, span);
}

/** dx: the gradient of each window at its first largest value. */
export function maxPoolGrad(
  backend: Backend,
  extent: PoolExtent,
  x: number,
  dy: number,
  dx: number,
  scratch: number,
): void {
  store(backend.heap, scratch, extent.windows);
  kernelsFor(withGradients(backend), extent.work).max_pool_grad_f32(x, scratch, dy, dx, ...extent.dilated);
}

/** dx: the gradient of each window, shared out among its places. */
export function avgPoolGrad(backend: Backend, extent: PoolExtent, dy: number, dx: number, scratch: number): void {
  store(backend.heap, scratch, extent.windows);
  kernelsFor(withGradients(backend), extent.work).avg_pool_grad_f32(dy, scratch, dx, ...extent.sizes);
}
