// npm run bench -- --loops [--filter TEXT]: the bare loops that docs/performance.md cites. What a
// processor does in a cycle, and the orders in which a training forward may walk through memory.

import { Random } from '../src/nn/random.ts';
import { bare, type Design } from './bare.ts';
import type { CaseName } from './cases.ts';
import { nameOf } from './figures.ts';
import { measurePeak } from './peak.ts';
import { type Timing, timeTogether, type Work } from './timing.ts';
import { relativeDifference, TOLERANCE } from './workload.ts';

interface Loop extends CaseName {
  /** Measures; what is printed behind the name. */
  run(time: number): Promise<string>;
}

/** Steps of a chain, long enough for the clock. */
const STEPS = 20_000;

/** Instructions in a step of each loop. */
const CHAINS = { integers: 12, additions: 12, multiplications: 12, loads: 8, stores: 8 } as const;

const percent = ({ low, high, median }: Timing) => `± ${((50 * (high - low)) / median).toFixed(1)} %`;

/** Microseconds of a work, and of a chain of which each operation takes one cycle, in turns. */
async function inCycles(work: Work, time: number): Promise<{ cycles: number; gigahertz: number; timing: Timing }> {
  const { loops, free } = bare();
  const { timing, clock } = await timeTogether({ timing: work, clock: () => loops.cycles(free, STEPS) }, time);
  const gigahertz = (16 * STEPS) / clock.median / 1000;
  return { cycles: timing.median * 1000 * gigahertz, gigahertz, timing };
}

function chainLoops(): Loop[] {
  return Object.entries(CHAINS).map(([name, count]) => ({
    op: 'limit',
    layout: '',
    shape: name === 'integers' ? 'vector instructions of any kind' : name,
    async run(time) {
      const { memory, loops, free } = bare();
      new Float32Array(memory.buffer, free, 1024).fill(1);
      const chain = loops[name as keyof typeof CHAINS];
      const { cycles, gigahertz, timing } = await inCycles(() => chain(free, STEPS), time);
      return `${((count * STEPS) / cycles).toFixed(2)} per cycle at ${gigahertz.toFixed(2)} GHz  ${percent(timing)}`;
    },
  }));
}

/** Bytes read and written in all. */
const COPIES = { L1: 16e3, L2: 512e3, L3: 6.4e6, memory: 205e6 } as const;

function copyLoops(): Loop[] {
  return Object.entries(COPIES).map(([place, bytes]) => ({
    op: 'limit',
    layout: '',
    shape: `memory.copy of ${bytes / 1000} kB, in ${place}`,
    async run(time) {
      const { loops } = bare();
      const half = 16 * Math.floor(bytes / 32);
      const [from, to] = places(half, half);
      const { cycles, timing } = await inCycles(() => loops.copy(from, to, half), time);
      return `${((cycles * 16) / half).toFixed(2)} cycles per vector read and written  ${percent(timing)}`;
    },
  }));
}

const peakLoop: Loop = {
  op: 'limit',
  layout: '',
  shape: 'multiply-adds in registers',
  run: async () => `${(measurePeak() / 1e9).toFixed(1)} GFLOP/s, the best of 36 runs`,
};

/** Places in memory for blocks of so many bytes, at different offsets in their pages. */
function places(...sizes: number[]): number[] {
  const { memory, free } = bare();
  let end = free + 8192;
  const at = sizes.map((size, i) => {
    const start = 4096 * Math.ceil(end / 4096) + 1024 * (i % 4);
    end = start + size;
    return start;
  });
  const missing = Math.ceil((end - memory.buffer.byteLength) / 65_536);
  if (missing > 0) memory.grow(missing);
  return at;
}

const CHANNELS = 64;
const INNER = 3072;

/** By name: the loop, and how many channels a slab has, of so many samples. */
const DESIGNS: Record<string, (loops: ReturnType<typeof bare>['loops'], samples: number) => [Design, number]> = {
  'statistics of everything, then the map of everything': ({ slabs }) => [slabs, CHANNELS],
  'slab by slab, in L2': ({ slabs }, samples) => [slabs, channelsIn(0.4e6, samples)],
  'slab by slab, in L3': ({ slabs }, samples) => [slabs, channelsIn(6.3e6, samples)],
  'pipelined in turns of 1 kB, L2': ({ turns }, samples) => [turns, channelsIn(0.4e6, samples)],
  'pipelined in turns of 1 kB, L3': ({ turns }, samples) => [turns, channelsIn(6.3e6, samples)],
  'pipelined, instruction by instruction': ({ interleaved }, samples) => [interleaved, channelsIn(0.4e6, samples)],
  'map backwards through memory': ({ backwards }) => [backwards, CHANNELS],
};

/** A slab of about so many bytes; two slabs at least, for what is pipelined. */
function channelsIn(bytes: number, samples: number): number {
  const fitting = Math.floor(bytes / (samples * INNER * 4));
  return [32, 16, 8, 4, 2, 1].find((count) => count <= fitting) ?? 1;
}

function designLoops(): Loop[] {
  return [32, 8].flatMap((samples) =>
    Object.entries(DESIGNS).map(([name, choose]) => ({
      op: 'design',
      layout: `${samples}x${CHANNELS}x${INNER}`,
      shape: name,
      run: (time) => design(samples, choose, time),
    })),
  );
}

async function design(samples: number, choose: (typeof DESIGNS)[string], time: number): Promise<string> {
  const { memory, loops } = bare();
  const size = samples * CHANNELS * INNER;
  const [x, y, sums] = places(4 * size, 4 * size, 16 * CHANNELS);
  const random = new Random(7);
  const noise = Float32Array.from({ length: 65_521 }, () => random.normal());
  const values = new Float32Array(memory.buffer, x, size).map((_, i) => 0.5 + noise[i % noise.length]);
  new Float32Array(memory.buffer, x, size).set(values);
  new Float32Array(memory.buffer, y, size).fill(0);
  const [loop, slab] = choose(loops, samples);
  const work = () => loop(x, y, sums, samples, CHANNELS, INNER, slab);
  work();
  const difference = relativeDifference(new Float32Array(memory.buffer, y, size), normalized(values, samples));
  if (!(difference < TOLERANCE)) throw new Error(`the design differs from plain loops by ${difference}`);
  const { timing, copy } = await timeTogether({ timing: work, copy: () => loops.copy(x, y, 4 * size) }, time);
  const slabs = slab === CHANNELS ? '' : `, slabs of ${slab} channel(s)`;
  return `${(copy.median / timing.median).toFixed(2)} of memory.copy, ${(timing.median / 1000).toFixed(2)} ms${slabs}  ${percent(timing)}`;
}

/** Batch norm of planes as plain loops. */
function normalized(x: Float32Array, samples: number): Float32Array {
  const y = new Float32Array(x.length);
  for (let c = 0; c < CHANNELS; c++) {
    let [sum, square] = [0, 0];
    const each = (visit: (i: number) => void) => {
      for (let n = 0; n < samples; n++) for (let i = 0; i < INNER; i++) visit((n * CHANNELS + c) * INNER + i);
    };
    each((i) => {
      sum += x[i];
      square += x[i] * x[i];
    });
    const mean = sum / (samples * INNER);
    const scale = 1 / Math.sqrt(square / (samples * INNER) - mean * mean + 1e-5);
    each((i) => {
      y[i] = (x[i] - mean) * scale;
    });
  }
  return y;
}

/** All bare loops. */
export const bareLoops = (): Loop[] => [...chainLoops(), ...copyLoops(), peakLoop, ...designLoops()];

export async function runLoops(loops: readonly Loop[], time: number): Promise<void> {
  for (const loop of loops) console.log(`${nameOf(loop).padEnd(78)} ${await loop.run(time)}`);
}
