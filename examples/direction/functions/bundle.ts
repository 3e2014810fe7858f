// Compiles a network for the functions, and bundles them: Lambda's into one file, the Worker's into
// what wrangler uploads.

import { mkdirSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { type Model, openDirection } from '../model.ts';

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** Files by name, the first one the entry. */
export type Bundle = ReadonlyMap<string, Uint8Array>;

/** Writes `built/`: the compiled network, its weights in half precision, and its degrees. */
export async function compileFor(model: Model): Promise<number> {
  const { network } = await openDirection(model);
  const file = network.compile().save({ f16: true });
  mkdirSync(here('./built/'), { recursive: true });
  writeFileSync(here('./built/network.evenkeel'), file);
  writeFileSync(here('./built/degrees.json'), JSON.stringify(model.degrees));
  return file.length;
}

/** Lambda's function as one file. */
export const lambdaBundle = () => bundle('lambda.js', { platform: 'node', loader: { '.evenkeel': 'binary' } });

/** The Worker, its modules and its network beside it. */
export const workerBundle = () =>
  bundle('worker.js', {
    platform: 'browser',
    conditions: ['workerd', 'worker', 'browser'],
    loader: { '.evenkeel': 'copy', '.wasm': 'copy' },
    assetNames: '[name]-[hash]',
  });

async function bundle(entry: string, more: object): Promise<Bundle> {
  const { outputFiles } = await build({
    entryPoints: [here(entry)],
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    outdir: here('./built/'),
    write: false,
    logLevel: 'silent',
    // as in a project of its own: where modules come from, the package says
    tsconfigRaw: '{}',
    ...more,
  });
  const files = outputFiles.map(({ path, contents }) => [basename(path), contents] as const);
  return new Map(files.sort(([a], [b]) => Number(b === entry) - Number(a === entry)));
}
