// Gradients against central differences in f64: of the layer's formula for batch norm, of the layer itself elsewhere.

import { describe, expect, test } from 'vitest';
import {
  type Activation,
  BatchNorm,
  type BatchNormOptions,
  Dropout,
  type Layer,
  Linear,
  ReLU,
  Sequential,
  Sigmoid,
  Tanh,
} from '../../src/index.ts';
import { activate, activationCode } from '../../src/kernels/activations.ts';
import { lopsided, normals } from '../support/data.ts';
import { centralDifferences, dot, expectClose } from '../support/gradients.ts';

/** Batch norm with everything, in f64. */
function formula(
  x: ArrayLike<number>,
  gamma: ArrayLike<number>,
  beta: ArrayLike<number>,
  residual: ArrayLike<number> | null,
  channelOf: (i: number) => number,
  fixed: { mean: number[]; variance: number[] } | null,
  activation: Activation | undefined,
): Float64Array {
  const channels = gamma.length;
  const count = x.length / channels;
  const mean = fixed?.mean ?? new Array(channels).fill(0);
  const variance = fixed?.variance ?? new Array(channels).fill(0);
  if (!fixed) {
    for (let i = 0; i < x.length; i++) mean[channelOf(i)] += x[i] / count;
    for (let i = 0; i < x.length; i++) variance[channelOf(i)] += (x[i] - mean[channelOf(i)]) ** 2 / count;
  }
  const { kind, alpha } = activationCode('test', activation);
  return Float64Array.from({ length: x.length }, (_, i) => {
    const c = channelOf(i);
    const pre = ((x[i] - mean[c]) / Math.sqrt(variance[c] + 1e-5)) * gamma[c] + beta[c] + (residual?.[i] ?? 0);
    return activate(kind, pre, alpha);
  });
}

const CASES: [string, BatchNormOptions, boolean][] = [
  ['plain', {}, false],
  ['channels last', { layout: 'channels-last' }, false],
  ['with a residual', {}, true],
  ...(
    [
      'relu',
      'relu6',
      'leaky-relu',
      'elu',
      'silu',
      'sigmoid',
      'tanh',
      'gelu',
      'gelu-tanh',
      'hard-swish',
      'hard-sigmoid',
      'softplus',
      'mish',
    ] as const
  ).map(
    (activation, i) =>
      [activation, { activation, layout: i % 2 ? 'channels-last' : 'channels-first' }, i % 3 === 0] as [
        string,
        BatchNormOptions,
        boolean,
      ],
  ),
];

describe.each(['training', 'evaluation', 'frozen'])('BatchNorm, %s', (mode) => {
  test.each(CASES)('%s', (_, options, withResidual) => {
    const shape = options.layout === 'channels-last' ? [3, 2, 5, 4] : [3, 4, 2, 5];
    const inner = options.layout === 'channels-last' ? 1 : 10;
    const channelOf = (i: number) => Math.floor(i / inner) % 4;
    const x = lopsided(1, shape, options.layout);
    const dy = normals(2, x.length);
    const residual = withResidual ? normals(3, x.length) : null;
    const bn = new BatchNorm(4, options);
    bn.gamma!.data.set([1.5, -0.5, 2, 0.7]);
    bn.beta!.data.set([0.3, -0.2, 0.1, 0.9]);
    bn.runningMean!.set([-1, 1.5, 3, 6]);
    bn.runningVar!.set([0.5, 2, 8, 10]);
    const fixed = mode === 'training' ? null : { mean: [-1, 1.5, 3, 6], variance: [0.5, 2, 8, 10] };
    if (mode === 'evaluation') bn.eval();
    if (mode === 'frozen') bn.freeze();
    bn.forward({ data: x, shape }, { residual: residual ? { data: residual, shape } : undefined });
    const dx = bn.backward({ data: dy, shape }).data;

    const { data: gamma } = bn.gamma!;
    const { data: beta } = bn.beta!;
    const run = (a: ArrayLike<number>, g: ArrayLike<number>, b: ArrayLike<number>, r: ArrayLike<number> | null) =>
      dot(
        formula(
          a,
          g,
          b,
          r,
          channelOf,
          fixed && { mean: [...fixed.mean], variance: [...fixed.variance] },
          options.activation,
        ),
        dy,
      );
    expectClose(
      dx,
      centralDifferences(x, (v) => run(v, gamma, beta, residual)),
      2e-4,
    );
    if (residual)
      expectClose(
        bn.residualGrad!.data,
        centralDifferences(residual, (v) => run(x, gamma, beta, v)),
        2e-4,
      );
    if (mode === 'frozen') {
      expect([...bn.gamma!.grad, ...bn.beta!.grad]).toEqual(new Array(8).fill(0));
    } else {
      expectClose(
        bn.gamma!.grad,
        centralDifferences(gamma, (v) => run(x, v, beta, residual)),
        2e-4,
      );
      expectClose(
        bn.beta!.grad,
        centralDifferences(beta, (v) => run(x, gamma, v, residual)),
        2e-4,
      );
    }
  });
});

type Formula = (x: Float64Array, parameters: Float64Array[]) => Float64Array;

/** y = x·Wᵀ + b */
const linear =
  (inputs: number, outputs: number): Formula =>
  (x, [w, b]) =>
    Float64Array.from({ length: (x.length / inputs) * outputs }, (_, k) => {
      const [n, o] = [Math.floor(k / outputs), k % outputs];
      let sum = b ? b[o] : 0;
      for (let i = 0; i < inputs; i++) sum += x[n * inputs + i] * w[o * inputs + i];
      return sum;
    });

const elementwise =
  (name: Activation): Formula =>
  (x) =>
    x.map((value) => activate(activationCode('test', name).kind, value, 0));

const normalized =
  (channels: number): Formula =>
  (x, [gamma, beta]) =>
    formula(x, gamma, beta, null, (i) => i % channels, null, undefined);

/** One formula after the other, each with its own parameters. */
const chain =
  (...parts: [Formula, number][]): Formula =>
  (x, parameters) => {
    let at = 0;
    return parts.reduce((values, [part, count]) => part(values, parameters.slice(at, (at += count))), x);
  };

const network = () =>
  new Sequential(
    new Linear(6, 8, { seed: 1 }),
    new BatchNorm(8),
    new Tanh(),
    new Linear(8, 4, { seed: 2 }),
    new BatchNorm(4),
    new Sigmoid(),
  );

test.each([
  ['Linear', () => new Linear(7, 5, { seed: 1 }), [6, 7], linear(7, 5)],
  ['Linear, wide', () => new Linear(33, 41, { seed: 1 }), [3, 33], linear(33, 41)],
  ['Linear without bias', () => new Linear(4, 9, { seed: 2, bias: false }), [5, 4], linear(4, 9)],
  ['Linear on sequences', () => new Linear(6, 8, { seed: 2 }), [2, 3, 6], linear(6, 8)],
  ['Linear on one row', () => new Linear(13, 35, { seed: 2 }), [1, 13], linear(13, 35)],
  ['Tanh', () => new Tanh(), [3, 7], elementwise('tanh')],
  ['Sigmoid', () => new Sigmoid(), [3, 7], elementwise('sigmoid')],
  ['ReLU', () => new ReLU(), [3, 7], elementwise('relu')],
  [
    'Sequential',
    network,
    [7, 6],
    chain(
      [linear(6, 8), 2],
      [normalized(8), 2],
      [elementwise('tanh'), 0],
      [linear(8, 4), 2],
      [normalized(4), 2],
      [elementwise('sigmoid'), 0],
    ),
  ],
] as [string, () => Layer, number[], Formula][])('%s', (_, make, shape, f) => {
  const layer = make();
  const x = normals(
    5,
    shape.reduce((a, b) => a * b, 1),
  );
  const y = layer.forward({ data: x, shape });
  const dy = normals(6, y.data.length);
  const dx = layer.backward({ data: dy, shape: y.shape }).data;
  const parameters = layer.parameters().map((p) => Float64Array.from(p.data));
  expectClose(y.data, f(Float64Array.from(x), parameters), 2e-6);
  expectClose(
    dx,
    centralDifferences(x, (values) => dot(f(values, parameters), dy)),
    1e-4,
  );
  layer.parameters().forEach((parameter, i) => {
    const differences = centralDifferences(parameter.data, (values) =>
      dot(f(Float64Array.from(x), parameters.with(i, Float64Array.from(values))), dy),
    );
    expectClose(parameter.grad, differences, 1e-4);
  });
});

test('ReLU and Dropout pass what they let through', () => {
  const shape = [4, 9];
  const x = normals(4, 36);
  const dy = normals(5, 36);
  const relu = new ReLU();
  relu.forward({ data: x, shape });
  expect(relu.backward({ data: dy, shape }).data).toEqual(dy.map((g, i) => (x[i] > 0 ? g : 0)));
  const dropout = new Dropout(0.4, { seed: 3 });
  const y = dropout.forward({ data: x, shape }).data;
  const dx = dropout.backward({ data: dy, shape }).data;
  expect(dx).toEqual(dy.map((g, i) => (y[i] === 0 ? 0 : g * Math.fround(1 / 0.6))));
});
