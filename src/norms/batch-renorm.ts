import { wrongValue } from '../errors.ts';
import { notBuilt } from '../layers/unbuilt.ts';
import { checkChoice, checkNumber, choice, type Option, option, type Schema } from '../named-options.ts';
import type { Training } from '../passes/coefficients.ts';
import { anyRank } from '../passes/plan.ts';
import { BatchNorm } from './batch-norm.ts';
import type { ChannelPass } from './engine/channel-engine.ts';
import type { NormTransform, TrainingMap } from './engine/policy.ts';
import {
  type BatchNormOptions,
  type BatchNormOptionsRead,
  batchNormSchema,
  momentum,
  readNormOptions,
} from './options.ts';
import { RenormStats } from './statistics/renorm-stats.ts';
import type { RunningStats } from './statistics/running-stats.ts';

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
  /**
   * Weight of the new batch in a mean and a standard deviation of the correction's own, 0 to 1: r
   * and d are worked out by these, and evaluation goes on to use the running statistics. Keras'
   * `renorm_momentum` weighs the old value: 1 less it. Default `null`: r and d are worked out by the
   * running statistics.
   */
  renormMomentum?: number | null;
}

/** What bounds are at one time. */
type Limits = Readonly<Record<'rMin' | 'rMax' | 'dMax', number>>;

type Bounds = Required<Pick<BatchRenormOptions, 'rMax' | 'dMax'>> & Pick<BatchRenormOptions, 'rMin'>;

const between = (low: number, value: number, high: number) => Math.min(Math.max(value, low), high);

/** The schedules of the paper's experiments (Ioffe 2017, section 4). */
const SCHEDULE = {
  rMax: (batches: number) => between(1, 1 + (2 * (batches - 5000)) / 35000, 3),
  dMax: (batches: number) => between(0, (5 * (batches - 5000)) / 20000, 5),
};

const bound = <T extends Bound | undefined>(standard: T, least: number): Option<T> =>
  option(standard, (subject, name, value) => {
    if (typeof value === 'function') return;
    const expected = `a number of ${least} or more, or a function of the batches so far`;
    checkNumber(subject, name, value, expected, (given) => given >= least);
  });

type BatchRenormOptionsRead = BatchNormOptionsRead &
  Bounds &
  Required<Pick<BatchRenormOptions, 'average' | 'renormMomentum'>>;

const batchRenormSchema = (): Schema<BatchRenormOptionsRead> => ({
  rMax: bound<Bound>(SCHEDULE.rMax, 1),
  dMax: bound<Bound>(SCHEDULE.dMax, 0),
  rMin: bound<Bound | undefined>(undefined, 0),
  average: choice('std', ['std', 'variance']),
  renormMomentum: { ...momentum(), standard: null },
  ...batchNormSchema(),
});

/** What a batch renormalization works with, once it is built. */
interface Made {
  transform?: Renormalization;
  running?: RenormStats;
}

/** r and d of channels. */
type Corrections = Readonly<Record<'r' | 'd', Float64Array>>;

/**
 * The correction of batch renormalization: works r and d into the training map, and into the
 * gradients of gamma and beta.
 */
class Renormalization implements NormTransform {
  /** r and d of each run of the last forward, and of micro-batches. */
  readonly corrections = new Map<number, Corrections>();
  readonly #channels: number;
  readonly #eps: number;
  readonly #bounds: Bounds;
  /** The bounds of the forward under way: functions are asked before anything is written. */
  #limits: Limits | undefined;

  constructor(channels: number, eps: number, bounds: Bounds) {
    this.#channels = channels;
    this.#eps = eps;
    this.#bounds = bounds;
  }

  limitsAt(batches: number): Limits {
    const now = (value: Bound) => (typeof value === 'function' ? value(batches) : value);
    const { rMin, rMax: most, dMax } = this.#bounds;
    const rMax = now(most);
    return { rMin: rMin === undefined ? 1 / rMax : now(rMin), rMax, dMax: now(dMax) };
  }

  begin(running: RunningStats): void {
    this.#limits = this.limitsAt(running.batches);
  }

  adjust({ v, run, from, to, scaling: { gamma, beta }, running, isRecalled }: TrainingMap): void {
    const zeros = () => new Float64Array(this.#channels);
    const { r, d } = this.corrections.get(run) ?? { r: zeros(), d: zeros() };
    this.corrections.set(run, { r, d });
    const { scale, shift, center, mean: own, variance: spread } = v.views();
    const eps = this.#eps;
    const { rMin, rMax, dMax } = this.#limits!;
    for (let c = from; c < to; c++) {
      // by the running statistics as they were before this batch
      if (!isRecalled) {
        const { mean, std: sigma } = (running as RenormStats).reference(c);
        r[c] = between(rMin, Math.sqrt(spread[c] + eps) / sigma, rMax);
        d[c] = between(-dMax, (own[c] - mean) / sigma, dMax);
      }
      // (x − center)·scale + shift with scale·r for scale and gamma·d more; rounded once
      const left = own[c] - center[c];
      scale[c] *= r[c];
      shift[c] = (beta ? beta[c] : 0) - left * scale[c] + (gamma ? gamma[c] : 1) * d[c];
    }
  }

  /** x̂·r + d is what gamma scales. */
  adjustGradient(v: Training, run: number): void {
    const { r, d } = this.corrections.get(run)!;
    const { dgamma, dbeta } = v.views();
    for (let c = 0; c < this.#channels; c++) dgamma[c] = r[c] * dgamma[c] + d[c] * dbeta[c];
  }
}

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
 * may be loaded into the other; with `renormMomentum` the state has `renormMean` and `renormStd`
 * besides, by which r and d are worked out, σ being no less than √eps.
 *
 *     const norm = new BatchRenorm(64, { rMax: 3, dMax: 5 });
 */
export class BatchRenorm extends BatchNorm {
  static override readonly name: string = 'BatchRenorm';
  /**
   * Conventions as options. `'paper'` averages standard deviations, with momentum 0.01 and the
   * paper's schedules. `'keras'` averages variances, unclipped, with Keras' eps, momentum and
   * layout, and with statistics of the correction's own (`renorm=True` without `renorm_clipping`,
   * `renorm_momentum` 0.99). TensorFlow 2 averaged standard deviations: `average: 'std'`.
   *
   * @throws ERR_OPTION for another name
   */
  static conventions(name: 'paper' | 'keras'): BatchRenormOptions {
    checkChoice('BatchRenorm.conventions', 'name', name, ['paper', 'keras']);
    if (name === 'paper') return { eps: 1e-3, momentum: 0.01, average: 'std', ...SCHEDULE };
    const unclipped = { rMin: 0, rMax: Number.POSITIVE_INFINITY, dMax: Number.POSITIVE_INFINITY };
    return { ...BatchNorm.preset('keras'), average: 'variance', renormMomentum: 0.01, ...unclipped };
  }

  readonly #made: Made;

  /**
   * @param numFeatures channels, C; `null`: those of the first input, or of `build(shape)`
   * @param options those of `BatchNorm`, and the bounds
   * @throws ERR_OPTION for an unknown option or a value that it does not take
   */
  constructor(numFeatures: number | null, options: BatchRenormOptions = {}) {
    const kind = 'BatchRenorm';
    const { rMax, dMax, rMin, average, renormMomentum, ...settings } = readNormOptions(
      kind,
      numFeatures,
      options,
      batchRenormSchema(),
    );
    const { eps, trackRunningStats } = settings;
    if (!trackRunningStats) {
      const expected = 'true: it corrects by them';
      throw wrongValue('ERR_OPTION', `${kind}(${numFeatures})`, 'trackRunningStats', expected, 'false');
    }
    const made: Made = {};
    const transform = (channels: number) => {
      made.transform = new Renormalization(channels, eps, { rMax, dMax, rMin });
      return made.transform;
    };
    const running = (channels: number) => {
      made.running = new RenormStats(channels, { eps, average, renormMomentum });
      return made.running;
    };
    super(numFeatures, undefined, { kind, ranks: anyRank(), settings, running, transform });
    this.#made = made;
  }

  /**
   * Mean that d is worked out by, `[C]`; `null` without `renormMomentum`, where it is `runningMean`.
   */
  get renormMean(): Float32Array | null {
    return this.#running.correction?.mean.open ?? null;
  }

  /**
   * Standard deviation √(variance + eps) that r and d are worked out by, `[C]`; `null` without
   * `renormMomentum`, where it follows from `runningVar`.
   */
  get renormStd(): Float32Array | null {
    return this.#running.correction?.std.open ?? null;
  }

  get #running(): RenormStats {
    return (this.isBuilt && this.#made.running) || notBuilt(this.subject, 'statistics');
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
    const { batchesTracked } = this;
    return this.#made.transform!.limitsAt(batchesTracked);
  }

  /**
   * r of the last training batch, `[C]`, a copy; those of virtual batches one after the other.
   * `null` before one.
   */
  get savedR(): Float32Array | null {
    return this.#saved('r');
  }

  /**
   * d of the last training batch, `[C]`, a copy; those of virtual batches one after the other.
   * `null` before one.
   */
  get savedD(): Float32Array | null {
    return this.#saved('d');
  }

  #saved(name: 'r' | 'd'): Float32Array | null {
    const { runs } = (this.lastPass as ChannelPass | undefined) ?? {};
    if (!runs) return null;
    const { corrections } = this.#made.transform!;
    if (runs.some(({ source }, i) => source !== 'batch' || !corrections.has(i))) return null;
    return Float32Array.from(runs.flatMap((_, i) => [...corrections.get(i)![name]]));
  }
}
