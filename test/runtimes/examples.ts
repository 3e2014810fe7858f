// The functions of examples/serverless as they are deployed: the same digits, the same answers on
// each host.

import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { loadDigits } from '../../examples/digits/data.ts';
import { PIXELS } from '../../examples/digits/digits.ts';
import { compileFor } from '../../examples/direction/functions/bundle.ts';
import { type Model, openDirection, packaged, SMALL } from '../../examples/direction/model.ts';
import type { Direction, Picture } from '../../examples/direction/pixels.ts';
import { digitAt, pictureOf } from '../../examples/direction/turned.ts';
import { type Example, Skipped, sh } from './host.ts';
import { app, packages, root, work } from './install.ts';
import { invoke } from './lambda.ts';
import { serving, wranglerBundle } from './workerd.ts';

const COUNT = 20;
const folder = `${work}serverless/`;

interface Classified {
  digit: number;
  probabilities: number[];
  backend: string;
}

const { test: digits } = loadDigits();
const images = Array.from({ length: COUNT }, (_, i) =>
  Uint8Array.from(digits.images.subarray(i * PIXELS, (i + 1) * PIXELS), (value) => Math.round(value * 255)),
);

/** The examples beside an installed package, as in a project of their own. */
function copy(): void {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  cpSync(`${root}examples/serverless`, folder, { recursive: true });
  cpSync(`${app}node_modules`, `${folder}node_modules`, { recursive: true });
}

/** Judges a host's answers by those of Node here; returns the backend. */
async function judged(answers: readonly Classified[], backend = 'relaxed'): Promise<string> {
  const { classify } = await import(pathToFileURL(`${folder}shared/classify.js`).href);
  let right = 0;
  images.forEach((image, i) => {
    const expected: Classified = classify(image);
    const { digit, probabilities } = answers[i];
    if (digit !== expected.digit) throw new Error(`image ${i}: ${digit}, expected ${expected.digit}`);
    const worst = Math.max(...probabilities.map((value, k) => Math.abs(value - expected.probabilities[k])));
    if (!(worst < 1e-5)) throw new Error(`image ${i}: probabilities differ by ${worst}`);
    if (digit === digits.labels[i]) right++;
  });
  if (right < COUNT * 0.8) throw new Error(`${right} of ${COUNT} digits right`);
  if (answers[0].backend !== backend) throw new Error(`backend ${answers[0].backend}, expected ${backend}`);
  return backend;
}

const ask = async (send: (body: Uint8Array<ArrayBuffer>) => Promise<Response>, backend?: string) => {
  const answers: Classified[] = [];
  for (const image of images) answers.push((await (await send(image)).json()) as Classified);
  const short = await send(new Uint8Array(3));
  if (short.status !== 400) throw new Error(`3 bytes: status ${short.status}`);
  return judged(answers, backend);
};

/** The most that Cloudflare takes of a Worker on its free plan, gzip. */
const WORKER_LIMIT = 3_000_000;

/** A network of examples/direction as a Worker: what wrangler uploads, and what workerd answers. */
async function direction(model: Model, pictures: readonly Picture[]): Promise<string> {
  const { direction: expectedOf } = await openDirection(model);
  await compileFor(model);
  const to = `${work}direction/`;
  rmSync(to, { recursive: true, force: true });
  cpSync(`${root}examples/direction/functions`, `${to}functions`, { recursive: true });
  cpSync(`${root}examples/direction/pixels.ts`, `${to}pixels.ts`);
  cpSync(`${app}node_modules`, `${to}node_modules`, { recursive: true });
  // a project of its own, in which `evenkeel` is the package and not the project around it
  writeFileSync(`${to}package.json`, '{ "type": "module", "private": true }');
  const out = `${to}out/`;
  await wranglerBundle(`${to}functions`, 'wrangler.json', out);
  const uploaded = readdirSync(out).filter((name) => !/\.(?:map|md)$/.test(name));
  const size = uploaded.reduce((sum, name) => sum + gzipSync(readFileSync(out + name)).length, 0);
  if (!(size <= WORKER_LIMIT)) throw new Error(`${size} bytes of gzip, more than ${WORKER_LIMIT}`);
  return serving(out, 'worker.js', async (url) => {
    let backend = '';
    for (const { data, width, height } of pictures) {
      const body = Uint8Array.from(data);
      const response = await fetch(`${url}?width=${width}&height=${height}`, { method: 'POST', body });
      const told = (await response.json()) as { direction: Direction; backend: string };
      const expected = expectedOf({ data, width, height });
      // weights of the function have half the digits
      const isAlike = told.direction.every(
        ({ degrees, probability }, i) =>
          degrees === expected[i].degrees && Math.abs(probability - expected[i].probability) < 5e-3,
      );
      if (!isAlike) throw new Error(`${JSON.stringify(told.direction)}, expected ${JSON.stringify(expected)}`);
      backend = told.backend;
    }
    const short = await fetch(`${url}?width=3&height=2`, { method: 'POST', body: 'x' });
    if (short.status !== 400) throw new Error(`a byte: status ${short.status}`);
    if (backend !== 'relaxed') throw new Error(`backend ${backend}, expected relaxed`);
    console.log(`  ${uploaded.length} files, ${Math.round(size / 1000)} kB of gzip`);
    return backend;
  });
}

/** Something like a line of text: strokes on white. */
const line: Picture = {
  data: Uint8Array.from({ length: 4 * 150 * 40 }, (_, i) => {
    const [x, y] = [(i >> 2) % 150, Math.floor((i >> 2) / 150)];
    return i % 4 !== 3 && y > 8 && y < 32 && (x * 7 + (y >> 3) * 5) % 13 < 4 ? 20 : 255;
  }),
  width: 150,
  height: 40,
};

function directionModel(): Model {
  try {
    return packaged();
  } catch (error) {
    throw new Skipped(`npm is out of reach: ${(error as Error).message.split('\n')[0]}`);
  }
}

export const examples: Example[] = [
  {
    name: 'direction example, small (wrangler, workerd)',
    run: () =>
      direction(
        SMALL,
        [0, 1, 2, 3].map((i) => pictureOf(digitAt(digits, i, i % 2 === 1))),
      ),
  },
  {
    name: "direction example, PaddleOCR's (wrangler, workerd)",
    run: () => direction(directionModel(), [line]),
  },
  {
    name: 'Lambda example (Runtime API emulator)',
    run: async () => {
      copy();
      const { lambda } = JSON.parse(readFileSync(`${folder}package.json`, 'utf8')).scripts;
      await sh(`${root}node_modules/.bin/esbuild`, lambda.split(' ').slice(1), { cwd: folder });
      const events = [...images, new Uint8Array(3)].map((image) => ({
        body: Buffer.from(image).toString('base64'),
        isBase64Encoded: true,
      }));
      const answers = await invoke(`${folder}lambda/dist/handler.mjs`, events);
      const bodies = (answers as { statusCode: number; body: string }[]).map(({ statusCode, body }) => ({
        statusCode,
        ...JSON.parse(body),
      }));
      if (bodies[COUNT].statusCode !== 400) throw new Error(`3 bytes: status ${bodies[COUNT].statusCode}`);
      return judged(bodies, bodies[0].backend); // this process's Node, as the reference
    },
  },
  {
    name: 'Cloudflare example (wrangler, workerd)',
    run: async () => {
      copy();
      const { cloudflare } = JSON.parse(readFileSync(`${folder}package.json`, 'utf8')).scripts;
      const out = `${folder}cloudflare/out/`;
      await wranglerBundle(folder, cloudflare.split('--config ')[1], out);
      return serving(out, 'worker.js', (url) => ask((body) => fetch(url, { method: 'POST', body })));
    },
  },
  {
    name: 'Vercel example (edge-runtime)',
    run: async () => {
      copy();
      const { outputFiles } = await build({
        entryPoints: [`${folder}api/classify.js`],
        bundle: true,
        format: 'iife',
        globalName: 'edge',
        platform: 'neutral',
        conditions: ['edge-light'],
        write: false,
        logLevel: 'silent',
        // as Vercel does it: modules are compiled before the function runs, and come by name
        plugins: [
          {
            name: 'wasm-module',
            setup: ({ onResolve, onLoad }) => {
              onResolve({ filter: /\.wasm\?module$/ }, () => ({ path: 'simd.wasm', namespace: 'module' }));
              onLoad({ filter: /./, namespace: 'module' }, () => ({ contents: 'export default SIMD_WASM' }));
            },
          },
        ],
      });
      const { EdgeRuntime } = createRequire(await packages('edge-runtime', 'edge-runtime'))('edge-runtime');
      const module = new WebAssembly.Module(readFileSync(`${folder}node_modules/evenkeel/dist/wasm/simd.wasm`));
      const runtime = new EdgeRuntime({ extend: (context: object) => Object.assign(context, { SIMD_WASM: module }) });
      runtime.evaluate(
        `${outputFiles[0].text}; addEventListener('fetch', (event) => event.respondWith(edge.default(event.request)));`,
      );
      return ask((body) => runtime.dispatchFetch('http://localhost/', { method: 'POST', body }), 'simd');
    },
  },
];
