// The verbs of pooling; see ../inference/calls.ts.

import { store } from '../../wasm/views.ts';
import type { Backend } from '../create-backend.ts';
import { kernelsFor } from '../inference/calls.ts';
import { withPool } from './part.ts';
import { type WindowAxis, windowsOf } from './windows.ts';

/** What pooling does to values of one shape. */
export interface PoolExtent {
  /** Samples, and channels where these are innermost; planes, and 1 where they are not. */
  readonly outer: number;
  readonly channels: number;
  /** Depth, height and width: those that an image does not have are of length 1. */
  readonly axes: readonly [WindowAxis, WindowAxis, WindowAxis];
  /** The table of windows, as kernels read it. */
  readonly windows: Float32Array;
  /** The sizes of a call, the same with dilations, and its work: worked out once. */
  readonly sizes: readonly number[];
  readonly dilated: readonly number[];
  readonly work: number;
}

const NO_AXIS: WindowAxis = { input: 1, output: 1, kernel: 1, stride: 1, padding: 0, dilation: 1 };

/** An extent over one to three axes. */
export function poolExtent(
  outer: number,
  channels: number,
  axes: readonly WindowAxis[],
  countsPadding?: boolean,
): PoolExtent {
  const three = [NO_AXIS, NO_AXIS, ...axes].slice(-3) as [WindowAxis, WindowAxis, WindowAxis];
  const [inputs, outputs, dilations] = [
    three.map(({ input }) => input),
    three.map(({ output }) => output),
    three.map(({ dilation }) => dilation),
  ];
  const sizes = [outer, channels, ...inputs, ...outputs];
  const work = inputs.reduce((product, input) => product * input, outer * channels);
  const windows = windowsOf(three, countsPadding);
  return { outer, channels, axes: three, windows, sizes, dilated: [...sizes, ...dilations], work };
}

/** Bytes of scratch that a call writes its table to. */
export function poolScratch({ windows }: PoolExtent): number {
  return windows.byteLength;
}

/** y: the largest value of each window. `scratch`: memory of `poolScratch` bytes. */
export function maxPool(backend: Backend, extent: PoolExtent, x: number, y: number, scratch: number): void {
  store(backend.heap, scratch, extent.windows);
  const kernels = kernelsFor(withPool(backend), extent.work);
  // one by one: a list of arguments makes garbage, and a compiled run makes none
  const [n, c, d, h, w, outD, outH, outW, stepD, stepH, stepW] = extent.dilated;
  kernels.max_pool_f32(x, scratch, y, n, c, d, h, w, outD, outH, outW, stepD, stepH, stepW);
}

/** y: the average of each window. */
export function avgPool(backend: Backend, extent: PoolExtent, x: number, y: number, scratch: number): void {
  store(backend.heap, scratch, extent.windows);
  const [n, c, d, h, w, outD, outH, outW] = extent.sizes;
  kernelsFor(withPool(backend), extent.work).avg_pool_f32(x, scratch, y, n, c, d, h, w, outD, outH, outW);
}
