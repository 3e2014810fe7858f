import type { StateSlots } from '../../layers/state.ts';
import { Values } from '../../tensors/values.ts';
import { RunningStats } from './running-stats.ts';

/** How batch renormalization tracks statistics. */
export interface RenormRule {
  readonly eps: number;
  /** What is averaged over batches: standard deviations √(variance + eps), or variances. */
  readonly average: 'std' | 'variance';
  /** Weight of the new batch in statistics of the correction's own; null: it has none. */
  readonly renormMomentum: number | null;
}

/** Statistics that r and d are worked out by, where they are not the running ones. */
interface Correction {
  readonly mean: Values;
  readonly std: Values;
}

/**
 * Running statistics whose standard deviations √(variance + eps) are averaged, not their variances
 * (Ioffe 2017), unless the rule says so; and mean and standard deviation of the correction's own,
 * which move by another momentum (Keras' `renorm_mean` and `renorm_stddev`).
 */
export class RenormStats extends RunningStats {
  readonly #rule: RenormRule;
  readonly #correction: Correction | undefined;

  constructor(channels: number, rule: RenormRule) {
    super(channels);
    this.#rule = rule;
    if (rule.renormMomentum === null) return;
    this.#correction = {
      mean: new Values(new Float32Array(channels)),
      std: new Values(new Float32Array(channels).fill(1)),
    };
  }

  /** Mean and standard deviation by which r and d are worked out; undefined: the running ones. */
  get correction(): Correction | undefined {
    return this.#correction;
  }

  /** What the correction compares channel c with. */
  reference(c: number): { mean: number; std: number } {
    const { eps } = this.#rule;
    const own = this.#correction;
    // at least √eps, as in Keras
    if (own) return { mean: own.mean.now[c], std: Math.max(own.std.now[c], Math.sqrt(eps)) };
    return { mean: this.mean.now[c], std: Math.sqrt(this.variance.now[c] + eps) };
  }

  override update(
    mean: Float64Array,
    variance: Float64Array,
    momentum: number | null,
    correction: number | Float64Array,
  ): void {
    const { eps, average, renormMomentum } = this.#rule;
    if (average === 'variance') super.update(mean, variance, momentum, correction);
    else {
      const w = this.next(momentum);
      const m = this.mean.writable;
      const v = this.variance.writable;
      for (let c = 0; c < m.length; c++) {
        m[c] = (1 - w) * m[c] + w * mean[c];
        const std = (1 - w) * Math.sqrt(v[c] + eps) + w * Math.sqrt(variance[c] + eps);
        v[c] = std < Number.POSITIVE_INFINITY ? Math.max(std * std - eps, 0) : std;
      }
    }
    if (!this.#correction) return;
    const w = renormMomentum!;
    const [m, s] = [this.#correction.mean.writable, this.#correction.std.writable];
    for (let c = 0; c < m.length; c++) {
      m[c] = (1 - w) * m[c] + w * mean[c];
      s[c] = (1 - w) * s[c] + w * Math.sqrt(variance[c] + eps);
    }
  }

  override learn(values: Float32Array, momentum: number | null): void {
    super.learn(values, momentum);
    if (!this.#correction) return;
    const w = this.#rule.renormMomentum!;
    const [m, s] = [this.#correction.mean.writable, this.#correction.std.writable];
    for (let c = 0; c < values.length; c++) {
      const d = values[c] - m[c];
      m[c] += w * d;
      if (w < 1) s[c] = Math.sqrt((1 - w) * (s[c] * s[c] + w * d * d));
    }
  }

  override reset(): void {
    super.reset();
    this.#correction?.mean.writable.fill(0);
    this.#correction?.std.writable.fill(1);
  }

  override checkpoint(): () => void {
    const restore = super.checkpoint();
    const own = this.#correction;
    if (!own) return restore;
    const [mean, std] = [own.mean.now.slice(), own.std.now.slice()];
    return () => {
      restore();
      own.mean.writable.set(mean);
      own.std.writable.set(std);
    };
  }

  override slots(): StateSlots {
    const slots = super.slots();
    const own = this.#correction;
    if (!own) return slots;
    const shape = [own.mean.now.length];
    slots.renormMean = {
      shape,
      read: () => own.mean.now.slice(),
      write: (values) => own.mean.writable.set(values),
    };
    slots.renormStd = {
      shape,
      read: () => own.std.now.slice(),
      refuse: (values) =>
        Array.prototype.some.call(values, (v) => v < 0) ? 'standard deviations of 0 or more' : undefined,
      write: (values) => own.std.writable.set(values),
    };
    return slots;
  }
}
