// npm run bench [-- OPTIONS]: options.ts says which, or --help.
//
// Every case is checked against the plain loops before it is timed. Times are medians; ratios are
// within one run, since the machine and what else it is doing differ from run to run.

import { readFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { type CaseName, caseGroups } from './cases.ts';
import { comparison, flaw, LEAST_PROCESSES, type Run } from './compare.ts';
import { nameOf, type Row } from './figures.ts';
import { bareLoops, runLoops } from './loops.ts';
import { readOptions, refuse } from './options.ts';
import { ownGroup } from './own.ts';
import { bundled, measure, packed, unpacked } from './processes.ts';
import { about, keep, obstacle, write } from './results.ts';
import { chosenBy } from './select.ts';
import { columns, csv, head, line, notes } from './text.ts';

const options = readOptions();
const { threads, time, processes } = options;

/** A run that --json wrote, with its program as text. */
function read(option: string, path: string): Run {
  let run: unknown;
  try {
    run = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    refuse(option, 'a file that --json wrote', `${path}: ${(error as Error).message}`);
  }
  const wrong = flaw(run);
  if (wrong) refuse(option, 'a file that --json wrote', `${path}: ${wrong}`);
  const { program, ...rest } = run as Run;
  try {
    return { ...rest, ...(program !== undefined && { program: unpacked(program) }) };
  } catch (error) {
    return refuse(option, 'a file that --json wrote', `${path}: its program: ${(error as Error).message}`);
  }
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
const chosen = [...wantedOf(groups.flatMap(({ names }) => names))].map(nameOf);
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

async function report(baseline: Run | undefined, given: Run | undefined): Promise<void> {
  const toTerminal = !options.csv || options.csvFile !== undefined;
  const say = (text: string) => (toTerminal ? console.log(text) : console.error(text));
  const { filter, slower } = options;
  const [load] = loadavg();
  const start = given?.about ?? {
    ...about(),
    threads,
    processes,
    options: { filter, time, slower, ...(options.own !== undefined && { own: true }) },
  };
  say(`${head(start)}; medians\n\n${columns(threads, options.own !== undefined)}`);
  const program = given ? '' : await bundled();
  // workers of two programs would take each other's processors
  const earlier = given || threads > 1 ? undefined : baseline?.program;
  const rows: Row[] = given?.rows ?? [];
  const show = (row: Row) => toTerminal && console.log(line(row));
  if (given) rows.forEach(show);
  else {
    const take = (row: Row) => {
      clear();
      rows.push(row);
      show(row);
    };
    const order = { names: chosen, time, processes, threads, slower, own: options.own };
    await measure(order, program, earlier, take, progress);
  }
  const run: Run = {
    about: given ? start : { ...start, load: [load, loadavg()[0]] },
    rows,
    // of what was not measured there is no program
    ...(!given && { program }),
  };
  for (const text of notes(rows, run.about)) say(text);
  if (options.csv) {
    if (options.csvFile === undefined) process.stdout.write(csv(rows));
    else write(options.csvFile, csv(rows));
  }
  if (options.json) write(options.json, text(run));
  if (baseline) say(`\n${comparison(baseline, run, earlier !== undefined).join('\n')}`);
  if (filter === '' && threads === 1 && options.own === undefined && !given)
    say(`\n${keep('own', { about: run.about, rows })}`);
}

/** How far the processes are, in one line of the terminal; rows come at the end. */
function progress(at: number, done: number): void {
  if (process.stderr.isTTY)
    process.stderr.write(`\rprocess ${at + 1} of ${processes}, case ${done} of ${chosen.length} `);
}

function clear(): void {
  if (processes > 1 && process.stderr.isTTY) process.stderr.write(`\r${' '.repeat(50)}\r`);
}

/** A line for each case; figures with five digits. */
function text({ about, rows, program }: Run): string {
  const short = (_: string, value: unknown) =>
    typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value;
  const lines = rows.map((row) => JSON.stringify(row, short));
  const kept = program === undefined ? '' : `,"program":"${packed(program)}"`;
  return `{"about":${JSON.stringify(about, short)},"rows":[\n${lines.join(',\n')}\n]${kept}}\n`;
}
