import { describe, expect, test } from 'vitest';
import {
  BatchNorm,
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  type BatchNormOptions,
  batchNorm,
  SGD,
  Tensor,
  tensor,
  zeros,
} from '../../src/index.ts';
import { bitsOf, lopsided, normals, worstDifference } from '../support/data.ts';
import { channelsOf, movedBy, normalized, statisticsOf } from '../support/reference.ts';

const shape = [5, 3, 4, 7];
const data = () => ({ data: lopsided(1, shape), shape });

/** The batch of `x` and its normalised values, in f64. */
function reference(x: Float32Array, shape: number[]) {
  const channelOf = channelsOf(shape);
  const batch = statisticsOf(x, shape[1], channelOf);
  return { batch, y: Float64Array.from(x, (value, i) => normalized(value, channelOf(i), batch)) };
}

describe('training', () => {
  test('normalises by the batch and moves the running statistics towards it', () => {
    const bn = new BatchNorm2d(3);
    const x = data();
    const { y, batch } = reference(x.data, shape);
    expect(worstDifference(bn.forward(x).data, y)).toBeLessThan(1e-5);
    const running = movedBy({ mean: [0, 0, 0], variance: [1, 1, 1] }, batch);
    expect(worstDifference(bn.runningMean!, running.mean)).toBeLessThan(1e-6);
    expect(worstDifference(bn.runningVar!, running.variance)).toBeLessThan(1e-5);
    expect(bn.batchesTracked).toBe(1);
  });

  test('the biased estimator divides by m', () => {
    const bn = new BatchNorm2d(3, { runningVariance: 'biased', momentum: 1 });
    const x = data();
    bn.forward(x);
    expect(worstDifference(bn.runningVar!, reference(x.data, shape).batch.variance)).toBeLessThan(1e-5);
  });

  test('momentum null averages all batches', () => {
    const bn = new BatchNorm2d(3, { momentum: null });
    const means = [1, 2, 3].map((seed) => {
      const x = lopsided(seed, shape);
      bn.forward({ data: x, shape });
      return reference(x, shape).batch.mean;
    });
    expect(
      worstDifference(
        bn.runningMean!,
        [0, 1, 2].map((c) => (means[0][c] + means[1][c] + means[2][c]) / 3),
      ),
    ).toBeLessThan(1e-6);
  });

  test('a constant channel gives exactly beta', () => {
    for (const value of [3.3, 10000.1, 1e8, 1e-30, 0]) {
      const bn = new BatchNorm1d(2);
      bn.beta!.data.set([0.7, -1.3]);
      const y = bn.forward({ data: new Float32Array(14).fill(value), shape: [7, 2] });
      expect(y.data).toEqual(Float32Array.from({ length: 14 }, (_, i) => (i % 2 ? -1.3 : 0.7)));
    }
  });

  test('both layouts give the same', () => {
    const first = lopsided(4, shape);
    const last = new Float32Array(first.length);
    const [n, c, h, w] = shape;
    for (let i = 0; i < n; i++)
      for (let j = 0; j < c; j++)
        for (let k = 0; k < h * w; k++) last[(i * h * w + k) * c + j] = first[(i * c + j) * h * w + k];
    const a = new BatchNorm2d(3);
    const b = new BatchNorm2d(3, { layout: 'channels-last' });
    const ya = a.forward({ data: first, shape }).data;
    const yb = b.forward({ data: last, shape: [n, h, w, c] }).data;
    const back = ya.map(
      (_, i) => yb[(Math.floor(i / (c * h * w)) * h * w + (i % (h * w))) * c + (Math.floor(i / (h * w)) % c)],
    );
    expect(worstDifference(ya, back)).toBeLessThan(2e-6);
    expect(worstDifference(a.runningVar!, b.runningVar!)).toBeLessThan(1e-5);
  });

  test('without running statistics evaluation uses the batch, forward and backward', () => {
    const bn = new BatchNorm2d(3, { trackRunningStats: false });
    const x = data();
    const trained = bn.forward(x).data;
    expect(bn.runningMean).toBeNull();
    expect(bn.runningVar).toBeNull();
    const dy = { data: normals(9, x.data.length), shape };
    const dx = bn.backward(dy).data;
    bn.eval();
    expect(bn.forward(x).data).toEqual(trained);
    expect(bn.backward(dy).data).toEqual(dx);
    expect(bn.batchesTracked).toBe(0);
  });
});

test.each([
  [true, ['gamma', 'beta']],
  ['gamma', ['gamma']],
  ['beta', ['beta']],
  [false, []],
] as const)('affine %s: learned parameters %s', (affine, names) => {
  const bn = new BatchNorm1d(3, { affine });
  expect(Object.keys(bn.stateDict())).toEqual([...names, 'runningMean', 'runningVar', 'batchesTracked']);
  expect(bn.parameters().length).toBe(names.length);
  bn.gamma?.data.set([2, 3, 4]);
  bn.beta?.data.set([-1, 0, 1]);
  const x = { data: lopsided(2, [6, 3]), shape: [6, 3] };
  const plain = new BatchNorm1d(3, { affine: false });
  const xhat = plain.forward(x).data;
  const expected = xhat.map((v, i) => v * (bn.gamma?.data[i % 3] ?? 1) + (bn.beta?.data[i % 3] ?? 0));
  expect(worstDifference(bn.forward(x).data, expected)).toBeLessThan(1e-5);
  const dy = normals(3, 18);
  bn.backward({ data: dy, shape: [6, 3] });
  if (bn.gamma)
    expect(
      worstDifference(
        bn.gamma.grad,
        [0, 1, 2].map((c) => sum(6, (n) => dy[n * 3 + c] * xhat[n * 3 + c])),
      ),
    ).toBeLessThan(1e-5);
  if (bn.beta)
    expect(
      worstDifference(
        bn.beta.grad,
        [0, 1, 2].map((c) => sum(6, (n) => dy[n * 3 + c])),
      ),
    ).toBeLessThan(1e-5);
});

function sum(length: number, term: (i: number) => number): number {
  return Array.from({ length }, (_, i) => term(i)).reduce((a, b) => a + b, 0);
}

test('backward adds to the gradients until they are cleared', () => {
  const bn = new BatchNorm2d(3);
  const dy = { data: normals(5, data().data.length), shape };
  bn.forward(data());
  bn.backward(dy);
  const once = bn.gamma!.grad.slice();
  bn.backward(dy);
  expect(
    worstDifference(
      bn.gamma!.grad,
      once.map((g) => 2 * g),
    ),
  ).toBeLessThan(1e-4);
  bn.zeroGrad();
  expect([...bn.gamma!.grad, ...bn.beta!.grad]).toEqual(new Array(6).fill(0));
});

describe('a frozen layer', () => {
  test('is moved by nothing: neither forward, backward nor optimizer, in either mode', () => {
    const bn = new BatchNorm2d(3);
    bn.forward(data());
    bn.gamma!.data.set([1, 2, 3]);
    bn.freeze();
    const before = bn.stateDict();
    const optimizer = new SGD(bn.parameters(), { lr: 1, weightDecay: 0.1 });
    for (const training of [true, false]) {
      bn.train(training);
      const x = { data: lopsided(8, shape), shape };
      const y = bn.forward(x).data;
      const state = bn.stateDict();
      const expected = batchNorm(x, {
        mean: state.runningMean.data as Float32Array,
        variance: state.runningVar.data as Float32Array,
        gamma: state.gamma.data as Float32Array,
        beta: state.beta.data as Float32Array,
      });
      expect(y).toEqual(expected.data);
      bn.backward({ data: normals(1, y.length), shape });
      optimizer.step();
      expect(bn.stateDict()).toEqual(before);
      expect([...bn.gamma!.grad, ...bn.beta!.grad]).toEqual(new Array(6).fill(0));
    }
  });

  test('passes the gradient through with constant statistics, and learns again after unfreeze', () => {
    const bn = new BatchNorm2d(3);
    bn.forward(data());
    bn.freeze();
    const dy = { data: normals(6, data().data.length), shape };
    bn.forward(data());
    const dx = bn.backward(dy).data;
    const state = bn.stateDict();
    expect(
      worstDifference(
        dx,
        dy.data.map((g, i) => g / Math.sqrt(state.runningVar.data[Math.floor(i / 28) % 3] + 1e-5)),
      ),
    ).toBeLessThan(1e-6);
    bn.unfreeze();
    bn.forward(data());
    expect(bn.batchesTracked).toBe(2);
  });
});

describe('one value per channel in training', () => {
  const one = { data: Float32Array.of(5, -7), shape: [1, 2] };
  const warm = (options: BatchNormOptions) => {
    const bn = new BatchNorm1d(2, options);
    bn.forward({ data: normals(1, 12, 2, 3), shape: [6, 2] });
    bn.beta!.data.set([0.25, 0.5]);
    return bn;
  };

  test("'use-running' normalises by the running statistics, with their gradient, and moves them by the value", () => {
    const bn = warm({ onSingleValue: 'use-running' });
    const still = warm({}).eval();
    const [mean, variance] = [Array.from(still.runningMean!), Array.from(still.runningVar!)];
    expect(bn.forward(one).data).toEqual(still.forward(one).data);
    expect(bn.backward(one).data).toEqual(still.backward(one).data);
    expect(bn.gamma!.grad).toEqual(still.gamma!.grad);
    expect(bn.batchesTracked).toBe(2);
    one.data.forEach((x, c) => {
      const d = x - mean[c];
      expect(bn.runningMean![c]).toBeCloseTo(mean[c] + 0.1 * d, 5);
      expect(bn.runningVar![c]).toBeCloseTo(0.9 * (variance[c] + 0.1 * d * d), 4);
    });
  });

  test("'use-running' with a cumulative average comes to the mean and variance of all values seen", () => {
    const bn = new BatchNorm1d(1, { onSingleValue: 'use-running', momentum: null });
    const values = normals(3, 500, 1, 4).map((value) => 3 * value + 5);
    for (const value of values) bn.forward({ data: Float32Array.of(value), shape: [1, 1] });
    const mean = values.reduce((sum, value) => sum + value, 0) / 500;
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 500;
    expect(bn.runningMean![0]).toBeCloseTo(mean, 4);
    // the variance begins at 1, which counts as one value
    expect(bn.runningVar![0] / (variance + 1 / 500)).toBeCloseTo(1, 4);
  });

  test("'skip-update' gives beta and leaves the running statistics alone", () => {
    const bn = warm({ onSingleValue: 'skip-update' });
    const before = bn.stateDict();
    expect([...bn.forward(one).data]).toEqual([0.25, 0.5]);
    expect([...bn.backward(one).data]).toEqual([0, 0]);
    expect(bn.stateDict()).toEqual(before);
  });

  test('evaluation takes single examples', () => {
    const bn = warm({}).eval();
    expect(bn.forward(one).data.every(Number.isFinite)).toBe(true);
  });
});

describe('a batch that is not finite', () => {
  const bad = () => {
    const x = data();
    x.data[30] = Number.NaN; // channel 1
    return x;
  };

  test("'propagate' lets it into its channel's running statistics, and counts it", () => {
    const bn = new BatchNorm2d(3);
    const y = bn.forward(bad()).data;
    expect(bn.nonFiniteBatches).toBe(1);
    expect([...bn.runningMean!].map(Number.isNaN)).toEqual([false, true, false]);
    const clean = new BatchNorm2d(3);
    const expected = clean.forward(data()).data;
    const channel = (i: number) => Math.floor(i / 28) % 3;
    expect(y.every((v, i) => (channel(i) === 1 ? Number.isNaN(v) : v === expected[i]))).toBe(true);
    expect(bn.runningVar![2]).toBe(clean.runningVar![2]);
  });

  test("'skip-update' keeps the running statistics and the counter", () => {
    const bn = new BatchNorm2d(3, { onNonFinite: 'skip-update' });
    bn.forward(data());
    const before = bn.stateDict();
    expect(bn.forward(bad()).data.some(Number.isNaN)).toBe(true);
    expect(bn.stateDict()).toEqual(before);
    expect(bn.nonFiniteBatches).toBe(1);
    bn.forward(data());
    expect(bn.batchesTracked).toBe(2);
  });

  test("'throw' changes nothing: not out, not the running statistics, not what backward needs", () => {
    const bn = new BatchNorm2d(3, { onNonFinite: 'throw' });
    const dy = { data: normals(6, data().data.length), shape };
    bn.forward(data());
    const expected = bn.backward(dy).data;
    const before = bn.stateDict();
    const out = { data: new Float32Array(dy.data.length).fill(7), shape };
    expect(() => bn.forward(bad(), { out })).toThrow(
      'BatchNorm2d(3): x expected finite statistics, got a mean of NaN and a variance of NaN (channel 1, shape [5, 3, 4, 7])',
    );
    expect(out.data.every((v) => v === 7)).toBe(true);
    expect(bn.stateDict()).toEqual(before);
    expect(bn.backward(dy).data).toEqual(expected);
    expect(bn.nonFiniteBatches).toBe(1);
  });
});

describe('an empty batch', () => {
  test('returns an empty output, leaves the statistics, and counts', () => {
    const bn = new BatchNorm2d(3);
    const empty = { data: new Float32Array(0), shape: [2, 3, 0, 4] };
    expect(bn.forward(empty)).toEqual(empty);
    expect(bn.backward(empty)).toEqual(empty);
    expect([...bn.runningMean!, ...bn.runningVar!]).toEqual([0, 0, 0, 1, 1, 1]);
    expect(bn.batchesTracked).toBe(1);
  });

  test('does not count where the count is the divisor of the average', () => {
    const bn = new BatchNorm1d(3, { momentum: null });
    bn.forward({ data: new Float32Array(0), shape: [0, 3] });
    expect(bn.batchesTracked).toBe(0);
  });
});

describe('where the result lives', () => {
  test('a tensor for a tensor, a plain array for a plain array, dims for dims', () => {
    const bn = new BatchNorm2d(3);
    const x = tensor(data().data, shape);
    const y = bn.forward(x);
    expect(y).toBeInstanceOf(Tensor);
    const plain = bn.forward(data());
    expect(Object.keys(plain)).toEqual(['data', 'shape']);
    const dims = bn.forward({ data: data().data, dims: shape });
    expect(Object.keys(dims)).toEqual(['data', 'dims']);
    expect(plain.data).toEqual(Float32Array.from(y.data));
    expect(dims.data).toEqual(plain.data);
    for (const t of [x, y]) t.dispose();
  });

  test('inputs are left as they were', () => {
    const bn = new BatchNorm2d(3);
    const x = data();
    bn.forward(x);
    expect(x.data).toEqual(data().data);
  });

  test.each(['tensor', 'plain'])('out of kind %s takes the output of either kind of input', (kind) => {
    const bn = new BatchNorm2d(3);
    const expected = bn.forward(data()).data;
    for (const x of [data(), tensor(data().data, shape)]) {
      const out = kind === 'tensor' ? zeros(shape) : { data: new Float32Array(expected.length), shape };
      expect(bn.forward(x, { out })).toBe(out);
      expect(Float32Array.from(out.data)).toEqual(expected);
      expect(Float32Array.from(x.data)).toEqual(data().data);
    }
  });

  test.each(['training', 'evaluation'])('in place in %s', (mode) => {
    const bn = new BatchNorm2d(3, { activation: 'tanh' });
    if (mode === 'evaluation') bn.eval();
    const expected = bn.forward(data()).data;
    for (const x of [data(), tensor(data().data, shape)]) {
      expect(bn.forward(x, { out: x })).toBe(x);
      expect(bitsOf(x.data)).toEqual(bitsOf(expected));
      expect(() => bn.backward(data())).toThrow(
        'BatchNorm2d(3): backward expected the x of the last forward, got one that forward wrote over (out: x)',
      );
    }
  });

  test('dx may take the place of dy', () => {
    const bn = new BatchNorm2d(3, { activation: 'silu' });
    bn.forward(data());
    const dy = normals(5, data().data.length);
    const expected = bn.backward({ data: dy.slice(), shape }).data;
    const inPlace = tensor(dy, shape);
    expect(bn.backward(inPlace, { out: inPlace })).toBe(inPlace);
    expect(bitsOf(inPlace.data)).toEqual(bitsOf(expected));
  });

  test('dx may take the place of x, once', () => {
    const bn = new BatchNorm2d(3, { activation: 'silu' });
    const x = tensor(data().data, shape);
    const dy = tensor(normals(5, data().data.length), shape);
    bn.forward(x);
    const expected = bn.backward(dy).data.slice();
    bn.backward(dy, { out: x });
    expect(bitsOf(x.data)).toEqual(bitsOf(expected));
    expect(() => bn.backward(dy)).toThrow(/backward expected the x of the last forward/);
  });

  test('plain arrays that are views of linear memory survive its growth', () => {
    const bn = new BatchNorm2d(3);
    const expected = bn.forward(data()).data;
    const x = tensor(data().data, shape);
    const view = { data: x.data, shape };
    const big = { data: new Float32Array(3 * 2 ** 20), shape: [2 ** 20, 3, 1, 1] };
    const y = bn.forward(view);
    bn.forward(big); // memory grows
    expect(y.data).toEqual(expected);
    expect(bn.forward({ data: x.data, shape }).data).toEqual(expected);
  });
});

describe('what backward needs', () => {
  const dy = () => ({ data: normals(6, data().data.length), shape });

  test("does not change when the caller's record does", () => {
    const bn = new BatchNorm2d(3, { activation: 'tanh' });
    const x = { data: data().data, shape: [...shape] };
    bn.forward(x);
    const expected = bn.backward(dy()).data;
    bn.forward(x);
    x.data = new Float32Array(8);
    x.shape[0] = 1;
    expect(bn.backward(dy()).data).toEqual(expected);
  });

  test('is kept of a view of a tensor even when the tensor is disposed', () => {
    const bn = new BatchNorm2d(3, { activation: 'tanh' });
    bn.forward(data());
    const expected = bn.backward(dy()).data;
    const t = tensor(data().data, shape);
    bn.forward({ data: t.data, shape });
    t.dispose();
    zeros(shape).data.fill(1);
    expect(bn.backward(dy()).data).toEqual(expected);
  });

  test.each(['training', 'evaluation'])(
    'is what forward used, though gamma and statistics have changed since (%s)',
    (mode) => {
      const bn = new BatchNorm2d(3, { activation: 'tanh' });
      bn.train(mode === 'training');
      bn.forward(data());
      const expected = bn.backward(dy()).data;
      const state = bn.stateDict();
      state.gamma.data.fill(7);
      state.runningMean.data.fill(3);
      state.runningVar.data.fill(9);
      bn.loadStateDict(state);
      expect(bn.backward(dy()).data).toEqual(expected);
    },
  );

  test('of one parameter alone when the other is frozen', () => {
    const bn = new BatchNorm2d(3);
    bn.gamma!.frozen = true;
    bn.forward(data());
    bn.backward(dy());
    expect([...bn.gamma!.grad]).toEqual([0, 0, 0]);
    expect(bn.beta!.grad.every((g) => g !== 0)).toBe(true);
  });
});

describe('residual', () => {
  test.each(['tensor', 'plain'])('is added before the activation, and has a gradient (%s)', (kind) => {
    const wrap = (values: Float32Array) => (kind === 'tensor' ? tensor(values, shape) : { data: values, shape });
    const x = data();
    const r = normals(3, x.data.length);
    const plain = new BatchNorm2d(3);
    const pre = plain.forward(x).data.map((v, i) => v + r[i]);
    const bn = new BatchNorm2d(3, { activation: 'relu' });
    const y = bn.forward(wrap(x.data), { residual: wrap(r) });
    expect(
      worstDifference(
        y.data,
        pre.map((v) => Math.max(v, 0)),
      ),
    ).toBeLessThan(1e-6);
    const dy = normals(4, r.length);
    bn.backward(wrap(dy));
    expect(Float32Array.from(bn.residualGrad!.data)).toEqual(dy.map((g, i) => (y.data[i] > 0 ? g : 0)));
    bn.forward(wrap(x.data));
    bn.backward(wrap(dy));
    expect(bn.residualGrad).toBeNull();
  });

  test('without an activation its gradient is dy', () => {
    const bn = new BatchNorm2d(3);
    const dy = normals(4, data().data.length);
    bn.forward(data(), { residual: data() });
    bn.backward({ data: dy, shape });
    expect(bn.residualGrad!.data).toEqual(dy);
  });
});

describe('modes and state', () => {
  test('train, eval, freeze return the layer', () => {
    const bn = new BatchNorm(3);
    expect(bn.training).toBe(true);
    expect(bn.eval()).toBe(bn);
    expect(bn.training).toBe(false);
    expect(bn.train()).toBe(bn);
    expect(bn.train(false).training).toBe(false);
    expect(bn.freeze()).toBe(bn);
  });

  test('evaluation sees every change of its arrays, held or not', () => {
    const bn = new BatchNorm1d(2).eval();
    const x = { data: Float32Array.of(1, 2, 3, 4), shape: [2, 2] };
    const ask = () => [...bn.forward(x).data];
    const first = ask();
    expect(ask()).toEqual(first);
    const gamma = bn.gamma!.data;
    gamma[0] = 2;
    expect(ask()[0]).toBeCloseTo(2 * first[0], 5);
    gamma[0] = 1;
    expect(ask()).toEqual(first);
    bn.runningMean![1] = 1;
    expect(ask()[1]).toBeCloseTo(first[1] - 1, 4);
    bn.resetRunningStats();
    expect(ask()).toEqual(first);
    bn.loadStateDict({ ...bn.stateDict(), beta: { data: Float32Array.of(10, 0), shape: [2] } });
    expect(ask()[0]).toBeCloseTo(first[0] + 10, 4);
  });

  test('a state dict goes from layer to layer', () => {
    const bn = new BatchNorm2d(3);
    bn.forward(data());
    const state = bn.stateDict();
    expect(Object.keys(state)).toEqual(['gamma', 'beta', 'runningMean', 'runningVar', 'batchesTracked']);
    expect(state.batchesTracked).toEqual({ data: Float64Array.of(1), shape: [] });
    const other = new BatchNorm2d(3);
    other.loadStateDict(state);
    expect(other.stateDict()).toEqual(state);
    state.gamma.data[0] = 99; // a copy
    expect(other.gamma!.data[0]).toBe(1);
    other.loadStateDict({ ...state, batchesTracked: { data: [7] as unknown as Float64Array, shape: [] } });
    expect(other.batchesTracked).toBe(7);
  });

  test('presets are the frameworks defaults', () => {
    expect(BatchNorm.preset('torch')).toEqual({
      eps: 1e-5,
      momentum: 0.1,
      runningVariance: 'unbiased',
      layout: 'channels-first',
    });
    expect(BatchNorm2d.preset('keras')).toEqual({
      eps: 1e-3,
      momentum: expect.closeTo(0.01),
      runningVariance: 'biased',
      layout: 'channels-last',
    });
    expect(BatchNorm.preset('flax')).toEqual({
      eps: 1e-5,
      momentum: expect.closeTo(0.01),
      runningVariance: 'biased',
      layout: 'channels-last',
    });
    expect(BatchNorm.preset('onnx')).toEqual({
      eps: 1e-5,
      momentum: expect.closeTo(0.1),
      runningVariance: 'biased',
      layout: 'channels-first',
    });
    expect(BatchNorm.preset('tfjs')).toEqual({
      eps: 1e-3,
      momentum: expect.closeTo(0.01),
      runningVariance: 'biased',
      layout: 'channels-last',
    });
    expect(new BatchNorm2d(8, BatchNorm.preset('keras')).options.eps).toBe(1e-3);
  });

  test('a disposed layer works again when it is used again', () => {
    const bn = new BatchNorm3d(2);
    const x = { data: lopsided(1, [2, 2, 2, 3, 2]), shape: [2, 2, 2, 3, 2] };
    const y = bn.forward(x).data;
    bn.dispose();
    expect(bn.forward(x).data).toEqual(y);
  });
});

test('batchNorm is the evaluation form without a layer', () => {
  const x = data();
  const mean = [1, -2, 3];
  const variance = [4, 0.25, 9];
  const gamma = [2, 1, -1];
  const beta = [0, 5, 1];
  const expected = x.data.map((v, i) => {
    const c = Math.floor(i / 28) % 3;
    return Math.tanh(((v - mean[c]) / Math.sqrt(variance[c] + 1e-3)) * gamma[c] + beta[c]);
  });
  const y = batchNorm(x, { mean, variance, gamma, beta, eps: 1e-3, activation: 'tanh' });
  expect(worstDifference(y.data, expected)).toBeLessThan(1e-5);
  const t = tensor(x.data, shape);
  expect(batchNorm(t, { mean, variance, gamma, beta, eps: 1e-3, activation: 'tanh', out: t })).toBe(t);
  expect(Float32Array.from(t.data)).toEqual(y.data);
});

test('batchNorm takes vectors that are views of linear memory, though it may grow', () => {
  const mean = tensor([1, 2, 3], [3]);
  const rows = 2 ** 19;
  const y = batchNorm(
    { data: new Float32Array(rows * 3).fill(5), shape: [rows, 3] },
    { mean: mean.data, variance: [1, 1, 1], eps: 0 },
  );
  expect([...y.data.slice(-3)]).toEqual([4, 3, 2]);
  mean.dispose();
});

test('values of large magnitude and small spread keep their digits', () => {
  // mean 1e6, spread 1: where E[x²] − E[x]² in f32 gives nothing but noise
  const x = normals(2, 4000, 1e6, 1);
  const bn = new BatchNorm1d(4, { momentum: 1, runningVariance: 'biased' });
  const y = bn.forward({ data: x, shape: [1000, 4] }).data;
  const { batch, y: truth } = reference(x, [1000, 4]);
  expect(worstDifference(bn.runningVar!, batch.variance)).toBeLessThan(1e-6);
  expect(worstDifference(y, truth)).toBeLessThan(2e-6);
});

test('options are those in force, and make another layer of the kind', () => {
  const bn = new BatchNorm1d(3, { eps: 1e-3, momentum: null, activation: { name: 'elu', alpha: 0.5 } });
  const again = new BatchNorm1d(3, bn.options);
  expect(again.options).toEqual(bn.options);
  expect(bn.options).toMatchObject({
    eps: 1e-3,
    momentum: null,
    activation: { name: 'elu', alpha: 0.5 },
    layout: 'channels-first',
  });
  expect(new BatchNorm1d(3).options.activation).toBeUndefined();
});
