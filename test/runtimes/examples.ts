// The functions of examples/serverless as they are deployed: the same digits, the same answers on
// each host.

import { cpSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';
import { loadDigits } from '../../examples/digits/data.ts';
import { PIXELS } from '../../examples/digits/digits.ts';
import type { Example } from './host.ts';
import { sh } from './host.ts';
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

export const examples: Example[] = [
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
