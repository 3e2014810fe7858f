import { expect, test } from 'vitest';
import {
  ACTIVATIONS,
  type ActivationName,
  activate,
  activationCode,
  derivative,
  NAMES,
  normalCdf,
  SLOPES,
} from '../../src/kernels/activations.ts';
import { backend } from '../../src/kernels/backend.ts';
import { training } from '../../src/kernels/training/part.ts';

const U = 2 ** -24;

/** f32 values over the whole range: every exponent, both signs, and closely around 0. */
function everywhere(): Float32Array {
  const values: number[] = [];
  const bits = new DataView(new ArrayBuffer(4));
  for (let word = 0; word < 0x7f800000; word += 30011) {
    bits.setUint32(0, word);
    values.push(bits.getFloat32(0), -bits.getFloat32(0));
  }
  for (let value = -25; value < 25; value += 0.001) values.push(value);
  return Float32Array.from(values);
}

/** The distance between neighbouring f32 values at `value`. */
function unit(value: number): number {
  const size = Math.abs(value);
  return size < 2 ** -126 ? 2 ** -149 : 2 ** (Math.floor(Math.log2(size)) - 23);
}

function run(name: ActivationName, x: Float32Array, dy?: Float32Array): Float32Array {
  const { heap, kernels } = training(backend());
  const { kind, alpha } = activationCode('test', name);
  const [from, gradient, to] = [0, 1, 2].map(() => heap.alloc(x.length * 4));
  heap.f32.set(x, from >> 2);
  if (dy) {
    heap.f32.set(dy, gradient >> 2);
    kernels.activate_grad_f32(from, gradient, to, kind, alpha, x.length);
  } else {
    kernels.activate_f32(from, to, kind, alpha, x.length);
  }
  const result = heap.f32.slice(to >> 2, (to >> 2) + x.length);
  for (const at of [from, gradient, to]) heap.free(at);
  return result;
}

const x = everywhere();

/** x times a factor that vanishes below: no value at −∞. */
const isGated = (name: ActivationName) =>
  Number.isNaN(activate(NAMES.indexOf(name), Number.NEGATIVE_INFINITY, activationCode('test', name).alpha));

test.each(ACTIVATIONS.filter((name) => !isGated(name)))(
  '%s is within 4 units in the last place over the whole range',
  (name) => {
    const { kind, alpha } = activationCode('test', name);
    const y = run(name, x);
    let worst = 0;
    x.forEach((value, i) => {
      const want = activate(kind, value, alpha);
      const error = y[i] === Math.fround(want) ? 0 : Math.abs(y[i] - want) / unit(want);
      if (!(error <= worst)) worst = error;
    });
    expect(worst).toBeLessThanOrEqual(4);
  },
);

test.each(ACTIVATIONS.filter(isGated))('%s is within 8·2⁻²⁴·|x|, since it is x times a factor up to 1', (name) => {
  const { kind, alpha } = activationCode('test', name);
  const y = run(name, x);
  let worst = 0;
  x.forEach((value, i) => {
    const error = Math.abs(y[i] - activate(kind, value, alpha)) / (8 * U * Math.abs(value) + 1e-44);
    if (!(error <= worst)) worst = error;
  });
  expect(worst).toBeLessThanOrEqual(1);
});

test.each(ACTIVATIONS)('the derivative of %s is within 8·2⁻²⁴', (name) => {
  const { kind, alpha } = activationCode('test', name);
  const near = x.filter((value) => Math.abs(value) < 30);
  const dx = run(name, near, new Float32Array(near.length).fill(1));
  let worst = 0;
  near.forEach((value, i) => {
    const error = Math.abs(dx[i] - derivative(kind, value, alpha)) / (8 * U);
    if (!(error <= worst)) worst = error;
  });
  expect(worst).toBeLessThanOrEqual(1);
});

test('NaN stays NaN through every activation, and limits at ±Inf are right', () => {
  const ends = Float32Array.of(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY);
  const limits: Partial<Record<ActivationName, number[]>> = {
    relu: [Number.POSITIVE_INFINITY, 0],
    relu6: [6, 0],
    sigmoid: [1, 0],
    tanh: [1, -1],
    elu: [Number.POSITIVE_INFINITY, -1],
    softplus: [Number.POSITIVE_INFINITY, 0],
    'hard-sigmoid': [1, 0],
    'leaky-relu': [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
  };
  for (const [name, [above, below]] of Object.entries(limits)) {
    const y = run(name as ActivationName, ends);
    expect([name, ...y]).toEqual([name, Number.NaN, above, below]);
  }
  for (const name of ACTIVATIONS) expect([name, run(name, ends)[0]]).toEqual([name, Number.NaN]);
  for (const name of ACTIVATIONS.filter((one) => !isGated(one))) {
    const { kind, alpha } = activationCode('test', name);
    expect([name, ...run(name, ends)]).toEqual([name, ...ends.map((end) => activate(kind, end, alpha))]);
  }
});

test('the gradient at a corner is the one PyTorch takes', () => {
  const one = (name: ActivationName, at: number) => run(name, Float32Array.of(at), Float32Array.of(1))[0];
  expect(one('relu', 0)).toBe(0);
  expect(one('leaky-relu', 0)).toBe(Math.fround(0.01));
  expect(one('relu6', 0)).toBe(0);
  expect(one('relu6', 6)).toBe(0);
  expect(one('hard-sigmoid', -3)).toBe(0);
  expect(one('hard-sigmoid', 3)).toBe(0);
  expect(one('hard-swish', -3)).toBe(-0.5);
});

test('a gradient of NaN is dropped where the derivative is 0: values are selected, not multiplied', () => {
  expect(run('relu', Float32Array.of(-1, 1), Float32Array.of(Number.NaN, Number.NaN))).toEqual(
    Float32Array.of(0, Number.NaN),
  );
});

test('the normal distribution function agrees with tabulated values', () => {
  // Abramowitz & Stegun, tables 26.1 and 26.2
  expect(normalCdf(0)).toBe(0.5);
  expect(normalCdf(1)).toBeCloseTo(0.841344746068543, 14);
  expect(normalCdf(-2)).toBeCloseTo(0.022750131948179, 14);
  expect(normalCdf(2.9999)).toBeCloseTo(normalCdf(3.0001), 5);
  expect(normalCdf(-5) / 2.866515719e-7).toBeCloseTo(1, 8);
});

test('derivatives of values beyond any that activations bend are 0 or 1, not NaN', () => {
  const x = Float32Array.of(-3e38, -1e30, -1e20, -1.9e13, -1e13, 1e13, 1.9e13, 1e20, 1e30, 3e38);
  const dy = new Float32Array(x.length).fill(1);
  for (const name of ACTIVATIONS) {
    const { alpha } = activationCode('test', name);
    const kind = NAMES.indexOf(name);
    const got = run(name, x, dy);
    got.forEach((value, i) => {
      const expected = derivative(kind, x[i], alpha);
      expect([name, x[i], Math.abs(value - expected) <= 1e-6]).toEqual([name, x[i], true]);
    });
  }
});

test('the steepest slope that a certificate goes by is one', () => {
  for (const name of ACTIVATIONS) {
    const kind = NAMES.indexOf(name);
    const { alpha } = activationCode('test', name);
    let most = Math.abs(alpha);
    for (let x = -12; x <= 12; x += 2 ** -10) most = Math.max(most, Math.abs(derivative(kind, x, alpha)));
    const bound = Math.max(SLOPES[name].steepest, Math.abs(alpha));
    expect([name, most <= bound, bound <= most * 1.05 + 1e-9]).toEqual([name, true, true]);
  }
});
