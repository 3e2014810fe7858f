// Gradients against central differences.

import { expect } from 'vitest';

export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

export function centralDifferences(
  values: ArrayLike<number>,
  loss: (values: Float64Array) => number,
  h = 1e-5,
): Float64Array {
  const at = Float64Array.from(values);
  return at.map((value, i) => {
    at[i] = value + h;
    const above = loss(at);
    at[i] = value - h;
    const below = loss(at);
    at[i] = value;
    return (above - below) / (2 * h);
  });
}

/**
 * The tolerance is of the largest value, or of 0.01 where all are smaller: a bias before batch norm
 * has gradient 0.
 */
export function expectClose(actual: ArrayLike<number>, expected: Float64Array, tolerance: number): void {
  const scale = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-2);
  for (let i = 0; i < expected.length; i++) {
    if (!(Math.abs(actual[i] - expected[i]) <= tolerance * scale))
      expect.fail(`element ${i}: ${actual[i]}, expected ${expected[i]} (scale ${scale})`);
  }
}
