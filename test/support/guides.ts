// Pages of docs/ as tests read them: their snippets run, and the names in their tables.

import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { expect } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

const SOURCES = { evenkeel: 'index', 'evenkeel/weights': 'weights/index', 'evenkeel/infer': 'infer/index' };

/** A page of docs/: `from-keras`. */
export const guide = (name: string): string => readFileSync(join(root, `docs/${name}.md`), 'utf8');

/** The snippets of a page. */
export const snippetsOf = (page: string): string[] => [...page.matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code);

/** Runs snippets one behind the other in a folder, on the sources, and expects no error. */
export function runSnippets(folder: string, snippets: readonly string[]): void {
  const source = (name: keyof typeof SOURCES) => pathToFileURL(join(root, `src/${SOURCES[name]}.ts`)).href;
  const program = snippets
    .join('\n')
    .replace(/from '(evenkeel[^']*)'/g, (_, name: keyof typeof SOURCES) => `from '${source(name)}'`);
  const path = join(folder, 'minutes.mjs');
  writeFileSync(path, `${program}\nconsole.log('done');\n`);
  const loader = pathToFileURL(join(root, 'scripts/typescript.mjs')).href;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', loader, path], {
    encoding: 'utf8',
    cwd: folder,
  });
  expect(stderr).toBe('');
  expect(stdout.trimEnd().split('\n').at(-1)).toBe('done');
  expect(status).toBe(0);
}

/** The names in the first column of a page's tables, each of which stands there once. */
export function namesInTables(page: string): string[] {
  const rows = page.split('\n').filter((line) => line.startsWith('| `'));
  const named = rows.flatMap((row) => [...row.split('|')[1].matchAll(/`(\w+)`/g)].map(([, name]) => name));
  expect(new Set(named).size).toBe(named.length);
  return named;
}
