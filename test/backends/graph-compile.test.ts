// Graphs compiled: what is folded and fused, several inputs and outputs, files, certificates.

import { describe, expect, test } from 'vitest';
import {
  BatchNorm1d,
  BatchNorm2d,
  Conv2d,
  Dropout,
  Graph,
  GroupNorm,
  LayerNorm,
  Linear,
  Random,
  ReLU,
  Residual,
  Sequential,
  Sigmoid,
  Tanh,
  tensor,
  zeros,
} from '../../src/index.ts';
import { load } from '../../src/infer/load.ts';
import { merging, norms } from '../../src/infer/operations.ts';
import { backend } from '../../src/kernels/backend.ts';

const random = new Random(21);
const plain = (...shape: number[]) => ({
  data: Float32Array.from({ length: shape.reduce((product, length) => product * length, 1) }, () => random.normal()),
  shape,
});
const linear = (inFeatures: number, outFeatures: number) =>
  new Linear(inFeatures, outFeatures, { seed: random.bits() });
const operations = [norms, merging];

/** The same graph with statistics, gammas and betas of its own, in evaluation. */
function settled<G extends { stateDict: Graph['stateDict']; loadStateDict: Graph['loadStateDict']; eval(): G }>(
  net: G,
): G {
  const state = net.stateDict();
  for (const [name, { data }] of Object.entries(state)) {
    const isPositive = /gamma|runningVar/.test(name);
    if (!isPositive && !/beta|runningMean/.test(name)) continue;
    data.forEach((_, i) => {
      data[i] = isPositive ? 0.3 + random.uniform() * 2 : random.normal();
    });
  }
  net.loadStateDict(state);
  return net.eval();
}

/** The largest difference to what a network gives, of its largest value. */
function far(got: { data: Float32Array }, want: { data: Float32Array }): number {
  expect(got.data.length).toBe(want.data.length);
  const most = want.data.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  return got.data.reduce((worst, value, i) => Math.max(worst, Math.abs(value - want.data[i])), 0) / most;
}

test('a residual of a graph folds and fuses as a Residual does', () => {
  const net = settled(
    new Graph({ x: [16] }, (g, { x }) => {
      const h = g.apply('fc1', linear(16, 16), x);
      const n = g.apply('bn1', new BatchNorm1d(16), h);
      const r = g.apply('act1', new ReLU(), g.add(n, x));
      return g.apply('fc2', linear(16, 4), g.apply('drop', new Dropout(0.5), r));
    }),
  );
  const x = plain(5, 16);
  using run = net.compile({ samples: x, maxBatch: 8 });
  expect(run.steps).toEqual(['linear 16 → 16 + residual, relu', 'linear 16 → 4']);
  expect(run.inputs).toEqual([{ name: 'x', shape: [null, 16] }]);
  expect(run.outputs).toEqual([{ name: 'output', shape: [null, 4] }]);
  expect([net.inputs, net.outputs]).toEqual([run.inputs, run.outputs]);
  expect(far(run(x), net.forward(x))).toBeLessThan(1e-6);
  expect(run({ x })).toEqual(run(x));
  expect(run.explain()).toContain('fc1 Linear(16, 16) + bn1 BatchNorm1d(16) + add(bn1, x) + act1 ReLU');
  expect(run.explain()).toContain('dropped: drop Dropout(0.5): nothing to do in evaluation');
  run.certificate!.measured.forEach((error, c) => {
    expect(error).toBeLessThanOrEqual(run.certificate!.bound[c]);
  });
  using loaded = load(run.save());
  expect(loaded(x)).toEqual(run(x));
  expect([loaded.inputs, loaded.outputs, loaded.steps]).toEqual([run.inputs, run.outputs, run.steps]);
});

const twoByTwo = () =>
  settled(
    new Graph({ image: [6, null, null], scale: [6, 1, 1] }, (g, { image, scale }) => {
      const n = g.apply('norm', new BatchNorm2d(6, { activation: 'silu' }), image);
      const gate = g.apply('gate', new Sigmoid(), scale);
      const scaled = g.multiply(n, gate);
      const both = g.concat([scaled, image], 1);
      const grouped = g.apply('groups', new GroupNorm(3, 12), both);
      return { whole: g.add(grouped, g.concat([scale, scale], -3)), scaled };
    }),
  );

describe('several inputs and outputs', () => {
  const net = twoByTwo();
  const xs = { image: plain(3, 6, 4, 5), scale: plain(3, 6, 1, 1) };
  const want = net.forward(xs) as Record<'whole' | 'scaled', { data: Float32Array; shape: number[] }>;

  test('are records, whatever their order', () => {
    using run = net.compile();
    expect(run.inputs).toEqual([
      { name: 'image', shape: [null, 6, null, null] },
      { name: 'scale', shape: [null, 6, 1, 1] },
    ]);
    expect(run.outputs).toEqual([
      { name: 'whole', shape: [null, 12, null, null] },
      { name: 'scaled', shape: [null, 6, null, null] },
    ]);
    const got = run({ scale: xs.scale, image: xs.image });
    expect(Object.keys(got)).toEqual(['whole', 'scaled']);
    for (const name of ['whole', 'scaled'] as const) {
      expect(got[name].shape).toEqual(want[name].shape);
      expect(far(got[name], want[name])).toBeLessThan(1e-6);
    }
    using loaded = load(run.save(), { operations });
    expect(loaded(xs)).toEqual(got);
    expect(loaded.outputs).toEqual(run.outputs);
    expect(run.operations).toEqual(['merging', 'norms']);
  });

  test('are written where the call says', () => {
    using run = net.compile();
    const plainly = run(xs);
    const tensors = { image: tensor(xs.image.data, xs.image.shape), scale: tensor(xs.scale.data, xs.scale.shape) };
    const scaled = zeros(want.scaled.shape);
    const got = run(tensors, { out: { scaled } });
    expect(got.scaled).toBe(scaled);
    expect(Float32Array.from(scaled.data)).toEqual(plainly.scaled.data);
    expect(Float32Array.from(got.whole.data)).toEqual(plainly.whole.data);
    for (const one of [tensors.image, tensors.scale, scaled, got.whole]) one.dispose();
  });

  test('stay within the certificate, the channels of one output behind those of the other', () => {
    using run = net.compile({ samples: xs });
    const { bound, measured } = run.certificate!;
    expect(bound.length).toBe(18);
    measured.forEach((error, c) => {
      expect(error).toBeLessThanOrEqual(bound[c]);
      expect(bound[c]).toBeLessThan(1e-3);
    });
  });

  test.each([
    ['one of two', { image: xs.image }, "compiled network: x expected a tensor 'scale', got undefined"],
    ['one more', { ...xs, mask: xs.scale }, "compiled network, x: names expected 'image' or 'scale', got 'mask'"],
    ['a bare one', xs.image, "compiled network, x: names expected 'image' or 'scale', got 'data'"],
    [
      'other channels',
      { image: plain(3, 5, 4, 5), scale: xs.scale },
      'compiled network: image expected shape [null, 6, null, null], got [3, 5, 4, 5]',
    ],
  ])('%s is refused', (_, given, message) => {
    const { heap } = backend();
    using run = net.compile();
    const before = heap.blocks;
    expect(() => run(given as typeof xs)).toThrow(message);
    expect(heap.blocks).toBe(before);
  });
});

test('outputs that are inputs of other steps, or the same value as another', () => {
  const net = settled(
    new Graph({ x: [4] }, (g, { x }) => {
      const h = g.apply('fc1', linear(4, 4), x);
      const idle = g.apply('idle', new Dropout(0.2), h);
      return { h, idle, y: g.apply('act', new Tanh(), h) };
    }),
  );
  const x = plain(3, 4);
  using run = net.compile();
  const got = run(x) as unknown as Record<string, { data: Float32Array }>;
  const want = net.forward(x) as unknown as Record<string, { data: Float32Array }>;
  for (const name of ['h', 'idle', 'y']) expect(far(got[name], want[name])).toBeLessThan(1e-6);
  expect(got.idle.data).toEqual(got.h.data);
});

test('graphs in chains, chains in graphs, and graphs in graphs', () => {
  const inner = new Graph({ a: [6], b: [6] }, (g, { a, b }) => ({
    sum: g.add(a, b),
    product: g.multiply(a, g.apply('ln', new LayerNorm(6), b)),
  }));
  const net = settled(
    new Sequential(
      linear(4, 6),
      new Graph({ x: [6] }, (g, { x }) => {
        const left = g.apply('left', new Sequential(linear(6, 6), new BatchNorm1d(6), new ReLU()), x);
        const { sum, product } = g.apply('inner', inner, { a: left, b: x });
        return g.concat([sum, product], -1);
      }),
      new Residual(new BatchNorm1d(12), linear(12, 12)),
    ),
  );
  const x = plain(5, 4);
  using run = net.compile({ samples: x });
  expect(far(run(x), net.forward(x))).toBeLessThan(1e-6);
  expect(run.explain()).toContain('1.inner.ln LayerNorm(6)');
  expect(run.steps).toEqual([
    'linear 4 → 6',
    'linear 6 → 6, relu',
    'elementwise + residual',
    'layer norm 6',
    'multiply',
    'concat on axis -1',
    'linear 12 → 12 + residual',
  ]);
});

test('a run of a graph leaves no memory behind', () => {
  const { heap } = backend();
  const net = twoByTwo();
  const before = heap.blocks;
  const run = net.compile({ samples: { image: plain(2, 6, 3, 3), scale: plain(2, 6, 1, 1) } });
  for (const size of [2, 5, 3]) run({ image: plain(1, 6, size, size), scale: plain(1, 6, 1, 1) });
  run.dispose();
  expect(heap.blocks).toBe(before);
});

test('a compiled network takes the ranks that its layers take, though a norm is folded away', () => {
  const norm = settled(new Sequential(new BatchNorm2d(3, { layout: 'channels-last' }), linear(3, 2)));
  const graph = settled(new Graph({ x: [3] }, (g, { x }) => g.apply('fc', linear(3, 2), x)));
  for (const [net, shape, message] of [
    [norm, [2, 3], 'compiled network: x expected rank 4, got rank 2 (shape [2, 3])'],
    [graph, [2, 1, 3], 'compiled network: x expected shape [null, 3], got [2, 1, 3]'],
  ] as const) {
    using run = net.compile();
    using loaded = load(run.save());
    expect(() => run(plain(...shape))).toThrow(message);
    expect(() => loaded(plain(...shape))).toThrow(message);
  }
});

test.each([
  [[4], [1]],
  [[4], [4]],
  [
    [3, 5],
    [1, 1],
  ],
  [
    [3, 5],
    [3, 1],
  ],
  [
    [3, 5],
    [1, 5],
  ],
  [[3, 5], [5]],
  [
    [1, 5],
    [3, 1],
  ],
  [
    [2, 3, 4],
    [1, 3, 1],
  ],
  [
    [2, 3, 4],
    [2, 1, 4],
  ],
  [
    [2, 1, 4],
    [2, 3, 1],
  ],
] as number[][][])('sums and products of %j and %j broadcast as in training', (a, b) => {
  const net = new Graph({ a: [...a], b: [...b] }, (g, { a, b }) => ({
    sum: g.add(a, b),
    product: g.multiply(a, b),
    turned: g.multiply(b, a),
  })).eval();
  for (const batch of [1, 3]) {
    const xs = { a: plain(batch, ...a), b: plain(batch, ...b) };
    // -0 and 0 are the same here: a product may be added to 0
    const values = (y: { data: Float32Array }) => Array.from(y.data, (value) => value + 0);
    const want = net.forward(xs) as unknown as Record<string, { data: Float32Array; shape: number[] }>;
    using run = net.compile({ samples: xs });
    const got = run(xs);
    for (const name of ['sum', 'product', 'turned']) {
      expect(got[name].shape).toEqual(want[name].shape);
      expect(values(got[name])).toEqual(values(want[name]));
    }
  }
});

test('sums of values that have one shape whatever the input are residuals; others broadcast', () => {
  const conv = (i: number, o: number, kernel: number, options = {}) =>
    new Conv2d(i, o, kernel, { seed: random.bits(), ...options });
  const block = (stride: number, padding: number) =>
    settled(
      new Graph({ x: [4, null, null] }, (g, { x }) => {
        const h = g.apply('bn1', new BatchNorm2d(6), g.apply('conv1', conv(4, 6, 3, { stride, padding }), x));
        const short = g.apply('down', conv(4, 6, 1, { stride }), x);
        return g.apply('act', new ReLU(), g.add(g.apply('conv2', conv(6, 6, 3, { padding: 1 }), h), short));
      }),
    );
  for (const stride of [1, 2, 3]) {
    const net = block(stride, 1);
    using run = net.compile();
    expect(run.operations).toEqual(['convolutions']);
    expect(run.steps.filter((step) => step.endsWith('+ residual, relu'))).toHaveLength(1);
    for (const [h, w] of [
      [9, 14],
      [8, 7],
      [1, 3],
    ]) {
      const x = plain(2, 4, h, w);
      expect(far(run(x), net.forward(x))).toBeLessThan(1e-6);
    }
  }
  // without padding the sizes differ, but for an input of 3 × 3 the branch broadcasts
  const net = block(2, 0);
  using run = net.compile();
  expect(run.steps).toContain('add');
  const x = plain(2, 4, 3, 3);
  expect(far(run(x), net.forward(x))).toBeLessThan(1e-6);
  // batches of two inputs may differ
  const two = new Graph({ a: [6], b: [6] }, (g, { a, b }) => g.add(a, b)).eval();
  using sum = two.compile();
  expect(sum.steps).toEqual(['add']);
  const [a, b] = [plain(3, 6), plain(1, 6)];
  expect(sum({ a, b })).toEqual(two.forward({ a, b }));
});
