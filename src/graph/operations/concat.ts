// Values one behind the other along an axis.

import { concatShape, eachPiece } from '../../tensors/concat.ts';
import { countOf } from '../../tensors/shape.ts';
import { move } from '../../wasm/views.ts';
import { type Description, MANY, type Operation, type Runner } from '../operation.ts';

export interface ConcatOperation extends Operation {
  readonly kind: 'concat';
  /** Counted with the batch; from the end where it is negative. */
  readonly axis: number;
}

export const runConcat: Runner<ConcatOperation> = {
  kind: 'concat',
  arity: MANY,
  fuses: false,
  overwrites: [],
  name: ({ axis }) => `concat on axis ${axis}`,
  shape: (subject, { axis }, shapes) => concatShape(subject, 'the inputs', shapes, axis),
  call({ backend, operation: { axis }, shapes, inputs, output }) {
    const whole = concatShape('compiled network', 'concat', shapes, axis);
    return () =>
      eachPiece(shapes, whole, axis, (i, from, to, length) => {
        move(backend.heap, inputs[i]() + from * 4, output() + to * 4, length);
      });
  },
  read: ({ json, whole }) => ({ kind: 'concat', axis: whole(json.axis, -64, 63) }),
};

export const describeConcat: Description<ConcatOperation> = {
  runner: runConcat,
  group: 'merging',
  noun: 'a concatenation',
  exact: (given) => given,
  rounded: (exact) => exact,
  rounding: () => null,
  json: ({ axis }) => ({ axis }),
  bytes: () => 0,
  work: () => 0,
  analyse(xs, { axis }) {
    const shapes = xs.map(({ shape }) => shape);
    const shape = concatShape('certificate', 'the inputs', shapes, axis);
    const out = { shape, value: new Float64Array(countOf(shape)), error: new Float64Array(countOf(shape)) };
    eachPiece(shapes, shape, axis, (i, from, at, length) => {
      out.value.set(xs[i].value.subarray(from, from + length), at);
      out.error.set(xs[i].error.subarray(from, from + length), at);
    });
    return out;
  },
};
