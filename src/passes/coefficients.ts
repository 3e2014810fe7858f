// Vectors of channel length, worked out in f64 and stored as the kernels take them.

import { backend } from '../kernels/backend.ts';
import type { AffineVectors } from '../kernels/inference/calls.ts';
import { MOST_SEGMENTS } from '../kernels/training/calls.ts';
import { type Block, blockAt, blockBytes, reserve } from '../tensors/block.ts';
import type { Snapshot, Values } from '../tensors/values.ts';
import type { Heap } from '../wasm/memory.ts';

const F64 = 8;
const F32 = 4;

/**
 * What training works with: statistics and sums in f64, coefficients in f32 (`a` is what scales the
 * gradient, where that is not `scale`).
 */
const TRAINING = {
  mean: F64,
  variance: F64,
  dbeta: F64,
  dgamma: F64,
  pivot: F32,
  center: F32,
  gradCenter: F32,
  invStd: F32,
  scale: F32,
  shift: F32,
  b: F32,
  k: F32,
  a: F32,
} as const;

/**
 * Where kernels gather sums: two in f64, for as many segments of rows as there may be, and
 * accumulators.
 */
const SUMS = { sums: MOST_SEGMENTS * 3 * F64 };

export type Training = Block<typeof TRAINING> & { readonly sums: number };

/** @param other a block that lives as long, whose room for sums this one shares */
export function reserveTraining(heap: Heap, channels: number, other?: Training): Training {
  if (!other) return reserve(heap, channels, { ...TRAINING, ...SUMS });
  return { ...reserve(heap, channels, TRAINING), sums: other.sums };
}

/** Bytes of a block of training. */
export function trainingBytes(channels: number): number {
  return blockBytes(channels, { ...TRAINING, ...SUMS });
}

/** A block of training in memory of another owner. */
export function trainingAt(heap: Heap, at: number, channels: number): Training {
  return blockAt(heap, at, channels, { ...TRAINING, ...SUMS });
}

/** What evaluation works with. */
const EVALUATION = { center: F32, scale: F32, shift: F32 } as const;

/** 1/√(variance + eps); 0 where that is 1/0, as in PyTorch; NaN for a negative variance. */
export function inverseStd(variance: number, eps: number): number {
  const square = variance + eps;
  return square === 0 ? 0 : 1 / Math.sqrt(square);
}

/**
 * Up to this many σ from 0 the mean may be folded into the shift: x·scale + shift then stays within
 * the strict tolerance (decision 2), and saves a subtraction per value.
 */
const NEAR = 2;
/**
 * The same in evaluation, where a batch of few values may have no large output: with 2 σ the error
 * was up to 3.9 units of the largest of 8, with 1 σ 2.8.
 */
const EVALUATION_NEAR = 1;

/**
 * The training map of channels `from` to `to`: (x − center)·scale + shift. The centre is the mean
 * as a float, or 0 where the mean lies near it; what the centre leaves of the mean is in the shift.
 *
 * Reads mean and variance, writes center (and gradCenter, the same), invStd, scale, shift.
 *
 * @returns whether all these statistics are finite in f32
 */
export function setTraining(
  v: Training,
  from: number,
  to: number,
  eps: number,
  gamma: Float32Array | undefined,
  beta: Float32Array | undefined,
): boolean {
  const { mean: means, variance: variances, center, gradCenter, invStd, scale, shift } = v.views();
  let zero = 0; // turns NaN at the first value that is not finite
  for (let c = from; c < to; c++) {
    const mean = means[c];
    const variance = variances[c];
    const s = inverseStd(variance, eps);
    const a = Math.fround(gamma ? gamma[c] * s : s);
    const high = Math.fround(mean);
    const h = mean * mean <= NEAR * NEAR * variance ? 0 : high;
    zero += (high - high) * Math.fround(variance);
    center[c] = h;
    gradCenter[c] = h;
    invStd[c] = s;
    scale[c] = a;
    shift[c] = (beta ? beta[c] : 0) - (mean - h) * a;
  }
  return zero === 0;
}

/**
 * The evaluation map, y = (x − center)·scale + shift with scale = gamma/√(runningVar + eps). The
 * centre is the running mean as a float where that lies far from 0, and 0 elsewhere; shift = beta −
 * (runningMean − center)·scale.
 *
 * @param center left out: 0 in all channels
 * @returns whether a channel has a centre
 */
export function evaluationMap(
  mean: ArrayLike<number>,
  variance: ArrayLike<number>,
  eps: number,
  gamma: ArrayLike<number> | undefined,
  beta: ArrayLike<number> | undefined,
  scale: Float32Array | Float64Array,
  shift: Float32Array | Float64Array,
  center?: Float32Array,
): boolean {
  let centred = false;
  for (let c = 0; c < mean.length; c++) {
    const s = inverseStd(variance[c], eps);
    const a = (gamma ? gamma[c] : 1) * s;
    let h = 0;
    if (center) {
      const high = Math.fround(mean[c]);
      // none for a mean beyond f32
      if (Math.abs(high * s) > EVALUATION_NEAR && high - high === 0) {
        h = high;
        centred = true;
      }
      center[c] = h;
    }
    scale[c] = a;
    shift[c] = (beta ? beta[c] : 0) - (mean[c] - h) * a;
  }
  return centred;
}

/** What a map of evaluation was made from. */
export interface EvaluationSource {
  readonly mean: Float32Array;
  readonly variance: Float32Array;
  readonly gamma: Float32Array | undefined;
}

/**
 * The map of evaluation in linear memory, worked out again only if what it is made of has changed.
 */
export class EvaluationMap {
  #block: Block<typeof EVALUATION> | undefined;
  #map: AffineVectors | undefined;
  #madeFrom: Record<'mean' | 'variance' | 'gamma' | 'beta', Snapshot | undefined> | undefined;
  /** Whose mean: a layer may have several. */
  #of: Values | undefined;

  from(
    mean: Values,
    variance: Values,
    eps: number,
    gamma: Values | undefined,
    beta: Values | undefined,
  ): AffineVectors {
    const made = this.#madeFrom;
    if (
      this.#map &&
      made &&
      this.#of === mean &&
      mean.isSame(made.mean!) &&
      variance.isSame(made.variance!) &&
      (!gamma || gamma.isSame(made.gamma!)) &&
      (!beta || beta.isSame(made.beta!))
    ) {
      return this.#map;
    }
    this.#block ??= reserve(backend().heap, mean.now.length, EVALUATION);
    const { center, scale, shift } = this.#block;
    const to = this.#block.views();
    const centred = evaluationMap(mean.now, variance.now, eps, gamma?.now, beta?.now, to.scale, to.shift, to.center);
    this.#map = { center: centred ? center : 0, scale, shift };
    this.#of = mean;
    this.#madeFrom = {
      mean: mean.snapshot(),
      variance: variance.snapshot(),
      gamma: gamma?.snapshot(),
      beta: beta?.snapshot(),
    };
    return this.#map;
  }

  /**
   * The map as it was worked out last, and what from: for the backward of the forward that used it,
   * whatever has changed since.
   */
  get last(): { map: AffineVectors; source: EvaluationSource } {
    const { mean, variance, gamma } = this.#madeFrom!;
    return { map: this.#map!, source: { mean: mean!.values, variance: variance!.values, gamma: gamma?.values } };
  }

  release(): void {
    this.#block?.release();
    this.#block = this.#map = this.#madeFrom = undefined;
  }
}

/**
 * The gradient's map of channels `from` to `to`, with the scale of forward: dx = scale·((dy −
 * dbeta/m) − x̂·dgamma/m), which is scale·((dy − k) − b·(x − gradCenter)) as the kernels take it.
 *
 * Reads the sums as the kernels leave them, Σdy and Σdy·(x − gradCenter)·invStd; turns the latter
 * into dgamma, and writes b, k.
 *
 * @param count m: values behind each statistic; by channel, where that differs
 * @param sumAgain works out the sums of one channel again. Where they are not finite the signs of
 *   infinities are those of x − mean, so that the centre must be the mean
 */
export function setGradient(
  v: Training,
  from: number,
  to: number,
  count: number | Float64Array,
  sumAgain: (channel: number) => void,
): void {
  const { mean: means, invStd, dbeta, dgamma, gradCenter: center, b, k } = v.views();
  for (let c = from; c < to; c++) {
    const mean = means[c];
    const s = invStd[c];
    let left = (mean - center[c]) * s;
    if (!Number.isFinite(dgamma[c]) || !Number.isFinite(dbeta[c])) {
      left = 0;
      if (!Object.is(center[c], Math.fround(mean))) {
        center[c] = mean;
        sumAgain(c);
      }
    }
    const dot = dgamma[c];
    const sum = left ? dot - left * dbeta[c] : dot;
    const m = typeof count === 'number' ? count : count[c];
    dgamma[c] = sum;
    b[c] = (sum / m) * s;
    k[c] = dbeta[c] / m - (left ? left * (sum / m) : 0);
  }
}

/**
 * The same with constant statistics: dx = scale·dy + 0. And the statistics themselves, for the
 * sums.
 */
export function setConstantGradient(v: Training, { mean, variance, gamma }: EvaluationSource, eps: number): void {
  const { gradCenter, invStd, scale, k } = v.views();
  for (let c = 0; c < mean.length; c++) {
    const s = inverseStd(variance[c], eps);
    gradCenter[c] = mean[c];
    invStd[c] = s;
    scale[c] = gamma ? gamma[c] * s : s;
    k[c] = 0;
  }
}
