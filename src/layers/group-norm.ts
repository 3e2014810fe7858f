import { showShape, wrongValue } from '../errors.ts';
import type { OwnStatistics } from '../graph/operations/channel-norm.ts';
import { activationOf } from '../kernels/activations.ts';
import { backend } from '../kernels/backend.ts';
import { gradInput, gradStats } from '../kernels/training/calls.ts';
import { ChannelNorm } from './channel-norm.ts';
import { inverseStd, type Training } from './coefficients.ts';
import { poolGroups, setGroupGradient } from './groups.ts';
import type { Mask } from './mask.ts';
import { learned } from './norm.ts';
import { type AffineOptions, checkChoice, checkFeatures, readKinOptions } from './options.ts';
import type { Plan, Ranks } from './plan.ts';
import { type Run, runsOf, singleValue } from './runs.ts';

/** Options of `GroupNorm`. */
export interface GroupNormOptions extends AffineOptions {
  /**
   * One value in each group, which is its own mean: `'skip-update'` (default) gives beta, in either
   * mode; `'throw'` refuses it, as PyTorch does. There are no running statistics, so that
   * `BatchNorm`'s `'use-running'` is refused.
   */
  onSingleValue?: 'throw' | 'skip-update';
}

const DEFAULTS: Required<Omit<GroupNormOptions, 'activation'>> = {
  eps: 1e-5,
  affine: true,
  layout: 'channels-first',
  onSingleValue: 'skip-update',
};

/**
 * Group normalization (Wu & He 2018) of `[N, C, ...]`, or `[N, ..., C]` with `layout:
 * 'channels-last'`:
 *
 *   y = (x − μ)/√(σ² + eps)·gamma + beta
 *
 * with μ and σ² the mean and the (biased) variance of one sample's values in one group of C/G
 * consecutive channels, gamma and beta by channel. Training and evaluation give the same, for
 * batches of any size. One group is layer normalization over channels and places; as many groups as
 * channels are instance normalization.
 *
 *     const gn = new GroupNorm(8, 64);     // 8 groups of 8 channels
 *     const y = gn.forward({ data, shape: [2, 64, 28, 28] });
 */
export class GroupNorm extends ChannelNorm {
  static override readonly name: string = 'GroupNorm';
  readonly subject: string;
  /** Groups, G. */
  readonly numGroups: number;
  /** Channels, C. */
  readonly numChannels: number;
  /** @internal */
  protected readonly settings: ReturnType<typeof readKinOptions<GroupNormOptions, typeof DEFAULTS>>;
  /** @internal */
  protected readonly learned: ReturnType<typeof learned>;
  /** @internal */
  protected readonly ranks: Ranks = [2, Number.POSITIVE_INFINITY];

  /**
   * @param numGroups groups, G, which must divide the channels
   * @param numChannels channels, C
   * @param options see `GroupNormOptions`
   * @throws ERR_OPTION for an unknown option or a value that it does not take
   */
  constructor(numGroups: number, numChannels: number, options: GroupNormOptions = {}) {
    super();
    checkFeatures('GroupNorm', 'numGroups', numGroups);
    checkFeatures('GroupNorm', 'numChannels', numChannels);
    this.subject = `GroupNorm(${numGroups}, ${numChannels})`;
    if (numChannels % numGroups) {
      const expected = `a divisor of the ${numChannels} channels`;
      throw wrongValue('ERR_OPTION', this.subject, 'numGroups', expected, `${numGroups}`);
    }
    this.numGroups = numGroups;
    this.numChannels = numChannels;
    this.settings = readKinOptions(this.subject, options, DEFAULTS);
    checkChoice(this.subject, 'onSingleValue', this.settings.onSingleValue, ['throw', 'skip-update']);
    this.learned = learned(this.settings.affine, [numChannels]);
    this.pool = (v) => poolGroups(v, numChannels, numGroups);
  }

  /** The options in force, defaults filled in. */
  get options(): Readonly<Required<Omit<GroupNormOptions, 'activation'>> & Pick<GroupNormOptions, 'activation'>> {
    return { ...this.settings, activation: activationOf(this.settings.activation) };
  }

  /** Mean of each sample and group of the last forward, `[N, G]`, a copy; `null` before one. */
  override get savedMean(): Float32Array | null {
    return this.saved('mean', (mean) => mean, this.numChannels / this.numGroups);
  }

  /**
   * 1/√(variance + eps) of each sample and group of the last forward, `[N, G]`, a copy; `null`
   * before one.
   */
  override get savedInvStd(): Float32Array | null {
    const { eps } = this.settings;
    return this.saved('variance', (variance) => inverseStd(variance, eps), this.numChannels / this.numGroups);
  }

  /** @internal */
  protected get channels(): number {
    return this.numChannels;
  }

  /** @internal */
  protected override ownStatistics(): OwnStatistics {
    return { groups: this.numGroups, over: 'sample', onSingleValue: this.settings.onSingleValue };
  }

  /** @internal Each sample by itself. */
  protected override cut(plan: Plan, mask: Mask | undefined): Omit<Run, 'by'>[] {
    return runsOf(plan, mask, 1);
  }

  /** @internal */
  protected override statisticsFor({ plan }: Omit<Run, 'by'>, batch: Plan): Run['by'] {
    const { onSingleValue } = this.settings;
    const isSingle = plan.size > 0 && (plan.count * this.numChannels) / this.numGroups === 1;
    if (!isSingle || onSingleValue === 'skip-update') return 'batch';
    throw singleValue(this.subject, 'x', 'group', `shape ${showShape(batch.shape)}; see onSingleValue`);
  }

  /** @internal */
  protected override settle(): void {}

  /** @internal */
  protected override gradientOf({ plan }: Run, x: number, dy: number, dx: number, v: Training): void {
    const current = backend();
    const { numChannels, numGroups } = this;
    gradStats(current, plan, x, dy, v, 0, numChannels);
    setGroupGradient(v, numChannels, numGroups, plan.count, this.learned.gamma?.values.now);
    const { gradCenter, a: scale, b, k } = v;
    gradInput(current, plan, x, dy, { gradCenter, scale, b, k }, dx, 0, numChannels);
  }
}
