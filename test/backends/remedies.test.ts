// Micro-batches as one batch, masks, moments: what batch norm needs where a batch is not what it
// takes one for.

import { describe, expect, test } from 'vitest';
import {
  BatchNorm,
  BatchNorm1d,
  BatchRenorm,
  DomainBatchNorm,
  Dropout,
  GroupNorm,
  InstanceNorm1d,
  Linear,
  Moments,
  Random,
  Residual,
  Sequential,
  Tanh,
} from '../../src/index.ts';
import { worstDifference } from '../support/data.ts';
import { errorOf } from '../support/errors.ts';

function normals(seed: number, rows: number, cols: number, offset = 0) {
  const random = new Random(seed);
  const data = Float32Array.from(
    { length: rows * cols },
    (_, i) => random.normal() * (1 + (i % cols)) + offset + (i % cols),
  );
  return { data, shape: [rows, cols] };
}

/** Rows of a batch as micro-batches of these sizes. */
function cut({ data, shape: [, cols] }: { data: Float32Array; shape: number[] }, sizes: readonly number[]) {
  let row = 0;
  return sizes.map((size) => {
    row += size;
    return { data: data.slice((row - size) * cols, row * cols), shape: [size, cols] };
  });
}

const buildNet = () =>
  new Sequential(
    new Linear(5, 8, { seed: 1 }),
    new BatchNorm1d(8),
    new Tanh(),
    new Residual(new Linear(8, 8, { seed: 2 }), new BatchNorm1d(8), new Dropout(0)),
    new Linear(8, 3, { seed: 3 }),
  );

describe.each([
  ['8 of 16 rows', Array(8).fill(16)],
  ['unequal sizes', [1, 50, 7, 30, 2, 38]],
])('micro-batches, %s', (_, sizes) => {
  test('give the outputs, gradients and statistics of one batch', () => {
    const [x, dy] = [normals(1, 128, 5), normals(2, 128, 3)];
    const [whole, parts] = [buildNet(), buildNet()];
    const y = whole.forward(x).data;
    const dx = whole.backward(dy).data;
    const ys = parts.forwardMicroBatches(cut(x, sizes)).flatMap(({ data }) => [...data]);
    const dxs = parts.backwardMicroBatches(cut(dy, sizes)).flatMap(({ data }) => [...data]);
    expect(worstDifference(ys, y)).toBeLessThan(1e-6 * 8);
    expect(worstDifference(dxs, dx)).toBeLessThan(1e-6 * Math.max(...dx.map(Math.abs)));
    // against the largest gradient there is: that of a bias before batch norm is 0, a sum of which
    // rounding is left
    const most = Math.max(...whole.parameters().flatMap(({ grad }) => [...grad].map(Math.abs)));
    whole.parameters().forEach(({ grad }, i) => {
      expect(worstDifference(parts.parameters()[i].grad, grad)).toBeLessThan(1e-6 * most);
    });
    const [a, b] = [whole.stateDict(), parts.stateDict()];
    for (const name in a) expect([name, worstDifference(b[name].data, a[name].data) < 1e-6]).toEqual([name, true]);
  });
});

describe('masks', () => {
  test('of ones change no bit', () => {
    const x = normals(3, 12, 4);
    const [a, b] = [new BatchNorm1d(4), new BatchNorm1d(4)];
    expect(b.forward(x, { mask: { data: Array(12).fill(true), shape: [12] } }).data).toEqual(a.forward(x).data);
    expect(b.backward(x).data).toEqual(a.backward(x).data);
  });

  test('what lies under them has no part in anything', () => {
    const x = normals(4, 12, 3);
    const flags = Array.from({ length: 12 }, (_, n) => (n % 3 ? 1 : 0));
    const kept = flags.flatMap((flag, n) => (flag ? [n] : []));
    const only = { data: Float32Array.from(kept.flatMap((n) => [...x.data.slice(n * 3, n * 3 + 3)])), shape: [8, 3] };
    const junk = x.data.slice();
    flags.forEach((flag, n) => {
      if (!flag) junk.set([Number.NaN, Number.POSITIVE_INFINITY, 1e30], n * 3);
    });
    const [masked, plain] = [new BatchNorm1d(3), new BatchNorm1d(3)];
    const given = { data: junk, shape: [12, 3] };
    const y = masked.forward(given, { mask: { data: flags, shape: [12, 1] } }).data;
    const dx = masked.backward(given).data;
    const [expected, gradient] = [plain.forward(only).data, plain.backward(only).data];
    kept.forEach((n, i) => {
      for (let c = 0; c < 3; c++) {
        expect(y[n * 3 + c]).toBeCloseTo(expected[i * 3 + c], 5);
        expect(dx[n * 3 + c]).toBeCloseTo(gradient[i * 3 + c], 4);
      }
    });
    for (const values of [y, dx])
      expect(flags.every((flag, n) => flag || values.slice(n * 3, n * 3 + 3).every((v) => v === 0))).toBe(true);
    expect(worstDifference(masked.runningVar!, plain.runningVar!)).toBeLessThan(1e-4);
  });

  test('are of one call: the next on the same tensors has none', () => {
    const x = { data: normals(5, 6, 10).data, shape: [4, 3, 5] };
    for (const training of [true, false]) {
      const [given, fresh] = [new BatchNorm(3), new BatchNorm(3)];
      for (const norm of [given, fresh]) norm.train(training);
      const out = { data: new Float32Array(60), shape: [4, 3, 5] };
      given.forward(x, { out, lengths: [5, 2, 3, 1] });
      given.resetRunningStats();
      given.forward(x, { out });
      expect(out.data).toEqual(fresh.forward(x).data);
    }
  });

  test('of small values and with gradients that are not finite: as without a mask', () => {
    const rows = 12;
    const mask = { data: Array.from({ length: rows }, (_, n) => Number(n < 10)), shape: [rows] };
    const only = ({ data, shape: [, cols] }: { data: Float32Array; shape: number[] }) => ({
      data: data.slice(0, 10 * cols),
      shape: [10, cols],
    });
    const tiny = normals(5, rows, 3);
    for (const scale of [1e-36, 1e-19, 1e25]) {
      const x = { data: tiny.data.map((v) => v * scale), shape: [rows, 3] };
      const [masked, plain] = [new BatchNorm1d(3, { eps: 0 }), new BatchNorm1d(3, { eps: 0 })];
      const y = masked.forward(x, { mask }).data.slice(0, 30);
      expect(worstDifference(y, plain.forward(only(x)).data)).toBeLessThan(1e-5);
    }
    const [x, dy] = [normals(6, rows, 3, 5), normals(7, rows, 3)];
    dy.data[5] = Number.POSITIVE_INFINITY;
    const [masked, plain] = [new BatchNorm1d(3), new BatchNorm1d(3)];
    masked.forward(x, { mask });
    plain.forward(only(x));
    masked.backward(dy);
    plain.backward(only(dy));
    expect(worstDifference(masked.gamma!.grad.slice(0, 2), plain.gamma!.grad.slice(0, 2))).toBeLessThan(1e-4);
  });

  test('whole weights are as good as so many copies', () => {
    const x = normals(5, 4, 2);
    const counts = [1, 3, 0, 2];
    const copies = counts.flatMap((count, n) =>
      Array(count)
        .fill([...x.data.slice(n * 2, n * 2 + 2)])
        .flat(),
    );
    const [weighted, plain] = [new BatchNorm1d(2), new BatchNorm1d(2)];
    weighted.forward(x, { weights: { data: counts, shape: [4] } });
    plain.forward({ data: Float32Array.from(copies), shape: [6, 2] });
    expect(worstDifference(weighted.savedMean!, plain.savedMean!)).toBeLessThan(1e-5);
    expect(worstDifference(weighted.savedInvStd!, plain.savedInvStd!)).toBeLessThan(1e-5);
  });
});

describe('moments', () => {
  test('of shards in any order are those of all values, and the same bits when merged together', () => {
    const all = normals(6, 500, 3, 100);
    const once = new Moments(3).add(all);
    const shards = cut(all, [1, 99, 150, 0, 250]).map((shard) => new Moments(3).add(shard));
    const merged = Moments.merged(shards);
    for (const order of [
      [4, 0, 2, 1, 3],
      [3, 2, 1, 0, 4],
    ]) {
      const other = Moments.merged(order.map((i) => Moments.fromJSON(JSON.stringify(shards[i]))));
      expect(other.toJSON()).toEqual(merged.toJSON());
      const chain = order.reduce((sum, i) => sum.merge(shards[i]), new Moments(3));
      for (const one of [chain, merged]) {
        one.mean.forEach((mean, c) => {
          expect(Math.abs(mean / once.mean[c] - 1)).toBeLessThan(1e-12);
        });
        one.m2.forEach((m2, c) => {
          expect(Math.abs(m2 / once.m2[c] - 1)).toBeLessThan(1e-12);
        });
      }
    }
  });
});

test('virtual batches of training do not depend on what evaluation did on the same tensors', () => {
  const x = normals(3, 8, 3);
  const out = { data: new Float32Array(24), shape: [8, 3] };
  const options = { trackRunningStats: false, virtualBatchSize: 4 };
  const [used, fresh] = [new BatchNorm1d(3, options), new BatchNorm1d(3, options)];
  used.eval().forward(x, { out });
  used.train().forward(x, { out });
  expect(out.data).toEqual(fresh.forward(x).data);
});

test('bounds that throw leave what backward needs', () => {
  let broken = false;
  const rMax = () => {
    if (broken) throw new Error('broken');
    return 3;
  };
  const norm = new BatchRenorm(3, { rMax, dMax: 1 });
  const [x, dy] = [normals(4, 8, 3), normals(5, 8, 3)];
  norm.forward(x);
  const dx = norm.backward(dy).data;
  broken = true;
  expect(errorOf(() => norm.forward(normals(6, 8, 3, 100)))?.[2]).toBe('broken');
  expect(norm.backward(dy).data).toEqual(dx);
});

test('domains keep their statistics apart', () => {
  const norm = new DomainBatchNorm(2, { domains: ['a', 'b'] });
  norm.forward(normals(7, 20, 2, 10));
  norm.domain = 'b';
  expect([...norm.runningMean!]).toEqual([0, 0]);
  norm.forward(normals(8, 20, 2, -10));
  const x = normals(9, 4, 2);
  norm.eval();
  const b = norm.forward(x).data.slice();
  norm.domain = 'a';
  expect(norm.runningMean![0]).toBeGreaterThan(0.5);
  expect(norm.forward(x).data[0]).toBeLessThan(b[0]);
  expect(Object.keys(norm.stateDict())).toContain('b.runningVar');
});

test.each([
  [
    'groups',
    () => new GroupNorm(3, 8),
    ['RangeError', 'ERR_OPTION', 'GroupNorm(3, 8): numGroups expected a divisor of the 8 channels, got 3'],
  ],
  [
    'mask of another shape',
    () => new BatchNorm1d(2).forward(normals(1, 4, 2), { mask: { data: [1, 0, 1], shape: [3] } }),
    ['RangeError', 'ERR_SHAPE', 'BatchNorm1d(2): mask expected shape [4] or [4, 2], with 1 for any length, got [3]'],
  ],
  [
    'mask of zeros',
    () => new BatchNorm1d(2).forward(normals(1, 4, 2), { mask: { data: [0, 0, 0, 0], shape: [4] } }),
    ['RangeError', 'ERR_MASK', 'BatchNorm1d(2): mask expected a place that counts, got none (shape [4, 2])'],
  ],
  [
    'lengths beyond the sequence',
    () => new BatchNorm1d(2).forward({ data: new Float32Array(12), shape: [2, 2, 3] }, { lengths: [3, 4] }),
    ['RangeError', 'ERR_MASK', 'BatchNorm1d(2): lengths expected integers from 0 to 3, got 4 (sequence 1)'],
  ],
  [
    'negative lengths',
    () => new BatchNorm1d(2).forward({ data: new Float32Array(12), shape: [2, 2, 3] }, { lengths: [-1, 3] }),
    ['RangeError', 'ERR_MASK', 'BatchNorm1d(2): lengths expected integers from 0 to 3, got -1 (sequence 0)'],
  ],
  [
    'moments of other channels',
    () => new Moments(3).merge(new Moments(2)),
    ['RangeError', 'ERR_SHAPE', 'Moments(3): moments expected 3 channels, got 2'],
  ],
  [
    'an estimator that is none',
    () => new InstanceNorm1d(2, { runningVariance: 'sample' as never }),
    ['RangeError', 'ERR_OPTION', "InstanceNorm1d(2): runningVariance expected 'unbiased' or 'biased', got 'sample'"],
  ],
  [
    'a bound below 1',
    () => new BatchRenorm(2, { rMax: 0.5 }),
    [
      'RangeError',
      'ERR_OPTION',
      'BatchRenorm(2): rMax expected a number of 1 or more, or a function of the batches so far, got 0.5',
    ],
  ],
])('%s', (_, work, expected) => {
  expect(errorOf(work)).toEqual(expected);
});
