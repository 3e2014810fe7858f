// Folding, against PyTorch's reference data and against layers as plain loops.

import { describe, expect, test } from 'vitest';
import { BatchNorm1d, type BatchNorm2d, foldConv, foldLinear, foldNorms, Linear, Random } from '../../src/index.ts';
import { type Conv, convolve } from '../support/convolve.ts';
import { errorRatio, type GoldenCase, goldenCases } from '../support/golden.ts';
import { normalized } from '../support/reference.ts';

const random = new Random(7);
const normals = (count: number, spread = 1, mean = 0) =>
  Float32Array.from({ length: count }, () => mean + spread * random.normal());
const positives = (count: number) => Float32Array.from({ length: count }, () => 0.2 + random.uniform() * 3);

function statistics(channels: number) {
  return {
    mean: normals(channels, 2, 1),
    variance: positives(channels),
    gamma: normals(channels, 0.5, 1),
    beta: normals(channels),
    eps: 1e-3,
  };
}

function normOf({ attributes: a, tensors: T }: GoldenCase) {
  return {
    mean: T.bn_running_mean.data,
    variance: T.bn_running_var.data,
    gamma: T.bn_weight.data,
    beta: T.bn_bias.data,
    eps: a.eps,
  };
}

test.each(goldenCases('fold_conv_bn', 'fold_conv_transpose_bn'))('$id: weights and outputs are PyTorch’s', (golden) => {
  const { attributes: a, tensors: T } = golden;
  const conv = {
    weight: T.conv_weight.data,
    bias: T.conv_bias?.data,
    shape: T.conv_weight.shape,
    groups: a.groups,
    transposed: a.conv.startsWith('ConvTranspose'),
    stride: a.stride,
    padding: a.padding,
    dilation: a.dilation,
    outputPadding: a.outputPadding ?? 0,
  };
  const samples = { data: T.x.data as Float32Array, shape: T.x.shape };
  const folded = foldConv(conv, normOf(golden), { samples });
  expect(errorRatio(T.folded_weight, folded.weight, 'strict')).toBeLessThanOrEqual(1);
  expect(errorRatio(T.folded_bias, folded.bias, 'strict')).toBeLessThanOrEqual(1);
  expect(errorRatio(T.y, convolve(samples, folded as Conv).data, 'strict')).toBeLessThanOrEqual(1);
  const { measured, sampleBound } = folded.certificate;
  measured!.forEach((error, c) => {
    expect(error).toBeLessThanOrEqual(sampleBound![c]);
    expect(error).toBeGreaterThan(sampleBound![c] / 1e4); // a bound worth having
  });
});

test.each(goldenCases('fold_linear_bn'))('$id: weights and outputs are PyTorch’s', (golden) => {
  const { tensors: T } = golden;
  const samples = { data: T.x.data as Float32Array, shape: T.x.shape };
  const linear = { weight: T.linear_weight.data, bias: T.linear_bias?.data, shape: T.linear_weight.shape };
  const folded = foldLinear(linear, normOf(golden), { samples });
  expect(errorRatio(T.folded_weight, folded.weight, 'strict')).toBeLessThanOrEqual(1);
  expect(errorRatio(T.folded_bias, folded.bias, 'strict')).toBeLessThanOrEqual(1);
  const y = convolve(samples, folded);
  expect(errorRatio(T.y, y.data, 'strict')).toBeLessThanOrEqual(1);
  folded.certificate.measured!.forEach((error, c) => {
    expect(error).toBeLessThanOrEqual(folded.certificate.sampleBound![c]);
  });
});

/** The same weights in Keras' order of axes. */
function toKeras(
  weight: ArrayLike<number>,
  [a, b, ...window]: readonly number[],
): { weight: Float32Array; shape: number[] } {
  const taps = window.reduce((product, length) => product * length, 1);
  const out = new Float32Array(weight.length);
  for (let i = 0; i < a; i++)
    for (let j = 0; j < b; j++)
      for (let t = 0; t < taps; t++) out[(t * b + j) * a + i] = weight[(i * b + j) * taps + t];
  return { weight: out, shape: [...window, b, a] };
}

describe('Keras’ layouts give the same weights as PyTorch’s', () => {
  const cases = [
    { shape: [6, 2, 3, 3], groups: 2, transposed: false },
    { shape: [6, 4, 5], groups: 1, transposed: false },
    { shape: [4, 5, 2, 3, 2], groups: 1, transposed: true },
    { shape: [4, 3, 3, 3], groups: 2, transposed: true },
  ];
  test.each(cases)('$shape, groups $groups, transposed $transposed', ({ shape, groups, transposed }) => {
    const weight = normals(shape.reduce((product, length) => product * length, 1));
    const out = transposed ? shape[1] * groups : shape[0];
    const norm = statistics(out);
    const bias = normals(out);
    const torch = foldConv({ weight, bias, shape, groups, transposed }, norm);
    const keras = foldConv({ ...toKeras(weight, shape), bias, groups, transposed, layout: 'keras' as const }, norm);
    expect(keras.weight).toEqual(toKeras(torch.weight, shape).weight);
    expect(keras.bias).toEqual(torch.bias);
    expect(keras.layout).toBe('keras');
  });

  test('depthwise is one group per channel', () => {
    const [channels, multiplier] = [3, 2];
    const torchShape = [channels * multiplier, 1, 3, 3];
    const weight = normals(54);
    const depthwise = new Float32Array(54); // [3, 3, channels, multiplier]
    for (let o = 0; o < 6; o++) for (let t = 0; t < 9; t++) depthwise[t * 6 + o] = weight[o * 9 + t];
    const norm = statistics(6);
    const torch = foldConv({ weight, shape: torchShape, groups: channels }, norm);
    const keras = foldConv(
      { weight: depthwise, shape: [3, 3, channels, multiplier], layout: 'keras' as const, depthwise: true },
      norm,
    );
    for (let o = 0; o < 6; o++)
      for (let t = 0; t < 9; t++) expect(keras.weight[t * 6 + o]).toBe(torch.weight[o * 9 + t]);
    expect(keras.bias).toEqual(torch.bias);
  });

  test('a linear layer', () => {
    const weight = normals(15);
    const norm = statistics(5);
    const samples = { data: normals(12), shape: [4, 3] };
    const torch = foldLinear({ weight, shape: [5, 3] }, norm, { samples });
    const keras = foldLinear({ ...toKeras(weight, [5, 3]), layout: 'keras' }, norm, { samples });
    expect(keras.weight).toEqual(toKeras(torch.weight, [5, 3]).weight);
    expect(keras.certificate.measured).toEqual(torch.certificate.measured);
  });

  test('samples of a Keras convolution lie channels last, and may be padded to the same size', () => {
    const shape = [4, 2, 3, 3];
    const weight = normals(72);
    const norm = statistics(4);
    const x = normals(2 * 2 * 5 * 6);
    const last = new Float32Array(x.length);
    for (let n = 0; n < 2; n++)
      for (let c = 0; c < 2; c++) for (let i = 0; i < 30; i++) last[(n * 30 + i) * 2 + c] = x[(n * 2 + c) * 30 + i];
    const torch = foldConv({ weight, shape, padding: 1 }, norm, { samples: { data: x, shape: [2, 2, 5, 6] } });
    const keras = foldConv({ ...toKeras(weight, shape), layout: 'keras' as const, padding: 'same' as const }, norm, {
      samples: { data: last, shape: [2, 5, 6, 2] },
    });
    keras.certificate.measured!.forEach((error, c) => {
      expect(error).toBeCloseTo(torch.certificate.measured![c], 13);
    });
  });
});

describe('a norm before the layer', () => {
  test('goes into a linear layer', () => {
    const norm = statistics(7);
    const linear = { weight: normals(21), bias: normals(3), shape: [3, 7] };
    const samples = { data: normals(35, 3), shape: [5, 7] };
    const folded = foldLinear(norm, linear, { samples });
    const through = convolve({ data: mapped(samples.data, norm, 7, 1), shape: [5, 7] }, linear);
    convolve(samples, folded).data.forEach((value, i) => {
      expect(Math.abs(value - through.data[i])).toBeLessThanOrEqual(folded.certificate.sampleBound![i % 3]);
    });
  });

  test.each([1, 2])('goes into a convolution without padding, %i groups', (groups) => {
    const norm = statistics(4);
    const conv = {
      weight: normals((6 * 4 * 9) / groups),
      bias: normals(6),
      shape: [6, 4 / groups, 3, 3],
      groups,
      stride: 2,
    };
    const samples = { data: normals(2 * 4 * 49), shape: [2, 4, 7, 7] };
    const folded = foldConv(norm, conv, { samples });
    const through = convolve({ data: mapped(samples.data, norm, 4, 49), shape: samples.shape }, conv);
    convolve(samples, folded as Conv).data.forEach((value, i) => {
      expect(Math.abs(value - through.data[i])).toBeLessThanOrEqual(
        folded.certificate.sampleBound![Math.floor(i / 9) % 6],
      );
    });
  });

  test('is refused before zero padding and before a transposed layer, unless it shifts nothing', () => {
    const weight = normals(36);
    const norm = { scale: [1, 2], shift: [0, 0.5] };
    const conv = { weight, shape: [2, 2, 3, 3] };
    const refusal = 'expected a shift of 0, as border values would differ, got [0, 0.5]';
    for (const padding of [1, [0, 1], 'same'] as const) {
      expect(() => foldConv(norm, { ...conv, padding })).toThrow(`foldConv: a norm before zero padding ${refusal}`);
    }
    expect(() => foldConv(norm, { ...conv, transposed: true })).toThrow(
      `foldConv: a norm before a transposed layer ${refusal}`,
    );
    const folded = foldConv({ scale: [1, 2] }, { ...conv, padding: 1 });
    expect([...folded.bias]).toEqual([0, 0]);
    expect(folded.weight[9]).toBe(Math.fround(weight[9] * 2));
  });
});

function mapped(data: Float32Array, norm: ReturnType<typeof statistics>, channels: number, inner: number) {
  return Float64Array.from(data, (value, i) => normalized(value, Math.floor(i / inner) % channels, norm, norm));
}

describe('chains', () => {
  test('norms and scales in a row are one map', () => {
    const [one, two] = [statistics(5), statistics(5)];
    const scale = { scale: normals(5), shift: normals(5) };
    const chain = foldNorms(one, scale, two);
    const x = normals(5);
    const middle = mapped(x, one, 5, 1).map((value, c) => value * scale.scale[c] + scale.shift[c]);
    const want = middle.map((value, c) => normalized(value, c, two, two));
    want.forEach((value, c) => {
      expect(x[c] * chain.scale[c] + chain.shift[c]).toBeCloseTo(value, 12);
    });
    const linear = { weight: normals(10), shape: [5, 2] };
    expect(foldLinear(linear, chain).weight[0]).toBeCloseTo(linear.weight[0] * chain.scale[0], 6);
  });
});

describe('layers', () => {
  const evaluated = (bn: BatchNorm1d | BatchNorm2d) => {
    const { mean, variance, gamma, beta } = statistics(bn.numFeatures);
    bn.runningMean!.set(mean);
    bn.runningVar!.set(variance);
    bn.gamma?.data.set(gamma);
    bn.beta?.data.set(beta);
    return bn.eval();
  };

  test('a Linear and a BatchNorm1d come out as plain weights, and neither has changed', () => {
    const linear = new Linear(3, 4, { seed: 1 });
    const bn = evaluated(new BatchNorm1d(4, { activation: { name: 'leaky-relu', slope: 0.2 } }));
    const before = [JSON.stringify(linear.stateDict()), JSON.stringify(bn.stateDict())];
    const folded = foldLinear(linear, bn);
    expect([JSON.stringify(linear.stateDict()), JSON.stringify(bn.stateDict())]).toEqual(before);
    expect(folded.shape).toEqual([4, 3]);
    expect(folded.activation).toEqual({ name: 'leaky-relu', slope: 0.2 });
    const x = { data: normals(6), shape: [2, 3] };
    const want = bn.forward(linear.forward(x)).data;
    convolve(x, folded).data.forEach((value, i) => {
      expect(value < 0 ? value * 0.2 : value).toBeCloseTo(want[i], 5);
    });
  });

  test.each([
    [
      'a layer in training mode',
      () => foldLinear(new Linear(2, 3), new BatchNorm1d(3)),
      'BatchNorm1d(3): fold expected a layer in evaluation mode, got one in training mode',
    ],
    [
      'a layer without statistics',
      () => foldLinear(new Linear(2, 3), new BatchNorm1d(3, { trackRunningStats: false }).eval()),
      'BatchNorm1d(3): fold expected running statistics, got none',
    ],
    [
      'other channels',
      () => foldLinear(new Linear(2, 3), new BatchNorm1d(2).eval()),
      'foldLinear: the norm expected 3 channels, as the layer gives, got 2',
    ],
    [
      'other channels before',
      () => foldLinear(new BatchNorm1d(3).eval(), new Linear(2, 3)),
      'foldLinear: the norm expected 2 channels, as the layer takes, got 3',
    ],
    [
      'a negative variance',
      () => foldLinear(new Linear(1, 2), { mean: [0, 0], variance: [1, -0.5] }),
      'foldLinear: variance expected values of 0 or more, got -0.5 (channel 1)',
    ],
    [
      'a NaN',
      () => foldLinear(new Linear(1, 2), { mean: [0, 0], variance: [Number.NaN, 1] }),
      'foldLinear: variance expected finite values, got NaN (channel 0)',
    ],
    [
      'no variance',
      () => foldLinear(new Linear(1, 2), { mean: [0, 0] } as never),
      'foldLinear: fold expected variance, got none',
    ],
    [
      'an activation in between',
      () => foldLinear(new BatchNorm1d(2, { activation: 'relu' }).eval(), new Linear(2, 3)),
      "foldLinear: a norm before another map expected no activation, got 'relu'",
    ],
    [
      'two norms',
      () => foldLinear({ scale: [1] }, { scale: [1] } as never),
      'foldLinear: the arguments expected a layer and a norm, in either order, got two norms',
    ],
    [
      'weights beyond f32',
      () => foldLinear({ weight: [2 ** 100], shape: [1, 1] }, { scale: [2 ** 100] }),
      'foldLinear: the folded weight expected values that f32 holds, got 1.6069380442589903e+60',
    ],
    [
      'a wrong shape',
      () => foldConv({ weight: [1, 2], shape: [1, 2] }, { scale: [1] }),
      'foldConv: shape expected rank 3 to 5, got [1, 2]',
    ],
    [
      'too few weights',
      () => foldConv({ weight: [1, 2], shape: [1, 1, 3] }, { scale: [1] }),
      'foldConv: weight expected 3 values for shape [1, 1, 3], got 2',
    ],
    [
      'groups that do not divide',
      () => foldConv({ weight: [1, 2, 3], shape: [3, 1, 1], groups: 2 }, { scale: [1, 1, 1] }),
      'foldConv: shape expected a multiple of 2 (groups) on axis 0, got [3, 1, 1]',
    ],
    [
      'samples of another shape',
      () =>
        foldLinear(
          { weight: [1, 2], shape: [1, 2] },
          { scale: [1] },
          { samples: { data: new Float32Array(3), shape: [1, 3] } },
        ),
      'foldLinear: samples expected rank 2 with 2 channels, got [1, 3]',
    ],
    [
      'an unknown option',
      () => foldLinear({ weight: [1], shape: [1, 1] }, { scale: [1] }, { sample: 1 } as never),
      "foldLinear: options expected 'samples', got 'sample'",
    ],
  ])('%s is refused', (_, call, message) => {
    expect(call).toThrow(message);
  });
});
