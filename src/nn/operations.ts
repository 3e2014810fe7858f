// What values of a network are joined by: sums and products, which broadcast, and concatenation.
// Forward, and the gradient of each input.

import { show, wrongKind } from '../errors.ts';
import type { OperationGraph, Value } from '../graph/graph.ts';
import type { ConcatOperation } from '../graph/operations/concat.ts';
import { NO_ACTIVATION } from '../kernels/activations.ts';
import { backend } from '../kernels/backend.ts';
import { multiply } from '../kernels/elementwise/calls.ts';
import { sum } from '../kernels/inference/calls.ts';
import { broadcastShape, eachRow, walkOver } from '../tensors/broadcast.ts';
import { concatShape, eachPiece } from '../tensors/concat.ts';
import { sameShape, shapeOf } from '../tensors/shape.ts';
import { Tensor, type TensorLike } from '../tensors/tensor.ts';

type Shape = readonly number[];

/** An operation on values. It keeps nothing: its backward is given what its forward was. */
export interface Operation {
  readonly name: string;
  /** Of a concatenation, as it was given. */
  readonly axis?: number;
  /** The shape of its value; a length that is not known is NaN. Throws ERR_SHAPE, by `where`. */
  shape(subject: string, where: string, shapes: readonly Shape[]): Shape;
  /** `identity`: where IDENTITY lies. */
  forward(xs: readonly TensorLike[], y: TensorLike, identity: number): void;
  /** Is the gradient of an input of shape `x` that of the output? */
  handsOn(x: Shape, y: Shape): boolean;
  /** Gradients of the inputs that have a place for them. */
  backward(dy: TensorLike, xs: readonly TensorLike[], dxs: readonly (TensorLike | undefined)[]): void;
  /** Appends it to a graph of operations; returns its value. */
  trace(graph: OperationGraph, values: readonly Value[]): Value;
  /** Does its backward read its inputs? */
  readonly readsInputs: boolean;
}

/** y = a + b, of one shape. In memory that may be a's or b's where they are tensors. */
export function total(a: TensorLike, b: TensorLike, y: TensorLike, identity: number): void {
  const size = y.data.length;
  if (a instanceof Tensor && b instanceof Tensor && y instanceof Tensor) {
    if (size > 0) sum(backend(), a.ptr, identity, b.ptr, y.ptr, NO_ACTIVATION, size);
    return;
  }
  const [{ data: from }, { data: more }, { data: to }] = [a, b, y];
  for (let i = 0; i < size; i++) to[i] = from[i] + more[i];
}

/** y = a + b, or a·b, where their shapes differ or they are no tensors. */
function spread([a, b]: readonly TensorLike[], y: TensorLike, isSum: boolean): void {
  const [{ data: from }, { data: more }, { data: to }] = [a, b, y];
  const walk = walkOver(shapeOf(y), [shapeOf(y), shapeOf(a), shapeOf(b)]);
  eachRow(walk, ([i, k, l], length, [, p, q]) => {
    for (let j = 0; j < length; j++) {
      const one = from[k + j * p];
      const other = more[l + j * q];
      to[i + j] = isSum ? one + other : one * other;
    }
  });
}

/** Σ dy·factor over the axes along which an input was repeated, in f64. */
function reduce(dy: TensorLike, factor: TensorLike | undefined, dx: TensorLike): void {
  const sums = new Float64Array(dx.data.length);
  const g = dy.data;
  const f = factor?.data;
  const walk = walkOver(shapeOf(dy), [shapeOf(dy), shapeOf(dx), ...(factor ? [shapeOf(factor)] : [])]);
  eachRow(walk, ([from, to, by], length, [step, stride, pace]) => {
    for (let j = 0; j < length; j++) sums[to + j * stride] += g[from + j * step] * (f ? f[by + j * pace] : 1);
  });
  dx.data.set(sums);
}

export const ADD: Operation = {
  name: 'add',
  readsInputs: false,
  trace: (graph, values) => graph.append({ kind: graph.areAlike(values) ? 'elementwise' : 'add' }, values),
  shape: broadcastShape,
  forward(xs, y, identity) {
    const [a, b] = xs;
    if (sameShape(shapeOf(a), shapeOf(b))) total(a, b, y, identity);
    else spread(xs, y, true);
  },
  handsOn: sameShape,
  backward(dy, _, dxs) {
    for (const dx of dxs) if (dx) reduce(dy, undefined, dx);
  },
};

/** y = a·b where all three are tensors of one shape; else false. */
function isTensors(a: TensorLike, b: TensorLike, y: TensorLike): boolean {
  if (!(a instanceof Tensor && b instanceof Tensor && y instanceof Tensor)) return false;
  if (!sameShape(a.shape, b.shape) || !sameShape(a.shape, y.shape)) return false;
  if (y.size > 0) multiply(backend(), a.ptr, b.ptr, y.ptr, y.size);
  return true;
}

export const MULTIPLY: Operation = {
  name: 'multiply',
  readsInputs: true,
  trace: (graph, values) => graph.append({ kind: 'multiply' }, values),
  shape: broadcastShape,
  forward(xs, y) {
    if (!isTensors(xs[0], xs[1], y)) spread(xs, y, false);
  },
  handsOn: () => false,
  backward(dy, xs, dxs) {
    dxs.forEach((dx, i) => {
      if (dx && !isTensors(dy, xs[1 - i], dx)) reduce(dy, xs[1 - i], dx);
    });
  },
};

/** Values one behind the other along an axis, which may be counted from the end. */
export function concatAlong(subject: string, axis: number): Operation {
  if (!Number.isInteger(axis)) throw wrongKind('ERR_OPTION', subject, 'concat: axis', 'an integer', show(axis));
  return {
    name: 'concat',
    axis,
    readsInputs: false,
    shape: (_, where, shapes) => concatShape(subject, where, shapes, axis),
    trace: (graph, values) => {
      const operation: ConcatOperation = { kind: 'concat', axis };
      return graph.append(operation, values);
    },
    forward(xs, y) {
      const to = y.data;
      const from = xs.map(({ data }) => data);
      eachPiece(xs.map(shapeOf), shapeOf(y), axis, (i, start, at, length) => copy(from[i], start, to, at, length));
    },
    handsOn: () => false,
    backward(dy, xs, dxs) {
      const from = dy.data;
      const to = dxs.map((dx) => dx?.data);
      eachPiece(xs.map(shapeOf), shapeOf(dy), axis, (i, at, start, length) => {
        const own = to[i];
        if (own) copy(from, start, own, at, length);
      });
    },
  };
}

/** Copies values; a few of them one by one, which spares a view. */
function copy(from: Float32Array, start: number, to: Float32Array, at: number, length: number): void {
  if (length > 128) to.set(from.subarray(start, start + length), at);
  else for (let i = 0; i < length; i++) to[at + i] = from[start + i];
}
