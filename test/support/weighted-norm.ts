// Norms by statistics of their input in which not every place counts, in f64: formulas first.
//
//   μ_s = Σw·x / Σw,  σ_s² = Σw·(x − μ_s)² / Σw  over the values of a set s
//   y = (x − μ_s)/√(σ_s² + eps)·gamma + beta, and 0 where w is 0

export interface WeightedNorm {
  /** The set whose statistics normalise value i, and the gamma and beta of it. */
  readonly setOf: (i: number) => number;
  readonly parameterOf: (i: number) => number;
  readonly weights: ArrayLike<number>;
  readonly eps: number;
  /** Is the mean taken away? Default true. */
  readonly centred?: boolean;
}

export function weightedNorm(
  x: ArrayLike<number>,
  { setOf, parameterOf, weights, eps, centred = true }: WeightedNorm,
  gamma?: ArrayLike<number>,
  beta?: ArrayLike<number>,
): Float64Array {
  const sums = new Map<number, { total: number; sum: number; squares: number }>();
  const of = (i: number) => {
    const s = setOf(i);
    if (!sums.has(s)) sums.set(s, { total: 0, sum: 0, squares: 0 });
    return sums.get(s)!;
  };
  for (let i = 0; i < x.length; i++) {
    if (weights[i] === 0) continue;
    of(i).total += weights[i];
    of(i).sum += weights[i] * x[i];
  }
  const meanOf = (i: number) => (centred ? of(i).sum / of(i).total : 0);
  for (let i = 0; i < x.length; i++) if (weights[i]) of(i).squares += weights[i] * (x[i] - meanOf(i)) ** 2;
  return Float64Array.from({ length: x.length }, (_, i) => {
    if (weights[i] === 0) return 0;
    const c = parameterOf(i);
    const y = (x[i] - meanOf(i)) / Math.sqrt(of(i).squares / of(i).total + eps);
    return y * (gamma ? gamma[c] : 1) + (beta ? beta[c] : 0);
  });
}
