import { activationOf } from '../kernels/activations.ts';
import { layout } from '../layers/options.ts';
import type { StateSlots } from '../layers/state.ts';
import { notBuilt } from '../layers/unbuilt.ts';
import { flag, type Schema } from '../named-options.ts';
import type { MaskOptions } from '../passes/mask.ts';
import { ChannelEngine } from './engine/channel-engine.ts';
import { SamplePolicy } from './engine/sample-policy.ts';
import { learnedScale, Norm } from './norm.ts';
import {
  type AffineOptions,
  activation,
  affine,
  type BatchNormOptions,
  channelAxis,
  channelPlace,
  engineOrUnbuilt,
  epsilon,
  momentum,
  onSingleValue,
  placedOptions,
  readNormOptions,
  runningVariance,
  type Settings,
} from './options.ts';
import type { RunningStats } from './statistics/running-stats.ts';
import { SampleStats } from './statistics/sample-stats.ts';

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

/** What an instance norm works with, once it is built. */
interface Made {
  channels?: number;
  running?: RunningStats;
}

type InstanceNormOptionsRead = Settings<InstanceNormOptions>;

const instanceNormSchema = (): Schema<InstanceNormOptionsRead> => ({
  eps: epsilon(1e-5),
  affine: affine(false),
  layout: layout(),
  axis: channelAxis(),
  momentum: momentum(),
  trackRunningStats: flag(false),
  runningVariance: runningVariance(),
  onSingleValue: onSingleValue(),
  activation: activation(),
});

/**
 * Instance normalization (Ulyanov et al. 2016):
 *
 *   y = (x − μ)/√(σ² + eps)·gamma + beta
 *
 * with μ and σ² the mean and the (biased) variance of one channel of one sample; gamma and beta by
 * channel, if `affine` is on. With `trackRunningStats` the averages of μ and σ² over samples are
 * tracked, and evaluation normalises by them.
 */
abstract class InstanceNorm<R extends number> extends Norm<R, MaskOptions> {
  readonly #settings: InstanceNormOptionsRead;
  readonly #made: Made;

  /** @internal */
  constructor(numFeatures: number | null, options: InstanceNormOptions, kind: string, rank: R) {
    const read = readNormOptions(kind, numFeatures, options, instanceNormSchema());
    const subjectOf = (channels: number | null) => `${kind}(${channels})`;
    const ranks = [rank, rank] as const;
    const place = channelPlace(subjectOf(numFeatures), read, ranks);
    const settings = placedOptions(read, place);
    const { eps, activation } = settings;
    const made: Made = {};
    const make = (channels: number) => {
      const running = settings.trackRunningStats ? new SampleStats(channels) : undefined;
      const subject = subjectOf(channels);
      const policy = new SamplePolicy(subject, channels, settings, running);
      const learned = learnedScale(settings.affine, [channels]);
      Object.assign(made, { channels, running });
      return new ChannelEngine({ subject, channels, ranks, eps, place, activation, learned, policy });
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
    return (this.isBuilt && this.#made.channels) || notBuilt(this.subject, 'numFeatures');
  }

  get #running(): RunningStats | undefined {
    return this.isBuilt || !this.#settings.trackRunningStats
      ? this.#made.running
      : notBuilt(this.subject, 'statistics');
  }

  /** The options in force, defaults filled in. */
  get options(): Readonly<Required<Omit<InstanceNormOptions, 'activation'>> & Pick<InstanceNormOptions, 'activation'>> {
    return { ...this.#settings, activation: activationOf(this.#settings.activation) };
  }

  /** Mean over the batches seen, `[C]`; `null` with `trackRunningStats: false`. */
  get runningMean(): Float32Array | null {
    return this.#running?.mean.open ?? null;
  }

  /** Variance over the batches seen, `[C]`; `null` with `trackRunningStats: false`. */
  get runningVar(): Float32Array | null {
    return this.#running?.variance.open ?? null;
  }

  /**
   * Batches that moved the running statistics. An empty batch counts as well in batch norm, as in
   * PyTorch, unless the count is the divisor of a cumulative average.
   */
  get batchesTracked(): number {
    return this.#running?.batches ?? 0;
  }

  /** Running mean 0, running variance 1, no batches. */
  resetRunningStats(): void {
    this.#running?.reset();
    this.forget();
  }

  override stateSlots(): StateSlots {
    return { ...super.stateSlots(), ...this.#running?.slots() };
  }

  /** @internal */
  override checkpoint(): (() => void) | undefined {
    return this.training && this.isBuilt ? this.#running?.checkpoint() : undefined;
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

  /**
   * @param numFeatures channels, C; `null`: those of the first input, or of `build(shape)`
   * @throws ERR_OPTION for an unknown option or a value it does not take
   */
  constructor(numFeatures: number | null, options: InstanceNormOptions = {}) {
    super(numFeatures, options, 'InstanceNorm1d', 3);
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

  /**
   * @param numFeatures channels, C; `null`: those of the first input, or of `build(shape)`
   * @throws ERR_OPTION for an unknown option or a value it does not take
   */
  constructor(numFeatures: number | null, options: InstanceNormOptions = {}) {
    super(numFeatures, options, 'InstanceNorm2d', 4);
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

  /**
   * @param numFeatures channels, C; `null`: those of the first input, or of `build(shape)`
   * @throws ERR_OPTION for an unknown option or a value it does not take
   */
  constructor(numFeatures: number | null, options: InstanceNormOptions = {}) {
    super(numFeatures, options, 'InstanceNorm3d', 5);
  }
}
