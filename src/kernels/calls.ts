// The verbs, called over a plan: which layout's kernel, in which order its arguments stand, and where the addresses of a range of
// channels begin. Layers call these and never see a pointer's arithmetic.

import type { ActivationCode } from './activations.ts';
import type { Kernels } from './table.ts';

/** What a call needs to know of a plan (src/layers/plan.ts). */
export interface Extent {
  readonly kernel: 'ncx' | 'nxc';
  readonly outer: number;
  readonly channels: number;
  readonly inner: number;
}

/** Mean and variance of channels `from` to `to`. */
export function stats(
  kernels: Kernels,
  { kernel, outer, channels, inner }: Extent,
  x: number,
  v: { pivot: number; lanes: number; mean: number; variance: number },
  from: number,
  to: number,
): void {
  const mean = v.mean + from * 8;
  const variance = v.variance + from * 8;
  const pivot = v.pivot + from * 4;
  if (kernel === 'nxc') kernels.stats_nxc_f32(x + from * 4, pivot, mean, variance, outer, to - from, channels);
  else
    kernels.stats_ncx_f32(
      x + from * inner * 4,
      pivot,
      v.lanes,
      mean,
      variance,
      outer,
      to - from,
      inner,
      channels * inner,
    );
}

/** y = f(x·scale + shift + residual). */
export function affine(
  kernels: Kernels,
  { kernel, outer, channels, inner }: Extent,
  x: number,
  v: { scale: number; shift: number },
  residual: number,
  y: number,
  { kind, alpha }: ActivationCode,
): void {
  if (kernel === 'nxc') kernels.affine_nxc_f32(x, v.scale, v.shift, residual, y, kind, alpha, outer, channels);
  else kernels.affine_ncx_f32(x, v.scale, v.shift, residual, y, kind, alpha, outer, channels, inner, channels * inner);
}

/** y = f(((x − hi) − lo)·scale + beta + residual), for channels `from` to `to` of planes; for all where channels are innermost. */
export function normalize(
  kernels: Kernels,
  { kernel, outer, channels, inner }: Extent,
  x: number,
  v: { hi: number; lo: number; scale: number; beta: number },
  residual: number,
  y: number,
  { kind, alpha }: ActivationCode,
  from: number,
  to: number,
): void {
  if (kernel === 'nxc') {
    kernels.normalize_nxc_f32(x, v.hi, v.lo, v.scale, v.beta, residual, y, kind, alpha, outer, channels);
    return;
  }
  const at = from * inner * 4;
  const c = from * 4;
  kernels.normalize_ncx_f32(
    x + at,
    v.hi + c,
    v.lo + c,
    v.scale + c,
    v.beta + c,
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

/** dbeta = Σdy, dgamma = Σdy·x̂, for channels `from` to `to`. */
export function gradStats(
  kernels: Kernels,
  { kernel, outer, channels, inner }: Extent,
  x: number,
  dy: number,
  v: { hi: number; lo: number; invStd: number; lanes: number; dbeta: number; dgamma: number },
  from: number,
  to: number,
): void {
  const c = from * 4;
  const sums = from * 8;
  if (kernel === 'nxc') {
    kernels.grad_stats_nxc_f32(
      x + c,
      dy + c,
      v.hi + c,
      v.lo + c,
      v.invStd + c,
      v.dbeta + sums,
      v.dgamma + sums,
      outer,
      to - from,
      channels,
    );
    return;
  }
  const at = from * inner * 4;
  kernels.grad_stats_ncx_f32(
    x + at,
    dy + at,
    v.hi + c,
    v.lo + c,
    v.invStd + c,
    v.lanes,
    v.dbeta + sums,
    v.dgamma + sums,
    outer,
    to - from,
    inner,
    channels * inner,
  );
}

/** dx = scale·((dy − k) − b·x̂), for channels `from` to `to` of planes; for all where channels are innermost. */
export function gradInput(
  kernels: Kernels,
  { kernel, outer, channels, inner }: Extent,
  x: number,
  dy: number,
  v: { hi: number; lo: number; invStd: number; scale: number; b: number; k: number },
  dx: number,
  from: number,
  to: number,
): void {
  if (kernel === 'nxc') {
    kernels.grad_input_nxc_f32(x, dy, v.hi, v.lo, v.invStd, v.scale, v.b, v.k, dx, outer, channels);
    return;
  }
  const at = from * inner * 4;
  const c = from * 4;
  kernels.grad_input_ncx_f32(
    x + at,
    dy + at,
    v.hi + c,
    v.lo + c,
    v.invStd + c,
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
