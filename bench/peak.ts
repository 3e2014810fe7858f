// The speed of multiply-adds in registers: what matrix products are measured against.

import { bare } from './bare.ts';

/** Loops, and how many chains of four lanes each has. */
const LOOPS = { peak8: 8, peak10: 10, peak12: 12 } as const;

/** Flops a second now: the best of several short runs of each loop, in turns. */
export function measurePeak(): number {
  const { memory, loops, free } = bare();
  const values = new Float32Array(memory.buffer, free, 8);
  values.fill(0.999, 0, 4);
  values.fill(0.001, 4);
  let most = 0;
  for (let i = 0; i < 12; i++) {
    for (const [name, chains] of Object.entries(LOOPS)) {
      const steps = 1_000_000 / chains;
      const start = performance.now();
      loops[name as keyof typeof LOOPS](free, steps);
      // a multiplication and an addition in four lanes of each chain
      most = Math.max(most, (8 * chains * steps) / ((performance.now() - start) / 1000));
    }
  }
  return most;
}
