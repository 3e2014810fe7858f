// The lab as a page: a folder that any host can serve, and a server for it.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { type Digits, PIXELS } from '../../digits/digits.ts';
import { DEFAULTS, sceneBefore, sentenceOf } from '../duel.ts';
import type { Controls, Experiment } from '../experiment.ts';
import { type Kept, readKept } from '../kept.ts';
import { playground } from '../playground.ts';
import { say as inWords, LANGUAGES, type Language, listed, type Text, t, type Value } from '../words.ts';
import { markup, type Say } from './chart.ts';
import { aboutOf, CHOICES, isNumber, labelOf } from './inputs.ts';
import { linkOf } from './link.ts';
import { badge, picture, rendered } from './render.ts';
import { drawn } from './scene.ts';
import { STYLE } from './style.ts';

/** Digits that the page brings along. */
const TRAINED = 3000;
const HELD = 1000;

/** What a link to the page in another language says, in that language. */
const NAMES: Record<Language, string> = { en: 'English', zh: '中文' };
export const fileOf = (language: Language): string => (language === 'en' ? 'index.html' : `${language}.html`);

/** Settings of the duel that are worth a look. */
const PRESETS: readonly (readonly [label: Text, settings: Partial<Controls>])[] = [
  [t`defaults`, {}],
  [t`deep net`, { depth: 8 }],
  [t`large initial weights`, { scale: 20 }],
  [t`high learning rate`, { rate: 30 }],
  [t`batches of two, one layer`, { batch: 2, depth: 1, rate: 0.1 }],
];

/** An input with its label, and what may be entered. */
function field(place: string, controls: Partial<Controls>, name: keyof Controls, say: Say): string {
  const [id, initial] = [`${place}-${name}`, controls[name]!];
  const label = `<label for="${id}">${markup(say(labelOf(name)))}</label>`;
  if (isNumber(name)) {
    const about = say(aboutOf(name, Number(initial), 'norm' in controls));
    return `<div class="field">${label}<input id="${id}" name="${name}" inputmode="decimal" value="${initial}" autocomplete="off" aria-describedby="${id}-about"><small id="${id}-about">${markup(about)}</small></div>`;
  }
  const options = Object.entries(CHOICES[name].values).map(
    ([value, words]) =>
      `<option value="${value}"${value === initial ? ' selected' : ''}>${markup(say(words))}</option>`,
  );
  return `<div class="field">${label}<select id="${id}" name="${name}">${options.join('')}</select></div>`;
}

const fields = (place: string, controls: Partial<Controls>, say: Say) =>
  Object.keys(controls)
    .map((name) => field(place, controls, name as keyof Controls, say))
    .join('');

/** Two nets at once; they begin by themselves. */
function duel(say: Say): string {
  const before = sceneBefore(DEFAULTS);
  const word = (text: Value) => markup(say(text));
  const presets = PRESETS.map(
    ([label, settings]) =>
      `<button type="button" data-set="${markup(JSON.stringify(settings))}">${word(label)}</button>`,
  );
  return `<section id="duel" aria-label="${word(t`Two nets at once`)}">
<p class="soft intro">${word(t`Two nets learn to read handwritten digits, here and now. They differ in batch norm alone.`)}</p>
<p class="sentence" data-part="sentence">${word(sentenceOf(before))}</p><p class="off" role="status" data-part="said"></p>
<form>${fields('duel', DEFAULTS, say)}<div class="row wide"><button type="submit" data-do="run">${word(t`Train again`)}</button><button type="button" data-do="pause" disabled>${word(t`Pause`)}</button><span>${word(t`Try:`)}</span>${presets.join('')}<a data-part="link" href="${linkOf('duel', DEFAULTS)}">${word(t`Link to these settings`)}</a></div></form>
<p data-part="status" class="status" role="alert"></p>
<div class="scene" data-part="scene">${drawn(before, say)}</div>
<p class="soft">${word(t`784 pixels, hidden layers of 64 sigmoid units, 10 classes; gradient descent with a steady learning rate. Both nets begin with the same weights and see the same batches.`)}</p>
</section>`;
}

/** A kept result with its verdict and what it came from. */
function shown({ about, result }: Kept, say: Say): string {
  const { version, commit, node, cpu, date, seeds, check } = about;
  const further = result.holds === undefined ? '' : say(t` Of ${check.of} further seeds it held for ${check.held}.`);
  const origin = say(
    t`Seeds ${listed(seeds)}, medians.${further} Whole run of evenkeel ${version} (${commit}) on Node ${node}, ${cpu}, ${date}.`,
  );
  return `<p class="verdict">${markup(badge(result.holds, say).text)} ${markup(say(result.verdict))}</p>
<p class="soft">${markup(say(result.setup))} ${markup(origin)}</p>${rendered({ result, controls: {} }, undefined, say)}`;
}

/** A net, for the card that has no result yet. */
function net(): string {
  const layers = [4, 5, 5, 3].map((many, i) =>
    Array.from({ length: many }, (_, k) => [10 + i * 26.7, (100 * (k + 1)) / (many + 1)] as const),
  );
  const lines = layers
    .slice(1)
    .flatMap((layer, i) => layer.flatMap(([x, y]) => layers[i].map(([u, v]) => `M${u},${v}L${x},${y}`)));
  const dots = layers.flat().map(([x, y]) => `M${x},${y}h0`);
  return `<svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true"><path class="grid" d="${lines.join('')}"/><path class="dot a" d="${dots.join('')}"/></svg>`;
}

/** An experiment: picture, question and verdict; opened, how it was tried, and a form to try it. */
function card({ name, title, question, claim, controls = {} }: Experiment, kept: Kept | undefined, say: Say): string {
  const word = (text: Value) => markup(say(text));
  const { kind, text } = kept ? badge(kept.result.holds, say) : { kind: '', text: say(t`Not run yet.`) };
  const inputs = fields(name, controls, say);
  return `<details class="card" id="${name}" data-name="${name}">
<summary><span class="picture" data-part="picture">${kept ? picture(kept.result) : net()}</span><h3>${word(title)}</h3><span class="question">${word(question)}</span><span>${word(claim)}</span><span class="badge ${kind}" data-part="badge"><b>${markup(text)}</b></span></summary>
<div class="body"><form>${inputs}<div class="row wide"><button type="submit" data-do="run" aria-label="${word(t`Run: ${title}`)}">${word(t`Run`)}</button><button type="button" data-do="pause" disabled>${word(t`Pause`)}</button><button type="button" data-do="reset">${word(t`Reset`)}</button><label><input type="checkbox" data-part="compare" checked> ${word(t`draw the run before, if its settings differ`)}</label><a data-part="link" href="${linkOf(name, controls)}">${word(t`Link to these settings`)}</a></div></form>
<p class="status" data-part="status" role="status"></p>
<div data-part="result">${kept ? shown(kept, say) : ''}</div>
<div class="charts" data-part="live"></div></div></details>`;
}

/** The page in one language. */
function page(language: Language, experiments: readonly Experiment[], results: Readonly<Record<string, Kept>>): string {
  const say = (text: Value) => inWords(text, language);
  const word = (text: Value) => markup(say(text));
  const others = LANGUAGES.filter((one) => one !== language).map(
    (one) => `<a href="${fileOf(one)}" hreflang="${one}" lang="${one}">${NAMES[one]}</a>`,
  );
  return `<!doctype html>
<html lang="${language}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${word(t`Batch norm, run and seen`)}</title><link rel="icon" href="data:,"><style>${STYLE}</style></head><body>
<header><h1>${word(t`Batch norm, run and seen`)}</h1><p>${others.join(' ')}</p></header>
<main><p id="notice" role="alert"></p><noscript><p class="bad">${word(t`Without JavaScript the results below can be read, and nothing runs.`)}</p></noscript>
${duel(say)}
<h2>${word(t`Experiments`)}</h2>
<p>${word(t`What is said of batch normalization, tried on real digits. Each card opens in place. Its result was worked out beforehand, in whole runs; each experiment also runs here, with one seed, fewer digits and mostly fewer steps, and says what was done.`)}</p>
<div class="cards">${experiments.map((experiment) => card(experiment, results[experiment.name], say)).join('\n')}
${card(playground, undefined, say)}</div></main>
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
  for (const language of LANGUAGES) writeFileSync(join(folder, fileOf(language)), page(language, experiments, kept));
  writeFileSync(join(folder, 'digits.bin'), packed(digits()));
  await bundled;
}

const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.bin': 'application/octet-stream',
};

/** The page in the language that a browser likes best, of those that there are. */
function pageFor(accepted = ''): string {
  const liked = accepted.split(',').map((one) => one.trim().slice(0, 2).toLowerCase());
  const found = liked.flatMap((one) => LANGUAGES.filter((language) => language === one));
  return fileOf(found[0] ?? 'en');
}

/** Serves a folder, and nothing beside it. */
export function serve(folder: string, port: number): Promise<Server> {
  const server = createServer((request, response) => {
    try {
      const { pathname } = new URL(request.url ?? '/', 'http://here');
      const asked = pathname === '/' ? `/${pageFor(request.headers['accept-language'])}` : decodeURIComponent(pathname);
      const path = normalize(asked);
      const type = TYPES[extname(path)];
      if (!type) throw new Error('no such file');
      const body = readFileSync(join(folder, path));
      response.writeHead(200, { 'content-type': type, vary: 'accept-language' }).end(body);
    } catch {
      response.writeHead(404).end('not found');
    }
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => resolve(server));
  });
}
