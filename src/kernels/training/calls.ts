// The verbs of training; see ../inference/calls.ts.

import type { ActivationCode } from '../activations.ts';
import type { Backend } from '../create-backend.ts';
import { CACHED, type Extent, inBands, kernelsFor } from '../inference/calls.ts';
import { training } from './part.ts';

/**
 * Segments of rows whose sums are taken by themselves, at the most. A property of the shape, so
 * that threads change nothing.
 */
export const MOST_SEGMENTS = 8;

/** Rows of a segment, but for the last. */
export function segmentOf(rows: number): number {
  return Math.max(64, Math.ceil(rows / MOST_SEGMENTS / 32) * 32);
}

/**
 * Are sums taken of four rows side by side? Where rows follow so closely that they are one stream,
 * or lie in cache; otherwise the order of addresses counts for more (25088x256: 5.5 cycles per
 * vector with four, 2.7 with one; 100352x64: 2.1 with four; Node 20, AMD EPYC).
 */
export function sideBySide(rows: number, stride: number): boolean {
  const row = stride * 4;
  return row < 512 || (row < 4096 && rows * row <= CACHED);
}

/**
 * How sums of rows `channels` apart are taken, and where those of all segments lie in a layer's
 * memory for sums; the accumulators are behind them.
 */
function segmentsIn(sums: number, { outer: rows, channels: stride, whole = rows }: Extent, channels: number) {
  const segment = segmentOf(rows);
  const segments = Math.ceil(rows / segment);
  const bytes = segments * channels * 8;
  const together = sideBySide(whole, stride) ? 1 : 0;
  return { segment, segments, together, first: sums, second: sums + bytes, lanes: sums + 2 * bytes };
}

/** Mean and variance of channels `from` to `to`. */
export function stats(
  backend: Backend,
  extent: Extent,
  x: number,
  v: { pivot: number; sums: number; mean: number; variance: number },
  from: number,
  to: number,
): void {
  const { kernel, outer, channels, inner } = extent;
  const kernels = kernelsFor(training(backend), outer * channels * inner);
  const mean = v.mean + from * 8;
  const variance = v.variance + from * 8;
  const pivot = v.pivot + from * 4;
  const many = to - from;
  if (kernel === 'ncx') {
    kernels.stats_ncx_f32(x + from * inner * 4, pivot, v.sums, mean, variance, outer, many, inner, channels * inner);
    return;
  }
  const at = x + from * 4;
  const { segment, segments, together, first, second, lanes } = segmentsIn(v.sums, extent, many);
  kernels.pivot_nxc_f32(at, pivot, outer, many, channels);
  kernels.sums_nxc_f32(at, pivot, lanes, first, second, outer, many, channels, segment, together);
  kernels.moments_nxc_f32(at, pivot, first, second, mean, variance, outer, many, channels, segments);
}

/**
 * dbeta = Σdy and Σdy·(x − gradCenter)·invStd, which is put where dgamma will be, for channels
 * `from` to `to`.
 */
export function gradStats(
  backend: Backend,
  extent: Extent,
  x: number,
  dy: number,
  v: { gradCenter: number; invStd: number; sums: number; dbeta: number; dgamma: number },
  from: number,
  to: number,
): void {
  const { kernel, outer, channels, inner } = extent;
  const kernels = kernelsFor(training(backend), outer * channels * inner);
  const center = v.gradCenter + from * 4;
  const invStd = v.invStd + from * 4;
  const dbeta = v.dbeta + from * 8;
  const dot = v.dgamma + from * 8;
  const many = to - from;
  if (kernel === 'ncx') {
    const at = from * inner * 4;
    const stride = channels * inner;
    kernels.grad_stats_ncx_f32(x + at, dy + at, center, invStd, v.sums, dbeta, dot, outer, many, inner, stride);
    return;
  }
  const [p, g] = [x + from * 4, dy + from * 4];
  const { segment, segments, together, first, second, lanes } = segmentsIn(v.sums, extent, many);
  kernels.grad_sums_nxc_f32(p, g, center, invStd, lanes, first, second, outer, many, channels, segment, together);
  kernels.grad_totals_nxc_f32(p, g, center, invStd, first, second, dbeta, dot, outer, many, channels, segments);
}

/**
 * dx = scale·((dy − k) − b·(x − gradCenter)), for channels `from` to `to` of planes; for all where
 * channels are innermost.
 */
export function gradInput(
  backend: Backend,
  extent: Extent,
  x: number,
  dy: number,
  v: { gradCenter: number; scale: number; b: number; k: number },
  dx: number,
  from: number,
  to: number,
): void {
  const { kernel, outer, channels, inner } = extent;
  const kernels = kernelsFor(training(backend), outer * channels * inner);
  if (kernel === 'nxc') {
    kernels.grad_input_nxc_f32(x, dy, v.gradCenter, v.scale, v.b, v.k, dx, inBands(extent, 1 / 4), outer, channels);
    return;
  }
  const at = from * inner * 4;
  const c = from * 4;
  kernels.grad_input_ncx_f32(
    x + at,
    dy + at,
    v.gradCenter + c,
    v.scale + c,
    v.b + c,
    v.k + c,
    dx + at,
    outer,
    to - from,
    inner,
    channels * inner,
  );
}

/** dx = dy·f′(x), element by element. */
export function activateGrad(
  backend: Backend,
  x: number,
  dy: number,
  dx: number,
  { kind, alpha }: ActivationCode,
  size: number,
): void {
  kernelsFor(training(backend), size).activate_grad_f32(x, dy, dx, kind, alpha, size);
}
