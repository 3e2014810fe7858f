// evenkeel/pool over Web Workers: a page with compiled files by bytes and by URL, workers that die,
// and close, as bundlers make it, in headless browsers.

import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { answerOf, type Launched, launchChromium, launchFirefox } from './browsers.ts';
import { type Example, listening, Skipped, sh } from './host.ts';
import { app, packages, work } from './install.ts';

const source = fileURLToPath(new URL('./pool-page.mjs', import.meta.url));

/**
 * A module that does what the first value says. A Web Worker that closes itself still sends what
 * follows: without `postMessage` it is as dead as one that was killed.
 */
const HOSTILE = `const die = () => {
  globalThis.postMessage = () => {};
  self.close();
};
const run = ({ data, shape }) => {
  const [what] = data;
  if (what === 666) die();
  if (what === 777) {
    const request = new XMLHttpRequest();
    request.open('GET', '/once', false);
    request.send();
    if (request.responseText === 'die') die();
  }
  if (what === 500) setTimeout(() => { throw new Error('nobody catches it'); });
  if (what >= 1000) for (const end = performance.now() + what - 1000; performance.now() < end; );
  return { data: data.map((value) => 2 * value), shape };
};
export default Object.assign(run, {
  inputs: [{ name: 'x', shape: [null, 2] }],
  outputs: [{ name: 'output', shape: [null, 2] }],
});
`;

const TYPES: Readonly<Record<string, string>> = { html: 'text/html', js: 'text/javascript', mjs: 'text/javascript' };

/** Serves a folder, the modules and files that the page asks for, and keeps what it puts. */
async function visited(folder: string, isIsolated: boolean, launch: () => Promise<Launched>): Promise<string> {
  const files = new Map<string, Buffer>([
    ['/hostile.mjs', Buffer.from(HOSTILE)],
    ['/broken.safetensors', Buffer.from('no such thing')],
  ]);
  let asked = 0;
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url!, 'http://localhost');
    if (isIsolated) {
      response.setHeader('cross-origin-opener-policy', 'same-origin');
      response.setHeader('cross-origin-embedder-policy', 'require-corp');
    }
    if (request.method === 'PUT') {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      files.set(pathname, Buffer.concat(chunks));
      response.end();
      return;
    }
    if (pathname === '/once') {
      response.end(asked++ === 0 ? 'die' : 'live');
      return;
    }
    try {
      const body = files.get(pathname) ?? readFileSync(folder + (pathname === '/' ? 'index.html' : pathname.slice(1)));
      const kind = pathname === '/' ? 'html' : pathname.split('.').at(-1)!;
      response.setHeader('content-type', TYPES[kind] ?? 'application/octet-stream');
      response.end(body);
    } catch {
      response.statusCode = 404;
      response.end();
    }
  });
  const port = await listening(server);
  try {
    return await answerOf(await launch(), `http://127.0.0.1:${port}/`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

interface Served {
  right: boolean;
  batches: number;
  completed: number;
}

function judged(text: string, isIsolated: boolean): string {
  const line = text.split('\n').find((some) => some.startsWith('{'));
  if (!line || /^error/m.test(text)) throw new Error(`the page said: ${text.slice(0, 800)}`);
  const found = JSON.parse(line) as Record<string, unknown>;
  for (const name of ['bytes', 'url', 'link']) {
    const { right, batches, completed } = found[name] as Served;
    // 80 requests; 40 of one to three rows at a time make at least 10 batches of 8 rows
    if (!right || completed !== 80 || !(batches >= 20 && batches < 60))
      throw new Error(`${name}: ${JSON.stringify(found[name])}`);
  }
  const doubled = [0, 2, 4, 6, 8, 10];
  const expected = {
    isolated: isIsolated,
    missing: found.missing,
    broken: found.broken,
    dies: {
      before: doubled,
      once: 1554,
      restartsAfterOne: 1,
      always: 'ERR_WORKER: pool: run expected a worker that answers, got an end without a message',
      others: doubled,
      restartsAfterError: 1,
      after: doubled,
      timeout: 'ERR_TIMEOUT',
      refused: 'ERR_CLOSED',
      drained: 2200,
      left: 0,
    },
  };
  const { bytes, url, link, ...rest } = found;
  if (JSON.stringify(rest) !== JSON.stringify(expected))
    throw new Error(`found ${JSON.stringify(rest)}, expected ${JSON.stringify(expected)}`);
  if (!/^ERR_FORMAT: pool: source expected a file, got status 404/.test(`${found.missing}`))
    throw new Error(`a missing file: ${found.missing}`);
  if (!/^ERR_FORMAT: /.test(`${found.broken}`)) throw new Error(`a broken file: ${found.broken}`);
  return 'simd';
}

const PAGE =
  '<!doctype html><title>pool</title><pre id="answer"></pre><script type="module" src="/page.js"></script>\n';

function inFolder(name: string): string {
  const folder = `${work}bundles/pool-${name}/`;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  copyFileSync(source, `${app}pool-page.mjs`);
  return folder;
}

/** The worker is an entry of its own, beside the page's. */
async function withEsbuild(): Promise<string> {
  const folder = inFolder('esbuild');
  const { warnings } = await build({
    entryPoints: { page: `${app}pool-page.mjs`, worker: `${app}node_modules/evenkeel/dist/pool/worker.js` },
    outdir: folder,
    bundle: true,
    minify: true,
    format: 'esm',
    logLevel: 'silent',
  });
  if (warnings.length) throw new Error(`warning: ${warnings[0].text}`);
  writeFileSync(`${folder}index.html`, PAGE);
  return folder;
}

async function withVite(): Promise<string> {
  const tools = await packages('vite', 'vite');
  const folder = inFolder('vite');
  const site = `${app}pool-site/`;
  mkdirSync(site, { recursive: true });
  copyFileSync(source, `${site}page.mjs`);
  writeFileSync(`${site}index.html`, PAGE.replace('/page.js', '/page.mjs'));
  writeFileSync(
    `${site}vite.config.mjs`,
    `export default { logLevel: 'warn', build: { outDir: '${folder}', emptyOutDir: true, target: 'es2022' } };\n`,
  );
  await sh(process.execPath, [`${tools}node_modules/vite/bin/vite.js`, 'build'], { cwd: site });
  return folder;
}

async function withWebpack(): Promise<string> {
  const tools = await packages('webpack', 'webpack');
  const folder = inFolder('webpack');
  const config = {
    context: app,
    entry: { page: './pool-page.mjs' },
    mode: 'production',
    performance: { hints: false },
    output: { path: folder, filename: '[name].js' },
  };
  writeFileSync(
    `${folder}build.cjs`,
    `const webpack = require('node:module').createRequire('${tools}')('webpack');
webpack(${JSON.stringify(config)}, (error, stats) => {
  const { errors, warnings } = stats?.toJson() ?? { errors: [error], warnings: [] };
  for (const { message } of [...errors, ...warnings]) console.log(message);
  process.exit(errors.length + warnings.length ? 1 : 0);
});
`,
  );
  await sh(process.execPath, ['build.cjs'], { cwd: folder });
  writeFileSync(`${folder}index.html`, PAGE);
  return folder;
}

const page = (
  name: string,
  bundle: () => Promise<string>,
  launch: () => Promise<Launched> = launchChromium,
  isIsolated = false,
): Example => ({
  name: `Pool, ${name}`,
  run: async () => {
    if (process.platform !== 'linux') throw new Skipped('browsers are looked for where Debian puts them');
    return judged(await visited(await bundle(), isIsolated, launch), isIsolated);
  },
});

export const pools: Example[] = [
  page('esbuild, Chromium', withEsbuild),
  page('esbuild, Chromium, cross-origin isolated', withEsbuild, launchChromium, true),
  page('Vite, Chromium', withVite),
  page('webpack, Chromium', withWebpack),
  page('esbuild, Firefox', withEsbuild, launchFirefox),
];
