// The same values in another shape: axes made one, or each sample in a shape of its own.

import { flattenedShape, reshapedShape } from '../../layers/reshaping.ts';
import { countOf } from '../../tensors/shape.ts';
import { move } from '../../wasm/views.ts';
import type { Description, Operation, Runner, Shape } from '../operation.ts';

export interface FlattenOperation extends Operation {
  readonly kind: 'flatten';
  /** Counted with the batch; from the end where they are negative. */
  readonly startAxis: number;
  readonly endAxis: number;
}

export interface ReshapeOperation extends Operation {
  readonly kind: 'reshape';
  /** Of a sample; one length may be −1. */
  readonly shape: Shape;
}

/** Lengths beyond hold no tensor. */
const MOST = 1_073_741_824;

/** A copy, and none where the output takes its input's memory. */
const call: Runner['call'] = ({ backend, shapes, inputs: [from], output }) => {
  const size = countOf(shapes[0]);
  return () => {
    if (from() !== output()) move(backend.heap, from(), output(), size);
  };
};

export const runFlatten: Runner<FlattenOperation> = {
  kind: 'flatten',
  arity: 1,
  fuses: false,
  overwrites: [0],
  name: () => 'flatten',
  shape: (subject, { startAxis, endAxis }, [x]) => flattenedShape(subject, startAxis, endAxis, x),
  call,
  read: ({ json, whole }) => ({
    kind: 'flatten',
    startAxis: whole(json.startAxis, -64, 63),
    endAxis: whole(json.endAxis, -64, 63),
  }),
};

/** Longer shapes are nothing that anybody has. */
const MOST_AXES = 64;

export const runReshape: Runner<ReshapeOperation> = {
  kind: 'reshape',
  arity: 1,
  fuses: false,
  overwrites: [0],
  name: ({ shape }) => `reshape to ${shape.join('×')}`,
  shape: (subject, { shape }, [x]) => reshapedShape(subject, shape, x),
  call,
  read({ json: { shape }, fail, whole }) {
    if (!Array.isArray(shape) || shape.length > MOST_AXES || shape.filter((length) => length === -1).length > 1)
      throw fail('a shape', shape);
    return { kind: 'reshape', shape: shape.map((length) => (length === -1 ? -1 : whole(length, 1, MOST))) };
  },
};

export const describeFlatten: Description<FlattenOperation> = {
  runner: runFlatten,
  group: 'reshaping',
  noun: 'a change of shape',
  rounding: () => null,
  bytes: () => 0,
  work: () => 0,
  exact: (given) => given,
  rounded: (exact) => exact,
  json: ({ startAxis, endAxis }) => ({ startAxis, endAxis }),
  analyse: ([x], operation) => ({ ...x, shape: runFlatten.shape('certificate', operation, [x.shape]) }),
};

export const describeReshape: Description<ReshapeOperation> = {
  runner: runReshape,
  group: 'reshaping',
  noun: 'a change of shape',
  rounding: () => null,
  bytes: () => 0,
  work: () => 0,
  exact: (given) => given,
  rounded: (exact) => exact,
  json: ({ shape }) => ({ shape }),
  analyse: ([x], operation) => ({ ...x, shape: runReshape.shape('certificate', operation, [x.shape]) }),
};
