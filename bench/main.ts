// npm run bench [-- OPTIONS]: options.ts says which, or --help.
//
// Every case is checked against the plain loops before it is timed. Times are medians; ratios are
// within one run, since the machine and what else it is doing differ from run to run.

import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { close, info, setThreads } from '../src/index.ts';
import { backend } from '../src/kernels/backend.ts';
import { type CaseGroup, type CaseName, type CaseWork, caseGroups } from './cases.ts';
import { comparison, flaw, LEAST_PROCESSES, type Run } from './compare.ts';
import { nameOf, type Row, rowOf } from './figures.ts';
import { bareLoops, runLoops } from './loops.ts';
import { readOptions, refuse } from './options.ts';
import { ownGroup } from './own.ts';
import { about, keep, obstacle, write } from './results.ts';
import { chosenBy } from './select.ts';
import { columns, csv, head, line, notes } from './text.ts';
import { merged, slowRounds, timeTogether, type Work } from './timing.ts';
import { TOLERANCE } from './workload.ts';

const options = readOptions();
const { threads, time, processes } = options;

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

async function measure(name: CaseName, work: CaseWork): Promise<Row> {
  const { bytes, flops, ours, plain, copy, batchNorm, layers, own } = work;
  work.before?.();
  await ours();
  plain();
  try {
    await own?.();
  } catch (error) {
    refuse('--own', `a function that returns in ${options.own}`, `${error}`);
  }
  const difference = work.difference();
  if (!(difference < TOLERANCE)) throw new Error(`${nameOf(name)}: differs from the plain loops by ${difference}`);
  const works: Record<string, Work> = {
    ours,
    plain,
    ...(copy && { copy }),
    ...(batchNorm && { batchNorm }),
    ...(layers && { layers }),
    ...(own && { own }),
    ...(threads > 1 && { alone: alone(ours) }),
  };
  const rounds = { slowRounds: slowRounds(processes), slower: { ours: options.slower } };
  const times = (await timeTogether(works, time, rounds)) as Row['times'];
  return rowOf(name, { bytes, ...(flops && { flops, peak: work.peak?.() }), times });
}

type Wanted = readonly { group: CaseGroup; names: readonly CaseName[] }[];

/** Measures in this process; hands over each row as soon as there is one. */
async function measureHere(wanted: Wanted, take: (row: Row) => void): Promise<void> {
  if (threads > 1) {
    setThreads(threads);
    await new Promise((resolve) => setTimeout(resolve, 200)); // workers start
    if (info().threads !== threads) console.error(`one thread: ${info().threading}`);
  }
  for (const { group, names } of wanted) {
    const { works, dispose } = group.make();
    for (const name of names) take(await measure(name, works[name.op]));
    dispose();
  }
}

/** Measures in one process after the other, each with all cases; rows in the order of cases. */
async function measureInProcesses(count: number): Promise<Row[]> {
  const parts: Row[][] = [];
  for (let i = 0; i < count; i++) {
    parts.push(await part((done) => process.stderr.write(`\rprocess ${i + 1} of ${count}, case ${done} of ${total} `)));
  }
  process.stderr.write(`\r${' '.repeat(50)}\r`);
  return parts[0].map((row, i) => {
    const rows = parts.map((part) => part[i]);
    const names = Object.keys(row.times) as (keyof Row['times'])[];
    const times = names.map((name) => [name, merged(rows.map(({ times }) => times[name]!))]);
    const peaks = rows.map(({ peak }) => peak ?? 0);
    return rowOf(row, { ...row, times: Object.fromEntries(times), peak: Math.max(...peaks) || undefined });
  });
}

function part(progress: (done: number) => void): Promise<Row[]> {
  const args = [...process.execArgv, fileURLToPath(import.meta.url), ...process.argv.slice(2), '--part'];
  const { EVENKEEL_HOOKS, ...env } = process.env; // hooks for TypeScript are registered anew
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'inherit'] });
  const rows: Row[] = [];
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (text + chunk).split('\n');
    text = lines.pop()!;
    for (const one of lines) if (one.startsWith('{"op"')) progress(rows.push(JSON.parse(one)));
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) return resolve(rows);
      // it has said why, unless it was killed
      if (code === null) console.error('a process of the bench was killed');
      process.exit(code ?? 1);
    });
  });
}

function read(option: string, path: string): Run {
  let run: unknown;
  try {
    run = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    refuse(option, 'a file that --json wrote', `${path}: ${(error as Error).message}`);
  }
  const wrong = flaw(run);
  if (wrong) refuse(option, 'a file that --json wrote', `${path}: ${wrong}`);
  return run as Run;
}

/** The cases that --filter takes. With --list their names are printed, and that is all. */
function wantedOf<T extends CaseName>(all: readonly T[]): Set<T> {
  const chosen = chosenBy(options.filter, all);
  if (options.list) {
    for (const name of chosen) console.log(nameOf(name));
    process.exit(0);
  }
  return chosen;
}

if (options.loops) {
  const loops = [...wantedOf(bareLoops())];
  console.log(`${head(about())}\n`);
  await runLoops(loops, time);
  process.exit(0);
}
const groups = options.own === undefined ? caseGroups() : [await ownGroup(options.own)];
const chosen = wantedOf(groups.flatMap(({ names }) => names));
const wanted: Wanted = groups
  .map((group) => ({ group, names: group.names.filter((name) => chosen.has(name)) }))
  .filter(({ names }) => names.length > 0);
const total = chosen.size;
if (options.part) {
  await measureHere(wanted, (row) => console.log(JSON.stringify(row)));
  await close();
} else {
  // files are read, and places for others tried, before anything is measured
  const baseline = options.baseline === undefined ? undefined : read('--baseline', options.baseline);
  const given = options.results === undefined ? undefined : read('--results', options.results);
  if (baseline && !given && processes < LEAST_PROCESSES)
    refuse('--processes', `${LEAST_PROCESSES} or more with --baseline`, `${processes}`);
  for (const [option, file] of [
    ['--json', options.json],
    ['--csv', options.csvFile],
  ] as const) {
    const why = file === undefined ? undefined : obstacle(file);
    if (why) refuse(option, 'a file that can be written', `${file}: ${why}`);
  }
  await report(baseline, given);
}

async function report(baseline: Run | undefined, given: Run | undefined): Promise<void> {
  const toTerminal = !options.csv || options.csvFile !== undefined;
  const say = (text: string) => (toTerminal ? console.log(text) : console.error(text));
  const { filter, slower } = options;
  const [before] = loadavg();
  const start = given?.about ?? {
    ...about(),
    threads,
    processes,
    options: { filter, time, slower, ...(options.own !== undefined && { own: true }) },
  };
  say(`${head(start)}; medians\n\n${columns(threads, options.own !== undefined)}`);
  const rows: Row[] = given?.rows ?? [];
  const show = (row: Row) => toTerminal && console.log(line(row));
  if (given) rows.forEach(show);
  else if (processes > 1) {
    rows.push(...(await measureInProcesses(processes)));
    rows.forEach(show);
  } else {
    await measureHere(wanted, (row) => {
      rows.push(row);
      show(row);
    });
  }
  const run: Run = { about: given ? start : { ...start, load: [before, loadavg()[0]] }, rows };
  for (const text of notes(rows, run.about)) say(text);
  if (options.csv) {
    if (options.csvFile === undefined) process.stdout.write(csv(rows));
    else write(options.csvFile, csv(rows));
  }
  if (options.json) write(options.json, text(run));
  if (baseline) say(`\n${comparison(baseline, run).join('\n')}`);
  if (filter === '' && threads === 1 && options.own === undefined && !given) say(`\n${keep('own', run)}`);
  await close();
}

/** A line for each case; figures with five digits. */
function text({ about, rows }: Run): string {
  const short = (_: string, value: unknown) =>
    typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value;
  const lines = rows.map((row) => JSON.stringify(row, short));
  return `{"about":${JSON.stringify(about, short)},"rows":[\n${lines.join(',\n')}\n]}\n`;
}
