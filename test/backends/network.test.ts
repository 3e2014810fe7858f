import { describe, expect, test } from 'vitest';
import {
  Adam,
  BatchNorm1d,
  BatchNorm2d,
  crossEntropy,
  Dropout,
  heNormal,
  heUniform,
  type Initializer,
  Linear,
  namedParameters,
  normal,
  Random,
  ReLU,
  Sequential,
  SGD,
  Sigmoid,
  Tanh,
  Tensor,
  tensor,
  tidy,
  torchUniform,
  xavierNormal,
  xavierUniform,
} from '../../src/index.ts';
import { normals, worstDifference } from '../support/data.ts';

const build = () =>
  new Sequential(
    new Linear(6, 8, { seed: 1 }),
    new BatchNorm1d(8),
    new Tanh(),
    new Dropout(0.25, { seed: 2 }),
    new Linear(8, 3, { seed: 3 }),
  );

const batch = (seed: number, rows: number, features = 6) => ({
  data: normals(seed, rows * features, 0.3),
  shape: [rows, features],
});

describe('Linear', () => {
  test('is x·Wᵀ + b', () => {
    const linear = new Linear(5, 3, { seed: 4 });
    const x = batch(1, 7, 5);
    const { data: w } = linear.weight;
    const { data: b } = linear.bias!;
    const expected = Array.from({ length: 21 }, (_, k) => {
      const [n, o] = [Math.floor(k / 3), k % 3];
      return b[o] + [0, 1, 2, 3, 4].reduce((sum, i) => sum + x.data[n * 5 + i] * w[o * 5 + i], 0);
    });
    const y = linear.forward(x);
    expect(y.shape).toEqual([7, 3]);
    expect(worstDifference(y.data, expected)).toBeLessThan(1e-6);
  });

  test('sees its weight change, held or not', () => {
    const linear = new Linear(2, 1, { seed: 1, bias: false });
    const x = { data: Float32Array.of(1, 2), shape: [1, 2] };
    linear.forward(x);
    linear.loadStateDict({ weight: { data: Float32Array.of(3, 4), shape: [1, 2] } });
    expect([...linear.forward(x).data]).toEqual([11]);
    const { data } = linear.weight;
    linear.forward(x);
    data[0] = 5;
    expect([...linear.forward(x).data]).toEqual([13]);
  });

  test("a row's result does not depend on the rows beside it", () => {
    const linear = new Linear(19, 37, { seed: 1 });
    const x = batch(2, 11, 19);
    const all = linear.forward(x).data;
    for (let n = 0; n < 11; n++) {
      const one = linear.forward({ data: x.data.slice(n * 19, n * 19 + 19), shape: [1, 19] }).data;
      expect(one).toEqual(all.slice(n * 37, n * 37 + 37));
    }
  });

  test('a frozen weight gets no gradient and does not move', () => {
    const linear = new Linear(3, 2, { seed: 1 });
    linear.weight.frozen = true;
    const before = linear.weight.data.slice();
    linear.forward(batch(1, 4, 3));
    linear.backward(batch(2, 4, 2));
    new SGD(linear.parameters(), { lr: 1 }).step();
    expect(linear.weight.data).toEqual(before);
    expect(linear.bias!.grad.some((g) => g !== 0)).toBe(true);
  });

  test('an empty batch passes', () => {
    const linear = new Linear(3, 2);
    const empty = { data: new Float32Array(0), shape: [0, 3] };
    expect(linear.forward(empty).shape).toEqual([0, 2]);
    expect(linear.backward({ data: new Float32Array(0), shape: [0, 2] })).toEqual(empty);
  });
});

describe('Dropout', () => {
  test('keeps a share of 1 − p, scaled so that the mean stays', () => {
    const dropout = new Dropout(0.3, { seed: 5 });
    const y = dropout.forward({ data: new Float32Array(20000).fill(1), shape: [20000] }).data;
    expect(new Set(y)).toEqual(new Set([0, Math.fround(1 / 0.7)]));
    expect(y.reduce((a, b) => a + b, 0) / 20000).toBeCloseTo(1, 1);
  });

  test('neighbours are dropped independently, within a mask and between masks', () => {
    const dropout = new Dropout(0.5, { seed: 6 });
    const ones = { data: new Float32Array(20000).fill(1), shape: [20000] };
    const [a, b] = [dropout.forward(ones).data, dropout.forward(ones).data];
    const share = (test: (i: number) => boolean) => a.filter((_, i) => test(i)).length / a.length;
    expect(Math.abs(share((i) => a[i] > 0 && a[(i + 1) % 20000] > 0) - 0.25)).toBeLessThan(0.02);
    expect(Math.abs(share((i) => a[i] > 0 && b[i] > 0) - 0.25)).toBeLessThan(0.02);
  });

  test('the same seed gives the same masks; evaluation drops nothing', () => {
    const x = batch(3, 5);
    const masks = () => {
      const dropout = new Dropout(0.5, { seed: 9 });
      return [dropout.forward(x).data, dropout.forward(x).data];
    };
    expect(masks()).toEqual(masks());
    expect(masks()[0]).not.toEqual(masks()[1]);
    expect(new Dropout(0.5).eval().forward(x)).toEqual(x);
    expect([...new Dropout(1).forward(x).data].every((v) => v === 0)).toBe(true);
    expect(new Dropout(0).forward(x)).toEqual(x);
  });

  test('the mask is the same on every machine and backend', () => {
    const y = new Dropout(0.5, { seed: 1 }).forward({ data: new Float32Array(24).fill(1), shape: [24] }).data;
    expect([...y].map((v) => (v ? 1 : 0)).join('')).toBe('100000111111110101111001');
  });
});

test.each([
  ['normal', normal(0.02), 0.02],
  ['xavierNormal', xavierNormal(), Math.sqrt(2 / 500)],
  ['xavierUniform', xavierUniform(), Math.sqrt(2 / 500)],
  ['heNormal', heNormal(), Math.sqrt(2 / 300)],
  ['heUniform', heUniform(), Math.sqrt(2 / 300)],
  ['torchUniform', torchUniform(), Math.sqrt(1 / 900)],
] as [string, Initializer, number][])('%s has the standard deviation it should have', (_, init, std) => {
  const { data } = new Linear(300, 200, { init, seed: 3 }).weight;
  const mean = data.reduce((a, b) => a + b, 0) / data.length;
  const variance = data.reduce((a, b) => a + (b - mean) ** 2, 0) / data.length;
  expect(Math.abs(mean)).toBeLessThan(std / 50);
  expect(Math.sqrt(variance) / std).toBeCloseTo(1, 1);
  expect(new Linear(300, 200, { init, seed: 3 }).weight.data).toEqual(data);
});

test('a permutation holds every index once', () => {
  const order = new Random(4).permutation(100);
  expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i));
});

describe('crossEntropy', () => {
  test('is the mean of −ln softmax, with its gradient', () => {
    const logits = { data: Float32Array.of(1, 2, 3, 0, 0, 0), shape: [2, 3] };
    const { loss, grad } = crossEntropy(logits, [2, 0]);
    const z = Math.exp(1) + Math.exp(2) + Math.exp(3);
    expect(loss).toBeCloseTo((Math.log(z) - 3 + Math.log(3)) / 2, 12);
    const expected = [Math.exp(1) / z, Math.exp(2) / z, Math.exp(3) / z - 1, 1 / 3 - 1, 1 / 3, 1 / 3].map((g) => g / 2);
    expect(worstDifference(grad.data, expected)).toBeLessThan(1e-7);
    expect(grad.shape).toEqual([2, 3]);
  });

  test('large logits do not overflow', () => {
    const { loss, grad } = crossEntropy({ data: Float32Array.of(1e4, -1e4), shape: [1, 2] }, Uint8Array.of(1));
    expect(loss).toBe(2e4);
    expect([...grad.data]).toEqual([1, -1]);
  });

  test('the gradient of a tensor lives and dies with it', () => {
    const logits = tensor([1, 2, 3], [1, 3]);
    const { grad } = crossEntropy(logits, [0]);
    expect(grad).toBeInstanceOf(Tensor);
    expect(crossEntropy(logits, [1]).grad).toBe(grad);
    logits.dispose();
    expect(grad.disposed).toBe(true);
  });
});

test('a gradient that tidy returns outlives its logits', () => {
  const { grad } = tidy(() => crossEntropy(tensor([1, 2, 3], [1, 3]), [0]));
  expect(grad.disposed).toBe(false);
  grad.dispose();
});

describe('optimizers', () => {
  test('Adam counts the steps of each parameter by itself', () => {
    const [a, b] = [parameter(), parameter()];
    b.frozen = true;
    const optimizer = new Adam([a, b], { lr: 0.1 });
    for (const p of [a, b]) p.grad.fill(1);
    for (let k = 0; k < 100; k++) optimizer.step();
    expect(b.data[0]).toBe(1);
    b.frozen = false;
    optimizer.step();
    expect(b.data[0]).toBeCloseTo(0.9, 5);
  });

  const parameter = () => new Linear(1, 2, { bias: false, init: (values) => values.set([1, -2]) }).weight;

  test('SGD with momentum, Nesterov and weight decay follows its formula', () => {
    for (const nesterov of [false, true]) {
      const p = parameter();
      const optimizer = new SGD([p], { lr: 0.1, momentum: 0.9, weightDecay: 0.01, nesterov });
      let [value, velocity] = [1, 0];
      for (const gradient of [0.5, -0.25, 1]) {
        p.grad.fill(gradient);
        optimizer.step();
        const g = gradient + 0.01 * value;
        velocity = 0.9 * velocity + g;
        value -= 0.1 * (nesterov ? g + 0.9 * velocity : velocity);
        expect(p.data[0]).toBeCloseTo(value, 6);
      }
    }
  });

  test('Adam follows its formula, and the rate may change on the way', () => {
    const p = parameter();
    const optimizer = new Adam([p], { lr: 0.1 });
    let [value, m, v] = [1, 0, 0];
    [0.5, -0.25, 1].forEach((g, k) => {
      optimizer.lr = 0.1 / (k + 1);
      p.grad.fill(g);
      optimizer.step();
      m = 0.9 * m + 0.1 * g;
      v = 0.999 * v + 0.001 * g * g;
      value -= (optimizer.lr * (m / (1 - 0.9 ** (k + 1)))) / (Math.sqrt(v / (1 - 0.999 ** (k + 1))) + 1e-8);
      expect(p.data[0]).toBeCloseTo(value, 6);
    });
    optimizer.zeroGrad();
    expect([...p.grad]).toEqual([0, 0]);
  });
});

describe('Sequential', () => {
  test('names its state by position', () => {
    expect(Object.keys(build().stateDict())).toEqual([
      '0.weight',
      '0.bias',
      '1.gamma',
      '1.beta',
      '1.runningMean',
      '1.runningVar',
      '1.batchesTracked',
      '4.weight',
      '4.bias',
    ]);
    const [a, b] = [build(), build()];
    a.forward(batch(1, 5));
    b.loadStateDict(a.stateDict());
    expect(b.stateDict()).toEqual(a.stateDict());
  });

  test('takes layers by name, as the attributes of a PyTorch module are', () => {
    const named = () =>
      new Sequential({ fc1: new Linear(3, 4, { seed: 1 }), bn1: new BatchNorm1d(4), act: new ReLU() });
    const [net, chain] = [named(), new Sequential(...named().layers)];
    expect(Object.keys(net.stateDict()).slice(0, 3)).toEqual(['fc1.weight', 'fc1.bias', 'bn1.gamma']);
    expect(namedParameters(net).map(([name]) => name)).toEqual(['fc1.weight', 'fc1.bias', 'bn1.gamma', 'bn1.beta']);
    const x = { data: batch(1, 5).data.slice(0, 15), shape: [5, 3] };
    expect(net.forward(x)).toEqual(chain.forward(x));
    expect(net.compile()(x)).toEqual(chain.compile()(x));
    expect(() => net.forward(batch(1, 5))).toThrow('Sequential, layer fc1: Linear(3, 4): x expected 3 features');
    expect(() => new Sequential({})).toThrow('Sequential: a layer expected a Layer, got Object');
    for (const name of ['', '0', '12']) {
      expect(() => new Sequential({ [name]: new ReLU() })).toThrow(`Sequential: name expected a name, got '${name}'`);
    }
    expect(() => new Sequential({ act: Math.tanh } as never)).toThrow('Sequential: a layer expected a Layer, got');
    const twice = new ReLU();
    expect(() => new Sequential({ a: twice, b: twice })).toThrow(/^Sequential: /);
  });

  test('gives what its layers give one after the other, forward and backward', () => {
    const [net, loose] = [build(), build()];
    const x = batch(1, 5);
    const y = net.forward(x);
    let expected: { data: Float32Array; shape: readonly number[] } = x;
    for (const layer of loose.layers) expected = layer.forward(expected);
    expect(y).toEqual(expected);
    const dy = { data: normals(3, 15), shape: [5, 3] };
    const dx = net.backward(dy);
    let gradient: { data: Float32Array; shape: readonly number[] } = dy;
    for (const layer of [...loose.layers].reverse()) gradient = layer.backward(gradient);
    expect(dx).toEqual(gradient);
    expect(net.parameters().map((p) => p.grad)).toEqual(loose.parameters().map((p) => p.grad));
  });

  test('without the input gradient the parameters get the same', () => {
    const [a, b] = [build(), build()];
    const dy = { data: normals(3, 15), shape: [5, 3] };
    a.forward(batch(1, 5));
    b.forward(batch(1, 5));
    a.backward(dy);
    expect(b.backward(dy, { inputGradient: false })).toBeUndefined();
    expect(a.parameters().map((p) => p.grad)).toEqual(b.parameters().map((p) => p.grad));
  });

  test('takes batches of any size by turns, tensors and plain arrays', () => {
    const net = build();
    const single = build();
    for (const [i, rows] of [5, 2, 9, 5, 3, 40, 9].entries()) {
      const x = batch(i, rows);
      const y = net.forward(i % 2 ? x : tensor(x.data, x.shape));
      const dy = { data: normals(50 + i, rows * 3), shape: [rows, 3] };
      let expected: { data: Float32Array; shape: readonly number[] } = x;
      for (const layer of single.layers) expected = layer.forward(expected);
      expect(Float32Array.from(y.data)).toEqual(expected.data);
      const dx = net.backward(dy).data;
      let gradient: { data: Float32Array; shape: readonly number[] } = dy;
      for (const layer of [...single.layers].reverse()) gradient = layer.backward(gradient);
      expect(Float32Array.from(dx)).toEqual(gradient.data);
    }
  });

  test('may be fed its own output, and its own gradient', () => {
    const [net, other] = [
      new Sequential(new Linear(3, 3, { seed: 1 }), new Tanh()),
      new Sequential(new Linear(3, 3, { seed: 1 }), new Tanh()),
    ];
    const x = tensor(normals(1, 12), [4, 3]);
    const own = net.forward(net.forward(x));
    const copied = other.forward(tensor(other.forward(x).data.slice(), [4, 3]));
    expect(own.data).toEqual(copied.data);
    const dy = tensor(normals(2, 12), [4, 3]);
    const dx = net.backward(net.backward(dy));
    const expected = other.backward(tensor(other.backward(dy).data.slice(), [4, 3]));
    expect(dx.data).toEqual(expected.data);
    expect(net.parameters().map((p) => p.grad)).toEqual(other.parameters().map((p) => p.grad));
  });

  test('what it returned may be disposed of: the next step is the same as without', () => {
    const run = (tidyUp: boolean) => {
      const net = build();
      const x = tensor(batch(5, 4).data, [4, 6]);
      const seen: number[] = [];
      for (let step = 0; step < 3; step++) {
        const y = net.forward(x);
        const dx = net.backward(tensor(batch(step, 4, 3).data, [4, 3]));
        seen.push(...y.data, ...dx.data);
        if (tidyUp) for (const held of [y, dx]) held.dispose();
      }
      return seen;
    };
    expect(run(true)).toEqual(run(false));
  });

  test('an empty batch passes, first or later', () => {
    const net = build();
    const empty = { data: new Float32Array(0), shape: [0, 6] };
    expect(net.forward(empty).shape).toEqual([0, 3]);
    expect(net.backward({ data: new Float32Array(0), shape: [0, 3] })).toEqual(empty);
    net.forward(batch(1, 4));
    expect(net.forward(empty).shape).toEqual([0, 3]);
  });

  test('train and eval reach every layer', () => {
    const net = build().eval();
    expect(net.layers.every((layer) => !layer.training)).toBe(true);
    net.train();
    expect(net.layers.every((layer) => layer.training)).toBe(true);
  });

  test('networks nest', () => {
    const flat = build();
    const [a, b, c, d, e] = build().layers;
    const nested = new Sequential(new Sequential(a, b), new Sequential(c, new Sequential(d, e)));
    const x = batch(4, 6);
    const dy = { data: normals(1, 18), shape: [6, 3] };
    expect(nested.forward(x)).toEqual(flat.forward(x));
    expect(nested.backward(dy)).toEqual(flat.backward(dy));
    expect(Object.keys(nested.stateDict())).toContain('1.1.1.weight');
    expect(nested.eval().compile()(x)).toEqual(flat.eval().compile()(x));
  });

  test('a network learns what a linear map cannot', () => {
    const net = new Sequential(
      new Linear(2, 16, { seed: 1 }),
      new BatchNorm1d(16),
      new ReLU(),
      new Linear(16, 2, { seed: 2 }),
    );
    const optimizer = new Adam(net.parameters(), { lr: 0.02 });
    const random = new Random(3);
    const x = tensor(
      Float32Array.from({ length: 400 }, () => random.uniform() * 2 - 1),
      [200, 2],
    );
    const labels = Array.from({ length: 200 }, (_, n) => (x.data[2 * n] * x.data[2 * n + 1] > 0 ? 1 : 0));
    let last = Number.POSITIVE_INFINITY;
    for (let step = 0; step < 200; step++) {
      const { loss, grad } = crossEntropy(net.forward(x), labels);
      net.zeroGrad();
      net.backward(grad);
      optimizer.step();
      last = loss;
    }
    expect(last).toBeLessThan(0.15);
    net.dispose();
    x.dispose();
  });
});

describe('compile', () => {
  const trained = (net: Sequential, features: number) => {
    for (let k = 0; k < 5; k++) net.forward(batch(k, 12, features));
    return net.eval();
  };

  test('folds batch norm into the linear layer before it, fuses activations, drops dropout', () => {
    const net = trained(build(), 6);
    const run = net.compile();
    expect(run.steps).toEqual(['linear 6 → 8, tanh', 'linear 8 → 3']);
    const x = batch(9, 7);
    expect(worstDifference(run(x).data, net.forward(x).data)).toBeLessThan(2e-6);
    expect(run(x).shape).toEqual([7, 3]);
    run.dispose();
  });

  test.each([
    [
      'batch norm first',
      () => new Sequential(new BatchNorm1d(6), new Linear(6, 4, { seed: 1 }), new ReLU()),
      ['linear 6 → 4, relu'],
    ],
    [
      'batch norm after the activation',
      () => new Sequential(new Linear(6, 4, { seed: 1 }), new Sigmoid(), new BatchNorm1d(4)),
      ['linear 6 → 4, sigmoid', 'affine 4'],
    ],
    ['two batch norms', () => new Sequential(new BatchNorm1d(6), new BatchNorm1d(6)), ['affine 6']],
    [
      'its own activation',
      () => new Sequential(new Linear(6, 4, { seed: 1, bias: false }), new BatchNorm1d(4, { activation: 'silu' })),
      ['linear 6 → 4, silu'],
    ],
    ['two activations', () => new Sequential(new Tanh(), new ReLU()), ['elementwise, tanh', 'elementwise, relu']],
    ['nothing', () => new Sequential(new Dropout(0.5)), []],
  ] as [string, () => Sequential, string[]][])('%s', (_, make, steps) => {
    const net = trained(make(), 6);
    const run = net.compile();
    expect(run.steps).toEqual(steps);
    for (const rows of [1, 3, 8]) {
      const x = batch(rows, rows);
      expect(worstDifference(run(x).data, net.forward(x).data)).toBeLessThan(3e-6);
      const t = tensor(x.data, x.shape);
      const y = run(t);
      expect(Float32Array.from(y.data)).toEqual(run(x).data);
      t.dispose();
      y.dispose();
    }
  });

  test('a batch norm over channels of rank 4 stays a pass of its own', () => {
    const net = new Sequential(
      new BatchNorm2d(3, { activation: 'relu' }),
      new Linear(5, 2, { seed: 1 }),
      new BatchNorm2d(3),
    );
    const x = { data: normals(1, 2 * 3 * 4 * 5, 1), shape: [2, 3, 4, 5] };
    net.forward(x);
    net.eval();
    const run = net.compile();
    expect(run.steps).toEqual(['affine 3, relu', 'linear 5 → 2', 'affine 3']);
    expect(worstDifference(run(x).data, net.forward(x).data)).toBeLessThan(2e-6);
  });

  test('channels of rank 3 are normalised where the network does it', () => {
    const net = new Sequential(new Linear(4, 3, { seed: 1 }), new BatchNorm1d(3), new Tanh());
    const x = { data: normals(1, 24, 1), shape: [2, 3, 4] };
    net.forward(x);
    net.eval();
    const run = net.compile();
    expect(run.steps).toEqual(['linear 4 → 3, tanh']);
    expect(worstDifference(run(x).data, net.forward(x).data)).toBeLessThan(2e-6);
    const rows = batch(2, 5, 4);
    expect(worstDifference(run(rows).data, net.forward(rows).data)).toBeLessThan(2e-6);
  });

  test('later changes of the network do not reach it', () => {
    const net = trained(build(), 6);
    const run = net.compile();
    const x = batch(9, 4);
    const before = run(x).data;
    net.train().forward(batch(20, 12));
    (net.layers[0] as Linear).weight.data.fill(0);
    expect(run(x).data).toEqual(before);
  });

  test('writes into out', () => {
    const run = trained(build(), 6).compile();
    const x = batch(9, 4);
    const out = { data: new Float32Array(12), shape: [4, 3] };
    expect(run(x, { out })).toBe(out);
    expect(out.data).toEqual(run(x).data);
  });
});
