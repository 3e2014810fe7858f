// The verbs of products and softmax; see ../inference/calls.ts.

import type { Backend } from '../create-backend.ts';
import { kernelsFor } from '../inference/calls.ts';
import { withElementwise } from './part.ts';

/** y = x·w, element by element. */
export function multiply(backend: Backend, x: number, w: number, y: number, size: number): void {
  kernelsFor(withElementwise(backend), size).multiply_f32(x, w, y, size);
}

/** Softmax of each row, or its logarithm. */
export function softmaxRows(backend: Backend, x: number, y: number, isLog: boolean, rows: number, cols: number): void {
  kernelsFor(withElementwise(backend), rows * cols).softmax_rows_f32(x, y, isLog ? 1 : 0, rows, cols);
}

/** The gradient of that, from what it returned. */
export function softmaxGradRows(
  backend: Backend,
  y: number,
  dy: number,
  dx: number,
  isLog: boolean,
  rows: number,
  cols: number,
): void {
  kernelsFor(withElementwise(backend), rows * cols).softmax_grad_rows_f32(y, dy, dx, isLog ? 1 : 0, rows, cols);
}
