// npm run lab -- NAME … [--list] [--all] [--quick] [--json] [--seed N] [--check]
// npm run lab -- --serve [--port N], --build FOLDER
//
// Runs experiments about batch norm on real digits: the question, what is done, the figures, and a
// verdict that is worked out of them.

import type { AddressInfo } from 'node:net';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { info } from 'evenkeel';
import { loadDigits } from '../digits/data.ts';
import { Progress } from '../digits/progress.ts';
import type { Experiment, Result } from './experiment.ts';
import { EXPERIMENTS } from './experiments.ts';
import { buildSite, serve } from './page/site.ts';
import { draw, tabulate } from './terminal.ts';

function refuse(expected: string, got: string): never {
  console.error(`lab expected ${expected}, got ${got}`);
  process.exit(2);
}

const NAMES = EXPERIMENTS.map(({ name }) => name).join(', ');

function read() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        list: { type: 'boolean', default: false },
        all: { type: 'boolean', default: false },
        quick: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        check: { type: 'boolean', default: false },
        serve: { type: 'boolean', default: false },
        build: { type: 'string' },
        port: { type: 'string', default: '8080' },
        seed: { type: 'string' },
      },
    });
  } catch (error) {
    refuse('NAME, --list, --all, --quick, --json, --seed N or --check', (error as Error).message);
  }
}
const { values: options, positionals } = read();

if (options.list) {
  for (const { name, title, question } of EXPERIMENTS) console.log(`${name.padEnd(16)} ${title}: ${question}`);
  process.exit(0);
}
const isPage = options.serve || options.build !== undefined;
const chosen = options.all || isPage ? EXPERIMENTS : positionals.map(byName);
if (chosen.length === 0) refuse(`the name of an experiment (${NAMES}), --all or --list`, 'none');
if (!/^\d{1,5}$/.test(options.port)) refuse('--port with a number', options.port);
if (options.seed !== undefined && !(Number.isInteger(Number(options.seed)) && Number(options.seed) >= 0)) {
  refuse('--seed with an integer of 0 or more', options.seed);
}

function byName(name: string): Experiment {
  return EXPERIMENTS.find((one) => one.name === name) ?? refuse(`one of ${NAMES}`, `'${name}'`);
}

/** Seeds that nothing was tuned with. */
const UNSEEN = [101, 102, 103, 104, 105];
const digits = loadDigits();
const share = options.quick || isPage ? 0.25 : 1;
const progress = new Progress();
const results: Record<string, Result> = {};
let failed = false;

async function run(experiment: Experiment, seeds: readonly number[], at: number): Promise<Result> {
  const result = await experiment.run({
    digits,
    seeds,
    share,
    controls: {},
    async show(text, done = 0) {
      progress.show(`${experiment.name}: ${text}`, (at + done) / chosen.length);
    },
  });
  progress.clear();
  return result;
}

for (const [at, experiment] of chosen.entries()) {
  if (options.check) {
    const held: string[] = [];
    for (const seed of UNSEEN)
      held.push(`${seed} ${(await run(experiment, [seed], at)).holds ? 'holds' : 'does not hold'}`);
    const many = held.filter((text) => !text.includes('not')).length;
    if (many < 4) failed = true;
    console.log(`${experiment.name.padEnd(16)} ${many} of ${UNSEEN.length}: ${held.join(', ')}`);
    continue;
  }
  const seeds = options.seed === undefined ? (options.quick || isPage ? [1] : [1, 2, 3]) : [Number(options.seed)];
  const start = performance.now();
  const result = await run(experiment, seeds, at);
  results[experiment.name] = result;
  if (options.json || isPage) continue;
  console.log(`\n${experiment.title} (${experiment.name})\n${experiment.question}\n${experiment.setup}`);
  for (const table of result.tables ?? []) console.log(`\n${tabulate(table)}`);
  for (const figure of result.figures) console.log(`\n${draw(figure)}`);
  console.log(
    `\n${result.holds ? 'Holds.' : 'Does not hold here.'} ${result.verdict} (${((performance.now() - start) / 1000).toFixed(1)} s)`,
  );
}
if (isPage) {
  const folder = options.build ?? fileURLToPath(new URL('../../report/lab/', import.meta.url));
  const about = `${process.version}, one seed, a quarter of the steps, ${new Date().toISOString().slice(0, 10)}`;
  await buildSite(folder, digits, EXPERIMENTS, results, about);
  console.log(`${relative(process.cwd(), folder)}: a folder that any host can serve`);
  if (options.serve) {
    const server = await serve(folder, Number(options.port));
    console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  }
}
if (options.json) {
  const about = {
    backend: info().backend,
    node: process.version,
    quick: options.quick,
    date: new Date().toISOString().slice(0, 10),
  };
  console.log(JSON.stringify({ about, results }, null, 2));
}
process.exitCode = failed ? 1 : 0;
