// Requests from many clients at once, and workers that are killed among them.

import type { Sequential } from '../../src/index.ts';
import type { Pools } from '../support/pool.ts';

export interface Soak {
  readonly workers: Pools;
  readonly net: Sequential;
  readonly features: number;
  readonly requests: number;
  readonly kills: number;
  readonly clients: number;
  /** Uniform from 0 to 1. */
  random(): number;
  progress?(line: string): void;
}

export interface Found {
  readonly asked: number;
  readonly answered: number;
  /** Answers that are not those of their requests, to the last bit. */
  readonly wrong: number;
  readonly failed: number;
  readonly kills: number;
  readonly restarts: number;
  /** Resident bytes, at each tenth of the way. */
  readonly memory: number[];
}

/** Different inputs, with their answers. */
const INPUTS = 512;

export async function soak({
  workers,
  net,
  features,
  requests,
  kills,
  clients,
  random,
  progress,
}: Soak): Promise<Found> {
  const compiled = net.compile();
  const data = Float32Array.from({ length: INPUTS * features }, () => 2 * random() - 1);
  const inputs = Array.from({ length: INPUTS }, (_, i) => data.subarray(i * features, (i + 1) * features));
  const expected = inputs.map((values) => compiled({ data: values, shape: [1, features] }).data);
  await using p = await workers.pool(compiled.save(), { workers: 2, maxBatch: 32, maxQueue: 2 * clients });
  compiled.dispose();
  let [asked, answered, wrong, failed, killed] = [0, 0, 0, 0, 0];
  const memory: number[] = [];
  const moments = Array.from({ length: kills }, () => Math.floor(0.95 * random() * requests)).sort((a, b) => a - b);
  let settled = 0;
  // what was run once more has its answer: it is not to be lost again
  const isWhole = () =>
    answered - settled > 4 * clients && p.stats().workers.every(({ state }) => state === 'idle' || state === 'busy');
  const client = async () => {
    while (asked < requests) {
      const i = asked++ % INPUTS;
      // a kill waits until the worker of the last one was replaced, and its requests are answered
      if (asked >= moments[killed] && isWhole()) {
        killed++;
        settled = answered;
        workers.kill(random() < 0.5 ? 0 : 1);
      }
      if (asked % Math.ceil(requests / 10) === 0) {
        globalThis.gc?.();
        memory.push(process.memoryUsage.rss());
        progress?.(`${asked} asked, ${killed} killed, ${(memory.at(-1)! / 2 ** 20).toFixed(0)} MiB`);
      }
      try {
        const { data: values } = await p.run({ data: inputs[i], shape: [1, features] });
        answered++;
        if (values.length !== expected[i].length || values.some((value, k) => value !== expected[i][k])) wrong++;
      } catch {
        failed++;
      }
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  const { workers: each, requests: counted } = p.stats();
  if (counted.completed !== answered) wrong += Math.abs(counted.completed - answered);
  return {
    asked,
    answered,
    wrong,
    failed,
    kills: killed,
    restarts: each.reduce((sum, { restarts }) => sum + restarts, 0),
    memory,
  };
}
