// A running error analysis in f64 of what kernels do in f32 (Higham, Accuracy and Stability of
// Numerical Algorithms, chapter 3).

import type { Shape } from './operation.ts';

/** Values, and how far the f32 ones may be from them. */
export interface Valued {
  readonly shape: Shape;
  readonly value: Float64Array;
  readonly error: Float64Array;
}

/** Unit roundoff of f32. */
export const U = 5.9604644775390625e-8; // 2⁻²⁴

/** γ of a sum of n terms. */
export const gamma = (terms: number) => (terms * U) / (1 - terms * U);

/** a + b. */
export function sumOf(a: Valued, b: Valued): Valued {
  const value = a.value.map((x, i) => x + b.value[i]);
  const error = a.error.map((e, i) => e + b.error[i] + U * (Math.abs(value[i]) + e + b.error[i]));
  return { shape: a.shape, value, error };
}
