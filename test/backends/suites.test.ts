// Cases of other projects' test suites: their numbers (test/fixtures/suites), and what they say of
// behaviour.

import { describe, expect, test } from 'vitest';
import {
  ActivationLayer,
  BatchNorm,
  batchNorm,
  GroupNorm,
  InstanceNorm1d,
  InstanceNorm2d,
  type InstanceNormOptions,
  type Layer,
  LayerNorm,
  type Layout,
  RMSNorm,
  Sequential,
  type TensorLike,
  tensor,
} from '../../src/index.ts';
import { load } from '../../src/infer/index.ts';
import { normals, worstDifference } from '../support/data.ts';
import { errorOf } from '../support/errors.ts';
import {
  type Numbers,
  type OnnxCase,
  onnxCases,
  permute,
  type SuiteCase,
  suiteCases,
  ulpOf,
  ulps,
} from '../support/suites.ts';

/** Puts numbers where they are asked for. */
const places: Record<string, (t: Numbers) => TensorLike> = {
  'plain arrays': ({ data, shape }) => ({ data: Float32Array.from(data), shape }),
  tensors: ({ data, shape }) => tensor(Float32Array.from(data), shape),
};

const count = (shape: readonly number[]) => shape.reduce((product, length) => product * length, 1);
const vector = (numbers: Numbers | undefined) => numbers && Float32Array.from(numbers.data);

/** Which of gamma and beta a layer has. */
function affineOf(scale: unknown, bias: unknown): boolean | 'gamma' | 'beta' {
  if (scale && bias) return true;
  return scale ? 'gamma' : bias ? 'beta' : false;
}

/** The same numbers with channels first or last: an axis in the middle is the second of three. */
function placed({ shape, data }: Numbers, axis: number): { x: Numbers; layout: Layout; inner: number } {
  const inner = count(shape.slice(axis + 1));
  if (axis === 1) return { x: { shape, data }, layout: 'channels-first', inner };
  if (axis > 0 && axis === shape.length - 1) return { x: { shape, data }, layout: 'channels-last', inner };
  return { x: { shape: [count(shape.slice(0, axis)), shape[axis], inner], data }, layout: 'channels-first', inner };
}

/** Puts gamma and beta into a layer, rounded to f32 as it does. */
function withAffine<N extends { gamma: { data: Float32Array } | null; beta: { data: Float32Array } | null }>(
  norm: N,
  scale: Numbers | undefined,
  bias: Numbers | undefined,
): N {
  if (scale) norm.gamma!.data.set(scale.data);
  if (bias) norm.beta!.data.set(bias.data);
  return norm;
}

/** Batch norm in evaluation in every form there is. */
function evaluations(
  { x, mean, variance, scale, bias, options }: SuiteCase,
  place: (t: Numbers) => TensorLike,
): [string, ArrayLike<number>][] {
  const { axis = 1, epsilon: eps = 1e-5 } = options;
  const { x: input, layout } = placed(x, axis);
  const [gamma, beta] = [vector(scale), vector(bias)];
  const settings = { mean: vector(mean)!, variance: vector(variance)!, gamma, beta, eps, layout };
  const norm = new BatchNorm(mean!.data.length, { eps, layout, affine: affineOf(scale, bias) });
  withAffine(norm, scale, bias);
  norm.runningMean!.set(settings.mean);
  norm.runningVar!.set(settings.variance);
  const net = new Sequential(norm.eval()).eval();
  const compiled = net.compile();
  return [
    ['function', batchNorm(place(input), settings).data],
    ['layer', norm.forward(place(input)).data],
    ['compiled network', compiled(place(input)).data],
    ['loaded network', load(compiled.save())(place(input)).data],
    ['relu', batchNorm(place(input), { ...settings, activation: 'relu' }).data],
  ];
}

describe.each(Object.keys(places))('WebNN, batchNormalization on %s', (kind) => {
  test.each(suiteCases('batch'))('%s: evaluation in every form gives what the suite expects', (_, one) => {
    const { inner } = placed(one.x, one.options.axis ?? 1);
    const channels = one.mean!.data.length;
    const channelOf = (i: number) => Math.floor(i / inner) % channels;
    const largest = Array.from({ length: channels }, (_, c) =>
      Math.max(...one.y.map((value, i) => (channelOf(i) === c ? Math.abs(value) : 0))),
    );
    for (const [form, got] of evaluations(one, places[kind])) {
      expect(got.length).toBe(one.y.length);
      one.y.forEach((value, i) => {
        const want = form === 'relu' ? Math.max(value, 0) : value;
        // web-platform-tests: 6 ULP, element by element; webnn-baseline: f64, from inputs that f32
        // does not hold
        if (one.suite === 'wpt') expect(ulps(got[i], want), `${form} at ${i}`).toBeLessThanOrEqual(6);
        else expect(Math.abs(got[i] - want), `${form} at ${i}`).toBeLessThanOrEqual(6 * ulpOf(largest[channelOf(i)]));
      });
    }
  });
});

/** What is normalised together, and by which gamma and beta. */
interface Groups {
  readonly groupOf: (i: number) => number;
  readonly gammaOf: (i: number) => number;
  readonly betaOf: (i: number) => number;
}

/**
 * A norm by each group's own statistics, in f64 of inputs in f32; `centred` false: by its mean
 * square.
 */
function truthOf(data: readonly number[], { groupOf, gammaOf, betaOf }: Groups, eps: number, centred = true): number[] {
  const x = Float32Array.from(data);
  const groups: number[][] = [];
  x.forEach((value, i) => {
    const group = groupOf(i);
    groups[group] ??= [];
    groups[group].push(value);
  });
  const mean = groups.map((values) => (centred ? values.reduce((sum, value) => sum + value, 0) / values.length : 0));
  const square = groups.map(
    (values, g) => values.reduce((sum, value) => sum + (value - mean[g]) ** 2, 0) / values.length,
  );
  return Array.from(x, (value, i) => {
    const g = groupOf(i);
    const std = Math.sqrt(square[g] + eps);
    return (std ? (value - mean[g]) / std : 0) * Math.fround(gammaOf(i)) + Math.fround(betaOf(i));
  });
}

/** A layer, what it is given, and in which order the expected values stand. */
interface Set {
  readonly norm: Layer;
  readonly x: Numbers;
  readonly y: readonly number[];
  readonly truth: readonly number[];
  readonly groupOf: Groups['groupOf'];
}

/** Norms by channel of each sample: `groups` of them, or each channel. */
function channelSet({ op, x, scale, bias, options, y }: SuiteCase): Set {
  const { epsilon: eps = 1e-5, layout: names = 'nchw', axis = names === 'nchw' ? 1 : x.shape.length - 1 } = options;
  const { layout, inner } = placed(x, axis);
  const channels = x.shape[axis];
  const groups = op === 'group' ? options.groups! : channels;
  const settings = { eps, layout, affine: affineOf(scale, bias) };
  const Instance = x.shape.length === 4 ? InstanceNorm2d : InstanceNorm1d;
  const norm = op === 'group' ? new GroupNorm(groups, channels, settings) : new Instance(channels, settings);
  const channelOf = (i: number) => Math.floor(i / inner) % channels;
  const groupOf = (i: number) =>
    Math.floor(i / count(x.shape.slice(1))) * groups + Math.floor((channelOf(i) * groups) / channels);
  const gammaOf = (i: number) => scale?.data[channelOf(i)] ?? 1;
  const betaOf = (i: number) => bias?.data[channelOf(i)] ?? 0;
  const truth = truthOf(x.data, { groupOf, gammaOf, betaOf }, eps);
  return { norm: withAffine(norm, scale, bias) as Layer, x, y, truth, groupOf };
}

/**
 * Norms of rows: normalised axes come last, in the order of scale and bias. No axes: each value by
 * itself.
 */
function rowSet({ op, x, scale, bias, options, y }: SuiteCase): Set {
  const { epsilon: eps = 1e-5, axes = x.shape.map((_, axis) => axis).slice(1) } = options;
  const order = [...x.shape.keys()].filter((axis) => !axes.includes(axis)).concat(axes);
  const moved = permute(x, order);
  const input = axes.length ? moved : { shape: [...moved.shape, 1], data: moved.data };
  const normalised = axes.length ? axes.map((axis) => x.shape[axis]) : [1];
  const width = count(normalised);
  const norm = new (op === 'rms' ? RMSNorm : LayerNorm)(normalised, { eps, affine: affineOf(scale, bias) });
  const groupOf = (i: number) => Math.floor(i / width);
  const gammaOf = (i: number) => scale?.data[i % width] ?? 1;
  const betaOf = (i: number) => bias?.data[i % width] ?? 0;
  return {
    norm: withAffine(norm, scale, bias) as Layer,
    x: input,
    y: permute({ shape: x.shape, data: y }, order).data,
    truth: truthOf(input.data, { groupOf, gammaOf, betaOf }, eps, op !== 'rms'),
    groupOf,
  };
}

const largestIn = (values: readonly number[], groupOf: Groups['groupOf']) => {
  const largest: number[] = [];
  values.forEach((value, i) => {
    const g = groupOf(i);
    largest[g] = Math.max(largest[g] ?? 0, Math.abs(value));
  });
  return largest;
};

/**
 * What a suite allows: WebNN's layer and instance norms 1/1024, and Keras as many decimals as it
 * writes.
 */
const ALLOWED = { wpt: 1 / 1024, baseline: 1 / 1024, keras: 1e-3 };

describe.each(Object.keys(places))('norms of each sample on %s', (kind) => {
  test.each(suiteCases('instance', 'group', 'layer', 'rms'))('%s: gives what the suite expects', (_, one) => {
    const { norm, x, y, truth, groupOf } = ['layer', 'rms'].includes(one.op) ? rowSet(one) : channelSet(one);
    const largest = largestIn(truth, groupOf);
    // a single value per instance is an error in training
    const single = one.op === 'instance' && new Set(truth.map((_, i) => groupOf(i))).size === truth.length;
    for (const mode of single ? ['evaluation'] : ['training', 'evaluation']) {
      norm.train(mode === 'training');
      const got = norm.forward(places[kind](x)).data;
      expect(got.length).toBe(y.length);
      y.forEach((value, i) => {
        expect(Math.abs(got[i] - value), `${mode} at ${i}`).toBeLessThanOrEqual(ALLOWED[one.suite]);
        const bound = 6 * ulpOf(largest[groupOf(i)]);
        expect(Math.abs(got[i] - truth[i]), `${mode} at ${i}, f64`).toBeLessThanOrEqual(bound);
      });
    }
    norm.dispose();
  });
});

/** The layer of an ONNX node, and what ONNX's later outputs are of it: statistics. */
function onnxNorm({ op, attributes, inputs }: OnnxCase): { norm: Layer; statistics: () => (Float32Array | null)[] } {
  const [{ shape }, scale, bias, mean, variance] = inputs;
  const { epsilon: eps = 1e-5, axis = -1, num_groups: groups = 1 } = attributes;
  const channels = shape[1];
  if (op === 'batch') {
    const norm = new BatchNorm(channels, { ...BatchNorm.preset('onnx'), eps });
    withAffine(norm, scale, bias);
    norm.runningMean!.set(mean.data);
    norm.runningVar!.set(variance.data);
    norm.train(attributes.training_mode === 1);
    return { norm, statistics: () => [norm.runningMean, norm.runningVar] };
  }
  if (op === 'meanVariance') {
    // (x − mean)/(std + 1e-9)
    const norm = new BatchNorm(channels, { eps: 0, affine: false, trackRunningStats: false });
    return { norm, statistics: () => [] };
  }
  if (op === 'instance' || op === 'group') {
    const settings = { eps, affine: true };
    const norm = op === 'group' ? new GroupNorm(groups, channels, settings) : new InstanceNorm2d(channels, settings);
    return { norm: withAffine(norm, scale, bias) as Layer, statistics: () => [] };
  }
  const norm = new (op === 'rms' ? RMSNorm : LayerNorm)(shape.slice(axis), {
    eps,
    affine: op === 'rms' ? 'gamma' : true,
  });
  withAffine(norm, scale, bias);
  return { norm, statistics: () => [norm.savedMean, norm.savedInvStd] };
}

describe.each(Object.keys(places))('ONNX node tests on %s', (kind) => {
  test.each(onnxCases)('%s: gives what the suite expects', (_, one) => {
    const { norm, statistics } = onnxNorm(one);
    const y = norm.forward(places[kind](one.inputs[0])).data;
    [y, ...statistics()].slice(0, one.outputs.length).forEach((got, k) => {
      const { data } = one.outputs[k];
      expect(got?.length).toBe(data.length);
      data.forEach((want, i) => {
        expect(Math.abs(got![i] - want)).toBeLessThanOrEqual(one.atol + one.rtol * Math.abs(want));
      });
    });
    norm.dispose();
  });
});

const ramp = (...shape: number[]) => ({ data: Float32Array.from({ length: count(shape) }, (_, i) => i - 2.5), shape });

describe.each(['training', 'evaluation'])('one value per group, in %s', (mode) => {
  const forms = [
    [[4, 10], 'channels-first'],
    [[4, 10], 'channels-last'],
    [[1, 10], 'channels-first'],
    [[2, 10, 1, 1], 'channels-first'],
    [[2, 1, 1, 10], 'channels-last'],
  ] as [number[], Layout][];
  // PyTorch's group_norm computes beta for GroupNorm(10, 10) of [4, 10], and refuses [1, 10] by its
  // check of batch sizes (torch/nn/functional.py)
  test.each(forms)('PyTorch, GroupNorm(10, 10) of %j, %s: gives beta, and gradients of a constant', (shape, layout) => {
    const norm = new GroupNorm(10, 10, { layout }).train(mode === 'training');
    const beta = Float32Array.from({ length: 10 }, (_, c) => 0.7 * c - 3);
    norm.gamma!.data.forEach((_, c, gamma) => {
      gamma[c] = 1.5 - c;
    });
    norm.beta!.data.set(beta);
    const x = ramp(...shape);
    expect(norm.forward(x).data).toEqual(Float32Array.from(x.data, (_, i) => beta[i % 10]));
    const dy = ramp(...shape);
    expect(worstDifference(norm.backward(dy).data, new Float32Array(dy.data.length))).toBe(0);
    expect(norm.gamma!.grad).toEqual(new Float32Array(10));
    expect(norm.beta!.grad).toEqual(
      Float32Array.from({ length: 10 }, (_, c) =>
        dy.data.reduce((sum, value, i) => (i % 10 === c ? sum + value : sum), 0),
      ),
    );
  });
});

test("PyTorch, GroupNorm(10, 10) of [1, 10] with onSingleValue 'throw': is refused", () => {
  const norm = new GroupNorm(10, 10, { onSingleValue: 'throw' });
  expect(errorOf(() => norm.forward(ramp(1, 10)))).toEqual([
    'RangeError',
    'ERR_SINGLE_VALUE',
    'GroupNorm(10, 10): x expected at least 2 values per group, got 1 (shape [1, 10]; see onSingleValue)',
  ]);
});

// ONNX's InstanceNormalization and WebNN's ("all options" of webnn-baseline) give the bias for a
// single value; PyTorch's instance_norm (_verify_spatial_size, torch/nn/functional.py) refuses one
// in training
describe.each(['channels-first', 'channels-last'] as const)('one value per instance, %s', (layout) => {
  const shape = layout === 'channels-first' ? [2, 3, 1, 1] : [2, 1, 1, 3];
  const made = (options: InstanceNormOptions = {}) => {
    const norm = new InstanceNorm2d(3, { affine: true, layout, ...options });
    norm.gamma!.data.set([2, -3, 4]);
    norm.beta!.data.set([0.5, -0.25, 7]);
    return norm;
  };
  const beta = Float32Array.of(0.5, -0.25, 7, 0.5, -0.25, 7);

  test('ONNX: InstanceNorm2d in evaluation gives beta', () => {
    expect(
      made()
        .eval()
        .forward(ramp(...shape)).data,
    ).toEqual(beta);
  });

  test('PyTorch: InstanceNorm2d in training throws, and names the shape that it was given', () => {
    const given = `[${shape.join(', ')}]; eval() takes single values; training does with onSingleValue`;
    expect(errorOf(() => made().forward(ramp(...shape)))).toEqual([
      'RangeError',
      'ERR_SINGLE_VALUE',
      `InstanceNorm2d(3): training expected at least 2 values per channel of a sample, got 1 (shape ${given})`,
    ]);
  });

  test("PyTorch: InstanceNorm2d with onSingleValue 'skip-update' gives beta in training", () => {
    const norm = made({ onSingleValue: 'skip-update', trackRunningStats: true });
    expect(norm.forward(ramp(...shape)).data).toEqual(beta);
    expect([...norm.runningMean!, ...norm.runningVar!]).toEqual([0, 0, 0, 1, 1, 1]);
  });

  test('PyTorch: InstanceNorm2d with running statistics normalises one value by them in evaluation', () => {
    const norm = made({ trackRunningStats: true, eps: 0 });
    norm.runningMean!.set([1, 2, 3]);
    norm.runningVar!.set([4, 9, 16]);
    const { data } = norm.eval().forward(ramp(...shape));
    // x = −2.5, −1.5, … 2.5
    const want = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5].map(
      (x, i) => ((x - [1, 2, 3][i % 3]) / [2, 3, 4][i % 3]) * [2, -3, 4][i % 3] + beta[i],
    );
    want.forEach((value, i) => {
      expect(data[i]).toBeCloseTo(value, 5);
    });
  });
});

describe('Keras', () => {
  // keras/src/layers/normalization/batch_normalization_test.py
  const keras = (momentum: number, eps = 1e-3) => ({ ...BatchNorm.preset('keras'), momentum, eps });

  test('test_bachnorm_ignore_masked_values: running statistics are those of the values that count', () => {
    for (const masked of [0, 0.1, 1]) {
      const norm = new BatchNorm(2, keras(1));
      const sequence = [1, 5, 2, 5, masked, masked, masked, masked];
      const x = { data: Float32Array.from({ length: 80 }, (_, i) => sequence[i % 8]), shape: [10, 4, 2] };
      norm.forward(x, { lengths: new Array(10).fill(2) });
      expect([...norm.runningMean!, ...norm.runningVar!]).toEqual([1.5, 5, 0.25, 0]);
    }
  });

  test('test_masked_broadcast_normalization: a constant input under a mask gives 0, and its own statistics', () => {
    const norm = new BatchNorm(4, keras(1));
    const x = { data: new Float32Array(24).fill(1), shape: [1, 2, 3, 4] };
    const y = norm.forward(x, { mask: { data: new Float32Array(2).fill(1), shape: [1, 2, 1] } });
    expect(y.data).toEqual(new Float32Array(24));
    expect([...norm.runningMean!, ...norm.runningVar!]).toEqual([1, 1, 1, 1, 0, 0, 0, 0]);
  });

  test('test_trainable_behavior: a frozen norm that has seen nothing gives its input', () => {
    const norm = new BatchNorm(3, keras(0.2, 1e-7)).freeze();
    const x = { data: normals(5, 200 * 4 * 4 * 3, 5, 10), shape: [200, 4, 4, 3] };
    const { data } = norm.forward(x);
    expect(worstDifference(data, x.data)).toBeLessThanOrEqual(50 * 1e-7);
  });

  test('test_correctness: at momentum 0, ours 1, evaluation after training gives what training gave', () => {
    for (const layout of ['channels-first', 'channels-last'] as const) {
      for (const shape of [
        [5, 2, 3],
        [5, 3, 3, 2],
      ]) {
        const channels = layout === 'channels-first' ? shape[1] : shape[shape.length - 1];
        const norm = new BatchNorm(channels, { ...keras(1), layout });
        const x = { data: normals(shape.length, count(shape), 5, 10), shape };
        const trained = norm.forward(x).data;
        expect(worstDifference(norm.eval().forward(x).data, trained)).toBeLessThanOrEqual(4 * ulpOf(3));
      }
    }
  });

  test('test_invalid_momentum: momentum lies from 0 to 1', () => {
    for (const momentum of [-0.1, 1.5]) {
      expect(errorOf(() => new BatchNorm(4, { momentum }))?.slice(0, 2)).toEqual(['RangeError', 'ERR_OPTION']);
    }
    for (const momentum of [0, 1]) expect(new BatchNorm(4, { momentum }).options.momentum).toBe(momentum);
  });

  // keras/src/layers/normalization/group_normalization_test.py
  test('test_groups_rejects_invalid_values: groups divide the channels', () => {
    for (const groups of [0, -2, 1.5, '32', 3, 5]) {
      expect(errorOf(() => new GroupNorm(groups as number, 4))?.slice(0, 2)).toEqual(['RangeError', 'ERR_OPTION']);
    }
  });

  // keras/src/layers/normalization/layer_normalization_test.py
  test('test_ln_basics: an input without values gives an output without values', () => {
    const { data, shape } = new LayerNorm(10).forward({ data: new Float32Array(0), shape: [1, 0, 10] });
    expect([data.length, shape]).toEqual([0, [1, 0, 10]]);
  });

  // keras/src/layers/activations/leaky_relu_test.py
  test('test_leaky_relu_correctness: the slope is that of values below 0', () => {
    const layer = new ActivationLayer({ name: 'leaky-relu', slope: 0.5 });
    const x = { data: Float32Array.of(-10, -5, 0, 5, 10), shape: [5] };
    expect(layer.forward(x).data).toEqual(Float32Array.of(-5, -2.5, 0, 5, 10));
  });
});
