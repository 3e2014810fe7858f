// Pooling, changes of shape and activations compiled: the layers' bits, certificates, files.

import { describe, expect, test } from 'vitest';
import {
  AdaptiveAvgPool2d,
  AdaptiveMaxPool2d,
  AvgPool2d,
  AvgPool3d,
  BatchNorm2d,
  Conv2d,
  ConvTranspose2d,
  Flatten,
  GlobalAvgPool,
  Graph,
  HardSigmoid,
  HardTanh,
  type Layer,
  Linear,
  MaxPool1d,
  MaxPool2d,
  Pad,
  PReLU,
  ReLU6,
  Reshape,
  SELU,
  Sequential,
  Softsign,
  tensor,
  Upsample,
} from '../../src/index.ts';
import { checksumOf } from '../../src/infer/file.ts';
import { load } from '../../src/infer/load.ts';
import { activations, convolutions, pooling, reshaping } from '../../src/infer/operations.ts';
import { normals } from '../support/data.ts';
import { errorOf } from '../support/errors.ts';

const groups = { activations, convolutions, pooling, reshaping };

/** A norm with statistics of its own. */
function norm(channels: number): BatchNorm2d {
  const bn = new BatchNorm2d(channels);
  bn.runningMean!.set(normals(5, channels));
  bn.runningVar!.set(normals(6, channels).map((value) => 0.5 + value * value));
  bn.gamma!.data.set(normals(7, channels));
  return bn;
}

const NETS: Record<string, { net: () => Layer[]; input: number[]; steps: string[]; operations: string[] }> = {
  'max pools and an average': {
    net: () => [new MaxPool2d(3, { stride: 2, padding: 1 }), new AvgPool2d(2, { padding: 1, ceilMode: true })],
    input: [2, 3, 9, 11],
    steps: ['max pool 3×3', 'average pool 2×2'],
    operations: ['pooling'],
  },
  'pools of as many windows as strides need': {
    net: () => [
      new MaxPool2d(3, { stride: 2, padding: 'same' }),
      new AvgPool2d([2, 4], { stride: 1, padding: 'same' }),
    ],
    input: [2, 3, 8, 11],
    steps: ['max pool 3×3', 'average pool 2×4'],
    operations: ['pooling'],
  },
  'a norm, ReLU6 in its pass, a global average, flatten, a classifier': {
    net: () => [norm(3), new ReLU6(), new GlobalAvgPool(), new Flatten(), new Linear(3, 4, { seed: 1 })],
    input: [2, 3, 5, 5],
    steps: ['affine 3, relu6', 'global average pool', 'flatten', 'linear 3 → 4'],
    operations: ['pooling', 'reshaping'],
  },
  'adaptive pools with channels last': {
    net: () => [
      new AdaptiveMaxPool2d([5, null], { layout: 'channels-last' }),
      new AdaptiveAvgPool2d(2, { layout: 'channels-last' }),
    ],
    input: [2, 7, 6, 5],
    steps: ['max pool to 5×any', 'average pool to 2×2'],
    operations: ['pooling'],
  },
  'three axes': {
    net: () =>
      [new AvgPool3d(2, { countIncludePad: false, padding: 1 }), new Reshape([2, -1]), new MaxPool1d(3)].slice(0, 2),
    input: [3, 2, 4, 5, 6],
    steps: ['average pool 2×2×2', 'reshape to 2×-1'],
    operations: ['pooling', 'reshaping'],
  },
  'paddings and upsamplings': {
    net: () => [
      new Pad(
        [
          [1, 2],
          [0, 3],
        ],
        { value: -Infinity },
      ),
      new MaxPool2d(2),
      new Pad(1, { mode: 'reflect' }),
      new Upsample({ scale: 2 }),
      new Pad([0, 2], { mode: 'replicate' }),
      new Upsample({ scale: [1.5, 2], mode: 'bilinear' }),
    ],
    input: [2, 3, 6, 5],
    steps: [
      'pad 1+2×0+3, constant',
      'max pool 2×2',
      'pad 1, reflect',
      'upsample ×2, nearest',
      'pad 0+0×2+2, replicate',
      'upsample ×1.5×2, bilinear',
    ],
    operations: ['pooling', 'reshaping'],
  },
  'zeros around the input of a convolution are its padding': {
    net: () => [
      new Pad([
        [0, 1],
        [2, 1],
      ]),
      new Conv2d(3, 8, 3, { stride: 2, seed: 1 }),
      new Pad(1),
      new Conv2d(8, 8, 3, { groups: 8, seed: 2 }),
      new Pad(5),
      new Conv2d(8, 4, 2, {
        padding: [
          [0, 1],
          [2, 0],
        ],
        seed: 3,
      }),
    ],
    input: [2, 3, 9, 10],
    steps: ['channels last', 'conv 3×3 / 2×2 3 → 8', 'depthwise conv 3×3 8 → 8', 'conv 2×2 8 → 4', 'channels first'],
    operations: ['convolutions'],
  },
  'other values, and before other layers, are written': {
    net: () => [
      new Pad(1, { value: 2 }),
      new Conv2d(3, 4, 3, { seed: 1 }),
      new Pad(1),
      new Conv2d(4, 4, 3, { padding: 'same', seed: 2 }),
      new Pad(1),
      new ConvTranspose2d(4, 3, 2, { seed: 3 }),
      new Pad(1),
      new Pad(1, { mode: 'reflect' }),
      new Conv2d(3, 2, 3, { seed: 4 }),
    ],
    input: [2, 3, 9, 10],
    steps: [
      'pad 1, constant',
      'channels last',
      'conv 3×3 3 → 4',
      'pad 1, constant',
      'conv 3×3 4 → 4',
      'pad 1, constant',
      'conv transposed 2×2 4 → 3',
      'pad 1, constant',
      'pad 1, reflect',
      'conv 3×3 3 → 2',
      'channels first',
    ],
    operations: ['convolutions', 'reshaping'],
  },
  'activations, fused where kernels have them': {
    net: () => [
      new Linear(6, 5, { seed: 1 }),
      new PReLU(),
      new Linear(5, 5, { seed: 2 }),
      new HardSigmoid(),
      new Linear(5, 4, { seed: 3 }),
      new HardTanh(0, 6),
      new Linear(4, 4, { seed: 4 }),
      new PReLU(4),
      new SELU(),
      new Softsign(),
      new HardSigmoid({ slope: 0.2 }),
      new HardTanh(0.3, 0.6),
    ],
    input: [7, 6],
    steps: [
      'linear 6 → 5, leaky-relu',
      'linear 5 → 5, hard-sigmoid',
      'linear 5 → 4, relu6',
      'linear 4 → 4',
      'prelu 4',
      'selu',
      'softsign',
      'clamp',
      'clamp',
    ],
    operations: ['activations'],
  },
};

describe.each(Object.keys(NETS))('%s', (name) => {
  const { net, input, steps, operations } = NETS[name];
  const size = input.reduce((a, b) => a * b, 1);
  const x = { data: normals(3, size, 2), shape: input };

  test('runs as it evaluates, on arrays and tensors, and says what it does', () => {
    const network = new Sequential(...net()).eval();
    const expected = network.forward(x);
    const compiled = network.compile();
    expect([...compiled.steps]).toEqual(steps);
    expect([...compiled.operations]).toEqual(operations);
    const isFolded = steps.length < net().length;
    for (const given of [x, tensor(x.data, x.shape)]) {
      const y = compiled(given);
      expect((y as { shape: readonly number[] }).shape).toEqual(expected.shape);
      if (!isFolded) expect(Float32Array.from(y.data)).toEqual(expected.data);
      const isNear = (value: number, i: number) =>
        Object.is(value, expected.data[i]) || Math.abs(value - expected.data[i]) <= 1e-5;
      expect(y.data.every(isNear)).toBe(true);
    }
    expect(compiled.explain(input.length)).toContain(steps[0]);
    compiled.dispose();
  });

  test('is the same from its file, which names the groups it needs', () => {
    const compiled = new Sequential(...net()).eval().compile();
    const file = compiled.save();
    const needed = operations.map((group) => groups[group as 'pooling']);
    const loaded = load(file, { operations: needed, maxBatch: 4, inputShape: input.slice(1) });
    expect(loaded(x)).toEqual(compiled(x));
    expect(loaded.steps).toEqual(compiled.steps);
    const [, code, message] = errorOf(() => load(file)) as string[];
    expect(code).toBe('ERR_FORMAT');
    const named = /operation of load's options \(operations: \[(.+)\], of evenkeel\/infer\)/.exec(message)?.[1];
    expect(named?.split(', ').sort()).toEqual(operations.toSorted());
    for (const one of [compiled, loaded]) one.dispose();
  });

  test('its certificate holds', () => {
    // −Inf is no value that differs by anything
    if (name === 'paddings and upsamplings') return;
    const network = new Sequential(...net()).eval();
    const compiled = network.compile({ samples: x });
    const y = compiled(x).data;
    const expected = network.forward(x).data;
    const { certificate } = compiled;
    const bound = JSON.stringify(certificate);
    expect(bound).not.toContain('null');
    expect(y.every((value, i) => Math.abs(value - expected[i]) < 1e-4)).toBe(true);
    compiled.dispose();
  });
});

test('zeros that two layers see are written once', () => {
  const net = new Graph({ x: [2, 5, 5] }, (g, { x }) => {
    const y = g.apply('zeros', new Pad(1), x);
    const [a, b] = [new Conv2d(2, 2, 3, { seed: 1 }), new Conv2d(2, 2, 1, { seed: 2 })];
    return { a: g.apply('a', a, y), b: g.apply('b', b, y) };
  }).eval();
  expect(net.compile().steps).toContain('pad 1, constant');
});

test('wrong shapes are named by their step', () => {
  const compiled = new Sequential(new MaxPool2d(4)).eval().compile();
  expect(errorOf(() => compiled({ data: new Float32Array(9), shape: [1, 1, 3, 3] }))).toEqual([
    'RangeError',
    'ERR_SHAPE',
    'compiled network: max pool 4×4: x expected 4 or more values on axis 2, got 3 (shape [1, 1, 3, 3], channels-first)',
  ]);
});

test('files with fields changed are refused', () => {
  const net = new Sequential(
    new MaxPool2d([2, 3], { padding: [1, 0] }),
    new Pad(1),
    new Upsample({ scale: 2 }),
    new SELU(),
  );
  const file = net.eval().compile().save();
  const all = Object.values(groups);
  expect(load(file, { operations: all }).steps).toHaveLength(4);
  const text = Buffer.from(file).toString('latin1');
  const changes: [from: string, to: string][] = [
    ['"of":"max"', '"of":"may"'],
    ['channels-first', 'channels-fours'],
    ['"stride":[2,3]', '"stride":[0,3]'],
    ['"padding":[1,0]', '"padding":[9,0]'],
    ['"dilation":[1,1]', '"dilation":[1,0]'],
    ['"kernel":[2,3]', '"kernel":[2.3]'],
    ['"ceilMode":false', '"ceilMode":12345'],
    ['"mode":"constant"', '"mode":"constand"'],
    ['"value":0', '"volue":0'],
    ['"pads":1', '"pods":1'],
    ['"scale":2', '"scale":0'],
    ['"mode":"nearest"', '"mode":"distant"'],
    ['"curve":"selu"', '"curve":"sell"'],
  ];
  const quoted = (json: string) => json.replaceAll('"', '\\"');
  for (const [from, to] of changes) {
    expect([from, text.includes(quoted(from))]).toEqual([from, true]);
    const bytes = Uint8Array.from(Buffer.from(text.replace(quoted(from), quoted(to)), 'latin1'));
    const sum = checksumOf(bytes);
    const known = checksumOf(file);
    const repaired = Uint8Array.from(Buffer.from(Buffer.from(bytes).toString('latin1').replace(known, sum), 'latin1'));
    const [, code] = errorOf(() => load(repaired, { operations: all })) as string[];
    expect([to, code]).toEqual([to, 'ERR_FORMAT']);
  }
});
