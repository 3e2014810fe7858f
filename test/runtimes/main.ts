// Runs the probe on every host that is to be had here, and prints the table. `--all` takes the
// heavy ones too, and writes the table into the README; `--only TEXT` those whose name holds it;
// `--json FILE` the outcomes. What cannot be tried is skipped, with the reason.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { browsers } from './browsers.ts';
import { buns } from './bun.ts';
import { bundlers } from './bundlers.ts';
import { commonjs } from './commonjs.ts';
import { deno } from './deno.ts';
import { examples } from './examples.ts';
import { type Example, type Host, judge, type Outcome, Skipped } from './host.ts';
import { installPackage, root, work } from './install.ts';
import { lab } from './lab.ts';
import { labLooks } from './lab-looks.ts';
import { next } from './next.ts';
import { expectedAnswer, nodes } from './node.ts';
import { pictures } from './pictures.ts';
import { pools } from './pools.ts';
import { workers } from './workerd.ts';

const { values } = parseArgs({
  options: { all: { type: 'boolean', default: false }, only: { type: 'string' }, json: { type: 'string' } },
});

const all = [nodes, deno, buns, workers, next, browsers, bundlers, commonjs, pools, examples, pictures, lab, labLooks];
const hosts = all
  .flat<(Host | Example)[][]>()
  .filter(({ name, heavy }) =>
    values.only ? name.toLowerCase().includes(values.only.toLowerCase()) : values.all || !heavy,
  );

mkdirSync(`${work}bundles`, { recursive: true });
installPackage();
const expected = await expectedAnswer();
if (expected.fixed.backend !== 'simd') throw new Error(`the reference ran on ${expected.fixed.backend}`);

/**
 * Programs that start servers and browsers fail now and then for reasons of the machine: a second
 * failure counts.
 */
async function outcomeOf(host: Host | Example): Promise<Outcome> {
  const outcome = await attempt(host);
  return outcome.state === 'failed' ? attempt(host) : outcome;
}

async function attempt(host: Host | Example): Promise<Outcome> {
  const start = performance.now();
  let state: Outcome['state'] = 'passed';
  let backend = '';
  let note = '';
  try {
    const answer = await host.run();
    if (typeof answer === 'string') [backend, note] = [answer, "Node's answers"];
    else {
      backend = answer.best.backend;
      const wrong = judge(answer, expected, host as Host);
      if (wrong) [state, note] = ['failed', wrong];
      else if (backend === 'js') note = answer.best.reason;
      else note = backend === 'relaxed' ? 'fixed build: same bits' : 'same bits';
    }
  } catch (error) {
    state = error instanceof Skipped ? 'skipped' : 'failed';
    note = (error as Error).message;
  }
  const outcome = { name: host.name, state, backend, note, seconds: (performance.now() - start) / 1000 };
  const mark = { passed: '✓', failed: '✗', skipped: '–' }[state];
  console.log(
    `${mark} ${host.name.padEnd(40)} ${backend.padEnd(8)} ${outcome.seconds.toFixed(1).padStart(6)} s  ${note}`,
  );
  return outcome;
}

const outcomes: Outcome[] = [];
for (const host of hosts) outcomes.push(await outcomeOf(host));
const count = (state: Outcome['state']) => outcomes.filter((outcome) => outcome.state === state).length;
console.log(`\n${count('passed')} passed, ${count('failed')} failed, ${count('skipped')} skipped`);
if (values.json) writeFileSync(values.json, JSON.stringify(outcomes, undefined, 1));
if (values.all && !values.only) writeTable();
process.exitCode = count('failed') ? 1 : 0;

/** The README's table, between two marks: who runs what. */
function writeTable(): void {
  const file = `${root}README.md`;
  const text = readFileSync(file, 'utf8');
  const words: Record<string, string> = {
    relaxed: 'relaxed SIMD',
    simd: 'fixed SIMD',
    js: 'plain loops',
    types: 'types alone',
  };
  const groups = new Map<string, string[]>();
  for (const { name, state, backend } of outcomes) {
    const group = state === 'passed' ? words[backend] : state;
    groups.set(group, [...(groups.get(group) ?? []), name]);
  }
  const order = [...Object.values(words), 'skipped', 'failed'].filter((group) => groups.has(group));
  const rows = order.map((group) => `| ${group} | ${groups.get(group)!.join('; ')} |`);
  const date = new Date().toISOString().slice(0, 10);
  const table = `| ${date} | |\n|---|---|\n${rows.join('\n')}\n`;
  const [open, close] = ['<!-- runtimes -->\n', '<!-- /runtimes -->'];
  const [from, to] = [text.indexOf(open), text.indexOf(close)];
  if (from < 0 || to < from) throw new Error('the README has no place for the table');
  writeFileSync(file, text.slice(0, from + open.length) + table + text.slice(to));
}
