// What diagnose says of networks in which one thing is wrong.

import { describe, expect, test } from 'vitest';
import {
  BatchNorm1d,
  BatchNorm2d,
  BNGRUCell,
  Dropout,
  diagnose,
  GroupNorm,
  InstanceNorm1d,
  Linear,
  ReLU,
  Residual,
  recalibrate,
  Sequential,
  Sigmoid,
  Tanh,
} from '../../src/index.ts';
import { normals } from '../support/data.ts';
import { errorOf } from '../support/errors.ts';

const C = 4;
const batch = (seed: number, rows: number, mean = 0, std = 1) => ({
  data: normals(seed, rows * C, mean, std),
  shape: [rows, C],
});

/** A norm whose running statistics are those of this batch, unbiased. */
function settled(x: ReturnType<typeof batch>) {
  const norm = new BatchNorm1d(C, { momentum: 1 });
  norm.gamma!.data.set([1, -2, 0.5, 3]);
  norm.forward(x);
  return norm;
}

describe('gaps', () => {
  test('are those between the outputs in training and in evaluation', () => {
    const norm = settled(batch(1, 50, 2));
    const x = batch(2, 40, 3, 1.5);
    const [found] = diagnose(norm, x).norms;
    const trained = norm.forward(x).data;
    const fresh = settled(batch(1, 50, 2));
    const evaluated = fresh.eval().forward(x).data;
    found.channels.forEach(({ channel, gap, cause }) => {
      let sum = 0;
      for (let n = 0; n < 40; n++) sum += (trained[n * C + channel] - evaluated[n * C + channel]) ** 2;
      expect(gap).toBeCloseTo(Math.sqrt(sum / 40), 5);
      expect(cause).toBe('mean drift');
    });
    expect(found.values).toBe(40);
  });

  test.each([
    ['mean drift', (norm: BatchNorm1d) => norm.runningMean!.set([5, 5, 5, 5])],
    ['variance drift', (norm: BatchNorm1d) => norm.runningVar!.set([9, 9, 9, 9])],
    ['estimator', () => {}],
    ['batch size', (norm: BatchNorm1d) => norm.runningMean!.set(norm.runningMean!.map((mean) => mean + 0.1))],
  ] as [string, (norm: BatchNorm1d) => void][])('%s', (cause, spoil) => {
    const x = batch(3, 30);
    const norm = settled(x);
    spoil(norm);
    const [found] = diagnose(norm, x).norms;
    expect(found.cause).toBe(cause);
    expect(new Set(found.channels.map((channel) => channel.cause))).toEqual(new Set([cause]));
    if (cause === 'estimator') {
      // √(m/(m − 1)) is what the unbiased deviation is larger by
      expect(found.channels[0].gap).toBeCloseTo(1 - Math.sqrt(29 / 30), 5);
      expect(found.channels[0].gap).toBeCloseTo(found.channels[0].estimator, 5);
    }
  });

  test('none where there is none', async () => {
    const x = batch(4, 200);
    const norm = new BatchNorm1d(C, { runningVariance: 'biased' });
    await recalibrate(norm, [x]);
    const [found] = diagnose(norm, x).norms;
    expect(found.cause).toBe(null);
    expect(found.gap).toBeLessThan(1e-5);
  });

  test('of every kind of norm that tracks, by name; a frozen one has none', () => {
    const x = { data: normals(5, 6 * C * 9), shape: [6, C, 9] };
    const net = new Sequential(
      new InstanceNorm1d(C, { trackRunningStats: true }),
      new GroupNorm(2, C),
      new Residual(new BatchNorm1d(C)),
      new BatchNorm1d(C).freeze(),
    );
    expect(diagnose(net, x).norms.map(({ name }) => name)).toEqual(['0', '2.0']);
    const cell = new BNGRUCell(9, 5, { maxSteps: C, seed: 1 });
    const steps = diagnose(cell, x).norms.map(({ name, step }) => `${name} ${step}`);
    expect(steps).toEqual(['normIh', 'normHh'].flatMap((name) => [0, 1, 2, 3].map((t) => `${name} ${t}`)));
  });
});

describe('dropout before batch norm', () => {
  test.each([0.2, 0.5, 0.8])('p = %s: the variance ratio is 1/keep', (p) => {
    const net = new Sequential(
      new Dropout(p, { seed: 1 }),
      new BatchNorm1d(C),
      new Tanh(),
      new Dropout(p, { seed: 2 }),
    );
    for (let i = 0; i < 60; i++) net.forward(batch(i, 400));
    const [found, ...others] = diagnose(net, batch(99, 50_000)).dropout;
    expect(others).toEqual([]);
    expect([found.dropout, found.norm, found.direct]).toEqual(['0', '1', true]);
    expect(Math.abs(found.ratio * (1 - p) - 1)).toBeLessThan(0.02);
    expect(found.expected).toBe(1 / (1 - p));
    expect(Math.abs(found.running * (1 - p) - 1)).toBeLessThan(0.1);
    expect(found.remedy).toBe(
      `move 0 Dropout(${p}) behind the last batch norm (1 BatchNorm1d(4)), or recalibrate(net, batches), in which dropout is off`,
    );
  });

  test('either remedy helps', async () => {
    const build = (first: boolean) => {
      const dropout = new Dropout(0.5, { seed: 1 });
      const rest = [new Linear(C, 20, { seed: 2 }), new BatchNorm1d(20, { activation: 'tanh' })];
      const net = new Sequential(...(first ? [dropout, ...rest] : [...rest, dropout]));
      for (let i = 0; i < 60; i++) net.forward(batch(i, 400));
      return net;
    };
    const x = batch(99, 5000);
    const before = diagnose(build(true), x);
    expect(before.norms[0].cause).toBe('variance drift');
    expect(before.dropout[0].remedy).not.toBe(null);
    const moved = diagnose(build(false), x);
    expect(moved.dropout).toEqual([]);
    expect(moved.norms[0].gap).toBeLessThan(before.norms[0].gap / 5);
    const net = build(true);
    await recalibrate(
      net,
      Array.from({ length: 20 }, (_, i) => batch(200 + i, 400)),
    );
    const after = diagnose(net, x);
    expect(after.dropout[0].remedy).toBe(null);
    expect(after.norms[0].gap).toBeLessThan(before.norms[0].gap / 5);
  });
});

describe('units', () => {
  test('saturated, dead and exploding channels', () => {
    const linear = (bias: number[], scale = 1) => {
      const layer = new Linear(C, C, { init: (w) => w.fill(0) });
      for (let i = 0; i < C; i++) layer.weight.data[i * C + i] = scale;
      layer.bias!.data.set(bias);
      return layer;
    };
    const net = new Sequential(
      linear([10, 0, 0, -10]),
      new Tanh(),
      linear([0, 0, -9, 0], 10),
      new Sigmoid(),
      linear([-5, 0, 0, 0]),
      new ReLU(),
      linear([0, 0, 0, 1e5]),
    );
    const found = diagnose(net, batch(6, 100)).units;
    expect(found[1]).toMatchObject({ name: '1', subject: 'Tanh', channels: 4, saturated: [0, 3] });
    expect(found[1].saturation).toBeCloseTo(0.52, 1);
    expect(found[3].saturated.slice(0, 1)).toEqual([0]);
    expect(found[5].dead).toEqual([0]);
    expect(found[6].exploding).toEqual([3]);
    expect(found[0].saturation).toBe(null);
  });

  test('along the channels of each layer', () => {
    const x = { data: normals(7, 3 * 2 * 2 * C), shape: [3, 2, 2, C] };
    const norm = new BatchNorm2d(C, { layout: 'channels-last', activation: 'sigmoid' });
    norm.beta!.data.set([0, 50, 0, 0]);
    const net = new Sequential(norm, new Tanh());
    expect(diagnose(net, x).units.map(({ channels, saturated }) => [channels, saturated])).toEqual([
      [C, [1]],
      [C, []],
    ]);
    expect(diagnose(new Tanh(), x, { layout: 'channels-last' }).units[0].channels).toBe(C);
    expect(diagnose(new Tanh(), x).units[0].channels).toBe(2);
    const bad = { data: x.data.map((v, i) => (i % C === 2 ? Number.NaN : v)), shape: x.shape };
    expect(diagnose(net, bad).units[0].exploding).toEqual([2]);
  });
});

test('nothing is changed by it', () => {
  const build = () =>
    new Sequential(new Dropout(0.5, { seed: 3 }), new Linear(C, C, { seed: 1 }), new BatchNorm1d(C), new ReLU());
  const [net, twin] = [build(), build()];
  net.layers[2].eval();
  twin.layers[2].eval();
  const before = net.stateDict();
  diagnose(net, batch(8, 30));
  expect(
    errorOf(() =>
      diagnose(net, batch(8, 30), { forward: () => net.forward({ data: new Float32Array(3), shape: [1, 3] }) }),
    )?.[1],
  ).toBe('ERR_SHAPE');
  expect(net.stateDict()).toEqual(before);
  expect(net.layers.map(({ training }) => training)).toEqual([true, true, false, true]);
  expect(net.layers.some((layer) => Object.hasOwn(layer, 'forward'))).toBe(false);
  expect(net.forward(batch(9, 30)).data).toEqual(twin.forward(batch(9, 30)).data);
});

test('a table for people and JSON for programs', () => {
  const net = new Sequential(new Dropout(0.5, { seed: 3 }), new BatchNorm1d(C), new ReLU());
  net.forward(batch(1, 20, -3));
  const found = diagnose(net, batch(10, 500, -3));
  const [head, row, dropout] = `${found}`.split('\n');
  expect(head).toMatch(/^norm +values +gap +mean +variance +estimator +by chance +worst +cause$/);
  expect(row).toMatch(/^1 BatchNorm1d\(4\) +500 +[\d.]+ .* channel \d: [\d.]+ +mean drift$/);
  expect(dropout).toMatch(
    /^dropout 0 before norm 1: variance in training is [\d.]+ times that without dropout \(1\/keep = 2\); move /,
  );
  expect(JSON.parse(JSON.stringify(found)).norms[0].channels[3].gap).toBe(found.norms[0].channels[3].gap);
});

// biome-ignore lint/suspicious/noExplicitAny: whatever TypeScript would refuse
const any = (value: unknown): any => value;
test.each([
  [
    'no network',
    () => diagnose(any([]), batch(1, 2)),
    ['TypeError', 'ERR_TYPE', 'diagnose: net expected a Layer, got []'],
  ],
  [
    'a misspelt option',
    () => diagnose(new Tanh(), batch(1, 2), any({ layuot: 1 })),
    ['TypeError', 'ERR_OPTION', "diagnose: options expected 'forward' or 'layout', got 'layuot'"],
  ],
  [
    'a forward that goes on',
    () => diagnose(new Tanh(), batch(1, 2), { forward: async () => {} }),
    ['RangeError', 'ERR_OPTION', 'diagnose: forward expected a function that is done when it returns, got a Promise'],
  ],
  [
    'another batch',
    () => diagnose(new BatchNorm1d(3), batch(1, 2)),
    [
      'RangeError',
      'ERR_SHAPE',
      'BatchNorm1d(3): x expected 3 channels on axis 1, got 4 (shape [2, 4], channels-first)',
    ],
  ],
])('%s', (_, work, expected) => {
  expect(errorOf(work)).toEqual(expected);
});
