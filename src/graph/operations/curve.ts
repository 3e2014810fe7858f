// Activations that kernels do not apply.

import { type Curve, formulaOf } from '../../layers/curves.ts';
import { countOf } from '../../tensors/shape.ts';
import { floats } from '../../wasm/views.ts';
import { U } from '../error-analysis.ts';
import type { Description, Operation, Runner } from '../operation.ts';

export type CurveOperation = Operation & { readonly kind: 'curve' } & Curve;

export const runCurve: Runner<CurveOperation> = {
  kind: 'curve',
  arity: 1,
  fuses: false,
  overwrites: [0],
  name: ({ curve }) => curve,
  shape: (_subject, _operation, [x]) => x,
  call({ backend, operation, shapes, inputs: [from], output }) {
    const { value } = formulaOf(operation);
    const size = countOf(shapes[0]);
    return () => {
      const [x, y] = [floats(backend.heap, from(), size), floats(backend.heap, output(), size)];
      for (let i = 0; i < size; i++) y[i] = value(x[i]);
    };
  },
  read({ json: { curve, slope, shift, low, high }, fail }) {
    if (curve === 'selu' || curve === 'softsign') return { kind: 'curve', curve };
    if (curve !== 'clamp') throw fail("'clamp', 'selu' or 'softsign'", curve);
    const number = (value: unknown) => {
      if (typeof value !== 'number') throw fail('a number', value);
      return value;
    };
    const [a, b, from, to] = [slope, shift, low, high].map(number);
    return { kind: 'curve', curve, slope: a, shift: b, low: from, high: to };
  },
};

export const describeCurve: Description<CurveOperation> = {
  runner: runCurve,
  group: 'activations',
  noun: 'an activation',
  exact: (given) => given,
  rounded: (exact) => exact,
  rounding: () => null,
  json: ({ kind: _, ...curve }) => curve,
  bytes: () => 0,
  work: () => 0,
  // worked out in f64, and rounded once
  analyse([{ shape, value, error }], operation) {
    const { value: of, steepest } = formulaOf(operation);
    const values = value.map(of);
    return {
      shape,
      value: values,
      error: error.map((e, i) => e * steepest + U * (Math.abs(values[i]) + e * steepest)),
    };
  },
};
