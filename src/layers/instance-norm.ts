import { showShape, wrongValue } from '../errors.ts';
import { activationOf } from '../kernels/activations.ts';
import { backend } from '../kernels/backend.ts';
import type { Settled } from './channel-norm.ts';
import type { Mask } from './mask.ts';
import { type AffineOptions, type BatchNormOptions, checkTracking, readKinOptions } from './options.ts';
import type { Plan, Ranks } from './plan.ts';
import { type Run, runsOf } from './runs.ts';
import { TrackedNorm } from './tracked-norm.ts';

/** Options of the instance normalization layers. Defaults are PyTorch's: `affine: false`, `trackRunningStats: false`. */
export interface InstanceNormOptions
  extends AffineOptions,
    Pick<BatchNormOptions, 'momentum' | 'trackRunningStats' | 'runningVariance'> {}

const DEFAULTS: Required<Omit<InstanceNormOptions, 'activation'>> = {
  eps: 1e-5,
  affine: false,
  layout: 'channels-first',
  momentum: 0.1,
  trackRunningStats: false,
  runningVariance: 'unbiased',
};

function readOptions(subject: string, given: InstanceNormOptions) {
  const options = readKinOptions(subject, given, DEFAULTS);
  checkTracking(subject, options);
  return options;
}

/**
 * Instance normalization (Ulyanov et al. 2016): each channel of each sample by its own mean and (biased) variance. With `trackRunningStats` the averages of these
 * over samples are tracked, and evaluation normalises by them.
 */
abstract class InstanceNorm<R extends number> extends TrackedNorm<ReturnType<typeof readOptions>, R> {
  /**
   * @param numFeatures channels, C
   * @throws ERR_OPTION for an unknown option or a value it does not take
   */
  constructor(numFeatures: number, options: InstanceNormOptions = {}) {
    super(numFeatures, (subject) => readOptions(subject, options));
  }

  /** The options in force, defaults filled in. */
  get options(): Readonly<typeof DEFAULTS & Pick<InstanceNormOptions, 'activation'>> {
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
  protected form(): { kind: string; ranks: Ranks } {
    return { kind: 'InstanceNorm1d', ranks: [3, 3] };
  }
}

/** Instance normalization of `[N, C, H, W]`; with `layout: 'channels-last'` of `[N, H, W, C]`. */
export class InstanceNorm2d extends InstanceNorm<4> {
  static override readonly name: string = 'InstanceNorm2d';
  protected form(): { kind: string; ranks: Ranks } {
    return { kind: 'InstanceNorm2d', ranks: [4, 4] };
  }
}

/** Instance normalization of `[N, C, D, H, W]`; with `layout: 'channels-last'` of `[N, D, H, W, C]`. */
export class InstanceNorm3d extends InstanceNorm<5> {
  static override readonly name: string = 'InstanceNorm3d';
  protected form(): { kind: string; ranks: Ranks } {
    return { kind: 'InstanceNorm3d', ranks: [5, 5] };
  }
}
