// y = f(x + residual): an addition or an activation by itself.

import { activate, IDENTITY, sum } from '../../kernels/inference/calls.ts';
import { countOf } from '../../tensors/shape.ts';
import { store } from '../../wasm/views.ts';
import { type Description, type Operation, padded, type Runner } from '../operation.ts';

export interface ElementwiseOperation extends Operation {
  readonly kind: 'elementwise';
}

export const runElementwise: Runner<ElementwiseOperation> = {
  kind: 'elementwise',
  arity: 1,
  fuses: true,
  overwrites: [0, 1],
  keepsShape: true,
  name: () => 'elementwise',
  shape: (_subject, _operation, [x]) => x,
  bytes: (_operation, inputs) => (inputs > 1 ? padded(IDENTITY.length) : 0),
  fill({ heap }, _operation, at, inputs) {
    if (inputs > 1) store(heap, at, IDENTITY);
  },
  call({ backend, weights, shapes, inputs: [from], residual, output, activation }) {
    const size = countOf(shapes[0]);
    if (shapes.length < 2) return () => activate(backend, from(), output(), activation, size);
    return () => sum(backend, from(), weights, residual(), output(), activation, size);
  },
  read: () => ({ kind: 'elementwise' }),
};

export const describeElementwise: Description<ElementwiseOperation> = {
  runner: runElementwise,
  noun: 'an addition',
  exact: (given) => given,
  rounded: (exact) => exact,
  rounding: () => null,
  json: () => ({}),
  bytes: () => 0,
  work: () => 0,
  analyse: ([x]) => x,
};
