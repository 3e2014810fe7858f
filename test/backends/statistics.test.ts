// Statistics over whole data sets: against sums in f64, and without a trace where something goes
// wrong.

import { describe, expect, test } from 'vitest';
import {
  adapt,
  BatchNorm,
  BatchNorm1d,
  BatchRenorm,
  BNLSTMCell,
  Dropout,
  InstanceNorm1d,
  Linear,
  type PopulationProgress,
  populationStatistics,
  RecurrentBatchNorm1d,
  Residual,
  recalibrate,
  Sequential,
  Tanh,
  tensor,
} from '../../src/index.ts';
import { normals, worstDifference } from '../support/data.ts';
import { errorOf, rejectionOf } from '../support/errors.ts';

const C = 3;
const batch = (seed: number, rows: number, mean = 5, std = 2) => ({
  data: normals(seed, rows * C, mean, std),
  shape: [rows, C],
});
const BATCHES = [batch(1, 20), batch(2, 7, -3), batch(3, 33, 0, 10)];

/** Mean and variance of column `c` of all rows, and of each batch. */
function truth(batches: readonly { data: Float32Array }[], c: number) {
  const column = (data: ArrayLike<number>) => Array.from({ length: data.length / C }, (_, n) => data[n * C + c]);
  const of = (values: number[]) => {
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    return { mean, variance: values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length, n: values.length };
  };
  return { all: of(batches.flatMap(({ data }) => column(data))), each: batches.map(({ data }) => of(column(data))) };
}

const close = (actual: number, expected: number) => expect(Math.abs(actual / expected - 1)).toBeLessThan(1e-6);

/** A network that is hard to leave as it was. */
function build() {
  const net = new Sequential(
    new BatchNorm1d(C),
    new Dropout(0.5, { seed: 1 }),
    new Linear(C, 4, { seed: 1 }),
    new BatchNorm1d(4, { onNonFinite: 'throw' }),
    new Residual(new Linear(4, 4, { seed: 2 }), new BatchRenorm(4), new Tanh()),
  );
  net.forward(BATCHES[0]);
  net.layers[3].eval();
  return net;
}

describe('populationStatistics', () => {
  test('are those of all values, however they come', async () => {
    const net = new Sequential(new BatchNorm1d(C), new Tanh());
    const before = net.stateDict();
    const ways = [
      BATCHES,
      new Set(BATCHES),
      (async function* () {
        yield* BATCHES;
      })(),
    ];
    for (const batches of ways) {
      const { layers, batches: many, skipped, samples } = await populationStatistics(net, batches);
      expect([many, skipped, samples, [...layers[0].counts]]).toEqual([3, 0, 60, [60]]);
      for (let c = 0; c < C; c++) {
        const { all, each } = truth(BATCHES, c);
        close(layers[0].mean[c], all.mean);
        close(layers[0].variance[c], all.variance);
        const spread = each.reduce((sum, { mean, n }) => sum + ((n / 60) * (mean - all.mean)) ** 2, 0);
        close(layers[0].standardError[c], Math.sqrt(spread * 1.5));
      }
    }
    expect(net.stateDict()).toEqual(before);
  });

  test('averaged are those of the paper', async () => {
    for (const runningVariance of ['unbiased', 'biased'] as const) {
      const { layers } = await populationStatistics(new BatchNorm1d(C, { runningVariance }), BATCHES, {
        estimator: 'averaged',
      });
      const { each } = truth(BATCHES, 1);
      close(layers[''].mean[1], each.reduce((sum, { mean }) => sum + mean, 0) / 3);
      const corrected = each.map(({ variance, n }) => variance * (runningVariance === 'unbiased' ? n / (n - 1) : 1));
      close(layers[''].variance[1], corrected.reduce((a, b) => a + b, 0) / 3);
    }
  });

  test('the standard error is that of a mean of so many values', async () => {
    const batches = Array.from({ length: 400 }, (_, i) => batch(i, 25, 1, 2));
    const { layers } = await populationStatistics(new BatchNorm1d(C), batches);
    // 2/√10000
    for (const error of layers[''].standardError) expect(Math.abs(error / 0.02 - 1)).toBeLessThan(0.15);
  });

  test('any forward function, dropout as asked, and progress', async () => {
    const net = build();
    const seen: PopulationProgress[] = [];
    const forward = async ({ rows }: { rows: number }) => {
      await Promise.resolve();
      net.forward(batch(rows, rows));
    };
    const progress = (now: PopulationProgress) => seen.push(now);
    const found = await populationStatistics(net, [{ rows: 30 }, { rows: 40 }], { forward, progress });
    expect(Object.keys(found.layers)).toEqual(['0', '3', '4.1']);
    expect(seen.map(({ batches }) => batches)).toEqual([1, 2]);
    expect(Number.isNaN(seen[0].relativeError)).toBe(true);
    expect(seen[1].relativeError).toBeGreaterThan(0);
    const [off, on] = await Promise.all(
      [false, true].map(async (dropout) => {
        const { layers } = await populationStatistics(build(), [batch(9, 4000)], { dropout });
        return layers['3'].variance.reduce((a, b) => a + b, 0);
      }),
    );
    expect(on / off).toBeGreaterThan(1.8);
  });

  test('batches that are not finite are left out and counted', async () => {
    const bad = batch(4, 8);
    bad.data[5] = Number.NaN;
    const net = build();
    const found = await populationStatistics(net, [BATCHES[0], bad, BATCHES[2]]);
    expect([found.batches, found.skipped]).toEqual([2, 1]);
    close(found.layers['0'].mean[0], truth([BATCHES[0], BATCHES[2]], 0).all.mean);
    expect(await rejectionOf(populationStatistics(net, [bad]))).toEqual([
      'RangeError',
      'ERR_NON_FINITE',
      'populationStatistics: batches expected one with finite statistics, got none of 1',
    ]);
  });

  test('masks, virtual batches and time steps', async () => {
    const ghost = await populationStatistics(new BatchNorm1d(C, { virtualBatchSize: 5 }), [BATCHES[0]]);
    close(ghost.layers[''].variance[0], truth([BATCHES[0]], 0).all.variance);
    const mask = { data: Array.from({ length: 20 }, (_, n) => n < 12), shape: [20] };
    const masked = new BatchNorm(C);
    const found = await populationStatistics(masked, [BATCHES[0]], { forward: (x) => masked.forward(x, { mask }) });
    close(found.layers[''].mean[2], truth([{ data: BATCHES[0].data.slice(0, 36) }], 2).all.mean);
    const byChannel = { data: Array(60).fill(1).with(4, 0), shape: [20, 3] };
    const work = populationStatistics(masked, [BATCHES[0]], { forward: (x) => masked.forward(x, { mask: byChannel }) });
    expect(await rejectionOf(work)).toEqual([
      'RangeError',
      'ERR_MASK',
      'BatchNorm(3): mask expected one that all channels share, got one by channel (shape [20, 3])',
    ]);
    const x = { data: normals(6, 10 * 4 * C, 2), shape: [10, 4, C] };
    const lengths = [4, 4, 4, 2, 2, 2, 2, 2, 3, 3];
    const steps = new RecurrentBatchNorm1d(C, { maxSteps: 6 });
    await recalibrate(steps, [x, x], { forward: (given) => steps.forward(given, { lengths }) });
    expect([...steps.stepCounts]).toEqual([20, 20, 10, 6, 0, 0]);
    const last = [0, 1, 2].reduce((sum, n) => sum + x.data[(n * 4 + 3) * C], 0) / 3;
    expect(steps.runningMean![3 * C]).toBeCloseTo(last, 5);
    const cell = new BNLSTMCell(C, 5, { maxSteps: 6, seed: 1 });
    const inside = await recalibrate(cell, [x], { forward: (given) => cell.forward(given, { lengths }) });
    expect(Object.keys(inside.layers)).toEqual(['normIh', 'normHh', 'normC']);
    expect([...cell.norms.c!.stepCounts]).toEqual([10, 10, 5, 3, 0, 0]);
    const instance = new InstanceNorm1d(2, { trackRunningStats: true });
    const images = { data: normals(7, 3 * 2 * 8), shape: [3, 2, 8] };
    const { layers } = await populationStatistics(instance, [images]);
    instance.forward(images);
    expect(
      worstDifference(
        layers[''].variance.map((v) => 0.9 + 0.1 * v),
        instance.runningVar!,
      ),
    ).toBeLessThan(1e-6);
  });
});

test('samples are those of the batches, whatever they are made of', async () => {
  const x = { data: normals(6, 4 * 5 * C), shape: [4, 5, C] };
  const cell = new BNLSTMCell(C, 5, { maxSteps: 6, seed: 1 });
  expect((await adapt(cell, [x], { prior: 4, forward: (given) => void cell.forward(given) })).weight).toBe(0.5);
  const net = new Sequential(new BatchNorm1d(C));
  const twice = (given: typeof x) => {
    net.forward(given);
    net.forward(given);
  };
  expect((await populationStatistics(net, [batch(1, 5)], { forward: twice })).samples).toBe(10);
});

test('what has no values counts for nothing', async () => {
  const net = new Sequential(new BatchNorm1d(C));
  const empty = { data: new Float32Array(0), shape: [0, C] };
  const found = await populationStatistics(net, [empty, BATCHES[0]]);
  expect([found.batches, found.samples]).toEqual([1, 20]);
  const none = ['RangeError', 'ERR_OPTION', 'populationStatistics: batches expected at least 1, got none'];
  expect(await rejectionOf(populationStatistics(net, [empty]))).toEqual(none);
  expect(await rejectionOf(populationStatistics(net, [1], { forward: () => 0 }))).toEqual(none);
  expect((net.layers[0] as BatchNorm1d).batchesTracked).toBe(0);
});

test('results that a network gave before are still there, and the state of a cell', async () => {
  const net = build();
  const x = tensor(BATCHES[0].data, BATCHES[0].shape);
  const y = net.forward(x);
  await populationStatistics(net, [x]);
  expect(y.disposed).toBe(false);
  const cell = new BNLSTMCell(C, 5, { maxSteps: 6, seed: 1 });
  cell.forward({ data: normals(6, 4 * 5 * C), shape: [4, 5, C] });
  const { state } = cell;
  await populationStatistics(cell, [{ data: normals(7, 6 * 5 * C), shape: [6, 5, C] }]);
  expect(cell.state).toEqual(state);
  for (const held of [x, net, cell]) held.dispose();
});

test('recalibrate gives evaluation what the population has', async () => {
  const net = build();
  const found = await recalibrate(net, BATCHES);
  const norm = net.layers[0] as BatchNorm1d;
  expect([...norm.runningMean!]).toEqual([...Float32Array.from(found.layers['0'].mean)]);
  expect([...norm.runningVar!]).toEqual([...Float32Array.from(found.layers['0'].variance)]);
  expect(norm.batchesTracked).toBe(3);
  // a frozen norm stays as it is
  const frozen = build();
  (frozen.layers[0] as BatchNorm1d).freeze();
  const before = frozen.stateDict();
  const others = await recalibrate(frozen, BATCHES);
  expect(Object.keys(others.layers)).toEqual(['3', '4.1']);
  expect(frozen.stateDict()['0.runningMean']).toEqual(before['0.runningMean']);
});

test('adapt mixes, and rolls back to the last bit', async () => {
  const net = build();
  const before = net.stateDict();
  const x = batch(8, 48, 20);
  const { weight, statistics, rollback } = await adapt(net, [x], { prior: 16 });
  expect(weight).toBe(48 / 64);
  const after = net.stateDict();
  for (const name of ['mean', 'variance'] as const) {
    const key = name === 'mean' ? '0.runningMean' : '0.runningVar';
    statistics.layers['0'][name].forEach((value, c) => {
      close(after[key].data[c], 0.25 * before[key].data[c] + 0.75 * value);
    });
  }
  expect(after['0.batchesTracked']).toEqual(before['0.batchesTracked']);
  rollback();
  expect(net.stateDict()).toEqual(before);
  expect((await adapt(net, [x], { most: 0.2 })).weight).toBe(0.2);
});

describe('what goes wrong leaves no trace', () => {
  const controller = new AbortController();
  const aborted = (async function* () {
    yield BATCHES[0];
    controller.abort();
    yield BATCHES[1];
  })();
  // biome-ignore lint/suspicious/noExplicitAny: whatever TypeScript would refuse
  const any = (value: unknown): any => value;
  test.each([
    [
      'an empty stream',
      (net: Sequential) => populationStatistics(net, []),
      ['RangeError', 'ERR_OPTION', 'populationStatistics: batches expected at least 1, got none'],
    ],
    [
      'an empty stream to replace by',
      (net: Sequential) => recalibrate(net, []),
      ['RangeError', 'ERR_OPTION', 'recalibrate: batches expected at least 1, got none'],
    ],
    [
      'an abort halfway',
      (net: Sequential) => recalibrate(net, aborted, { signal: controller.signal }),
      ['AbortError', 20, 'This operation was aborted'],
    ],
    [
      'a batch that does not fit, halfway',
      (net: Sequential) => recalibrate(net, [BATCHES[0], { data: new Float32Array(8), shape: [2, 4] }]),
      [
        'RangeError',
        'ERR_SHAPE',
        'Sequential, layer 0: BatchNorm1d(3): x expected 3 channels on axis 1, got 4 (shape [2, 4], channels-first)',
      ],
    ],
    [
      'two at a time',
      (net: Sequential) => {
        const first = recalibrate(build(), BATCHES);
        const work = populationStatistics(net, BATCHES, { forward: (x) => recalibrate(net, [x]) });
        return first.then(() => work);
      },
      [
        'Error',
        'ERR_MODE',
        'BatchNorm1d(3): statistics expected one at a time, got a network that is being watched already',
      ],
    ],
    [
      'micro-batches',
      (net: Sequential) =>
        populationStatistics(net, BATCHES, { forward: (x) => net.layers[0].forwardMicroBatches([x]) }),
      [
        'Error',
        'ERR_MODE',
        'BatchNorm1d(3): forward of micro-batches expected a layer whose statistics nobody takes, got one that is watched',
      ],
    ],
    [
      'no iterable',
      (net: Sequential) => adapt(net, any(batch(1, 2))),
      ['TypeError', 'ERR_TYPE', 'adapt: batches expected an iterable or async iterable, got Object'],
    ],
    [
      'no network',
      () => recalibrate(any({}), []),
      ['TypeError', 'ERR_TYPE', 'recalibrate: net expected a Layer, got Object'],
    ],
    [
      'nothing that tracks',
      () => recalibrate(new Linear(2, 2), []),
      ['RangeError', 'ERR_OPTION', 'recalibrate: net expected a norm that tracks statistics, got none'],
    ],
    [
      'another estimator',
      (net: Sequential) => populationStatistics(net, BATCHES, { estimator: any('median') }),
      ['RangeError', 'ERR_OPTION', "populationStatistics: estimator expected 'pooled' or 'averaged', got 'median'"],
    ],
    [
      'a prior below 0',
      (net: Sequential) => adapt(net, BATCHES, { prior: -1 }),
      ['RangeError', 'ERR_OPTION', 'adapt: prior expected a number of 0 or more, got -1'],
    ],
    [
      'a bound above 1',
      (net: Sequential) => adapt(net, BATCHES, { most: 2 }),
      ['RangeError', 'ERR_OPTION', 'adapt: most expected a number from 0 to 1, got 2'],
    ],
    [
      'a misspelt option',
      (net: Sequential) => recalibrate(net, BATCHES, any({ dropot: true })),
      [
        'TypeError',
        'ERR_OPTION',
        "recalibrate: options expected 'estimator', 'forward', 'progress', 'signal' or 'dropout', got 'dropot'",
      ],
    ],
  ])('%s', async (_, work, expected) => {
    const net = build();
    const before = net.stateDict();
    expect(await rejectionOf(work(net))).toEqual(expected);
    expect(net.stateDict()).toEqual(before);
    expect(net.layers.map(({ training }) => training)).toEqual([true, true, true, false, true]);
    expect(errorOf(() => net.forward(BATCHES[1]))).toBe(undefined);
    expect(net.stateDict()['0.batchesTracked'].data[0]).toBe(2);
  });
});
