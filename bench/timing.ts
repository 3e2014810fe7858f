import { Bench } from 'tinybench';
import { LEAST_VALUES, median, medianInterval, quantile } from './statistics.ts';

export type Work = () => unknown | Promise<unknown>;

/** How long a call takes, in microseconds. */
export interface Timing {
  /** Of the medians of the rounds. */
  median: number;
  /** The 95 % interval of the median, by order statistics of the medians of the rounds. */
  low: number;
  high: number;
  /** Distance of the quartiles of all samples, over the median. */
  spread: number;
  /** How many samples there are, each of so many calls that the clock can tell them apart. */
  samples: number;
  /** The median of each round, for each process. */
  rounds: number[][];
}

/**
 * Rounds in which the works take turns, so that whatever else the machine is doing falls on all of
 * them.
 */
const ROUNDS = 8;
/**
 * Rounds, in each process, of a work of which one call takes longer than all rounds should: two,
 * and as many as an interval needs.
 */
export const slowRounds = (processes: number): number => Math.max(2, Math.ceil(LEAST_VALUES / processes));

/** A sample lasts at least this many milliseconds, for the clock's sake. */
const SAMPLE = 0.05;

/**
 * Times several works side by side; `time` milliseconds each, at least three samples a round, or
 * one of a call that is longer than a round. Slow works, of which one call takes longer than
 * `time`, are called once in each of `rounds.slowRounds` rounds; the call that showed it is the
 * first. A work that throws ends the run. `rounds.slower` makes a work take longer on purpose, by
 * so many hundredths of its own time. Works of `rounds.alike` are slow together, so that they have
 * as many rounds.
 */
export async function timeTogether(
  works: Record<string, Work>,
  time: number,
  rounds: { slowRounds?: number; slower?: Record<string, number>; alike?: readonly string[] } = {},
): Promise<Record<string, Timing>> {
  const { slowRounds: most = slowRounds(1), slower = {}, alike = [] } = rounds;
  const names = Object.keys(works);
  const repeats: Record<string, number> = {};
  const taken: Record<string, number> = {};
  const samples: Record<string, number[][]> = {};
  const slowed = (name: string, work: Work) => (slower[name] ? longer(work, slower[name]) : work);
  for (const name of names) {
    const start = performance.now();
    await slowed(name, works[name])();
    taken[name] = performance.now() - start;
  }
  const longest = Math.max(...alike.map((name) => taken[name]));
  for (const name of names) {
    const first = taken[name];
    if (alike.includes(name)) taken[name] = longest;
    const isSlow = taken[name] > time;
    repeats[name] = isSlow ? 1 : await repeatsOf(works[name]);
    samples[name] = isSlow ? [[first * 1000]] : [];
  }
  for (let round = 0; round < ROUNDS; round++) {
    for (const name of round % 2 ? names.toReversed() : names) {
      if (taken[name] > time && samples[name].length >= most) continue;
      const iterations = taken[name] > time / ROUNDS ? 1 : 3;
      const bench = new Bench({ time: time / ROUNDS, warmup: false, iterations, retainSamples: true, throws: true });
      bench.add(name, slowed(name, repeated(works[name], repeats[name])));
      await bench.run();
      const { result } = bench.getTask(name)!;
      if (!('latency' in result) || !result.latency.samples) throw new Error(`${name} was not timed`);
      samples[name].push([...result.latency.samples].map((sample) => (sample * 1000) / repeats[name]));
    }
  }
  return Object.fromEntries(names.map((name) => [name, summary(samples[name])]));
}

function repeated(work: Work, times: number): Work {
  return () => {
    let last: unknown;
    for (let i = 0; i < times; i++) {
      last = work();
      if (last instanceof Promise) return rest(work, times - i - 1, last);
    }
    return last;
  };
}

async function rest(work: Work, times: number, first: Promise<unknown>): Promise<unknown> {
  await first;
  for (let i = 0; i < times; i++) await work();
  return undefined;
}

/** The work, and then a wait of so many hundredths of the time that it took. */
function longer(work: Work, percent: number): Work {
  const wait = (start: number) => {
    const end = start + (performance.now() - start) * (1 + percent / 100);
    while (performance.now() < end);
  };
  return () => {
    const start = performance.now();
    const result = work();
    if (result instanceof Promise) return result.then(() => wait(start));
    wait(start);
    return result;
  };
}

async function repeatsOf(work: Work): Promise<number> {
  for (let times = 1; ; times *= 4) {
    const start = performance.now();
    await repeated(work, times)();
    if (performance.now() - start > SAMPLE || times >= 4096) return times;
  }
}

function summary(rounds: readonly number[][]): Timing {
  const all = rounds.flat();
  const spread = (quantile(all, 0.75) - quantile(all, 0.25)) / median(all);
  return merged([{ rounds: [rounds.map(median)], samples: all.length, spread }]);
}

/** The timings of one work in several processes as one. */
export function merged(parts: readonly Pick<Timing, 'rounds' | 'samples' | 'spread'>[]): Timing {
  const rounds = parts.flatMap((part) => part.rounds);
  const all = rounds.flat();
  const [low, high] = medianInterval(all);
  return {
    median: median(all),
    low,
    high,
    spread: median(parts.map(({ spread }) => spread)),
    samples: parts.reduce((sum, part) => sum + part.samples, 0),
    rounds,
  };
}
