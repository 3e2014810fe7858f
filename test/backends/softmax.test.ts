import { describe, expect, test } from 'vitest';
import { Graph, Linear, LogSoftmax, Sequential, Softmax, Tensor, tensor } from '../../src/index.ts';
import { normals } from '../support/data.ts';
import { errorOf } from '../support/errors.ts';
import { centralDifferences, dot, expectClose } from '../support/gradients.ts';

/** In f64: values along an axis are `inner` apart. */
function formula(x: ArrayLike<number>, shape: readonly number[], axis: number, isLog: boolean): Float64Array {
  const length = shape[axis];
  const inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
  const y = new Float64Array(x.length);
  for (let i = 0; i < x.length; i++) {
    if (Math.floor(i / inner) % length) continue;
    const along = Array.from({ length }, (_, k) => i + k * inner);
    const most = Math.max(...along.map((k) => x[k]));
    const sum = along.reduce((total, k) => total + Math.exp(x[k] - most), 0);
    for (const k of along) y[k] = isLog ? x[k] - most - Math.log(sum) : Math.exp(x[k] - most) / sum;
  }
  return y;
}

const SHAPES: [shape: number[], axis: number][] = [
  [[5, 7], -1],
  [[5, 7], 0],
  [[2, 3, 5], 1],
  [[2, 3, 5], -3],
  [[2, 3, 4, 5], 2],
  [[3, 33], 1],
  [[9], 0],
  [[4, 1], 1],
];

describe.each([
  ['Softmax', Softmax, false],
  ['LogSoftmax', LogSoftmax, true],
] as const)('%s', (_, Kind, isLog) => {
  test.each(SHAPES)('over %j along %d: values and gradient', (shape, axis) => {
    const size = shape.reduce((a, b) => a * b, 1);
    const x = normals(1, size, 2);
    const dy = normals(2, size);
    const at = axis < 0 ? axis + shape.length : axis;
    const expected = formula(x, shape, at, isLog);
    const slopes = centralDifferences(x, (v) => dot(formula(v, shape, at, isLog), dy));
    for (const isTensor of [false, true]) {
      const give = (data: Float32Array) => (isTensor ? tensor(data, shape) : { data: data.slice(), shape });
      const layer = new Kind({ axis });
      const y = layer.forward(give(x));
      expect(y instanceof Tensor).toBe(isTensor);
      expectClose(y.data, expected, 1e-6);
      const first = layer.backward(give(dy)).data.slice();
      expectClose(first, slopes, 3e-6);
      const given = give(dy);
      expect(layer.backward(given, { out: given })).toBe(given);
      expect(Float32Array.from(given.data)).toEqual(first);
      const over = give(x);
      layer.forward(over, { out: over });
      expect(Float32Array.from(over.data)).toEqual(Float32Array.from(y.data));
    }
  });

  test('large values do not overflow; what is not finite stays in its row', () => {
    const { NaN: nan, POSITIVE_INFINITY: inf } = Number;
    const data = Float32Array.of(1e4, 1e4, -1e4, 1, nan, 2, inf, 3, 4, -inf, 0, 0, -inf, -inf, -inf);
    const y = new Kind().forward({ data, shape: [5, 3] }).data;
    const half = isLog ? -Math.fround(Math.log(2)) : 0.5;
    expectClose(y.slice(0, 2), Float64Array.of(half, half), 1e-6);
    expect(y[2]).toBe(isLog ? Math.fround(-2e4 - Math.log(2)) : 0);
    expect([...y.slice(3, 9), ...y.slice(12)].every(Number.isNaN)).toBe(true);
    expect(y[9]).toBe(isLog ? -inf : 0);
    expectClose(y.slice(10, 12), Float64Array.of(half, half), 1e-6);
  });

  test('an empty batch passes, and networks train through it', () => {
    const empty = { data: new Float32Array(0), shape: [0, 4] };
    const layer = new Kind();
    expect(layer.forward(empty)).toEqual(empty);
    expect(layer.backward(empty)).toEqual(empty);
    const linear = () => new Linear(4, 3, { seed: 1 });
    const chain = new Sequential(linear(), new Kind());
    const net = new Graph({ x: [4] }, (g, { x }) => g.apply('p', new Kind({ axis: 1 }), g.apply('fc', linear(), x)));
    const [x, dy] = [
      { data: normals(1, 20), shape: [5, 4] },
      { data: normals(2, 15), shape: [5, 3] },
    ];
    expect(net.forward(x)).toEqual(chain.forward(x));
    expect(net.backward(dy)).toEqual(chain.backward(dy));
  });

  test.each([
    [() => new Kind({ axis: 0.5 }), 'TypeError', 'ERR_OPTION', 'axis expected an integer, got 0.5'],
    [() => new Kind({ dim: 1 } as never), 'TypeError', 'ERR_OPTION', "options expected 'axis', got 'dim'"],
    [
      () => new Kind({ axis: 2 }).forward({ data: new Float32Array(2), shape: [1, 2] }),
      'RangeError',
      'ERR_SHAPE',
      'x expected an axis 2, got shape [1, 2]',
    ],
    [
      () => new Kind({ axis: -3 }).outputShape([1, 2]),
      'RangeError',
      'ERR_SHAPE',
      'x expected an axis -3, got shape [1, 2]',
    ],
    [
      () => new Kind().backward({ data: new Float32Array(2), shape: [1, 2] }),
      'Error',
      'ERR_MODE',
      'backward expected a forward before it, got none',
    ],
  ])('what it does not take (%#)', (work, kind, code, message) => {
    expect(errorOf(work)).toEqual([kind, code, `${Kind.name}: ${message}`]);
  });
});
