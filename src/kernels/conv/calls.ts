// The verbs of convolutions; see ../inference/calls.ts.

import { type ActivationCode, NO_ACTIVATION } from '../activations.ts';
import type { Backend } from '../create-backend.ts';
import { kernelsFor } from '../inference/calls.ts';
import { WORTHWHILE_PRODUCT } from '../part.ts';
import { withConv } from './part.ts';
import type { RowSizes, WindowSizes } from './windows.ts';

/** Numbers of the activations that a product applies itself (src/kernels/activations.ts). */
const RELU = 1;
const RELU6 = 2;

/**
 * The least and the largest value that an activation lets through, where it is no more than that.
 */
export function clampOf({ kind }: ActivationCode): readonly [low: number, high: number] | undefined {
  if (kind === NO_ACTIVATION.kind) return [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
  if (kind === RELU) return [0, Number.POSITIVE_INFINITY];
  return kind === RELU6 ? [0, 6] : undefined;
}

/**
 * Pixels of y from those of x; residual and bias 0 for none; tables and sizes as
 * assembly/kernels/conv-nxc.ts has them. A run allocates nothing, so that they come one by one.
 */
export function conv(
  backend: Backend,
  x: number,
  packed: number,
  bias: number,
  residual: number,
  y: number,
  at: number,
  to: number,
  taps: number,
  [low, high]: readonly [number, number],
  count: number,
  runs: number,
  run: number,
  cols: number,
  isDepthwise: boolean,
  reach: number,
  span: number,
): void {
  const kernels = kernelsFor(withConv(backend), count * runs * run * cols, WORTHWHILE_PRODUCT);
  if (isDepthwise) {
    kernels.depthwise_nxc_f32(x, packed, bias, residual, y, at, to, taps, low, high, count, runs, cols, reach, span);
  } else {
    kernels.conv_nxc_f32(x, packed, bias, residual, y, at, to, taps, low, high, count, runs, run, cols, reach, span);
  }
}

/** The same for windows of 3 × 3 on whole images; `work` has room for `windowWork` values. */
export function winograd(
  backend: Backend,
  x: number,
  packed: number,
  bias: number,
  residual: number,
  y: number,
  work: number,
  sizes: WindowSizes,
  [low, high]: readonly [number, number],
): void {
  const { samples, height, width, depth, outHeight, outWidth, cols, top, left, share, block } = sizes;
  const kernels = kernelsFor(withConv(backend), samples * outHeight * outWidth * depth * cols, WORTHWHILE_PRODUCT >> 3);
  kernels.winograd_nxc_f32(
    x,
    packed,
    bias,
    residual,
    y,
    work,
    low,
    high,
    samples,
    height,
    width,
    depth,
    outHeight,
    outWidth,
    cols,
    cols,
    top,
    left,
    share,
    block,
  );
}

/** Each channel by itself on whole images; `order`: the numbers of the rows, 0, 1, 2, …, as u32. */
export function depthwiseRows(
  backend: Backend,
  x: number,
  w: number,
  bias: number,
  residual: number,
  y: number,
  order: number,
  sizes: RowSizes,
  [low, high]: readonly [number, number],
): void {
  const { samples, height, width, outHeight, outWidth, cols, kernelHeight, kernelWidth } = sizes;
  const { strideHeight, strideWidth, top, left } = sizes;
  const rows = samples * outHeight;
  const work = rows * outWidth * cols * kernelHeight * kernelWidth;
  const kernels = kernelsFor(withConv(backend), work, WORTHWHILE_PRODUCT);
  kernels.depthwise_rows_nxc_f32(
    x,
    w,
    bias,
    residual,
    y,
    order,
    low,
    high,
    rows,
    samples,
    height,
    width,
    outHeight,
    outWidth,
    cols,
    kernelHeight,
    kernelWidth,
    strideHeight,
    strideWidth,
    top,
    left,
  );
}

type Three = readonly [number, number, number];

/** Pixels with channels innermost and zeros around them; `isFirst`: from channels first. */
export function pad(
  backend: Backend,
  x: number,
  y: number,
  isFirst: boolean,
  samples: number,
  channels: number,
  repeat: number,
  lengths: Three,
  padded: Three,
  before: Three,
): void {
  const kernels = kernelsFor(withConv(backend), samples * channels * lengths[0] * lengths[1] * lengths[2]);
  // one by one: several lists in a call make an array
  const [depth, height, width] = lengths;
  const [toDepth, toHeight, toWidth] = padded;
  const [front, top, left] = before;
  const first = isFirst ? 1 : 0;
  kernels.pad_nxc_f32(
    x,
    y,
    first,
    samples,
    channels,
    repeat,
    depth,
    height,
    width,
    toDepth,
    toHeight,
    toWidth,
    front,
    top,
    left,
  );
}

/** `[samples, rows, cols]` as `[samples, cols, rows]`. */
export function transpose(backend: Backend, x: number, y: number, samples: number, rows: number, cols: number): void {
  const kernels = kernelsFor(withConv(backend), samples * rows * cols);
  kernels.pad_nxc_f32(x, y, 1, samples, rows, 1, 1, 1, cols, 1, 1, cols, 0, 0, 0);
}

/** One place of the window, packed; factors 0 for none: see assembly/kernels/pack-taps.ts. */
export function packTaps(
  backend: Backend,
  w: number,
  packed: number,
  factors: number,
  depth: number,
  cols: number,
  depthStride: number,
  colStride: number,
  panelStride: number,
): void {
  withConv(backend).kernels.pack_taps_f32(w, packed, factors, depth, cols, depthStride, colStride, panelStride);
}

/** Bytes, in the last quarter of their values' place: see assembly/kernels/decode-bytes.ts. */
export function decodeBytes(backend: Backend, y: number, scale: number, min: number, count: number): void {
  withConv(backend).kernels.decode_bytes_f32(y, scale, min, count);
}

/**
 * Where pixels begin, in a table of u32: see assembly/kernels/pixel-table.ts. Lists are read by
 * index: to take them apart makes garbage, and runs make none.
 */
export function pixelTable(
  backend: Backend,
  table: number,
  samples: number,
  counts: Three,
  { first, sampleStep, steps }: { readonly first: number; readonly sampleStep: number; readonly steps: Three },
): void {
  withConv(backend).kernels.pixel_table_f32(
    table,
    samples,
    counts[0],
    counts[1],
    counts[2],
    first,
    sampleStep,
    steps[0],
    steps[1],
    steps[2],
  );
}

/** Sums of `run` values side by side. */
export function sumRuns(backend: Backend, x: number, y: number, count: number, run: number): void {
  withConv(backend).kernels.sum_runs_f32(x, y, count, run);
}
