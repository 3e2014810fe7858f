// The shards of the trials: means far larger than the spread, which sums of squares cancel away.

import { BatchNorm1d, Sequential } from '../../src/index.ts';
import { Random } from '../../src/nn/random.ts';
import type { Manifest } from '../../src/shards/index.ts';

export const CHANNELS = 16;
const ROWS = 4000;
const BATCH = 500;

/** Shards, each with a seed as its input. */
export const manifestOf = (count: number, task?: string): Manifest => ({
  ...(task !== undefined && { task }),
  shards: Array.from({ length: count }, (_, i) => ({ key: `part-${`${i}`.padStart(3, '0')}`, input: { seed: i + 1 } })),
});

export const network = () => new Sequential(new BatchNorm1d(CHANNELS));

/** Mean 1e4·(c + 1), standard deviation (c + 1)/2. */
export function* batchesOf(seed: number, rows = ROWS) {
  const random = new Random(seed);
  for (let from = 0; from < rows; from += BATCH) {
    const data = Float32Array.from({ length: BATCH * CHANNELS }, (_, i) => {
      const c = i % CHANNELS;
      return 1e4 * (c + 1) + ((c + 1) / 2) * random.normal();
    });
    yield { data, shape: [BATCH, CHANNELS] };
  }
}
