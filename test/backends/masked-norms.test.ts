// Masks, lengths and weights in group, instance, layer and RMS norm, against f64 and central
// differences.

import { describe, expect, test } from 'vitest';
import {
  GroupNorm,
  InstanceNorm1d,
  LayerNorm,
  type MaskOptions,
  Random,
  RMSNorm,
  Sequential,
  tensor,
} from '../../src/index.ts';
import { normals, worstDifference } from '../support/data.ts';
import { errorOf } from '../support/errors.ts';
import { centralDifferences, dot, expectClose } from '../support/gradients.ts';
import { transposed } from '../support/transposed.ts';
import { type WeightedNorm, weightedNorm } from '../support/weighted-norm.ts';

const SHAPE = [3, 6, 7];
const SIZE = 126;

/** A norm that takes masks. */
type Made = Pick<GroupNorm, 'forward' | 'backward' | 'gamma' | 'beta'>;

/** Fills gamma and beta with values that all differ. */
function lopsidedScale(norm: Made): void {
  norm.gamma?.data.forEach((_, c, data) => {
    data[c] = 0.6 + 0.3 * c - 0.02 * c * c;
  });
  norm.beta?.data.forEach((_, c, data) => {
    data[c] = 0.2 * c - 0.5;
  });
}

/** A forward and a backward against f64. What lies under the mask is NaN in x, and junk in dy. */
function check(norm: Made, shape: number[], options: MaskOptions, like: WeightedNorm): void {
  lopsidedScale(norm);
  const size = shape.reduce((a, b) => a * b);
  const clean = normals(1, size, 3, 2);
  const [data, given] = [clean.slice(), normals(2, size)];
  for (let i = 0; i < size; i++) if (!like.weights[i]) [data[i], given[i]] = [Number.NaN, 1e30];
  const [gamma, beta] = [norm.gamma?.data.slice(), norm.beta?.data.slice()];
  const y = norm.forward({ data, shape }, options);
  expectClose(y.data, weightedNorm(clean, like, gamma, beta), 4e-6);
  const dx = norm.backward({ data: given, shape });
  const dy = given.map((value, i) => (like.weights[i] ? value : 0));
  const loss = (x: ArrayLike<number>, g = gamma as ArrayLike<number> | undefined, b = beta as typeof g) =>
    dot(weightedNorm(x, like, g, b), dy);
  expectClose(
    dx.data,
    centralDifferences(clean, (x) => loss(x)),
    2e-5,
  );
  for (let i = 0; i < size; i++) if (!like.weights[i]) expect([y.data[i], dx.data[i]]).toEqual([0, 0]);
  if (gamma)
    expectClose(
      norm.gamma!.grad,
      centralDifferences(gamma, (g) => loss(clean, g)),
      2e-5,
    );
  if (beta)
    expectClose(
      norm.beta!.grad,
      centralDifferences(beta, (b) => loss(clean, gamma, b)),
      2e-5,
    );
}

const random = new Random(5);
const draw = (length: number, chance: number) => Array.from({ length }, () => Number(random.uniform() < chance));

const PLACES = draw(21, 0.6);
const VALUES = draw(126, 0.6);
const WEIGHTS = Array.from({ length: 21 }, () => (random.uniform() < 0.3 ? 0 : 0.2 + 3 * random.uniform()));
const LENGTHS = [7, 2, 4];

/** Masks of [3, 6, 7] with channels on axis 1, and the weight of each value. */
const masks: [string, MaskOptions, (i: number) => number][] = [
  ['a mask of places', { mask: { data: PLACES, shape: [3, 7] } }, (i) => PLACES[Math.floor(i / 42) * 7 + (i % 7)]],
  ['a mask of values', { mask: { data: VALUES, shape: SHAPE } }, (i) => VALUES[i]],
  ['lengths', { lengths: LENGTHS }, (i) => Number(i % 7 < LENGTHS[Math.floor(i / 42)])],
  ['weights', { weights: { data: WEIGHTS, shape: [3, 7] } }, (i) => WEIGHTS[Math.floor(i / 42) * 7 + (i % 7)]],
  [
    'weights, and lengths',
    { weights: { data: WEIGHTS, shape: [3, 7] }, lengths: LENGTHS },
    (i) => (i % 7 < LENGTHS[Math.floor(i / 42)] ? WEIGHTS[Math.floor(i / 42) * 7 + (i % 7)] : 0),
  ],
  [
    'a sample without a place that counts',
    { lengths: [7, 0, 4] },
    (i) => Number(i % 7 < [7, 0, 4][Math.floor(i / 42)]),
  ],
];
const weightsBy = (of: (i: number) => number) => Array.from({ length: SIZE }, (_, i) => of(i));

describe.each(masks)('%s', (_, options, of) => {
  const weights = weightsBy(of);
  test.each([1, 2, 3, 6])('GroupNorm of %i groups', (groups) => {
    const channel = (i: number) => Math.floor(i / 7) % 6;
    const setOf = (i: number) => Math.floor(i / 42) * groups + Math.floor((channel(i) * groups) / 6);
    check(new GroupNorm(groups, 6), SHAPE, options, { setOf, parameterOf: channel, weights, eps: 1e-5 });
  });

  test('InstanceNorm, in evaluation', () => {
    const norm = new InstanceNorm1d(6, { affine: true }).eval() as unknown as Made;
    const setOf = (i: number) => Math.floor(i / 7);
    check(norm, SHAPE, options, { setOf, parameterOf: (i) => setOf(i) % 6, weights, eps: 1e-5 });
  });

  const rowNorms = [
    ['LayerNorm', true, LayerNorm],
    ['RMSNorm', false, RMSNorm],
  ] as const;
  describe.each(rowNorms)('%s', (_, centred, Kind) => {
    const eps = 1e-5;
    const options1 = { eps, affine: true };
    const channel = (i: number) => Math.floor(i / 7) % 6;

    test('of channels, axis 1', () => {
      const setOf = (i: number) => Math.floor(i / 42) * 7 + (i % 7);
      const like = { setOf, parameterOf: channel, weights, eps, centred };
      check(new Kind(6, { ...options1, axis: 1 }), SHAPE, options, like);
      check(new Kind(6, { ...options1, axis: -2 }), SHAPE, options, like);
    });

    test('of all of a sample', () => {
      const like = {
        setOf: (i: number) => Math.floor(i / 42),
        parameterOf: (i: number) => i % 42,
        weights,
        eps,
        centred,
      };
      // what is by place of a sample is said with all axes, or without those at the end
      const full: MaskOptions = { weights: { data: weights, shape: SHAPE } };
      check(new Kind([6, 7], options1), SHAPE, full, like);
      const turned = { ...like, parameterOf: (i: number) => (i % 7) * 6 + channel(i) };
      check(new Kind([7, 6], { ...options1, axis: [2, 1] }), SHAPE, full, turned);
    });
  });
});

describe('norms of rows', () => {
  const shape = [3, 5, 4];
  const x = { data: normals(3, 60, 2, 3), shape };
  const dy = { data: normals(4, 60), shape };
  const residual = { data: normals(5, 60), shape };
  const lengths = [5, 0, 2];
  const counts = (i: number) => Math.floor(i / 4) % 5 < lengths[Math.floor(i / 20)];
  const of = (values: Float32Array) => values.filter((_, i) => counts(i));

  test.each([
    ['LayerNorm', () => new LayerNorm(4, { activation: 'sigmoid' })],
    ['RMSNorm', () => new RMSNorm(4, { activation: 'sigmoid' })],
  ])('%s: the rows that count have the bits of a batch of them alone', (_, make) => {
    const [masked, plain] = [make(), make()];
    const only = (value: typeof x) => ({ data: of(value.data), shape: [7, 4] });
    const y = masked.forward(x, { lengths, residual });
    expect(of(y.data as Float32Array)).toEqual(plain.forward(only(x), { residual: only(residual) }).data);
    const dx = masked.backward(dy);
    expect(of(dx.data as Float32Array)).toEqual(plain.backward(only(dy)).data);
    expect(of(masked.residualGrad!.data as Float32Array)).toEqual(plain.residualGrad!.data);
    expect(masked.gamma!.grad).toEqual(plain.gamma!.grad);
    for (const values of [y.data, dx.data, masked.residualGrad!.data]) {
      values.forEach((value, i) => {
        if (!counts(i)) expect(value).toBe(0);
      });
    }
    expect(Array.from(masked.savedMean!, Number.isNaN)).toEqual(Array.from({ length: 15 }, (_, r) => !counts(r * 4)));
    // one call's: the next has none
    const out = { data: new Float32Array(60), shape };
    masked.forward(x, { out, lengths });
    masked.forward(x, { out });
    expect(out.data).toEqual(plain.forward(x).data);
  });

  test('weights, an activation and a residual', () => {
    const data = Array.from({ length: 60 }, (_, i) => (i % 3 ? 0.5 + (i % 5) : 0));
    const weights = { data, shape };
    const [fused, apart] = [new LayerNorm(4, { activation: 'sigmoid' }), new LayerNorm(4)];
    const y = fused.forward(x, { weights, residual });
    const before = apart.forward(x, { weights, residual });
    const s = Float64Array.from(before.data, (v) => 1 / (1 + Math.exp(-v)));
    expectClose(
      y.data,
      s.map((v, i) => (data[i] ? v : 0)),
      1e-6,
    );
    const dx = fused.backward(dy);
    const given = { data: Float32Array.from(s, (v, i) => v * (1 - v) * dy.data[i]), shape };
    expect(worstDifference(dx.data, apart.backward(given).data)).toBeLessThan(1e-6);
    expect(worstDifference(fused.residualGrad!.data, apart.residualGrad!.data)).toBeLessThan(1e-6);
    expect(worstDifference(fused.gamma!.grad, apart.gamma!.grad)).toBeLessThan(1e-5);
  });

  test('nothing counts: 0, and no gradient', () => {
    const norm = new LayerNorm(4);
    const nan = { data: new Float32Array(60).fill(Number.NaN), shape };
    expect(norm.forward(nan, { lengths: [0, 0, 0] }).data).toEqual(new Float32Array(60));
    expect(norm.backward(nan).data).toEqual(new Float32Array(60));
    expect([...norm.gamma!.grad]).toEqual([0, 0, 0, 0]);
  });

  test.each([[1], [-2], [[1]]])('axis %j as the same axis at the end: arrays, tensors, in place', (axis) => {
    const [norm, plain] = [new LayerNorm(5, { axis, activation: 'gelu' }), new LayerNorm(5, { activation: 'gelu' })];
    for (const one of [norm, plain]) one.gamma!.data.set([1, 2, -1, 0.5, 3]);
    const turned = (value: { data: Float32Array; shape: readonly number[] }) => transposed(value, [0, 2, 1]);
    const expected = plain.forward(turned(x), { residual: turned(residual) });
    const y = norm.forward(x, { residual });
    expect(turned(y as typeof x).data).toEqual(expected.data);
    const dx = norm.backward(dy);
    expect(turned(dx as typeof x).data).toEqual(plain.backward(turned(dy)).data);
    expect(turned(norm.residualGrad as typeof x).data).toEqual(plain.residualGrad!.data);
    expect(norm.gamma!.grad).toEqual(plain.gamma!.grad);
    const there = tensor(x.data, shape);
    norm.forward(there, { out: there, residual });
    expect(Array.from(there.data)).toEqual(Array.from(y.data));
    const run = new Sequential(norm).eval().compile({ inputShape: shape.slice(1) });
    expect(worstDifference(run(x).data, norm.forward(x).data)).toBeLessThan(1e-6);
  });

  test('several axes, compiled and not', () => {
    const big = { data: normals(6, 240, 1, 2), shape: [2, 3, 5, 4, 2] };
    for (const [axis, lengths, order] of [
      [
        [1, 3],
        [3, 4],
        [0, 2, 4, 1, 3],
      ],
      [
        [3, 1],
        [4, 3],
        [0, 2, 4, 3, 1],
      ],
      [
        [-4, -2],
        [3, 4],
        [0, 2, 4, 1, 3],
      ],
    ]) {
      const [norm, plain] = [new LayerNorm(lengths, { axis }), new LayerNorm(lengths)];
      for (const one of [norm, plain]) one.gamma!.data.set(one.gamma!.data.map((_, i) => 1 + i / 4));
      const y = norm.eval().forward(big);
      expect(transposed(y as typeof big, order).data).toEqual(plain.forward(transposed(big, order)).data);
      const run = new Sequential(norm).eval().compile({ inputShape: big.shape.slice(1) });
      expect(worstDifference(run(big).data, y.data)).toBeLessThan(1e-6);
      expect(run.explain()).toBeTruthy();
    }
    expect(new LayerNorm([3, 4], { axis: [-2, -1] }).axis).toBe(null);
  });
});

test.each<[string, () => unknown, [string, string, string]]>([
  [
    'another number of axes',
    () => new LayerNorm([3, 4], { axis: [1] }),
    [
      'RangeError',
      'ERR_OPTION',
      'LayerNorm(3, 4): axis expected 2 different axes behind that of the samples, or null, got [1]',
    ],
  ],
  [
    'an axis twice',
    () => new RMSNorm([3, 4], { axis: [2, 2] }),
    [
      'RangeError',
      'ERR_OPTION',
      'RMSNorm(3, 4): axis expected 2 different axes behind that of the samples, or null, got [2, 2]',
    ],
  ],
  [
    'the axis of samples',
    () => new LayerNorm(3, { axis: 0 }),
    ['RangeError', 'ERR_OPTION', 'LayerNorm(3): axis expected an axis behind that of the samples, or null, got 0'],
  ],
  [
    'the same axis, from either end',
    () => new LayerNorm([3, 3], { axis: [1, -2] }).forward({ data: new Float32Array(27), shape: [3, 3, 3] }),
    [
      'RangeError',
      'ERR_SHAPE',
      'LayerNorm(3, 3): x expected different axes 1, -2 behind that of the samples, got rank 3 (shape [3, 3, 3])',
    ],
  ],
  [
    'another length',
    () => new LayerNorm(4, { axis: 1 }).forward({ data: new Float32Array(24), shape: [2, 3, 4] }),
    ['RangeError', 'ERR_SHAPE', 'LayerNorm(4): x expected length 4 of axis 1, got 3 (shape [2, 3, 4])'],
  ],
  [
    'a mask of another shape',
    () =>
      new LayerNorm(4).forward(
        { data: new Float32Array(24), shape: [2, 3, 4] },
        { mask: { data: [1, 0], shape: [1, 2] } },
      ),
    [
      'RangeError',
      'ERR_SHAPE',
      'LayerNorm(4): mask expected shape [2, 3] or [2, 3, 4], with 1 for any length, got [1, 2]',
    ],
  ],
  [
    'axes counted from both ends, compiled without a shape',
    () => new Sequential(new LayerNorm([3, 4], { axis: [1, -2] })).eval().compile(),
    ['Error', 'ERR_MODE', 'LayerNorm(3, 4): compile expected axes that are all counted from one end, got [1, -2]'],
  ],
  [
    'a single place that counts, where that is refused',
    () =>
      new GroupNorm(1, 2, { onSingleValue: 'throw' }).forward(
        { data: new Float32Array(12), shape: [2, 2, 3] },
        { mask: { data: [1, 1, 1, 1, 1, 1, 0, 1, 0, 0, 0, 0], shape: [2, 2, 3] } },
      ),
    [
      'RangeError',
      'ERR_SINGLE_VALUE',
      'GroupNorm(1, 2): x expected at least 2 values per group, got 1 (shape [2, 2, 3]; see onSingleValue)',
    ],
  ],
])('%s', (_, work, expected) => {
  expect(errorOf(work)).toEqual(expected);
});
