import { showShape } from '../errors.ts';
import type { OwnStatistics } from '../graph/operations/channel-norm.ts';
import { activationOf } from '../kernels/activations.ts';
import type { Settled, Single } from './channel-norm.ts';
import type { Mask } from './mask.ts';
import {
  type AffineOptions,
  type BatchNormOptions,
  checkSingleValue,
  checkTracking,
  readKinOptions,
} from './options.ts';
import type { Plan, Ranks } from './plan.ts';
import type { RunMoments } from './run-blocks.ts';
import { type Run, runsOf, singleValue } from './runs.ts';
import { TrackedNorm } from './tracked-norm.ts';

/**
 * Options of the instance normalization layers. Defaults are PyTorch's: `affine: false`,
 * `trackRunningStats: false`.
 */
export interface InstanceNormOptions
  extends AffineOptions,
    Pick<BatchNormOptions, 'momentum' | 'trackRunningStats' | 'runningVariance'> {
  /**
   * One value in each channel of a sample, in training: `'throw'` (default), as PyTorch does;
   * `'skip-update'` gives beta and leaves the running statistics as they are; `'use-running'`
   * normalises by the running statistics, which then move by the values of the batch. Evaluation
   * gives beta, or normalises by the running statistics where they are tracked.
   */
  onSingleValue?: 'throw' | 'use-running' | 'skip-update';
}

const DEFAULTS: Required<Omit<InstanceNormOptions, 'activation'>> = {
  eps: 1e-5,
  affine: false,
  layout: 'channels-first',
  momentum: 0.1,
  trackRunningStats: false,
  runningVariance: 'unbiased',
  onSingleValue: 'throw',
};

function readOptions(subject: string, given: InstanceNormOptions) {
  const options = readKinOptions(subject, given, DEFAULTS);
  checkTracking(subject, options);
  checkSingleValue(subject, options);
  return options;
}

/**
 * Instance normalization (Ulyanov et al. 2016):
 *
 *   y = (x − μ)/√(σ² + eps)·gamma + beta
 *
 * with μ and σ² the mean and the (biased) variance of one channel of one sample; gamma and beta by
 * channel, if `affine` is on. With `trackRunningStats` the averages of μ and σ² over samples are
 * tracked, and evaluation normalises by them.
 */
abstract class InstanceNorm<R extends number> extends TrackedNorm<ReturnType<typeof readOptions>, R> {
  /**
   * @param numFeatures channels, C
   * @param options see `InstanceNormOptions`
   * @throws ERR_OPTION for an unknown option or a value that it does not take
   */
  constructor(numFeatures: number, options: InstanceNormOptions = {}) {
    super(numFeatures, (subject) => readOptions(subject, options));
  }

  /** The options in force, defaults filled in. */
  get options(): Readonly<Required<Omit<InstanceNormOptions, 'activation'>> & Pick<InstanceNormOptions, 'activation'>> {
    return { ...this.settings, activation: activationOf(this.settings.activation) };
  }

  /** @internal */
  override get averages(): boolean {
    return true;
  }

  /** @internal Each sample by itself. */
  protected override cut(plan: Plan, mask: Mask | undefined): Omit<Run, 'by'>[] {
    return runsOf(plan, mask, 1);
  }

  /** @internal */
  protected override ownStatistics(): OwnStatistics {
    return { groups: this.numFeatures, over: 'sample', onSingleValue: 'skip-update' };
  }

  /** @internal */
  protected override statisticsFor(run: Omit<Run, 'by'>, batch: Plan): Run['by'] {
    if (!this.training && this.running) return 'running';
    const { plan, mask, count } = run;
    // in evaluation a sample without a place that counts is 0 everywhere
    if (!this.training || count > 1 || plan.size === 0) return 'batch';
    if (mask && count === 0) throw this.nothingCounts(this.placeOf(run, batch));
    const { onSingleValue } = this.settings;
    if (onSingleValue === 'skip-update') return 'batch';
    if (onSingleValue === 'use-running') return 'online';
    const hint = 'eval() takes single values; training does with onSingleValue';
    throw singleValue(this.subject, 'training', 'channel of a sample', `shape ${showShape(batch.shape)}; ${hint}`);
  }

  /** @internal Averages the statistics of samples, of those that have a variance. */
  protected override settle(runs: readonly Settled[], moments: (index: number) => RunMoments): void {
    if (!this.running || !this.training) return;
    const { numFeatures } = this;
    const [means, variances] = [new Float64Array(numFeatures), new Float64Array(numFeatures)];
    const unbiased = this.settings.runningVariance === 'unbiased';
    const counted = runs.filter(({ run }) => run.count > 1);
    if (!counted.length) return;
    for (const { run, index } of counted) {
      const { correction } = run;
      const { mean, variance } = moments(index);
      for (let c = 0; c < numFeatures; c++) {
        const factor = unbiased ? (typeof correction === 'number' ? correction : correction[c]) : 1;
        means[c] += mean[c] / counted.length;
        variances[c] += (variance[c] * factor) / counted.length;
      }
    }
    this.running.update(means, variances, this.settings.momentum, 1);
  }

  /**
   * @internal Moves mean and variance once, by the average of what each sample would move them by
   *   (`RunningStats.learn`).
   */
  protected override learn(singles: readonly Single[]): void {
    const running = this.running!;
    const w = running.next(this.settings.momentum);
    const m = running.mean.writable;
    const v = running.variance.writable;
    for (let c = 0; c < m.length; c++) {
      let [sum, squares] = [0, 0];
      for (const { values } of singles) {
        const d = values[c] - m[c];
        sum += d;
        squares += d * d;
      }
      m[c] += (w * sum) / singles.length;
      if (w < 1) v[c] = (1 - w) * (v[c] + (w * squares) / singles.length);
    }
  }
}

/**
 * Instance normalization (Ulyanov et al. 2016) of `[N, C, L]`; with `layout: 'channels-last'` of
 * `[N, L, C]`:
 *
 *   y = (x − μ)/√(σ² + eps)·gamma + beta
 *
 * with μ and σ² the mean and the (biased) variance of one channel of one sample. By default there
 * is no gamma and beta, and nothing is tracked.
 *
 *     const y = new InstanceNorm1d(8).forward({ data, shape: [4, 8, 100] });
 */
export class InstanceNorm1d extends InstanceNorm<3> {
  static override readonly name: string = 'InstanceNorm1d';
  protected form(): { kind: string; ranks: Ranks } {
    return { kind: 'InstanceNorm1d', ranks: [3, 3] };
  }
}

/**
 * Instance normalization of `[N, C, H, W]`; with `layout: 'channels-last'` of `[N, H, W, C]`.
 * Formula and options are those of `InstanceNorm1d`.
 *
 *     const y = new InstanceNorm2d(8, { affine: true }).forward({ data, shape: [4, 8, 32, 32] });
 */
export class InstanceNorm2d extends InstanceNorm<4> {
  static override readonly name: string = 'InstanceNorm2d';
  protected form(): { kind: string; ranks: Ranks } {
    return { kind: 'InstanceNorm2d', ranks: [4, 4] };
  }
}

/**
 * Instance normalization of `[N, C, D, H, W]`; with `layout: 'channels-last'` of `[N, D, H, W, C]`.
 * Formula and options are those of `InstanceNorm1d`.
 *
 *     const y = new InstanceNorm3d(8).forward({ data, shape: [2, 8, 16, 16, 16] });
 */
export class InstanceNorm3d extends InstanceNorm<5> {
  static override readonly name: string = 'InstanceNorm3d';
  protected form(): { kind: string; ranks: Ranks } {
    return { kind: 'InstanceNorm3d', ranks: [5, 5] };
  }
}
