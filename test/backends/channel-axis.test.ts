// Channels along an axis that no layout has: the results are those of a batch in which they lie
// where a layout says.

import { describe, expect, test } from 'vitest';
import {
  BatchNorm,
  BatchNorm2d,
  BatchNorm3d,
  BatchRenorm,
  DomainBatchNorm,
  GroupNorm,
  InstanceNorm2d,
  Sequential,
  tensor,
} from '../../src/index.ts';
import { normals, worstDifference } from '../support/data.ts';
import { errorOf } from '../support/errors.ts';
import { transposed } from '../support/transposed.ts';

/** [N, A, C, B], and where its axes lie with channels first. */
const SHAPE = [5, 3, 4, 2];
const ORDER = [0, 2, 1, 3];

const x = { data: normals(1, 120, 2, 3), shape: SHAPE };
const dy = { data: normals(2, 120), shape: SHAPE };
const residual = { data: normals(3, 120), shape: SHAPE };
const first = (value: { data: Float32Array; shape: number[] }) => transposed(value, ORDER);

const activation = 'relu';
const makers: [string, (options: { axis?: number | null }) => BatchNorm | GroupNorm | InstanceNorm2d][] = [
  ['BatchNorm', (options) => new BatchNorm(4, { activation, ...options })],
  ['BatchNorm2d', (options) => new BatchNorm2d(4, options) as unknown as BatchNorm],
  ['virtual batches', (options) => new BatchNorm(4, { virtualBatchSize: 2, ...options })],
  ['BatchRenorm', (options) => new BatchRenorm(4, { rMax: 2, dMax: 1, ...options })],
  ['DomainBatchNorm', (options) => new DomainBatchNorm(4, { domains: ['a', 'b'], ...options })],
  ['GroupNorm', (options) => new GroupNorm(2, 4, { activation, ...options })],
  [
    'InstanceNorm2d',
    (options) => new InstanceNorm2d(4, { affine: true, trackRunningStats: true, ...options }) as InstanceNorm2d,
  ],
];

describe.each(makers)('%s', (_, make) => {
  const pair = (axis: number) => {
    const [norm, plain] = [make({ axis }), make({ axis: null })] as BatchNorm[];
    for (const one of [norm, plain]) {
      one.gamma!.data.set([0.5, 2, -1, 1]);
      one.beta!.data.set([0.1, -0.2, 0.3, 1]);
    }
    return [norm, plain];
  };

  test.each([2, -2])('training and evaluation, axis %i', (axis) => {
    const [norm, plain] = pair(axis);
    for (const training of [true, true, false]) {
      for (const one of [norm, plain]) one.train(training).zeroGrad();
      const y = norm.forward(x, { residual });
      expect(y.shape).toEqual(SHAPE);
      const expected = plain.forward(first(x), { residual: first(residual) });
      expect(worstDifference(first(y as never).data, expected.data)).toBeLessThan(2e-6);
      const dx = norm.backward(dy);
      const gradient = plain.backward(first(dy));
      expect(worstDifference(first(dx as never).data, gradient.data)).toBeLessThan(1e-5);
      expect(worstDifference(first(norm.residualGrad as never).data, plain.residualGrad!.data)).toBeLessThan(1e-6);
      norm.parameters().forEach(({ grad }, i) => {
        expect(worstDifference(grad, plain.parameters()[i].grad)).toBeLessThan(5e-5);
      });
    }
    const [a, b] = [norm.stateDict(), plain.stateDict()];
    expect(Object.keys(a)).toEqual(Object.keys(b));
    for (const name in a) expect(worstDifference(a[name].data, b[name].data)).toBeLessThan(1e-5);
    plain.loadStateDict(a);
    expect(worstDifference(first(norm.forward(x) as never).data, plain.forward(first(x)).data)).toBeLessThan(2e-6);
  });

  test('tensors, and in place, as arrays', () => {
    const [norm, again] = [make({ axis: 2 }), make({ axis: 2 })] as BatchNorm[];
    const y = norm.forward(x).data.slice();
    const there = tensor(x.data, SHAPE);
    again.forward(there, { out: there });
    expect(Array.from(there.data)).toEqual(Array.from(y));
  });

  test('masks and lengths', () => {
    const [norm, plain] = pair(2);
    const mask = { data: Array.from({ length: 30 }, (_, i) => Number(i % 4 !== 1)), shape: [5, 3, 2] };
    const lengths = [3, 1, 2, 3, 2];
    const y = norm.forward(x, { mask, lengths });
    const expected = plain.forward(first(x), { mask, lengths });
    expect(worstDifference(first(y as never).data, expected.data)).toBeLessThan(2e-6);
    const gradient = plain.backward(first(dy));
    expect(worstDifference(first(norm.backward(dy) as never).data, gradient.data)).toBeLessThan(1e-5);
  });

  test('compiled', () => {
    const [norm] = pair(2);
    norm.forward(x);
    const y = norm.eval().forward(x);
    const run = new Sequential(norm as BatchNorm).eval().compile({ inputShape: SHAPE.slice(1) });
    expect(worstDifference(run(x).data, y.data)).toBeLessThan(2e-6);
    // channels first: no change of order
    const other = make({ axis: 1 }) as BatchNorm;
    expect(other.options).toMatchObject({ layout: 'channels-first', axis: null });
    expect((make({ axis: -1 }) as BatchNorm).options).toMatchObject({ layout: 'channels-last', axis: null });
    expect((make({ axis: 2 }) as BatchNorm).options).toMatchObject({ axis: 2 });
  });
});

test('micro-batches, with channels on another axis', () => {
  const [norm, plain] = [new BatchNorm(4, { axis: 2 }), new BatchNorm(4)];
  const parts = [
    { data: x.data.slice(0, 48), shape: [2, 3, 4, 2] },
    { data: x.data.slice(48), shape: [3, 3, 4, 2] },
  ];
  const ys = norm.forwardMicroBatches(parts).flatMap(({ data }) => [...data]);
  const y = plain.forward(first(x));
  expect(worstDifference(first({ data: Float32Array.from(ys), shape: SHAPE }).data, y.data)).toBeLessThan(2e-6);
  expect(worstDifference(norm.runningVar!, plain.runningVar!)).toBeLessThan(1e-5);
});

test.each<[string, () => unknown, string]>([
  [
    'the axis of samples',
    () => new BatchNorm(4, { axis: 0 }),
    'BatchNorm(4): axis expected an axis behind that of the samples, or null, got 0',
  ],
  [
    'no integer',
    () => new GroupNorm(2, 4, { axis: 1.5 }),
    'GroupNorm(2, 4): axis expected an axis behind that of the samples, or null, got 1.5',
  ],
  [
    'beyond every shape',
    () => new BatchNorm2d(4, { axis: 4 }),
    'BatchNorm2d(4): axis expected an axis behind that of the samples, of at most 4, got 4',
  ],
  [
    'before every shape',
    () => new BatchNorm3d(4, { axis: -5 }),
    'BatchNorm3d(4): axis expected an axis behind that of the samples, of at most 5, got -5',
  ],
])('%s', (_, work, message) => {
  expect(errorOf(work)).toEqual(['RangeError', 'ERR_OPTION', message]);
});

test.each<[string, () => unknown, string]>([
  [
    'a rank without the axis',
    () => new BatchNorm(4, { axis: 3 }).forward({ data: new Float32Array(8), shape: [1, 2, 4] }),
    'BatchNorm(4): x expected an axis 3 behind that of the samples, got rank 3 (shape [1, 2, 4])',
  ],
  [
    'an axis that is that of the samples',
    () => new BatchNorm(4, { axis: -3 }).forward({ data: new Float32Array(8), shape: [1, 2, 4] }),
    'BatchNorm(4): x expected an axis -3 behind that of the samples, got rank 3 (shape [1, 2, 4])',
  ],
  [
    'other channels',
    () => new BatchNorm(4, { axis: 2 }).forward({ data: new Float32Array(24), shape: [2, 2, 3, 2] }),
    'BatchNorm(4): x expected 4 channels on axis 2, got 3 (shape [2, 2, 3, 2])',
  ],
])('%s', (_, work, message) => {
  expect(errorOf(work)).toEqual(['RangeError', 'ERR_SHAPE', message]);
});
