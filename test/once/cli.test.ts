// The command line, as people and scripts call it.

import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { nodeField, tensorField, valueField, writeModel } from '../../src/formats/onnx-write.ts';
import { lengthField } from '../../src/formats/protobuf.ts';
import {
  loadSequential,
  readKeras,
  readNpz,
  readOnnx,
  readSafetensors,
  readTfjs,
  writeSafetensors,
} from '../../src/weights/index.ts';
import { goldenCases, goldenFile } from '../support/golden.ts';
import { answers, fixture, fixturePath, relative } from '../support/weights.ts';

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'evenkeel-cli-'));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string) => join(folder, name);

function evenkeel(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', cwd: folder });
  return { status, stdout, stderr };
}

function json(...args: string[]) {
  const { status, stdout, stderr } = evenkeel(...args, '--json');
  expect([status, stderr]).toEqual([0, '']);
  expect(stdout.trim().split('\n').length).toBe(1);
  return JSON.parse(stdout);
}

const [convnet] = goldenCases('eval_convnet');
writeFileSync(at('convnet.safetensors'), goldenFile(convnet, 'weights'));
writeFileSync(at('convnet.onnx'), goldenFile(convnet, 'onnx'));

describe('usage', () => {
  test('--help and --version', () => {
    const help = evenkeel('--help');
    expect(help.status).toBe(0);
    for (const word of ['inspect FILE', 'fold IN OUT', 'convert IN OUT', '--json', 'exit codes'])
      expect(help.stdout).toContain(word);
    const { version } = JSON.parse(readFileSync(fileURLToPath(new URL('../../package.json', import.meta.url)), 'utf8'));
    expect(evenkeel('--version').stdout).toBe(`${version}\n`);
  });

  test.each([
    [[], 'evenkeel: which command? evenkeel --help lists them'],
    [['melt'], "evenkeel: no command 'melt'; evenkeel --help lists them"],
    [['inspect'], 'evenkeel: inspect takes FILE: 1, not 0'],
    [['fold', 'a'], 'evenkeel: fold takes IN OUT: 2, not 1'],
    [['inspect', 'a', '--pair', 'a=b'], 'evenkeel: inspect takes no --pair'],
    [['inspect', 'a', '--loud'], "evenkeel: Unknown option '--loud'"],
    [
      ['convert', 'convnet.safetensors', 'out.xyz'],
      'evenkeel: out.xyz: a name in .safetensors, .npz, .onnx, .h5, .json says the format',
    ],
    [
      ['convert', 'convnet.safetensors', 'out.npz', '--to', 'caffe'],
      "evenkeel: --to takes torch, keras, flax, onnx, tfjs, not 'caffe'",
    ],
    [
      ['fold', 'convnet.safetensors', 'out.safetensors', '--pair', 'bn1'],
      "evenkeel: foldSafetensors: a pair expected 'norm=layer', got 'bn1'",
    ],
    [
      ['fold', 'convnet.safetensors', 'out.safetensors', '--eps', 'small'],
      "evenkeel: --eps takes a number of 0 or more, not 'small'",
    ],
    [
      ['fold', 'convnet.safetensors', 'out.safetensors', '--pair', 'bn9=conv1'],
      "evenkeel: foldSafetensors: a norm expected 'bn1', 'bn2', 'bn3', got 'bn9'",
    ],
  ])('%j is a wrong command: exit code 2, one line', (args, message) => {
    const { status, stdout, stderr } = evenkeel(...args);
    expect([status, stdout]).toEqual([2, '']);
    expect(stderr.trim().split('\n').length).toBe(1);
    expect(stderr).toContain(message);
  });

  test.each([
    [['inspect', 'nothing.onnx'], /^evenkeel: ENOENT: no such file/],
    [['fold', 'cut.safetensors', 'out.safetensors'], /^evenkeel: safetensors: header length expected at most/],
    [
      ['fold', fixturePath('numpy/stored.npz'), 'out.npz'],
      /^evenkeel: fold: stored\.npz expected a safetensors or ONNX file, got NPZ$/,
    ],
    [
      ['convert', 'convnet.onnx', 'out.onnx'],
      /^evenkeel: ONNX: graph expected a chain of layers that there are here, got add of 2 values \('\/Add'\) \(offset 0\)$/,
    ],
  ])('%j is a wrong file: exit code 1, one line', (args, message) => {
    writeFileSync(at('cut.safetensors'), goldenFile(convnet, 'weights').subarray(0, 100));
    const { status, stdout, stderr } = evenkeel(...args);
    expect([status, stdout]).toEqual([1, '']);
    expect(stderr.trim()).toMatch(message);
    expect(stderr.trim().split('\n').length).toBe(1);
  });
});

describe('inspect', () => {
  test('says what is in a file', () => {
    const report = json('inspect', 'convnet.safetensors');
    expect(report).toMatchObject({ kind: 'safetensors', framework: 'torch', findings: 0, missing: [] });
    expect(report.norms.map(({ name, channels }: { name: string; channels: number }) => [name, channels])).toEqual([
      ['bn1', 6],
      ['bn2', 12],
      ['bn3', 12],
    ]);
    expect(report.tensors.length).toBe(20);
    const { stdout } = evenkeel('inspect', 'convnet.safetensors');
    expect(stdout).toContain('convnet.safetensors: safetensors, torch names, 20 tensors, 1,525 values');
    expect(stdout).toContain('conv1.weight             F32   [6, 1, 3, 3]');
    expect(stdout).toContain('statistics look sound');
  });

  test.each([
    ['torch/net.onnx', 'ONNX', 'onnx'],
    ['torch/net.npz', 'NPZ', 'torch'],
    ['flax/net.safetensors', 'safetensors', 'flax'],
    ['tfjs/uint8.json', 'TF.js', 'tfjs'],
    ['keras/chain.new.keras', 'Keras', 'keras'],
    ['keras/chain.old.h5', 'Keras', 'keras'],
    ['numpy/f4.npy', 'NPY', 'torch'],
  ])('%s is %s with names of %s', (name, kind, framework) => {
    expect(json('inspect', fixturePath(name))).toMatchObject({ kind, framework });
  });

  test('norms of other kinds are named as what they are known to be', () => {
    writeFileSync(
      at('layer.safetensors'),
      writeSafetensors({ 'ln.weight': { data: [1, 2], shape: [2] }, 'ln.bias': { data: [1, 2], shape: [2] } }),
    );
    expect(evenkeel('inspect', 'layer.safetensors').stdout).toContain(
      '1 normalization layer\n  ln: norm without statistics, 2 channels\n',
    );
    const node = nodeField('LayerNormalization', 'ln', ['x', 's'], ['y'], { axis: -1 });
    const scale = tensorField(5, 's', [1, 2], [2], 'F32');
    writeFileSync(
      at('layer.onnx'),
      writeModel([node, lengthField(2, 'g'), scale, valueField(11, 'x', ['n', 2]), valueField(12, 'y', ['n', 2])], 17),
    );
    expect(json('inspect', 'layer.onnx')).toMatchObject({ norms: [], otherNorms: ['LayerNormalization ln'] });
  });

  test('a pipe is read to its end, and names cannot write lines', () => {
    writeFileSync(at('names.safetensors'), writeSafetensors({ 'x\u001b[31m\nforged: ok': { data: [1], shape: [1] } }));
    const { stdout } = evenkeel('inspect', 'names.safetensors');
    expect(stdout).toContain('x?[31m?forged: ok');
    const shell = (line: string) =>
      spawnSync('sh', ['-c', line, process.execPath, main], { cwd: folder, encoding: 'utf8' });
    expect(
      JSON.parse(shell('cat convnet.safetensors | "$0" "$1" inspect /dev/stdin --json').stdout).tensors.length,
    ).toBe(20);
    expect(shell('printf "" | "$0" "$1" inspect /dev/stdin').stderr).toBe(
      'evenkeel: file: stdin expected a file of weights (safetensors, NPZ, NPY, ONNX, TF.js, Keras), got an empty file (offset 0)\n',
    );
  });

  test('finds statistics that look wrong', () => {
    const vector = (...data: number[]) => ({ data: Float32Array.from(data), shape: [data.length] });
    writeFileSync(
      at('sick.safetensors'),
      writeSafetensors({
        'bn.weight': vector(1, 0, 5, 1),
        'bn.bias': vector(0, 0, Number.NaN, 0),
        'bn.running_mean': vector(0, 1, 2, 3),
        'bn.running_var': vector(-1, 0, 1e-7, 1),
        'fresh.weight': vector(1, 1),
        'fresh.bias': vector(0, 0),
        'fresh.running_mean': vector(0, 0),
        'fresh.running_var': vector(1, 1),
      }),
    );
    const { norms, findings } = json('inspect', 'sick.safetensors');
    expect(norms[0].findings).toEqual([
      'beta is not finite: 1 of 4 channels (2)',
      'variance below 0: 1 of 4 channels (0)',
      'dead: the variance is 0, nothing comes in: 1 of 4 channels (1)',
      'exploding: the channel is multiplied by more than 1,000: 1 of 4 channels (2)',
      'dead: gamma is 0, nothing goes out: 1 of 4 channels (1)',
    ]);
    expect(norms[1].findings).toEqual(['statistics as at the beginning: it was never trained']);
    expect(findings).toBe(6);
    expect(evenkeel('inspect', 'sick.safetensors').stdout).toContain('    ! variance below 0: 1 of 4 channels (0)');
  });
});

describe('fold', () => {
  test('safetensors: weights change, norms go, the rest is as it was', () => {
    const report = json('fold', 'convnet.safetensors', 'folded.safetensors', '--eps', 'bn2=1e-3');
    expect(report.folded.map(({ norm, into, eps }: Record<string, unknown>) => [norm, into, eps])).toEqual([
      ['bn1', 'conv1', 1e-5],
      ['bn2', 'conv2', 1e-3],
      ['bn3', 'conv3', 1e-5],
    ]);
    const before = readSafetensors(goldenFile(convnet, 'weights'));
    const after = readSafetensors(new Uint8Array(readFileSync(at('folded.safetensors'))));
    expect([...after.tensors.keys()]).toEqual([
      'conv1.weight',
      'conv1.bias',
      'conv2.weight',
      'conv2.bias',
      'conv3.weight',
      'conv3.bias',
      'fc.weight',
      'fc.bias',
    ]);
    for (const name of ['fc.weight', 'fc.bias'])
      expect(after.tensors.get(name)!.bytes).toEqual(before.tensors.get(name)!.bytes);
    expect(after.metadata).toEqual(before.metadata);
    const onnx = readOnnx(goldenFile(convnet, 'onnx')).initializers;
    const scale = onnx.get('bn1.weight')!.data[0] / Math.sqrt(onnx.get('bn1.running_var')!.data[0] + 1e-5);
    expect(after.tensors.get('conv1.weight')!.data[0]).toBeCloseTo(
      before.tensors.get('conv1.weight')!.data[0] * scale,
      7,
    );
  });

  test('safetensors: names that do not say are left, unless told', () => {
    const { tensors } = readSafetensors(goldenFile(convnet, 'weights'));
    const renamed = new Map(
      [...tensors].map(([name, tensor]) => [
        name.replace('bn1.', 'early.').replace('conv3.', 'up3.').replace('bn3.', 'up_bn3.'),
        tensor,
      ]),
    );
    writeFileSync(at('renamed.safetensors'), writeSafetensors(renamed));
    const { folded, kept } = json('fold', 'renamed.safetensors', 'out.safetensors');
    expect(folded.map(({ norm }: { norm: string }) => norm)).toEqual(['bn2']);
    expect(kept).toEqual([
      { norm: 'early', reason: 'no layer of a name that it follows: pair it with one' },
      { norm: 'up_bn3', reason: 'no layer of a name that it follows: pair it with one' },
    ]);
    const told = json(
      'fold',
      'renamed.safetensors',
      'out.safetensors',
      '--pair',
      'early=conv1',
      '--pair',
      'up_bn3=up3',
    );
    expect(told.folded.length).toBe(3);
    expect(evenkeel('fold', 'renamed.safetensors', 'out.safetensors', '--pair', 'early=conv2').stderr).toBe(
      'evenkeel: foldSafetensors: the norm expected 12 channels, as the layer gives, got 6\n',
    );
  });

  test('the output is the format of the input', () => {
    expect(evenkeel('fold', 'convnet.onnx', 'out.safetensors')).toMatchObject({
      status: 2,
      stderr: 'evenkeel: fold writes what it reads, here ONNX: out.safetensors is another format\n',
    });
  });

  test('half floats stay half floats', () => {
    writeFileSync(at('half.safetensors'), fixture('torch/net.f16.safetensors'));
    const { folded } = json('fold', 'half.safetensors', 'out.safetensors', '--pair', 'bn1=fc1', '--pair', 'bn2=fc2');
    expect(folded.length).toBe(2);
    const { tensors } = readSafetensors(new Uint8Array(readFileSync(at('out.safetensors'))));
    expect(tensors.get('fc1.weight')!.dtype).toBe('F16');
    expect(tensors.get('bn0.weight')!.bytes).toEqual(
      readSafetensors(fixture('torch/net.f16.safetensors')).tensors.get('bn0.weight')!.bytes,
    );
  });

  test('ONNX: nodes and weights change, everything else is carried over', async () => {
    const { folded, kept } = json('fold', 'convnet.onnx', 'folded.onnx');
    expect([folded.length, kept]).toEqual([3, []]);
    const before = readOnnx(goldenFile(convnet, 'onnx'));
    const after = readOnnx(new Uint8Array(readFileSync(at('folded.onnx'))));
    expect(after.nodes.map(({ op }) => op)).toEqual([
      'Conv',
      'Relu',
      'Conv',
      'Relu',
      'Conv',
      'Add',
      'Relu',
      'ReduceMean',
      'Gemm',
    ]);
    for (const name of ['fc.weight', 'fc.bias'])
      expect(after.initializers.get(name)!.raw).toEqual(before.initializers.get(name)!.raw);
    expect(after.nodes.at(-1)!.raw).toEqual(before.nodes.at(-1)!.raw);
    expect([...after.fields].filter(({ number }) => number !== 7).map(({ raw }) => raw)).toEqual(
      [...before.fields].filter(({ number }) => number !== 7).map(({ raw }) => raw),
    );
    writeFileSync(at('mlp.onnx'), fixture('torch/net.onnx'));
    json('fold', 'mlp.onnx', 'mlp-folded.onnx');
    const net = await loadSequential(at('mlp-folded.onnx'));
    const { x, y } = answers('torch/net.json');
    expect(relative(net.forward({ data: Float32Array.from(x as number[]), shape: [4, 6] }).data, y)).toBeLessThan(3e-6);
    expect(net.layers.some(({ subject }) => subject.startsWith('BatchNorm'))).toBe(false);
  });

  test('in place, and after an error the old file is there as it was', () => {
    writeFileSync(at('own.safetensors'), goldenFile(convnet, 'weights'));
    expect(json('fold', 'own.safetensors', 'own.safetensors').folded.length).toBe(3);
    const content = readFileSync(at('own.safetensors'));
    expect(evenkeel('fold', 'cut.safetensors', 'own.safetensors').status).toBe(1);
    expect(readFileSync(at('own.safetensors'))).toEqual(content);
    expect(evenkeel('fold', 'own.safetensors', 'own.safetensors/inside').status).toBe(1);
    expect(readFileSync(at('own.safetensors'))).toEqual(content);
    expect(readdirSync(folder).filter((name) => name.startsWith('.'))).toEqual([]);
  });

  test('a process that dies while it writes leaves the old file', async () => {
    writeFileSync(
      at('large.safetensors'),
      writeSafetensors({ w: { data: new Float32Array(40 << 18), shape: [40, 1 << 18] } }),
    );
    writeFileSync(at('target.safetensors'), 'old');
    const child = spawn(process.execPath, [main, 'fold', 'large.safetensors', 'target.safetensors', '--progress'], {
      cwd: folder,
    });
    await new Promise<void>((resolve) => {
      child.stderr.on('data', (chunk) => {
        if (`${chunk}`.includes('writing')) child.kill('SIGKILL');
      });
      child.on('exit', () => resolve());
    });
    const content = readFileSync(at('target.safetensors'));
    // killed before the rename, or just after it: never half a file
    expect(content.toString() === 'old' || content.length === readFileSync(at('large.safetensors')).length).toBe(true);
    for (const name of readdirSync(folder)) if (name.startsWith('.')) rmSync(at(name));
  });

  test('a link stays a link, rights stay as they are, and what is no file is not replaced', () => {
    writeFileSync(at('real.safetensors'), 'old');
    chmodSync(at('real.safetensors'), 0o640);
    symlinkSync('real.safetensors', at('link.safetensors'));
    json('fold', 'convnet.safetensors', 'link.safetensors');
    expect(readlinkSync(at('link.safetensors'))).toBe('real.safetensors');
    expect(statSync(at('real.safetensors')).mode & 0o777).toBe(0o640);
    expect(readSafetensors(new Uint8Array(readFileSync(at('real.safetensors')))).tensors.has('conv1.bias')).toBe(true);
    expect(evenkeel('fold', 'convnet.safetensors', '.')).toMatchObject({
      status: 1,
      stderr: 'evenkeel: . is a folder\n',
    });
    expect(evenkeel('fold', 'convnet.safetensors', '/dev/null').status).toBe(0);
    expect(statSync('/dev/null').isCharacterDevice()).toBe(true);
    expect(evenkeel('fold', 'convnet.safetensors', 'nowhere/out.safetensors').stderr).toMatch(/^evenkeel: ENOENT: /);
  });

  test('wrappers around every name, and layers that are not there', () => {
    const { tensors } = readSafetensors(goldenFile(convnet, 'weights'));
    writeFileSync(
      at('wrapped.safetensors'),
      writeSafetensors(new Map([...tensors].map(([name, tensor]) => [`module.${name}`, tensor]))),
    );
    expect(
      json('fold', 'wrapped.safetensors', 'out.safetensors').folded.map(({ into }: { into: string }) => into),
    ).toEqual(['module.conv1', 'module.conv2', 'module.conv3']);
    expect(evenkeel('fold', 'convnet.safetensors', 'out.safetensors', '--transposed', 'nope')).toMatchObject({
      status: 2,
      stderr: "evenkeel: foldSafetensors: transposed expected names of layers in the file, got 'nope'\n",
    });
  });

  test('--progress shows how far it is', () => {
    const { stderr, status } = evenkeel('fold', 'convnet.safetensors', 'out.safetensors', '--progress');
    expect(status).toBe(0);
    expect(stderr).toContain('reading convnet.safetensors 100 %');
    expect(stderr).toContain('writing out.safetensors 100 %');
  });
});

describe('convert', () => {
  const torch = fixturePath('torch/net.f32.safetensors');

  test('safetensors → NPZ → safetensors, value for value', async () => {
    json('convert', torch, 'net.npz');
    json('convert', 'net.npz', 'again.safetensors');
    const want = readSafetensors(fixture('torch/net.f32.safetensors')).tensors;
    const got = readSafetensors(new Uint8Array(readFileSync(at('again.safetensors')))).tensors;
    expect([...got.keys()].sort()).toEqual([...want.keys()].sort());
    for (const [name, { data, shape, dtype }] of want) expect(got.get(name)).toMatchObject({ data, shape, dtype });
    expect((await readNpz(new Uint8Array(readFileSync(at('net.npz'))))).size).toBe(want.size);
  });

  test('Keras → safetensors with PyTorch’s names → Keras', async () => {
    const report = json('convert', fixturePath('keras/chain.new.keras'), 'chain.safetensors');
    expect(report.unused).toEqual([]);
    expect(report.tensors).toContain('batch_normalization.running_mean');
    json('convert', 'chain.safetensors', 'chain.weights.h5');
    const back = (await readKeras(new Uint8Array(readFileSync(at('chain.weights.h5'))))).tensors;
    const kernel = (await readKeras(fixture('keras/chain.new.keras'))).tensors.get('first/kernel')!;
    expect(back.get('first/kernel')).toMatchObject({ data: kernel.data, shape: kernel.shape });
  });

  test('TF.js → TF.js, with a shard beside the model', () => {
    mkdirSync(at('web'));
    json('convert', fixturePath('tfjs/uint8.json'), 'web/model.json');
    expect(existsSync(at('web/model.group1-shard1of1.bin'))).toBe(true);
    const model = readTfjs(new Uint8Array(readFileSync(at('web/model.json'))), {
      'model.group1-shard1of1.bin': new Uint8Array(readFileSync(at('web/model.group1-shard1of1.bin'))),
    });
    expect([...model.tensors.get('first/kernel')!.data]).toEqual(
      answers('tfjs/answers.json').weights.uint8['first/kernel'],
    );
  });

  test('eps stays with the weights', () => {
    json('convert', fixturePath('onnx/convs.onnx'), 'convs.safetensors');
    const { norms } = json('inspect', 'convs.safetensors');
    expect(norms.map(({ options }: { options: { eps: number } }) => options.eps)).toEqual([1e-5, 0.01]);
  });

  test('names of other frameworks, and other layer names', () => {
    const { tensors } = json('convert', torch, 'flax.safetensors', '--to', 'flax', '--rename', 'fc1=Dense_0');
    expect(tensors).toContain('params/Dense_0/kernel');
    expect(tensors).toContain('batch_stats/bn1/mean');
  });

  test('a chain becomes an ONNX model', async () => {
    const { layers } = json('convert', fixturePath('keras/functional.new.keras'), 'functional.onnx');
    expect(layers.length).toBe(5);
    const { x, y } = answers('keras/answers.new.json').functional;
    const net = await loadSequential(at('functional.onnx'));
    expect(relative(net.forward({ data: Float32Array.from(x as number[]), shape: [3, 4] }).data, y)).toBeLessThan(1e-5);
  });

  test('shards out of the model’s folder are refused', () => {
    writeFileSync(at('evil.json'), JSON.stringify({ weightsManifest: [{ paths: ['../secret.bin'], weights: [] }] }));
    expect(evenkeel('inspect', 'evil.json').stderr).toBe(
      "evenkeel: TF.js: shard '../secret.bin' expected a file beside the model, got a path out of its folder (offset 0)\n",
    );
  });

  test('a folder that cannot be written to', () => {
    if (process.getuid?.() === 0) return; // nothing is forbidden to root
    const locked = mkdtempSync(join(folder, 'locked-'));
    chmodSync(locked, 0o500);
    expect(evenkeel('convert', torch, join(locked, 'out.npz')).status).toBe(1);
  });
});
