// The verbs of products and softmax; see ../inference/calls.ts.

import type { Backend } from '../create-backend.ts';
import { kernelsFor } from '../inference/calls.ts';
import { withElementwise } from './part.ts';

/** y = x·w, element by element. */
export function multiply(backend: Backend, x: number, w: number, y: number, size: number): void {
  kernelsFor(withElementwise(backend), size).multiply_f32(x, w, y, size);
}

/** Values along an axis: `outer` × `inner` rows of `length` values that lie `inner` apart. */
export interface Along {
  readonly outer: number;
  readonly length: number;
  readonly inner: number;
}

const sizeOf = ({ outer, length, inner }: Along) => outer * length * inner;

/**
 * Bytes of scratch for each array that softmax reads or writes: rows that do not lie side by side
 * are copied.
 */
export function softmaxScratch(along: Along): number {
  return along.inner === 1 ? 0 : sizeOf(along) * 4;
}

/** Copies values so that rows lie side by side, or with `back` from there to where they belong. */
function transpose(
  { heap: { f32 } }: Backend,
  { outer, length, inner }: Along,
  from: number,
  to: number,
  back = false,
) {
  const [first, rows] = back ? [to / 4, from / 4] : [from / 4, to / 4];
  for (let n = 0, row = rows; n < outer; n++) {
    for (let i = 0; i < inner; i++) {
      for (let k = 0, at = first + n * length * inner + i; k < length; k++, row++, at += inner) {
        if (back) f32[at] = f32[row];
        else f32[row] = f32[at];
      }
    }
  }
}

/** Softmax along an axis, or its logarithm. `scratch`: memory of `softmaxScratch` bytes. */
export function softmax(backend: Backend, x: number, y: number, isLog: boolean, along: Along, scratch: number): void {
  const rows = along.outer * along.inner;
  const kernels = kernelsFor(withElementwise(backend), sizeOf(along));
  const isRows = along.inner === 1;
  if (!isRows) transpose(backend, along, x, scratch);
  kernels.softmax_rows_f32(isRows ? x : scratch, isRows ? y : scratch, isLog ? 1 : 0, rows, along.length);
  if (!isRows) transpose(backend, along, scratch, y, true);
}

/**
 * The gradient of that: dx from x and dy.
 *
 * @param y memory for the values of softmax, as many as x has
 * @param scratch memory of twice `softmaxScratch` bytes
 */
export function softmaxGrad(
  backend: Backend,
  x: number,
  dy: number,
  dx: number,
  isLog: boolean,
  along: Along,
  y: number,
  scratch: number,
): void {
  const rows = along.outer * along.inner;
  const kernels = kernelsFor(withElementwise(backend), sizeOf(along));
  const isRows = along.inner === 1;
  const [from, given, to] = isRows ? [x, dy, dx] : [scratch, scratch + softmaxScratch(along), scratch];
  if (!isRows) {
    transpose(backend, along, x, from);
    transpose(backend, along, dy, given);
  }
  kernels.softmax_rows_f32(from, y, isLog ? 1 : 0, rows, along.length);
  kernels.softmax_grad_rows_f32(y, given, to, isLog ? 1 : 0, rows, along.length);
  if (!isRows) transpose(backend, along, to, dx, true);
}
