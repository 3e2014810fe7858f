// The verbs, called over a plan: which layout's kernel, in which order its arguments stand, and where the addresses of a range of
// channels begin. Layers call these and never see a pointer's arithmetic.

import type { ActivationCode } from './activations.ts';
import type { Backend } from './backend.ts';
import { type Kernels, WORTHWHILE, WORTHWHILE_PRODUCT } from './table.ts';

/** What a call needs to know of a plan (src/layers/plan.ts). */
export interface Extent {
  readonly kernel: 'ncx' | 'nxc';
  readonly outer: number;
  readonly channels: number;
  readonly inner: number;
}

/** The kernels on this thread, or those that may spread a call of so much work over threads. */
function kernelsFor({ kernels, parallel }: Backend, work: number, least = WORTHWHILE): Kernels {
  return work < least ? kernels : parallel;
}

/** Segments of rows whose sums are taken by themselves, at the most. A property of the shape, so that threads change nothing. */
export const MOST_SEGMENTS = 8;

function segmentOf(rows: number): number {
  return Math.max(64, Math.ceil(rows / MOST_SEGMENTS / 32) * 32);
}

/** Bytes of a tensor beyond which it will not be found in a shared last-level cache. */
const CACHED = 1 << 23;

/**
 * Are sums taken of four rows side by side? Where rows follow so closely that they are one stream, or lie in cache; otherwise the order of
 * addresses counts for more (25088x256: 5.5 cycles per vector with four, 2.7 with one; 100352x64: 2.1 with four; Node 20, AMD EPYC).
 */
function sideBySide(rows: number, stride: number): boolean {
  const row = stride * 4;
  return row < 512 || (row < 4096 && rows * row <= CACHED);
}

/** How sums are taken, and where those of all segments lie in a layer's memory for sums; the accumulators are behind them. */
function segmentsIn(sums: number, rows: number, channels: number, stride: number) {
  const segment = segmentOf(rows);
  const segments = Math.ceil(rows / segment);
  const bytes = segments * channels * 8;
  const together = sideBySide(rows, stride) ? 1 : 0;
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
  const kernels = kernelsFor(backend, outer * channels * inner);
  const mean = v.mean + from * 8;
  const variance = v.variance + from * 8;
  const pivot = v.pivot + from * 4;
  const many = to - from;
  if (kernel === 'ncx') {
    kernels.stats_ncx_f32(x + from * inner * 4, pivot, v.sums, mean, variance, outer, many, inner, channels * inner);
    return;
  }
  const at = x + from * 4;
  const { segment, segments, together, first, second, lanes } = segmentsIn(v.sums, outer, many, channels);
  kernels.pivot_nxc_f32(at, pivot, outer, many, channels);
  kernels.sums_nxc_f32(at, pivot, lanes, first, second, outer, many, channels, segment, together);
  kernels.moments_nxc_f32(at, pivot, first, second, mean, variance, outer, many, channels, segments);
}

/** The forward map's coefficients: y = f((x − center)·scale + shift); no centre, 0, in evaluation. */
export interface AffineVectors {
  readonly center: number;
  readonly scale: number;
  readonly shift: number;
}

/** y = f((x − center)·scale + shift + residual), for channels `from` to `to` of planes; for all where channels are innermost. */
export function affine(
  backend: Backend,
  extent: Extent,
  x: number,
  { center, scale, shift }: AffineVectors,
  residual: number,
  y: number,
  { kind, alpha }: ActivationCode,
  from = 0,
  to = extent.channels,
): void {
  const { kernel, outer, channels, inner } = extent;
  const kernels = kernelsFor(backend, outer * channels * inner);
  if (kernel === 'nxc') {
    kernels.affine_nxc_f32(x, center, scale, shift, residual, y, kind, alpha, outer, channels);
    return;
  }
  const at = from * inner * 4;
  const c = from * 4;
  kernels.affine_ncx_f32(
    x + at,
    center ? center + c : 0,
    scale + c,
    shift + c,
    residual ? residual + at : 0,
    y + at,
    kind,
    alpha,
    outer,
    to - from,
    inner,
    channels * inner,
  );
}

/** dbeta = Σdy and Σdy·(x − gradCenter)·invStd, which is put where dgamma will be, for channels `from` to `to`. */
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
  const kernels = kernelsFor(backend, outer * channels * inner);
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
  const { segment, segments, together, first, second, lanes } = segmentsIn(v.sums, outer, many, channels);
  kernels.grad_sums_nxc_f32(p, g, center, invStd, lanes, first, second, outer, many, channels, segment, together);
  kernels.grad_totals_nxc_f32(p, g, center, invStd, first, second, dbeta, dot, outer, many, channels, segments);
}

/** dx = scale·((dy − k) − b·(x − gradCenter)), for channels `from` to `to` of planes; for all where channels are innermost. */
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
  const kernels = kernelsFor(backend, outer * channels * inner);
  if (kernel === 'nxc') {
    kernels.grad_input_nxc_f32(x, dy, v.gradCenter, v.scale, v.b, v.k, dx, outer, channels);
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

/** y = f(x), element by element. */
export function activate(backend: Backend, x: number, y: number, { kind, alpha }: ActivationCode, size: number): void {
  kernelsFor(backend, size).activate_f32(x, y, kind, alpha, size);
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
  kernelsFor(backend, size).activate_grad_f32(x, dy, dx, kind, alpha, size);
}

/** y = f(x·w + bias): x [rows, depth], by default row-major; w [depth, cols] as `pack` leaves it; y [rows, cols]. */
export function linear(
  backend: Backend,
  x: number,
  packed: number,
  bias: number,
  y: number,
  { kind, alpha }: ActivationCode,
  rows: number,
  depth: number,
  cols: number,
  rowStride = depth,
  depthStride = 1,
): void {
  const kernels = kernelsFor(backend, rows * depth * cols, WORTHWHILE_PRODUCT);
  kernels.linear_f32(x, packed, bias, y, kind, alpha, rows, depth, cols, rowStride, depthStride, 0);
}
