// The guide for who comes from TF.js: its snippets run in their order, and its table of operators
// is that of the reader.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { rules } from '../../src/weights/network/tf-rules.ts';
import { graphModel, tfFloats, tfInts, tfNode } from '../support/tfjs-models.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'evenkeel-tfjs-'));
afterAll(() => rmSync(folder, { recursive: true }));
const page = readFileSync(join(root, 'docs/from-tfjs.md'), 'utf8');

test('the snippets run, one behind the other', () => {
  const snippets = [...page.matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code);
  expect(snippets).toHaveLength(5);
  const conv = { strides: [1, 2, 2, 1], padding: 'SAME', fused_ops: ['BiasAdd', 'Relu6'] };
  const files = graphModel({
    inputs: { image: [null, 16, 16, 3] },
    constants: {
      kernel: tfFloats([3, 3, 3, 8]),
      bias: tfFloats([8]),
      axes: tfInts(1, 2),
      weight: tfFloats([8, 4]),
      shift: tfFloats([4]),
    },
    nodes: [
      tfNode('_FusedConv2D', 'image kernel bias', 'conv', conv),
      tfNode('Mean', 'conv axes', 'features', { keep_dims: false }),
      tfNode('_FusedMatMul', 'features weight shift', 'logits', { fused_ops: ['BiasAdd'] }),
    ],
  });
  for (const [name, bytes] of Object.entries(files)) writeFileSync(join(folder, name), bytes);
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

test('the table of operators has those that are read, and no others', () => {
  const rows = page.split('\n').filter((line) => line.startsWith('| `'));
  const named = rows.flatMap((row) => [...row.split('|')[1].matchAll(/`(\w+)`/g)].map(([, name]) => name));
  expect(new Set(named).size).toBe(named.length);
  expect(named.sort()).toEqual(Object.keys(rules()).sort());
});
