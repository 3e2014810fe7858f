// The guide for who comes from Keras: its snippets run in their order, and its tables of layers are
// those of the reader.

import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { kindOf } from '../../src/weights/keras-config.ts';
import { kerasConverters } from '../../src/weights/network/keras-network.ts';
import { fixturePath } from '../support/weights.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'evenkeel-from-keras-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('the snippets run, one behind the other', () => {
  const page = readFileSync(join(root, 'docs/from-keras.md'), 'utf8');
  const snippets = [...page.matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code);
  expect(snippets).toHaveLength(4);
  copyFileSync(fixturePath('keras-networks/classifier.keras'), join(folder, 'model.keras'));
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  const source = (name: string) => pathToFileURL(join(root, `src/${name}.ts`)).href;
  const sources = { evenkeel: 'index', 'evenkeel/weights': 'weights/index', 'evenkeel/infer': 'infer/index' };
  const program = snippets
    .join('\n')
    .replace(/from '(evenkeel[^']*)'/g, (_, name: keyof typeof sources) => `from '${source(sources[name])}'`);
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
});

test('the tables have the layers and operations that are read, and no others', () => {
  const page = readFileSync(join(root, 'docs/layers.md'), 'utf8');
  const rows = page.split('\n').filter((line) => line.startsWith('| `'));
  const named = rows.flatMap((row) => [...row.split('|')[1].matchAll(/`(\w+)`/g)].map(([, name]) => name));
  expect(new Set(named).size).toBe(named.length);
  const isLayer = (name: string) => /^[A-Z]/.test(name);
  const kinds = Object.keys(kerasConverters());
  const layers = kinds.filter((kind) => !kind.startsWith('operation ') && !kind.endsWith('_op_lambda'));
  const wrappers = ['time_distributed', 'spectral_normalization'];
  expect(named.filter(isLayer).map(kindOf).sort()).toEqual([...layers, ...wrappers].sort());
  const operations = kinds.flatMap((kind) => /^operation (.*)/.exec(kind)?.[1] ?? []);
  expect(named.filter((name) => !isLayer(name)).sort()).toEqual(operations.sort());
});
