import type { StateSlots } from '../../layers/state.ts';
import { Values } from '../../tensors/values.ts';

/** What a forward in training has found of some samples. */
export interface Observation {
  readonly mean: Float64Array;
  /** Biased. */
  readonly variance: Float64Array;
  /**
   * m/(m − 1) for the unbiased estimator, 1 for the biased one; by channel, where counts differ.
   */
  readonly correction: number | Float64Array;
  /** Values behind each channel. */
  readonly count: number;
  /** The time step that they are of; else 0. */
  readonly step: number;
}

/** One value in each channel. */
export interface SingleValue {
  readonly values: Float32Array;
  readonly step: number;
}

/** Statistics over the batches seen in training, for evaluation. */
export class RunningStats {
  readonly mean: Values;
  readonly variance: Values;
  batches = 0;

  constructor(channels: number) {
    this.mean = new Values(new Float32Array(channels));
    this.variance = new Values(new Float32Array(channels).fill(1));
  }

  /** Are they averages over the statistics of samples, not statistics of all values? */
  get averages(): boolean {
    return false;
  }

  /** The statistics by which a time step is evaluated. */
  at(_step: number): Pick<RunningStats, 'mean' | 'variance'> {
    return this;
  }

  /** The first time step that is evaluated as this one is. */
  alike(_step: number): number {
    return 0;
  }

  /**
   * Takes in what one forward has found: each observation moves the statistics once, and so does
   * each single value.
   */
  commit(observations: readonly Observation[], singles: readonly SingleValue[], momentum: number | null): void {
    for (const { mean, variance, correction } of observations) this.update(mean, variance, momentum, correction);
    for (const { values } of singles) this.learn(values, momentum);
  }

  /** Mean 0, variance 1, no batches. */
  reset(): void {
    this.mean.writable.fill(0);
    this.variance.writable.fill(1);
    this.batches = 0;
  }

  /**
   * Moves the statistics towards those of one batch: r ← (1 − w)·r + w·v, in f64. w = momentum, or
   * 1/batches for the cumulative average.
   *
   * @param correction m/(m − 1) for the unbiased estimator, 1 for the biased one; by channel, where
   *   counts differ
   */
  update(mean: Float64Array, variance: Float64Array, momentum: number | null, correction: number | Float64Array): void {
    this.blend(this.next(momentum), mean, variance, correction, 0, this.mean.now.length);
  }

  /** Moves those of channels `from` to `to` with this weight. */
  protected blend(
    w: number,
    mean: Float64Array,
    variance: Float64Array,
    correction: number | Float64Array,
    from: number,
    to: number,
  ): void {
    const m = this.mean.writable;
    const v = this.variance.writable;
    for (let i = from; i < to; i++) {
      const c = i - from;
      m[i] = (1 - w) * m[i] + w * mean[c];
      v[i] = (1 - w) * v[i] + w * (variance[c] * (typeof correction === 'number' ? correction : correction[c]));
    }
  }

  /**
   * Moves the statistics by one value per channel: d = x − mean, mean ← mean + w·d, variance ← (1 −
   * w)·(variance + w·d²) (Finch 2009). The first value of a cumulative average has no variance: it
   * leaves that as it is.
   */
  learn(values: Float32Array, momentum: number | null): void {
    this.blendValue(this.next(momentum), values, 0);
  }

  /** Moves those of the channels from `from` on by one value each. */
  protected blendValue(w: number, values: Float32Array, from: number): void {
    const m = this.mean.writable;
    const v = this.variance.writable;
    for (let c = 0; c < values.length; c++) {
      const i = from + c;
      const d = values[c] - m[i];
      m[i] += w * d;
      if (w < 1) v[i] = (1 - w) * (v[i] + w * d * d);
    }
  }

  /** Takes the place of what was tracked so far. */
  replace(mean: ArrayLike<number>, variance: ArrayLike<number>, batches: number, _counts?: ArrayLike<number>): void {
    this.mean.writable.set(mean);
    this.variance.writable.set(variance);
    this.batches = batches;
  }

  /** Counts a batch; its weight. */
  next(momentum: number | null): number {
    this.batches++;
    return momentum ?? 1 / this.batches;
  }

  /** Remembers everything; the function returned brings it back. */
  checkpoint(): () => void {
    const mean = this.mean.now.slice();
    const variance = this.variance.now.slice();
    const { batches } = this;
    return () => this.replace(mean, variance, batches);
  }

  slots(): StateSlots {
    const shape = [this.mean.now.length];
    return {
      runningMean: { shape, read: () => this.mean.now.slice(), write: (values) => this.mean.writable.set(values) },
      runningVar: {
        shape,
        read: () => this.variance.now.slice(),
        refuse(values) {
          for (let i = 0; i < values.length; i++) if (values[i] < 0) return 'variances of 0 or more';
          return undefined;
        },
        write: (values) => this.variance.writable.set(values),
      },
      batchesTracked: {
        shape: [],
        read: () => new Float64Array([this.batches]),
        refuse: (values) => (Number.isSafeInteger(values[0]) && values[0] >= 0 ? undefined : 'an integer of 0 or more'),
        write: (values) => {
          this.batches = values[0];
        },
      },
    };
  }
}
