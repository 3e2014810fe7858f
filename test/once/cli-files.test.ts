// The command line and files: what is said of them, where they are written to, and what is left
// behind.

import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  lstatSync,
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
import {
  foldSafetensors,
  readNpz,
  readSafetensors,
  readTfjs,
  type Writable,
  writeSafetensors,
} from '../../src/weights/index.ts';
import { fixture, fixturePath } from '../support/weights.ts';

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'evenkeel-files-'));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string) => join(folder, name);
const put = (name: string, bytes: Uint8Array | string) => writeFileSync(at(name), bytes);
const bytesOf = (name: string) => Uint8Array.from(readFileSync(at(name)));

function evenkeel(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', cwd: folder });
  return { status, stdout, stderr, last: stdout.trimEnd().split('\n').at(-1) };
}
const shell = (line: string) => spawnSync('sh', ['-c', line, process.execPath, main], { cwd: folder });
const hidden = () => readdirSync(folder).filter((name) => name.startsWith('.'));

const of = (shape: readonly number[], ...data: number[]) => ({ data: Float32Array.from(data), shape });
const vector = (...data: number[]) => of([data.length], ...data);
const norm = (name: string): Record<string, Writable> => ({
  [`${name}.weight`]: vector(2, 3),
  [`${name}.bias`]: vector(0.5, -0.5),
  [`${name}.running_mean`]: vector(1, 1),
  [`${name}.running_var`]: vector(4, 4),
});
const net: Record<string, Writable> = { 'fc1.weight': of([2, 3], 1, 2, 3, 4, 5, 6), ...norm('bn1') };
put('net.safetensors', writeSafetensors(net));
const folded = foldSafetensors(writeSafetensors(net)).file;

describe('files that are something else: exit code 1, and what they are', () => {
  test.each([
    ['pointer.safetensors', 'version https://git-lfs.github.com/spec/v1\noid sha256:1\n', 'a Git LFS pointer, which'],
    ['page.onnx', '<!DOCTYPE html><html>', 'a web page: download the file itself'],
    ['net.pth', fixture('torch/net.pt'), 'a file of torch.save, which is a pickle: write safetensors with save_file('],
    ['net.tflite', '\x1c\0\0\0TFL3', 'a TensorFlow Lite model: export the model as ONNX, with tf2onnx'],
    ['net.ort', '\x18\0\0\0ORTM', 'an ONNX Runtime model (.ort)'],
    ['config.json', '{"hidden_size": 768}', 'JSON'],
    ['empty', '', 'an empty file'],
    ['noise.bin', Uint8Array.of(7, 200, 3, 1, 0, 9), 'bytes that nothing here knows'],
  ])('%s', (name, content, got) => {
    put(name, content);
    const beginning = `evenkeel: file: ${name} expected a file of weights (safetensors, NPZ, NPY, ONNX, TF.js, Keras), got ${got}`;
    for (const args of [['inspect'], ['fold', 'out.safetensors'], ['convert', 'out.npz']]) {
      const { status, stdout, stderr } = evenkeel(args[0], name, ...args.slice(1));
      expect([status, stdout, stderr.slice(0, beginning.length)]).toEqual([1, '', beginning]);
    }
  });

  test('a bad value in a file is the file’s fault, one on the command line is the caller’s', () => {
    const { 'bn1.running_var': _, ...rest } = net;
    put('negative.safetensors', writeSafetensors({ ...rest, 'bn1.running_var': vector(-1, 4) }));
    expect(evenkeel('fold', 'negative.safetensors', 'out.safetensors')).toMatchObject({
      status: 1,
      stderr: "evenkeel: fromTorch: 'bn1.running_var' expected finite variances of 0 or more, got -1 at 0\n",
    });
    expect(evenkeel('fold', 'net.safetensors', 'out.safetensors', '--pair', 'bn7=fc1')).toMatchObject({
      status: 2,
      stderr: "evenkeel: foldSafetensors: a norm expected 'bn1', got 'bn7'\n",
    });
    expect(evenkeel('convert', 'net.safetensors', 'out.npz', '--rename', 'nobody=0').status).toBe(2);
  });
});

describe('inspect', () => {
  test('never calls statistics sound that are not there', () => {
    const { 'bn1.running_var': _, ...rest } = net;
    put('missing.safetensors', writeSafetensors(rest));
    const { stdout, last } = evenkeel('inspect', 'missing.safetensors');
    expect(stdout).toContain('  ! missing: bn1.running_var\n');
    expect(last).toBe('1 missing');
    put('plain.safetensors', writeSafetensors({ 'fc.weight': of([1, 2], 1, 2) }));
    expect(evenkeel('inspect', 'plain.safetensors').last).toBe('no statistics to look at');
    expect(evenkeel('inspect', 'net.safetensors').last).toBe('statistics look sound');
    put('beside.safetensors', writeSafetensors({ ...net, steps: vector(3) }));
    const beside = evenkeel('inspect', 'beside.safetensors');
    expect(beside.stdout).toContain('  ! not known what it is: steps\n');
    expect(beside.last).toBe('statistics of what is known look sound');
  });

  test('marks what the file does not say', () => {
    expect(evenkeel('inspect', 'net.safetensors').stdout).toContain(
      '  bn1: batch norm, 2 channels, eps 0.00001 (assumed), momentum 0.1 (assumed), unbiased variance (assumed), channels-first (assumed)\n',
    );
    const { norms } = JSON.parse(evenkeel('inspect', 'net.safetensors', '--json').stdout);
    expect(norms[0].assumed).toEqual(['eps', 'momentum', 'runningVariance', 'layout']);
    expect(evenkeel('inspect', fixturePath('onnx/convs.onnx')).stdout).not.toContain('assumed');
  });

  test('counts norms, and not activations with slopes', () => {
    const { stdout } = evenkeel('inspect', fixturePath('torch/prelu.safetensors'));
    expect(stdout).toContain('\n2 normalization layers\n');
    expect(stdout).toContain('  ! not known what it is: act1.weight\n');
    put('vector.safetensors', writeSafetensors({ 'layers.1.weight': vector(1, 2) }));
    expect(evenkeel('inspect', 'vector.safetensors').stdout).toContain(
      '  layers.1: RMSNorm or PReLU: the file does not say which, 2 channels\n',
    );
  });

  test('knows flax.nnx', () => {
    for (const name of ['flax/nnx.npz', 'flax/nnx.value.npz']) {
      const report = JSON.parse(evenkeel('inspect', fixturePath(name), '--json').stdout);
      const kinds = report.norms.map((one: { name: string; kind: string }) => [one.name, one.kind]);
      expect([report.framework, kinds]).toEqual([
        'flax',
        [
          ['bn', 'batch norm'],
          ['ln', 'norm without statistics'],
        ],
      ]);
    }
  });

  test('a file in which nothing is known is an error, after its list', () => {
    put('odd.safetensors', writeSafetensors({ a: vector(1), b: vector(2) }));
    const { status, stdout, stderr } = evenkeel('inspect', 'odd.safetensors');
    expect([status, stderr]).toEqual([
      1,
      "evenkeel: inspect: odd.safetensors expected names of layers and norms that are known, got 'a', 'b'\n",
    ]);
    expect(stdout).toContain('  a       F32   [1]');
    expect(evenkeel('convert', 'odd.safetensors', 'out.npz')).toMatchObject({
      status: 1,
      stderr: "evenkeel: convert: odd.safetensors expected names of layers and norms that are known, got 'a', 'b'\n",
    });
    put('none.safetensors', writeSafetensors({}));
    for (const args of [['inspect'], ['fold', 'out.safetensors'], ['convert', 'out.npz']])
      expect(evenkeel(args[0], 'none.safetensors', ...args.slice(1))).toMatchObject({
        status: 1,
        stderr: 'evenkeel: safetensors: none.safetensors expected tensors, got none that is known (offset 0)\n',
      });
  });
});

describe('fold', () => {
  test('says in its last line what it assumed', () => {
    const { stdout, last } = evenkeel('fold', 'net.safetensors', 'out.safetensors');
    expect(stdout).toContain('bn1 → fc1 (assumed): 2 channels, behind it, eps 0.00001 (assumed), rounding at most');
    expect(last).toBe(
      'assumed, as the file does not say it: that bn1 follow the layers of their names (--pair says what they follow); eps 0.00001 of bn1 (--eps)',
    );
    const told = evenkeel('fold', 'net.safetensors', 'out.safetensors', '--pair', 'bn1=fc1', '--eps', '1e-3');
    expect(told.last).toMatch(/^1 folded, 0 left; /);
    const { assumed } = JSON.parse(evenkeel('fold', 'net.safetensors', 'out.safetensors', '--json').stdout);
    expect(assumed).toEqual([
      'bn1: it follows fc1, by their names: the file has no graph',
      "bn1: eps 0.00001, PyTorch's default: the file does not say",
    ]);
    put('none.safetensors', writeSafetensors({ 'fc.weight': of([1, 2], 1, 2) }));
    expect(evenkeel('fold', 'none.safetensors', 'out.safetensors').last).toBe(
      "no batch norm with PyTorch's names (running_mean, running_var): everything is carried over as it is",
    );
  });

  test('of a file in which nothing is known is an error, and nothing is written', () => {
    put('strange.safetensors', writeSafetensors({ 'a.zzz': of([1, 2], 1, 2), 'b.yyy': vector(3) }));
    const { status, stdout, stderr } = evenkeel('fold', 'strange.safetensors', 'strange.out.safetensors');
    expect([status, stdout, stderr]).toEqual([
      1,
      '',
      "evenkeel: fold: strange.safetensors expected names of layers and norms that are known, got 'a.zzz', 'b.yyy'\n",
    ]);
    expect(existsSync(at('strange.out.safetensors'))).toBe(false);
  });

  test('reads shards beside their index', () => {
    mkdirSync(at('shards'));
    put('shards/a.safetensors', writeSafetensors({ 'fc1.weight': net['fc1.weight'] }));
    put('shards/b.safetensors', writeSafetensors(norm('bn1')));
    const map = Object.fromEntries(Object.keys(net).map((name) => [name, name === 'fc1.weight' ? 'a' : 'b']));
    const index = (path: string) =>
      JSON.stringify({
        weight_map: Object.fromEntries(Object.entries(map).map(([name, file]) => [name, `${path}${file}.safetensors`])),
      });
    put('shards/model.safetensors.index.json', index(''));
    const { stdout } = evenkeel('fold', 'shards/model.safetensors.index.json', 'out.safetensors');
    expect(stdout.split('\n')[0]).toBe('2 shards became one file');
    expect(bytesOf('out.safetensors')).toEqual(folded);
    expect(evenkeel('inspect', 'shards/model.safetensors.index.json').stdout).toContain(
      'model.safetensors.index.json: safetensors in 2 shards, torch names, 5 tensors, 14 values',
    );
    put('shards/evil.json', index('../'));
    expect(evenkeel('inspect', 'shards/evil.json').stderr).toBe(
      "evenkeel: safetensors: shard '../a.safetensors' expected a file beside the model, got a path out of its folder (offset 0)\n",
    );
  });
});

describe('convert', () => {
  const odd = {
    ...net,
    'emb.table': { data: [1, 2], shape: [2], dtype: 'I32' },
    'fc2.weight': { bytes: Uint8Array.of(1, 2), shape: [2, 1], dtype: 'F8_E4M3' },
  };

  test('carries over what nobody knows, in its own type', async () => {
    put('odd.safetensors', writeSafetensors(odd));
    const { stdout } = evenkeel('convert', 'odd.safetensors', 'kept.safetensors');
    const { tensors } = readSafetensors(bytesOf('kept.safetensors'));
    expect([tensors.get('emb.table')!.dtype, [...tensors.get('emb.table')!.data]]).toEqual(['I32', [1, 2]]);
    expect([tensors.get('fc2.weight')!.dtype, [...tensors.get('fc2.weight')!.bytes]]).toEqual(['F8_E4M3', [1, 2]]);
    for (const name of ['emb.table', 'fc2.weight'])
      expect(stdout).toContain(`carried over as it is, as nobody knows it: ${name}\n`);
    const { 'fc2.weight': _, ...whole } = odd;
    put('whole.safetensors', writeSafetensors(whole));
    expect(evenkeel('convert', 'whole.safetensors', 'whole.npz').status).toBe(0);
    expect((await readNpz(bytesOf('whole.npz'))).get('emb.table')!.dtype).toBe('I32');
  });

  test('writes nothing where something would be lost', () => {
    const fail = (output: string) => {
      const { status, stderr } = evenkeel('convert', 'odd.safetensors', output);
      expect([status, existsSync(at(output))]).toEqual([1, false]);
      return stderr;
    };
    expect(fail('lost.npz')).toBe(
      "evenkeel: convert: 'fc2.weight' expected a type that a .npz file holds, got F8_E4M3 (nothing in a file is dropped)\n",
    );
    expect(fail('lost.weights.h5')).toBe(
      "evenkeel: convert: 'fc2.weight' expected a type that a .h5 file holds, got F8_E4M3 (nothing in a file is dropped)\n",
    );
  });

  test('says which types and shapes change', () => {
    const counted = { ...net, 'bn1.num_batches_tracked': { data: [7], shape: [1], dtype: 'I64' } };
    put('counted.safetensors', writeSafetensors(counted));
    const { stdout } = evenkeel('convert', 'counted.safetensors', 'counted.npz', '--to', 'flax');
    expect(stdout).toContain('I64 became F32\n');
    expect(stdout).toContain('shapes: 1 weight now with inputs before outputs\n');
    expect(stdout).toContain('left out, as flax counts no batches: bn1.batchesTracked 7\n');
    expect(evenkeel('convert', fixturePath('torch/net.f64.safetensors'), 'single.json').stdout).toContain(
      'I64, F64 became F32\n',
    );
  });

  test('says nothing of eps that the file does not say', () => {
    evenkeel('convert', 'net.safetensors', 'again.safetensors');
    expect({ ...readSafetensors(bytesOf('again.safetensors')).metadata }).toEqual({ format: 'pt' });
  });

  test('replaces all parts of a TF.js model, or none', () => {
    mkdirSync(at('web/model.json'), { recursive: true });
    put('web/model.group1-shard1of1.bin', 'old');
    expect(evenkeel('convert', 'net.safetensors', 'web/model.json')).toMatchObject({
      status: 1,
      stderr: 'evenkeel: web/model.json is a folder\n',
    });
    expect(readdirSync(at('web'))).toEqual(['model.group1-shard1of1.bin', 'model.json']);
    expect(readFileSync(at('web/model.group1-shard1of1.bin'), 'utf8')).toBe('old');
    rmSync(at('web/model.json'), { recursive: true });
    put('web/model.json', 'old');
    expect(evenkeel('convert', 'net.safetensors', 'web/model.json').status).toBe(0);
    const shard = 'model.group1-shard1of1.bin';
    const { tensors } = readTfjs(bytesOf('web/model.json'), { [shard]: bytesOf(`web/${shard}`) });
    expect([...tensors.get('bn1/gamma')!.data]).toEqual([2, 3]);
    expect(readdirSync(at('web')).sort()).toEqual([shard, 'model.json']);
  });
});

describe('where it writes', () => {
  test('a pipe is written to, through a link as well, and the report goes elsewhere', () => {
    symlinkSync('/proc/self/fd/1', at('so'));
    for (const name of ['so', '/dev/stdout']) {
      const { stdout, stderr } = shell(`"$0" "$1" fold net.safetensors ${name} | cat`);
      expect(Uint8Array.from(stdout)).toEqual(folded);
      expect(`${stderr}`).toContain('1 folded, 0 left');
    }
    expect(readlinkSync(at('so'))).toBe('/proc/self/fd/1');
    const { stdout } = shell('mkfifo pipe; cat pipe & "$0" "$1" fold net.safetensors pipe >/dev/null; wait');
    expect(Uint8Array.from(stdout)).toEqual(folded);
    expect(lstatSync(at('pipe')).isFIFO()).toBe(true);
  });

  test('a file that a shell has open is not replaced under it', () => {
    shell('(printf "before "; "$0" "$1" fold net.safetensors /dev/stdout; printf " behind") > both 2>/dev/null');
    const both = bytesOf('both');
    const text = new TextDecoder('latin1').decode(both);
    expect([text.startsWith('before '), text.endsWith(' behind'), both.length]).toEqual([
      true,
      true,
      folded.length + 14,
    ]);
  });

  test('a link that leads nowhere yet stays a link, and its file is made', () => {
    mkdirSync(at('store'));
    symlinkSync('store/new.safetensors', at('dangling'));
    expect(evenkeel('fold', 'net.safetensors', 'dangling').status).toBe(0);
    expect(readlinkSync(at('dangling'))).toBe('store/new.safetensors');
    expect(bytesOf('store/new.safetensors')).toEqual(folded);
  });

  test.each(['SIGINT', 'SIGTERM'] as const)(
    '%s leaves the old file, and nothing beside it; rights are those of the old one',
    async (signal) => {
      put(
        'large.safetensors',
        writeSafetensors({ 'fc.weight': { data: new Float32Array(48 << 18), shape: [48, 1 << 18] } }),
      );
      put('secret.safetensors', 'old');
      chmodSync(at('secret.safetensors'), 0o600);
      const child = spawn(process.execPath, [main, 'fold', 'large.safetensors', 'secret.safetensors', '--progress'], {
        cwd: folder,
      });
      const modes: number[] = [];
      const ended = await new Promise((resolve) => {
        child.stderr.on('data', (chunk) => {
          if (!`${chunk}`.includes('writing') || modes.length) return;
          for (const name of hidden()) modes.push(statSync(at(name)).mode & 0o777);
          child.kill(signal);
        });
        child.on('exit', (code, by) => resolve(by ?? code));
      });
      const content = readFileSync(at('secret.safetensors'));
      // the signal may come just behind the last byte
      expect([signal, 0]).toContain(ended);
      if (ended === signal) expect(content.toString()).toBe('old');
      for (const mode of modes) expect(mode).toBe(0o600);
      expect(hidden()).toEqual([]);
      expect(statSync(at('secret.safetensors')).mode & 0o777).toBe(0o600);
    },
  );
});
