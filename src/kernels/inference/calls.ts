// The verbs of inference, called over a plan: which layout's kernel, in which order its arguments
// stand, and where the addresses of a range of channels begin. Layers call these and never see a
// pointer's arithmetic.

import type { ActivationCode } from '../activations.ts';
import type { Backend } from '../create-backend.ts';
import { WORTHWHILE } from '../part.ts';

/** What a call needs to know of a plan (src/layers/plan.ts). */
export interface Extent {
  readonly kernel: 'ncx' | 'nxc';
  readonly outer: number;
  readonly channels: number;
  readonly inner: number;
  /** Where it is a part of a tensor with channels innermost: the rows of all of it. */
  readonly whole?: number;
}

/** Bytes of a tensor beyond which it will not be found in a shared last-level cache. */
export const CACHED = 1 << 23;

/**
 * Do rows of a tensor lie in cache, and are walked over in bands (assembly/bands.ts)? `share`: how
 * much of the cache is left for it.
 */
export function inBands({ outer, channels, whole = outer }: Extent, share = 1): 0 | 1 {
  return whole * channels * 4 <= CACHED * share ? 1 : 0;
}

/** The kernels on this thread, or those that may spread a call of so much work over threads. */
export function kernelsFor<B extends Backend>(
  { kernels, parallel }: B,
  work: number,
  least = WORTHWHILE,
): B['kernels'] {
  return work < least ? kernels : parallel;
}

/**
 * The forward map's coefficients: y = f((x − center)·scale + shift); no centre, 0, in evaluation.
 */
export interface AffineVectors {
  readonly center: number;
  readonly scale: number;
  readonly shift: number;
}

/**
 * y = f((x − center)·scale + shift + residual), for channels `from` to `to` of planes; for all
 * where channels are innermost.
 */
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
    const bands = inBands(extent, residual ? 1 / 2 : 1);
    kernels.affine_nxc_f32(x, center, scale, shift, residual, y, kind, alpha, bands, outer, channels);
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

/** Scale and shift of the map x·1 + 0, by which `sum` adds. */
export const IDENTITY = [1, 0];

/**
 * y = f(x + residual), element by element: the affine map of one channel; `identity` is where
 * IDENTITY lies.
 */
export function sum(
  backend: Backend,
  x: number,
  identity: number,
  residual: number,
  y: number,
  { kind, alpha }: ActivationCode,
  size: number,
): void {
  const kernels = kernelsFor(backend, size);
  kernels.affine_ncx_f32(x, 0, identity, identity + 4, residual, y, kind, alpha, 1, 1, size, size);
}

/** y = f(x), element by element. */
export function activate(backend: Backend, x: number, y: number, { kind, alpha }: ActivationCode, size: number): void {
  kernelsFor(backend, size).activate_f32(x, y, kind, alpha, size);
}
