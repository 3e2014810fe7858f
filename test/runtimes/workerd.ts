import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { build } from 'esbuild';
import { type Answer, answerIn, type Host, sh } from './host.ts';
import { app, packages, work } from './install.ts';
import { nodeOf } from './node.ts';

const DATE = '2026-11-01';

/** Serves a folder of modules with workerd, and asks the worker once. `modules`: the first is the worker. */
async function ask(folder: string, modules: readonly { name: string; wasm: boolean }[]): Promise<Answer> {
  const port = await freePort();
  const list = modules
    .map(({ name, wasm }) => `(name = "${name}", ${wasm ? 'wasm' : 'esModule'} = embed "${name}")`)
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
    return answerIn(await fetchSoon(`http://127.0.0.1:${port}/`, server, () => said));
  } finally {
    server.kill('SIGKILL');
  }
}

/** The text behind an address, as soon as somebody answers there. */
export async function fetchSoon(url: string, server: ChildProcess, said: () => string): Promise<string> {
  for (let tries = 0; tries < 300; tries++) {
    if (server.exitCode !== null) break;
    try {
      const response = await fetch(url);
      const text = await response.text();
      if (!response.ok) throw new SyntaxError(`${response.status}: ${text.slice(0, 600)}`);
      return text;
    } catch (error) {
      if (error instanceof SyntaxError) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  throw new Error(`no answer from ${url}: ${said().slice(-800)}`);
}

export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

const asModules = (folder: string, main: string) =>
  [main, ...readdirSync(folder).filter((name) => name.endsWith('.wasm'))].map((name) => ({
    name,
    wasm: name.endsWith('.wasm'),
  }));

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
      return ask(folder, asModules(folder, 'worker.js'));
    },
  },
  {
    name: 'wrangler deploy --dry-run, in workerd',
    backend: 'relaxed',
    run: async () => {
      const tools = await packages('wrangler', 'wrangler');
      const out = `${work}wrangler/out/`;
      writeFileSync(
        `${app}wrangler.json`,
        JSON.stringify({ name: 'probe', main: 'worker.mjs', compatibility_date: DATE }),
      );
      const env = { ...process.env, WRANGLER_SEND_METRICS: 'false', CI: '1' };
      const wrangler = `${tools}node_modules/wrangler/bin/wrangler.js`;
      await sh(await nodeOf(24), [wrangler, 'deploy', '--dry-run', '--outdir', out, '--config', 'wrangler.json'], {
        cwd: app,
        env,
      });
      return ask(out, asModules(out, 'worker.js'));
    },
  },
];
