// The guide for who comes from PyTorch: its snippets run in their order, and its table of operators
// is that of the reader.

import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { readOnnx } from '../../src/weights/index.ts';
import { converters } from '../../src/weights/network/onnx-network.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'evenkeel-minutes-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('the snippets run, one behind the other', () => {
  const page = readFileSync(join(root, 'docs/five-minutes.md'), 'utf8');
  const snippets = [...page.matchAll(/```ts\n(.*?)```/gs)].map(([, code]) => code);
  expect(snippets).toHaveLength(5);
  mkdirSync(join(folder, 'run'));
  const model = join(root, 'test/fixtures/golden-conv/onnx/onnx_mobilenetv2_op15_bn_folded_dyn.onnx');
  copyFileSync(model, join(folder, 'run/model.onnx'));
  const { nodes } = readOnnx(readFileSync(model));
  // the value that the last layer takes
  const last = nodes.findLast(({ op }) => op === 'Gemm')!.inputs[0];
  const source = (name: string) => pathToFileURL(join(root, `src/${name}.ts`)).href;
  const sources = { evenkeel: 'index', 'evenkeel/weights': 'weights/index', 'evenkeel/infer': 'infer/index' };
  const program = snippets
    .join('\n')
    .replace(/from '(evenkeel[^']*)'/g, (_, name: keyof typeof sources) => `from '${source(sources[name])}'`)
    .replace("const inner = 'features';", `const inner = ${JSON.stringify(last)};`);
  const path = join(folder, 'run/minutes.mjs');
  writeFileSync(path, `${program}\nconsole.log('done');\n`);
  const loader = pathToFileURL(join(root, 'scripts/typescript.mjs')).href;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', loader, path], {
    encoding: 'utf8',
    cwd: join(folder, 'run'),
  });
  expect(stderr).toBe('');
  expect(stdout.trimEnd().split('\n').at(-1)).toBe('done');
  expect(status).toBe(0);
});

test('the table of operators has those that are read, and no others', () => {
  const page = readFileSync(join(root, 'docs/operators.md'), 'utf8');
  const rows = page.split('\n').filter((line) => line.startsWith('| `'));
  const named = rows.flatMap((row) => [...row.split('|')[1].matchAll(/`(\w+)`/g)].map(([, name]) => name));
  expect(new Set(named).size).toBe(named.length);
  expect(named.sort()).toEqual(Object.keys(converters()).sort());
});
