// Count, mean and sum of squared differences of channels: what every statistic here is made of, and
// how two of them become one.

import { show, showShape, wrongKind, wrongValue } from '../../errors.ts';
import { checkFeatures, checkLayout } from '../../layers/options.ts';
import { checkRecord } from '../../named-options.ts';
import { channelAxisOf } from '../../passes/channel-axis.ts';
import { type MaskOptions, readMask } from '../../passes/mask.ts';
import { planOf } from '../../passes/plan.ts';
import { locate } from '../../tensors/call.ts';
import { shapeOf } from '../../tensors/shape.ts';
import type { TensorLike } from '../../tensors/tensor.ts';
import type { Layout } from '../../types.ts';

/** Sums of some values, by channel: how many, their mean, Σ(x − mean)². */
interface Sums {
  count: number;
  readonly mean: Float64Array;
  readonly m2: Float64Array;
}

/** Adds the values behind `b` to those behind `a` (Chan, Golub & LeVeque 1979). */
export function mergeMoments(a: Sums, b: Sums): void {
  if (b.count === 0) return;
  const count = a.count + b.count;
  for (let c = 0; c < a.mean.length; c++) {
    const delta = b.mean[c] - a.mean[c];
    a.mean[c] = a.count === 0 ? b.mean[c] : a.mean[c] + delta * (b.count / count);
    a.m2[c] += b.m2[c] + (a.count === 0 ? 0 : delta * delta * ((a.count * b.count) / count));
  }
  a.count = count;
}

/** Moments as JSON holds them: NaN and infinities are null. */
export interface MomentsJSON {
  /** Values behind each channel; with weights Σw. */
  count: number;
  /** Mean of each channel, `[C]`. */
  mean: (number | null)[];
  /** Σ(x − mean)² of each channel, `[C]`. */
  m2: (number | null)[];
}

/** What `Moments.add` takes besides a batch: its layout, and which places count. */
export interface MomentsOptions extends MaskOptions {
  /** Where the channels lie. Default `'channels-first'`. */
  layout?: Layout;
}

/**
 * A mergeable accumulator of channel statistics in f64: count, mean and M2 = Σ(x − mean)². Shards
 * of a data set, micro-batches, batches of a stream: moments of each merge into those of all, in
 * any order, without their values being kept.
 *
 *     const all = new Moments(64);
 *     for (const batch of batches) all.add(batch);         // [N, 64, ...]
 *     all.merge(Moments.fromJSON(await fromAnotherWorker));
 *     all.mean; all.variance();                            // Float64Array(64)
 */
export class Moments {
  /** What errors call it: `Moments(64)`. */
  readonly subject: string;
  /** Channels, C. */
  readonly channels: number;
  readonly #sums: Sums;

  /**
   * @param channels C, an integer from 1 to 16,777,216
   * @throws ERR_OPTION for anything else
   */
  constructor(channels: number) {
    checkFeatures('Moments', 'channels', channels);
    this.subject = `Moments(${channels})`;
    this.channels = channels;
    this.#sums = { count: 0, mean: new Float64Array(channels), m2: new Float64Array(channels) };
  }

  /** Values behind each channel; with weights Σw. */
  get count(): number {
    return this.#sums.count;
  }

  /** `[C]`, a copy; 0 without values. */
  get mean(): Float64Array {
    return this.#sums.mean.slice();
  }

  /** Σ(x − mean)², `[C]`, a copy. */
  get m2(): Float64Array {
    return this.#sums.m2.slice();
  }

  /**
   * M2/count, or with `'unbiased'` M2/(count − 1); `[C]`. 0 where that is 0/0. Default `'biased'`.
   */
  variance(estimator: 'biased' | 'unbiased' = 'biased'): Float64Array {
    const { count, m2 } = this.#sums;
    const divisor = Math.max(estimator === 'unbiased' ? count - 1 : count, 0);
    return m2.map((sum) => (divisor === 0 ? 0 : sum / divisor));
  }

  /**
   * Adds the values of a batch, `[N, C, ...]` or `[N, ..., C]`: two passes in f64 around one of its
   * values, so that every digit stays.
   *
   * @throws ERR_SHAPE, ERR_TYPE, ERR_MASK; nothing has changed then
   */
  add(x: TensorLike, options: MomentsOptions = {}): this {
    const { layout = 'channels-first' } = options;
    checkLayout(this.subject, layout);
    const located = locate(this.subject, 'x', x);
    const plan = planOf(this.subject, shapeOf(located), this.channels, layout, [2, Number.POSITIVE_INFINITY]);
    const mask = readMask(this.subject, plan, channelAxisOf(layout, plan.shape.length), options);
    if (mask && mask.channelStep > 0) {
      const expected = 'one that all channels share';
      throw wrongValue('ERR_MASK', this.subject, 'mask', expected, 'one by channel', `shape ${showShape(plan.shape)}`);
    }
    const { outer, channels, inner } = plan;
    const { data } = located;
    const weights = mask?.weights ?? mask?.places;
    const batch: Sums = {
      count: mask ? mask.total[0] : plan.count,
      mean: new Float64Array(channels),
      m2: new Float64Array(channels),
    };
    if (batch.count > 0) {
      for (let c = 0; c < channels; c++) {
        const visit = (each: (value: number, weight: number) => void) => {
          for (let n = 0; n < outer; n++) {
            const start = (n * channels + c) * inner;
            for (let i = 0; i < inner; i++) {
              const w = weights ? weights[n * inner + i] : 1;
              if (w !== 0) each(data[start + i], w);
            }
          }
        };
        setChannel(batch, c, visit);
      }
    }
    mergeMoments(this.#sums, batch);
    return this;
  }

  /**
   * Adds the values behind other moments, which stay as they are. @throws ERR_SHAPE for another
   * channel count
   */
  merge(other: Moments): this {
    this.#check(other);
    mergeMoments(this.#sums, other.#sums);
    return this;
  }

  #check(other: Moments): void {
    if (!(other instanceof Moments)) throw wrongKind('ERR_TYPE', this.subject, 'moments', 'Moments', show(other));
    if (other.channels !== this.channels) {
      throw wrongValue('ERR_SHAPE', this.subject, 'moments', `${this.channels} channels`, `${other.channels}`);
    }
  }

  /**
   * Moments of all values behind some: the same to the last bit whatever order the parts come in,
   * since they are sorted by what they hold.
   *
   * @throws ERR_OPTION without any; ERR_SHAPE where channel counts differ
   */
  static merged(parts: Iterable<Moments>): Moments {
    const all = [...parts];
    if (all.length === 0) throw wrongValue('ERR_OPTION', 'Moments', 'parts', 'at least 1', '0');
    const result = new Moments(all[0].channels);
    for (const part of all) result.#check(part);
    for (const part of all.sort(byContent)) result.merge(part);
    return result;
  }

  /**
   * How far others lie from these: by channel (mean − other mean)/σ and σ²/other σ², σ² the biased
   * variance. NaN or Infinity where σ is 0.
   *
   * @throws ERR_SHAPE for another channel count
   */
  compare(other: Moments): {
    /** (mean − other mean)/σ, `[C]`. */
    meanShift: Float64Array;
    /** σ²/other σ², `[C]`. */
    varianceRatio: Float64Array;
  } {
    this.#check(other);
    const [mine, theirs] = [this.variance(), other.variance()];
    return {
      meanShift: this.#sums.mean.map((mean, c) => (other.#sums.mean[c] - mean) / Math.sqrt(mine[c])),
      varianceRatio: theirs.map((variance, c) => variance / mine[c]),
    };
  }

  /** A copy. */
  clone(): Moments {
    return new Moments(this.channels).merge(this);
  }

  /** For `JSON.stringify`; every digit is kept. */
  toJSON(): MomentsJSON {
    return { count: this.#sums.count, mean: [...this.#sums.mean], m2: [...this.#sums.m2] };
  }

  /** Moments that `toJSON` wrote, parsed or as text. @throws ERR_STATE for anything else */
  static fromJSON(json: MomentsJSON | string): Moments {
    let given: unknown = json;
    try {
      if (typeof json === 'string') given = JSON.parse(json);
    } catch (error) {
      throw wrongValue('ERR_STATE', 'Moments', 'json', 'JSON', (error as Error).message);
    }
    checkRecord('Moments', given);
    const { count, mean, m2 } = given as MomentsJSON;
    const isCount = typeof count === 'number' && count >= 0 && Number.isFinite(count);
    // JSON has no NaN: null stands for it
    const isList = (list: unknown, least: number) =>
      Array.isArray(list) && list.every((value) => value === null || (typeof value === 'number' && value >= least));
    if (
      !isCount ||
      !isList(mean, Number.NEGATIVE_INFINITY) ||
      !isList(m2, 0) ||
      mean.length !== m2.length ||
      !mean.length
    ) {
      throw wrongValue(
        'ERR_STATE',
        'Moments',
        'json',
        '{ count, mean: numbers, m2: as many of 0 or more }',
        show(json),
      );
    }
    const result = new Moments(mean.length);
    const numbers = (list: (number | null)[]) => Float64Array.from(list, (value) => value ?? Number.NaN);
    mergeMoments(result.#sums, { count, mean: numbers(mean), m2: numbers(m2) });
    return result;
  }
}

/**
 * The mean and M2 of one channel, by two passes around its first value, with sums whose rounding is
 * carried along (Neumaier 1974).
 */
function setChannel(batch: Sums, c: number, visit: (each: (value: number, weight: number) => void) => void): void {
  let pivot = Number.NaN;
  let [sum, carry] = [0, 0];
  const add = (value: number) => {
    const next = sum + value;
    carry += Math.abs(sum) >= Math.abs(value) ? sum - next + value : value - next + sum;
    sum = next;
  };
  visit((value, weight) => {
    if (Number.isNaN(pivot)) pivot = Number.isFinite(value) ? value : 0;
    add((value - pivot) * weight);
  });
  const shift = (Number.isFinite(sum) ? sum + carry : sum) / batch.count;
  [sum, carry] = [0, 0];
  visit((value, weight) => {
    const d = value - pivot - shift;
    add(d * d * weight);
  });
  batch.mean[c] = pivot + shift;
  batch.m2[c] = Number.isFinite(sum) ? sum + carry : sum;
}

function byContent(a: Moments, b: Moments): number {
  if (a.count !== b.count) return a.count - b.count;
  for (const [left, right] of [
    [a.mean, b.mean],
    [a.m2, b.m2],
  ]) {
    for (let c = 0; c < left.length; c++) if (left[c] !== right[c]) return left[c] - right[c];
  }
  return 0;
}
