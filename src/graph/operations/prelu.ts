// PReLU with a slope for each channel.

import { prelu } from '../../layers/prelu.ts';
import { planOf } from '../../passes/plan.ts';
import type { Layout } from '../../types.ts';
import { U } from '../error-analysis.ts';
import { axisOf, type Description, type Operation, type Runner, type Shape } from '../operation.ts';

export interface PReLUOperation extends Operation {
  readonly kind: 'prelu';
  readonly layout: Layout;
  /** By channel; values of f32. */
  readonly slopes: Float32Array;
}

const MOST = 16_777_216;

const name = ({ slopes }: PReLUOperation) => `prelu ${slopes.length}`;
const planFor = (subject: string, { layout, slopes }: PReLUOperation, shape: Shape) =>
  planOf(subject, shape, slopes.length, layout, [2, Number.POSITIVE_INFINITY]);

export const runPReLU: Runner<PReLUOperation> = {
  kind: 'prelu',
  arity: 1,
  fuses: false,
  overwrites: [0],
  name,
  shape(subject, operation, [x]) {
    planFor(subject, operation, x);
    return x;
  },
  call({ backend, operation, shapes, inputs: [from], output }) {
    const plan = planFor(name(operation), operation, shapes[0]);
    return () => prelu(backend, plan, from(), output(), operation.slopes);
  },
  read({ json: { layout, channels }, fail, whole, vector }) {
    if (layout !== 'channels-first' && layout !== 'channels-last') throw fail('a layout', layout);
    return { kind: 'prelu', layout, slopes: vector('slopes', [whole(channels, 1, MOST)]) };
  },
};

export const describePReLU: Description<PReLUOperation> = {
  runner: runPReLU,
  group: 'activations',
  noun: 'an activation',
  exact: (given) => ({ ...given, slopes: given.slopes.slice() }),
  rounded: (exact) => exact,
  rounding: () => null,
  json: ({ layout, slopes }, store) => ({
    layout,
    channels: slopes.length,
    slopes: store(slopes, [slopes.length], 'slopes'),
  }),
  bytes: ({ slopes }) => slopes.byteLength,
  work: () => 0,
  output: ({ layout, slopes }) => ({ axis: axisOf(layout), count: slopes.length }),
  analyse([{ shape, value, error }], operation) {
    const { channels, inner } = planFor('certificate', operation, shape);
    const slopeAt = (i: number) => operation.slopes[Math.floor(i / inner) % channels];
    const values = value.map((v, i) => (v < 0 ? slopeAt(i) * v : v));
    const errors = error.map((e, i) => {
      const inherited = e * Math.max(1, Math.abs(slopeAt(i)));
      return inherited + U * (Math.abs(values[i]) + inherited);
    });
    return { shape, value: values, error: errors };
  },
};
