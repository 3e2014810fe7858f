// The lab as a page: a folder that any host can serve, and a server for it.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { type Digits, PIXELS } from '../../digits/digits.ts';
import { STYLE } from '../../digits/style.ts';
import type { Controls, Experiment, Result } from '../experiment.ts';
import { playground } from '../playground.ts';
import { rendered } from './render.ts';

/** Digits that the page brings along. */
const TRAINED = 3000;
const HELD = 1000;

const OWN = `
.stand { border-top: 1px solid var(--line); padding-top: .4rem; } .verdict { font-weight: 600; } nav ul { columns: 15rem; padding-left: 1.2rem; }
form { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: end; margin: .8rem 0; } label { font-size: .9rem; display: grid; gap: .15rem; }
input, select, button { font: inherit; color: inherit; background: var(--paper); border: 1px solid var(--soft); border-radius: 4px; padding: .3rem .5rem; max-width: 8rem; } button { cursor: pointer; } button:disabled { opacity: .5; cursor: default; }
:focus-visible { outline: 3px solid var(--a); outline-offset: 2px; } .status { min-height: 1.5em; } .status.bad { color: var(--b); } .dot { fill: var(--a); opacity: .55; } caption { text-align: left; font-weight: 600; padding-top: .8rem; }
`;

const LABELS: Record<keyof Controls, string> = {
  scale: 'initial scale',
  rate: 'learning rate',
  batch: 'batch size',
  norm: 'norm',
  activation: 'activation',
  depth: 'hidden layers',
};
const CHOICES = { norm: ['batch', 'none', 'renorm', 'layer', 'group'], activation: ['tanh', 'sigmoid', 'relu'] };

function control(name: keyof Controls): string {
  const field =
    name === 'norm' || name === 'activation'
      ? `<select name="${name}"><option value="">as set up</option>${CHOICES[name].map((value) => `<option>${value}</option>`).join('')}</select>`
      : `<input name="${name}" inputmode="decimal" placeholder="as set up" autocomplete="off">`;
  return `<label>${LABELS[name]} ${field}</label>`;
}

function stand({ name, title, question, setup, controls = [] }: Experiment, result: Result | undefined): string {
  const computed = result ? rendered(result) : '';
  return `<section class="stand" id="${name}" data-name="${name}" aria-labelledby="${name}-title">
<h2 id="${name}-title">${title}</h2><p>${question}</p>
${result ? `<p class="verdict">${result.verdict}</p>` : ''}
<p class="soft">${setup}</p>
<form>${controls.map(control).join('')}<button type="button" data-do="run" aria-describedby="${name}-title">Run</button><button type="button" data-do="pause" disabled>Pause</button><button type="button" data-do="reset">Reset</button></form>
<p class="status" data-part="status" role="status" aria-live="polite"></p>
<div class="charts" data-part="live"></div>
<div data-part="result">${computed}</div><template data-part="computed">${computed}</template>
</section>`;
}

function page(experiments: readonly Experiment[], results: Readonly<Record<string, Result>>, about: string): string {
  const all = [...experiments, playground];
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Batch norm, run and seen</title><link rel="icon" href="data:,"><style>${STYLE}${OWN}</style></head><body>
<h1>Batch norm, run and seen</h1>
<p>What is said of batch normalization, as experiments on real digits. What is shown was worked out in Node (${about}); every experiment runs here as well.</p>
<p id="js" class="soft">Without JavaScript the figures are there, and nothing runs.</p>
<nav aria-label="Experiments"><ul>${all.map(({ name, title }) => `<li><a href="#${name}">${title}</a></li>`).join('')}</ul></nav>
<main>${all.map((experiment) => stand(experiment, results[experiment.name])).join('\n')}</main>
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
  digits: { train: Digits; test: Digits },
  experiments: readonly Experiment[],
  results: Readonly<Record<string, Result>>,
  about: string,
): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
  await build({
    entryPoints: [here('page.ts'), here('worker.ts')],
    outdir: folder,
    bundle: true,
    minify: true,
    keepNames: true,
    format: 'esm',
    target: 'es2022',
    logLevel: 'error',
  });
  writeFileSync(join(folder, 'digits.bin'), packed(digits));
  writeFileSync(join(folder, 'index.html'), page(experiments, results, about));
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
  return new Promise((resolve) => {
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}
