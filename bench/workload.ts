// The data of one batch norm, and the same work as plain loops: what everything else is checked
// against.

import * as inferenceLoops from '../src/kernels/inference/js.ts';
import * as maskedLoops from '../src/kernels/masked/js.ts';
import * as trainingLoops from '../src/kernels/training/js.ts';
import { Random } from '../src/nn/random.ts';
import { type BenchLayout, type BenchShape, extentOf, storedShape } from './shapes.ts';

export const EPS = 1e-5;

/**
 * Inputs as a layer of a network sees them: each channel with its own spread, and a mean within
 * about one spread of 0.
 */
export class Workload {
  readonly layout: BenchLayout;
  readonly stored: readonly number[];
  readonly extent: ReturnType<typeof extentOf>;
  readonly x: Float32Array;
  readonly dy: Float32Array;
  readonly residual: Float32Array;
  readonly y: Float32Array;
  readonly gamma: Float32Array;
  readonly beta: Float32Array;
  readonly runningMean: Float32Array;
  readonly runningVar: Float32Array;
  readonly dgamma: Float64Array;
  readonly #vectors: Record<'center' | 'scale' | 'shift' | 'invStd' | 'b' | 'k' | 'pivot', Float32Array>;
  readonly #mean: Float64Array;
  readonly #variance: Float64Array;
  readonly #dbeta: Float64Array;

  constructor(shape: BenchShape, layout: BenchLayout) {
    this.layout = layout;
    this.stored = storedShape(shape, layout);
    this.extent = extentOf(shape, layout);
    const { kernel, channels, inner, size } = this.extent;
    const random = new Random(7);
    const spread = Float32Array.from({ length: channels }, () => Math.exp(random.normal() / 2));
    this.runningMean = spread.map((s) => s * random.normal());
    this.runningVar = spread.map((s) => s * s);
    // a sequence of its own length for each tensor: drawing millions of normals takes longer than
    // measuring
    const noise = Float32Array.from({ length: 65_521 }, () => random.normal());
    const draw = (stride: number) => Float32Array.from({ length: size }, (_, i) => noise[(i * stride) % noise.length]);
    this.x = draw(1).map((value, i) => {
      const c = kernel === 'nxc' ? i % channels : Math.floor(i / inner) % channels;
      return this.runningMean[c] + spread[c] * value;
    });
    this.dy = draw(7);
    this.residual = draw(11);
    this.y = new Float32Array(size);
    this.gamma = Float32Array.from({ length: channels }, () => 1 + 0.1 * random.normal());
    this.beta = Float32Array.from({ length: channels }, () => random.normal());
    const f32 = () => new Float32Array(channels);
    this.#vectors = { center: f32(), scale: f32(), shift: f32(), invStd: f32(), b: f32(), k: f32(), pivot: f32() };
    this.#mean = new Float64Array(channels);
    this.#variance = new Float64Array(channels);
    this.#dbeta = new Float64Array(channels);
    this.dgamma = new Float64Array(channels);
  }

  /** Statistics of the batch, after `train`. */
  get statistics(): { readonly mean: Float64Array; readonly variance: Float64Array } {
    return { mean: this.#mean, variance: this.#variance };
  }

  /** Evaluation into `y`. */
  evaluate(kind = 0, residual: Float32Array | null = null): void {
    const { scale, shift } = this.#vectors;
    for (let c = 0; c < scale.length; c++) {
      const s = this.gamma[c] / Math.sqrt(this.runningVar[c] + EPS);
      scale[c] = s;
      shift[c] = this.beta[c] - this.runningMean[c] * s;
    }
    this.#affine(null, residual, kind);
  }

  /**
   * Which places count: of each sample half of them or more, in the order in which they lie, as
   * lengths of sequences leave them.
   */
  mask(): Uint8Array {
    const { channels, size } = this.extent;
    const [samples] = this.stored;
    const inner = size / channels / samples;
    return Uint8Array.from({ length: samples * inner }, (_, i) => {
      const [n, place] = [Math.floor(i / inner), i % inner];
      // of rows without places, one in four
      return inner === 1 ? Number(n % 4 > 0) : Number(place < inner * (0.5 + ((n * 7) % 8) / 16));
    });
  }

  /** The training forward into `y`. */
  train(mask?: Uint8Array): void {
    const { kernel, outer, channels, inner } = this.extent;
    const { center, scale, shift, invStd, pivot } = this.#vectors;
    if (mask) {
      const [sums, squares] = [this.#dbeta, this.dgamma];
      this.#maskedSums(mask, null, center.fill(0), invStd, 1);
      const count = mask.reduce((sum, flag) => sum + flag, 0);
      for (let c = 0; c < channels; c++) {
        this.#mean[c] = sums[c] / count;
        this.#variance[c] = squares[c] / count - this.#mean[c] ** 2;
      }
    } else if (kernel === 'ncx') {
      trainingLoops.stats_ncx_f32(
        this.x,
        pivot,
        null,
        this.#mean,
        this.#variance,
        outer,
        channels,
        inner,
        channels * inner,
      );
    } else {
      const [sum, square] = [this.#dbeta, this.dgamma];
      trainingLoops.pivot_nxc_f32(this.x, pivot, outer, channels);
      trainingLoops.sums_nxc_f32(this.x, pivot, null, sum, square, outer, channels, channels, outer);
      trainingLoops.moments_nxc_f32(
        this.x,
        pivot,
        sum,
        square,
        this.#mean,
        this.#variance,
        outer,
        channels,
        channels,
        1,
      );
    }
    for (let c = 0; c < channels; c++) {
      invStd[c] = 1 / Math.sqrt(this.#variance[c] + EPS);
      center[c] = this.#mean[c];
      scale[c] = this.gamma[c] * invStd[c];
      shift[c] = this.beta[c];
    }
    this.#affine(center, null, 0);
    if (mask) this.#clear(mask);
  }

  #maskedSums(
    mask: Uint8Array,
    dy: Float32Array | null,
    center: Float32Array,
    invStd: Float32Array,
    plain: number,
  ): void {
    const { outer, channels, inner } = this.extent;
    const [stride, step] = [channels * inner, inner];
    const weights = Float32Array.from(mask);
    const [sums, dots] = [this.#dbeta, this.dgamma];
    maskedLoops.masked_sums_ncx_f32(
      this.x,
      dy,
      weights,
      center,
      invStd,
      sums,
      dots,
      plain,
      outer,
      channels,
      inner,
      stride,
      step,
      0,
    );
  }

  #clear(mask: Uint8Array): void {
    const { outer, channels, inner } = this.extent;
    maskedLoops.weigh_ncx_f32(this.y, Float32Array.from(mask), outer, channels, inner, channels * inner, inner, 0);
  }

  /** The gradient into `y`, after `train`. */
  backward(mask?: Uint8Array): void {
    const { kernel, outer, channels, inner } = this.extent;
    const { center, scale, invStd, b, k } = this.#vectors;
    const [sums, dots] = [this.#dbeta, this.dgamma];
    const stride = channels * inner;
    if (mask) this.#maskedSums(mask, this.dy, center, invStd, 1);
    else if (kernel === 'ncx')
      trainingLoops.grad_stats_ncx_f32(
        this.x,
        this.dy,
        center,
        invStd,
        null,
        sums,
        dots,
        outer,
        channels,
        inner,
        stride,
      );
    else
      trainingLoops.grad_sums_nxc_f32(
        this.x,
        this.dy,
        center,
        invStd,
        null,
        sums,
        dots,
        outer,
        channels,
        channels,
        outer,
      );
    const count = mask ? mask.reduce((sum, flag) => sum + flag, 0) : outer * inner;
    for (let c = 0; c < channels; c++) {
      b[c] = (dots[c] / count) * invStd[c];
      k[c] = sums[c] / count;
    }
    if (kernel === 'ncx')
      trainingLoops.grad_input_ncx_f32(this.x, this.dy, center, scale, b, k, this.y, outer, channels, inner, stride);
    else trainingLoops.grad_input_nxc_f32(this.x, this.dy, center, scale, b, k, this.y, 0, outer, channels);
    if (mask) this.#clear(mask);
  }

  #affine(center: Float32Array | null, residual: Float32Array | null, kind: number): void {
    const { kernel, outer, channels, inner } = this.extent;
    const { scale, shift } = this.#vectors;
    if (kernel === 'ncx') {
      const stride = channels * inner;
      inferenceLoops.affine_ncx_f32(
        this.x,
        center,
        scale,
        shift,
        residual,
        this.y,
        kind,
        0,
        outer,
        channels,
        inner,
        stride,
      );
    } else inferenceLoops.affine_nxc_f32(this.x, center, scale, shift, residual, this.y, kind, 0, 0, outer, channels);
  }
}

/** How far a result may lie from the plain loops, over the largest value. */
export const TOLERANCE = 1e-4;

/** Largest difference of two results, over the largest value. */
export function relativeDifference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let worst = 0;
  let largest = 1e-30;
  for (let i = 0; i < expected.length; i++) {
    largest = Math.max(largest, Math.abs(expected[i]));
    const difference = Math.abs(actual[i] - expected[i]);
    if (!(difference <= worst)) worst = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
  }
  return worst / largest;
}
