// Activations as layers: the table's by their names, those that are steps of their own, and learned
// slopes.

import { describe, expect, test } from 'vitest';
import {
  GELU,
  Graph,
  HardSigmoid,
  HardSwish,
  HardTanh,
  type Layer,
  LeakyReLU,
  Linear,
  PReLU,
  ReLU6,
  SELU,
  Sequential,
  SGD,
  SiLU,
  Softsign,
  Tensor,
  tensor,
} from '../../src/index.ts';
import { normals } from '../support/data.ts';
import { errorOf } from '../support/errors.ts';
import { centralDifferences, dot, expectClose } from '../support/gradients.ts';

const clip = (x: number, low: number, high: number) => Math.min(Math.max(x, low), high);
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
const geluTanh = (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));

/** Φ by Simpson's rule. */
function normal(x: number): number {
  const steps = 2000;
  const h = x / steps;
  let sum = 0;
  for (let i = 0; i <= steps; i++) sum += (i === 0 || i === steps ? 1 : i % 2 ? 4 : 2) * Math.exp(-((i * h) ** 2) / 2);
  return 0.5 + (sum * h) / 3 / Math.sqrt(2 * Math.PI);
}

const LAYERS: [name: string, make: () => Layer, formula: (x: number) => number][] = [
  ['ReLU6', () => new ReLU6(), (x) => clip(x, 0, 6)],
  ['LeakyReLU', () => new LeakyReLU(), (x) => (x < 0 ? 0.01 * x : x)],
  ['LeakyReLU(0.2)', () => new LeakyReLU(0.2), (x) => (x < 0 ? 0.2 * x : x)],
  ['SiLU', () => new SiLU(), (x) => x * sigmoid(x)],
  ['HardSwish', () => new HardSwish(), (x) => (x * clip(x + 3, 0, 6)) / 6],
  ['GELU', () => new GELU(), (x) => x * normal(x)],
  ['GELU, tanh', () => new GELU({ approximate: 'tanh' }), geluTanh],
  ['HardSigmoid', () => new HardSigmoid(), (x) => clip(x / 6 + 0.5, 0, 1)],
  ['HardSigmoid of Keras', () => new HardSigmoid({ slope: 0.2 }), (x) => clip(0.2 * x + 0.5, 0, 1)],
  ['HardTanh', () => new HardTanh(), (x) => clip(x, -1, 1)],
  ['HardTanh(-0.5, 2)', () => new HardTanh(-0.5, 2), (x) => clip(x, -0.5, 2)],
  ['HardTanh(0, 6)', () => new HardTanh(0, 6), (x) => clip(x, 0, 6)],
  ['SELU', () => new SELU(), (x) => 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * Math.expm1(x))],
  ['Softsign', () => new Softsign(), (x) => x / (1 + Math.abs(x))],
  ['PReLU', () => new PReLU(), (x) => (x < 0 ? 0.25 * x : x)],
];

test.each(LAYERS)('%s: values and gradient, in place as well', (_, make, formula) => {
  const shape = [3, 5, 7];
  const x = normals(1, 105, 3);
  const dy = normals(2, 105);
  const expected = Float64Array.from(x, formula);
  const slopes = centralDifferences(x, (v) => dot(v.map(formula), dy), 1e-6);
  for (const isTensor of [false, true]) {
    const give = (data: Float32Array) => (isTensor ? tensor(data, shape) : { data: data.slice(), shape });
    const layer = make();
    expect(layer.outputShape([Number.NaN, 5, 7])).toEqual([Number.NaN, 5, 7]);
    const y = layer.forward(give(x));
    expect(y instanceof Tensor).toBe(isTensor);
    expectClose(y.data, expected, 1e-6);
    const dx = layer.backward(give(dy));
    expectClose(dx.data, slopes, 3e-6);
    const given = give(dy);
    expect(layer.backward(given, { out: given })).toBe(given);
    expect(Float32Array.from(given.data)).toEqual(Float32Array.from(dx.data));
    const over = give(x);
    layer.forward(over, { out: over });
    expect(Float32Array.from(over.data)).toEqual(Float32Array.from(y.data));
    const empty = { data: new Float32Array(0), shape: [0, 5] };
    expect(make().forward(empty)).toEqual(empty);
  }
  const nan = make().forward({ data: Float32Array.of(Number.NaN), shape: [1, 1] });
  expect(nan.data[0]).toBeNaN();
});

test('gradients at corners are those of PyTorch', () => {
  const at = (layer: Layer, x: number) => {
    layer.forward({ data: Float32Array.of(x), shape: [1] });
    return layer.backward({ data: Float32Array.of(3), shape: [1] }).data[0];
  };
  expect([at(new HardTanh(), -1), at(new HardTanh(), 1), at(new HardTanh(0, 6), 6)]).toEqual([0, 0, 0]);
  expect([at(new HardSigmoid({ slope: 0.25 }), -2), at(new HardSigmoid({ slope: 0.25 }), 2)]).toEqual([0, 0]);
  expect(at(new SELU(), 0)).toBeCloseTo(3 * 1.0507009873554805 * 1.6732632423543772, 5);
  expect(at(new PReLU(), 0)).toBe(0.75);
  const flat = new HardTanh();
  flat.forward({ data: Float32Array.of(2, 0), shape: [2] });
  expect([...flat.backward({ data: Float32Array.of(Number.NaN, Number.NaN), shape: [2] }).data]).toEqual([
    0,
    Number.NaN,
  ]);
});

describe.each(['channels-first', 'channels-last'] as const)('PReLU with a slope per channel, %s', (layout) => {
  test.each([
    [[4, 3], 3],
    [[2, 3, 5], 3],
    [[2, 5, 6, 5], 5],
  ])('over %j: values, gradient, gradient of slopes', (logical, channels) => {
    const shape = layout === 'channels-first' ? logical : [logical[0], ...logical.slice(2), logical[1]];
    const size = shape.reduce((a, b) => a * b, 1);
    const inner = layout === 'channels-first' ? logical.slice(2).reduce((a, b) => a * b, 1) : 1;
    const channelOf = (i: number) => Math.floor(i / inner) % channels;
    const [x, dy, slopes] = [normals(1, size), normals(2, size), normals(3, channels)];
    const loss = (v: ArrayLike<number>, s: ArrayLike<number>) =>
      Array.from(v).reduce<number>((sum, one, i) => sum + dy[i] * (one < 0 ? s[channelOf(i)] * one : one), 0);
    for (const isTensor of [false, true]) {
      const give = (data: Float32Array) => (isTensor ? tensor(data, shape) : { data, shape });
      const layer = new PReLU(channels, { layout });
      layer.loadStateDict({ weight: { data: slopes, shape: [channels] } });
      const y = layer.forward(give(x));
      expectClose(
        y.data,
        Float64Array.from(x, (v, i) => (v < 0 ? slopes[channelOf(i)] * v : v)),
        1e-6,
      );
      const dx = layer.backward(give(dy));
      expectClose(
        dx.data,
        centralDifferences(x, (v) => loss(v, slopes)),
        1e-6,
      );
      const dslopes = centralDifferences(slopes, (s) => loss(x, s));
      expectClose(layer.weight.grad, dslopes, 1e-6);
      layer.backward(give(dy));
      expectClose(
        layer.weight.grad,
        dslopes.map((value) => 2 * value),
        1e-6,
      );
      layer.weight.frozen = true;
      layer.zeroGrad();
      layer.backward(give(dy));
      expect([...layer.weight.grad]).toEqual(slopes.map(() => 0).length ? Array(channels).fill(0) : []);
    }
  });
});

test('slopes are learned, and travel in state dicts', () => {
  const net = new Sequential(new Linear(4, 6, { seed: 1 }), new PReLU(6, { init: 0.1 }), new Linear(6, 2, { seed: 2 }));
  const optimizer = new SGD(net.parameters(), { lr: 0.1 });
  net.forward({ data: normals(1, 40), shape: [10, 4] });
  net.backward({ data: normals(2, 20), shape: [10, 2] });
  optimizer.step();
  const state = net.stateDict();
  expect(state['1.weight'].shape).toEqual([6]);
  expect([...state['1.weight'].data].some((slope) => slope !== Math.fround(0.1))).toBe(true);
  const other = new Sequential(new Linear(4, 6), new PReLU(6), new Linear(6, 2));
  other.loadStateDict(state);
  const x = { data: normals(3, 8), shape: [2, 4] };
  expect(other.forward(x)).toEqual(net.forward(x));
});

test('slopes that are not finite are applied as they are', () => {
  const layer = new PReLU();
  layer.weight.data[0] = Number.POSITIVE_INFINITY;
  expect([...layer.forward({ data: Float32Array.of(-1, 0, 2), shape: [3] }).data]).toEqual([-Infinity, 0, 2]);
});

const vector = (...shape: number[]) => ({ data: new Float32Array(shape.reduce((a, b) => a * b, 1)), shape });

test.each([
  [
    () => new LeakyReLU(Number.NaN),
    'RangeError',
    'ERR_OPTION',
    "LeakyReLU: activation 'leaky-relu' expected a finite slope, got NaN",
  ],
  [
    () => new GELU({ approximate: 'erf' as never }),
    'RangeError',
    'ERR_OPTION',
    "GELU: approximate expected 'none' or 'tanh', got 'erf'",
  ],
  [
    () => new GELU({ exact: true } as never),
    'TypeError',
    'ERR_OPTION',
    "GELU: options expected 'approximate', got 'exact'",
  ],
  [
    () => new HardSigmoid({ slope: Number.POSITIVE_INFINITY }),
    'RangeError',
    'ERR_OPTION',
    'HardSigmoid: slope expected a finite number, got Infinity',
  ],
  [
    () => new HardSigmoid({ alpha: 1 } as never),
    'TypeError',
    'ERR_OPTION',
    "HardSigmoid: options expected 'slope', got 'alpha'",
  ],
  [() => new HardTanh(1, 1), 'RangeError', 'ERR_OPTION', 'HardTanh: high expected a number above 1, got 1'],
  [() => new HardTanh('a' as never), 'TypeError', 'ERR_OPTION', "HardTanh: low expected a finite number, got 'a'"],
  [() => new PReLU(0), 'RangeError', 'ERR_OPTION', 'PReLU: channels expected an integer from 1 to 16777216, got 0'],
  [
    () => new PReLU(2, { init: Number.NaN }),
    'RangeError',
    'ERR_OPTION',
    'PReLU(2): init expected a finite number, got NaN',
  ],
  [
    () => new PReLU(2, { layout: 'last' as never }),
    'RangeError',
    'ERR_OPTION',
    "PReLU(2): layout expected 'channels-first' or 'channels-last', got 'last'",
  ],
  [
    () => new PReLU(2, { slope: 1 } as never),
    'TypeError',
    'ERR_OPTION',
    "PReLU(2): options expected 'init' or 'layout', got 'slope'",
  ],
  [
    () => new PReLU(2).forward(vector(4, 3)),
    'RangeError',
    'ERR_SHAPE',
    'PReLU(2): x expected 2 channels on axis 1, got 3 (shape [4, 3], channels-first)',
  ],
  [
    () => new PReLU(2).forward(vector(4)),
    'RangeError',
    'ERR_SHAPE',
    'PReLU(2): x expected rank 2 or more, got rank 1 (shape [4])',
  ],
  [() => new SELU().backward(vector(1)), 'Error', 'ERR_MODE', 'SELU: backward expected a forward before it, got none'],
] as const)('what they do not take (%#)', (work, kind, code, message) => {
  expect(errorOf(work)).toEqual([kind, code, message]);
});

test('in a graph they are written over their inputs, with the values of single layers', () => {
  const x = { data: normals(1, 24), shape: [2, 3, 4] };
  const net = new Graph({ x: [3, 4] }, (g, { x }) => g.apply('p', new PReLU(3), g.apply('s', new SELU(), x)));
  expect(net.forward(x)).toEqual(new PReLU(3).forward(new SELU().forward(x)));
});
