// The guide for who comes from TF.js: its snippets run in their order, and its table of operators
// is that of the reader.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { rules } from '../../src/weights/network/tf-rules.ts';
import { guide, namesInTables, runSnippets, snippetsOf } from '../support/guides.ts';
import { graphModel, tfFloats, tfInts, tfNode } from '../support/tfjs-models.ts';

const folder = mkdtempSync(join(tmpdir(), 'evenkeel-tfjs-'));
afterAll(() => rmSync(folder, { recursive: true }));
const page = guide('from-tfjs');

test('the snippets run, one behind the other', () => {
  const snippets = snippetsOf(page);
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
  runSnippets(folder, snippets);
});

test('the table of operators has those that are read, and no others', () => {
  const named = namesInTables(page);
  expect(named.sort()).toEqual(Object.keys(rules()).sort());
});
