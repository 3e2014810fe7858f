// ONNX models on the command line: external data beside them, norms of every kind, folds and
// conversions that lose nothing.

import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { nodeField, tensorField, valueField, writeModel } from '../../src/formats/onnx-write.ts';
import { lengthField } from '../../src/formats/protobuf.ts';
import { loadSequential, readOnnx, readSafetensors } from '../../src/weights/index.ts';
import { tensorsOf } from '../../src/weights/onnx.ts';
import { answers, fixture, fixturePath, relative } from '../support/weights.ts';

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'evenkeel-onnx-'));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string) => join(folder, name);
const onnx = (name: string) => fixturePath(`onnx/${name}.onnx`);
const bytesOf = (name: string) => Uint8Array.from(readFileSync(at(name)));

function evenkeel(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', cwd: folder });
  return { status, stdout, stderr };
}

function json(...args: string[]) {
  const { status, stdout, stderr } = evenkeel(...args, '--json');
  expect([status, stderr]).toEqual([0, '']);
  return JSON.parse(stdout);
}

describe('external data', () => {
  test('is found beside the model', async () => {
    const { stdout } = evenkeel('inspect', onnx('outside'));
    expect(stdout).toContain('outside.onnx: ONNX with outside.data, onnx names, 7 tensors, 130 values\n');
    expect(json('inspect', onnx('outside'))).toMatchObject({ missing: [], findings: 0 });
    const result = evenkeel('fold', onnx('outside'), 'folded.onnx');
    expect(result.stdout).toContain('outside.data: what the model takes of it is inside the new file\n');
    expect(result.stdout).toContain('bn → conv: 5 channels, behind it, eps 0.00001');
    const inside = tensorsOf(readOnnx(bytesOf('folded.onnx')));
    expect(inside.get('head.weight')!.data).toEqual(
      tensorsOf(readOnnx(fixture('onnx/inside.onnx'))).get('head.weight')!.data,
    );
    json('convert', onnx('outside'), 'outside.safetensors');
    const { tensors } = readSafetensors(bytesOf('outside.safetensors'));
    expect([...tensors.keys()]).toEqual(
      expect.arrayContaining(['conv.weight', 'conv.bias', 'bn.weight', 'bn.running_var', 'head.weight']),
    );
  });

  test('loadSequential finds it from a path and from a URL', async () => {
    const model = writeModel(
      [
        nodeField('Gemm', 'fc', ['x', 'w'], ['y']),
        lengthField(2, 'g'),
        lengthField(5, [
          Uint8Array.of(8, 2, 8, 1, 16, 1),
          lengthField(8, 'w'),
          lengthField(13, [lengthField(1, 'location'), lengthField(2, 'w.bin')]),
          Uint8Array.of(14 * 8, 1),
        ]),
        ...[valueField(11, 'x', ['n', 2]), valueField(12, 'y', ['n', 1])],
      ],
      15,
    );
    mkdirSync(at('there'));
    writeFileSync(at('there/model.onnx'), model);
    writeFileSync(at('there/w.bin'), new Uint8Array(Float32Array.of(2, -3).buffer));
    for (const path of [at('there/model.onnx'), pathToFileURL(at('there/model.onnx'))]) {
      const net = await loadSequential(path);
      expect(Array.from(net.forward({ data: Float32Array.of(10, 1), shape: [1, 2] }).data)).toEqual([17]);
    }
    const bytes = Uint8Array.from(model);
    const files = { 'w.bin': Uint8Array.from(readFileSync(at('there/w.bin'))) };
    expect((await loadSequential(bytes, { files })).layers.length).toBe(1);
    await expect(loadSequential(bytes)).rejects.toThrow(
      "ONNX: initializer 'w' expected the file 'w.bin', which holds its values",
    );
  });

  test('what is not beside it, and links out of its folder, are refused', () => {
    mkdirSync(at('alone'));
    copyFileSync(onnx('outside'), at('alone/outside.onnx'));
    const error = (got: string) =>
      `evenkeel: ONNX: outside.onnx expected the file 'outside.data' beside it, which holds its weights, got ${got} (offset 0)\n`;
    expect(evenkeel('inspect', 'alone/outside.onnx')).toMatchObject({ status: 1, stderr: error('none') });
    symlinkSync(fixturePath('onnx/outside.data'), at('alone/outside.data'));
    for (const args of [['inspect'], ['fold', 'out.onnx'], ['convert', 'out.safetensors']]) {
      const [command, ...rest] = args;
      expect(evenkeel(command, 'alone/outside.onnx', ...rest)).toMatchObject({
        status: 1,
        stderr: error('a link to another one'),
      });
    }
    rmSync(at('alone/outside.data'));
    mkdirSync(at('alone/outside.data'));
    expect(evenkeel('inspect', 'alone/outside.onnx').stderr).toBe(error('what is no file'));
    // a link to the model itself is the reader's own
    symlinkSync(onnx('inside'), at('alone/linked.onnx'));
    expect(evenkeel('inspect', 'alone/linked.onnx').status).toBe(0);
  });
});

describe('inspect', () => {
  test('norms of every kind are counted and named', () => {
    expect(json('inspect', onnx('decomposed')).otherNorms).toEqual([
      'LayerNorm ln (in 9 nodes)',
      'RMSNorm rms (in 7 nodes)',
    ]);
    expect(json('inspect', onnx('branches')).otherNorms).toEqual([
      'BatchNormalization bnB.node (inside If choice: else_branch)',
      'BatchNormalization bnA.node (inside If choice: then_branch)',
    ]);
    expect(evenkeel('inspect', onnx('decomposed')).stdout).toContain('2 normalization layers\n');
    expect(json('inspect', onnx('shared')).norms.map(({ name }: { name: string }) => name)).toEqual(['bn1', 'bn2']);
  });

  test('a norm with the name of one inside another node is counted and looked at', () => {
    const stats = (number: 5) => ['g', 'b', 'm'].map((name) => tensorField(number, name, Float32Array.of(1, 2), [2]));
    const norm = (value: string, output: string) =>
      nodeField('BatchNormalization', 'bn', [value, 'g', 'b', 'm', 'v'], [output]);
    const v = tensorField(5, 'v', Float32Array.of(1, -1), [2]);
    const branch = lengthField(6, [lengthField(2, 'then'), norm('h', 'z'), valueField(12, 'z', ['n', 2])]);
    const attribute = lengthField(5, [lengthField(1, 'then_branch'), branch, Uint8Array.of(0xa0, 1, 5)]);
    const inner = [lengthField(1, 'c'), lengthField(2, 'y'), lengthField(3, 'if'), lengthField(4, 'If'), attribute];
    const graph = [lengthField(2, 'g'), norm('x', 'h'), lengthField(1, inner), ...stats(5), v];
    const ends = [valueField(11, 'x', ['n', 2]), valueField(11, 'c', [], 'BOOL'), valueField(12, 'y', ['n', 2])];
    writeFileSync(at('twice.onnx'), writeModel([...graph, ...ends], 15));
    const { norms, otherNorms } = json('inspect', 'twice.onnx');
    expect(norms).toMatchObject([{ name: 'bn', findings: ['variance below 0: 1 of 2 channels (1)'] }]);
    expect(otherNorms).toEqual(['BatchNormalization bn (inside If if: then_branch)']);
    expect(evenkeel('inspect', 'twice.onnx').stdout).toContain('2 normalization layers\n');
  });

  test('weights as constants are tensors', () => {
    const { tensors, norms, missing } = json('inspect', onnx('constants'));
    expect(tensors.map(({ name }: { name: string }) => name)).toEqual(expect.arrayContaining(['fc.b', 'bn1.g', 'six']));
    expect(norms.length).toBe(2);
    expect(missing).toEqual([]);
  });

  test('training mode is a finding', () => {
    const { stdout } = evenkeel('inspect', onnx('training'));
    expect(stdout).toContain('    ! in training mode: it takes the statistics of each batch, not these\n');
    expect(stdout).toContain('1 finding\n');
  });

  test('version 6 is read, and folded and converted elsewhere', () => {
    expect(json('inspect', onnx('old6')).norms).toMatchObject([{ name: 'bn', channels: 6 }]);
    for (const args of [
      ['fold', onnx('old6'), 'out.onnx'],
      ['convert', onnx('old6'), 'out.safetensors'],
      ['convert', onnx('old6'), 'out.onnx'],
    ])
      expect(evenkeel(...args)).toMatchObject({
        status: 1,
        stderr:
          'evenkeel: ONNX: opset_import expected version 7 or later of the operators (onnx.version_converter.convert_version(model, 13) writes one), got 6 (offset 0)\n',
      });
  });
});

describe('convert', () => {
  test('every tensor arrives', () => {
    for (const name of ['constants', 'convs', 'shared', 'layer_norms', 'single']) {
      const { unused, carried } = json('convert', onnx(name), `${name}.safetensors`);
      expect(carried).toEqual(unused);
      const { tensors } = readSafetensors(bytesOf(`${name}.safetensors`));
      for (const one of carried) expect(tensors.has(one)).toBe(true);
    }
    // of graphs inside nodes nothing is known
    expect(evenkeel('convert', onnx('branches'), 'branches.safetensors').stderr).toContain(
      "convert: branches.onnx expected names of layers and norms that are known, got 'condition', 'choice/",
    );
    const { tensors } = readSafetensors(bytesOf('convs.safetensors'));
    expect(tensors.get('up.weight')!.data).toEqual(
      readOnnx(fixture('onnx/convs.onnx')).initializers.get('up.weight')!.data,
    );
  });

  test('a norm alone, and a network that begins with Flatten, become models again', async () => {
    const stats = ['g', 'b', 'm', 'v'].map((name, i) => tensorField(5, name, Float32Array.of(i + 1, 2, 3), [3]));
    const bn = (input: string, output: string) =>
      nodeField('BatchNormalization', 'bn', [input, 'g', 'b', 'm', 'v'], [output]);
    const model = (nodes: Uint8Array[], shape: number[], out: number[]) =>
      writeModel(
        [
          lengthField(2, 'g'),
          ...nodes,
          ...stats,
          valueField(11, 'x', ['n', ...shape]),
          valueField(12, 'y', ['n', ...out]),
        ],
        15,
      );
    writeFileSync(at('norm.onnx'), model([bn('x', 'y')], [3, 2, 2], [3, 2, 2]));
    expect(json('convert', 'norm.onnx', 'norm2.onnx').layers).toEqual(['BatchNorm2d(3)']);
    expect([...readOnnx(bytesOf('norm2.onnx')).inputs.values()]).toEqual([[undefined, 3, 2, 2]]);
    writeFileSync(at('flat.onnx'), model([nodeField('Flatten', 'f', ['x'], ['a']), bn('a', 'y')], [3, 1], [3]));
    json('convert', 'flat.onnx', 'flat2.onnx');
    expect([...readOnnx(bytesOf('flat2.onnx')).inputs.values()]).toEqual([[undefined, 3, 1]]);
    json('convert', onnx('affine'), 'affine2.onnx');
    const { x, y } = answers('onnx/answers.json').affine;
    const net = await loadSequential(at('affine2.onnx'));
    expect(relative(net.forward({ data: Float32Array.from(x as number[]), shape: [3, 4] }).data, y)).toBeLessThan(1e-5);
  });
});
