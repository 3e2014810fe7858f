// Channels brought from the front to the back, or the other way: what the borders of a part need
// that runs in the other layout.

import { transpose } from '../../kernels/conv/calls.ts';
import { countOf } from '../../tensors/shape.ts';
import type { Layout } from '../../types.ts';
import { move } from '../../wasm/views.ts';
import type { Valued } from '../error-analysis.ts';
import type { Description, Operation, Runner, Shape } from '../operation.ts';

export interface TurnOperation extends Operation {
  readonly kind: 'turn';
  /** What channels are afterwards. */
  readonly to: Layout;
}

/** The shape with channels elsewhere. */
export function turnedShape([samples, ...others]: Shape, to: Layout): Shape {
  if (to === 'channels-last') return [samples, ...others.slice(1), others[0]];
  return [samples, others[others.length - 1], ...others.slice(0, -1)];
}

/** Samples, and rows and columns of each. */
function matrix(shape: Shape, to: Layout): readonly [samples: number, rows: number, cols: number] {
  const channels = to === 'channels-last' ? shape[1] : shape[shape.length - 1];
  const places = countOf(shape) / (shape[0] * channels) || 0;
  return to === 'channels-last' ? [shape[0], channels, places] : [shape[0], places, channels];
}

export const runTurn: Runner<TurnOperation> = {
  kind: 'turn',
  arity: 1,
  fuses: false,
  overwrites: [],
  name: ({ to }) => (to === 'channels-last' ? 'channels last' : 'channels first'),
  shape: (_subject, { to }, [x]) => turnedShape(x, to),
  call({ backend, operation: { to }, shapes: [x], inputs: [from], output }) {
    const [samples, rows, cols] = matrix(x, to);
    const isSame = rows === 1 || cols === 1;
    return () => {
      if (isSame) move(backend.heap, from(), output(), samples * rows * cols);
      else transpose(backend, from(), output(), samples, rows, cols);
    };
  },
  read({ json: { to }, fail }) {
    if (to !== 'channels-first' && to !== 'channels-last') throw fail('a layout', to);
    return { kind: 'turn', to };
  },
};

export const describeTurn: Description<TurnOperation> = {
  runner: runTurn,
  group: 'convolutions',
  noun: 'a change of layout',
  exact: (given) => given,
  rounded: (exact) => exact,
  rounding: () => null,
  json: ({ to }) => ({ to }),
  bytes: () => 0,
  work: () => 0,
  analyse: ([x], { to }) => turned(x, to),
};

function turned({ shape, value, error }: Valued, to: Layout): Valued {
  const [samples, rows, cols] = matrix(shape, to);
  const from = (i: number) => {
    const row = i % rows;
    const rest = (i - row) / rows;
    const n = Math.floor(rest / cols);
    return (n * rows + row) * cols + (rest - n * cols);
  };
  const size = samples * rows * cols;
  return {
    shape: turnedShape(shape, to),
    value: Float64Array.from({ length: size }, (_, i) => value[from(i)]),
    error: Float64Array.from({ length: size }, (_, i) => error[from(i)]),
  };
}
