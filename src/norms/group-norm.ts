import { showShape, wrongValue } from '../errors.ts';
import type { OwnStatistics } from '../graph/operations/channel-norm.ts';
import { activationOf } from '../kernels/activations.ts';
import { backend } from '../kernels/backend.ts';
import { gradInput, gradStats } from '../kernels/training/calls.ts';
import { checkFeatures, layout } from '../layers/options.ts';
import { notBuilt } from '../layers/unbuilt.ts';
import { choice, readSchema, type Schema } from '../named-options.ts';
import type { Training } from '../passes/coefficients.ts';
import { poolGroups, setGroupGradient } from '../passes/groups.ts';
import type { Mask, MaskOptions } from '../passes/mask.ts';
import { type MaskInMemory, maskedGradInput, maskedGradStats } from '../passes/masked-passes.ts';
import { anyRank, type Plan } from '../passes/plan.ts';
import type { Scaling } from '../passes/run-blocks.ts';
import { type Run, runsOf, singleValue } from '../passes/runs.ts';
import { ChannelEngine } from './engine/channel-engine.ts';
import type { NormPolicy, NormTransform } from './engine/policy.ts';
import { learnedScale, Norm } from './norm.ts';
import {
  type AffineOptions,
  activation,
  affine,
  channelAxis,
  channelPlace,
  engineOrUnbuilt,
  epsilon,
  placedOptions,
  type Settings,
} from './options.ts';

/** Options of `GroupNorm`. */
export interface GroupNormOptions extends AffineOptions {
  /**
   * One value in each group, which is its own mean: `'skip-update'` (default) gives beta, in either
   * mode; `'throw'` refuses it, as PyTorch does. There are no running statistics, so that
   * `BatchNorm`'s `'use-running'` is refused.
   */
  onSingleValue?: 'throw' | 'skip-update';
}

type GroupNormOptionsRead = Settings<GroupNormOptions>;

const groupNormSchema = (): Schema<GroupNormOptionsRead> => ({
  eps: epsilon(1e-5),
  affine: affine(true),
  layout: layout(),
  axis: channelAxis(),
  onSingleValue: choice('skip-update', ['throw', 'skip-update']),
  activation: activation(),
});

/** Each sample is normalised by itself, in training and in evaluation alike. */
class GroupPolicy implements NormPolicy {
  readonly running = undefined;
  readonly tracked = undefined;
  readonly estimator = 'biased';
  readonly refuses = false;
  readonly ownStatistics: OwnStatistics;
  readonly #subject: string;
  /** Channels of a group. */
  readonly #width: number;

  constructor(subject: string, channels: number, ownStatistics: OwnStatistics) {
    this.#subject = subject;
    this.#width = channels / ownStatistics.groups;
    this.ownStatistics = ownStatistics;
  }

  split(plan: Plan, mask: Mask | undefined): readonly Run[] {
    return runsOf(plan, mask, 1);
  }

  smallestRun(): number {
    return 1;
  }

  sourceOf({ plan, mask }: Run, batch: Plan): 'batch' {
    const isSingle = mask ? this.#hasSingle(mask) : plan.size > 0 && plan.count * this.#width === 1;
    if (!isSingle || this.ownStatistics.onSingleValue === 'skip-update') return 'batch';
    throw singleValue(this.#subject, 'x', 'group', `shape ${showShape(batch.shape)}; see onSingleValue`);
  }

  /** Is there a group in which a single place counts, or what is worth no more? */
  #hasSingle({ total, effective }: Mask): boolean {
    const width = this.#width;
    for (let first = 0; first < total.length; first += width) {
      let sum = 0;
      let squares = 0;
      for (let c = first; c < first + width; c++) {
        sum += total[c];
        // (Σw)²/Σw² is known of each channel
        if (total[c] > 0) squares += (total[c] * total[c]) / effective[c];
      }
      // weights that are all the same may come out at a hair above one value
      if (sum > 0 && (sum * sum) / squares <= 1 + 1e-9) return true;
    }
    return false;
  }

  commit(): void {}

  commitEmpty(): void {}

  refusal(): undefined {
    return undefined;
  }
}

/** Statistics of groups of channels, and the gradient through them. */
class Grouping implements NormTransform {
  readonly #channels: number;
  readonly #groups: number;

  constructor(channels: number, groups: number) {
    this.#channels = channels;
    this.#groups = groups;
  }

  pool(v: Training, mask: Mask | undefined): void {
    poolGroups(v, this.#channels, this.#groups, mask?.total);
  }

  gradient(
    { plan }: Run,
    x: number,
    dy: number,
    dx: number,
    v: Training,
    { gamma }: Scaling,
    placed: MaskInMemory | undefined,
    spare: number,
  ): void {
    const current = backend();
    const { gradCenter, a: scale, b, k } = v;
    const map = { gradCenter, scale, b, k };
    if (placed) maskedGradStats(current, plan, x, dy, placed, v, 0, this.#channels);
    else gradStats(current, plan, x, dy, v, 0, this.#channels);
    setGroupGradient(v, this.#channels, this.#groups, placed?.mask.total ?? plan.count, gamma);
    if (placed) maskedGradInput(current, plan, x, dy, map, dx, placed, spare);
    else gradInput(current, plan, x, dy, map, dx, 0, this.#channels);
  }
}

/**
 * Group normalization (Wu & He 2018) of `[N, C, ...]`, or `[N, ..., C]` with `layout:
 * 'channels-last'`:
 *
 *   y = (x − μ)/√(σ² + eps)·gamma + beta
 *
 * with μ and σ² the mean and the (biased) variance of one sample's values in one group of C/G
 * consecutive channels, gamma and beta by channel. Training and evaluation give the same, for
 * batches of any size. One group is layer normalization over channels and places; as many groups as
 * channels are instance normalization. `mask`, `lengths` and `weights` of a forward say which places
 * count (`MaskOptions`): the others have no part in the statistics, and their output is 0. A group
 * in which no place counts is 0 everywhere.
 *
 *     const gn = new GroupNorm(8, 64);     // 8 groups of 8 channels
 *     const y = gn.forward({ data, shape: [2, 64, 28, 28] });
 */
export class GroupNorm extends Norm<number, MaskOptions> {
  static override readonly name: string = 'GroupNorm';
  /** Groups, G. */
  readonly numGroups: number;
  readonly #made: { channels?: number };
  readonly #settings: GroupNormOptionsRead;

  /**
   * @param numGroups groups, G, which must divide the channels
   * @param numChannels channels, C; `null`: those of the first input, or of `build(shape)`
   * @param options see `GroupNormOptions`
   * @throws ERR_OPTION for an unknown option or a value that it does not take
   */
  constructor(numGroups: number, numChannels: number | null, options: GroupNormOptions = {}) {
    checkFeatures('GroupNorm', 'numGroups', numGroups);
    if (numChannels !== null) checkFeatures('GroupNorm', 'numChannels', numChannels);
    const subjectOf = (channels: number | null) => `GroupNorm(${numGroups}, ${channels})`;
    const checkGroups = (channels: number) => {
      if (channels % numGroups === 0) return;
      const expected = `a divisor of the ${channels} channels`;
      throw wrongValue('ERR_OPTION', subjectOf(channels), 'numGroups', expected, `${numGroups}`);
    };
    if (numChannels !== null) checkGroups(numChannels);
    const ranks = anyRank();
    const read = readSchema(subjectOf(numChannels), options, groupNormSchema());
    const place = channelPlace(subjectOf(numChannels), read, ranks);
    const settings = placedOptions(read, place);
    const { eps, affine, activation, onSingleValue } = settings;
    const made: { channels?: number } = {};
    const make = (channels: number) => {
      checkGroups(channels);
      const subject = subjectOf(channels);
      const policy = new GroupPolicy(subject, channels, { groups: numGroups, over: 'sample', onSingleValue });
      const transform = new Grouping(channels, numGroups);
      const learned = learnedScale(affine, [channels]);
      made.channels = channels;
      return new ChannelEngine({ subject, channels, ranks, eps, place, activation, learned, policy, transform });
    };
    super(engineOrUnbuilt(numChannels, subjectOf, place, ranks, make));
    this.numGroups = numGroups;
    this.#made = made;
    this.#settings = settings;
  }

  /**
   * Channels, C.
   *
   * @throws ERR_MODE where it is not known yet
   */
  get numChannels(): number {
    return (this.isBuilt && this.#made.channels) || notBuilt(this.subject, 'numChannels');
  }

  /** The options in force, defaults filled in. */
  get options(): Readonly<Required<Omit<GroupNormOptions, 'activation'>> & Pick<GroupNormOptions, 'activation'>> {
    return { ...this.#settings, activation: activationOf(this.#settings.activation) };
  }

  /** Mean of each sample and group of the last forward, `[N, G]`, a copy; `null` before one. */
  override get savedMean(): Float32Array | null {
    return this.#ofGroups(super.savedMean);
  }

  /**
   * 1/√(variance + eps) of each sample and group of the last forward, `[N, G]`, a copy; `null`
   * before one.
   */
  override get savedInvStd(): Float32Array | null {
    return this.#ofGroups(super.savedInvStd);
  }

  /** Of values by channel those of the first channel of each group: all of a group are alike. */
  #ofGroups(values: Float32Array | null): Float32Array | null {
    return values?.filter((_, c) => c % (this.numChannels / this.numGroups) === 0) ?? null;
  }
}
