// The page's files: its own text, and each library as one module.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { hasTfjs, peers, wasmFolder } from '../tfjs.ts';

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));

async function bundled(entry: string, more: object = {}): Promise<Uint8Array> {
  const { outputFiles } = await build({
    entryPoints: [here(entry)],
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    write: false,
    logLevel: 'silent',
    ...more,
  });
  return outputFiles[0].contents;
}

let files: Promise<Map<string, Uint8Array>> | undefined;

/** By name. TF.js is among them where it is installed. */
export function pageFiles(): Promise<Map<string, Uint8Array>> {
  files ??= bundleAll();
  return files;
}

async function bundleAll(): Promise<Map<string, Uint8Array>> {
  const found = new Map<string, Uint8Array>([
    ['index.html', readFileSync(here('index.html'))],
    ['page.js', await bundled('page.ts', { external: ['./evenkeel.js', './tfjs.js'] })],
    ['evenkeel.js', await bundled('evenkeel.ts')],
  ]);
  if (!hasTfjs()) return found;
  found.set('tfjs.js', await bundled('tfjs.js', { nodePaths: [join(peers, 'node_modules')] }));
  for (const name of ['tfjs-backend-wasm.wasm', 'tfjs-backend-wasm-simd.wasm']) {
    found.set(name, readFileSync(join(wasmFolder(), name)));
  }
  return found;
}
