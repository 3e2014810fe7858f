import { wrongMoment } from '../errors.ts';
import { activationOf } from '../kernels/activations.ts';
import type { StateSlots } from '../layers/state.ts';
import { notBuilt } from '../layers/unbuilt.ts';
import type { MaskOptions } from '../passes/mask.ts';
import { anyRank, type Ranks } from '../passes/plan.ts';
import { locateAll } from '../tensors/several.ts';
import { shapeOf } from '../tensors/shape.ts';
import type { Result, TensorLike } from '../tensors/tensor.ts';
import { BatchPolicy } from './engine/batch-policy.ts';
import { ChannelEngine } from './engine/channel-engine.ts';
import { forwardTogether, type MicroStep } from './engine/micro-batches.ts';
import type { NormEngine } from './engine/norm-engine.ts';
import type { NormTransform } from './engine/policy.ts';
import { learnedScale, Norm } from './norm.ts';
import {
  type BatchNormOptions,
  type BatchNormOptionsRead,
  type BatchNormSettings,
  batchNormSchema,
  channelPlace,
  engineOrUnbuilt,
  type Preset,
  type PresetOptions,
  placedOptions,
  preset,
  readNormOptions,
} from './options.ts';
import { RunningStats } from './statistics/running-stats.ts';

/** What a batch norm works with, once it is built. */
interface Made {
  policy?: BatchPolicy;
  engine?: ChannelEngine;
}

/** What a relative of batch norm is made of. */
export interface BatchNormVariant {
  /** Its name in errors. */
  readonly kind: string;
  readonly ranks: Ranks;
  /** Its options, where it takes others besides, read. */
  readonly settings?: BatchNormOptionsRead;
  /** Makes its running statistics, where they are not moved as batch norm moves them. */
  readonly running?: (channels: number) => RunningStats;
  readonly transform?: (channels: number) => NormTransform;
  /** Its engine, where another stands around that of batch norm. */
  readonly around?: (engine: ChannelEngine, policy: BatchPolicy) => NormEngine;
  /** First value of gamma, where it is not 1. */
  readonly gamma?: number;
}

/**
 * Batch normalization (Ioffe & Szegedy 2015) of inputs of any rank ≥ 2: `[N, C, ...]`, or `[N, ...,
 * C]` with `layout: 'channels-last'`, or with channels along any other axis that `axis` says. Per
 * channel,
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
export class BatchNorm<R extends number = number> extends Norm<R, MaskOptions> {
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

  readonly #settings: BatchNormOptionsRead;
  readonly #made: Made;
  #micro: MicroStep | undefined;
  /** Is the step over micro-batches held on to, while another is tried? */
  #isHeld = false;

  /**
   * @param numFeatures channels, C; `null`: those of the first input, or of `build(shape)`, until
   *   which there are no parameters and statistics
   * @param options see `BatchNormOptions`; each has PyTorch's default
   * @throws ERR_OPTION for an unknown option or a value that it does not take
   */
  constructor(numFeatures: number | null, options?: BatchNormOptions);
  /** @internal */
  constructor(numFeatures: number | null, options: BatchNormOptions | undefined, variant: BatchNormVariant);
  constructor(
    numFeatures: number | null,
    options: BatchNormOptions = {},
    variant: BatchNormVariant = { kind: 'BatchNorm', ranks: anyRank() },
  ) {
    const { kind, ranks, around } = variant;
    const read = variant.settings ?? readNormOptions(kind, numFeatures, options, batchNormSchema());
    const subjectOf = (channels: number | null) => `${kind}(${channels})`;
    const place = channelPlace(subjectOf(numFeatures), read, ranks);
    const settings = placedOptions(read, place);
    const stepOf = around && ((run: { step: number }) => `, time step ${run.step}`);
    const { eps, activation, trackRunningStats } = settings;
    const made: Made = {};
    const make = (channels: number) => {
      const running = trackRunningStats ? (variant.running?.(channels) ?? new RunningStats(channels)) : undefined;
      const subject = subjectOf(channels);
      const policy = new BatchPolicy(subject, channels, settings, running, stepOf);
      const learned = learnedScale(settings.affine, [channels]);
      if (variant.gamma !== undefined) learned.gamma?.values.writable.fill(variant.gamma);
      const transform = variant.transform?.(channels);
      const engine = new ChannelEngine({
        subject,
        channels,
        ranks,
        eps,
        activation,
        place,
        learned,
        policy,
        transform,
      });
      Object.assign(made, { policy, engine });
      return around?.(engine, policy) ?? engine;
    };
    super(engineOrUnbuilt(numFeatures, subjectOf, place, ranks, make));
    this.#settings = settings;
    this.#made = made;
  }

  /**
   * Channels, C.
   *
   * @throws ERR_MODE where it is not known yet
   */
  get numFeatures(): number {
    return this.#channelEngine.description.channels;
  }

  /** @internal */
  protected get policy(): BatchPolicy {
    return (this.isBuilt && this.#made.policy) || notBuilt(this.subject, 'statistics');
  }

  get #channelEngine(): ChannelEngine {
    return (this.isBuilt && this.#made.engine) || notBuilt(this.subject, 'numFeatures');
  }

  /** The options in force, defaults filled in: for another layer of the same kind. */
  get options(): Readonly<BatchNormSettings> {
    return { ...this.#settings, activation: activationOf(this.#settings.activation) };
  }

  /** Mean over the batches seen, `[C]`; `null` with `trackRunningStats: false`. */
  get runningMean(): Float32Array | null {
    return this.policy.running?.mean.open ?? null;
  }

  /** Variance over the batches seen, `[C]`; `null` with `trackRunningStats: false`. */
  get runningVar(): Float32Array | null {
    return this.policy.running?.variance.open ?? null;
  }

  /**
   * Batches that moved the running statistics. An empty batch counts as well in batch norm, as in
   * PyTorch, unless the count is the divisor of a cumulative average.
   */
  get batchesTracked(): number {
    return this.policy.running?.batches ?? 0;
  }

  /** Training batches whose statistics were not finite, since the layer was made or reset. */
  get nonFiniteBatches(): number {
    return this.policy.nonFiniteBatches;
  }

  /** `true` between `freeze()` and `unfreeze()`. */
  get frozen(): boolean {
    return this.isBuilt && this.policy.isFrozen;
  }

  /**
   * Freezes the layer, in either mode: it normalises by the running statistics, which nothing
   * moves; gamma and beta get no gradient, and optimizers pass them by.
   *
   * @throws ERR_MODE without running statistics
   */
  freeze(): this {
    if (!this.policy.running) {
      const got = 'a layer with trackRunningStats: false';
      throw wrongMoment('ERR_MODE', this.subject, 'freeze', 'running statistics', got);
    }
    return this.#setFrozen(true);
  }

  /** Ends `freeze()`: statistics move in training again, and gamma and beta get gradients. */
  unfreeze(): this {
    return this.#setFrozen(false);
  }

  #setFrozen(on: boolean): this {
    // their forwards would be run again in another mode
    if (on !== this.frozen) this.forgetMicroBatches();
    this.policy.isFrozen = on;
    for (const parameter of this.parameters()) parameter.frozen = on;
    return this;
  }

  /** Running mean 0, running variance 1, no batches. */
  resetRunningStats(): void {
    this.policy.running?.reset();
    this.policy.nonFiniteBatches = 0;
    this.forget();
  }

  override stateSlots(): StateSlots {
    return { ...super.stateSlots(), ...this.policy.running?.slots() };
  }

  /** @internal */
  override checkpoint(): (() => void) | undefined {
    return this.training && this.isBuilt ? this.policy.running?.checkpoint() : undefined;
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
    if (!this.isBuilt) this.build(shapeOf(locateAll(this.subject, 'micro-batch', xs)[0]));
    if (!this.training || this.frozen) {
      const ys = super.forwardMicroBatches(xs);
      this.#takeMicro(undefined);
      return ys;
    }
    if (this.#channelEngine.isObserved) {
      const expected = 'a layer whose statistics nobody takes';
      throw wrongMoment('ERR_MODE', this.subject, 'forward of micro-batches', expected, 'one that is watched');
    }
    const { ys, step } = forwardTogether(this.#channelEngine, this.policy, xs);
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
}
