import type { StateSlots } from '../../layers/state.ts';
import { type Snapshot, Values } from '../../tensors/values.ts';
import { type Observation, RunningStats, type SingleValue } from './running-stats.ts';

/** Which statistics a time step is evaluated by. */
export interface StepRule {
  readonly beyond: 'last' | 'pooled' | 'throw';
  readonly shrinkage: number;
}

type Statistics = Pick<RunningStats, 'mean' | 'variance'>;

/** Running statistics for each time step, `[T, C]`, and how many values lie behind each step's. */
export class StepStats extends RunningStats {
  readonly #channels: number;
  readonly #policy: StepRule;
  /**
   * What evaluation uses by step, and the pooled statistics, for as long as what they are made of
   * stays the same.
   */
  #found: { readonly steps: Map<number, Statistics>; pooled?: ReturnType<StepStats['pooled']> } = { steps: new Map() };
  #madeFrom: { readonly mean: Snapshot; readonly variance: Snapshot; readonly counts: Float64Array } | undefined;
  /** Rows that moved the statistics of each step. */
  readonly counts: Float64Array;

  constructor(steps: number, channels: number, policy: StepRule) {
    super(steps * channels);
    this.#channels = channels;
    this.#policy = policy;
    this.counts = new Float64Array(steps);
  }

  /** Steps with statistics of their own: up to the last one that rows have reached. */
  get trained(): number {
    return this.counts.findLastIndex((count) => count > 0) + 1;
  }

  /**
   * Moves the statistics of each step by those of its rows; with momentum `null` all rows weigh the
   * same. Counts the batch once.
   */
  override commit(
    observations: readonly Observation[],
    singles: readonly SingleValue[],
    momentum: number | null,
  ): void {
    for (const { step, count, mean, variance, correction } of observations) {
      const from = step * this.#channels;
      const w = this.#count(step, momentum, count);
      this.blend(w, mean, variance, correction, from, from + this.#channels);
    }
    for (const { step, values } of singles) {
      this.blendValue(this.#count(step, momentum, 1), values, step * this.#channels);
    }
    if (observations.length + singles.length > 0) this.batches++;
  }

  #count(step: number, momentum: number | null, count: number): number {
    this.counts[step] += count;
    return momentum ?? count / this.counts[step];
  }

  /** The first step that is evaluated as this one is: beyond the trained ones all are alike. */
  override alike(step: number): number {
    return Math.min(step, this.trained || this.counts.length - 1);
  }

  /**
   * Statistics by which a step is evaluated: n/(n + shrinkage) of its own and the rest of the
   * pooled ones; those of the policy past the last trained step.
   */
  override at(step: number): Statistics {
    this.#refresh();
    const { steps } = this.#found;
    const first = this.alike(step);
    const known = steps.get(first) ?? this.#workOut(first);
    steps.set(first, known);
    return known;
  }

  /** Forgets what was worked out from statistics that have changed. */
  #refresh(): void {
    const { mean, variance, counts } = this;
    const made = this.#madeFrom;
    const isSame =
      made && mean.isSame(made.mean) && variance.isSame(made.variance) && counts.every((n, t) => n === made.counts[t]);
    if (isSame) return;
    this.#madeFrom = { mean: mean.snapshot(), variance: variance.snapshot(), counts: counts.slice() };
    this.#found = { steps: new Map() };
  }

  #workOut(step: number): Statistics {
    const { trained, counts } = this;
    const { beyond, shrinkage } = this.#policy;
    const own = step < trained || trained === 0;
    const index = own ? Math.min(step, counts.length - 1) : trained - 1;
    const weight = counts[index] === 0 ? Number(trained === 0) : counts[index] / (counts[index] + shrinkage);
    const share = own || beyond !== 'pooled' ? weight : 0;
    if (share === 1) return this.#mix(index, 1, undefined);
    this.#found.pooled ??= this.pooled();
    return this.#mix(index, share, this.#found.pooled);
  }

  #mix(step: number, share: number, pooled: { mean: Float64Array; variance: Float64Array } | undefined): Statistics {
    const from = step * this.#channels;
    const part = (name: 'mean' | 'variance') => {
      const own = this[name].now.slice(from, from + this.#channels);
      if (!pooled) return new Values(own);
      // 0 times what may be infinite is left out
      return new Values(own.map((value, c) => (share === 0 ? 0 : share * value) + (1 - share) * pooled[name][c]));
    };
    return { mean: part('mean'), variance: part('variance') };
  }

  /** Statistics over all steps, by their counts: what lies within steps and between them. */
  pooled(): { mean: Float64Array; variance: Float64Array } {
    const channels = this.#channels;
    const mean = new Float64Array(channels);
    const variance = new Float64Array(channels);
    const total = this.counts.reduce((sum, count) => sum + count, 0);
    const [m, v] = [this.mean.now, this.variance.now];
    const each = (visit: (share: number, at: number) => void) => {
      this.counts.forEach((count, t) => {
        if (count > 0) visit(count / total, t * channels);
      });
    };
    for (let c = 0; c < channels; c++) {
      each((share, at) => {
        mean[c] += share * m[at + c];
      });
      each((share, at) => {
        variance[c] += share * (v[at + c] + (m[at + c] - mean[c]) ** 2);
      });
      if (total === 0) variance[c] = 1;
    }
    return { mean, variance };
  }

  /** @param counts rows behind each step; as they are, if left out */
  override replace(
    mean: ArrayLike<number>,
    variance: ArrayLike<number>,
    batches: number,
    counts: ArrayLike<number> = this.counts,
  ): void {
    super.replace(mean, variance, batches);
    this.counts.set(counts);
  }

  override reset(): void {
    super.reset();
    this.counts.fill(0);
  }

  override checkpoint(): () => void {
    const restore = super.checkpoint();
    const counts = this.counts.slice();
    return () => {
      restore();
      this.counts.set(counts);
    };
  }

  override slots(): StateSlots {
    const steps = this.counts.length;
    const slots = super.slots();
    const shaped = (name: string) => ({ ...slots[name], shape: [steps, this.#channels] });
    return {
      ...slots,
      runningMean: shaped('runningMean'),
      runningVar: shaped('runningVar'),
      stepCounts: {
        shape: [steps],
        read: () => this.counts.slice(),
        refuse: (values) =>
          Array.prototype.every.call(values, (v) => Number.isFinite(v) && v >= 0) ? undefined : 'counts of 0 or more',
        write: (values) => this.counts.set(values),
      },
    };
  }
}
