// node --import ./scripts/typescript.mjs FILE.ts — TypeScript as it stands, for measurements: types
// go, and nothing comes in their place. (tsx names every function that a call makes, which costs
// more than a small call.)

import { readFileSync } from 'node:fs';
import { register } from 'node:module';
import { fileURLToPath } from 'node:url';
import { transform } from 'esbuild';

const INLINE = new URL('../src/wasm/inline.ts', import.meta.url).href;

export function resolve(specifier, context, next) {
  return specifier === '#wasm' ? { url: INLINE, shortCircuit: true } : next(specifier, context);
}

export async function load(url, context, next) {
  if (!url.endsWith('.ts')) return next(url, context);
  const file = fileURLToPath(url);
  const options = { loader: 'ts', format: 'esm', target: 'es2022', sourcefile: file, sourcemap: 'inline' };
  const { code } = await transform(readFileSync(file, 'utf8'), options);
  return { format: 'module', source: code, shortCircuit: true };
}

if (!process.env.EVENKEEL_HOOKS) {
  process.env.EVENKEEL_HOOKS = '1'; // this module is loaded again, on the thread of hooks
  register(import.meta.url);
}
