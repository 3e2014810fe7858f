// The verbs of products; see ../inference/calls.ts.

import { type ActivationCode, NO_ACTIVATION } from '../activations.ts';
import type { Backend } from '../create-backend.ts';
import { activate, kernelsFor } from '../inference/calls.ts';
import { WORTHWHILE_PRODUCT } from '../part.ts';
import { withLinear } from './part.ts';

/**
 * Sums over the bytes of `size` values at x, modulo 2³²: of all n = 4·size of them, and with the
 * weights n, n − 1 … 1. They go to `totals`, as two values of f64.
 */
export function byteSums(backend: Backend, x: number, totals: number, size: number): void {
  withLinear(backend).kernels.byte_sums_f32(x, totals, size);
}

/**
 * y = f(x·w + bias): x [rows, depth], by default row-major; w [depth, cols] as `pack` leaves it; y
 * [rows, cols]. With `onto` 1 what y held is added before f.
 */
export function linear(
  backend: Backend,
  x: number,
  packed: number,
  bias: number,
  y: number,
  activation: ActivationCode,
  rows: number,
  depth: number,
  cols: number,
  rowStride = depth,
  depthStride = 1,
  onto = 0,
): void {
  const kernels = kernelsFor(withLinear(backend), rows * depth * cols, WORTHWHILE_PRODUCT);
  kernels.linear_f32(x, packed, bias, y, rows, depth, cols, rowStride, depthStride, onto);
  if (activation !== NO_ACTIVATION) activate(backend, y, y, activation, rows * cols);
}

/**
 * The matrix w [depth, cols], element (k, o) at k·depthStride + o·colStride, in the panels that
 * `linear` reads; `panelStride`: where it is a part of the rows of one with longer panels.
 */
export function pack(
  backend: Backend,
  w: number,
  packed: number,
  depth: number,
  cols: number,
  depthStride: number,
  colStride: number,
  panelStride = 8 * depth,
): void {
  withLinear(backend).kernels.pack_f32(w, packed, depth, cols, depthStride, colStride, panelStride);
}
