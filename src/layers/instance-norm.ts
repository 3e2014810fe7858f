import { showShape, wrongValue } from '../errors.ts';
import { activationOf } from '../kernels/activations.ts';
import { backend } from '../kernels/backend.ts';
import { ChannelNorm, type Settled } from './channel-norm.ts';
import { learned } from './norm.ts';
import {
  type AffineOptions,
  type BatchNormOptions,
  checkFeatures,
  checkTracking,
  KIN_DEFAULTS,
  readKinOptions,
} from './options.ts';
import type { Ranks } from './plan.ts';
import { RunningStats } from './running-stats.ts';
import type { Run } from './runs.ts';

/** Options of the instance normalization layers. Defaults are PyTorch's: `affine: false`, `trackRunningStats: false`. */
export interface InstanceNormOptions
  extends AffineOptions,
    Pick<BatchNormOptions, 'momentum' | 'trackRunningStats' | 'runningVariance'> {}

const DEFAULTS = {
  ...KIN_DEFAULTS,
  affine: false as boolean | 'gamma' | 'beta',
  momentum: 0.1 as number | null,
  trackRunningStats: false,
  runningVariance: 'unbiased' as 'unbiased' | 'biased',
};

/**
 * Instance normalization (Ulyanov et al. 2016): each channel of each sample by its own mean and (biased) variance. With `trackRunningStats` the averages of these
 * over samples are tracked, and evaluation normalises by them.
 */
abstract class InstanceNorm<R extends number> extends ChannelNorm<R> {
  readonly subject: string;
  readonly numFeatures: number;
  /** @internal */
  protected readonly settings: ReturnType<typeof readKinOptions<InstanceNormOptions, typeof DEFAULTS>>;
  /** @internal */
  protected readonly learned: ReturnType<typeof learned>;
  /** @internal */
  protected readonly ranks: Ranks;

  /**
   * @param numFeatures channels, C
   * @throws ERR_OPTION for an unknown option or a value it does not take
   */
  constructor(numFeatures: number, options: InstanceNormOptions = {}) {
    super();
    const { kind, rank } = this.form();
    checkFeatures(kind, 'numFeatures', numFeatures);
    this.subject = `${kind}(${numFeatures})`;
    this.numFeatures = numFeatures;
    this.ranks = [rank, rank];
    this.settings = readKinOptions(this.subject, options, DEFAULTS);
    checkTracking(this.subject, this.settings);
    this.learned = learned(this.settings.affine, [numFeatures]);
    if (this.settings.trackRunningStats) this.running = new RunningStats(numFeatures);
  }

  /** @internal */
  protected abstract form(): { kind: string; rank: number };

  /** The options in force, defaults filled in. */
  get options(): Readonly<typeof DEFAULTS & Pick<InstanceNormOptions, 'activation'>> {
    return { ...this.settings, activation: activationOf(this.settings.activation) };
  }

  /** Mean over samples and batches, `[C]`; `null` unless tracked. */
  get runningMean(): Float32Array | null {
    return this.running?.mean.open ?? null;
  }

  /** Variance within samples, over samples and batches, `[C]`; `null` unless tracked. */
  get runningVar(): Float32Array | null {
    return this.running?.variance.open ?? null;
  }

  /** Batches that moved the running statistics. */
  get batchesTracked(): number {
    return this.running?.batches ?? 0;
  }

  /** Running mean 0, running variance 1, no batches. */
  resetRunningStats(): void {
    this.running?.reset();
    this.forget();
  }

  /** @internal */
  protected get channels(): number {
    return this.numFeatures;
  }

  /** @internal Each sample by itself. */
  protected override runLength(): number {
    return 1;
  }

  /** @internal */
  protected override statisticsFor(run: Omit<Run, 'by'>): Run['by'] {
    if (!this.training && this.running) return 'running';
    const { plan, mask, values } = run;
    if (values > 1 || plan.size === 0) return 'batch';
    if (mask && values === 0) throw this.nothingCounts(run);
    const expected = 'at least 2 values per channel of a sample';
    throw wrongValue('ERR_SINGLE_VALUE', this.subject, 'x', expected, '1', `shape ${showShape(plan.shape)}`);
  }

  /** @internal */
  protected override settle(runs: readonly Settled[]): void {
    if (!this.running || !this.training) return;
    const { f64 } = backend().heap;
    const { numFeatures } = this;
    const sums = new Float64Array(2 * numFeatures);
    const unbiased = this.settings.runningVariance === 'unbiased';
    for (const { run, v } of runs) {
      const { correction } = run;
      for (let c = 0; c < numFeatures; c++) {
        const factor = unbiased ? (typeof correction === 'number' ? correction : correction[c]) : 1;
        sums[c] += f64[(v.mean >>> 3) + c] / runs.length;
        sums[numFeatures + c] += (f64[(v.variance >>> 3) + c] * factor) / runs.length;
      }
    }
    this.running.update(sums, 0, numFeatures, this.settings.momentum, 1);
  }
}

/** Instance normalization of `[N, C, L]`; with `layout: 'channels-last'` of `[N, L, C]`. */
export class InstanceNorm1d extends InstanceNorm<3> {
  static override readonly name: string = 'InstanceNorm1d';
  protected form(): { kind: string; rank: number } {
    return { kind: 'InstanceNorm1d', rank: 3 };
  }
}

/** Instance normalization of `[N, C, H, W]`; with `layout: 'channels-last'` of `[N, H, W, C]`. */
export class InstanceNorm2d extends InstanceNorm<4> {
  static override readonly name: string = 'InstanceNorm2d';
  protected form(): { kind: string; rank: number } {
    return { kind: 'InstanceNorm2d', rank: 4 };
  }
}

/** Instance normalization of `[N, C, D, H, W]`; with `layout: 'channels-last'` of `[N, D, H, W, C]`. */
export class InstanceNorm3d extends InstanceNorm<5> {
  static override readonly name: string = 'InstanceNorm3d';
  protected form(): { kind: string; rank: number } {
    return { kind: 'InstanceNorm3d', rank: 5 };
  }
}
