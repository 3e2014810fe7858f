// npm run bench [-- --filter TEXT] [--json FILE] [--time MS] [--threads N]
//
// Every case is checked against the plain loops before it is timed. Times are medians; ratios are
// within one run, since the machine and what else it is doing differ from run to run.

import { readArguments } from '../scripts/arguments.ts';
import { close, info, setThreads } from '../src/index.ts';
import { backend } from '../src/kernels/backend.ts';
import { type BenchCase, cases } from './cases.ts';
import { nameOf, type Row } from './figures.ts';
import { about, keep, write } from './results.ts';
import { timeTogether, type Work } from './timing.ts';

const options = readArguments({
  options: {
    filter: { type: 'string', default: '' },
    json: { type: 'string' },
    time: { type: 'string', default: '120' },
    threads: { type: 'string', default: '1' },
  },
});
const threads = Number(options.threads);
const time = Number(options.time);
if (!(Number.isInteger(threads) && threads >= 1 && threads <= 64))
  refuse('--threads', 'an integer from 1 to 64', options.threads);
if (!(time > 0)) refuse('--time', 'milliseconds', options.time);

function refuse(option: string, expected: string, got: string): never {
  console.error(`${option} expected ${expected}, got '${got}'`);
  process.exit(2);
}

/** The same work on this thread alone. */
function alone(work: Work): Work {
  const current = backend();
  return () => {
    const { parallel } = current;
    current.parallel = current.kernels;
    work();
    current.parallel = parallel;
  };
}

async function measure(bench: BenchCase): Promise<Row> {
  const { op, layout, shape, bytes, flops, ours, plain, copy, batchNorm } = bench;
  ours();
  plain();
  const difference = bench.difference();
  if (!(difference < 1e-4)) throw new Error(`${nameOf(bench)}: differs from the plain loops by ${difference}`);
  const works = {
    ours,
    plain,
    ...(copy && { copy }),
    ...(batchNorm && { batchNorm }),
    ...(threads > 1 && { one: alone(ours) }),
  };
  const times: Record<string, { median: number; spread: number }> = await timeTogether(works, time);
  const { median, spread } = times.ours;
  return {
    op,
    layout,
    shape,
    bytes,
    median,
    spread,
    gigabytesPerSecond: bytes / median / 1000,
    overPlain: times.plain.median / median,
    ...(copy && { ofCopy: times.copy.median / median }),
    ...(batchNorm && { overBatchNorm: median / times.batchNorm.median }),
    ...(flops && bench.peak && { ofPeak: flops / (median / 1e6) / bench.peak() }),
    ...(threads > 1 && { overOneThread: times.one.median / median }),
  };
}

const number = (value: number | undefined, digits: number, width: number) =>
  (value === undefined ? '' : value.toFixed(digits)).padStart(width);

function line(row: Row): string {
  const { median, spread, gigabytesPerSecond, ofCopy, ofPeak, overPlain, overBatchNorm, overOneThread } = row;
  return (
    nameOf(row).padEnd(66) +
    number(median, median < 100 ? 2 : 0, 10) +
    `${number(spread * 100, 0, 6)}%` +
    number(gigabytesPerSecond, 1, 8) +
    number(ofCopy, 2, 9) +
    number(ofPeak, 2, 9) +
    number(overPlain, 1, 9) +
    number(overBatchNorm, 2, 9) +
    number(overOneThread, 2, 10)
  );
}

if (threads > 1) {
  setThreads(threads);
  await new Promise((resolve) => setTimeout(resolve, 200)); // workers start
}
const head = about();
console.log(
  `${head.machine}; Node ${head.node}; backend ${head.backend}; ${head.date}; ${head.threads} thread(s); medians`,
);
if (threads !== head.threads) console.log(`one thread: ${info().threading}`);
console.log(
  `\n${'case'.padEnd(66)}        µs      ±    GB/s  of copy  of peak  × plain  over BN${threads > 1 ? '  × alone' : ''}`,
);
const rows: Row[] = [];
for (const bench of cases()) {
  if (nameOf(bench).includes(options.filter)) {
    const row = await measure(bench);
    rows.push(row);
    console.log(line(row));
  }
  bench.dispose?.();
}
if (rows.length === 0) refuse('--filter', 'part of the name of a case', options.filter);
const results = { about: head, rows };
if (options.json) write(options.json, `${JSON.stringify(results, null, 2)}\n`);
if (options.filter === '' && threads === 1) console.log(`\n${keep('own', results)}`);
await close();
