// Pooling, padding, upsampling and changes of shape against sums in f64: values, gradients, what
// they take and what they refuse.

import { describe, expect, test } from 'vitest';
import {
  AdaptiveAvgPool1d,
  AdaptiveAvgPool2d,
  AdaptiveMaxPool2d,
  AvgPool1d,
  AvgPool2d,
  AvgPool3d,
  Flatten,
  GlobalAvgPool,
  Graph,
  type Layer,
  Linear,
  MaxPool1d,
  MaxPool2d,
  MaxPool3d,
  Pad,
  Reshape,
  Sequential,
  Tensor,
  tensor,
  Upsample,
} from '../../src/index.ts';
import { normals } from '../support/data.ts';
import { errorOf } from '../support/errors.ts';
import { centralDifferences, dot, expectClose } from '../support/gradients.ts';
import { paddedBy, pooled, stored, upsampled, type Windows } from '../support/reference-images.ts';

type Layout = 'channels-first' | 'channels-last';
type Formula = (x: ArrayLike<number>) => Float64Array;

const LAYOUTS = ['channels-first', 'channels-last'] as const;
const countOf = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

/** Values and gradient of a layer, on arrays and tensors, with and without `out`. */
function check(make: () => Layer, shape: readonly number[], outShape: readonly number[], formula: Formula): void {
  const x = normals(1, countOf(shape), 2);
  const dy = normals(2, countOf(outShape));
  const expected = formula(x);
  // a plain sum at a time is slow: of the gradient some places, spread over all of it
  const places = [...new Set(Array.from({ length: 8 }, (_, i) => (i * 7919 + 3) % x.length))];
  const slopes = centralDifferences(
    places.map((place) => x[place]),
    (values) => {
      const moved = Float64Array.from(x);
      places.forEach((place, i) => {
        moved[place] = values[i];
      });
      return dot(formula(moved), dy);
    },
  );
  for (const isTensor of [false, true]) {
    const give = (data: Float32Array, of: readonly number[]) =>
      isTensor ? tensor(data, of) : { data: data.slice(), shape: of };
    const layer = make();
    expect(layer.outputShape(shape)).toEqual(outShape);
    const symbolic = layer.outputShape([Number.NaN, ...shape.slice(1)]);
    expect(symbolic).toEqual([Number.NaN, ...outShape.slice(1)]);
    const given = give(x, shape);
    const y = layer.forward(given);
    expect(y instanceof Tensor).toBe(isTensor);
    expect((y as Tensor).shape).toEqual(outShape);
    expectClose(y.data, expected, 1e-6);
    const out = give(new Float32Array(countOf(outShape)), outShape);
    for (let round = 0; round < 3; round++) {
      expect(layer.forward(given, { out })).toBe(out);
      expect(Float32Array.from(out.data)).toEqual(Float32Array.from(y.data));
    }
    const dx = layer.backward(give(dy, outShape));
    expect((dx as Tensor).shape).toEqual(shape);
    expectClose(
      places.map((place) => dx.data[place]),
      slopes,
      2e-6,
    );
    expect(Float32Array.from(given.data)).toEqual(x);
    const empty = { data: new Float32Array(0), shape: [0, ...shape.slice(1)] };
    const none = layer.forward(empty);
    expect(none).toEqual({ data: new Float32Array(0), shape: [0, ...outShape.slice(1)] });
    expect(layer.backward(none)).toEqual(empty);
    layer.dispose();
  }
}

interface PoolCase {
  of: 'max' | 'avg';
  lengths: number[];
  windows?: Windows;
  outputs: number[];
  make: (layout: Layout) => Layer;
}

const w = (kernel: number[], stride: number[], padding: number[], dilation = kernel.map(() => 1), include = true) => ({
  kernel,
  stride,
  padding,
  dilation,
  include,
});

const POOLS: Record<string, PoolCase> = {
  'MaxPool1d 3, stride 2': {
    ...{ of: 'max', lengths: [11], windows: w([3], [2], [0]), outputs: [5] },
    make: (layout) => new MaxPool1d(3, { stride: 2, layout }),
  },
  'MaxPool2d 2': {
    ...{ of: 'max', lengths: [7, 10], windows: w([2, 2], [2, 2], [0, 0]), outputs: [3, 5] },
    make: (layout) => new MaxPool2d(2, { layout }),
  },
  'MaxPool2d 3×2, dilated': {
    ...{ of: 'max', lengths: [9, 8], windows: w([3, 2], [1, 2], [1, 0], [2, 3]), outputs: [7, 3] },
    make: (layout) => new MaxPool2d([3, 2], { stride: [1, 2], padding: [1, 0], dilation: [2, 3], layout }),
  },
  'MaxPool2d 3, ceil': {
    ...{ of: 'max', lengths: [6, 8], windows: w([3, 3], [2, 2], [1, 1]), outputs: [4, 5] },
    make: (layout) => new MaxPool2d(3, { stride: 2, padding: 1, ceilMode: true, layout }),
  },
  MaxPool3d: {
    ...{ of: 'max', lengths: [4, 5, 6], windows: w([2, 3, 2], [2, 1, 2], [0, 1, 1]), outputs: [2, 5, 4] },
    make: (layout) => new MaxPool3d([2, 3, 2], { stride: [2, 1, 2], padding: [0, 1, 1], layout }),
  },
  'AvgPool1d 4, stride 1': {
    ...{ of: 'avg', lengths: [13], windows: w([4], [1], [2]), outputs: [14] },
    make: (layout) => new AvgPool1d(4, { stride: 1, padding: 2, layout }),
  },
  'AvgPool2d, padding not counted': {
    ...{ of: 'avg', lengths: [6, 9], windows: w([3, 2], [2, 2], [1, 1], [1, 1], false), outputs: [3, 5] },
    make: (layout) => new AvgPool2d([3, 2], { stride: 2, padding: 1, countIncludePad: false, layout }),
  },
  'AvgPool2d, ceil': {
    ...{ of: 'avg', lengths: [6, 8], windows: w([3, 3], [2, 2], [1, 1]), outputs: [4, 5] },
    make: (layout) => new AvgPool2d(3, { stride: 2, padding: 1, ceilMode: true, layout }),
  },
  AvgPool3d: {
    ...{ of: 'avg', lengths: [4, 5, 6], windows: w([2, 2, 3], [2, 2, 3], [0, 0, 0]), outputs: [2, 2, 2] },
    make: (layout) => new AvgPool3d([2, 2, 3], { layout }),
  },
  'MaxPool2d 3×2, same, dilated': {
    ...{ of: 'max', lengths: [6, 9], windows: w([3, 2], [2, 1], [0, 1], [1, 3]), outputs: [3, 9] },
    make: (layout) => new MaxPool2d([3, 2], { stride: [2, 1], padding: 'same', dilation: [1, 3], layout }),
  },
  'MaxPool2d 2, same, stride 3': {
    ...{ of: 'max', lengths: [7, 4], windows: w([2, 2], [3, 3], [0, 0]), outputs: [3, 2] },
    make: (layout) => new MaxPool2d(2, { stride: 3, padding: 'same', layout }),
  },
  'AvgPool2d 4×3, same, not counted': {
    ...{ of: 'avg', lengths: [7, 8], windows: w([4, 3], [1, 2], [1, 0], [1, 1], false), outputs: [7, 4] },
    make: (layout) => new AvgPool2d([4, 3], { stride: [1, 2], padding: 'same', countIncludePad: false, layout }),
  },
  'AvgPool1d 4, same': {
    ...{ of: 'avg', lengths: [7], windows: { ...w([4], [1], [1]), behind: [2] }, outputs: [7] },
    make: (layout) => new AvgPool1d(4, { stride: 1, padding: 'same', layout }),
  },
  AdaptiveAvgPool1d: {
    ...{ of: 'avg', lengths: [11], outputs: [4] },
    make: (layout) => new AdaptiveAvgPool1d(4, { layout }),
  },
  AdaptiveAvgPool2d: {
    ...{ of: 'avg', lengths: [7, 5], outputs: [3, 5] },
    make: (layout) => new AdaptiveAvgPool2d([3, null], { layout }),
  },
  AdaptiveMaxPool2d: {
    ...{ of: 'max', lengths: [7, 5], outputs: [3, 2] },
    make: (layout) => new AdaptiveMaxPool2d([3, 2], { layout }),
  },
  GlobalAvgPool: {
    ...{ of: 'avg', lengths: [5, 7], outputs: [1, 1] },
    make: (layout) => new GlobalAvgPool({ layout }),
  },
};

describe.each(LAYOUTS)('%s', (layout) => {
  for (const channels of [1, 9]) {
    test.each(Object.keys(POOLS))(`%s of ${channels} channels: values and gradient`, (name) => {
      const { of, lengths, windows, outputs, make } = POOLS[name];
      const shape = [2, channels, ...lengths];
      check(
        () => make(layout),
        stored(shape, layout),
        stored([2, channels, ...outputs], layout),
        (x) => pooled(of, x, shape, outputs, layout, windows),
      );
    });
  }

  test('the global average is that of any number of axes, and of many values in f64', () => {
    const layer = new GlobalAvgPool({ layout });
    expect(layer.outputShape(stored([2, 3, 4, 5, 6, 7], layout))).toEqual(stored([2, 3, 1, 1, 1, 1], layout));
    const data = new Float32Array(2 * 3 * 300 * 301).fill(16_777_213);
    const y = layer.forward({ data, shape: stored([2, 3, 300, 301], layout) });
    expect(y.data).toEqual(new Float32Array(6).fill(16_777_213));
  });

  test.each([
    [
      'a number',
      1,
      [
        [1, 1],
        [1, 1],
      ],
      'constant',
      0,
    ],
    [
      'one per axis',
      [2, 1],
      [
        [2, 2],
        [1, 1],
      ],
      'reflect',
      0,
    ],
    [
      'pairs',
      [
        [2, 3],
        [0, 2],
      ],
      [
        [2, 3],
        [0, 2],
      ],
      'reflect',
      0,
    ],
    [
      'pairs',
      [
        [5, 3],
        [0, 7],
      ],
      [
        [5, 3],
        [0, 7],
      ],
      'replicate',
      0,
    ],
    [
      'pairs',
      [
        [1, 0],
        [0, 2],
      ],
      [
        [1, 0],
        [0, 2],
      ],
      'constant',
      -2.5,
    ],
    [
      'nothing',
      0,
      [
        [0, 0],
        [0, 0],
      ],
      'constant',
      0,
    ],
  ] as const)('Pad by %s (%#): values and gradient', (_, padding, pads, mode, value) => {
    for (const channels of [1, 13]) {
      const shape = [2, channels, 4, 20];
      const outputs = pads.map(([before, after], i) => before + shape[2 + i] + after);
      check(
        () => new Pad(padding, { mode, layout, ...(mode === 'constant' && { value }) }),
        stored(shape, layout),
        stored([2, channels, ...outputs], layout),
        (x) => paddedBy(x, shape, pads, layout, mode, value),
      );
    }
  });

  test.each([
    ['nearest', 2, [2, 2], false],
    ['nearest', [3, 1], [3, 1], false],
    ['nearest', [1.5, 0.6], [1.5, 0.6], false],
    ['bilinear', 2, [2, 2], false],
    ['bilinear', 2, [2, 2], true],
    ['bilinear', [1.7, 3], [1.7, 3], false],
    ['bilinear', [0.5, 2.5], [0.5, 2.5], true],
  ] as const)('Upsample, %s by %j: values and gradient', (mode, scale, scales, alignCorners) => {
    for (const channels of [1, 5]) {
      const shape = [2, channels, 4, 5];
      const outputs = scales.map((by, i) => Math.floor(shape[2 + i] * by));
      const corners = mode === 'bilinear' ? { alignCorners } : {};
      check(
        () => new Upsample({ scale, mode, layout, ...corners }),
        stored(shape, layout),
        stored([2, channels, ...outputs], layout),
        (x) => upsampled(x, shape, scales, layout, mode, alignCorners),
      );
    }
  });
});

test('upsampling and padding take images of one axis and of three', () => {
  const line = { data: Float32Array.of(1, 2, 3), shape: [1, 1, 3] };
  expect([...new Upsample({ scale: 2 }).forward(line).data]).toEqual([1, 1, 2, 2, 3, 3]);
  expect([...new Pad(2, { mode: 'reflect' }).forward(line).data]).toEqual([3, 2, 1, 2, 3, 2, 1]);
  const box = { data: Float32Array.of(1, 2), shape: [1, 1, 1, 1, 2] };
  expect([...new Upsample({ scale: [2, 1, 2] }).forward(box).data]).toEqual([1, 1, 2, 2, 1, 1, 2, 2]);
  const padded = new Pad(
    [
      [0, 1],
      [0, 0],
      [1, 0],
    ],
    { value: -Infinity },
  ).forward(box);
  expect([...padded.data]).toEqual([-Infinity, 1, 2, -Infinity, -Infinity, -Infinity]);
});

test.each([
  ['Flatten', () => new Flatten(), [2, 3, 4, 5], [2, 60]],
  ['Flatten from axis 2', () => new Flatten({ startAxis: 2 }), [2, 3, 4, 5], [2, 3, 20]],
  ['Flatten to axis -2', () => new Flatten({ startAxis: -3, endAxis: -2 }), [2, 3, 4, 5], [2, 12, 5]],
  ['Flatten of rank 2', () => new Flatten(), [2, 3], [2, 3]],
  ['Reshape', () => new Reshape([5, 12]), [2, 3, 4, 5], [2, 5, 12]],
  ['Reshape with a length that is left', () => new Reshape([4, -1, 3]), [2, 3, 4, 5], [2, 4, 5, 3]],
  ['Reshape to one value', () => new Reshape([]), [2, 1, 1], [2]],
] as const)('%s moves no value', (_, make, shape, outShape) => {
  check(make, shape, outShape, (x) => Float64Array.from(x));
});

test('lengths that are not known stay so', () => {
  const { NaN: some } = Number;
  expect(new MaxPool2d(2).outputShape([some, 3, some, 9])).toEqual([some, 3, some, 4]);
  expect(new Flatten().outputShape([some, 3, some])).toEqual([some, some]);
  expect(new Reshape([4, -1]).outputShape([some, some])).toEqual([some, 4, some]);
  expect(new Pad(1).outputShape([some, 3, some])).toEqual([some, 3, some]);
  expect(new Upsample({ scale: 2 }).outputShape([some, some, 3])).toEqual([some, some, 6]);
  expect(new GlobalAvgPool().outputShape([some, 3, some])).toEqual([some, 3, 1]);
});

test('an axis of more places than f32 counts is refused', () => {
  const x = { data: new Float32Array(16_777_220), shape: [1, 1, 16_777_220] };
  for (const layer of [new MaxPool1d(2), new GlobalAvgPool()]) {
    expect(errorOf(() => layer.forward(x))).toEqual([
      'RangeError',
      'ERR_SHAPE',
      `${layer.subject}: x expected 16777216 places at most, got 16777220 (shape [1, 1, 16777220], channels-first)`,
    ]);
  }
});

test('a NaN wins its window, and the first of equal values takes the gradient', () => {
  const { NaN: nan, NEGATIVE_INFINITY: least } = Number;
  const x = { data: Float32Array.of(1, 1, nan, 2, least, least, 7, 7, 3), shape: [1, 1, 9] };
  const layer = new MaxPool1d(2, { ceilMode: true });
  expect([...layer.forward(x).data]).toEqual([1, nan, least, 7, 3]);
  const dx = layer.backward({ data: Float32Array.of(1, 2, 3, 4, 5), shape: [1, 1, 5] });
  expect([...dx.data]).toEqual([1, 0, 2, 0, 3, 0, 4, 0, 5]);
});

test('networks train through them as through single layers', () => {
  const layers = () => [
    new Pad(1),
    new MaxPool2d(2),
    new Upsample({ scale: 2 }),
    new AvgPool2d(2),
    new Flatten(),
    new Linear(12, 3, { seed: 1 }),
    new Reshape([1, 3]),
  ];
  const [x, dy] = [
    { data: normals(1, 96), shape: [2, 3, 4, 4] },
    { data: normals(2, 6), shape: [2, 1, 3] },
  ];
  // three of 3 × 3 windows of the padded image
  const sizes = [new Pad(1), new MaxPool2d(2)].reduce<readonly number[]>((s, layer) => layer.outputShape(s), x.shape);
  expect(sizes).toEqual([2, 3, 3, 3]);
  const own = layers().map((layer) => (layer instanceof Linear ? new Linear(27, 3, { seed: 1 }) : layer));
  const chain = new Sequential(...own);
  const y = chain.forward(x);
  const dx = chain.backward(dy);
  const single = layers().map((layer) => (layer instanceof Linear ? new Linear(27, 3, { seed: 1 }) : layer));
  let value: { data: Float32Array; shape: readonly number[] } = x;
  for (const layer of single) value = layer.forward(value) as typeof value;
  let gradient: typeof value = dy;
  for (const layer of [...single].reverse()) gradient = layer.backward(gradient) as typeof value;
  expect([y, dx]).toEqual([value, gradient]);
  const net = new Graph({ x: [3, 4, 4] }, (g, { x }) =>
    g.apply('pool', new MaxPool2d(2), g.apply('pad', new Pad(1), x)),
  );
  expect(net.forward(x)).toEqual(new MaxPool2d(2).forward(new Pad(1).forward(x)));
});

const image = (...shape: number[]) => ({ data: new Float32Array(countOf(shape)), shape });

test.each([
  [
    () => new MaxPool2d(0),
    'RangeError',
    'ERR_OPTION',
    'MaxPool2d: kernelSize expected an integer of 1 or more, or 2 of them, got 0',
  ],
  [
    () => new MaxPool1d(1.5),
    'RangeError',
    'ERR_OPTION',
    'MaxPool1d: kernelSize expected an integer of 1 or more, got 1.5',
  ],
  [
    () => new AvgPool3d([2, 2]),
    'RangeError',
    'ERR_OPTION',
    'AvgPool3d: kernelSize expected an integer of 1 or more, or 3 of them, got [2, 2]',
  ],
  [
    () => new MaxPool2d('3' as never),
    'TypeError',
    'ERR_OPTION',
    "MaxPool2d: kernelSize expected an integer of 1 or more, or 2 of them, got '3'",
  ],
  [
    () => new MaxPool2d(2, { stride: 0 }),
    'RangeError',
    'ERR_OPTION',
    'MaxPool2d(2): stride expected an integer of 1 or more, or 2 of them, got 0',
  ],
  [
    () => new MaxPool2d(2, { dilation: [1, 0] }),
    'RangeError',
    'ERR_OPTION',
    'MaxPool2d(2): dilation expected an integer of 1 or more, or 2 of them, got [1, 0]',
  ],
  [
    () => new AvgPool2d(2, { padding: -1 }),
    'RangeError',
    'ERR_OPTION',
    'AvgPool2d(2): padding expected an integer of 0 or more, or 2 of them, got -1',
  ],
  [
    () => new MaxPool2d(3, { padding: 'same', ceilMode: true }),
    'RangeError',
    'ERR_OPTION',
    "MaxPool2d(3): ceilMode expected false with padding 'same', got true",
  ],
  [
    () => new MaxPool2d(3, { padding: [1, 2] }),
    'RangeError',
    'ERR_OPTION',
    'MaxPool2d(3): padding expected half a window, 1, at most, got 2',
  ],
  [
    () => new MaxPool2d(2, { ceilMode: 1 as never }),
    'TypeError',
    'ERR_OPTION',
    'MaxPool2d(2): ceilMode expected true or false, got 1',
  ],
  [
    () => new AvgPool2d([2, 1], { countIncludePad: 'no' as never }),
    'TypeError',
    'ERR_OPTION',
    "AvgPool2d([2, 1]): countIncludePad expected true or false, got 'no'",
  ],
  [
    () => new MaxPool2d(2, { layout: 'nhwc' as never }),
    'RangeError',
    'ERR_OPTION',
    "MaxPool2d(2): layout expected 'channels-first' or 'channels-last', got 'nhwc'",
  ],
  [
    () => new MaxPool2d(2, { countIncludePad: true } as never),
    'TypeError',
    'ERR_OPTION',
    "MaxPool2d(2): options expected 'stride', 'padding', 'dilation', 'ceilMode' or 'layout', got 'countIncludePad'",
  ],
  [
    () => new AvgPool2d(2, { dilation: 1 } as never),
    'TypeError',
    'ERR_OPTION',
    "AvgPool2d(2): options expected 'stride', 'padding', 'countIncludePad', 'ceilMode' or 'layout', got 'dilation'",
  ],
  [
    () => new AdaptiveAvgPool2d([2, 0]),
    'RangeError',
    'ERR_OPTION',
    'AdaptiveAvgPool2d: outputSize expected an integer of 1 or more, or 2 of them, got [2, 0]',
  ],
  [
    () => new GlobalAvgPool({ axis: 1 } as never),
    'TypeError',
    'ERR_OPTION',
    "GlobalAvgPool: options expected 'layout', got 'axis'",
  ],
  [
    () => new MaxPool2d(2).forward(image(2, 3, 4) as never),
    'RangeError',
    'ERR_SHAPE',
    'MaxPool2d(2): x expected rank 4, got rank 3 (shape [2, 3, 4])',
  ],
  [
    () => new GlobalAvgPool().forward(image(2, 3)),
    'RangeError',
    'ERR_SHAPE',
    'GlobalAvgPool: x expected rank 3 or more, got rank 2 (shape [2, 3])',
  ],
  [
    () => new MaxPool2d(5, { padding: 1 }).forward(image(2, 3, 9, 2)),
    'RangeError',
    'ERR_SHAPE',
    'MaxPool2d(5): x expected 3 or more values on axis 3, got 2 (shape [2, 3, 9, 2], channels-first)',
  ],
  [
    () => new AvgPool2d(3, { layout: 'channels-last' }).forward(image(2, 2, 9, 3)),
    'RangeError',
    'ERR_SHAPE',
    'AvgPool2d(3): x expected 3 or more values on axis 1, got 2 (shape [2, 2, 9, 3], channels-last)',
  ],
  [
    () => new AdaptiveMaxPool2d(2).forward(image(2, 3, 0, 4)),
    'RangeError',
    'ERR_SHAPE',
    'AdaptiveMaxPool2d(2): x expected 1 or more values on axis 2, got 0 (shape [2, 3, 0, 4], channels-first)',
  ],
  [
    () => new AvgPool1d(2).backward(image(1, 1, 1)),
    'Error',
    'ERR_MODE',
    'AvgPool1d(2): backward expected a forward before it, got none',
  ],
  [() => new Flatten({ startAxis: 0.5 }), 'TypeError', 'ERR_OPTION', 'Flatten: startAxis expected an integer, got 0.5'],
  [
    () => new Flatten({ axis: 1 } as never),
    'TypeError',
    'ERR_OPTION',
    "Flatten: options expected 'startAxis' or 'endAxis', got 'axis'",
  ],
  [
    () => new Flatten({ startAxis: 2 }).forward(image(2, 3)),
    'RangeError',
    'ERR_SHAPE',
    'Flatten: x expected an axis 2, got shape [2, 3]',
  ],
  [
    () => new Flatten({ startAxis: -1, endAxis: 1 }).forward(image(2, 3, 4)),
    'RangeError',
    'ERR_SHAPE',
    'Flatten: x expected an axis -1 not behind axis 1, got shape [2, 3, 4]',
  ],
  [
    () => new Reshape([2, -1, -1]),
    'RangeError',
    'ERR_OPTION',
    'Reshape: shape expected lengths of 1 or more, one of which may be -1, got [2, -1, -1]',
  ],
  [
    () => new Reshape(4 as never),
    'TypeError',
    'ERR_OPTION',
    'Reshape: shape expected lengths of 1 or more, one of which may be -1, got 4',
  ],
  [
    () => new Reshape([2, 5]).forward(image(3, 9)),
    'RangeError',
    'ERR_SHAPE',
    'Reshape([2, 5]): x expected samples of 10 values for [2, 5], got 9 (shape [3, 9])',
  ],
  [
    () => new Reshape([2, -1]).forward(image(3, 9)),
    'RangeError',
    'ERR_SHAPE',
    'Reshape([2, -1]): x expected samples of a multiple of 2 values for [2, -1], got 9 (shape [3, 9])',
  ],
  [
    () => new Pad(-1),
    'RangeError',
    'ERR_OPTION',
    'Pad: padding expected integers of 0 or more: one, one per axis, or [before, after] per axis, got -1',
  ],
  [
    () => new Pad([[1, 2], 1] as never),
    'RangeError',
    'ERR_OPTION',
    'Pad: padding expected integers of 0 or more: one, one per axis, or [before, after] per axis, got [[1, 2], 1]',
  ],
  [
    () => new Pad([]),
    'RangeError',
    'ERR_OPTION',
    'Pad: padding expected integers of 0 or more: one, one per axis, or [before, after] per axis, got []',
  ],
  [
    () => new Pad('same' as never),
    'TypeError',
    'ERR_OPTION',
    "Pad: padding expected integers of 0 or more: one, one per axis, or [before, after] per axis, got 'same'",
  ],
  [
    () => new Pad(1, { mode: 'circular' as never }),
    'RangeError',
    'ERR_OPTION',
    "Pad(1): mode expected 'constant', 'reflect' or 'replicate', got 'circular'",
  ],
  [
    () => new Pad(1, { mode: 'reflect', value: 1 }),
    'RangeError',
    'ERR_OPTION',
    "Pad(1): value expected mode 'constant' with it, got 'reflect'",
  ],
  [() => new Pad(1, { value: '0' as never }), 'TypeError', 'ERR_OPTION', "Pad(1): value expected a number, got '0'"],
  [
    () => new Pad(1, { pad: 1 } as never),
    'TypeError',
    'ERR_OPTION',
    "Pad(1): options expected 'mode', 'value' or 'layout', got 'pad'",
  ],
  [
    () => new Pad([1, 1]).forward(image(2, 3, 4)),
    'RangeError',
    'ERR_SHAPE',
    'Pad([1, 1]): x expected rank 4, got rank 3 (shape [2, 3, 4])',
  ],
  [
    () => new Pad(3, { mode: 'reflect' }).forward(image(2, 3, 3)),
    'RangeError',
    'ERR_SHAPE',
    'Pad(3): x expected 4 or more values on axis 2, got 3 (shape [2, 3, 3], channels-first)',
  ],
  [
    () => new Upsample({ scale: 0 }),
    'RangeError',
    'ERR_OPTION',
    'Upsample: scale expected a finite number above 0, got 0',
  ],
  [
    () => new Upsample({ scale: [2, 2, 2], mode: 'bilinear' }),
    'RangeError',
    'ERR_OPTION',
    'Upsample: scale expected a finite number above 0, or 2 of them, got [2, 2, 2]',
  ],
  [
    () => new Upsample({} as never),
    'TypeError',
    'ERR_OPTION',
    'Upsample: scale expected a finite number above 0, got undefined',
  ],
  [
    () => new Upsample({ scale: 2, mode: 'cubic' as never }),
    'RangeError',
    'ERR_OPTION',
    "Upsample: mode expected 'nearest' or 'bilinear', got 'cubic'",
  ],
  [
    () => new Upsample({ scale: 2, alignCorners: true }),
    'RangeError',
    'ERR_OPTION',
    "Upsample(2): alignCorners expected mode 'bilinear' with it, got 'nearest'",
  ],
  [
    () => new Upsample({ scale: 2, mode: 'bilinear', alignCorners: 1 as never }),
    'TypeError',
    'ERR_OPTION',
    'Upsample: alignCorners expected true or false, got 1',
  ],
  [
    () => new Upsample({ scale: 2, size: 4 } as never),
    'TypeError',
    'ERR_OPTION',
    "Upsample: options expected 'scale', 'mode', 'alignCorners' or 'layout', got 'size'",
  ],
  [
    () => new Upsample({ scale: 0.25 }).forward(image(1, 1, 3)),
    'RangeError',
    'ERR_SHAPE',
    'Upsample(0.25): x expected 4 or more values on axis 2, got 3 (shape [1, 1, 3], channels-first)',
  ],
] as const)('what they do not take (%#)', (work, kind, code, message) => {
  expect(errorOf(work)).toEqual([kind, code, message]);
});
