import { RunningStats } from './running-stats.ts';

/**
 * Running statistics whose standard deviations √(variance + eps) are averaged, not their variances
 * (Ioffe 2017).
 */
export class DeviationStats extends RunningStats {
  readonly #eps: number;

  constructor(channels: number, eps: number) {
    super(channels);
    this.#eps = eps;
  }

  override update(mean: Float64Array, variance: Float64Array, momentum: number | null): void {
    const eps = this.#eps;
    const w = this.next(momentum);
    const m = this.mean.writable;
    const v = this.variance.writable;
    for (let c = 0; c < m.length; c++) {
      m[c] = (1 - w) * m[c] + w * mean[c];
      const std = (1 - w) * Math.sqrt(v[c] + eps) + w * Math.sqrt(variance[c] + eps);
      v[c] = std < Number.POSITIVE_INFINITY ? Math.max(std * std - eps, 0) : std;
    }
  }
}
