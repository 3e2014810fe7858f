import { type Observation, RunningStats, type SingleValue } from './running-stats.ts';

/**
 * Running averages over the statistics of samples, as instance norm tracks them: each forward moves
 * them once.
 */
export class SampleStats extends RunningStats {
  override get averages(): boolean {
    return true;
  }

  /**
   * Moves the statistics by the averages of a forward's observations, and by the average of what
   * each single value would move them by.
   */
  override commit(
    observations: readonly Observation[],
    singles: readonly SingleValue[],
    momentum: number | null,
  ): void {
    if (observations.length > 0) this.#average(observations, momentum);
    if (singles.length > 0) this.#learnTogether(singles, momentum);
  }

  #average(observations: readonly Observation[], momentum: number | null): void {
    const { length } = this.mean.now;
    const [means, variances] = [new Float64Array(length), new Float64Array(length)];
    for (const { mean, variance, correction } of observations) {
      for (let c = 0; c < length; c++) {
        const factor = typeof correction === 'number' ? correction : correction[c];
        means[c] += mean[c] / observations.length;
        variances[c] += (variance[c] * factor) / observations.length;
      }
    }
    this.update(means, variances, momentum, 1);
  }

  #learnTogether(singles: readonly SingleValue[], momentum: number | null): void {
    const w = this.next(momentum);
    const m = this.mean.writable;
    const v = this.variance.writable;
    for (let c = 0; c < m.length; c++) {
      let [sum, squares] = [0, 0];
      for (const { values } of singles) {
        const d = values[c] - m[c];
        sum += d;
        squares += d * d;
      }
      m[c] += (w * sum) / singles.length;
      if (w < 1) v[c] = (1 - w) * (v[c] + (w * squares) / singles.length);
    }
  }
}
