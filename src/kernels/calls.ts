// The verbs, called over a plan: which layout's kernel, in which order its arguments stand, and where the addresses of a range of
// channels begin. Layers call these and never see a pointer's arithmetic.

import type { ActivationCode } from './activations.ts';
import type { Backend } from './backend.ts';
import type { Kernels } from './table.ts';

/** What a call needs to know of a plan (src/layers/plan.ts). */
export interface Extent {
  readonly kernel: 'ncx' | 'nxc';
  readonly outer: number;
  readonly channels: number;
  readonly inner: number;
}

/** Values below which a call is not worth a thought about threads. */
const SMALL = 1 << 14;

function kernelsFor({ kernels, parallel }: Backend, { outer, channels, inner }: Extent): Kernels {
  return outer * channels * inner < SMALL ? kernels : parallel;
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
  const kernels = kernelsFor(backend, extent);
  const mean = v.mean + from * 8;
  const variance = v.variance + from * 8;
  const pivot = v.pivot + from * 4;
  const sums = v.sums + from * 32;
  const many = to - from;
  if (kernel === 'nxc') kernels.stats_nxc_f32(x + from * 4, pivot, sums, mean, variance, outer, many, channels);
  else {
    const plane = inner * 4;
    kernels.stats_ncx_f32(x + from * plane, pivot, sums, mean, variance, outer, many, inner, channels * inner);
  }
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
  const kernels = kernelsFor(backend, extent);
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
  const kernels = kernelsFor(backend, extent);
  const center = v.gradCenter + from * 4;
  const invStd = v.invStd + from * 4;
  const sums = v.sums + from * 32;
  const dbeta = v.dbeta + from * 8;
  const dot = v.dgamma + from * 8;
  const many = to - from;
  if (kernel === 'nxc') {
    const c = from * 4;
    kernels.grad_stats_nxc_f32(x + c, dy + c, center, invStd, sums, dbeta, dot, outer, many, channels);
    return;
  }
  const at = from * inner * 4;
  const stride = channels * inner;
  kernels.grad_stats_ncx_f32(x + at, dy + at, center, invStd, sums, dbeta, dot, outer, many, inner, stride);
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
  const kernels = kernelsFor(backend, extent);
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
