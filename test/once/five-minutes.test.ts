// The guide for who comes from PyTorch: its snippets run in their order, and its table of operators
// is that of the reader.

import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { readOnnx } from '../../src/weights/index.ts';
import { converters } from '../../src/weights/network/onnx-network.ts';
import { guide, namesInTables, runSnippets, snippetsOf } from '../support/guides.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'evenkeel-minutes-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('the snippets run, one behind the other', () => {
  const page = guide('five-minutes');
  const snippets = snippetsOf(page);
  expect(snippets).toHaveLength(5);
  mkdirSync(join(folder, 'run'));
  const model = join(root, 'test/fixtures/golden-conv/onnx/onnx_mobilenetv2_op15_bn_folded_dyn.onnx');
  copyFileSync(model, join(folder, 'run/model.onnx'));
  const { nodes } = readOnnx(readFileSync(model));
  // the value that the last layer takes
  const last = nodes.findLast(({ op }) => op === 'Gemm')!.inputs[0];
  const program = snippets.map((code) =>
    code.replace("const inner = 'features';", `const inner = ${JSON.stringify(last)};`),
  );
  runSnippets(join(folder, 'run'), program);
});

test('the table of operators has those that are read, and no others', () => {
  const page = guide('operators');
  const named = namesInTables(page);
  expect(named.sort()).toEqual(Object.keys(converters()).sort());
});
