import { ChannelNorm } from './channel-norm.ts';
import { MASK_OPTIONS, type MaskOptions } from './mask.ts';
import { CALL_OPTIONS, learned } from './norm.ts';
import { type BatchNormOptions, checkFeatures, type KinSettings } from './options.ts';
import type { Ranks } from './plan.ts';
import { RunningStats } from './running-stats.ts';

/** What a norm that may track statistics has to know. */
type TrackedSettings = KinSettings &
  Required<Pick<BatchNormOptions, 'affine' | 'trackRunningStats' | 'runningVariance'>>;

const TAKEN = /* @__PURE__ */ CALL_OPTIONS.concat(MASK_OPTIONS);

/**
 * A norm by channel that may keep running statistics for evaluation. Places that a mask leaves out
 * have no part in the statistics, and their output is 0.
 */
export abstract class TrackedNorm<S extends TrackedSettings, R extends number> extends ChannelNorm<R, MaskOptions> {
  readonly subject: string;
  /** Channels, C. */
  readonly numFeatures: number;
  /** @internal */
  protected readonly settings: S;
  /** @internal */
  protected readonly learned: ReturnType<typeof learned>;
  /** @internal */
  protected readonly ranks: Ranks;

  /** @param read reads the options; told who complains */
  constructor(numFeatures: number, read: (subject: string) => S) {
    super();
    const { kind, ranks } = this.form();
    checkFeatures(kind, 'numFeatures', numFeatures);
    this.subject = `${kind}(${numFeatures})`;
    this.numFeatures = numFeatures;
    this.ranks = ranks;
    this.settings = read(this.subject);
    this.learned = learned(this.settings.affine, [numFeatures]);
    if (this.settings.trackRunningStats) this.running = new RunningStats(numFeatures);
  }

  /** @internal The name in errors, and the ranks taken. */
  protected abstract form(): { kind: string; ranks: Ranks };

  /** @internal */
  protected get channels(): number {
    return this.numFeatures;
  }

  /** Mean over the batches seen, `[C]`; `null` with `trackRunningStats: false`. */
  get runningMean(): Float32Array | null {
    return this.running?.mean.open ?? null;
  }

  /** Variance over the batches seen, `[C]`; `null` with `trackRunningStats: false`. */
  get runningVar(): Float32Array | null {
    return this.running?.variance.open ?? null;
  }

  /**
   * Batches that moved the running statistics. An empty batch counts as well in batch norm, as in
   * PyTorch, unless the count is the divisor of a cumulative average.
   */
  get batchesTracked(): number {
    return this.running?.batches ?? 0;
  }

  /**
   * @internal The running statistics that a forward in training would move, for who works them out
   *   anew; undefined if it would move none.
   */
  get tracked(): RunningStats | undefined {
    return this.running;
  }

  /** @internal Are they averages over the statistics of samples, not statistics of all values? */
  get averages(): boolean {
    return false;
  }

  /** @internal What evaluation uses in a time step. */
  evaluationAt(step: number): {
    mean: Float32Array;
    variance: Float32Array;
    gamma: Float32Array | undefined;
    eps: number;
  } {
    const { mean, variance } = this.runningAt(step);
    return { mean: mean.now, variance: variance.now, gamma: this.learned.gamma?.values.now, eps: this.settings.eps };
  }

  /** @internal How they count m values: divided by m − 1 or m. */
  get estimator(): 'unbiased' | 'biased' {
    return this.settings.runningVariance;
  }

  /** Running mean 0, running variance 1, no batches. */
  resetRunningStats(): void {
    this.running?.reset();
    this.forget();
  }

  /** @internal */
  protected override callOptions(): readonly string[] {
    return TAKEN;
  }
}
