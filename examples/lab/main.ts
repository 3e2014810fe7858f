// npm run lab: runs experiments about batch norm on real digits (the question, what is done, the
// figures, and a verdict that is worked out of them), or builds their page.

import type { AddressInfo } from 'node:net';
import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { info } from 'evenkeel';
import { loadDigits } from '../digits/data.ts';
import { Progress } from '../digits/progress.ts';
import type { Experiment, Result } from './experiment.ts';
import { EXPERIMENTS } from './experiments.ts';
import { here, keep } from './kept.ts';
import { draw, tabulate } from './terminal.ts';
import { afterCheck, ENOUGH, judged, UNSEEN } from './verdict.ts';
import { LANGUAGES, say, spoken } from './words.ts';

function refuse(expected: string, got: string): never {
  console.error(`lab expected ${expected}, got ${got}`);
  process.exit(2);
}

const HELP = `npm run lab -- NAME … [OPTIONS]   runs experiments in the terminal
npm run lab -- --serve           their page, at http://127.0.0.1:8080/

  --list             names and questions of the experiments
  --all              every experiment
  --quick            a quarter of the steps, one seed
  --seed N           that seed alone (1, 2 and 3)
  --json             figures as JSON
  --lang en|zh       English or Chinese (en)
  --check            runs them with five seeds that nothing was tuned with
  --keep             the same, and keeps the results that the page shows
  --serve            serves the page
  --port N           at another port (8080)
  --build FOLDER     writes the page into a folder that any host can serve
  --help             prints this`;

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
        keep: { type: 'boolean', default: false },
        serve: { type: 'boolean', default: false },
        build: { type: 'string' },
        port: { type: 'string', default: '8080' },
        seed: { type: 'string' },
        lang: { type: 'string', default: 'en' },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    refuse('NAME or an option that --help lists', (error as Error).message);
  }
}
// a pipe whose reader has ended (| head) is no error
process.stdout.on('error', () => process.exit(0));
const { values: options, positionals } = read();
if (options.help) {
  console.log(HELP);
  process.exit(0);
}
const language =
  LANGUAGES.find((one) => one === options.lang) ?? refuse(`--lang with ${LANGUAGES.join(' or ')}`, options.lang);
if (!(/^\d{1,5}$/.test(options.port) && Number(options.port) < 65_536)) {
  refuse('--port with a number from 0 to 65535', options.port);
}
if (
  options.seed !== undefined &&
  !(options.seed !== '' && Number.isInteger(Number(options.seed)) && Number(options.seed) >= 0)
) {
  refuse('--seed with an integer of 0 or more', options.seed);
}

if (options.list) {
  for (const { name, title, question } of EXPERIMENTS) {
    console.log(`${name.padEnd(16)} ${say(title, language)}: ${say(question, language)}`);
  }
} else if (options.serve || options.build !== undefined) await showPage();
else {
  const chosen = options.all ? EXPERIMENTS : positionals.map(byName);
  if (chosen.length === 0) refuse(`the name of an experiment (${NAMES}), --all or --list`, 'none');
  await runAll(chosen);
}

function byName(name: string): Experiment {
  return EXPERIMENTS.find((one) => one.name === name) ?? refuse(`one of ${NAMES}`, `'${name}'`);
}

/** The page stands at once, with kept results; everything else runs in it. */
async function showPage(): Promise<void> {
  const { buildSite, fileOf, serve } = await import('./page/site.ts');
  const folder = options.build ?? fileURLToPath(new URL('../../report/lab/', import.meta.url));
  await buildSite(folder, loadDigits, EXPERIMENTS);
  console.log(`${relative(process.cwd(), folder)}: a folder that any host can serve`);
  if (!options.serve) return;
  const server = await serve(folder, Number(options.port)).catch((error: NodeJS.ErrnoException) =>
    error.code === 'EADDRINUSE' ? refuse('--port with a free port', options.port) : Promise.reject(error),
  );
  const page = language === 'en' ? '' : fileOf(language);
  console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}/${page}`);
}

async function runAll(chosen: readonly Experiment[]): Promise<void> {
  const digits = loadDigits();
  const progress = new Progress();
  const results: Record<string, Result<string>> = {};
  const all = options.seed === undefined ? (options.quick ? [1] : [1, 2, 3]) : [Number(options.seed)];

  async function run(experiment: Experiment, seeds: readonly number[], at: number): Promise<Result> {
    const result = await experiment.run({
      digits,
      seeds,
      share: options.quick ? 0.25 : 1,
      controls: {},
      async show(text, done = 0) {
        progress.show(`${experiment.name}: ${say(text, language)}`, (at + done) / chosen.length);
      },
    });
    progress.clear();
    return result;
  }

  /** Each of the seeds that nothing was tuned with, alone. */
  async function checked(experiment: Experiment, at: number): Promise<(boolean | undefined)[]> {
    const found: (boolean | undefined)[] = [];
    for (const seed of UNSEEN) found.push((await run(experiment, [seed], at)).holds);
    return found;
  }

  for (const [at, experiment] of chosen.entries()) {
    const start = performance.now();
    const took = () => `${((performance.now() - start) / 1000).toFixed(1)} s`;
    if (options.check || options.keep) {
      const found = await checked(experiment, at);
      const held = found.filter(Boolean).length;
      const each = UNSEEN.map((seed, i) => `${seed} ${say(judged(found[i]), language)}`).join(' ');
      const isTimed = found.every((one) => one === undefined);
      const verdict = isTimed ? 'figures' : held >= ENOUGH ? 'holds' : 'not seen';
      console.log(`${experiment.name.padEnd(16)} ${held} of ${UNSEEN.length}, ${verdict}: ${each} (${took()})`);
      if (!options.keep) continue;
      const result = await run(experiment, all, at);
      keep(experiment.name, {
        about: { ...here(), seeds: all, check: { held, of: UNSEEN.length } },
        result: { ...result, holds: afterCheck(result.holds, held) },
      });
      console.log(
        `${' '.repeat(16)} ${say(judged(afterCheck(result.holds, held)), language)} ${say(result.verdict, language)}`,
      );
      continue;
    }
    const result = spoken(await run(experiment, all, at), language);
    results[experiment.name] = result;
    if (options.json) continue;
    console.log(
      `\n${say(experiment.title, language)} (${experiment.name})\n${say(experiment.question, language)}\n${result.setup}`,
    );
    for (const table of result.tables ?? []) console.log(`\n${tabulate(table)}`);
    for (const figure of result.figures) console.log(`\n${draw(figure)}`);
    console.log(
      `\n${say(experiment.claim, language)} ${say(judged(result.holds), language)} ${result.verdict} (${took()})`,
    );
  }
  if (options.json) {
    const about = {
      backend: info().backend,
      node: process.version,
      quick: options.quick,
      seeds: all,
      date: new Date().toISOString().slice(0, 10),
    };
    console.log(JSON.stringify({ about, results }, null, 2));
  }
}
