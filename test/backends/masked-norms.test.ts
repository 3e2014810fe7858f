// Masks, lengths and weights in group, instance, layer and RMS norm, against f64 and central
// differences.

import { describe, expect, test } from 'vitest';
import { GroupNorm, InstanceNorm1d, type MaskOptions, type Norm, Random } from '../../src/index.ts';
import { normals } from '../support/data.ts';
import { centralDifferences, dot, expectClose } from '../support/gradients.ts';
import { type WeightedNorm, weightedNorm } from '../support/weighted-norm.ts';

const SHAPE = [3, 6, 7];
const SIZE = 126;

/** Fills gamma and beta with values that all differ. */
function lopsidedScale(norm: Norm): void {
  norm.gamma?.data.forEach((_, c, data) => {
    data[c] = 0.6 + 0.3 * c - 0.02 * c * c;
  });
  norm.beta?.data.forEach((_, c, data) => {
    data[c] = 0.2 * c - 0.5;
  });
}

/** A forward and a backward against f64. What lies under the mask is NaN in x, and junk in dy. */
function check(norm: Norm<number, MaskOptions>, shape: number[], options: MaskOptions, like: WeightedNorm): void {
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
  expectClose(dx.data, centralDifferences(clean, (x) => loss(x)), 2e-5);
  for (let i = 0; i < size; i++) if (!like.weights[i]) expect([y.data[i], dx.data[i]]).toEqual([0, 0]);
  if (gamma) expectClose(norm.gamma!.grad, centralDifferences(gamma, (g) => loss(clean, g)), 2e-5);
  if (beta) expectClose(norm.beta!.grad, centralDifferences(beta, (b) => loss(clean, gamma, b)), 2e-5);
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
  ['a sample without a place that counts', { lengths: [7, 0, 4] }, (i) => Number(i % 7 < [7, 0, 4][Math.floor(i / 42)])],
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
    const norm = new InstanceNorm1d(6, { affine: true }).eval() as unknown as Norm<number, MaskOptions>;
    const setOf = (i: number) => Math.floor(i / 7);
    check(norm, SHAPE, options, { setOf, parameterOf: (i) => setOf(i) % 6, weights, eps: 1e-5 });
  });
});
