// npm run bench [-- --filter TEXT] [--json FILE] [--time MS]
//
// Every case is checked against the plain loops before it is timed. Times are medians; ratios are within one run, since the machine and
// what else it is doing differ from run to run.

import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { Bench } from 'tinybench';
import { info } from '../dist/index.js';
import { readArguments } from '../scripts/arguments.ts';
import { type BenchCase, cases } from './cases.ts';

const options = readArguments({
  options: {
    filter: { type: 'string', default: '' },
    json: { type: 'string' },
    time: { type: 'string', default: '120' },
  },
});

interface Row {
  name: string;
  /** Microseconds. */
  median: number;
  /** Distance of the quartiles over the median. */
  spread: number;
  gigabytesPerSecond: number;
  /** Time of memory.copy of the same bytes over our time: 1 is the speed of memory. */
  ofCopy: number;
  /** Time of the plain loops over our time. */
  overPlain: number;
}

/** Calls per sample, so that a sample lasts long enough for the clock. */
function repeatsOf(work: () => void): number {
  for (let repeats = 1; ; repeats *= 4) {
    const start = performance.now();
    for (let i = 0; i < repeats; i++) work();
    if (performance.now() - start > 0.05 || repeats >= 4096) return repeats;
  }
}

async function measure(bench: BenchCase): Promise<Row> {
  bench.ours();
  bench.plain();
  const difference = bench.difference();
  if (!(difference < 1e-4)) throw new Error(`${bench.name}: differs from the plain loops by ${difference}`);
  const runner = new Bench({
    time: Number(options.time),
    warmupTime: Number(options.time) / 4,
    iterations: 5,
    throws: true,
  });
  const works = { ours: bench.ours, copy: bench.copy, plain: bench.plain };
  const repeats: Record<string, number> = {};
  for (const [name, work] of Object.entries(works)) {
    const times = (repeats[name] = repeatsOf(work));
    runner.add(name, () => {
      for (let i = 0; i < times; i++) work();
    });
  }
  await runner.run();
  const timeOf = (name: string) => {
    const { result } = runner.getTask(name)!;
    if (!('latency' in result)) throw new Error(`${bench.name}: ${name} was not timed`);
    const { p50, p75, p25 } = result.latency as typeof result.latency & { p25?: number };
    return { median: (p50 * 1000) / repeats[name], spread: (p75 - (p25 ?? 2 * p50 - p75)) / p50 };
  };
  const { median, spread } = timeOf('ours');
  return {
    name: bench.name,
    median,
    spread,
    gigabytesPerSecond: bench.bytes / median / 1000,
    ofCopy: timeOf('copy').median / median,
    overPlain: timeOf('plain').median / median,
  };
}

const about = {
  machine: `${cpus()[0].model.trim()}, ${cpus().length} cores`,
  node: process.version,
  backend: info().backend,
  date: new Date().toISOString().slice(0, 10),
};
console.log(`${about.machine}; Node ${about.node}; backend ${about.backend}; ${about.date}; one thread; medians\n`);
console.log(
  `${'case'.padEnd(66)}${'µs'.padStart(10)}${'±'.padStart(7)}${'GB/s'.padStart(8)}${'of copy'.padStart(9)}${'× plain'.padStart(9)}`,
);
const rows: Row[] = [];
for (const make of cases()) {
  for (const bench of make()) {
    if (bench.name.includes(options.filter)) {
      const row = await measure(bench);
      rows.push(row);
      const { name, median, spread, gigabytesPerSecond, ofCopy, overPlain } = row;
      const time = median < 100 ? median.toFixed(2) : median.toFixed(0);
      console.log(
        `${name.padEnd(66)}${time.padStart(10)}${`${(spread * 100).toFixed(0)}%`.padStart(7)}${gigabytesPerSecond.toFixed(1).padStart(8)}${ofCopy.toFixed(2).padStart(9)}${overPlain.toFixed(1).padStart(9)}`,
      );
    }
    bench.dispose();
  }
}
if (options.json) writeFileSync(options.json, `${JSON.stringify({ about, rows }, null, 2)}\n`);
