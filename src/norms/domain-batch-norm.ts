import { show, showChoices, wrongKind, wrongValue } from '../errors.ts';
import type { StateSlots } from '../layers/state.ts';
import type { Schema } from '../named-options.ts';
import { anyRank } from '../passes/plan.ts';
import { BatchNorm } from './batch-norm.ts';
import { type BatchNormOptions, type BatchNormOptionsRead, batchNormSchema, readNormOptions } from './options.ts';
import { RunningStats } from './statistics/running-stats.ts';

/** Options of `DomainBatchNorm`: those of `BatchNorm`, and the names of the domains. */
export interface DomainBatchNormOptions extends BatchNormOptions {
  /** Names of the domains, at least one. The first is in use at first. */
  domains: readonly string[];
}

const domainSchema = (): Schema<BatchNormOptionsRead & { domains: readonly string[] }> => ({
  domains: {
    read(subject, name, value) {
      const list: unknown = Array.isArray(value) ? Array.from(value) : value;
      const isList = Array.isArray(list) && list.every((one) => typeof one === 'string' && /^[^.]+$/.test(one));
      if (!isList || list.length === 0 || new Set(list).size < list.length)
        throw wrongKind('ERR_OPTION', subject, name, 'different names, without points', show(list));
      return list;
    },
  },
  ...batchNormSchema(),
});

/** The domain in use, and statistics by domain once there are such. */
interface Made {
  domain: string;
  running?: ReadonlyMap<string, RunningStats>;
}

/**
 * Batch normalization with running statistics for each domain, and one gamma and beta for all
 * (domain-specific batch normalization, Chang et al. 2019):
 *
 *   y = (x − μ_d)/√(σ_d² + eps)·gamma + beta
 *
 * in evaluation with the running statistics of the domain d in use; in training with those of the
 * batch, which move the statistics of d alone. It suits data from several sources, where each batch
 * comes from one of them. Shapes and options are those of `BatchNorm`.
 *
 *     const norm = new DomainBatchNorm(64, { domains: ['photo', 'sketch'] });
 *     norm.domain = 'sketch';      // its statistics move in training, and are used in evaluation
 */
export class DomainBatchNorm extends BatchNorm {
  static override readonly name: string = 'DomainBatchNorm';
  readonly #names: readonly string[];
  readonly #made: Made;

  /**
   * @param numFeatures channels, C; `null`: those of the first input, or of `build(shape)`
   * @param options those of `BatchNorm`, and `domains`
   * @throws ERR_OPTION for an unknown option or a value that it does not take, and for
   *   `trackRunningStats: false`
   */
  constructor(numFeatures: number | null, options: DomainBatchNormOptions) {
    const kind = 'DomainBatchNorm';
    const { domains, ...settings } = readNormOptions(kind, numFeatures, options, domainSchema());
    const subject = `${kind}(${numFeatures})`;
    if (!settings.trackRunningStats) {
      const expected = 'true: domains differ in nothing else';
      throw wrongValue('ERR_OPTION', subject, 'trackRunningStats', expected, 'false');
    }
    const made: Made = { domain: domains[0] };
    const running = (channels: number) => {
      const all = new Map(domains.map((name) => [name, new RunningStats(channels)]));
      made.running = all;
      return all.get(made.domain)!;
    };
    super(numFeatures, undefined, { kind, ranks: anyRank(), settings, running });
    this.#names = domains;
    this.#made = made;
  }

  /** Names of the domains. */
  get domains(): readonly string[] {
    return [...this.#names];
  }

  /**
   * The domain in use.
   *
   * @throws ERR_OPTION when set to a name that is not among `domains`
   */
  get domain(): string {
    return this.#made.domain;
  }

  /**
   * Takes another domain into use, from the next forward on.
   *
   * @throws ERR_OPTION for a name that is not among `domains`
   */
  set domain(name: string) {
    if (!this.#names.includes(name))
      throw wrongValue('ERR_OPTION', this.subject, 'domain', showChoices(this.domains), show(name));
    // their forwards would be run again by statistics of another domain
    if (name !== this.#made.domain) this.forgetMicroBatches();
    this.#made.domain = name;
    if (this.isBuilt) this.policy.running = this.#made.running!.get(name);
  }

  /**
   * Gamma and beta as in `BatchNorm`, and statistics under the names of their domains:
   * `photo.runningMean` …
   */
  override stateSlots(): StateSlots {
    const slots = this.learnedSlots();
    for (const [name, running] of this.#made.running!) {
      for (const [leaf, slot] of Object.entries(running.slots())) slots[`${name}.${leaf}`] = slot;
    }
    return slots;
  }

  /** Statistics of all domains: mean 0, variance 1, no batches. */
  override resetRunningStats(): void {
    super.resetRunningStats();
    for (const running of this.#made.running!.values()) running.reset();
  }
}
