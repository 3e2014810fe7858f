// Gradients of operations that networks from files have beside layers', against central differences
// in f64.

import { describe, expect, test } from 'vitest';
import type { Operation } from '../../src/graph/operation.ts';
import { descriptionOf, OTHERS } from '../../src/graph/operations/every.ts';
import { Random } from '../../src/index.ts';
import { evaluated } from '../../src/nn/evaluated.ts';
import { gradientOf } from '../../src/nn/operation-gradients.ts';
import { loadNetwork } from '../../src/weights/index.ts';
import { floats, ints, node, onnxModel } from '../support/onnx-models.ts';

const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
const random = new Random(21);

/** Values of the whole, in f64. */
function analysed(operation: Operation, xs: readonly { data: ArrayLike<number>; shape: readonly number[] }[]) {
  const description = descriptionOf(operation.kind);
  const given = xs.map(({ data, shape }) => ({
    shape,
    value: Float64Array.from(data),
    error: new Float64Array(data.length),
  }));
  return description.analyse(given, operation, description.rounded(operation));
}

type Range = readonly [number, number];

/**
 * Compares backward with central differences of Σ dy·y, input by input. Inputs with fixed values
 * have the gradient 0.
 */
function check(
  operation: object,
  shapes: readonly (readonly number[])[],
  range: Range,
  fixed: Readonly<Record<number, ArrayLike<number>>> = {},
) {
  const given = operation as Operation;
  const xs = shapes.map((shape, i) => ({
    data: fixed[i]
      ? Float64Array.from(fixed[i])
      : Float64Array.from({ length: size(shape) }, () =>
          Math.fround(range[0] + (range[1] - range[0]) * random.uniform()),
        ),
    shape,
  }));
  const y = analysed(given, xs);
  const dy = Float64Array.from({ length: y.value.length }, () => Math.fround(random.normal()));
  const loss = () => analysed(given, xs).value.reduce((sum, value, i) => sum + value * dy[i], 0);
  const plain = xs.map(({ data, shape }) => ({ data: Float32Array.from(data), shape }));
  const dxs = plain.map(({ data, shape }) => ({ data: new Float32Array(data.length).fill(7), shape }));
  const one = evaluated(given);
  one.backward({ data: Float32Array.from(dy), shape: y.shape } as never, plain as never, dxs as never);
  xs.forEach(({ data }, k) => {
    if (fixed[k]) {
      expect(Array.from(dxs[k].data).every((value) => value === 0)).toBe(true);
      return;
    }
    for (let i = 0; i < data.length; i++) {
      const [was, step] = [data[i], 1e-6];
      data[i] = was + step;
      const above = loss();
      data[i] = was - step;
      const below = loss();
      data[i] = was;
      const expected = (above - below) / (2 * step);
      expect(Math.abs(dxs[k].data[i] - expected), `input ${k}, value ${i}`).toBeLessThan(
        1e-5 * Math.max(1, Math.abs(expected)),
      );
    }
  });
}

const SHAPE = [2, 3, 4];
describe('what moves values', () => {
  test.each([
    [{ kind: 'transpose', order: [2, 0, 1] }],
    [
      {
        kind: 'slice',
        cuts: [
          { axis: 2, start: 3, end: -100, step: -2 },
          { axis: 1, start: 1, end: 3, step: 1 },
        ],
      },
    ],
    [{ kind: 'expand', lengths: [5, 2, 3, 4] }],
    [{ kind: 'shape-to', lengths: [4, -1] }],
    [{ kind: 'surround', mode: 'constant', pads: [0, 1, 2, 1, -1, 0], value: 3 }],
    [{ kind: 'surround', mode: 'reflect', pads: [0, 0, 2, 0, 1, 3], value: 0 }],
    [{ kind: 'surround', mode: 'edge', pads: [1, 0, 2, 0, 1, 0], value: 0 }],
  ])('%j', (operation) => check(operation, [SHAPE], [-2, 2]));

  test('gather by places, one of them twice; reversal of the first steps', () => {
    check({ kind: 'gather', by: 'slices', axis: 1, batch: 0 }, [SHAPE, [4]], [-2, 2], { 1: [2, 0, 2, -1] });
    check({ kind: 'reverse', time: 1 }, [SHAPE, [2]], [-2, 2], { 1: [3, 2] });
  });
});

test.each(['sum', 'mean', 'max', 'min', 'prod', 'l1', 'l2', 'sum-square', 'log-sum', 'log-sum-exp'])(
  'reduce %s',
  (of) => {
    const range: Range = of === 'log-sum' ? [0.1, 2] : [-2, 2];
    for (const axes of [null, [1], [0, -1]])
      for (const keeps of [true, false]) check({ kind: 'reduce', of, axes, keeps }, [SHAPE], range);
  },
);

test('of a product with zeros only what the zero stands for counts', () => {
  const product = gradientOf({ kind: 'reduce', of: 'prod', axes: [1], keeps: false } as never)!;
  const x = { data: Float32Array.of(2, 0, 3, 0, 0, 5, 2, 3, 4), shape: [3, 3] };
  const dx = { data: new Float32Array(9), shape: [3, 3] };
  product({ data: Float32Array.of(1, 1, 2), shape: [3] }, [x], [dx]);
  expect([...dx.data]).toEqual([0, 6, 0, 0, 0, 0, 24, 16, 12]);
});

const RANGES: Readonly<Record<string, Range>> = {
  log: [0.5, 3],
  sqrt: [0.5, 3],
  reciprocal: [0.5, 2],
  tan: [-1, 1],
  asin: [-0.8, 0.8],
  acos: [-0.8, 0.8],
  atanh: [-0.8, 0.8],
  acosh: [1.5, 3],
};
test.each([
  ...['exp', 'log', 'sqrt', 'reciprocal', 'square', 'abs', 'neg', 'erf', 'sin', 'cos', 'tan', 'asin', 'acos', 'atan'],
  ...[
    'sinh',
    'cosh',
    'asinh',
    'acosh',
    'atanh',
    'clip',
    'celu',
    'threshold',
    'shrink',
    'selu',
    'hard-sigmoid',
    'swish',
  ],
])('%s', (of) => check({ kind: 'unary', of, a: of === 'clip' ? -0.5 : 0.6, b: 0.9 }, [SHAPE], RANGES[of] ?? [-2, 2]));

test.each(['sub', 'div', 'pow', 'max', 'min', 'mod', 'fmod', 'prelu'])('%s, broadcast', (of) => {
  for (const other of [SHAPE, [3, 1], [1], [2, 1, 4], [5, 1, 1, 1]])
    check({ kind: 'binary', of }, [SHAPE, other], of === 'prelu' ? [-2, 2] : [0.5, 2]);
});

describe('what two values make, or a third one chooses', () => {
  test.each([
    [
      [3, 4],
      [4, 2],
    ],
    [
      [2, 3, 4],
      [4, 2],
    ],
    [
      [2, 1, 3, 4],
      [3, 4, 2],
    ],
    [[4], [2, 4, 3]],
    [[2, 3, 4], [4]],
    [[5], [5]],
  ])('matmul %j %j', (a, b) => check({ kind: 'matmul' }, [a, b], [-2, 2]));

  test('where, broadcast', () => {
    check({ kind: 'where' }, [SHAPE, SHAPE, SHAPE], [-2, 2], { 0: Array.from({ length: 24 }, (_, i) => i % 3) });
    check({ kind: 'where' }, [[3, 1], SHAPE, [4]], [-2, 2], { 0: [1, 0, 1] });
    check({ kind: 'where' }, [[5, 1, 1, 1], [1], SHAPE], [-2, 2], { 0: [0, 1, 0, 0, 1] });
  });

  test.each([false, true])('a convolution whose weights are given, transposed %s', (transposed) => {
    const rest = { kind: 'weighted', transposed, kernel: [2, 3], stride: [2, 1], dilation: [1, 2], groups: 2 };
    const operation = {
      ...rest,
      outputPadding: [0, 0],
      padding: [
        [1, 0],
        [2, 1],
      ],
    };
    check(operation, [[2, 4, 5, 6], transposed ? [4, 3, 2, 3] : [6, 2, 2, 3], [6]], [-2, 2]);
    check(operation, [[1, 4, 5, 6], transposed ? [4, 1, 2, 3] : [2, 2, 2, 3]], [-2, 2]);
  });
});

describe('values at other places', () => {
  test.each([0, 1, -1])('running sums of axis %s', (axis) => {
    for (const exclusive of [true, false])
      for (const reverse of [true, false]) check({ kind: 'scan', axis, exclusive, reverse }, [SHAPE], [-2, 2]);
  });

  test('the largest and the least; their places have none', () => {
    const rest = { kind: 'select', axis: 1, last: false, keeps: true };
    check({ ...rest, count: 2, largest: true, gives: 'values' }, [SHAPE], [-2, 2]);
    check({ ...rest, count: 1, largest: false, gives: 'values', keeps: false }, [SHAPE], [-2, 2]);
    for (const gives of ['places', 'mark']) {
      check({ ...rest, count: 1, largest: true, gives }, [SHAPE], [0, 0], { 0: Array.from({ length: 24 }, Math.sin) });
    }
  });

  test.each(['none', 'add', 'mul', 'max', 'min'])('scatter %s, two of them to one place', (reduction) => {
    const elements = { kind: 'scatter', by: 'elements', axis: 1, reduction };
    check(elements, [SHAPE, [2, 2, 2], [2, 2, 2]], [-2, 2], { 1: [0, 2, 0, -1, 1, 1, 2, 0] });
    check({ ...elements, axis: -1 }, [SHAPE, [1, 2, 3], [1, 2, 3]], [-2, 2], { 1: [0, 2, 0, -1, 1, 1] });
    const points = { kind: 'scatter', by: 'points', axis: 0, reduction };
    check(points, [SHAPE, [3, 2], [3, 4]], [-2, 2], { 1: [0, 1, 1, 2, 0, -2] });
    check(points, [SHAPE, [2, 3], [2]], [-2, 2], { 1: [1, 2, 3, 1, 2, 3] });
  });

  test('updates beside those that have an index have none', () => {
    const backward = gradientOf({ kind: 'scatter', by: 'elements', axis: 1, reduction: 'none' } as never)!;
    const shapes = [
      [2, 3],
      [2, 1],
      [2, 2],
    ];
    const [x, indices, updates] = shapes.map((shape) => ({ data: new Float32Array(size(shape)), shape }));
    indices.data.set([2, 0]);
    const [dx, du] = [x, updates].map(({ data, shape }) => ({ data: data.slice(), shape }));
    backward({ data: Float32Array.of(1, 2, 3, 4, 5, 6), shape: [2, 3] }, [x, indices, updates], [dx, undefined, du]);
    expect([[...dx.data], [...du.data]]).toEqual([
      [1, 2, 0, 0, 5, 6],
      [3, 0, 4, 0],
    ]);
  });
});

describe('windows and other sizes', () => {
  const resize = { kind: 'resize', nearest: 'floor', cubic: -0.75, excludes: false, antialias: false, outside: 7 };
  test.each(['nearest', 'linear', 'cubic'])('resize %s', (mode) => {
    for (const coordinates of ['half_pixel', 'align_corners', 'asymmetric', 'pytorch_half_pixel']) {
      const numbers = [1, 1, 2, 1.5];
      check({ ...resize, mode, coordinates, by: 'scales', numbers, region: null }, [[1, 2, 3, 4]], [-2, 2]);
    }
    const [numbers, rest] = [[2, 2, 3], { mode, coordinates: 'half_pixel', by: 'sizes', region: null }];
    check({ ...resize, ...rest, numbers, excludes: true, antialias: true }, [[2, 5, 4]], [-2, 2]);
    const region = [0, 0.2, -0.4, 1, 1.2, 0.9];
    check(
      { ...resize, mode, coordinates: 'tf_crop_and_resize', by: 'sizes', numbers: [2, 4, 5], region },
      [[2, 3, 4]],
      [-2, 2],
    );
  });

  test.each(['max', 'avg', 'lp'])('%s over windows with other padding before than behind', (of) => {
    const rest = { kind: 'window', of, kernel: [3, 2], stride: [2, 1], p: 3, places: null };
    const padded = {
      padding: [
        [1, 0],
        [0, 1],
      ],
      dilation: [1, 2],
      ceil: true,
    };
    for (const countsPadding of [true, false]) check({ ...rest, ...padded, countsPadding }, [[2, 2, 6, 5]], [-2, 2]);
    check({ ...rest, padding: 'lower', dilation: [1, 1], ceil: false, countsPadding: false }, [[1, 3, 5, 4]], [-2, 2]);
  });

  test.each(['linear', 'cubic', 'nearest'])('grid sample, %s: values and places', (mode) => {
    for (const outside of ['zeros', 'border', 'reflection']) {
      for (const alignCorners of [true, false]) {
        const operation = { kind: 'grid-sample', mode, outside, alignCorners };
        check(
          operation,
          [
            [2, 2, 3, 4],
            [2, 3, 2, 2],
          ],
          [-1.6, 1.6],
        );
        check(
          operation,
          [
            [1, 2, 5],
            [1, 4, 1],
          ],
          [-3, 3],
        );
      }
    }
  });

  test('places of largest values have none', () => {
    const rest = { kind: 'window', of: 'max', kernel: [2], stride: [1], dilation: [1], padding: [[0, 0]] };
    const operation = { ...rest, ceil: false, countsPadding: false, p: 2, places: 'rows' };
    check(operation, [[1, 2, 4]], [0, 0], { 0: [1, 5, 2, 3, 4, 1, 2, 0] });
  });
});

describe('recurrent layers', () => {
  const SIZES = { rnn: [1, 1], gru: [3, 2], lstm: [4, 3] } as const;
  const [steps, samples, features, hidden] = [4, 3, 2, 2];
  const curves = ['sigmoid', 'tanh', 'softsign', 'hardsigmoid', 'scaledtanh', 'softplus', 'elu', 'leakyrelu', 'affine'];

  interface Way {
    readonly direction?: string;
    readonly batchFirst?: boolean;
    readonly gives?: string;
    readonly has?: readonly string[];
    readonly more?: object;
  }

  function layer(cell: keyof typeof SIZES, way: Way, first = 0) {
    const { direction = 'forward', batchFirst = false, gives = 'y', has = ['bias'], more } = way;
    const [gates, count] = SIZES[cell];
    const ways = direction === 'bidirectional' ? 2 : 1;
    const state = batchFirst ? [samples, ways, hidden] : [ways, samples, hidden];
    const shapes: Record<string, number[]> = {
      bias: [ways, 2 * gates * hidden],
      lengths: [samples],
      h: state,
      c: state,
      peepholes: [ways, 3 * hidden],
      mask: [samples, steps],
    };
    const operation = {
      kind: 'recurrent',
      cell,
      direction,
      hidden,
      batchFirst,
      gates: Array.from({ length: ways * count }, (_, i) => {
        const curve = curves[(first + i) % curves.length];
        return { curve, a: curve === 'scaledtanh' ? 1.2 : 0.4, b: 0.5 };
      }),
      clip: 0,
      linearBeforeReset: false,
      coupled: false,
      has,
      gives,
      ...more,
    };
    const x = batchFirst ? [samples, steps, features] : [steps, samples, features];
    const weights = [
      [ways, gates * hidden, features],
      [ways, gates * hidden, hidden],
    ];
    return { operation, x, weights, others: has.map((name) => shapes[name]) };
  }

  const FIXED: Record<string, number[]> = {
    lengths: [4, 0, 2],
    mask: [0, 1, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0],
  };
  const WAYS: Record<string, Way> = {
    'all steps': {},
    'all curves of gates': {},
    'the last state, without bias, from the last step': { gives: 'h', has: [], direction: 'reverse' },
    'both ways, batch first, everything': {
      gives: 'all',
      has: ['bias', 'h'],
      direction: 'bidirectional',
      batchFirst: true,
    },
    'lengths and a first state': { gives: 'all', has: ['bias', 'lengths', 'h'], direction: 'bidirectional' },
    'a mask, outputs repeated': { has: ['bias', 'h', 'mask'], batchFirst: true, more: { zeros: false } },
    'a mask, outputs of 0, from the last step': {
      has: ['bias', 'mask'],
      batchFirst: true,
      direction: 'reverse',
      more: { zeros: true },
    },
    'a mask and the last state': { has: ['bias', 'h', 'mask'], gives: 'h', direction: 'bidirectional' },
    'bounds of sums': { more: { clip: 0.7 } },
  };
  const cases = (['rnn', 'gru', 'lstm'] as const).flatMap((cell) =>
    Object.entries(WAYS).map(([name, way], i) => [cell, name, way, i] as const),
  );

  const compare = (cell: keyof typeof SIZES, way: Way, first = 0) => {
    const { operation, x, weights, others } = layer(cell, way, first);
    const fixed = Object.fromEntries(
      operation.has.flatMap((name, i) => (FIXED[name] ? [[3 + i, FIXED[name]] as const] : [])),
    );
    check(operation, [x, ...weights, ...others], [-1, 1], fixed);
  };

  test.each(cases)('%s: %s', (cell, _, way, i) => {
    for (const first of i === 1 ? curves.keys() : [i]) compare(cell, way, first);
  });
  test('gru: the reset gate behind the product', () => {
    compare('gru', { gives: 'all', has: ['bias', 'h'], direction: 'bidirectional', more: { linearBeforeReset: true } });
  });
  test('lstm: cell states, peepholes, a coupled forget gate', () => {
    const has = ['bias', 'h', 'c', 'peepholes'];
    compare('lstm', { gives: 'c', has });
    compare('lstm', { gives: 'all', has, direction: 'bidirectional', more: { coupled: true } });
  });

  test.each(['rnn', 'gru', 'lstm'] as const)('%s with weights of its own, which stay as they are', (cell) => {
    const { operation, x, weights, others } = layer(cell, { gives: 'all', has: ['bias', 'h', 'mask'] }, 1);
    const draw = (shape: readonly number[]) => Float32Array.from({ length: size(shape) }, () => random.normal());
    const own = { weight: draw(weights[0]), recurrence: draw(weights[1]), bias: draw(others[0]) };
    const of = { ...operation, has: ['h', 'mask'] };
    check({ kind: 'recurrent-layer', of, features, ...own }, [x, ...others.slice(1)], [-1, 1], { 2: FIXED.mask });
  });
});

test('every operation that networks from files have beside layers has a gradient', () => {
  for (const { runner } of OTHERS) expect(gradientOf({ kind: runner.kind }), runner.kind).toBeTypeOf('function');
});

test('what jumps has the gradient 0, as in PyTorch', () => {
  const fixed = { 0: Array.from({ length: 24 }, (_, i) => Math.sin(i)) };
  for (const of of ['floor', 'ceil', 'round', 'trunc', 'sign', 'not', 'truth', 'is-nan', 'is-inf'])
    check({ kind: 'unary', of, a: 1, b: 1 }, [SHAPE], [0, 0], fixed);
  for (const of of ['equal', 'less', 'less-equal', 'greater', 'greater-equal', 'and', 'or', 'xor', 'quotient'])
    check({ kind: 'binary', of }, [SHAPE, [4]], [0, 0], { ...fixed, 1: [0.1, 2, 3, -1] });
});

test('a network from a file with such operations trains: its loss falls', async () => {
  const net = await loadNetwork(
    onnxModel({
      inputs: { x: ['n', 3, 4] },
      outputs: ['y'],
      constants: {
        w: floats([4, 5]),
        zero: ints(0),
        two: ints(2),
        one: ints(1),
        eps: floats([]),
        scales: { data: Float32Array.of(1, 2, 1.5), shape: [3] },
      },
      nodes: [
        node('MatMul', 'x w', 'a'),
        node('Transpose', 'a', 'b', { perm: [0, 2, 1] }),
        node('Slice', 'b zero two one', 'c'),
        node('Exp', 'c', 'd'),
        node('ReduceMean', 'd', 'e', { axes: [2], keepdims: 1 }),
        node('Div', 'd e', 'f'),
        node('Greater', 'f e', 'g'),
        node('Where', 'g f e', 'h'),
        node('Transpose', 'h', 'i', { perm: [0, 2, 1] }),
        node('MatMul', 'h i', 'j'),
        node('Resize', 'j - scales', 'y', { mode: 'linear' }),
      ],
    }),
  );
  expect(net.report).toMatchObject({ trainable: true, reason: null });
  net.train();
  const x = { data: Float32Array.from({ length: 24 }, () => random.normal()), shape: [2, 3, 4] };
  const loss = () => Array.from(net.forward(x).data).reduce((sum, value) => sum + value * value, 0);
  const before = loss();
  const y = net.forward(x);
  net.zeroGrad();
  net.backward({ data: Float32Array.from(y.data, (value) => 2 * value), shape: y.shape });
  const [weight] = net.parameters();
  expect(weight.grad.some((value) => value !== 0)).toBe(true);
  // a step along one weight, against the gradient of the whole
  const h = 1e-2;
  for (const i of [0, 7, 13]) {
    const was = weight.data[i];
    weight.data[i] = was + h;
    const above = loss();
    weight.data[i] = was - h;
    const below = loss();
    weight.data[i] = was;
    expect(Math.abs((above - below) / (2 * h) - weight.grad[i])).toBeLessThan(
      2e-2 * Math.max(1, Math.abs(weight.grad[i])),
    );
  }
  const steepest = weight.grad.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  weight.data.forEach((value, i) => {
    weight.data[i] = value - (1e-3 * weight.grad[i]) / steepest;
  });
  expect(loss()).toBeLessThan(before);
});
