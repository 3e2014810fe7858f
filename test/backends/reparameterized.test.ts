// Weight standardization and spectral normalization against PyTorch's in float64
// (test/fixtures/training), and what wrappers promise.

import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  BatchNorm2d,
  Conv1d,
  Conv2d,
  ConvTranspose1d,
  ConvTranspose2d,
  Linear,
  namedParameters,
  ReLU,
  Sequential,
  SGD,
  SpectralNorm,
  tensor,
  type WeightedLayer,
  WeightStandardization,
} from '../../src/index.ts';
import { normals, worstDifference } from '../support/data.ts';

interface Step {
  x: number[];
  y: number[];
  yShape: number[];
  dy: number[];
  dx: number[];
  dweight: number[];
  dbias: number[] | null;
  u: number[] | null;
  v: number[] | null;
}
interface Case {
  kind: 'spectral' | 'standard';
  name: string;
  layer: {
    in: number;
    out: number;
    kernel?: number[];
    bias?: boolean;
    stride?: number;
    padding?: number;
    groups?: number;
    transposed?: boolean;
  };
  options: { iterations?: number; eps: number };
  weight: number[];
  bias: number[] | null;
  u: number[] | null;
  v: number[] | null;
  shape: number[];
  steps: Step[];
  evaluation: number[];
}

const { cases }: { cases: Case[] } = JSON.parse(
  readFileSync(new URL('../fixtures/training/reparameterized.json', import.meta.url), 'utf8'),
);

function layerOf({
  in: inputs,
  out,
  kernel,
  transposed,
  bias = true,
  stride = 1,
  padding = 0,
  groups = 1,
}: Case['layer']) {
  if (!kernel) return new Linear(inputs, out, { bias });
  const options = { bias, stride, padding, groups };
  if (transposed) return new (kernel.length === 1 ? ConvTranspose1d : ConvTranspose2d)(inputs, out, kernel, options);
  return new (kernel.length === 1 ? Conv1d : Conv2d)(inputs, out, kernel, options);
}

/** Differences may be this share of the largest value: some tens of terms in f32. */
const close = (got: ArrayLike<number>, truth: readonly number[]) =>
  worstDifference(got, truth) / Math.max(1, ...truth.map(Math.abs));

describe.each(cases.map((c) => [`${c.kind} ${c.name} ${JSON.stringify(c.options)}`, c] as const))('%s', (_, c) => {
  test.each(['array', 'tensor'] as const)('is PyTorch’s in %ss', (kind) => {
    const inner: WeightedLayer = layerOf(c.layer);
    const wrapper =
      c.kind === 'spectral' ? new SpectralNorm(inner, c.options) : new WeightStandardization(inner, c.options);
    const entry = (data: number[], shape: readonly number[]) => ({ data: Float32Array.from(data), shape });
    const { weight } = wrapper;
    wrapper.loadStateDict({
      weight: entry(c.weight, weight.shape),
      ...(c.bias && { bias: entry(c.bias, [c.bias.length]) }),
      ...(c.u && { u: entry(c.u, [c.u.length]), v: entry(c.v!, [c.v!.length]) }),
    });
    const given = (data: number[], shape: number[]) =>
      kind === 'tensor' ? tensor(Float32Array.from(data), shape) : entry(data, shape);
    for (const step of c.steps) {
      wrapper.zeroGrad();
      const y = wrapper.forward(given(step.x, c.shape));
      expect(close(y.data, step.y)).toBeLessThan(4e-6);
      const dx = wrapper.backward(given(step.dy, step.yShape));
      expect(close(dx.data, step.dx)).toBeLessThan(4e-6);
      expect(close(weight.grad, step.dweight)).toBeLessThan(1e-5);
      if (step.dbias) expect(close(wrapper.bias!.grad, step.dbias)).toBeLessThan(4e-6);
      if (wrapper instanceof SpectralNorm) {
        expect(worstDifference(wrapper.u, step.u!)).toBeLessThan(2e-6);
        expect(worstDifference(wrapper.v, step.v!)).toBeLessThan(2e-6);
      }
      weight.grad.forEach((g, i) => {
        weight.data[i] -= 0.1 * g;
      });
    }
    wrapper.eval();
    const x = given(c.steps[2].x, c.shape);
    const y = wrapper.forward(x).data.slice();
    expect(close(y, c.evaluation)).toBeLessThan(1e-5);
    const net = new Sequential(wrapper).eval();
    const run = net.compile();
    expect(close(run(x).data, [...y])).toBeLessThan(1e-5);
    run.dispose();
  });
});

const make = {
  WeightStandardization: () => new WeightStandardization(new Conv2d(3, 4, 3, { seed: 1 })),
  SpectralNorm: () => new SpectralNorm(new Conv2d(3, 4, 3, { seed: 1 }), { seed: 2 }),
};
const shape = [2, 3, 5, 5];
const x = { data: normals(1, 150), shape };

describe.each(Object.keys(make) as (keyof typeof make)[])('%s', (name) => {
  test('a forward that throws changes nothing: backward still finds the last one', () => {
    const [layer, twin] = [make[name](), make[name]()];
    const y = layer.forward(x);
    twin.forward(x);
    const before = layer.stateDict();
    expect(() => layer.forward({ data: new Float32Array(100), shape: [2, 2, 5, 5] })).toThrow(
      'Conv2d(3, 4): x expected 3 channels on axis 1, got 2',
    );
    expect(layer.stateDict()).toEqual(before);
    const dy = { data: normals(3, y.data.length), shape: y.shape };
    expect(layer.backward(dy)).toEqual(twin.backward(dy));
    expect(layer.weight.grad).toEqual(twin.weight.grad);
  });

  test('compiling in the middle of a step does not reach its backward', () => {
    const [layer, twin] = [make[name](), make[name]()];
    const y = layer.forward(x);
    twin.forward(x);
    layer.weight.data[0] += 1; // what the compiled net sees
    new Sequential(layer).compile().dispose();
    const dy = { data: normals(3, y.data.length), shape: y.shape };
    expect(layer.backward(dy)).toEqual(twin.backward(dy));
  });

  test('the learned weight is the one in parameters, state and optimizers', () => {
    const net = new Sequential(make[name](), new BatchNorm2d(4), new ReLU());
    expect(namedParameters(net).map(([key]) => key)).toEqual(['0.weight', '0.bias', '1.gamma', '1.beta']);
    const optimizer = new SGD(namedParameters(net), { lr: 0.1 });
    const y = net.forward(x);
    const before = net.stateDict();
    net.backward({ data: normals(4, y.data.length), shape: y.shape });
    optimizer.step();
    const after = net.stateDict();
    expect(after['0.weight'].data).not.toEqual(before['0.weight'].data);
    const other = new Sequential(make[name](), new BatchNorm2d(4), new ReLU());
    other.loadStateDict(after);
    expect(other.eval().forward(x)).toEqual(net.eval().forward(x));
  });

  test('micro-batches, freezing and eval', () => {
    const layer = make[name]();
    const halves = [0, 75].map((from) => ({ data: x.data.slice(from, from + 75), shape: [1, 3, 5, 5] }));
    const ys = layer.forwardMicroBatches(halves);
    layer.backwardMicroBatches(ys.map(({ data, shape }) => ({ data: data.map(() => 1), shape })));
    expect(layer.weight.grad.some((value) => value !== 0)).toBe(true);
    const net = new Sequential(layer).freeze();
    net.zeroGrad();
    const y = net.forward(x);
    net.backward({ data: normals(5, y.data.length), shape: y.shape });
    expect(layer.weight.grad.every((value) => value === 0)).toBe(true);
    layer.eval();
    expect(layer.layer.training).toBe(false);
    expect(layer.forward(x)).toEqual(layer.forward(x));
  });
});

test('weights of zeros: standardization is 0, spectral normalization NaN, as in PyTorch', () => {
  const zero = () => new Linear(2, 2, { init: (values) => values.fill(0), bias: false });
  const one = { data: Float32Array.of(1, 2), shape: [1, 2] };
  expect([...new WeightStandardization(zero()).forward(one).data]).toEqual([0, 0]);
  expect([...new SpectralNorm(zero()).forward(one).data]).toEqual([Number.NaN, Number.NaN]);
});

test('the largest singular value becomes 1', () => {
  const layer = new SpectralNorm(new Linear(8, 6, { bias: false, seed: 4 }), { seed: 1, iterations: 60 });
  const identity = new Float32Array(64);
  for (let i = 0; i < 8; i++) identity[9 * i] = 1;
  const w = layer.forward({ data: identity, shape: [8, 8] }).data; // [8, 6], the transposed weight
  const { u, v } = layer;
  const image = Array.from({ length: 6 }, (_, o) => v.reduce((sum, value, i) => sum + value * w[i * 6 + o], 0));
  expect(worstDifference(image, u)).toBeLessThan(1e-5);
});

test.each<[() => unknown, string]>([
  [
    () => new SpectralNorm(new ReLU() as never),
    'SpectralNorm: layer expected a linear layer or a convolution, got ReLU',
  ],
  [
    () => new WeightStandardization(new BatchNorm2d(3) as never),
    'WeightStandardization: layer expected a linear layer or a convolution, got BatchNorm2d(3)',
  ],
  [() => new SpectralNorm(3 as never), 'SpectralNorm: layer expected a linear layer or a convolution, got 3'],
  [
    () => new SpectralNorm(new Linear(2, 3), { iterations: 0 }),
    'SpectralNorm(Linear(2, 3)): iterations expected a whole number of 1 or more, got 0',
  ],
  [
    () => new SpectralNorm(new Linear(2, 3), { eps: Number.NaN }),
    'SpectralNorm(Linear(2, 3)): eps expected a finite number above 0, got NaN',
  ],
  [
    () => new WeightStandardization(new Linear(2, 3), { eps: 0 }),
    'WeightStandardization(Linear(2, 3)): eps expected a finite number above 0, got 0',
  ],
  [
    () => new WeightStandardization(new Linear(2, 3), { seed: 1 } as never),
    "WeightStandardization(Linear(2, 3)): options expected 'eps', got 'seed'",
  ],
  [
    () => new SpectralNorm(new Linear(2, 3)).backward({ data: new Float32Array(3), shape: [1, 3] }),
    'Linear(2, 3): backward expected a forward before it, got none',
  ],
])('refused: %s', (work, message) => {
  let thrown: Error | undefined;
  try {
    work();
  } catch (error) {
    thrown = error as Error;
  }
  expect(thrown?.message).toBe(message);
});
