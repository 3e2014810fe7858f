// Statistics over all batches there are, in place of a moving average over the last ones.

import { show, wrongKind, wrongValue } from '../errors.ts';
import type { Layer } from '../layers/layer.ts';
import { callable, choice, flag, optional, readSchema, required, type Schema } from '../named-options.ts';
import { mergeMoments } from '../norms/statistics/moments.ts';
import { StepStats } from '../norms/statistics/step-stats.ts';
import { checkNet, normsOf, type ObservedNorm, runBatch, type Seen, watch } from './watch.ts';

/**
 * An AbortSignal, as far as the library reads one, so that its types need neither a browser's nor
 * Node's.
 */
export interface Signal {
  /** Throws the signal's reason, if it was aborted. */
  throwIfAborted(): void;
}

/** Batches, from wherever they come. */
export type Batches<B> = Iterable<B> | AsyncIterable<B>;

/** How far `populationStatistics` has come. */
export interface PopulationProgress {
  /** Batches taken in. */
  readonly batches: number;
  /** Batches left out because something in them was not finite. */
  readonly skipped: number;
  /**
   * The largest standard error of a mean, over that channel's standard deviation: how well the
   * worst is known so far. NaN before the second batch.
   */
  readonly relativeError: number;
}

/** Options of `populationStatistics` and `recalibrate`. */
export interface PopulationOptions<B> {
  /**
   * `'pooled'` (default): mean and (biased) variance of all values, as if they were one batch.
   * `'averaged'`: averages over batches of their means and variances, the variances corrected by
   * m/(m − 1) if the layer tracks unbiased ones. That is the paper's formula (Ioffe & Szegedy 2015,
   * algorithm 2), which leaves out the spread between batches.
   */
  estimator?: 'pooled' | 'averaged';
  /**
   * How a batch runs through the network. Default `(batch) => net.forward(batch)`. May be
   * asynchronous, and disposes of the tensors that it makes.
   */
  forward?: (batch: B) => unknown;
  /** Called after every batch. */
  progress?: (now: PopulationProgress) => void;
  /** Aborts between batches, with the signal's reason; nothing has changed then. */
  signal?: Signal;
  /**
   * `true`: dropout drops values, as in training. Default `false`: it drops none, as in evaluation.
   */
  dropout?: boolean;
}

/** Statistics of what comes into a norm, `[C]`; with statistics for each time step `[T, C]`. */
export interface LayerStatistics {
  /** Mean of each channel. */
  readonly mean: Float64Array;
  /** Variance of each channel, by the estimator that was chosen. */
  readonly variance: Float64Array;
  /**
   * Standard error of the mean, from the spread between batches, whose values need not be
   * independent. NaN with less than 2 of them.
   */
  readonly standardError: Float64Array;
  /** Values behind each channel; with weights Σw. By time step, where there are several. */
  readonly counts: Float64Array;
}

/** What `populationStatistics` found. */
export interface PopulationStatistics {
  /**
   * By name of the norm in the network, as in its state dict: `'1'`, `'3.0'`; `''` for a norm that
   * is the network.
   */
  readonly layers: Readonly<Record<string, LayerStatistics>>;
  /** Batches taken in. */
  readonly batches: number;
  /** Batches left out because something in them was not finite. */
  readonly skipped: number;
  /** Samples in the batches that were taken in. */
  readonly samples: number;
}

/** Statistics of one norm, or of one of its time steps. */
class Accumulator {
  readonly #pooled: { count: number; readonly mean: Float64Array; readonly m2: Float64Array };
  /**
   * Sums over runs: of means and variances, and of n, n², n²·d and n²·d², d from the first mean.
   */
  readonly #means: Float64Array;
  readonly #variances: Float64Array;
  readonly #first: Float64Array;
  readonly #squares: { n: number; readonly d: Float64Array; readonly dd: Float64Array };
  #runs = 0;

  constructor(channels: number) {
    const zeros = () => new Float64Array(channels);
    this.#pooled = { count: 0, mean: zeros(), m2: zeros() };
    [this.#means, this.#variances, this.#first] = [zeros(), zeros(), zeros()];
    this.#squares = { n: 0, d: zeros(), dd: zeros() };
  }

  get count(): number {
    return this.#pooled.count;
  }

  add({ count, effective, mean, variance }: Seen, estimator: 'unbiased' | 'biased'): void {
    mergeMoments(this.#pooled, { count, mean, m2: variance.map((v) => v * count) });
    const correction = estimator === 'unbiased' && effective > 1 ? effective / (effective - 1) : 1;
    if (this.#runs++ === 0) this.#first.set(mean);
    this.#squares.n += count * count;
    mean.forEach((m, c) => {
      const d = m - this.#first[c];
      this.#means[c] += d;
      this.#variances[c] += variance[c] * correction;
      this.#squares.d[c] += count * count * d;
      this.#squares.dd[c] += count * count * d * d;
    });
  }

  /** Mean, variance and standard error of channel `c`. */
  at(c: number, averaged: boolean): [mean: number, variance: number, error: number] {
    const { count, mean, m2 } = this.#pooled;
    const runs = this.#runs;
    if (runs === 0) return [0, 1, Number.NaN];
    // Σ (n/N)²·(m − mean)², around the first mean
    const d = mean[c] - this.#first[c];
    const { n, d: sum, dd } = this.#squares;
    const spread = Math.max(dd[c] - 2 * d * sum[c] + d * d * n, 0) / (count * count);
    const error = runs < 2 ? Number.NaN : Math.sqrt((spread * runs) / (runs - 1));
    if (averaged) return [this.#first[c] + this.#means[c] / runs, this.#variances[c] / runs, error];
    return [mean[c], m2[c] / count, error];
  }
}

/** What has been seen of one norm. */
class NormStatistics {
  readonly #norm: ObservedNorm;
  readonly #averaged: boolean;
  readonly #steps: Accumulator[];

  constructor(norm: ObservedNorm, averaged: boolean) {
    const { tracked } = norm;
    this.#norm = norm;
    this.#averaged = averaged || (tracked?.averages ?? false);
    const steps = tracked instanceof StepStats ? tracked.counts.length : 1;
    this.#steps = Array.from({ length: steps }, () => new Accumulator(this.#channels));
  }

  get #channels(): number {
    return this.#norm.engine.description.channels;
  }

  add(seen: readonly Seen[]): void {
    for (const run of seen) this.#steps[run.step].add(run, this.#norm.estimator);
  }

  /** The largest standard error over its standard deviation, so far. */
  relativeError(): number {
    let most = 0;
    for (const step of this.#steps) {
      if (step.count === 0) continue;
      for (let c = 0; c < this.#channels; c++) {
        const [, variance, error] = step.at(c, this.#averaged);
        const relative = error === 0 ? 0 : error / Math.sqrt(variance);
        if (!(relative <= most)) most = relative;
      }
    }
    return most;
  }

  read(): LayerStatistics {
    const channels = this.#channels;
    const length = this.#steps.length * channels;
    const [mean, variance, standardError] = [0, 1, 2].map(() => new Float64Array(length));
    this.#steps.forEach((step, t) => {
      for (let c = 0; c < channels; c++) {
        const at = t * channels + c;
        [mean[at], variance[at], standardError[at]] = step.at(c, this.#averaged);
      }
    });
    return { mean, variance, standardError, counts: Float64Array.from(this.#steps, ({ count }) => count) };
  }
}

/** Options as they are used. */
type Settings<B> = Required<Pick<PopulationOptions<B>, 'estimator' | 'dropout'>> &
  Pick<PopulationOptions<B>, 'forward' | 'progress' | 'signal'>;

export const populationSchema = <B>(): Schema<Settings<B>> => ({
  estimator: choice('pooled', ['pooled', 'averaged']),
  forward: callable(),
  progress: callable(),
  signal: optional(
    required((subject, name, value) => {
      if (typeof (value as Signal | null)?.throwIfAborted !== 'function') {
        throw wrongKind('ERR_OPTION', subject, name, 'an AbortSignal', show(value));
      }
    }),
  ),
  dropout: flag(false),
});

/**
 * Samples that ran through the first norm: of the runs of a call, or where these are time steps of
 * the step that most reach.
 */
function samplesIn(calls: readonly { readonly name: string; readonly seen: readonly Seen[] }[]): number {
  return calls
    .filter(({ name }) => name === calls[0].name)
    .reduce((sum, { seen }) => {
      const bySteps = new Map<number, number>();
      for (const { step, samples } of seen) bySteps.set(step, (bySteps.get(step) ?? 0) + samples);
      return sum + Math.max(0, ...bySteps.values());
    }, 0);
}

/** `populationStatistics`, with the subject of its errors. */
export async function collect<B>(
  subject: string,
  net: Layer,
  batches: Batches<B>,
  options: PopulationOptions<B>,
): Promise<PopulationStatistics> {
  checkNet(subject, net);
  const { estimator, forward, progress, signal, dropout } = readSchema(subject, options, populationSchema<B>());
  const given = batches as Partial<AsyncIterable<B> & Iterable<B>> | null | undefined;
  if (typeof given?.[Symbol.asyncIterator] !== 'function' && typeof given?.[Symbol.iterator] !== 'function') {
    throw wrongKind('ERR_TYPE', subject, 'batches', 'an iterable or async iterable', show(batches));
  }
  const norms = new Map(normsOf(net).flatMap((norm) => (norm.tracked ? [[norm.name, norm] as const] : [])));
  if (norms.size === 0) throw wrongValue('ERR_OPTION', subject, 'net', 'a norm that tracks statistics', 'none');
  const statistics = new Map<string, NormStatistics>();
  let pending: { name: string; seen: readonly Seen[] }[] = [];
  let [taken, skipped, samples] = [0, 0, 0];
  const tell = (name: string, seen: readonly Seen[]) => {
    if (norms.has(name)) pending.push({ name, seen });
  };
  signal?.throwIfAborted();
  const end = watch(net, { training: true, dropout }, { statistics: tell });
  try {
    for await (const batch of batches) {
      pending = [];
      await runBatch(net, batch, forward);
      signal?.throwIfAborted();
      if (pending.some(({ seen }) => seen.some(({ finite }) => !finite))) skipped++;
      else if (pending.length > 0) {
        taken++;
        samples += samplesIn(pending);
        for (const { name, seen } of pending) {
          if (!statistics.has(name))
            statistics.set(name, new NormStatistics(norms.get(name)!, estimator === 'averaged'));
          statistics.get(name)!.add(seen);
        }
      }
      const worst = () => [...statistics.values()].reduce((most, one) => Math.max(most, one.relativeError()), 0);
      progress?.({ batches: taken, skipped, relativeError: taken < 2 ? Number.NaN : worst() });
    }
  } finally {
    end();
  }
  if (taken === 0) {
    if (skipped === 0) throw wrongValue('ERR_OPTION', subject, 'batches', 'at least 1', 'none');
    throw wrongValue('ERR_NON_FINITE', subject, 'batches', 'one with finite statistics', `none of ${skipped}`);
  }
  const layers = Object.fromEntries([...statistics].map(([name, one]) => [name, one.read()]));
  return { layers, batches: taken, skipped, samples };
}

/**
 * The expectation over all batches of the statistics that batch norm takes in training (precise
 * batch norm, Wu & Johnson 2021), to be used in evaluation in place of a moving average over the
 * last batches. Norms normalise by each batch, as in training, and their running statistics do not
 * move. Afterwards every layer is in its mode again; a backward then needs a forward of its own.
 * Batches with values that are not finite are left out and counted.
 *
 *     const { layers } = await populationStatistics(net, batches);
 *     layers['1'].mean;                         // Float64Array(C)
 *     Math.max(...layers['1'].standardError);   // is it enough?
 *
 * @param batches any iterable or async iterable: arrays, generators, streams
 * @throws ERR_TYPE for anything but a network and batches; ERR_OPTION for an unknown option, and
 *   for no batch; ERR_NON_FINITE if no batch was finite; what a forward throws; the signal's
 *   reason. The network is then as it was
 */
export async function populationStatistics<B>(
  net: Layer,
  batches: Batches<B>,
  options: PopulationOptions<B> = {},
): Promise<PopulationStatistics> {
  return collect('populationStatistics', net, batches, options);
}

/** Puts statistics where evaluation finds them. */
function replaceStatistics(net: Layer, { layers, batches }: PopulationStatistics): void {
  for (const { name, tracked } of normsOf(net)) {
    const found = layers[name];
    if (!found || !tracked) continue;
    tracked.replace(found.mean, found.variance, batches, found.counts);
  }
}

/**
 * Replaces the running statistics of a network by its `populationStatistics`: after training, after
 * weights were averaged or changed by hand, and after training with dropout before a norm, whose
 * statistics evaluation does not have. Frozen norms stay as they are.
 *
 *     await recalibrate(net, batches);
 *
 * @param batches any iterable or async iterable, as `populationStatistics` takes them
 * @returns the statistics
 * @throws as `populationStatistics`; nothing has changed then
 */
export async function recalibrate<B>(
  net: Layer,
  batches: Batches<B>,
  options: PopulationOptions<B> = {},
): Promise<PopulationStatistics> {
  const found = await collect('recalibrate', net, batches, options);
  replaceStatistics(net, found);
  return found;
}
