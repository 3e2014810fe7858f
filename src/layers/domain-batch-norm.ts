import { show, showChoices, wrongKind, wrongValue } from '../errors.ts';
import { takeOptions } from '../named-options.ts';
import { BatchNorm } from './batch-norm.ts';
import { type BatchNormOptions, batchNormOptions } from './options.ts';
import type { Ranks } from './plan.ts';
import { RunningStats } from './running-stats.ts';
import type { StateSlots } from './state.ts';

/** Options of `DomainBatchNorm`: those of `BatchNorm`, and the names of the domains. */
export interface DomainBatchNormOptions extends BatchNormOptions {
  /** Names of the domains, at least one. The first is in use at first. */
  domains: readonly string[];
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
  readonly #domains = new Map<string, RunningStats>();
  #domain: string;

  /**
   * @param numFeatures channels, C
   * @param options those of `BatchNorm`, and `domains`
   * @throws ERR_OPTION for an unknown option or a value that it does not take, and for
   *   `trackRunningStats: false`
   */
  constructor(numFeatures: number, options: DomainBatchNormOptions) {
    const names = ['domains', ...batchNormOptions()];
    const { domains, ...rest } = takeOptions(`DomainBatchNorm(${numFeatures})`, options, names);
    super(numFeatures, rest);
    const list: unknown = Array.isArray(domains) ? Array.from(domains) : domains;
    const isList = Array.isArray(list) && list.every((name) => typeof name === 'string' && /^[^.]+$/.test(name));
    if (!isList || !list.length || new Set(list).size < list.length) {
      throw wrongKind('ERR_OPTION', this.subject, 'domains', 'different names, without points', show(list));
    }
    if (!this.running) {
      throw wrongValue(
        'ERR_OPTION',
        this.subject,
        'trackRunningStats',
        'true: domains differ in nothing else',
        'false',
      );
    }
    for (const name of list) this.#domains.set(name, new RunningStats(numFeatures));
    this.#domain = list[0];
    this.running = this.#domains.get(this.#domain);
  }

  /** @internal */
  protected override form(): { kind: string; ranks: Ranks } {
    return { kind: 'DomainBatchNorm', ranks: [2, Number.POSITIVE_INFINITY] };
  }

  /** Names of the domains. */
  get domains(): readonly string[] {
    return [...this.#domains.keys()];
  }

  /**
   * The domain in use.
   *
   * @throws ERR_OPTION when set to a name that is not among `domains`
   */
  get domain(): string {
    return this.#domain;
  }

  /**
   * Takes another domain into use, from the next forward on.
   *
   * @throws ERR_OPTION for a name that is not among `domains`
   */
  set domain(name: string) {
    const running = this.#domains.get(name);
    if (!running) throw wrongValue('ERR_OPTION', this.subject, 'domain', showChoices(this.domains), show(name));
    // their forwards would be run again by statistics of another domain
    if (name !== this.#domain) this.forgetMicroBatches();
    this.#domain = name;
    this.running = running;
  }

  /**
   * Gamma and beta as in `BatchNorm`, and statistics under the names of their domains:
   * `photo.runningMean` …
   */
  override stateSlots(): StateSlots {
    const { gamma, beta } = this.learned;
    const slots: StateSlots = { ...(gamma && { gamma: gamma.slot() }), ...(beta && { beta: beta.slot() }) };
    for (const [name, running] of this.#domains) {
      for (const [leaf, slot] of Object.entries(running.slots())) slots[`${name}.${leaf}`] = slot;
    }
    return slots;
  }

  /** Statistics of all domains: mean 0, variance 1, no batches. */
  override resetRunningStats(): void {
    super.resetRunningStats();
    for (const running of this.#domains.values()) running.reset();
  }
}
