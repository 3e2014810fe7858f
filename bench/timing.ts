import { Bench } from 'tinybench';

export type Work = () => unknown | Promise<unknown>;

export interface Timing {
  /** Microseconds, of one call. */
  median: number;
  /** Distance of the quartiles over the median. */
  spread: number;
}

/**
 * Rounds in which the works take turns, so that whatever else the machine is doing falls on all of
 * them.
 */
const ROUNDS = 4;
/** A sample lasts at least this many milliseconds, for the clock's sake. */
const SAMPLE = 0.05;

/** Times several works side by side; `time` milliseconds each. A work that throws ends the run. */
export async function timeTogether(works: Record<string, Work>, time: number): Promise<Record<string, Timing>> {
  const names = Object.keys(works);
  const repeats: Record<string, number> = {};
  const samples: Record<string, number[]> = {};
  for (const name of names) {
    repeats[name] = await repeatsOf(works[name]);
    samples[name] = [];
  }
  for (let round = 0; round < ROUNDS; round++) {
    const bench = new Bench({ time: time / ROUNDS, warmup: false, iterations: 3, retainSamples: true, throws: true });
    for (const name of names) bench.add(name, repeated(works[name], repeats[name]));
    await bench.run();
    for (const name of names) {
      const { result } = bench.getTask(name)!;
      if (!('latency' in result) || !result.latency.samples) throw new Error(`${name} was not timed`);
      for (const sample of result.latency.samples) samples[name].push(sample);
    }
  }
  return Object.fromEntries(names.map((name) => [name, summary(samples[name], repeats[name])]));
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

async function repeatsOf(work: Work): Promise<number> {
  await work();
  for (let times = 1; ; times *= 4) {
    const start = performance.now();
    await repeated(work, times)();
    if (performance.now() - start > SAMPLE || times >= 4096) return times;
  }
}

function summary(samples: number[], repeats: number): Timing {
  samples.sort((a, b) => a - b);
  const at = (share: number) => samples[Math.floor(share * (samples.length - 1))];
  const median = at(0.5);
  return { median: (median * 1000) / repeats, spread: (at(0.75) - at(0.25)) / median };
}
