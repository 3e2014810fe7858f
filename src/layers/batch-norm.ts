import { show, showShape, wrongValue } from '../errors.ts';
import type { OwnStatistics } from '../graph/operations/channel-norm.ts';
import { activationOf } from '../kernels/activations.ts';
import type { Result, TensorLike } from '../tensors/tensor.ts';
import type { ChannelPass, Settled, Single } from './channel-norm.ts';
import type { Training } from './coefficients.ts';
import type { Mask } from './mask.ts';
import { forwardTogether, type MicroStep } from './micro-batches.ts';
import {
  type BatchNormOptions,
  type BatchNormSettings,
  type Preset,
  type PresetOptions,
  preset,
  type ResolvedOptions,
  readOptions,
} from './options.ts';
import type { Plan, Ranks } from './plan.ts';
import type { RunMoments } from './run-blocks.ts';
import type { RunningStats } from './running-stats.ts';
import { type Run, runsOf, singleValue } from './runs.ts';
import { TrackedNorm } from './tracked-norm.ts';

/** The number of micro-batches that make one batch, among the runs of a pass. */
const TOGETHER = -1;

/** What tracking has to know of a run. */
export type Tracked = Pick<Run, 'count' | 'correction' | 'step'>;

/**
 * Batch normalization (Ioffe & Szegedy 2015) of inputs of any rank ≥ 2: `[N, C, ...]`, or `[N, ...,
 * C]` with `layout: 'channels-last'`. Per channel,
 *
 *   y = (x − μ)/√(σ² + eps)·gamma + beta
 *
 * In training μ and σ² are the mean and the (biased) variance of the batch, and running statistics
 * move towards them: r ← (1 − momentum)·r + momentum·batch. In evaluation μ and σ² are the running
 * statistics. Places that a mask leaves out have no part in the statistics, and their output is 0.
 *
 *     const bn = new BatchNorm2d(64);
 *     const y = bn.forward(x);     // training
 *     const dx = bn.backward(dy);  // adds to bn.gamma.grad and bn.beta.grad
 *
 * Options and their defaults are PyTorch's (`BatchNormOptions`). Besides what every norm throws, a
 * forward throws ERR_MASK for a mask that does not fit or leaves nothing, ERR_SINGLE_VALUE for one
 * value per channel in training unless `onSingleValue` says otherwise, and ERR_NON_FINITE for a
 * batch with NaN or Inf if `onNonFinite` is `'throw'`.
 */
export class BatchNorm<R extends number = number> extends TrackedNorm<ResolvedOptions, R> {
  static override readonly name: string = 'BatchNorm';
  /**
   * A framework's eps, momentum, variance estimator and layout, as options: `new BatchNorm2d(64,
   * BatchNorm.preset('keras'))`.
   *
   * @throws ERR_OPTION for an unknown framework
   */
  static preset(name: Preset): PresetOptions {
    return preset(name);
  }

  #frozen = false;
  #nonFinite = 0;
  #micro: MicroStep | undefined;
  /** Is the step over micro-batches held on to, while another is tried? */
  #isHeld = false;

  /**
   * @param numFeatures channels, C
   * @param options see `BatchNormOptions`; each has PyTorch's default
   * @throws ERR_OPTION for an unknown option or a value that it does not take
   */
  constructor(numFeatures: number, options: BatchNormOptions = {}) {
    super(numFeatures, (subject) => readOptions(subject, options));
  }

  /** @internal */
  protected form(): { kind: string; ranks: Ranks } {
    return { kind: 'BatchNorm', ranks: [2, Number.POSITIVE_INFINITY] };
  }

  /** The options in force, defaults filled in: for another layer of the same kind. */
  get options(): Readonly<BatchNormSettings> {
    return { ...this.settings, activation: activationOf(this.settings.activation) };
  }

  /** Training batches whose statistics were not finite, since the layer was made or reset. */
  get nonFiniteBatches(): number {
    return this.#nonFinite;
  }

  /** `true` between `freeze()` and `unfreeze()`. */
  get frozen(): boolean {
    return this.#frozen;
  }

  /**
   * Freezes the layer, in either mode: it normalises by the running statistics, which nothing
   * moves; gamma and beta get no gradient, and optimizers pass them by.
   *
   * @throws ERR_MODE without running statistics
   */
  freeze(): this {
    if (!this.running) throw this.wrongMoment('freeze', 'running statistics', 'a layer with trackRunningStats: false');
    return this.#setFrozen(true);
  }

  /** Ends `freeze()`: statistics move in training again, and gamma and beta get gradients. */
  unfreeze(): this {
    return this.#setFrozen(false);
  }

  /** @internal */
  override get tracked(): RunningStats | undefined {
    return this.#frozen ? undefined : this.running;
  }

  /** Running mean 0, running variance 1, no batches. */
  override resetRunningStats(): void {
    super.resetRunningStats();
    this.#nonFinite = 0;
  }

  /**
   * Forward of micro-batches as if they were one batch: their statistics are merged before the
   * first is mapped, and running statistics move once. `backward` then needs a `forward` of its
   * own.
   *
   * @param xs of any sizes along the first axis, at least one
   * @throws as `forward`; ERR_OPTION without any. Nothing has changed then
   */
  override forwardMicroBatches<X extends TensorLike>(xs: readonly X[]): Result<X>[] {
    if (!this.training || this.#frozen) {
      const ys = super.forwardMicroBatches(xs);
      this.#takeMicro(undefined);
      return ys;
    }
    if (this.isWatched)
      throw this.wrongMoment(
        'forward of micro-batches',
        'a layer whose statistics nobody takes',
        'one that is watched',
      );
    const { ys, step } = forwardTogether(
      {
        subject: this.subject,
        settings: this.settings,
        learned: this.learned,
        planOf: (shape) => this.planOf(shape),
        settle: (count, v, finite) =>
          this.#settleTogether(count, v, finite, xs.length === 1 ? '1 micro-batch' : `${xs.length} micro-batches`),
        adjust: (v) => this.adjust(v, TOGETHER, 0, this.numFeatures),
        adjustGradient: (v) => this.adjustGradient(v, TOGETHER),
      },
      xs,
    );
    this.forgetMicroBatches();
    this.forget();
    this.#takeMicro(step);
    return ys;
  }

  /**
   * Gradients of the last `forwardMicroBatches`, as if the micro-batches were one batch. @throws as
   * `backward`
   */
  override backwardMicroBatches<D extends TensorLike>(dys: readonly D[]): Result<D>[] {
    return this.#micro ? this.#micro.backward(dys) : super.backwardMicroBatches(dys);
  }

  /** Gives back the linear memory that the layer works in, that of micro-batches included. */
  override dispose(): void {
    super.dispose();
    this.forgetMicroBatches();
    this.#takeMicro(undefined);
  }

  /** @internal */
  override holdMicroBatches(): (restore: boolean) => void {
    const end = super.holdMicroBatches();
    const held = this.#micro;
    this.#isHeld = true;
    return (restore) => {
      end(restore);
      this.#isHeld = false;
      if (this.#micro === held) return;
      if (restore) this.#takeMicro(held);
      else held?.dispose();
    };
  }

  /** The step over micro-batches that backward belongs to from now on. */
  #takeMicro(step: MicroStep | undefined): void {
    if (!this.#isHeld) this.#micro?.dispose();
    this.#micro = step;
  }

  /** @internal Virtual batches in training; all samples together otherwise. */
  protected override cut(plan: Plan, mask: Mask | undefined): Omit<Run, 'by'>[] {
    const virtual = this.training && !this.#frozen ? this.settings.virtualBatchSize : null;
    return runsOf(plan, mask, virtual ?? plan.shape[0]);
  }

  /** @internal */
  protected override fewest(samples: number): number {
    const { virtualBatchSize } = this.settings;
    return (virtualBatchSize && samples % virtualBatchSize) || Math.min(virtualBatchSize ?? samples, samples);
  }

  /** @internal */
  protected override statisticsFor(run: Omit<Run, 'by'>, batch: Plan): Run['by'] {
    if (this.#frozen || (!this.training && this.running)) return 'running';
    const { plan, mask, count } = run;
    if (count > 1 || plan.size === 0) return 'batch';
    if (mask && count === 0) throw this.nothingCounts(this.placeOf(run, batch));
    const { onSingleValue } = this.settings;
    if (onSingleValue === 'use-running') return 'online';
    if (onSingleValue === 'skip-update') return 'batch';
    throw this.#singleValue(this.placeOf(run, batch));
  }

  /** @internal */
  protected override placeOf({ plan }: Pick<Run, 'plan' | 'from' | 'step'>, batch: Plan): string {
    const virtual = this.training ? this.settings.virtualBatchSize : null;
    const part = virtual === null ? '' : `, a virtual batch of ${plan.shape[0]}`;
    return `shape ${showShape(batch.shape)}${part}`;
  }

  #singleValue(place: string): Error {
    const when = this.training ? 'training' : 'evaluation without running statistics';
    const hint = this.running ? 'eval() takes single values; training does with onSingleValue' : 'see onSingleValue';
    return singleValue(this.subject, when, 'channel', `${place}; ${hint}`);
  }

  /** @internal */
  protected override ownStatistics(): OwnStatistics {
    const onSingleValue = this.settings.onSingleValue === 'skip-update' ? 'skip-update' : 'throw';
    return { groups: this.numFeatures, over: 'batch', onSingleValue };
  }

  /** @internal */
  protected override get mayRefuse(): boolean {
    return this.training && this.settings.onNonFinite === 'throw';
  }

  /** @internal The error for statistics that are not finite in f32, after counting them. */
  protected override refusal(v: Training, context: string): Error | undefined {
    const { mean: means, variance: variances } = v.views();
    for (let c = 0; c < this.numFeatures; c++) {
      const mean = means[c];
      const variance = variances[c];
      if (Number.isFinite(Math.fround(mean)) && Number.isFinite(Math.fround(variance))) continue;
      this.#nonFinite++;
      const got = `a mean of ${show(mean)} and a variance of ${show(variance)}`;
      return wrongValue('ERR_NON_FINITE', this.subject, 'x', 'finite statistics', got, `channel ${c}, ${context}`);
    }
    return undefined;
  }

  /** @internal */
  protected override empty({ runs }: ChannelPass): void {
    const tracks = runs[0]?.by === 'batch' && this.training && this.settings.momentum !== null && !this.isWatched;
    if (tracks && this.running) this.running.batches++;
  }

  /** @internal Counts batches, and moves the running statistics unless a policy says not to. */
  protected override settle(runs: readonly Settled[], moments: (index: number) => RunMoments): void {
    if (!this.training) return;
    if (runs.some(({ finite }) => !finite)) this.#nonFinite++;
    for (const { run, index, finite } of runs) this.#track(run, moments(index), finite);
  }

  #track(run: Tracked, moments: RunMoments, finite: boolean): void {
    const { count, correction } = run;
    const { runningVariance, onNonFinite } = this.settings;
    if (!this.running || count <= 1 || (!finite && onNonFinite === 'skip-update')) return;
    this.move(moments, runningVariance === 'unbiased' ? correction : 1, run);
  }

  /**
   * What the policies say of the statistics of micro-batches; what it returns moves the running
   * ones.
   */
  #settleTogether(count: number, v: Training, finite: boolean, context: string): () => void {
    if (count === 1 && this.settings.onSingleValue !== 'skip-update') throw this.#singleValue(context);
    const refusal = this.mayRefuse && this.refusal(v, context);
    if (refusal) throw refusal;
    return () => {
      if (!finite) this.#nonFinite++;
      this.#track({ count, correction: count / (count - 1), step: 0 }, v.views(), finite);
    };
  }

  /** @internal Moves running statistics by those of a run. */
  protected move({ mean, variance }: RunMoments, correction: number | Float64Array, _run: Tracked): void {
    this.running!.update(mean, variance, this.settings.momentum, correction);
  }

  /** @internal */
  protected override learn(singles: readonly Single[]): void {
    for (const { values } of singles) this.running!.learn(values, this.settings.momentum);
  }

  #setFrozen(on: boolean): this {
    // their forwards would be run again in another mode
    if (on !== this.#frozen) this.forgetMicroBatches();
    this.#frozen = on;
    for (const parameter of this.parameters()) parameter.frozen = on;
    return this;
  }
}
