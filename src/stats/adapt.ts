import type { Layer } from '../layers/layer.ts';
import { number, readSchema } from '../named-options.ts';
import { StepStats } from '../norms/statistics/step-stats.ts';
import {
  type Batches,
  collect,
  type PopulationOptions,
  type PopulationStatistics,
  populationSchema,
} from './population.ts';
import { normsOf } from './watch.ts';

/**
 * Options of `adapt`.
 *
 * @experimental
 */
export interface AdaptOptions<B> extends Omit<PopulationOptions<B>, 'estimator' | 'dropout'> {
  /**
   * N: how many samples the present statistics count for. Those of n new samples get the weight
   * n/(N + n). Default 16 (Schneider et al. 2020).
   */
  prior?: number;
  /** The largest weight of the new statistics, 0 to 1. Default 1. */
  most?: number;
}

/**
 * What `adapt` did, and how to undo it.
 *
 * @experimental
 */
export interface Adaptation {
  /** What the new statistics weigh. */
  readonly weight: number;
  /** Those of the new batches, not mixed. */
  readonly statistics: PopulationStatistics;
  /** Gives all norms the statistics that they had before, to the last bit. */
  rollback(): void;
}

/**
 * Test-time adaptation (Li et al. 2016; Schneider et al. 2020): moves the running statistics
 * towards those of new inputs, which need no labels. With n new samples,
 *
 *   r ← N/(N + n)·r + n/(N + n)·(statistics of the new samples)
 *
 * for mean and variance alike; N is `prior`.
 *
 *     const { rollback } = await adapt(net, [batch], { prior: 32, most: 0.8 });
 *
 * @param batches any iterable or async iterable, as `populationStatistics` takes them
 * @throws as `populationStatistics`; nothing has changed then
 * @experimental
 */
export async function adapt<B>(net: Layer, batches: Batches<B>, options: AdaptOptions<B> = {}): Promise<Adaptation> {
  const { prior, most, ...rest } = readSchema('adapt', options, {
    prior: number(16, 'a number of 0 or more', (value) => value >= 0),
    most: number(1, 'a number from 0 to 1', (value) => value >= 0 && value <= 1),
    ...populationSchema<B>(),
  });
  const statistics = await collect('adapt', net, batches, rest);
  const { samples, layers } = statistics;
  const weight = Math.min(samples / (prior + samples), most);
  const moved = normsOf(net).flatMap(({ name, tracked }) => {
    const found = layers[name];
    if (!tracked || !found) return [];
    const width = found.mean.length / found.counts.length;
    // where no value was seen, or none in training, what was there stays
    const trained = tracked instanceof StepStats ? tracked.counts : undefined;
    const isMixed = (step: number) => found.counts[step] > 0 && (!trained || trained[step] > 0);
    const mix = (old: Float32Array, now: Float64Array) =>
      now.map((value, i) => (isMixed(Math.floor(i / width)) ? (1 - weight) * old[i] + weight * value : old[i]));
    const mean = mix(tracked.mean.now, found.mean);
    const variance = mix(tracked.variance.now, found.variance);
    return [{ tracked, mean, variance, back: tracked.checkpoint() }];
  });
  for (const { tracked, mean, variance } of moved) tracked.replace(mean, variance, tracked.batches);
  return {
    weight,
    statistics,
    rollback() {
      for (const { back } of moved) back();
    },
  };
}
