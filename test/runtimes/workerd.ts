import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { build } from 'esbuild';
import { type Answer, answerIn, type Host, listening, sh } from './host.ts';
import { app, packages, work } from './install.ts';
import { nodeOf } from './node.ts';

const DATE = '2026-11-01';

/** Serves a folder with workerd, a worker and the modules beside it, as long as `use` takes. */
export async function serving<T>(folder: string, main: string, use: (url: string) => Promise<T>): Promise<T> {
  const port = await freePort();
  const kindOf = (name: string) => (name === main ? 'esModule' : name.endsWith('.wasm') ? 'wasm' : 'data');
  const list = [main, ...readdirSync(folder).filter((name) => /\.(?:wasm|evenkeel)$/.test(name))]
    .map((name) => `(name = "${name}", ${kindOf(name)} = embed "${name}")`)
    .join(', ');
  writeFileSync(
    `${folder}config.capnp`,
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "main", worker = (modules = [${list}], compatibilityDate = "${DATE}"))],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")]
);
`,
  );
  const bin = `${await packages('workerd', 'workerd')}node_modules/.bin/workerd`;
  const server = spawn(bin, ['serve', 'config.capnp'], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  server.stderr.on('data', (chunk) => {
    said += chunk;
  });
  try {
    const url = `http://127.0.0.1:${port}/`;
    await answering(url, server, () => said);
    return await use(url);
  } finally {
    server.kill('SIGKILL');
  }
}

/** Waits until somebody answers at an address, whatever he says. */
export async function answering(url: string, server: ChildProcess, said: () => string): Promise<void> {
  for (let tries = 0; tries < 300 && server.exitCode === null; tries++) {
    try {
      await (await fetch(url)).text();
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  throw new Error(`no answer from ${url}: ${said().slice(-800)}`);
}

/** What the probe behind an address says. */
export async function probed(url: string): Promise<Answer> {
  return answerIn(await (await fetch(url)).text());
}

export async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listening(server);
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** What `wrangler deploy` would upload, in a folder. */
export async function wranglerBundle(cwd: string, config: string, out: string): Promise<void> {
  const wrangler = `${await packages('wrangler', 'wrangler')}node_modules/wrangler/bin/wrangler.js`;
  const env = { ...process.env, WRANGLER_SEND_METRICS: 'false', CI: '1' };
  const args = ['deploy', '--config', config, '--dry-run', '--outdir', out];
  await sh(await nodeOf(24), [wrangler, ...args], { cwd, env });
}

export const workers: Host[] = [
  {
    name: 'workerd',
    backend: 'relaxed',
    run: async () => {
      const folder = `${work}workerd-direct/`;
      mkdirSync(folder, { recursive: true });
      await build({
        entryPoints: [`${app}worker.mjs`],
        outfile: `${folder}worker.js`,
        bundle: true,
        format: 'esm',
        platform: 'neutral',
        conditions: ['workerd'],
        logLevel: 'silent',
        loader: { '.wasm': 'copy' },
        assetNames: '[name]',
      });
      return serving(folder, 'worker.js', probed);
    },
  },
  {
    name: 'wrangler deploy --dry-run, in workerd',
    backend: 'relaxed',
    run: async () => {
      const out = `${work}wrangler/out/`;
      writeFileSync(
        `${app}wrangler.json`,
        JSON.stringify({ name: 'probe', main: 'worker.mjs', compatibility_date: DATE }),
      );
      await wranglerBundle(app, 'wrangler.json', out);
      return serving(out, 'worker.js', probed);
    },
  },
];
