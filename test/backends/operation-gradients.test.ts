// Gradients of operations that networks from files have beside layers', against central differences
// in f64.

import { describe, expect, test } from 'vitest';
import type { Operation } from '../../src/graph/operation.ts';
import { descriptionOf } from '../../src/graph/operations/every.ts';
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

/** Compares backward with central differences of Σ dy·y, input by input. */
function check(
  operation: object,
  shapes: readonly (readonly number[])[],
  range: Range,
  fixed: ArrayLike<number>[] = [],
) {
  const given = operation as Operation;
  const xs = shapes.map((shape, i) => ({
    data:
      i > 0 && fixed[i - 1]
        ? Float64Array.from(fixed[i - 1])
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
  expect(one.evaluationOnly).toBeUndefined();
  one.backward({ data: Float32Array.from(dy), shape: y.shape } as never, plain as never, dxs as never);
  xs.forEach(({ data }, k) => {
    if (k > 0 && (fixed[k - 1] || given.kind !== 'binary')) {
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
    check({ kind: 'gather', by: 'slices', axis: 1, batch: 0 }, [SHAPE, [4]], [-2, 2], [[2, 0, 2, -1]]);
    check({ kind: 'reverse', time: 1 }, [SHAPE, [2]], [-2, 2], [[3, 2]]);
  });
});

test.each(['sum', 'mean', 'max', 'min'])('reduce %s', (of) => {
  for (const axes of [null, [1], [0, -1]])
    for (const keeps of [true, false]) check({ kind: 'reduce', of, axes, keeps }, [SHAPE], [-2, 2]);
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

test.each(['sub', 'div', 'pow', 'max', 'min', 'prelu'])('%s, broadcast', (of) => {
  for (const other of [SHAPE, [3, 1], [1], [2, 1, 4], [5, 1, 1, 1]])
    check({ kind: 'binary', of }, [SHAPE, other], of === 'prelu' ? [-2, 2] : [0.5, 2]);
});

test('what jumps has none', () => {
  for (const of of ['floor', 'round', 'sign', 'not'])
    expect(gradientOf({ kind: 'unary', of, a: 0, b: 0 } as never)).toBeUndefined();
  expect(gradientOf({ kind: 'reduce', of: 'prod', axes: null, keeps: true } as never)).toBeUndefined();
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
      },
      nodes: [
        node('MatMul', 'x w', 'a'),
        node('Transpose', 'a', 'b', { perm: [0, 2, 1] }),
        node('Slice', 'b zero two one', 'c'),
        node('Exp', 'c', 'd'),
        node('ReduceMean', 'd', 'e', { axes: [2], keepdims: 1 }),
        node('Div', 'd e', 'f'),
        node('Sub', 'f e', 'y'),
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
  weight.data.forEach((value, i) => {
    weight.data[i] = value - 1e-3 * weight.grad[i];
  });
  expect(loss()).toBeLessThan(before);
});
