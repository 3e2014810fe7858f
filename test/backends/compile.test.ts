// The compiler: what it folds, what it leaves and says so, and that runs, files and certificates
// keep their word.

import { describe, expect, test } from 'vitest';
import {
  BatchNorm1d,
  BatchNorm2d,
  Dropout,
  GroupNorm,
  InstanceNorm2d,
  type Layer,
  LayerNorm,
  Linear,
  Random,
  ReLU,
  Residual,
  RMSNorm,
  Sequential,
  Sigmoid,
  Softmax,
  Tanh,
  tensor,
  zeros,
} from '../../src/index.ts';
import { load } from '../../src/infer/load.ts';
import { norms } from '../../src/infer/operations.ts';
import { backend } from '../../src/kernels/backend.ts';

const random = new Random(11);
const plain = (...shape: number[]) => ({
  data: Float32Array.from({ length: shape.reduce((product, length) => product * length, 1) }, () => random.normal()),
  shape,
});
const linear = (inFeatures: number, outFeatures: number, bias = true) =>
  new Linear(inFeatures, outFeatures, { seed: random.bits(), bias });

/** A network with statistics, gammas and betas of its own, in evaluation. */
function evaluated(...layers: Layer[]): Sequential {
  const net = new Sequential(...layers);
  const state = net.stateDict();
  for (const [name, { data }] of Object.entries(state)) {
    if (/gamma|runningVar/.test(name))
      data.forEach((_, i) => {
        data[i] = 0.3 + random.uniform() * 2;
      });
    else if (/beta|runningMean/.test(name))
      data.forEach((_, i) => {
        data[i] = random.normal();
      });
  }
  net.loadStateDict(state);
  return net.eval();
}

interface Fixture {
  net: () => Sequential;
  input: number[];
  steps: string[];
}

const FIXTURES: Record<string, Fixture> = {
  'a norm behind, an activation, dropout': {
    net: () => evaluated(linear(6, 8), new BatchNorm1d(8), new Tanh(), new Dropout(0.5), linear(8, 3, false)),
    input: [7, 6],
    steps: ['linear 6 → 8, tanh', 'linear 8 → 3'],
  },
  'norms before': {
    net: () =>
      evaluated(
        new BatchNorm1d(6),
        linear(6, 9),
        new Sigmoid(),
        new BatchNorm1d(9),
        new Dropout(0.2),
        linear(9, 4),
        new ReLU(),
      ),
    input: [5, 6],
    steps: ['linear 6 → 9, sigmoid', 'linear 9 → 4, relu'],
  },
  'a residual around a linear layer and its norm': {
    net: () =>
      evaluated(linear(6, 8), new ReLU(), new Residual(linear(8, 8), new BatchNorm1d(8)), new ReLU(), linear(8, 2)),
    input: [5, 6],
    steps: ['linear 6 → 8, relu', 'linear 8 → 8 + residual, relu', 'linear 8 → 2'],
  },
  'a residual of the input': {
    net: () => evaluated(new Residual(linear(6, 6), new BatchNorm1d(6)), new Tanh()),
    input: [5, 6],
    steps: ['linear 6 → 6 + residual, tanh'],
  },
  'a residual around an activation, and one in another': {
    net: () =>
      evaluated(
        linear(4, 8),
        new Residual(linear(8, 8), new Residual(linear(8, 8), new ReLU()), new Tanh(), linear(8, 8)),
        linear(8, 3),
      ),
    input: [9, 4],
    steps: [
      'linear 4 → 8',
      'linear 8 → 8',
      'linear 8 → 8, relu',
      'elementwise + residual, tanh',
      'linear 8 → 8 + residual',
      'linear 8 → 3',
    ],
  },
  'norms of images': {
    net: () =>
      evaluated(
        new BatchNorm2d(3, { activation: 'relu' }),
        new Residual(new BatchNorm2d(3), new BatchNorm2d(3, { activation: 'gelu' })),
        new BatchNorm2d(3),
      ),
    input: [2, 3, 5, 4],
    steps: ['affine 3, relu', 'affine 3, gelu', 'elementwise + residual', 'affine 3'],
  },
  'a norm of features last, in any rank': {
    net: () =>
      evaluated(
        linear(5, 4),
        new BatchNorm1d(4, { layout: 'channels-last', activation: { name: 'leaky-relu', slope: 0.3 } }),
        linear(4, 4),
      ),
    input: [3, 7, 5],
    steps: ['linear 5 → 4, leaky-relu', 'linear 4 → 4'],
  },
  'norms of rows': {
    net: () =>
      evaluated(
        linear(6, 8),
        new LayerNorm(8, { activation: 'relu' }),
        new Residual(linear(8, 8), new RMSNorm(8)),
        linear(8, 3),
        new LayerNorm(3, { affine: false }),
      ),
    input: [5, 6],
    steps: [
      'linear 6 → 8',
      'layer norm 8, relu',
      'linear 8 → 8',
      'rms norm 8 + residual',
      'linear 8 → 3',
      'layer norm 3',
    ],
  },
  'norms of rows of several axes': {
    net: () => evaluated(new LayerNorm([3, 4]), new RMSNorm([4], { activation: 'tanh' })),
    input: [2, 3, 4],
    steps: ['layer norm 3 × 4', 'rms norm 4, tanh'],
  },
  'norms by statistics of samples and groups': {
    net: () =>
      evaluated(
        new GroupNorm(2, 6, { activation: 'silu' }),
        new BatchNorm2d(6),
        new InstanceNorm2d(6, { affine: 'gamma' }),
        new Residual(new GroupNorm(3, 6, { affine: false })),
      ),
    input: [3, 6, 5, 4],
    steps: ['group norm 2 of 6, silu', 'affine 6', 'instance norm 6', 'group norm 3 of 6 + residual'],
  },
  'the same with channels last': {
    net: () =>
      evaluated(
        new InstanceNorm2d(6, { layout: 'channels-last', affine: true }),
        new GroupNorm(2, 6, { layout: 'channels-last' }),
        linear(6, 4),
        new GroupNorm(1, 4, { layout: 'channels-last', activation: 'relu' }),
      ),
    input: [3, 5, 4, 6],
    steps: ['instance norm 6', 'group norm 2 of 6', 'linear 6 → 4', 'group norm 1 of 4, relu'],
  },
  'batch norm by the statistics of the batch': {
    net: () =>
      evaluated(
        linear(6, 8),
        new BatchNorm1d(8, { trackRunningStats: false, activation: 'relu' }),
        linear(8, 4),
        new BatchNorm1d(4, { trackRunningStats: false, affine: 'beta' }),
      ),
    input: [7, 6],
    steps: ['linear 6 → 8', 'batch norm 8 by the batch, relu', 'linear 8 → 4', 'batch norm 4 by the batch'],
  },
  'channels first of rank 3, which are not the features': {
    net: () => evaluated(linear(5, 3), new BatchNorm1d(3), new ReLU(), linear(5 - 2, 3)),
    input: [4, 3, 5],
    steps: ['linear 5 → 3, relu', 'linear 3 → 3'],
  },
};

describe.each(Object.entries(FIXTURES))('%s', (_, { net: make, input, steps }) => {
  const net = make();
  const x = plain(...input);
  const truth = net.forward(x);

  test('takes as few steps as it can, and stays within its certificate', () => {
    const run = net.compile({ samples: x });
    expect(run.steps).toEqual(steps);
    const y = run(x);
    expect(y.shape).toEqual(truth.shape);
    const { bound, measured } = run.certificate!;
    const channels = bound.length;
    const inner =
      input.length > 2 && y.shape[1] === channels && y.shape.at(-1) !== channels
        ? y.data.length / (y.shape[0] * channels)
        : 1;
    y.data.forEach((value, i) => {
      expect(Math.abs(value - truth.data[i])).toBeLessThanOrEqual(bound[Math.floor(i / inner) % channels]);
    });
    measured.forEach((error, c) => {
      expect(error).toBeLessThanOrEqual(bound[c]);
      expect(bound[c]).toBeLessThan(1e-3);
    });
    run.dispose();
  });

  test('is the same on tensors, in other batches, into out, and again', () => {
    const run = net.compile();
    const want = run(x).data;
    const t = tensor(x.data, input);
    const out = zeros(truth.shape);
    for (let k = 0; k < 3; k++) {
      out.data.fill(9);
      expect(run(t, { out })).toBe(out);
      expect(Float32Array.from(out.data)).toEqual(want);
      const into = { data: new Float32Array(want.length), shape: truth.shape };
      expect(run(x, { out: into })).toBe(into);
      expect(into.data).toEqual(want);
    }
    // one row by itself, which has no statistics of a batch
    if (!steps.some((step) => step.includes('by the batch'))) {
      const one = { data: x.data.slice(0, x.data.length / input[0]), shape: [1, ...input.slice(1)] };
      run(one).data.forEach((value, i) => {
        expect(value).toBeCloseTo(want[i], 5);
      });
    }
    expect(run(x).data).toEqual(want);
    for (const tensorLike of [t, out]) tensorLike.dispose();
    run.dispose();
  });

  test('comes back from its file bit for bit', () => {
    const run = net.compile();
    const loaded = load(run.save(), { maxBatch: input[0], inputShape: input.slice(1), operations: [norms] });
    expect(loaded.steps).toEqual(run.steps);
    expect(loaded(x)).toEqual(run(x));
    loaded.dispose();
    run.dispose();
  });

  test('leaves no memory behind', () => {
    const { heap } = backend();
    const before = heap.blocks;
    const run = net.compile({ samples: x });
    run(x);
    run.dispose();
    expect(heap.blocks).toBe(before);
  });
});

test('a Residual adds and its gradient does; shapes must agree', () => {
  const inner = linear(4, 4);
  const net = new Residual(inner, new Tanh());
  const x = plain(3, 4);
  const y = net.forward(x);
  const branch = new Sequential(inner, new Tanh());
  const want = branch.forward(x);
  y.data.forEach((value, i) => {
    expect(value).toBeCloseTo(want.data[i] + x.data[i], 6);
  });
  const dy = plain(3, 4);
  const gradient = branch.backward(dy).data;
  inner.zeroGrad();
  net.forward(x);
  const dx = net.backward(dy);
  dx.data.forEach((value, i) => {
    expect(value).toBeCloseTo(gradient[i] + dy.data[i], 6);
  });
  expect(inner.weight.grad.some((value) => value !== 0)).toBe(true);
  expect(() => new Residual(linear(4, 3)).forward(x)).toThrow(
    'Residual: the output of the branch expected shape [3, 4], got [3, 3]',
  );
  expect(Object.keys(new Sequential(new Tanh(), new Residual(linear(4, 4))).stateDict())).toEqual([
    '1.0.weight',
    '1.0.bias',
  ]);
  expect(() => new Sequential(inner, new Residual(inner))).toThrow('a place of its own');
});

test('a Residual in a network trains on tensors as on plain arrays', () => {
  const build = () =>
    new Sequential(
      new Linear(4, 4, { seed: 3 }),
      new Residual(new Linear(4, 4, { seed: 4 }), new BatchNorm1d(4), new Tanh()),
      new Linear(4, 2, { seed: 5 }),
    );
  const x = plain(6, 4);
  const dy = plain(6, 2);
  const [a, b] = [build(), build()];
  a.forward(x);
  const plainGradient = a.backward(dy).data;
  const t = tensor(x.data, x.shape);
  const d = tensor(dy.data, dy.shape);
  b.forward(t);
  expect(Float32Array.from(b.backward(d).data)).toEqual(plainGradient);
  expect(b.parameters().map(({ grad }) => grad)).toEqual(a.parameters().map(({ grad }) => grad));
  // central differences along a random direction, in the network's own arithmetic
  const weight = a.parameters()[2];
  const at = 5;
  const loss = () => a.forward(x).data.reduce((sum, value, i) => sum + value * dy.data[i], 0);
  const before = weight.data[at];
  const h = 2 ** -7;
  weight.data[at] = before + h;
  const above = loss();
  weight.data[at] = before - h;
  const below = loss();
  weight.data[at] = before;
  expect(weight.grad[at]).toBeCloseTo((above - below) / (2 * h), 2);
  for (const one of [t, d]) one.dispose();
});

test('explain() says what went where, what stayed and why, and what was dropped', () => {
  const net = evaluated(
    new BatchNorm1d(6),
    linear(6, 8),
    new BatchNorm1d(8),
    new ReLU(),
    new Dropout(0.5),
    new BatchNorm1d(8),
    new Tanh(),
  );
  const run = net.compile();
  const lines = run.explain().split('\n');
  expect(lines[0]).toMatch(/step +made of +bytes +multiply-adds per row +rounding per unit of input/);
  expect(lines[1]).toMatch(
    /^0 +linear 6 → 8, relu +0 BatchNorm1d\(6\) \+ 1 Linear\(6, 8\) \+ 2 BatchNorm1d\(8\) \+ 3 ReLU +224 +48 +\d\.\de-\d$/,
  );
  // scale, shift, and centres, as some channels need one
  expect(lines[2]).toMatch(/^1 +affine 8, tanh +5 BatchNorm1d\(8\) \+ 6 Tanh +96 +8 /);
  expect(lines[3]).toMatch(/in all +320 +56$/);
  expect(lines.slice(4)).toEqual([
    'stays: 5 BatchNorm1d(8): an activation before it; no linear layer behind it',
    'dropped: 4 Dropout(0.5): nothing to do in evaluation',
  ]);
  run.dispose();
});

test('buffers are planned for a batch, and a run within it takes no memory', () => {
  const net = evaluated(
    linear(6, 8),
    new BatchNorm1d(8),
    new ReLU(),
    new Residual(linear(8, 8), new Tanh(), linear(8, 8)),
    linear(8, 3),
  );
  const { heap } = backend();
  const run = net.compile({ maxBatch: 32 });
  const inputs = [1, 7, 32].map((rows) => tensor(plain(rows, 6).data, [rows, 6]));
  const outputs = [1, 7, 32].map((rows) => zeros([rows, 3]));
  const before = [heap.blocks, heap.size];
  inputs.forEach((x, i) => {
    run(x, { out: outputs[i] });
    expect([heap.blocks, heap.size]).toEqual(before);
  });
  const large = tensor(plain(100, 6).data, [100, 6]);
  expect(run(large).shape).toEqual([100, 3]);
  run.dispose();
});

test('a layer of zeros comes back from its file', () => {
  const net = new Sequential(linear(4, 8), new Linear(8, 1, { init: () => {} })).eval();
  const run = net.compile();
  const x = plain(3, 4);
  const loaded = load(run.save());
  expect(loaded(x)).toEqual(run(x));
  loaded.dispose();
  run.dispose();
});

test('a file for rows alone is half as large, and refuses others', () => {
  const net = evaluated(linear(40, 60), new BatchNorm1d(60), new ReLU(), linear(60, 40));
  using run = net.compile();
  const [all, rows] = [run.save(), run.save({ rowsOnly: true })];
  expect(rows.length).toBeLessThan(all.length * 0.8);
  using loaded = load(rows);
  const x = plain(3, 40);
  expect(loaded(x)).toEqual(run(x));
  expect(() => loaded(plain(2, 60, 40))).toThrow(
    'compiled network: x expected rank 2, for which it was saved, got rank 3',
  );
});

test('weights that only fit apart are left apart', () => {
  const net = new Sequential(
    new Linear(1, 1, { bias: false, init: (weight) => weight.fill(1e20) }),
    new BatchNorm1d(1),
  ).eval();
  (net.layers[1] as BatchNorm1d).gamma!.data.fill(1e20);
  const run = net.compile();
  const x = { data: Float32Array.of(1e-10), shape: [1, 1] };
  expect(run(x).data[0]).toBeCloseTo(net.forward(x).data[0], -25);
  expect(run.explain()).toContain('stays: 1 BatchNorm1d(1): folded weights beyond f32; nothing behind it');
  run.dispose();
});

test('a Residual of what its own branch gave', () => {
  const inner = linear(3, 3);
  const block = new Residual(inner).eval();
  const x = tensor(plain(1, 3).data, [1, 3]);
  const given = block.branch.forward(x);
  const copy = { data: given.data.slice(), shape: [1, 3] };
  const y = block.forward(given);
  const want = block.forward(copy);
  expect(Float32Array.from(y.data)).toEqual(want.data);
  for (const one of [x, y]) one.dispose();
});

test('norms by statistics of their input are the layers’ own, bit for bit', () => {
  const layers: [Layer, number[]][] = [
    [new LayerNorm(7), [5, 7]],
    [new RMSNorm([2, 7], { activation: 'gelu' }), [300, 2, 7]],
    [new GroupNorm(4, 8), [3, 8, 9, 5]],
    [new GroupNorm(8, 8, { layout: 'channels-last' }), [3, 9, 8]],
    [new GroupNorm(3, 3), [4, 3]],
    [new InstanceNorm2d(5, { affine: true }), [2, 5, 40, 33]],
    [new BatchNorm2d(5, { trackRunningStats: false }), [2, 5, 40, 33]],
    [new BatchNorm1d(1, { trackRunningStats: false }), [90, 1, 12]],
  ];
  for (const [layer, shape] of layers) {
    const net = evaluated(layer);
    const x = plain(...shape);
    x.data.forEach((value, i) => {
      x.data[i] = value * 3 + 100;
    });
    using run = net.compile({ samples: x });
    expect(run(x)).toEqual(net.forward(x));
    run.certificate!.measured.forEach((error, c) => {
      expect(error).toBeLessThanOrEqual(run.certificate!.bound[c]);
    });
    using loaded = load(run.save(), { operations: [norms] });
    expect(loaded(x)).toEqual(run(x));
  }
});

test('a compiled norm with one value behind a statistic does what its layer does', () => {
  const one = plain(1, 4);
  using skips = evaluated(new BatchNorm1d(4, { trackRunningStats: false, onSingleValue: 'skip-update' })).compile();
  expect(skips(one).data.every(Number.isFinite)).toBe(true);
  using throws = evaluated(new BatchNorm1d(4, { trackRunningStats: false })).compile();
  expect(() => throws(one)).toThrow(
    'compiled network: batch norm 4 by the batch: x expected at least 2 values per channel, got 1 (shape [1, 4])',
  );
});

test('a file whose operations were not passed says what to import', () => {
  using run = evaluated(linear(3, 4), new LayerNorm(4)).compile();
  expect(() => load(run.save())).toThrow(
    "evenkeel-compiled: flat[1] expected an operation of load's options (operations: [norms], of evenkeel/infer), got 'row-norm' (offset 8)",
  );
  using more = evaluated(new LayerNorm(4), new Softmax()).compile();
  expect(() => load(more.save())).toThrow(
    "evenkeel-compiled: flat[0] expected an operation of load's options (operations: [norms, softmax], of evenkeel/infer), got 'row-norm' (offset 8)",
  );
  expect(() => load(run.save(), { operations: norms as never })).toThrow(
    "load: operations expected groups of 'evenkeel/infer'",
  );
});

describe('what compile refuses', () => {
  test.each([
    [
      'a batch of nothing',
      () => evaluated(linear(2, 2)).compile({ maxBatch: 0 }),
      'compiled network: maxBatch expected an integer of 1 or more, got 0',
    ],
    [
      'a batch of unknown rows',
      () => evaluated(new BatchNorm2d(2)).compile({ maxBatch: 4 }),
      "compiled network: inputShape expected one row's shape, as the network does not say it, got none",
    ],
    [
      'a row that does not fit',
      () => evaluated(linear(2, 2)).compile({ maxBatch: 4, inputShape: [3] }),
      'compiled network: linear 2 → 2: x expected 2 features on axis 1, got 3 (shape [4, 3])',
    ],
    [
      'samples that do not fit',
      () => evaluated(linear(2, 2)).compile({ samples: plain(4, 3) }),
      'expected 2 features on axis 1, got 3',
    ],
    [
      'an unknown option',
      () => evaluated(linear(2, 2)).compile({ batch: 4 } as never),
      "compile: options expected 'maxBatch', 'inputShape' or 'samples', got 'batch'",
    ],
  ])('%s', (_, call, message) => {
    const { heap } = backend();
    const before = heap.blocks;
    expect(call).toThrow(message);
    expect(heap.blocks).toBe(before);
  });
});

describe('a compiled file', () => {
  const file = evaluated(linear(3, 4), new BatchNorm1d(4), new Tanh()).compile().save();

  test('is refused wherever it is cut, and whatever byte of its header changes, unless it means the same', () => {
    for (let length = 0; length < file.length; length++)
      expect(() => load(file.subarray(0, length))).toThrow(/^evenkeel-compiled: /);
    const header = 8 + Number(new DataView(file.buffer).getBigUint64(0, true));
    for (let at = 0; at < header; at++) {
      for (const value of [0, 34, 57, 125, 255]) {
        const bytes = file.slice();
        bytes[at] = value;
        try {
          load(bytes).dispose();
        } catch (error) {
          expect(error).toMatchObject({ code: expect.stringMatching(/^ERR_(FORMAT|SHAPE)$/) });
        }
      }
    }
  });

  test('says what is wrong', () => {
    expect(() => load(new Uint8Array(4))).toThrow(
      'evenkeel-compiled: file expected what save() or evenkeel compile writes, got other bytes (offset 0)',
    );
    expect(() => load('x' as never)).toThrow('evenkeel-compiled: file expected a Uint8Array or an ArrayBuffer');
  });
});
