// Vectors of channel length, worked out in f64 and stored as the kernels take them.

import { backend } from '../kernels/backend.ts';
import { type Block, reserve } from '../tensors/block.ts';
import type { Heap } from '../wasm/memory.ts';
import type { Snapshot, Values } from './parameter.ts';

const F64 = 8;
const F32 = 4;

/** What training works with: statistics and sums in f64, coefficients in f32, and `lanes`, where kernels gather sums (8 per channel). */
const TRAINING = {
  mean: F64,
  variance: F64,
  dbeta: F64,
  dgamma: F64,
  pivot: F32,
  hi: F32,
  lo: F32,
  invStd: F32,
  scale: F32,
  beta: F32,
  b: F32,
  k: F32,
  lanes: 8 * F32,
};

export type Training = Block<keyof typeof TRAINING>;

export function reserveTraining(heap: Heap, channels: number): Training {
  return reserve(heap, channels, TRAINING);
}

/** What evaluation works with. */
const EVALUATION = { scale: F32, shift: F32 };

export type Evaluation = Block<keyof typeof EVALUATION>;

function reserveEvaluation(heap: Heap, channels: number): Evaluation {
  return reserve(heap, channels, EVALUATION);
}

/** 1/√(variance + eps); 0 where that is 1/0, as in PyTorch; NaN for a negative variance. */
export function inverseStd(variance: number, eps: number): number {
  const square = variance + eps;
  return square === 0 ? 0 : 1 / Math.sqrt(square);
}

/**
 * The training map of channels `from` to `to`: ((x − hi) − lo)·scale + beta, the mean in two floats.
 *
 * Reads mean and variance, writes hi, lo, invStd, scale, beta.
 *
 * @returns whether all these statistics are finite in f32
 */
export function setTraining(
  heap: Heap,
  v: Training,
  from: number,
  to: number,
  eps: number,
  gamma: Float32Array | undefined,
  beta: Float32Array | undefined,
): boolean {
  const { f32, f64 } = heap;
  const mean = v.mean >> 3;
  const variance = v.variance >> 3;
  const hi = v.hi >> 2;
  const lo = v.lo >> 2;
  const invStd = v.invStd >> 2;
  const scale = v.scale >> 2;
  const shift = v.beta >> 2;
  let zero = 0; // turns NaN at the first value that is not finite
  for (let c = from; c < to; c++) {
    const s = inverseStd(f64[variance + c], eps);
    const high = Math.fround(f64[mean + c]);
    zero += (high - high) * Math.fround(f64[variance + c]);
    f32[hi + c] = high;
    f32[lo + c] = f64[mean + c] - high;
    f32[invStd + c] = s;
    f32[scale + c] = gamma ? gamma[c] * s : s;
    f32[shift + c] = beta ? beta[c] : 0;
  }
  return zero === 0;
}

/** The evaluation map: scale = gamma/√(runningVar + eps), shift = beta − runningMean·scale. */
export function evaluationMap(
  mean: ArrayLike<number>,
  variance: ArrayLike<number>,
  eps: number,
  gamma: ArrayLike<number> | undefined,
  beta: ArrayLike<number> | undefined,
  scale: Float32Array | Float64Array,
  shift: Float32Array | Float64Array,
): void {
  for (let c = 0; c < mean.length; c++) {
    const s = (gamma ? gamma[c] : 1) * inverseStd(variance[c], eps);
    scale[c] = s;
    shift[c] = (beta ? beta[c] : 0) - mean[c] * s;
  }
}

/** What a map of evaluation was made from. */
export interface EvaluationSource {
  readonly mean: Float32Array;
  readonly variance: Float32Array;
  readonly gamma: Float32Array | undefined;
}

/** Scale and shift of evaluation in linear memory, worked out again only if what they are made of has changed. */
export class EvaluationMap {
  #block: Evaluation | undefined;
  #madeFrom: Record<'mean' | 'variance' | 'gamma' | 'beta', Snapshot | undefined> | undefined;

  from(mean: Values, variance: Values, eps: number, gamma: Values | undefined, beta: Values | undefined): Evaluation {
    const made = this.#madeFrom;
    if (
      this.#block &&
      made &&
      mean.isSame(made.mean!) &&
      variance.isSame(made.variance!) &&
      (!gamma || gamma.isSame(made.gamma!)) &&
      (!beta || beta.isSame(made.beta!))
    ) {
      return this.#block;
    }
    const { heap } = backend();
    const channels = mean.now.length;
    this.#block ??= reserveEvaluation(heap, channels);
    const scale = heap.f32.subarray(this.#block.scale >> 2, (this.#block.scale >> 2) + channels);
    const shift = heap.f32.subarray(this.#block.shift >> 2, (this.#block.shift >> 2) + channels);
    evaluationMap(mean.now, variance.now, eps, gamma?.now, beta?.now, scale, shift);
    this.#madeFrom = {
      mean: mean.snapshot(),
      variance: variance.snapshot(),
      gamma: gamma?.snapshot(),
      beta: beta?.snapshot(),
    };
    return this.#block;
  }

  /** The map as it was worked out last, and what from: for the backward of the forward that used it, whatever has changed since. */
  get last(): { block: Evaluation; source: EvaluationSource } {
    const { mean, variance, gamma } = this.#madeFrom!;
    return { block: this.#block!, source: { mean: mean!.values, variance: variance!.values, gamma: gamma?.values } };
  }

  release(): void {
    this.#block?.release();
    this.#block = this.#madeFrom = undefined;
  }
}

/**
 * The gradient's map of channels `from` to `to`: dx = scale·((dy − k) − b·x̂), with b = dgamma/m, k = dbeta/m, and the scale of forward.
 *
 * Reads the sums, writes b, k.
 */
export function setGradient(heap: Heap, v: Training, from: number, to: number, count: number): void {
  const { f32, f64 } = heap;
  for (let c = from; c < to; c++) {
    f32[(v.b >> 2) + c] = f64[(v.dgamma >> 3) + c] / count;
    f32[(v.k >> 2) + c] = f64[(v.dbeta >> 3) + c] / count;
  }
}

/** The same with constant statistics: dx = scale·dy + 0. And the statistics themselves, for the sums. */
export function setConstantGradient(
  heap: Heap,
  v: Training,
  { mean, variance, gamma }: EvaluationSource,
  eps: number,
): void {
  const { f32 } = heap;
  for (let c = 0; c < mean.length; c++) {
    const s = inverseStd(variance[c], eps);
    f32[(v.hi >> 2) + c] = mean[c];
    f32[(v.lo >> 2) + c] = 0;
    f32[(v.invStd >> 2) + c] = s;
    f32[(v.scale >> 2) + c] = gamma ? gamma[c] * s : s;
    f32[(v.k >> 2) + c] = 0;
  }
}
