// A batch as one run, or split into virtual batches (ghost batch normalization, Hoffer et al.
// 2017): consecutive samples, the last run perhaps shorter.

import { wrongValue } from '../errors.ts';
import { type Mask, maskOf } from './mask.ts';
import type { Plan } from './plan.ts';

/** Samples that are normalised together. */
export interface Run {
  readonly plan: Plan;
  /** Its first value in the batch. */
  readonly from: number;
  readonly mask: Mask | undefined;
  /**
   * Values behind each statistic; the fewest, where channels differ, and with weights what they are
   * worth.
   */
  readonly count: number;
  /** m/(m − 1): by it the variance becomes unbiased. */
  readonly correction: number | Float64Array;
  /** The time step that it is, where each has running statistics of its own; else 0. */
  readonly step: number;
  /** Where its map by running statistics is kept: time steps that are evaluated alike share one. */
  readonly mapIndex: number;
}

/**
 * Whose statistics a run is normalised by: its own (`'batch'`), the running ones, or the running
 * ones, which then learn from the one value that each channel has (`'online'`).
 */
export type Source = 'batch' | 'running' | 'online';

/** A run, and whose statistics it is normalised by. */
export interface SourcedRun extends Run {
  readonly source: Source;
}

/** @param size samples of a run */
export function runsOf(plan: Plan, mask: Mask | undefined, size: number): Run[] {
  const [samples] = plan.shape;
  if (size >= samples) return [runOf(plan, 0, mask)];
  const runs: Run[] = [];
  const [whole, last] = [partOf(plan, samples, size), partOf(plan, samples, samples % size)];
  for (let first = 0; first < samples; first += size) {
    const many = Math.min(size, samples - first);
    const part = many === size ? whole : last;
    const places = mask && (mask.places.length / samples) * many;
    const values = mask?.weights ?? mask?.places;
    const at = mask && (mask.places.length / samples) * first;
    const own = mask && maskOf(part, values!.slice(at, at! + places!), mask.channelStep > 0);
    runs.push(runOf(part, (plan.size / samples) * first, own));
  }
  return runs;
}

export function runOf(plan: Plan, from: number, mask: Mask | undefined): Run {
  if (!mask) {
    const { count } = plan;
    return { plan, from, mask, step: 0, mapIndex: 0, count, correction: count / (count - 1) };
  }
  const { effective } = mask;
  const values = effective.reduce((least, value) => Math.min(least, value), Number.POSITIVE_INFINITY);
  // weights that are all the same may come out at a hair above one value
  const count = values <= 1 + 1e-9 ? Math.round(values) : values;
  return { plan: mask.plan, from, mask, step: 0, mapIndex: 0, count, correction: effective.map((m) => m / (m - 1)) };
}

/** The plan of so many of a plan's samples. */
function partOf(plan: Plan, samples: number, many: number): Plan {
  const shape = [many, ...plan.shape.slice(1)];
  const count = (plan.count / samples) * many;
  const size = (plan.size / samples) * many;
  // one channel lies in memory as one plane
  if (plan.channels === 1) return { ...plan, inner: count, count, size, shape };
  const outer = (plan.outer / samples) * many;
  return { ...plan, outer, count, size, shape, ...(plan.kernel === 'nxc' && { whole: plan.outer }) };
}

/** The error for one value behind each statistic. */
export function singleValue(subject: string, when: string, per: string, context: string): Error {
  return wrongValue('ERR_SINGLE_VALUE', subject, when, `at least 2 values per ${per}`, '1', context);
}

/** The error for a run in which some channel has no value that counts. */
export function nothingCounts(subject: string, place: string): Error {
  return wrongValue('ERR_MASK', subject, 'mask', 'a place that counts', 'none', place);
}
