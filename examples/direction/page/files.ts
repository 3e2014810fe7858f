// The page's files: its text, its script, and the worker with the library in it.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** By name. */
export async function pageFiles(): Promise<Map<string, Uint8Array>> {
  const { outputFiles } = await build({
    entryPoints: [here('page.ts'), here('worker.ts')],
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2022',
    outdir: here('.'),
    write: false,
    logLevel: 'silent',
  });
  const names = outputFiles.map(({ path, contents }) => [path.replace(/.*[/\\]/, ''), contents] as const);
  return new Map([['index.html', readFileSync(here('index.html'))], ...names]);
}
