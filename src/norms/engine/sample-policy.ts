import { showShape } from '../../errors.ts';
import type { OwnStatistics } from '../../graph/operations/channel-norm.ts';
import type { Mask } from '../../passes/mask.ts';
import type { Plan } from '../../passes/plan.ts';
import { nothingCounts, type Run, runsOf, type Source, singleValue } from '../../passes/runs.ts';
import type { RunningStats, SingleValue } from '../statistics/running-stats.ts';
import { type MomentsOf, type NormalizedRun, type NormPolicy, observationsOf } from './policy.ts';

/** What a norm of samples is told by its options. */
export interface SampleSettings {
  readonly onSingleValue: 'throw' | 'use-running' | 'skip-update';
  readonly momentum: number | null;
  readonly runningVariance: 'unbiased' | 'biased';
}

/**
 * Instance norm: each sample is normalised by its own statistics; where running statistics are
 * kept, evaluation uses those.
 */
export class SamplePolicy implements NormPolicy {
  running: RunningStats | undefined;
  readonly refuses = false;
  readonly #subject: string;
  readonly #channels: number;
  readonly #settings: SampleSettings;

  constructor(subject: string, channels: number, settings: SampleSettings, running: RunningStats | undefined) {
    this.#subject = subject;
    this.#channels = channels;
    this.#settings = settings;
    this.running = running;
  }

  get tracked(): RunningStats | undefined {
    return this.running;
  }

  get estimator(): 'unbiased' | 'biased' {
    return this.#settings.runningVariance;
  }

  get ownStatistics(): OwnStatistics {
    return { groups: this.#channels, over: 'sample', onSingleValue: 'skip-update' };
  }

  split(plan: Plan, mask: Mask | undefined): readonly Run[] {
    return runsOf(plan, mask, 1);
  }

  smallestRun(): number {
    return 1;
  }

  sourceOf({ plan, from, mask, count }: Run, batch: Plan, training: boolean): Source {
    if (!training && this.running) return 'running';
    // in evaluation a sample without a place that counts is 0 everywhere
    if (!training || count > 1 || plan.size === 0) return 'batch';
    const place = `shape ${showShape(batch.shape)}`;
    if (mask && count === 0) {
      const isPart = plan.shape[0] < batch.shape[0];
      const sample = isPart ? `, sample ${(from / batch.size) * batch.shape[0]}` : '';
      throw nothingCounts(this.#subject, `${place}${sample}`);
    }
    const { onSingleValue } = this.#settings;
    if (onSingleValue === 'skip-update') return 'batch';
    if (onSingleValue === 'use-running') return 'online';
    const hint = 'eval() takes single values; training does with onSingleValue';
    throw singleValue(this.#subject, 'training', 'channel of a sample', `${place}; ${hint}`);
  }

  /** Moves the running statistics by those of the samples that have a variance. */
  commit(runs: readonly NormalizedRun[], moments: MomentsOf, singles: readonly SingleValue[]): void {
    this.running?.commit(observationsOf(runs, moments, this.estimator), singles, this.#settings.momentum);
  }

  commitEmpty(): void {}

  refusal(): undefined {
    return undefined;
  }
}
