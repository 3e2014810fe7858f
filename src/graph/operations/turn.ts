// Channels brought to the back, or from there to where they were: what the borders of a part need
// that runs in the other layout, and norms along an axis that no layout has.

import { wrongValue } from '../../errors.ts';
import { transpose } from '../../kernels/conv/calls.ts';
import { permutationOf, permute } from '../../passes/permutation.ts';
import { countOf, showSymbolic } from '../../tensors/shape.ts';
import type { Layout } from '../../types.ts';
import { indexOf, move } from '../../wasm/views.ts';
import type { Valued } from '../error-analysis.ts';
import type { Description, Operation, Runner, Shape } from '../operation.ts';

export interface TurnOperation extends Operation {
  readonly kind: 'turn';
  /** What channels are afterwards. */
  readonly to: Layout;
  /** Where they lie first, from the end where it is negative. Left out: 1. */
  readonly axis?: number;
}

/** Where channels lie first, in a shape of this rank. */
const firstOf = (axis: number, rank: number) => (axis < 0 ? axis + rank : axis);

/** The shape with channels elsewhere. */
export function turnedShape(shape: Shape, to: Layout, axis = 1): Shape {
  const last = shape.length - 1;
  const first = firstOf(axis, shape.length);
  const [from, onto] = to === 'channels-last' ? [first, last] : [last, first];
  const others = shape.filter((_, i) => i !== from);
  return [...others.slice(0, onto), shape[from], ...others.slice(onto)];
}

/** Samples, with what else lies before the channels; rows and columns of each. */
function matrix(shape: Shape, { to, axis = 1 }: TurnOperation): readonly [samples: number, rows: number, cols: number] {
  const first = firstOf(axis, shape.length);
  const rows = to === 'channels-last' ? first + 1 : shape.length - 1;
  return [countOf(shape.slice(0, first)), countOf(shape.slice(first, rows)), countOf(shape.slice(rows))];
}

export const runTurn: Runner<TurnOperation> = {
  kind: 'turn',
  arity: 1,
  fuses: false,
  overwrites: [],
  name: ({ to }) => (to === 'channels-last' ? 'channels last' : 'channels first'),
  shape(subject, { to, axis = 1 }, [x]) {
    const first = firstOf(axis, x.length);
    if (first < 1 || first >= x.length) {
      const expected = `an axis ${axis} behind that of the samples`;
      throw wrongValue('ERR_SHAPE', subject, 'x', expected, `rank ${x.length}`, `shape ${showSymbolic(x)}`);
    }
    return turnedShape(x, to, axis);
  },
  call({ backend, operation, shapes: [x], inputs: [from], output }) {
    const [samples, rows, cols] = matrix(x, operation);
    const isSame = rows === 1 || cols === 1;
    const plain = permutationOf([samples, rows, cols], [0, 2, 1]);
    return () => {
      if (isSame) move(backend.heap, from(), output(), samples * rows * cols);
      // the kernel comes with convolutions, which turn whole networks
      else if (operation.axis !== undefined) permute(backend.heap.f32, indexOf(from()), indexOf(output()), plain);
      else transpose(backend, from(), output(), samples, rows, cols);
    };
  },
  read({ json: { to, axis }, fail, whole }) {
    if (to !== 'channels-first' && to !== 'channels-last') throw fail('a layout', to);
    return { kind: 'turn', to, ...(axis !== undefined && { axis: whole(axis, -64, 63) }) };
  },
};

export const describeTurn: Description<TurnOperation> = {
  runner: runTurn,
  group: 'convolutions',
  noun: 'a change of layout',
  exact: (given) => given,
  rounded: (exact) => exact,
  rounding: () => null,
  json: ({ to, axis }) => ({ to, ...(axis !== undefined && { axis }) }),
  bytes: () => 0,
  work: () => 0,
  analyse: ([x], operation) => turned(x, operation),
};

function turned({ shape, value, error }: Valued, operation: TurnOperation): Valued {
  const [samples, rows, cols] = matrix(shape, operation);
  const from = (i: number) => {
    const row = i % rows;
    const rest = (i - row) / rows;
    const n = Math.floor(rest / cols);
    return (n * rows + row) * cols + (rest - n * cols);
  };
  const size = samples * rows * cols;
  return {
    shape: turnedShape(shape, operation.to, operation.axis),
    value: Float64Array.from({ length: size }, (_, i) => value[from(i)]),
    error: Float64Array.from({ length: size }, (_, i) => error[from(i)]),
  };
}
