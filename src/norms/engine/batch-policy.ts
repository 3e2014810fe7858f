import { show, showShape, wrongValue } from '../../errors.ts';
import type { OwnStatistics } from '../../graph/operations/channel-norm.ts';
import type { Training } from '../../passes/coefficients.ts';
import type { Mask } from '../../passes/mask.ts';
import type { Plan } from '../../passes/plan.ts';
import { nothingCounts, type Run, runsOf, type Source, singleValue } from '../../passes/runs.ts';
import type { BatchNormOptionsRead } from '../options.ts';
import type { RunningStats, SingleValue } from '../statistics/running-stats.ts';
import { type MomentsOf, type NormalizedRun, type NormPolicy, observationsOf } from './policy.ts';

/**
 * Batch norm: a batch, or each virtual batch, is normalised by its own statistics in training,
 * which move the running ones; evaluation and a frozen norm use the running statistics.
 */
export class BatchPolicy implements NormPolicy {
  running: RunningStats | undefined;
  /** Does training normalise by the running statistics, and move nothing? */
  isFrozen = false;
  /** Training batches whose statistics were not finite. */
  nonFiniteBatches = 0;
  readonly #subject: string;
  readonly #channels: number;
  readonly #settings: BatchNormOptionsRead;
  readonly #stepOf: (run: Run) => string;

  /** @param stepOf names the time step of a run, in errors */
  constructor(
    subject: string,
    channels: number,
    settings: BatchNormOptionsRead,
    running: RunningStats | undefined,
    stepOf: (run: Run) => string = () => '',
  ) {
    this.#subject = subject;
    this.#channels = channels;
    this.#settings = settings;
    this.#stepOf = stepOf;
    this.running = running;
  }

  get tracked(): RunningStats | undefined {
    return this.isFrozen ? undefined : this.running;
  }

  get estimator(): 'unbiased' | 'biased' {
    return this.#settings.runningVariance;
  }

  get ownStatistics(): OwnStatistics {
    const onSingleValue = this.#settings.onSingleValue === 'skip-update' ? 'skip-update' : 'throw';
    return { groups: this.#channels, over: 'batch', onSingleValue };
  }

  get refuses(): boolean {
    return this.#settings.onNonFinite === 'throw';
  }

  /** Virtual batches in training; all samples together otherwise. */
  split(plan: Plan, mask: Mask | undefined, training: boolean): readonly Run[] {
    const virtual = training && !this.isFrozen ? this.#settings.virtualBatchSize : null;
    return runsOf(plan, mask, virtual ?? plan.shape[0]);
  }

  smallestRun(samples: number): number {
    const { virtualBatchSize } = this.#settings;
    return (virtualBatchSize && samples % virtualBatchSize) || Math.min(virtualBatchSize ?? samples, samples);
  }

  sourceOf(run: Run, batch: Plan, training: boolean): Source {
    if (this.isFrozen || (!training && this.running)) return 'running';
    const { plan, mask, count } = run;
    if (count > 1 || plan.size === 0) return 'batch';
    const virtual = training ? this.#settings.virtualBatchSize : null;
    const part = virtual === null ? '' : `, a virtual batch of ${plan.shape[0]}`;
    const place = `shape ${showShape(batch.shape)}${part}${this.#stepOf(run)}`;
    if (mask && count === 0) throw nothingCounts(this.#subject, place);
    const { onSingleValue } = this.#settings;
    if (onSingleValue === 'use-running') return 'online';
    if (onSingleValue === 'skip-update') return 'batch';
    throw this.#singleValue(place, training);
  }

  /** Counts batches, and moves the running statistics unless a policy says not to. */
  commit(runs: readonly NormalizedRun[], moments: MomentsOf, singles: readonly SingleValue[]): void {
    const { onNonFinite, momentum } = this.#settings;
    const allFinite = runs.every(({ finite }) => finite);
    if (!allFinite) this.nonFiniteBatches++;
    if (!this.running) return;
    const kept = allFinite || onNonFinite !== 'skip-update' ? runs : runs.filter(({ finite }) => finite);
    this.running.commit(observationsOf(kept, moments, this.estimator), singles, momentum);
  }

  /** Counts the batch, as PyTorch does, unless the count is the divisor of a cumulative average. */
  commitEmpty(): void {
    if (this.running && this.#settings.momentum !== null) this.running.batches++;
  }

  /**
   * What the policies say of the statistics of micro-batches that make one batch.
   *
   * @returns moves the running statistics; called when nothing can fail any more
   */
  checkTogether(count: number, v: Training, finite: boolean, context: string): () => void {
    if (count === 1 && this.#settings.onSingleValue !== 'skip-update') throw this.#singleValue(context, true);
    const refusal = this.refuses && this.refusal(v, context);
    if (refusal) throw refusal;
    const run = { count, correction: count / (count - 1), step: 0 } as Run;
    return () => this.commit([{ run, index: 0, finite }], () => v.views(), []);
  }

  /** The error for statistics that are not finite in f32, after counting them. */
  refusal(v: Training, context: string): Error | undefined {
    const { mean: means, variance: variances } = v.views();
    for (let c = 0; c < this.#channels; c++) {
      const mean = means[c];
      const variance = variances[c];
      if (Number.isFinite(Math.fround(mean)) && Number.isFinite(Math.fround(variance))) continue;
      this.nonFiniteBatches++;
      const got = `a mean of ${show(mean)} and a variance of ${show(variance)}`;
      return wrongValue('ERR_NON_FINITE', this.#subject, 'x', 'finite statistics', got, `channel ${c}, ${context}`);
    }
    return undefined;
  }

  #singleValue(place: string, training: boolean): Error {
    const when = training ? 'training' : 'evaluation without running statistics';
    const hint = this.running ? 'eval() takes single values; training does with onSingleValue' : 'see onSingleValue';
    return singleValue(this.#subject, when, 'channel', `${place}; ${hint}`);
  }
}
