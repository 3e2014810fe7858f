// `evenkeel compile`: networks in files become compiled ones, with a module that loads them.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { load, norms } from '../../src/infer/index.ts';
import { loadSequential } from '../../src/weights/index.ts';
import { fixture, fixturePath } from '../support/weights.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'evenkeel-compile-'));
afterAll(() => rmSync(folder, { recursive: true }));
// as a user has the package
mkdirSync(join(folder, 'node_modules'));
symlinkSync(root, join(folder, 'node_modules/evenkeel'), 'dir');

function evenkeel(...args: string[]) {
  const main = join(root, 'dist/cli/main.js');
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', cwd: folder });
  return { status, stdout, stderr };
}
const x = (shape: readonly number[]) => ({
  data: Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => Math.sin(3 * i)),
  shape: [...shape],
});

/** What a module gives on a batch, in a process of its own. */
function runs(module: string, input: ReturnType<typeof x>): number[] {
  const program = `import open, { network, url } from ${JSON.stringify(pathToFileURL(join(folder, module)).href)};
import { readFileSync } from 'node:fs';
const x = { data: Float32Array.from(${JSON.stringify([...input.data])}), shape: ${JSON.stringify(input.shape)} };
const run = await open({ maxBatch: 8 });
const again = network(readFileSync(url));
if (again(x).data.join() !== run(x).data.join()) throw new Error('two networks');
console.log(JSON.stringify([...run(x).data]));`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' });
  expect(stderr).toBe('');
  return JSON.parse(stdout);
}

test('an ONNX network, and a module beside it', async () => {
  const { status, stdout } = evenkeel('compile', fixturePath('torch/net.onnx'), 'a net.evenkeel', '--module');
  expect(status).toBe(0);
  const net = await loadSequential(fixture('torch/net.onnx'));
  const run = load(readFileSync(join(folder, 'a net.evenkeel')));
  const [{ shape }] = run.inputs;
  const input = x([3, shape!.at(-1)!]);
  expect(run(input)).toEqual(net.compile()(input));
  expect(stdout).toContain(`x [?, ${shape!.at(-1)}] → logits [?, `);
  expect(stdout).toContain('a module that loads it → a net.mjs');
  expect(runs('a net.mjs', input)).toEqual([...run(input).data]);
  const { stdout: inside, stderr } = evenkeel('inspect', 'a net.evenkeel');
  expect(stderr).toBe('');
  expect(inside).toContain('a net.evenkeel: safetensors, a compiled network of evenkeel: load() of evenkeel/infer');
  expect(inside).toContain('flat.0.weight');
});

test('norms of rows bring their group', async () => {
  const file = fixturePath('onnx/layer_norms.onnx');
  const { status, stdout } = evenkeel('compile', file, 'norms.evenkeel', '--module', '--json');
  expect(status).toBe(0);
  const report = JSON.parse(stdout);
  expect(report).toMatchObject({ operations: ['norms'], module: 'norms.mjs' });
  expect(readFileSync(join(folder, 'norms.mjs'), 'utf8')).toContain("import { load, norms } from 'evenkeel/infer';");
  const bytes = readFileSync(join(folder, 'norms.evenkeel'));
  expect(() => load(bytes)).toThrow('operations: [norms], of evenkeel/infer');
  const run = load(bytes, { operations: [norms] });
  const input = x(run.inputs[0].shape!.map((length) => length ?? 4));
  expect(runs('norms.mjs', input)).toEqual([...run(input).data]);
});

test('what it refuses', () => {
  expect(evenkeel('compile', fixturePath('torch/net.f32.safetensors'), 'out.evenkeel')).toMatchObject({
    status: 1,
    stderr:
      'evenkeel: compile: net.f32.safetensors expected an ONNX, Keras or TF.js file, which has a graph, got safetensors\n',
  });
  expect(evenkeel('compile', fixturePath('torch/net.onnx'), 'out.mjs', '--module')).toMatchObject({
    status: 2,
    stderr: 'evenkeel: --module writes a module beside OUT: OUT is a file, and no module\n',
  });
  expect(evenkeel('fold', fixturePath('torch/net.onnx'), 'out.onnx', '--module').status).toBe(2);
  expect(existsSync(join(folder, 'out.evenkeel'))).toBe(false);
});
