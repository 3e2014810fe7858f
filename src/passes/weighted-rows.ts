// Norms of rows in which not every value counts, by plain loops in f64.
//
//   μ = Σw·x / Σw,  σ² = Σw·(x − μ)² / Σw,  x̂ = (x − μ)/√(σ² + eps),  y = x̂·gamma + beta + residual
//   dx = (gamma·dy − w/Σw·(Σgamma·dy + x̂·Σgamma·dy·x̂))/√(σ² + eps)
//
// without μ and Σgamma·dy where the mean is not taken away; the sums are those of values with a
// weight. A value without one is 0 in y and in dx, whatever it is in x and in dy.

import { inverseStd } from './coefficients.ts';

/** Rows whose values have weights, and what they are normalised with. */
export interface WeightedRows {
  readonly rows: number;
  readonly cols: number;
  readonly weights: Float32Array;
  /** Is the mean taken away? */
  readonly centred: boolean;
  readonly gamma: Float32Array | undefined;
  readonly beta: Float32Array | undefined;
  readonly eps: number;
}

/** Statistics by row, and Σw. */
interface Row {
  readonly mean: number;
  readonly invStd: number;
  readonly total: number;
}

function statisticsOf({ cols, weights, centred, eps }: WeightedRows, f32: Float32Array, x: number, r: number): Row {
  let [total, sum, squares] = [0, 0, 0];
  const first = r * cols;
  for (let c = 0; c < cols; c++) {
    const w = weights[first + c];
    if (w === 0) continue;
    total += w;
    sum += w * f32[x + first + c];
  }
  const mean = centred ? sum / total : 0;
  for (let c = 0; c < cols; c++) {
    const w = weights[first + c];
    if (w !== 0) squares += w * (f32[x + first + c] - mean) ** 2;
  }
  return { mean, invStd: inverseStd(squares / total, eps), total };
}

/**
 * y of rows, into y, an index into `f32` as x and the residual (−1: none), whose place may be that
 * of x. `visit` is told the statistics of each row.
 */
export function weightedRows(
  given: WeightedRows,
  f32: Float32Array,
  x: number,
  residual: number,
  y: number,
  visit: (row: number, mean: number, invStd: number) => void,
): void {
  const { rows, cols, weights, gamma, beta } = given;
  for (let r = 0; r < rows; r++) {
    const { mean, invStd } = statisticsOf(given, f32, x, r);
    visit(r, mean, invStd);
    for (let c = 0, i = r * cols; c < cols; c++, i++) {
      const normal = (f32[x + i] - mean) * invStd * (gamma ? gamma[c] : 1) + (beta ? beta[c] : 0);
      f32[y + i] = weights[i] === 0 ? 0 : normal + (residual < 0 ? 0 : f32[residual + i]);
    }
  }
}

/** dx of rows, into `dx`, whose place may be that of dy; Σdy and Σdy·x̂ by column. */
export function weightedRowsBack(
  given: WeightedRows,
  f32: Float32Array,
  x: number,
  dy: number,
  dx: number,
): { dbeta: Float64Array; dgamma: Float64Array } {
  const { rows, cols, weights, centred, gamma } = given;
  const dbeta = new Float64Array(cols);
  const dgamma = new Float64Array(cols);
  for (let r = 0; r < rows; r++) {
    const { mean, invStd, total } = statisticsOf(given, f32, x, r);
    let [sum, dot] = [0, 0];
    for (let c = 0, i = r * cols; c < cols; c++, i++) {
      if (weights[i] === 0) continue;
      const g = f32[dy + i];
      const normal = (f32[x + i] - mean) * invStd;
      dbeta[c] += g;
      dgamma[c] += g * normal;
      sum += g * (gamma ? gamma[c] : 1);
      dot += g * (gamma ? gamma[c] : 1) * normal;
    }
    if (!centred) sum = 0;
    for (let c = 0, i = r * cols; c < cols; c++, i++) {
      const w = weights[i];
      const normal = (f32[x + i] - mean) * invStd;
      const g = f32[dy + i] * (gamma ? gamma[c] : 1);
      f32[dx + i] = w === 0 ? 0 : (g - (w / total) * (sum + normal * dot)) * invStd;
    }
  }
  return { dbeta, dgamma };
}

/** 0 in values without a weight. */
export function clearWithoutWeight(weights: Float32Array, f32: Float32Array, y: number): void {
  for (let i = 0; i < weights.length; i++) if (weights[i] === 0) f32[y + i] = 0;
}
