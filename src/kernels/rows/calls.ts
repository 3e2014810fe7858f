// The verbs of norms of rows; see ../inference/calls.ts.

import type { ActivationCode } from '../activations.ts';
import type { Backend } from '../create-backend.ts';
import { kernelsFor } from '../inference/calls.ts';
import { segmentOf } from '../training/calls.ts';
import { withRows } from './part.ts';

/** Rows, each with its own statistics, and columns, each with its own gamma and beta. */
export interface Matrix {
  readonly rows: number;
  readonly cols: number;
  /** Is the mean taken away? */
  readonly centred: boolean;
}

/**
 * Where a matrix' vectors lie: gamma, beta by column, the others by row; moments, two in f64 for
 * each row.
 */
export interface RowVectors {
  readonly gamma: number;
  readonly beta: number;
  readonly center: number;
  readonly invStd: number;
  readonly left: number;
  readonly moments: number;
}

/**
 * y = f(x̂·gamma + beta + residual), x̂ by the statistics of each row of `first` … `first + rows`,
 * which are left in the vectors.
 */
export function normRows(
  backend: Backend,
  { rows, cols, centred }: Matrix,
  x: number,
  { gamma, beta, center, invStd, left, moments }: RowVectors,
  residual: number,
  y: number,
  { kind, alpha }: ActivationCode,
  eps: number,
  first = 0,
): void {
  const at = first * 4;
  const many = centred ? 1 : 0;
  const kernels = kernelsFor(withRows(backend), rows * cols);
  kernels.norm_rows_f32(
    x,
    gamma,
    beta,
    residual,
    y,
    center + at,
    invStd + at,
    left + at,
    moments,
    kind,
    alpha,
    eps,
    many,
    rows,
    cols,
  );
}

/** Segments of rows whose column sums are taken by themselves. */
export function segmentsOf(rows: number): number {
  return Math.ceil(rows / segmentOf(rows));
}

/** f64 values and f32 values that `gradRows` needs for its sums. */
export function gradRowsScratch({ rows, cols }: Matrix): { sums: number; lanes: number } {
  const segments = segmentsOf(rows);
  return { sums: 2 * segments * cols, lanes: segments * Math.ceil(cols / 4) * 8 };
}

/** dx, and the sums of dbeta and then of dgamma for each segment at `sums`. */
export function gradRows(
  backend: Backend,
  { rows, cols, centred }: Matrix,
  x: number,
  dy: number,
  { gamma, center, invStd, left }: RowVectors,
  dx: number,
  sums: number,
  lanes: number,
): void {
  const dgamma = sums + segmentsOf(rows) * cols * 8;
  const many = centred ? 1 : 0;
  const kernels = kernelsFor(withRows(backend), rows * cols);
  kernels.grad_rows_f32(x, dy, gamma, center, invStd, left, dx, lanes, sums, dgamma, many, rows, cols, segmentOf(rows));
}
