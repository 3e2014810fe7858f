// Convolutions beyond the reference data: gradients, odd shapes, plain formulas, compiled networks,
// and what bad input gets.

import { describe, expect, test } from 'vitest';
import {
  ActivationLayer,
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  Conv1d,
  Conv2d,
  Conv3d,
  type ConvOptions,
  ConvTranspose1d,
  ConvTranspose2d,
  type ConvTransposeOptions,
  Flatten,
  foldConv,
  GlobalAvgPool,
  Graph,
  type Layer,
  Linear,
  MaxPool2d,
  Random,
  ReLU,
  Residual,
  Sequential,
  SGD,
  type Tensor,
  tensor,
  zeros,
} from '../../src/index.ts';
import { load } from '../../src/infer/load.ts';
import { convolutions } from '../../src/infer/operations.ts';
import { NAMES } from '../../src/kernels/activations.ts';
import { backend } from '../../src/kernels/backend.ts';
import { clampOf } from '../../src/kernels/conv/calls.ts';
import { centralDifferences, dot, expectClose } from '../support/gradients.ts';

const random = new Random(23);
const count = (shape: readonly number[]) => shape.reduce((product, length) => product * length, 1);
const plain = (...shape: number[]) => ({
  data: Float32Array.from({ length: count(shape) }, () => random.normal()),
  shape,
});

type Pads = [number, number][];

/** What a layer should give: its formula, term by term, in f64, on channels first. */
function reference(
  {
    shape,
    transposed,
    groups,
    stride,
    dilation,
    pads,
    extra,
  }: {
    shape: readonly number[];
    transposed: boolean;
    groups: number;
    stride: readonly number[];
    dilation: readonly number[];
    pads: Pads;
    extra: readonly number[];
  },
  weight: ArrayLike<number>,
  bias: ArrayLike<number> | null,
  x: ArrayLike<number>,
  xShape: readonly number[],
): { data: Float64Array; shape: number[] } {
  const kernel = shape.slice(2);
  const [N, C, ...lengths] = xShape;
  const O = transposed ? shape[1] * groups : shape[0];
  const outLengths = lengths.map((n, a) => {
    const extent = dilation[a] * (kernel[a] - 1) + 1;
    const [before, after] = pads[a];
    return transposed
      ? (n - 1) * stride[a] - before - after + extent + extra[a]
      : Math.floor((n + before + after - extent) / stride[a]) + 1;
  });
  const [places, outPlaces, taps] = [lengths, outLengths, kernel].map(count);
  const at = (index: number, of: readonly number[]) => {
    const result = new Array<number>(of.length);
    for (let a = of.length - 1; a >= 0; a--) {
      result[a] = index % of[a];
      index = Math.floor(index / of[a]);
    }
    return result;
  };
  const y = new Float64Array(N * O * outPlaces);
  for (let i = 0; i < y.length; i++) y[i] = bias ? bias[Math.floor(i / outPlaces) % O] : 0;
  const [walked, met] = transposed ? [lengths, outLengths] : [outLengths, lengths];
  for (let p = 0; p < count(walked); p++) {
    for (let k = 0; k < taps; k++) {
      const [here, tap] = [at(p, walked), at(k, kernel)];
      const there = here.map((i, a) => i * stride[a] + tap[a] * dilation[a] - pads[a][0]);
      if (there.some((i, a) => i < 0 || i >= met[a])) continue;
      const q = there.reduce((sum, i, a) => sum * met[a] + i, 0);
      const [from, to] = transposed ? [p, q] : [q, p];
      for (let n = 0; n < N; n++) {
        for (let o = 0; o < O; o++) {
          const group = Math.floor(o / (O / groups));
          for (let j = 0; j < C / groups; j++) {
            const c = group * (C / groups) + j;
            const w = transposed ? c * shape[1] + (o % (O / groups)) : o * shape[1] + j;
            y[(n * O + o) * outPlaces + to] += weight[w * taps + k] * x[(n * C + c) * places + from];
          }
        }
      }
    }
  }
  return { data: y, shape: [N, O, ...outLengths] };
}

/** Channels first to last, and back. */
function turned(data: ArrayLike<number>, [, c, ...lengths]: readonly number[], back = false): Float64Array {
  const places = count(lengths);
  return Float64Array.from({ length: data.length }, (_, i) => {
    if (back) return data[(Math.floor(i / (c * places)) * places + (i % places)) * c + (Math.floor(i / places) % c)];
    return data[(Math.floor(i / (c * places)) * c + (i % c)) * places + (Math.floor(i / c) % places)];
  });
}

const KINDS = { Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d };
type Drawn = {
  kind: keyof typeof KINDS;
  input: number[];
  out: number;
  kernel: number[];
  options: ConvOptions & ConvTransposeOptions;
  pads: Pads;
  extra: number[];
};

/** Layers drawn at random: every option, channels around the panels and lanes of kernels. */
function draw(): Drawn {
  const whole = (least: number, most: number) => least + Math.floor(random.uniform() * (most - least + 1));
  const pick = <T>(...values: T[]) => values[whole(0, values.length - 1)];
  const kind = pick<Drawn['kind']>('Conv1d', 'Conv2d', 'Conv2d', 'Conv3d', 'ConvTranspose1d', 'ConvTranspose2d');
  const axes = Number(kind.at(-2));
  const transposed = kind.startsWith('ConvT');
  const list = (make: (a: number) => number) => Array.from({ length: axes }, (_, a) => make(a));
  const depthwise = random.uniform() < 0.3;
  const groups = depthwise ? whole(2, 9) : pick(1, 1, 2, 3);
  const inChannels = depthwise ? groups : groups * pick(1, 2, 3, 4, 5, 9);
  const out = groups * pick(1, 2, 3, 4, 8, 9);
  const kernel = list(() => pick(1, 2, 3, 4));
  const stride = list(() => pick(1, 1, 2, 3));
  const dilation = list(() => pick(1, 1, 2));
  const lengths = list((a) => dilation[a] * (kernel[a] - 1) + 1 + whole(0, 5));
  const most = (a: number) => dilation[a] * (kernel[a] - 1);
  const pads = list(() => 0).map((_, a): [number, number] => {
    const before = transposed ? whole(0, most(a) >> 1) : whole(0, 3);
    return [before, transposed ? before : whole(0, 3)];
  });
  const extra = list((a) => (transposed ? whole(0, Math.max(stride[a], dilation[a]) - 1) : 0));
  const padding = transposed ? pads.map(([both]) => both) : pads;
  const layout = pick('channels-first', 'channels-last') as 'channels-first' | 'channels-last';
  const options = { stride, dilation, groups, layout, bias: random.uniform() < 0.7, seed: random.bits() };
  return {
    kind,
    input: [whole(1, 3), inChannels, ...lengths],
    out,
    kernel,
    options: { ...options, padding: padding as number[], ...(transposed && { outputPadding: extra }) },
    pads,
    extra,
  };
}

describe('layers drawn at random', () => {
  test.each(Array.from({ length: 120 }, (_, i) => [i, draw()] as const))('%i: %o', (_, drawn) => {
    const { kind, input, out, kernel, options, pads, extra } = drawn;
    const Kind = KINDS[kind] as typeof Conv2d;
    const layer = new Kind(input[1], out, kernel, options as ConvOptions);
    const last = options.layout === 'channels-last';
    const x = plain(...input);
    const { weight, bias } = layer;
    const geometry = {
      shape: weight.shape,
      transposed: kind.startsWith('ConvT'),
      groups: options.groups!,
      stride: options.stride as number[],
      dilation: options.dilation as number[],
      pads,
      extra,
    };
    const formula = (w: ArrayLike<number>, b: ArrayLike<number> | null, v: ArrayLike<number>) =>
      reference(geometry, w, b, v, input);
    const truth = formula(weight.data, bias?.data ?? null, x.data);
    const shaped = (shape: number[]) => (last ? [shape[0], ...shape.slice(2), shape[1]] : shape);
    const given = (data: ArrayLike<number>, shape: number[]) => ({
      data: Float32Array.from(last ? turned(data, shape) : data),
      shape: shaped(shape),
    });
    const own = (data: ArrayLike<number>, shape: number[]) => (last ? turned(data, shape, true) : data);
    const y = layer.forward(given(x.data, input) as never) as { data: Float32Array; shape: number[] };
    expect(y.shape).toEqual(shaped(truth.shape));
    expectClose(own(y.data, truth.shape), truth.data, 1e-5);
    const dy = plain(...truth.shape);
    const dx = layer.backward(given(dy.data, truth.shape) as never) as { data: Float32Array; shape: number[] };
    const b = bias?.data ?? null;
    const loss = (w: ArrayLike<number>, c: ArrayLike<number> | null, v: ArrayLike<number>) =>
      dot(formula(w, c, v).data, dy.data);
    // the formula is linear in each: differences of any width are exact
    if (x.data.length < 400) {
      const gradient = centralDifferences(x.data, (v) => loss(weight.data, b, v), 1);
      expectClose(own(dx.data, input), gradient, 2e-5);
    }
    if (weight.data.length < 400) {
      expectClose(
        weight.grad,
        centralDifferences(weight.data, (w) => loss(w, b, x.data), 1),
        2e-5,
      );
    }
    if (b)
      expectClose(
        bias!.grad,
        centralDifferences(b, (c) => loss(weight.data, c, x.data), 1),
        2e-5,
      );
    // the same on tensors, bit for bit, and again onto what is there
    const t = tensor(given(x.data, input).data, shaped(input));
    const d = tensor(given(dy.data, truth.shape).data, shaped(truth.shape));
    const grads = layer.parameters().map(({ grad }) => grad.slice());
    const back = zeros(shaped(input));
    layer.zeroGrad();
    const again = layer.forward(t as never) as Tensor;
    expect(Float32Array.from(again.data)).toEqual(y.data);
    layer.backward(d as never, { out: back });
    expect(Float32Array.from(back.data)).toEqual(dx.data);
    expect(layer.parameters().map(({ grad }) => grad)).toEqual(grads);
    layer.backwardParameters(d);
    layer.parameters().forEach(({ grad }, i) => {
      expect(Array.from(grad)).toEqual(Array.from(grads[i], (value) => Math.fround(2 * value)));
    });
    for (const one of [t, d, back, again]) one.dispose();
    layer.dispose();
  });
});

test('the numbers of the activations that products apply themselves', () => {
  const clamped = NAMES.filter((_, kind) => clampOf({ kind, alpha: 0 }) !== undefined);
  expect(clamped).toEqual(['none', 'relu', 'relu6']);
});

test("'same' makes ceil(input / stride) outputs, the odd cell last, at any stride", () => {
  for (const stride of [1, 2, 3]) {
    for (const kernel of [1, 2, 3, 5]) {
      for (const length of [1, 2, 5, 6, 7]) {
        const layer = new Conv1d(2, 3, kernel, { stride, padding: 'same', seed: 1 });
        const total = Math.max((Math.ceil(length / stride) - 1) * stride + kernel - length, 0);
        const pads: [number, number][] = [[Math.floor(total / 2), Math.ceil(total / 2)]];
        const explicit = new Conv1d(2, 3, kernel, { stride, padding: pads, seed: 1 });
        const x = plain(2, 2, length);
        const y = layer.forward(x);
        expect(y.shape).toEqual([2, 3, Math.ceil(length / stride)]);
        expect(y).toEqual(explicit.forward(x));
      }
    }
  }
});

test('lengths that are not known stay so', () => {
  const layer = new Conv2d(3, 4, 3, { stride: 2, padding: 1 });
  expect(layer.outputShape([Number.NaN, 3, Number.NaN, 9])).toEqual([Number.NaN, 4, Number.NaN, 5]);
  const same = new Conv2d(3, 4, 3, { stride: 2, padding: 'same', layout: 'channels-last' });
  expect(same.outputShape([2, Number.NaN, 7, 3])).toEqual([2, Number.NaN, 4, 4]);
  const up = new ConvTranspose2d(3, 4, 2, { stride: 2 });
  expect(up.outputShape([Number.NaN, 3, 4, Number.NaN])).toEqual([Number.NaN, 4, 8, Number.NaN]);
});

test('values begin as PyTorch’s: uniform within 1/√fanIn, in a shape that knows no layout', () => {
  const layer = new Conv2d(8, 16, [3, 5], { groups: 2, seed: 5, layout: 'channels-last' });
  expect(layer.weight.shape).toEqual([16, 4, 3, 5]);
  const bound = 1 / Math.sqrt(4 * 15);
  const most = layer.weight.data.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  expect(most).toBeLessThanOrEqual(Math.fround(bound));
  expect(most).toBeGreaterThan(bound * 0.98);
  expect(layer.bias!.data.every((value) => Math.abs(value) <= bound && value !== 0)).toBe(true);
  const up = new ConvTranspose2d(8, 16, 2, { seed: 5 });
  expect(up.weight.shape).toEqual([8, 16, 2, 2]);
  expect(up.weight.data.every((value) => Math.abs(value) <= 1 / Math.sqrt(64))).toBe(true);
  expect(Object.keys(layer.stateDict())).toEqual(['weight', 'bias']);
  expect(Object.keys(new Conv1d(1, 1, 1, { bias: false }).stateDict())).toEqual(['weight']);
  const filled = new Conv1d(2, 4, 3, { init: (values, fanIn, fanOut) => values.fill(fanIn * 100 + fanOut) });
  expect(filled.weight.data[0]).toBe(612);
  expect(filled.bias!.data).toEqual(new Float32Array(4));
});

test('an empty batch goes through, forward and back', () => {
  const layer = new Conv2d(3, 4, 3, { padding: 1 });
  const y = layer.forward({ data: new Float32Array(0), shape: [0, 3, 5, 5] });
  expect(y.shape).toEqual([0, 4, 5, 5]);
  expect(layer.backward({ data: new Float32Array(0), shape: [0, 4, 5, 5] }).shape).toEqual([0, 3, 5, 5]);
  expect(layer.weight.grad.every((value) => value === 0)).toBe(true);
});

test('a network of convolutions learns, and takes no more memory as it goes on', () => {
  const build = (seed: number) =>
    new Sequential(
      new Conv2d(1, 4, 3, { padding: 1, bias: false, seed }),
      new BatchNorm2d(4, { activation: 'relu' }),
      new Conv2d(4, 4, 3, { stride: 2, groups: 2, seed: seed + 1 }),
      new ReLU(),
      new Conv2d(4, 2, 1, { seed: seed + 2 }),
    );
  const net = build(1);
  const optimizer = new SGD(net.parameters(), { lr: 0.02 });
  const x = tensor(plain(4, 1, 7, 7).data, [4, 1, 7, 7]);
  // what another network of the same form gives
  const target = build(7).forward({ data: x.data.slice(), shape: [4, 1, 7, 7] }).data;
  const losses: number[] = [];
  let blocks = 0;
  for (let step = 0; step < 60; step++) {
    const y = net.forward(x);
    const dy = { data: y.data.map((value, i) => value - target[i]), shape: [4, 2, 3, 3] };
    losses.push(dy.data.reduce((sum, value) => sum + value * value, 0));
    net.zeroGrad();
    const d = tensor(dy.data, dy.shape);
    net.backward(d).dispose();
    optimizer.step();
    for (const one of [y, d]) one.dispose();
    if (step === 5) blocks = backend().heap.blocks;
  }
  expect(backend().heap.blocks).toBe(blocks);
  expect(losses.at(-1)!).toBeLessThan(losses[0] * 0.7);
  x.dispose();
  net.dispose();
});

/** A network with statistics, gammas and betas of its own, in evaluation. */
function evaluated(...layers: Layer[]): Sequential {
  const net = new Sequential(...layers);
  const state = net.stateDict();
  for (const [name, { data }] of Object.entries(state)) {
    const draw = /gamma|runningVar/.test(name) ? () => 0.3 + random.uniform() * 2 : () => random.normal();
    if (/gamma|beta|running/.test(name)) data.set(Array.from(data, draw));
  }
  net.loadStateDict(state);
  return net.eval();
}

const conv = (inChannels: number, outChannels: number, kernel: number, options: ConvOptions = {}) =>
  new Conv2d(inChannels, outChannels, kernel, { seed: random.bits(), ...options });
const act = (name: 'relu6' | 'silu' | 'tanh') => new ActivationLayer(name);
const LAST = { layout: 'channels-last' } as const;

const NETWORKS: Record<string, { net: () => Sequential; input: number[]; steps: string[] }> = {
  'norms behind, activations': {
    net: () =>
      evaluated(conv(3, 9, 3, { padding: 1, bias: false }), new BatchNorm2d(9), new ReLU(), conv(9, 4, 1), act('silu')),
    input: [2, 3, 6, 5],
    steps: ['channels last', 'conv 3×3 3 → 9, relu', 'conv 1×1 9 → 4, silu', 'channels first'],
  },
  'the same with channels last': {
    net: () =>
      evaluated(
        conv(3, 9, 3, { padding: 1, ...LAST }),
        new BatchNorm2d(9, LAST),
        act('relu6'),
        conv(9, 4, 2, { stride: 2, ...LAST }),
        new BatchNorm2d(4, LAST),
      ),
    input: [2, 6, 5, 3],
    steps: ['conv 3×3 3 → 9, relu6', 'conv 2×2 / 2×2 9 → 4'],
  },
  'a residual around two, and depthwise ones': {
    net: () =>
      evaluated(
        new Residual(
          conv(4, 8, 1),
          new BatchNorm2d(8),
          act('relu6'),
          conv(8, 8, 3, { padding: 'same', groups: 8 }),
          new BatchNorm2d(8),
          act('relu6'),
          conv(8, 4, 1),
          new BatchNorm2d(4),
        ),
        new ReLU(),
        conv(4, 12, 5, { groups: 4, padding: 2 }),
      ),
    input: [3, 4, 5, 6],
    steps: [
      'channels last',
      'conv 1×1 4 → 8, relu6',
      'depthwise conv 3×3 8 → 8, relu6',
      'conv 1×1 8 → 4 + residual, relu',
      'depthwise conv 5×5 4 → 12',
      'channels first',
    ],
  },
  'a residual with channels last and a curved activation': {
    net: () => evaluated(new Residual(conv(5, 5, 3, { padding: 1, ...LAST })), act('tanh')),
    input: [2, 4, 6, 5],
    steps: ['conv 3×3 5 → 5 + residual, tanh'],
  },
  'a norm before a convolution without padding': {
    net: () => evaluated(new BatchNorm2d(3), conv(3, 4, 3, { groups: 1 })),
    input: [2, 3, 5, 5],
    steps: ['conv 3×3 3 → 4'],
  },
  'a norm before one that pads, which stays': {
    net: () => evaluated(new BatchNorm2d(3), conv(3, 4, 3, { padding: 'same' })),
    input: [2, 3, 5, 5],
    steps: ['affine 3', 'conv 3×3 3 → 4'],
  },
  'transposed, with a norm and a residual': {
    net: () =>
      evaluated(
        new ConvTranspose2d(4, 6, 3, { stride: 2, padding: 1, outputPadding: 1, groups: 2, seed: 4 }),
        new BatchNorm2d(6),
        new ReLU(),
        new Residual(new ConvTranspose2d(6, 6, 3, { padding: 1, groups: 6, seed: 5 }), new BatchNorm2d(6)),
      ),
    input: [2, 4, 3, 5],
    steps: [
      'channels last',
      'conv transposed 3×3 / 2×2 4 → 6, 2 groups, relu',
      'depthwise conv transposed 3×3 6 → 6 + residual',
      'channels first',
    ],
  },
  'transposed, of channels that are summed up': {
    net: () =>
      evaluated(
        new Residual(
          new Conv2d(2, 8, 3, { groups: 2, padding: 1, seed: 6 }),
          new ConvTranspose2d(8, 2, 3, { groups: 2, padding: 1, seed: 7 }),
          new BatchNorm2d(2),
        ),
        new ReLU(),
      ),
    input: [2, 2, 4, 5],
    steps: [
      'channels last',
      'depthwise conv 3×3 2 → 8',
      'depthwise conv transposed 3×3 8 → 2 + residual, relu',
      'channels first',
    ],
  },
  'of one axis': {
    net: () => evaluated(new Conv1d(3, 5, 3, { stride: 2, seed: 8 }), new BatchNorm1d(5), new ReLU()),
    input: [2, 3, 9],
    steps: ['conv 3 / 2 3 → 5, relu'],
  },
  'of three axes': {
    net: () =>
      evaluated(new Conv3d(2, 3, [1, 2, 3], { padding: [0, 1, 1], seed: 9, ...LAST }), new BatchNorm3d(3, LAST)),
    input: [2, 3, 4, 5, 2],
    steps: ['conv 1×2×3 2 → 3'],
  },
};

describe.each(Object.entries(NETWORKS))('compiled: %s', (_, { net: make, input, steps }) => {
  const net = make();
  const x = plain(...input);
  const truth = net.forward(x);

  test('takes as few steps as it can, within its certificate', () => {
    const run = net.compile({ samples: x });
    expect(run.steps).toEqual(steps);
    const y = run(x);
    expect(y.shape).toEqual(truth.shape);
    const { bound, measured } = run.certificate!;
    expectClose(y.data, Float64Array.from(truth.data), 1e-5);
    measured.forEach((error, c) => {
      expect(error).toBeLessThanOrEqual(bound[c]);
      expect(bound[c]).toBeLessThan(1e-3);
    });
    run.dispose();
  });

  test('is the same on tensors, in other batches, into out, again, and from its file', () => {
    const { heap } = backend();
    const before = heap.blocks;
    const run = net.compile({ maxBatch: input[0], inputShape: input.slice(1) });
    const want = run(x).data;
    const t = tensor(x.data, input);
    const out = zeros(truth.shape);
    for (let k = 0; k < 3; k++) {
      out.data.fill(9);
      run(t, { out });
      expect(Float32Array.from(out.data)).toEqual(want);
    }
    const one = { data: x.data.slice(0, x.data.length / input[0]), shape: [1, ...input.slice(1)] };
    expect(run(one).data).toEqual(want.slice(0, want.length / input[0]));
    expect(run(x).data).toEqual(want);
    expect(run.operations).toEqual(['convolutions']);
    const file = run.save();
    expect(() => load(file)).toThrow('convolutions');
    const loaded = load(file, { operations: [convolutions] });
    expect(loaded.steps).toEqual(steps);
    expect(loaded(x).data).toEqual(want);
    for (const made of [loaded, run, t, out]) made.dispose();
    expect(heap.blocks).toBe(before);
  });
});

test('explain() says why a norm stays before zeros, and what a convolution costs', () => {
  const run = evaluated(new BatchNorm2d(3), conv(3, 4, 3, { padding: 1 })).compile();
  const lines = run.explain(4).split('\n');
  expect(lines[2]).toMatch(/conv 3×3 3 → 4 +1 Conv2d\(3, 4\) +448 +108 per pixel/);
  expect(lines.at(-1)).toBe(
    'stays: 0 BatchNorm2d(3): nothing before it; a shift before a convolution that pads with zeros',
  );
  run.dispose();
  const up = evaluated(new BatchNorm2d(3), new ConvTranspose2d(3, 4, 3)).compile();
  expect(up.explain(4).split('\n').at(-1)).toBe(
    'stays: 0 BatchNorm2d(3): nothing before it; a shift before a transposed convolution, whose outputs do not all see as many inputs',
  );
  up.dispose();
});

test('a norm without a shift folds before zeros', () => {
  const norm = new BatchNorm2d(3, { affine: 'gamma' });
  norm.gamma!.data.set([0.5, 2, -1]);
  const net = new Sequential(norm, conv(3, 4, 3, { padding: 1 })).eval();
  const x = plain(2, 3, 5, 4);
  using run = net.compile();
  expect(run.steps).toEqual(['conv 3×3 3 → 4']);
  expectClose(run(x).data, Float64Array.from(net.forward(x).data), 1e-5);
});

test('graphs with several users of one convolution compile', () => {
  const net = new Graph({ x: [3, 6, 6] }, (g, { x }) => {
    const a = g.apply('a', conv(3, 8, 3, { padding: 1 }), x);
    const b = g.apply('b', conv(8, 8, 1), a);
    return g.add(a, b);
  }).eval();
  const x = plain(2, 3, 6, 6);
  using run = net.compile();
  expect(run.steps).toEqual(['channels last', 'conv 3×3 3 → 8', 'conv 1×1 8 → 8 + residual', 'channels first']);
  expectClose(
    (run(x) as { data: Float32Array }).data,
    Float64Array.from((net.forward(x) as { data: Float32Array }).data),
    1e-5,
  );
});

test('foldConv takes layers, behind and before a norm', () => {
  const layers = [
    conv(3, 4, 3, {
      padding: [
        [1, 2],
        [0, 1],
      ],
      groups: 1,
    }),
    conv(4, 4, 3, { stride: 2, padding: 'same', groups: 4 }),
    new ConvTranspose2d(4, 6, 3, { stride: 2, outputPadding: 1, groups: 2, bias: false }),
  ];
  for (const layer of layers) {
    const net = evaluated(layer as Layer, new BatchNorm2d(layer.outChannels));
    const norm = net.layers[1] as BatchNorm2d;
    const x = plain(2, layer.inChannels, 6, 5);
    const folded = foldConv(layer, norm, { samples: x });
    expect(folded.shape).toEqual(layer.weight.shape);
    folded.certificate.measured!.forEach((error, o) => {
      expect(error).toBeLessThanOrEqual(folded.certificate.sampleBound![o]);
    });
    const want = Float64Array.from(net.forward(x).data);
    const plainLayer = Object.assign(layer, {});
    plainLayer.weight.data.set(folded.weight);
    if (plainLayer.bias) plainLayer.bias.data.set(folded.bias);
    const y = plainLayer.forward(x as never) as { data: Float32Array; shape: number[] };
    const inner = y.shape[2] * y.shape[3];
    const shifted = plainLayer.bias
      ? y.data
      : y.data.map((v, i) => v + folded.bias[Math.floor(i / inner) % folded.bias.length]);
    expectClose(shifted, want, 1e-5);
  }
  const norm = evaluated(new BatchNorm2d(3)).layers[0] as BatchNorm2d;
  expect(foldConv(norm, conv(3, 4, 3)).weight.length).toBe(108);
  expect(() =>
    foldConv(
      norm,
      conv(3, 4, 3, {
        padding: [
          [0, 1],
          [0, 0],
        ],
      }),
    ),
  ).toThrow('a norm before zero padding');
});

test('more memory than there is: an error, and nothing changed', () => {
  const layer = new Conv2d(1, 1024, 1);
  const { heap } = backend();
  const before = [heap.blocks, layer.weight.grad.slice()];
  expect(() => layer.outputShape([64, 1, 512, 512])).toThrow(
    'Conv2d(1, 1024): the output.shape expected at most 1073741824 values (4 GiB), got 17179869184 (shape [64, 1024, 512, 512]; use smaller batches)',
  );
  const x = plain(1, 1, 2, 2);
  const y = layer.forward(x);
  const large = { data: new Float32Array(64 * 512 * 512), shape: [64, 1, 512, 512] };
  expect(() => layer.forward(large)).toThrow(expect.objectContaining({ code: 'ERR_MEMORY' }));
  expect([heap.blocks, layer.weight.grad]).toEqual([(before[0] as number) + 1, before[1]]);
  expect(layer.backward(y).shape).toEqual(x.shape);
  expect(() => new Conv3d(2 ** 20, 2 ** 20, 9)).toThrow(expect.objectContaining({ code: 'ERR_MEMORY' }));
});

// biome-ignore lint/suspicious/noExplicitAny: whatever TypeScript would refuse
const any = (value: unknown): any => value;

test.each<[work: () => unknown, code: string, message: string]>([
  [
    () => new Conv2d(6, 4, 3, { groups: 4 }),
    'ERR_OPTION',
    'Conv2d(6, 4): groups expected an integer of 1 or more that divides the channels, got 4 (6 in, 4 out)',
  ],
  [() => new Conv2d(0, 4, 3), 'ERR_OPTION', 'Conv2d: inChannels expected an integer from 1 to 16777216, got 0'],
  [
    () => new Conv2d(3, 4, [3, 3, 3]),
    'ERR_OPTION',
    'Conv2d(3, 4): kernelSize expected an integer of 1 or more, or 2 of them, got [3, 3, 3]',
  ],
  [
    () => new Conv2d(3, 4, 3, { stride: 0 }),
    'ERR_OPTION',
    'Conv2d(3, 4): stride expected an integer of 1 or more, or 2 of them, got 0',
  ],
  [
    () => new Conv2d(3, 4, 3, { dilation: [1, 0] }),
    'ERR_OPTION',
    'Conv2d(3, 4): dilation expected an integer of 1 or more, or 2 of them, got [1, 0]',
  ],
  [
    () => new Conv1d(3, 4, 3, { padding: -1 }),
    'ERR_OPTION',
    'Conv1d(3, 4): padding expected an integer of 0 or more, got -1',
  ],
  [
    () =>
      new Conv2d(3, 4, 3, {
        padding: [
          [1, -2],
          [0, 1],
        ],
      }),
    'ERR_OPTION',
    'Conv2d(3, 4): padding expected an integer of 0 or more, or 2 of them, got [1, -2]',
  ],
  [
    () => new Conv2d(3, 4, 3, { padding: [[1, 2]] }),
    'ERR_OPTION',
    "Conv2d(3, 4): padding expected 'same', 'valid', an integer of 0 or more, 2 of them, or 2 pairs [before, after], got [[1, 2]]",
  ],
  [
    () => new Conv2d(3, 4, 3, { padding: any('full') }),
    'ERR_OPTION',
    "Conv2d(3, 4): padding expected 'same', 'valid', an integer of 0 or more, 2 of them, or 2 pairs [before, after], got 'full'",
  ],
  [
    () => new ConvTranspose2d(3, 4, 3, { padding: any('same') }),
    'ERR_OPTION',
    "ConvTranspose2d(3, 4): padding expected an integer of 0 or more, or 2 of them, got 'same'",
  ],
  [
    () => new ConvTranspose2d(3, 4, 3, { stride: 2, outputPadding: 2 }),
    'ERR_OPTION',
    'ConvTranspose2d(3, 4): outputPadding expected less than stride or dilation, got 2 (axis 0 of 2)',
  ],
  [
    () => new Conv2d(3, 4, 3, any({ outputPadding: 1 })),
    'ERR_OPTION',
    "Conv2d(3, 4): options expected 'stride', 'padding', 'dilation', 'groups', 'bias', 'layout', 'init' or 'seed', got 'outputPadding'",
  ],
  [
    () => new Conv2d(3, 4, 3, { layout: any('nchw') }),
    'ERR_OPTION',
    "Conv2d(3, 4): layout expected 'channels-first' or 'channels-last', got 'nchw'",
  ],
  [() => new Conv2d(3, 4, 3, { bias: any(1) }), 'ERR_OPTION', 'Conv2d(3, 4): bias expected true or false, got 1'],
  [
    () => new Conv2d(3, 4, 3, { init: any('he') }),
    'ERR_OPTION',
    "Conv2d(3, 4): init expected an initializer, got 'he'",
  ],
  [
    () => new Conv2d(3, 4, 3).forward(any(plain(2, 3, 9))),
    'ERR_SHAPE',
    'Conv2d(3, 4): x expected rank 4, got rank 3 (shape [2, 3, 9])',
  ],
  [
    () => new Conv2d(3, 4, 3).forward(plain(2, 9, 9, 3)),
    'ERR_SHAPE',
    'Conv2d(3, 4): x expected 3 channels on axis 1, got 9 (shape [2, 9, 9, 3], channels-first)',
  ],
  [
    () => new Conv2d(3, 4, 3, LAST).forward(plain(2, 3, 9, 9)),
    'ERR_SHAPE',
    'Conv2d(3, 4): x expected 3 channels on axis 3, got 9 (shape [2, 3, 9, 9], channels-last)',
  ],
  [
    () => new Conv2d(3, 4, 5, { padding: [1, 0] }).forward(plain(2, 3, 2, 9)),
    'ERR_SHAPE',
    'Conv2d(3, 4): x expected 5 values or more on axis 2, as the kernel spans, got 2 and 2 of padding (shape [2, 3, 2, 9])',
  ],
  [
    () => new Conv2d(3, 4, 3, { dilation: 2, ...LAST }).forward(plain(2, 9, 4, 3)),
    'ERR_SHAPE',
    'Conv2d(3, 4): x expected 5 values or more on axis 2, as the kernel spans, got 4 (shape [2, 9, 4, 3])',
  ],
  [
    () => new Conv1d(3, 4, 3, { padding: 'same' }).forward(any(plain(2, 3, 0))),
    'ERR_SHAPE',
    'Conv1d(3, 4): x expected 1 value or more on axis 2, got 0 (shape [2, 3, 0])',
  ],
  [
    () => new ConvTranspose1d(3, 4, 2, { padding: 1 }).forward(plain(2, 3, 1)),
    'ERR_SHAPE',
    'ConvTranspose1d(3, 4): the output expected 1 value or more on axis 2, got 0 (shape [2, 3, 1])',
  ],
  [
    () => new Conv2d(3, 4, 3).backward(plain(2, 4, 3, 3)),
    'ERR_MODE',
    'Conv2d(3, 4): backward expected a forward before it, got none',
  ],
])('bad input, %#', (work, code, message) => {
  const { heap } = backend();
  const before = heap.blocks;
  let error: unknown;
  try {
    work();
  } catch (caught) {
    error = caught;
  }
  expect(error).toMatchObject({ code, message });
  expect(heap.blocks).toBe(before);
});

test('convolutions are all that a file of a small classifier needs', () => {
  const net = new Sequential(
    conv(1, 8, 3, { padding: 1 }),
    new BatchNorm2d(8),
    new ReLU(),
    new MaxPool2d(2),
    conv(8, 12, 3),
    new BatchNorm2d(12),
    new ReLU(),
    new GlobalAvgPool(),
    new Flatten(),
    new Linear(12, 5, { seed: 2 }),
    new BatchNorm1d(5),
  );
  const x = plain(4, 1, 12, 11);
  net.forward(x);
  net.eval();
  using run = net.compile();
  expect(run.operations).toEqual(['convolutions']);
  expect(run.steps).toEqual([
    'channels last',
    'conv 3×3 1 → 8, relu',
    'max pool 2×2',
    'conv 3×3 8 → 12, relu',
    'global average pool',
    'channels first',
    'flatten',
    'linear 12 → 5',
  ]);
  const y = run(x).data;
  expectClose(y, Float64Array.from(net.forward(x).data), 1e-5);
  using loaded = load(run.save(), { operations: [convolutions] });
  expect(loaded(x).data).toEqual(y);
});
