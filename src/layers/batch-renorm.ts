import { wrongValue } from '../errors.ts';
import { checkNumber, takeOptions } from '../named-options.ts';
import type { Result, TensorLike } from '../tensors/tensor.ts';
import { BatchNorm, type Tracked } from './batch-norm.ts';
import type { ChannelPass } from './channel-norm.ts';
import type { Training } from './coefficients.ts';
import type { MaskOptions } from './mask.ts';
import { type BatchNormOptions, batchNormOptions, checkChoice } from './options.ts';
import type { Ranks } from './plan.ts';
import type { RunMoments, Scaling } from './run-blocks.ts';

/** A bound, or one that changes with the batches tracked so far. */
export type Bound = number | ((batches: number) => number);

/** Options of `BatchRenorm`: those of `BatchNorm`, and the bounds of r and d. */
export interface BatchRenormOptions extends BatchNormOptions {
  /**
   * r lies between 1/rMax and rMax. Default: the paper's schedule, 1 for 5,000 batches and then up
   * to 3 at 40,000.
   */
  rMax?: Bound;
  /**
   * d lies between −dMax and dMax. Default: the paper's schedule, 0 for 5,000 batches and then up
   * to 5 at 25,000.
   */
  dMax?: Bound;
  /** Lower bound of r, where it is not 1/rMax. */
  rMin?: Bound;
  /**
   * What is averaged over batches: standard deviations √(variance + eps), as in the paper, or
   * variances, as in batch norm. `runningVar` is a variance either way. Default `'std'`.
   */
  average?: 'std' | 'variance';
}

type Clipping = Required<Pick<BatchRenormOptions, 'rMax' | 'dMax' | 'average'>> & Pick<BatchRenormOptions, 'rMin'>;

const between = (low: number, value: number, high: number) => Math.min(Math.max(value, low), high);

/** The schedules of the paper's experiments (Ioffe 2017, section 4). */
const SCHEDULE = {
  rMax: (batches: number) => between(1, 1 + (2 * (batches - 5000)) / 35000, 3),
  dMax: (batches: number) => between(0, (5 * (batches - 5000)) / 20000, 5),
};

/**
 * Batch renormalization (Ioffe 2017), for batches that are small or whose samples are not
 * independent:
 *
 *   y = (x̂·r + d)·gamma + beta     r = σ_B/σ, d = (μ_B − μ)/σ, clipped
 *
 * with x̂ = (x − μ_B)/σ_B by the batch's own statistics, and the running μ, σ as they were before
 * this batch. σ is √(variance + eps). Gradients take r and d as constants. As long as r and d are
 * not clipped, training gives what evaluation gives. With rMax 1 and dMax 0, where the schedules
 * begin, it is batch norm. Evaluation, statistics and state dicts are those of `BatchNorm`, so one
 * may be loaded into the other.
 *
 *     const norm = new BatchRenorm(64, { rMax: 3, dMax: 5 });
 */
export class BatchRenorm extends BatchNorm {
  static override readonly name: string = 'BatchRenorm';
  /**
   * Conventions as options. `'paper'` averages standard deviations, with momentum 0.01 and the
   * paper's schedules. `'keras'` averages variances, unclipped, with Keras' eps, momentum and
   * layout (`renorm=True` without `renorm_clipping`).
   *
   * @throws ERR_OPTION for another name
   */
  static conventions(name: 'paper' | 'keras'): BatchRenormOptions {
    checkChoice('BatchRenorm.conventions', 'name', name, ['paper', 'keras']);
    if (name === 'paper') return { eps: 1e-3, momentum: 0.01, average: 'std', ...SCHEDULE };
    const unclipped = { rMin: 0, rMax: Number.POSITIVE_INFINITY, dMax: Number.POSITIVE_INFINITY };
    return { ...BatchNorm.preset('keras'), average: 'variance', ...unclipped };
  }

  readonly #clipping: Clipping;
  /** The bounds of the forward under way: functions are asked before anything is written. */
  #limits: BatchRenorm['bounds'] | undefined;
  /** r and d of each run of the last forward, and of micro-batches. */
  readonly #corrections = new Map<number, { readonly r: Float64Array; readonly d: Float64Array }>();

  /**
   * @param numFeatures channels, C
   * @param options those of `BatchNorm`, and the bounds
   * @throws ERR_OPTION for an unknown option or a value that it does not take
   */
  constructor(numFeatures: number, options: BatchRenormOptions = {}) {
    const names = ['rMax', 'dMax', 'rMin', 'average', ...batchNormOptions()];
    const taken = takeOptions(`BatchRenorm(${numFeatures})`, options, names);
    const { rMax = SCHEDULE.rMax, dMax = SCHEDULE.dMax, rMin, average = 'std', ...rest } = taken;
    super(numFeatures, rest);
    const clipping: Clipping = { rMax, dMax, average, ...(rMin !== undefined && { rMin }) };
    for (const [name, least] of [
      ['rMax', 1],
      ['dMax', 0],
      ['rMin', 0],
    ] as const) {
      const bound = clipping[name];
      if (typeof bound === 'function' || bound === undefined) continue;
      const expected = `a number of ${least} or more, or a function of the batches so far`;
      checkNumber(this.subject, name, bound, expected, (value) => value >= least);
    }
    checkChoice(this.subject, 'average', average, ['std', 'variance']);
    if (!this.running) {
      throw wrongValue('ERR_OPTION', this.subject, 'trackRunningStats', 'true: it corrects by them', 'false');
    }
    this.#clipping = clipping;
  }

  /** @internal */
  protected override form(): { kind: string; ranks: Ranks } {
    return { kind: 'BatchRenorm', ranks: [2, Number.POSITIVE_INFINITY] };
  }

  /** The bounds in force now: rMin, rMax, dMax. */
  get bounds(): {
    /** Lower bound of r. */
    rMin: number;
    /** Upper bound of r. */
    rMax: number;
    /** Bound of |d|. */
    dMax: number;
  } {
    const now = (bound: Bound) => (typeof bound === 'function' ? bound(this.batchesTracked) : bound);
    const rMax = now(this.#clipping.rMax);
    return {
      rMin: this.#clipping.rMin === undefined ? 1 / rMax : now(this.#clipping.rMin),
      rMax,
      dMax: now(this.#clipping.dMax),
    };
  }

  /**
   * r of the last training batch, `[C]`, a copy; those of virtual batches one after the other.
   * `null` before one.
   */
  get savedR(): Float32Array | null {
    return this.#savedOf('r');
  }

  /**
   * d of the last training batch, `[C]`, a copy; those of virtual batches one after the other.
   * `null` before one.
   */
  get savedD(): Float32Array | null {
    return this.#savedOf('d');
  }

  #savedOf(name: 'r' | 'd'): Float32Array | null {
    const { runs } = this.lastPass ?? {};
    if (!runs || runs.some(({ by }, i) => by !== 'batch' || !this.#corrections.has(i))) return null;
    return Float32Array.from(runs.flatMap((_, i) => [...this.#corrections.get(i)![name]]));
  }

  /** @internal */
  protected override begin(shape: readonly number[], options: MaskOptions): ChannelPass {
    this.#limits = this.bounds;
    return super.begin(shape, options);
  }

  /** @internal */
  protected override again(pass: ChannelPass): ChannelPass {
    this.#limits = this.bounds;
    return super.again(pass);
  }

  /** @internal */
  override forwardMicroBatches<X extends TensorLike>(xs: readonly X[]): Result<X>[] {
    this.#limits = this.bounds;
    return super.forwardMicroBatches(xs);
  }

  /** @internal Works r and d into the training map. */
  protected override adjust(v: Training, run: number, from: number, to: number, again?: Scaling): void {
    const { numFeatures } = this;
    const { r, d } = this.#corrections.get(run) ?? {
      r: new Float64Array(numFeatures),
      d: new Float64Array(numFeatures),
    };
    this.#corrections.set(run, { r, d });
    const { scale, shift, center, mean: own, variance: spread } = v.views();
    const { eps } = this.settings;
    const { rMin, rMax, dMax } = this.#limits!;
    const mean = this.running!.mean.now;
    const variance = this.running!.variance.now;
    const { gamma, beta } = again ?? this.#scaling;
    for (let c = from; c < to; c++) {
      // by the running statistics as they were before this batch
      if (!again) {
        const sigma = Math.sqrt(variance[c] + eps);
        r[c] = between(rMin, Math.sqrt(spread[c] + eps) / sigma, rMax);
        d[c] = between(-dMax, (own[c] - mean[c]) / sigma, dMax);
      }
      // (x − center)·scale + shift with scale·r for scale and gamma·d more; rounded once
      const left = own[c] - center[c];
      scale[c] *= r[c];
      shift[c] = (beta ? beta[c] : 0) - left * scale[c] + (gamma ? gamma[c] : 1) * d[c];
    }
  }

  get #scaling(): Scaling {
    const { gamma, beta } = this.learned;
    return { gamma: gamma?.values.now, beta: beta?.values.now };
  }

  /** @internal x̂·r + d is what gamma scales. */
  protected override adjustGradient(v: Training, run: number): void {
    const { r, d } = this.#corrections.get(run)!;
    const { dgamma, dbeta } = v.views();
    for (let c = 0; c < this.numFeatures; c++) dgamma[c] = r[c] * dgamma[c] + d[c] * dbeta[c];
  }

  /** @internal */
  protected override move(moments: RunMoments, correction: number | Float64Array, run: Tracked): void {
    const { momentum, eps } = this.settings;
    if (this.#clipping.average === 'variance') {
      super.move(moments, correction, run);
      return;
    }
    // standard deviations √(variance + eps) are averaged, not variances (Ioffe 2017)
    const { mean, variance } = moments;
    const running = this.running!;
    const w = running.next(momentum);
    const m = running.mean.writable;
    const v = running.variance.writable;
    for (let c = 0; c < m.length; c++) {
      m[c] = (1 - w) * m[c] + w * mean[c];
      const std = (1 - w) * Math.sqrt(v[c] + eps) + w * Math.sqrt(variance[c] + eps);
      v[c] = std < Number.POSITIVE_INFINITY ? Math.max(std * std - eps, 0) : std;
    }
  }
}
