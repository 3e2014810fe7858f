// The lab as a page: a folder that any host can serve, and a server for it.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { type Digits, PIXELS } from '../../digits/digits.ts';
import { STYLE } from '../../digits/style.ts';
import type { Controls, Experiment } from '../experiment.ts';
import { type Kept, readKept } from '../kept.ts';
import { playground } from '../playground.ts';
import { judged } from '../verdict.ts';
import { say, spoken } from '../words.ts';
import { CHOICES, isNumber, NUMBERS, rangeOf } from './inputs.ts';
import { markup, rendered } from './render.ts';

/** Digits that the page brings along. */
const TRAINED = 3000;
const HELD = 1000;

const OWN = `
.stand { border-top: 1px solid var(--line); padding-top: .4rem; } .verdict { font-weight: 600; } nav ul { columns: 15rem; padding-left: 1.2rem; }
form { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: end; margin: .8rem 0; } label { font-size: .9rem; display: grid; gap: .15rem; }
input, select, button { font: inherit; color: inherit; background: var(--paper); border: 1px solid var(--soft); border-radius: 4px; padding: .3rem .5rem; max-width: 8rem; } label small { color: var(--soft); } button { cursor: pointer; } button:disabled { opacity: .5; cursor: default; }
:focus-visible { outline: 3px solid var(--a); outline-offset: 2px; } .status { min-height: 1.5em; } .status.bad { color: var(--b); } .bar { fill: var(--b); } .dot { fill: var(--a); opacity: .55; } caption { text-align: left; font-weight: 600; padding-top: .8rem; }
`;

function control(name: keyof Controls, initial: number | string): string {
  if (isNumber(name)) {
    return `<label>${NUMBERS[name].label} <input name="${name}" inputmode="decimal" value="${initial}" autocomplete="off"><small>${rangeOf(name)}</small></label>`;
  }
  const { label, values } = CHOICES[name];
  const options = values.map((value) => `<option${value === initial ? ' selected' : ''}>${value}</option>`);
  return `<label>${label} <select name="${name}">${options.join('')}</select></label>`;
}

/** A kept result with its verdict and what it came from. */
function shown({ about, result }: Kept): string {
  const { version, commit, node, cpu, date, seeds, check } = about;
  const spokenResult = spoken(result);
  const further = result.holds === undefined ? '' : ` Of ${check.of} further seeds it held for ${check.held}.`;
  return `<p class="verdict"><b>${say(judged(result.holds))}</b> ${markup(spokenResult.verdict)}</p>
<p class="soft">${markup(spokenResult.setup)} Seeds ${seeds.join(', ')}, medians.${further} Whole run of evenkeel ${version} (${commit}) on Node ${node}, ${markup(cpu)}, ${date}.</p>${rendered(spokenResult)}`;
}

function stand({ name, title, question, claim, controls = {} }: Experiment, kept: Kept | undefined): string {
  const inputs = Object.entries(controls).map(([key, value]) => control(key as keyof Controls, value));
  return `<section class="stand" id="${name}" data-name="${name}" aria-labelledby="${name}-title">
<h2 id="${name}-title">${say(title)}</h2><p>${say(question)} <i>${say(claim)}</i></p>
<form>${inputs.join('')}<button type="button" data-do="run" aria-describedby="${name}-title">Run</button><button type="button" data-do="pause" disabled>Pause</button><button type="button" data-do="reset">Reset</button></form>
<p class="status" data-part="status" role="status" aria-live="polite"></p>
<div class="charts" data-part="live"></div>
<div data-part="result">${kept ? shown(kept) : '<p class="soft">Not run yet: press Run.</p>'}</div>
</section>`;
}

function page(experiments: readonly Experiment[], results: Readonly<Record<string, Kept>>): string {
  const all = [playground, ...experiments];
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Batch norm, run and seen</title><link rel="icon" href="data:,"><style>${STYLE}${OWN}</style></head><body>
<h1>Batch norm, run and seen</h1>
<p>What is said of batch normalization, as experiments on real digits. What is shown at first was worked out beforehand, in whole runs; every experiment runs here as well, live, with one seed and fewer steps; each run says what was done.</p>
<p id="js" class="soft">Without JavaScript the figures are there, and nothing runs.</p>
<main>${stand(playground, undefined)}
<nav aria-label="Experiments"><ul>${all.map(({ name, title }) => `<li><a href="#${name}">${say(title)}</a></li>`).join('')}</ul></nav>
${experiments.map((experiment) => stand(experiment, results[experiment.name])).join('\n')}</main>
<script type="module" src="page.js"></script></body></html>
`;
}

/** Labels, then images a byte a pixel; in front how many to train on and how many are held out. */
function packed({ train, test }: { train: Digits; test: Digits }): Uint8Array {
  const bytes = new Uint8Array(8 + (TRAINED + HELD) * (PIXELS + 1));
  new Uint32Array(bytes.buffer, 0, 2).set([TRAINED, HELD]);
  let at = 8;
  for (const [{ images, labels }, count] of [
    [train, TRAINED],
    [test, HELD],
  ] as const) {
    bytes.set(labels.subarray(0, count), at);
    at += count;
    for (let i = 0; i < count * PIXELS; i++) bytes[at + i] = Math.round(images[i] * 255);
    at += count * PIXELS;
  }
  return bytes;
}

/** Writes the page and what it needs to a folder. */
export async function buildSite(
  folder: string,
  digits: () => { train: Digits; test: Digits },
  experiments: readonly Experiment[],
): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
  const bundled = build({
    entryPoints: [here('page.ts'), here('worker.ts')],
    outdir: folder,
    bundle: true,
    minify: true,
    keepNames: true,
    format: 'esm',
    target: 'es2022',
    logLevel: 'error',
  });
  const kept = readKept(experiments.map(({ name }) => name));
  writeFileSync(join(folder, 'index.html'), page(experiments, kept));
  writeFileSync(join(folder, 'digits.bin'), packed(digits()));
  await bundled;
}

const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.bin': 'application/octet-stream',
};

/** Serves a folder, and nothing beside it. */
export function serve(folder: string, port: number): Promise<Server> {
  const server = createServer((request, response) => {
    try {
      const { pathname } = new URL(request.url ?? '/', 'http://here');
      const path = normalize(pathname === '/' ? '/index.html' : decodeURIComponent(pathname));
      const type = TYPES[extname(path)];
      if (!type) throw new Error('no such file');
      const body = readFileSync(join(folder, path));
      response.writeHead(200, { 'content-type': type }).end(body);
    } catch {
      response.writeHead(404).end('not found');
    }
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}
