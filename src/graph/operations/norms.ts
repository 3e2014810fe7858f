// What norms by statistics of their input share: eps in files, and the error analysis for
// certificates.

import { U, type Valued } from '../error-analysis.ts';
import type { Fields } from '../operation.ts';

/** eps in a file: a finite number of 0 or more. */
export function readEps({ json: { eps }, fail }: Fields): number {
  if (typeof eps !== 'number' || !(eps >= 0)) throw fail('eps of 0 or more', eps);
  return eps;
}

/** A norm with copies of its gamma and beta in f64 or f32. */
export function withScaling<
  O extends { readonly gamma: ArrayLike<number> | null; readonly beta: ArrayLike<number> | null },
  V extends Float32Array | Float64Array,
>(
  norm: O,
  Values: { from(values: ArrayLike<number>): V },
): Omit<O, 'gamma' | 'beta'> & Record<'gamma' | 'beta', V | null> {
  const { gamma, beta } = norm;
  return { ...norm, gamma: gamma && Values.from(gamma), beta: beta && Values.from(beta) };
}

/** The exact value of a coefficient, and the f32 one in use. */
type Pair = readonly [exact: number, used: number];

/**
 * ŷ = (x − mean)/√(variance + eps)·gamma + beta over `count` values, with errors to every order:
 * statistics may be off by what their inputs are off by, and by the rounding of the centre and of
 * 1/σ to f32.
 *
 * @param at the place of the i-th value
 * @param scaling gamma and beta of the i-th value
 */
export function normalized(
  { value, error }: Valued,
  out: Valued,
  eps: number,
  centred: boolean,
  count: number,
  at: (i: number) => number,
  scaling: (i: number) => { gamma: Pair; beta: Pair },
): void {
  let [mean, meanError] = [0, 0];
  if (centred) {
    for (let i = 0; i < count; i++) {
      mean += value[at(i)] / count;
      meanError += error[at(i)] / count;
    }
    meanError += U * (Math.abs(mean) + meanError);
  }
  let [variance, varianceError] = [0, 0];
  for (let i = 0; i < count; i++) {
    const d = Math.abs(value[at(i)] - mean);
    const e = error[at(i)] + meanError;
    variance += (d * d) / count;
    varianceError += (2 * d * e + e * e) / count;
  }
  // sums are taken in f64 of differences in f32
  varianceError += 4 * U * (variance + varianceError);
  const invStd = 1 / Math.sqrt(variance + eps);
  // 1/√(v ± δ): unbounded where δ may be all of v
  const least = variance + eps - varianceError;
  const invStdError = (least > 0 ? 1 / Math.sqrt(least) - invStd : Number.POSITIVE_INFINITY) + 2 * U * invStd;
  for (let i = 0; i < count; i++) {
    const k = at(i);
    const { gamma, beta } = scaling(i);
    const d = value[k] - mean;
    const e = error[k] + meanError + 2 * U * (Math.abs(d) + error[k] + meanError);
    const x = d * invStd;
    // 0·∞ where nothing is known of the variance
    const product = Math.abs(d) * invStdError + e * (invStd + invStdError);
    const xError = Number.isNaN(product) ? Number.POSITIVE_INFINITY : product;
    const reach = Math.abs(x) + xError;
    out.value[k] = x * gamma[0] + beta[0];
    out.error[k] =
      Math.abs(gamma[0]) * xError +
      Math.abs(gamma[0] - gamma[1]) * reach +
      Math.abs(beta[0] - beta[1]) +
      4 * U * (Math.abs(gamma[1]) * reach + Math.abs(beta[1]));
  }
}
