// Values that are the same in every run: an operand of the operations behind it, which read it
// where it is stored.

import { countOf } from '../../tensors/shape.ts';
import { move, store } from '../../wasm/views.ts';
import { U } from '../error-analysis.ts';
import { type Description, type Operation, padded, type Runner, type Shape } from '../operation.ts';

export interface ConstantOperation<V extends ArrayLike<number> = ArrayLike<number>> extends Operation {
  readonly kind: 'constant';
  readonly shape: Shape;
  readonly values: V;
}

type Rounded = ConstantOperation<Float32Array>;

/** Lengths beyond hold no tensor. */
const MOST = 1_073_741_824;

const name = ({ shape }: ConstantOperation) => `constant ${shape.join('×') || 'number'}`;

export const runConstant: Runner<Rounded> = {
  kind: 'constant',
  arity: 0,
  fuses: false,
  overwrites: [],
  isStored: true,
  name,
  shape: (_subject, { shape }) => shape,
  bytes: ({ values }) => padded(values.length),
  fill({ heap }, { values }, at) {
    store(heap, at, values);
  },
  call({ backend, operation, weights, output }) {
    const size = countOf(operation.shape);
    return () => {
      if (output() !== weights) move(backend.heap, weights, output(), size);
    };
  },
  read({ json: { shape }, fail, whole, vector }) {
    if (!Array.isArray(shape)) throw fail('a shape', shape);
    const lengths = shape.map((length) => whole(length, 0, MOST));
    return { kind: 'constant', shape: lengths, values: vector('values', lengths) };
  },
};

export const describeConstant: Description<ConstantOperation, Rounded> = {
  runner: runConstant,
  group: 'arithmetic',
  noun: 'a constant',
  exact: (given) => given,
  rounded: ({ values, ...exact }) => ({
    ...exact,
    values: values instanceof Float32Array ? values : Float32Array.from(values),
  }),
  rounding: () => null,
  json: ({ shape, values }, keep) => ({ shape, values: keep(values, shape, 'values') }),
  bytes: ({ values }) => 4 * values.length,
  work: () => 0,
  analyse(_inputs, { shape, values }) {
    const value = Float64Array.from(values);
    return { shape, value, error: value.map((x) => (Math.fround(x) === x ? 0 : U * Math.abs(x))) };
  },
};
