// Gradients against central differences in f64: of the layer's formula for batch norm, of the layer
// itself elsewhere.

import { describe, expect, test } from 'vitest';
import {
  type Activation,
  BatchNorm,
  type BatchNormOptions,
  BatchRenorm,
  Dropout,
  GroupNorm,
  InstanceNorm1d,
  InstanceNorm2d,
  type Layer,
  LayerNorm,
  Linear,
  ReLU,
  RMSNorm,
  Sequential,
  Sigmoid,
  Tanh,
} from '../../src/index.ts';
import { ACTIVATIONS, activate, activationCode } from '../../src/kernels/activations.ts';
import { lopsided, normals } from '../support/data.ts';
import { centralDifferences, dot, expectClose } from '../support/gradients.ts';
import { channelsOf, gradients, normalized, statisticsOf } from '../support/reference.ts';

/** Batch norm with a residual and an activation, in f64. */
function formula(
  x: ArrayLike<number>,
  gamma: ArrayLike<number>,
  beta: ArrayLike<number>,
  residual: ArrayLike<number> | null,
  channelOf: (i: number) => number,
  fixed: { mean: number[]; variance: number[] } | null,
  activation: Activation | undefined,
): Float64Array {
  const statistics = fixed ?? statisticsOf(x, gamma.length, channelOf);
  const { kind, alpha } = activationCode('test', activation);
  return Float64Array.from(x, (value, i) => {
    const pre = normalized(value, channelOf(i), statistics, { gamma, beta }) + (residual?.[i] ?? 0);
    return activate(kind, pre, alpha);
  });
}

const CASES: [string, BatchNormOptions, boolean][] = [
  ['plain', {}, false],
  ['channels last', { layout: 'channels-last' }, false],
  ['with a residual', {}, true],
  ...ACTIVATIONS.map(
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
    const channelOf = channelsOf(shape, options.layout);
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
      dot(formula(a, g, b, r, channelOf, fixed, options.activation), dy);
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

describe('the reference', () => {
  const [gamma, beta] = [
    [1.5, -0.5, 2, 0.7],
    [0.3, -0.2, 0.1, 0.9],
  ];
  const running = { mean: [-1, 1.5, 3, 6], variance: [0.5, 2, 8, 10] };

  test.each(['training', 'evaluation'])('has the gradients of its own values, and so has the layer: %s', (mode) => {
    const shape = [3, 4, 2, 5];
    const channelOf = channelsOf(shape);
    const [x, dy] = [lopsided(1, shape), normals(2, 120)];
    const bn = new BatchNorm(4);
    bn.gamma!.data.set(gamma);
    bn.beta!.data.set(beta);
    bn.runningMean!.set(running.mean);
    bn.runningVar!.set(running.variance);
    if (mode === 'evaluation') bn.eval();
    bn.forward({ data: x, shape });
    const fixed = mode === 'evaluation' ? running : null;
    const own = gradients(x, dy, channelOf, fixed ?? statisticsOf(x, 4, channelOf), { gamma });
    const loss = (v: ArrayLike<number>, g: ArrayLike<number>, b: ArrayLike<number>) =>
      dot(formula(v, g, b, null, channelOf, fixed, undefined), dy);
    const [dx, dgamma, dbeta] = [
      centralDifferences(x, (v) => loss(v, gamma, beta)),
      centralDifferences(gamma, (v) => loss(x, v, beta)),
      centralDifferences(beta, (v) => loss(x, gamma, v)),
    ];
    expectClose(own.dx, dx, 1e-8);
    expectClose(own.dgamma, dgamma, 1e-8);
    expectClose(own.dbeta, dbeta, 1e-8);
    expectClose(bn.backward({ data: dy, shape }).data, own.dx, 1e-6);
    expectClose(bn.gamma!.grad, own.dgamma, 1e-6);
    expectClose(bn.beta!.grad, own.dbeta, 1e-6);
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

const batchNorm =
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
      [batchNorm(8), 2],
      [elementwise('tanh'), 0],
      [linear(8, 4), 2],
      [batchNorm(4), 2],
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

/** Values that share statistics, by a number for each; and the place in gamma and beta. */
interface Sharing {
  readonly group: (i: number) => number;
  readonly place: (i: number) => number;
  readonly centred?: boolean;
  /** For how much a value counts. */
  readonly weight?: (i: number) => number;
  /** r and d of batch renormalization, constants. */
  readonly correct?: (i: number) => readonly [r: number, d: number];
}

/** Any norm, in f64. */
function normFormula(
  { group, place, centred = true, weight = () => 1, correct = () => [1, 0] }: Sharing,
  x: ArrayLike<number>,
  gamma: ArrayLike<number>,
  beta: ArrayLike<number>,
  residual: ArrayLike<number>,
  activation: Activation | undefined,
): Float64Array {
  const indices = Array.from({ length: x.length }, (_, i) => i);
  const groups = new Map<number, number[]>();
  for (const i of indices) groups.set(group(i), [...(groups.get(group(i)) ?? []), i]);
  const statistics = new Map(
    [...groups].map(([key, members]) => {
      const total = members.reduce((sum, i) => sum + weight(i), 0);
      const mean = centred ? members.reduce((sum, i) => sum + weight(i) * x[i], 0) / total : 0;
      const variance = members.reduce((sum, i) => sum + weight(i) * (x[i] - mean) ** 2, 0) / total;
      return [key, { mean, std: Math.sqrt(variance + 1e-5) }];
    }),
  );
  const { kind, alpha } = activationCode('test', activation);
  return Float64Array.from(indices, (i) => {
    if (weight(i) === 0) return 0;
    const { mean, std } = statistics.get(group(i))!;
    const [r, d] = correct(i);
    const c = place(i);
    return activate(kind, (((x[i] - mean) / std) * r + d) * gamma[c] + beta[c] + residual[i], alpha);
  });
}

const weights = [1, 0, 0.5, 2, 1.5, 0, 1, 3];
const KIN: [string, () => Layer, number[], Sharing, object?][] = [
  [
    'LayerNorm',
    () => new LayerNorm([3, 5], { eps: 1e-5, activation: 'silu' }),
    [4, 3, 5],
    { group: (i) => Math.floor(i / 15), place: (i) => i % 15 },
  ],
  [
    'RMSNorm',
    () => new RMSNorm(7, { eps: 1e-5, affine: true, activation: 'tanh' }),
    [2, 3, 7],
    { group: (i) => Math.floor(i / 7), place: (i) => i % 7, centred: false },
  ],
  [
    'GroupNorm',
    () => new GroupNorm(2, 6, { activation: 'sigmoid' }),
    [3, 6, 4],
    { group: (i) => Math.floor(i / 12), place: (i) => Math.floor(i / 4) % 6 },
  ],
  [
    'GroupNorm, channels last',
    () => new GroupNorm(3, 6, { layout: 'channels-last' }),
    [2, 4, 6],
    { group: (i) => Math.floor(i / 24) * 3 + Math.floor((i % 6) / 2), place: (i) => i % 6 },
  ],
  [
    'InstanceNorm2d',
    () => new InstanceNorm2d(3, { affine: true, activation: 'gelu' }),
    [2, 3, 3, 4],
    { group: (i) => Math.floor(i / 12), place: (i) => Math.floor(i / 12) % 3 },
  ],
  [
    'InstanceNorm1d, channels last',
    () => new InstanceNorm1d(3, { affine: true, layout: 'channels-last' }),
    [3, 5, 3],
    { group: (i) => Math.floor(i / 15) * 3 + (i % 3), place: (i) => i % 3 },
  ],
  [
    'virtual batches',
    () => new BatchNorm(4, { virtualBatchSize: 3, activation: 'mish' }),
    [8, 4],
    { group: (i) => Math.floor(i / 12) * 4 + (i % 4), place: (i) => i % 4 },
  ],
  [
    'lengths',
    () => new BatchNorm(3, { activation: 'elu' }),
    [4, 3, 5],
    {
      group: (i) => Math.floor(i / 5) % 3,
      place: (i) => Math.floor(i / 5) % 3,
      weight: (i) => Number(i % 5 < [5, 2, 0, 3][Math.floor(i / 15)]),
    },
    { lengths: [5, 2, 0, 3] },
  ],
  [
    'weights',
    () => new BatchNorm(3, { layout: 'channels-last', activation: 'softplus' }),
    [8, 3],
    { group: (i) => i % 3, place: (i) => i % 3, weight: (i) => weights[Math.floor(i / 3)] },
    { weights: { data: weights, shape: [8] } },
  ],
  [
    'batch renormalization',
    () => new BatchRenorm(2, { rMax: 1.2, dMax: 0.4 }),
    [9, 2],
    { group: (i) => i % 2, place: (i) => i % 2 },
  ],
];

test.each(KIN)('%s', (_, make, shape, sharing, options = {}) => {
  // what these have in common
  const layer = make() as BatchRenorm;
  const size = shape.reduce((a, b) => a * b, 1);
  const x = normals(5, size, 0.7, 1.5);
  const residual = normals(8, size);
  const dy = normals(6, size);
  const { gamma, beta } = layer as { gamma: { data: Float32Array; grad: Float32Array }; beta: typeof gamma };
  gamma.data.set(normals(9, gamma.data.length, 1));
  beta.data.set(normals(10, beta.data.length));
  const y = layer.forward({ data: x, shape }, { residual: { data: residual, shape }, ...options });
  const dx = layer.backward({ data: dy, shape }).data;
  const { savedR: r, savedD: d } = layer as { savedR?: Float32Array | null; savedD?: Float32Array | null };
  const all: Sharing = r && d ? { ...sharing, correct: (i) => [r[sharing.place(i)], d[sharing.place(i)]] } : sharing;
  const activation = (layer as { fused?: Activation }).fused;
  const run = (a: ArrayLike<number>, g: ArrayLike<number>, b: ArrayLike<number>, added: ArrayLike<number>) =>
    normFormula(all, a, g, b, added, activation);
  expectClose(y.data, run(x, gamma.data, beta.data, residual), 5e-6);
  const against = (actual: ArrayLike<number>, values: ArrayLike<number>, loss: (v: Float64Array) => Float64Array) =>
    expectClose(
      actual,
      centralDifferences(values, (v) => dot(loss(v), dy)),
      2e-4,
    );
  against(dx, x, (v) => run(v, gamma.data, beta.data, residual));
  against(gamma.grad, gamma.data, (v) => run(x, v, beta.data, residual));
  against(beta.grad, beta.data, (v) => run(x, gamma.data, v, residual));
  against(layer.residualGrad!.data, residual, (v) => run(x, gamma.data, beta.data, v));
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
