// The guide for who comes from Keras: its snippets run in their order, and its tables of layers are
// those of the reader.

import { copyFileSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { kindOf } from '../../src/weights/keras-config.ts';
import { kerasConverters } from '../../src/weights/network/keras-network.ts';
import { guide, namesInTables, runSnippets, snippetsOf } from '../support/guides.ts';
import { fixturePath } from '../support/weights.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'evenkeel-from-keras-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('the snippets run, one behind the other', () => {
  const page = guide('from-keras');
  const snippets = snippetsOf(page);
  expect(snippets).toHaveLength(4);
  copyFileSync(fixturePath('keras-networks/classifier.keras'), join(folder, 'model.keras'));
  symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'));
  runSnippets(folder, snippets);
});

test('the tables have the layers and operations that are read, and no others', () => {
  const page = guide('layers');
  const named = namesInTables(page);
  const isLayer = (name: string) => /^[A-Z]/.test(name);
  const kinds = Object.keys(kerasConverters());
  const layers = kinds.filter((kind) => !kind.startsWith('operation ') && !kind.endsWith('_op_lambda'));
  const wrappers = ['time_distributed', 'spectral_normalization'];
  expect(named.filter(isLayer).map(kindOf).sort()).toEqual([...layers, ...wrappers].sort());
  const operations = kinds.flatMap((kind) => /^operation (.*)/.exec(kind)?.[1] ?? []);
  expect(named.filter((name) => !isLayer(name)).sort()).toEqual(operations.sort());
});
