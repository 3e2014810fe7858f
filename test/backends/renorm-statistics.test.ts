// Batch renormalization with a mean and a standard deviation of the correction's own, as Keras has
// them, against the formulas in f64.

import { describe, expect, test } from 'vitest';
import { BatchNorm, BatchRenorm, recalibrate, Sequential } from '../../src/index.ts';
import { fromKeras, toKeras, writeKeras } from '../../src/weights/index.ts';
import { normals, worstDifference } from '../support/data.ts';
import { errorOf } from '../support/errors.ts';

const C = 3;
const [eps, momentum, renormMomentum] = [1e-3, 0.05, 0.2];
const batch = (step: number) => ({ data: normals(step, 12 * C, step / 3, 1 + step / 4), shape: [12, C] });

/** Keras' renorm=True: r and d by renorm_mean and renorm_stddev, which then move. */
class Model {
  mean = new Float64Array(C);
  variance = new Float64Array(C).fill(1);
  renormMean = new Float64Array(C);
  renormStd = new Float64Array(C).fill(1);
  readonly #average: string;

  constructor(average: string) {
    this.#average = average;
  }

  forward({ data }: { data: Float32Array }, rMin: number, rMax: number, dMax: number): Float64Array {
    const y = new Float64Array(data.length);
    for (let c = 0; c < C; c++) {
      const x = [...data].filter((_, i) => i % C === c);
      const mean = x.reduce((a, b) => a + b, 0) / x.length;
      const variance = x.reduce((a, b) => a + (b - mean) ** 2, 0) / x.length;
      const std = Math.sqrt(variance + eps);
      const sigma = Math.max(this.renormStd[c], Math.sqrt(eps));
      const r = Math.min(Math.max(std / sigma, rMin), rMax);
      const d = Math.min(Math.max((mean - this.renormMean[c]) / sigma, -dMax), dMax);
      x.forEach((value, n) => {
        y[n * C + c] = ((value - mean) / std) * r + d;
      });
      this.renormMean[c] += renormMomentum * (mean - this.renormMean[c]);
      this.renormStd[c] += renormMomentum * (std - this.renormStd[c]);
      this.mean[c] += momentum * (mean - this.mean[c]);
      const old = this.variance[c];
      const moved = Math.sqrt(old + eps) + momentum * (std - Math.sqrt(old + eps));
      this.variance[c] = this.#average === 'std' ? moved ** 2 - eps : old + momentum * (variance - old);
    }
    return y;
  }
}

describe.each(['std', 'variance'] as const)('averages of %s', (average) => {
  const options = { average, eps, momentum, renormMomentum, runningVariance: 'biased' } as const;

  test.each([
    [0, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY],
    [0.8, 1.25, 0.3],
  ])('bounds %d, %d, %d', (rMin, rMax, dMax) => {
    const norm = new BatchRenorm(C, { ...options, rMin, rMax, dMax });
    const model = new Model(average);
    for (let step = 1; step <= 6; step++) {
      const y = norm.forward(batch(step)).data;
      expect(worstDifference(y, model.forward(batch(step), rMin, rMax, dMax))).toBeLessThan(3e-6);
    }
    expect(worstDifference(norm.renormMean!, model.renormMean)).toBeLessThan(1e-6);
    expect(worstDifference(norm.renormStd!, model.renormStd)).toBeLessThan(1e-6);
    expect(worstDifference(norm.runningMean!, model.mean)).toBeLessThan(1e-6);
    expect(worstDifference(norm.runningVar!, model.variance)).toBeLessThan(1e-6);
    const evaluated = norm.eval().forward(batch(9)).data;
    const [{ mean, variance }, c] = [model, (i: number) => i % C];
    const expected = batch(9).data.map((v, i) => (v - mean[c(i)]) / Math.sqrt(variance[c(i)] + eps));
    expect(worstDifference(evaluated, expected)).toBeLessThan(3e-6);
  });

  test('another layer goes on from the state dict to the same bits', () => {
    const bounds = { rMax: 3, dMax: 5 };
    const [norm, next] = [new BatchRenorm(C, { ...options, ...bounds }), new BatchRenorm(C, { ...options, ...bounds })];
    for (let step = 1; step <= 3; step++) norm.forward(batch(step));
    expect(Object.keys(norm.stateDict())).toEqual([
      'gamma',
      'beta',
      'runningMean',
      'runningVar',
      'batchesTracked',
      'renormMean',
      'renormStd',
    ]);
    next.loadStateDict(norm.stateDict());
    expect(next.forward(batch(4)).data).toEqual(norm.forward(batch(4)).data);
    expect(next.stateDict()).toEqual(norm.stateDict());
    expect(
      errorOf(() =>
        next.loadStateDict({ ...norm.stateDict(), renormStd: { data: Float32Array.of(1, -1, 1), shape: [3] } }),
      ),
    ).toEqual([
      'RangeError',
      'ERR_STATE',
      "BatchRenorm(3): state 'renormStd' expected standard deviations of 0 or more, got [1, -1, 1]",
    ]);
    next.resetRunningStats();
    expect([...next.renormMean!, ...next.renormStd!]).toEqual([0, 0, 0, 1, 1, 1]);
  });

  test('single values move them as well', () => {
    const norm = new BatchRenorm(C, { ...options, onSingleValue: 'use-running' });
    norm.forward({ data: new Float32Array([2, 0, -2]), shape: [1, C] });
    expect([...norm.renormMean!].map((v) => v.toFixed(6))).toEqual(['0.400000', '0.000000', '-0.400000']);
    expect(norm.renormStd![0]).toBeCloseTo(Math.sqrt(0.8 * (1 + 0.2 * 4)), 6);
  });
});

test('without renormMomentum there are none, and r and d are of the running statistics', () => {
  const norm = new BatchRenorm(C, { rMax: 3, dMax: 5 });
  expect([norm.renormMean, norm.renormStd]).toEqual([null, null]);
  norm.loadStateDict(new BatchNorm(C).stateDict());
  expect(BatchRenorm.conventions('keras')).toMatchObject({ renormMomentum: 0.01, momentum: 0.01 });
  expect(errorOf(() => new BatchRenorm(C, { renormMomentum: 2 }))).toEqual([
    'RangeError',
    'ERR_OPTION',
    'BatchRenorm(3): renormMomentum expected a number from 0 to 1, or null, got 2',
  ]);
});

test('recalibration leaves them, and a call that throws as well', async () => {
  const norm = new BatchRenorm(C, { renormMomentum, onNonFinite: 'throw' });
  norm.forward(batch(1));
  const before = norm.stateDict();
  await recalibrate(new Sequential(norm), [batch(2), batch(3)]);
  expect(norm.stateDict().renormMean).toEqual(before.renormMean);
  const bad = batch(2);
  bad.data[4] = Number.NaN;
  expect(errorOf(() => norm.forward(bad))?.[1]).toBe('ERR_NON_FINITE');
  expect(norm.stateDict().renormStd).toEqual(before.renormStd);
});

test('Keras names, read for a layer that has them, and written', async () => {
  const norm = new BatchRenorm(C, { renormMomentum });
  norm.forward(batch(1));
  const net = new Sequential(norm);
  const tensors = toKeras(net.stateDict(), { rename: { bn: '0' } });
  expect([...tensors.keys()]).toEqual([
    'bn/gamma',
    'bn/beta',
    'bn/moving_mean',
    'bn/moving_variance',
    'bn/renorm_mean',
    'bn/renorm_stddev',
  ]);
  const next = new Sequential(new BatchRenorm(C, { renormMomentum }));
  const read = fromKeras(tensors, { layer: next, rename: { bn: '0' } });
  expect(read.unused).toEqual([]);
  next.loadStateDict(read.state);
  expect((next.layers[0] as BatchRenorm).renormStd).toEqual(norm.renormStd);
  const plain = new Sequential(new BatchNorm(C));
  const without = fromKeras(tensors, { layer: plain, rename: { bn: '0' } });
  expect(without.unused).toEqual(['bn/renorm_mean', 'bn/renorm_stddev']);
  plain.loadStateDict(without.state);
  expect(fromKeras(tensors).unused).toEqual(['bn/renorm_mean', 'bn/renorm_stddev']);
  await expect(writeKeras(tensors)).rejects.toThrow(
    "writeKeras: bn expected a variable 'moving_stddev', got none (beside renorm_mean: √(moving_variance + epsilon))",
  );
});
