// Additions and multiplications by constants in a row, as one layer: y = (x − mean)·gamma + beta, a
// batch norm whose variance is 1.

import type { Layer } from '../../layers/layer.ts';
import { BatchNorm } from '../../norms/batch-norm.ts';
import { BatchNorm1d } from '../../norms/batch-norm-ranks.ts';

/** A number for all, or one for each place of an axis. */
export type Factor = number | { readonly values: ArrayLike<number>; readonly axis: 'channels' | 'last' };

export class AffineRun {
  #axis: 'channels' | 'last' | undefined;
  #count: number | undefined;
  #mean: Float64Array = Float64Array.of(0);
  #gamma: Float64Array = Float64Array.of(1);
  #beta: Float64Array = Float64Array.of(0);

  /**
   * Can the values of a factor be part of this run? Those of another axis need a layer of their
   * own.
   */
  takes(factor: Factor): boolean {
    if (typeof factor === 'number' || this.#axis === undefined) return true;
    return factor.axis === this.#axis && factor.values.length === this.#count;
  }

  add(factor: Factor): void {
    const values = this.#spread(factor);
    // before anything else it moves the mean: x − mean loses nothing where x is near it
    const isFirst = this.#gamma.every((value) => value === 1) && this.#beta.every((value) => value === 0);
    if (isFirst) this.#mean = combine(this.#mean, values, (mean, value) => mean - value);
    else this.#beta = combine(this.#beta, values, (beta, value) => beta + value);
  }

  multiply(factor: Factor): void {
    const values = this.#spread(factor);
    this.#gamma = combine(this.#gamma, values, (gamma, value) => gamma * value);
    this.#beta = combine(this.#beta, values, (beta, value) => beta * value);
  }

  #spread(factor: Factor): ArrayLike<number> {
    if (typeof factor === 'number') return [factor];
    this.#axis = factor.axis;
    this.#count = factor.values.length;
    return factor.values;
  }

  get isIdentity(): boolean {
    const all = (values: Float64Array, one: number) => values.every((value) => value === one);
    return all(this.#mean, 0) && all(this.#gamma, 1) && all(this.#beta, 0);
  }

  /** Does f32 hold what it has come to? A constant that is divided by may be 0. */
  get isFinite(): boolean {
    return [this.#mean, this.#gamma, this.#beta].every((values) =>
      values.every((value) => Number.isFinite(Math.fround(value))),
    );
  }

  /**
   * The layer for values of a shape, in which NaN is a length that is not known; undefined where
   * nobody knows how many numbers it has.
   */
  layer(shape: readonly number[]): Layer | undefined {
    const isRows = shape.length <= 2;
    const isLast = this.#axis === 'last' || (this.#axis === undefined && !isRows && Number.isNaN(shape[1]));
    const count = this.#count ?? shape[isLast ? shape.length - 1 : 1];
    if (!(count >= 1)) return undefined;
    const options = { eps: 0, layout: isLast && !isRows ? 'channels-last' : 'channels-first' } as const;
    const bn = new (isRows ? BatchNorm1d : BatchNorm)(count, options);
    const full = (values: Float64Array) => ({
      data: Float32Array.from({ length: count }, (_, i) => values[values.length === 1 ? 0 : i]),
      shape: [count],
    });
    bn.loadStateDict({
      ...bn.stateDict(),
      gamma: full(this.#gamma),
      beta: full(this.#beta),
      runningMean: full(this.#mean),
      runningVar: full(Float64Array.of(1)),
    });
    return bn;
  }
}

function combine(a: Float64Array, b: ArrayLike<number>, by: (a: number, b: number) => number): Float64Array {
  const out = new Float64Array(Math.max(a.length, b.length));
  for (let i = 0; i < out.length; i++) out[i] = by(a[a.length === 1 ? 0 : i], b[b.length === 1 ? 0 : i]);
  return out;
}
