// Files of compiled networks: their version and checksum, what is in them, and what is refused.

import { describe, expect, test } from 'vitest';
import {
  BatchNorm1d,
  BatchNorm2d,
  Graph,
  Linear,
  ReLU,
  Sequential,
  Tanh,
  type TensorLike,
  tensor,
} from '../../src/index.ts';
import { checksumOf } from '../../src/infer/file.ts';
import { load } from '../../src/infer/load.ts';
import { merging, norms } from '../../src/infer/operations.ts';
import { backend } from '../../src/kernels/backend.ts';
import { readSafetensors, writeSafetensors } from '../../src/weights/index.ts';
import { fixture } from '../support/weights.ts';

const net = new Sequential(new Linear(3, 4, { seed: 1 }), new Tanh(), new Linear(4, 2, { seed: 2 })).eval();
const file = net.compile().save();
const text = (value: string) => Uint8Array.from(value, (c) => c.charCodeAt(0));

describe('the checksum', () => {
  test('finds every bit that changes', () => {
    for (let bit = 0; bit < file.length * 8; bit++) {
      const bytes = file.slice();
      bytes[bit >> 3] ^= 1 << (bit & 7);
      expect(() => load(bytes), `bit ${bit}`).toThrow(expect.objectContaining({ code: 'ERR_FORMAT' }));
    }
  });

  test('is that of all other bytes, and says so', () => {
    const { metadata } = readSafetensors(file);
    expect(metadata).toMatchObject({ format: 'evenkeel-compiled', version: '3', checksum: checksumOf(file) });
    const bytes = file.slice();
    bytes[bytes.length - 1] ^= 1;
    expect(() => load(bytes)).toThrow(
      `evenkeel-compiled: checksum expected '${checksumOf(bytes)}', got '${metadata.checksum}' (offset 37)`,
    );
    // bytes that change places are found as well
    const swapped = file.slice();
    const at = file.length - 8;
    [swapped[at], swapped[at + 1]] = [file[at + 1], file[at]];
    expect(swapped).not.toEqual(file);
    expect(checksumOf(swapped)).not.toBe(checksumOf(file));
  });

  test('sums every byte in its place, of any length and at any offset', () => {
    const bytewise = (bytes: Uint8Array) => {
      let [sum, sums] = [1, 0];
      for (let i = 0; i < bytes.length; i++) {
        if (i >= 37 && i < 53) continue;
        sum = (sum + bytes[i]) | 0;
        sums = (sums + sum) | 0;
      }
      return [sum, sums].map((value) => (value >>> 0).toString(16).padStart(8, '0')).join('');
    };
    for (let length = 53; length < 400; length++) {
      for (const offset of [0, 1, 2, 3]) {
        const bytes = new Uint8Array(length + offset).map((_, i) => (length % 3 ? i * i * 7 + 5 * i : 255));
        expect(checksumOf(bytes.subarray(offset))).toBe(bytewise(bytes.subarray(offset)));
      }
    }
  });

  test.each(['version1', 'version2'])('files of %s still load', (version) => {
    const { x, y } = JSON.parse(new TextDecoder().decode(fixture(`compiled/${version}.json`)));
    using run = load(fixture(`compiled/${version}.safetensors`));
    const got = run({ data: Float32Array.from(x as number[]), shape: [4, 3] }).data;
    expect(got.length).toBe(y.length);
    for (const [i, value] of got.entries()) expect(Math.abs(value - y[i])).toBeLessThan(1e-6);
    expect(run.inputs).toEqual([{ name: 'x', shape: [null, 3] }]);
    expect(run.outputs).toEqual([{ name: 'output', shape: [null, 2] }]);
  });

  test('a later version is refused', () => {
    const later = text(String.fromCharCode(...fixture('compiled/version1.safetensors')).replace('"1"', '"4"'));
    expect(() => load(later)).toThrow("evenkeel-compiled: version expected '1' to '3', got '4' (offset 8)");
  });
});

describe('a loaded network says what it takes and gives', () => {
  const ports = (...layers: ConstructorParameters<typeof Sequential>) => {
    const run = new Sequential(...layers).eval().compile();
    const loaded = load(run.save());
    expect([loaded.inputs, loaded.outputs]).toEqual([run.inputs, run.outputs]);
    return [loaded.inputs[0].shape, loaded.outputs[0].shape];
  };

  test('names and sizes, null where the batch says them', () => {
    const { inputs, outputs } = load(file);
    expect([inputs, outputs]).toEqual([[{ name: 'x', shape: [null, 3] }], [{ name: 'output', shape: [null, 2] }]]);
    expect(ports(new Linear(784, 100), new BatchNorm1d(100), new ReLU(), new Linear(100, 10))).toEqual([
      [null, 784],
      [null, 10],
    ]);
    expect(ports(new BatchNorm1d(5))).toEqual([
      [null, 5],
      [null, 5],
    ]);
    expect(ports(new BatchNorm2d(3))).toEqual([
      [null, 3, null, null],
      [null, 3, null, null],
    ]);
    expect(ports(new BatchNorm2d(3, { layout: 'channels-last' }), new Linear(3, 7))).toEqual([
      [null, null, null, 3],
      [null, null, null, 7],
    ]);
    expect(ports(new ReLU())).toEqual([null, null]);
  });
});

describe('another file', () => {
  test.each([
    ['safetensors', fixture('torch/net.f32.safetensors'), 'a safetensors file of something else'],
    ['NPZ', fixture('numpy/stored.npz'), 'a ZIP archive'],
    ['ONNX', fixture('torch/net.onnx'), 'an ONNX model'],
    ['HDF5', fixture('keras/chain.new.h5'), 'an HDF5 file'],
    ['TF.js', fixture('tfjs/plain.json'), 'JSON'],
    ['a page', text('<!doctype html>'), 'a web page'],
    ['a pointer', text('version https://git-lfs.github.com/spec/v1\n'), 'a Git LFS pointer'],
    ['noise', Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10), 'other bytes'],
  ])('%s is named', (_, bytes, got) => {
    expect(() => load(bytes)).toThrow(
      `evenkeel-compiled: file expected what save() or evenkeel compile writes, got ${got} (offset 0)`,
    );
  });

  /** A file of version 1 around a program. */
  const compiled = (program: unknown, tensors = {}) =>
    writeSafetensors(tensors, { format: 'evenkeel-compiled', version: '1', program: JSON.stringify(program) });
  const step = (i: number) => ({
    kind: 'linear',
    x: i,
    add: -1,
    activation: null,
    in: 512,
    out: 512,
    weight: 'w',
    bias: null,
  });

  test('whose steps name one weight again and again', () => {
    const weight = { data: new Float32Array(512 * 512), shape: [512, 512] };
    const many = { flat: Array.from({ length: 2500 }, (_, i) => step(i)), general: null, rowsOnly: false };
    expect(() => load(compiled(many, { w: weight }))).toThrow(
      'evenkeel-compiled: flat[64] weight expected less for the size of the file, got weights named by many steps (offset 8)',
    );
    const few = { ...many, flat: many.flat.slice(0, 3) };
    using run = load(compiled(few, { w: weight }));
    expect(run.steps.length).toBe(3);
  });

  test('with a header that is larger than any', () => {
    const long = compiled({ flat: [], general: null, rowsOnly: false, more: '0'.repeat(2 ** 21) });
    expect(() => load(long)).toThrow(
      /^evenkeel-compiled: header length expected at most 2097152, got \d+ \(offset 0\)$/,
    );
  });

  /** A file of version 3 around a program. */
  const network = (inputs: unknown, steps: unknown, outputs = [1]) => {
    const program = {
      inputs,
      outputs: [{ name: 'y', shape: null }],
      flat: { outputs, steps },
      general: null,
      rowsOnly: false,
    };
    const metadata = {
      checksum: '0'.repeat(16),
      format: 'evenkeel-compiled',
      version: '3',
      program: typeof steps === 'string' ? steps : JSON.stringify(program),
    };
    const bytes = writeSafetensors({}, metadata);
    bytes.set(text(checksumOf(bytes)), 37);
    return bytes;
  };
  const operations = [norms, merging];
  const port = { name: 'x', shape: null };
  const norm = {
    kind: 'channel-norm',
    channels: 2,
    groups: 2,
    over: 'sample',
    onSingleValue: 'throw',
    eps: 0,
    layout: 'channels-first',
    ranks: [2, null],
    gamma: null,
    beta: null,
    inputs: [0],
    activation: null,
  };

  test('with values of any type', () => {
    const values: unknown[] = [
      { constructor: { name: 5 } },
      { toString: 1 },
      [[{ constructor: { name: {} } }]],
      null,
      'x',
      [],
      -1,
    ];
    for (const value of values) {
      const steps = Object.keys(norm).map((name) => [{ ...norm, [name]: value }]);
      for (const one of [...steps, [value], value]) {
        const open = () => load(network([port], one as never), { operations }).dispose();
        try {
          open();
        } catch (error) {
          expect([value, one, (error as { code: string }).code]).toEqual([value, one, 'ERR_FORMAT']);
        }
      }
      expect(() => load(network(value, [norm]), { operations })).toThrow('evenkeel-compiled: inputs expected');
    }
    const head = '{"__metadata__":{"format":"evenkeel-compiled","version":"1","program":{"toString":1}}}';
    const bytes = Uint8Array.from([head.length, 0, 0, 0, 0, 0, 0, 0, ...text(head)]);
    expect(() => load(bytes)).toThrow('evenkeel-compiled: program expected what save() writes, got other bytes');
  });

  test('whose norms take inputs without channels', () => {
    for (const least of [0, 1]) {
      for (const layout of ['channels-first', 'channels-last'])
        expect(() => load(network([port], [{ ...norm, layout, ranks: [least, null] }]), { operations })).toThrow(
          `evenkeel-compiled: flat[0] expected a number from 2 to 64, got ${least} (offset 8)`,
        );
    }
  });

  test('whose norms have ones and zeros without end', () => {
    const rows = { kind: 'row-norm', centred: true, eps: 0, gamma: null, beta: null, inputs: [0], activation: null };
    const open = (...shape: number[]) => load(network([port], [{ ...rows, normalizedShape: shape }]), { operations });
    open(2 ** 10, 2 ** 10).dispose();
    for (const shape of [[2 ** 24], [2 ** 24, 2 ** 24, 2 ** 24]]) {
      const name = `layer norm ${shape.join(' × ')}`;
      expect(() => open(...shape)).toThrow(`flat[0] expected less for the size of the file, got ${name} (offset 8)`);
    }
    expect(() => open(...Array.from({ length: 65 }, () => 1))).toThrow('flat[0] expected at most 64 axes, got 65');
  });

  test('with more inputs than any', () => {
    const many = Array.from({ length: 4097 }, (_, i) => ({ name: `${i}`, shape: null }));
    expect(() => load(network(many, [norm]), { operations })).toThrow('inputs expected at most 4096, got 4097');
  });

  test('whose first input is empty, and others are not', () => {
    const concat = { kind: 'concat', axis: 0, inputs: [0, 1], activation: null };
    using run = load(network([port, { name: 'z', shape: null }], [concat], [2]), { operations });
    const z = { data: Float32Array.of(1, 2, 3), shape: [1, 3] };
    expect([
      ...run<TensorLike, TensorLike>({ x: { data: new Float32Array(0), shape: [0, 3] }, z } as never).data,
    ]).toEqual([1, 2, 3]);
  });

  test('whose inputs have names of objects, or of outputs', () => {
    const add = { kind: 'add', inputs: [0, 1], activation: null };
    using run = load(
      network(
        [
          { name: '__proto__', shape: null },
          { name: 'out.y', shape: null },
        ],
        [add],
        [2],
      ),
      { operations },
    );
    const [a, b] = [1, 2].map((value) => tensor(Float32Array.of(value), [1, 1]));
    const given = Object.fromEntries([
      ['__proto__', a],
      ['out.y', b],
    ]);
    expect([...run<TensorLike, TensorLike>(given as never, { out: tensor([0], [1, 1]) }).data]).toEqual([3]);
    for (const out of [a, b]) expect(() => run(given, { out })).toThrow(expect.objectContaining({ code: 'ERR_ALIAS' }));
  });
});

test('names of inputs and outputs are shown in part', () => {
  const [a, b] = ['a', 'b'].map((name) => `${'x\n\u0085'.repeat(500)}${name}`);
  const all = Array.from({ length: 40 }, (_, i) => `${b}${i}`);
  const graph = new Graph(Object.fromEntries([a, ...all].map((name) => [name, [3]])), (g, inputs) => {
    const sum = Object.values(inputs).reduce((one, other) => g.add(one, other));
    return { [a]: sum, [b]: g.apply('relu', new ReLU(), sum) };
  });
  using run = load(graph.eval().compile().save(), { operations: [merging] });
  const x = tensor(new Float32Array(6), [2, 3]);
  const right = Object.fromEntries([a, ...all].map((name) => [name, x]));
  expect(Object.keys(run(right as never))).toEqual([a, b]);
  const messages = [
    { ...right, [a]: tensor(new Float32Array(8), [2, 4]) },
    { ...right, [a]: { data: 1, shape: [2, 3] } },
    { ...right, [a]: undefined },
    { ...right, other: x },
  ].map((given) => {
    try {
      run(given as never);
      return 'nothing';
    } catch (error) {
      return (error as Error).message;
    }
  });
  const out = tensor(new Float32Array(6), [2, 3]);
  expect(() => run(right as never, { out: { [a]: out, [b]: out } } as never)).toThrow(/apart from out\.x\?\?x/);
  const start = 'x??'.repeat(26);
  expect(messages[0]).toContain(`: ${start}x?… expected shape [null, 3], got [2, 4]`);
  expect(messages[1]).toContain(`: ${start}x?….data expected `);
  expect(messages[2]).toContain(`x expected a tensor '${start}x?…', got undefined`);
  expect(messages[3]).toMatch(/, x: names expected 'x\?\?x.*, …, got 'other'$/);
  for (const message of messages) expect([message.length < 2000, /[\n\u0085]/.test(message)]).toEqual([true, false]);
});

describe('weights of a loaded network are its own', () => {
  const x = { data: Float32Array.of(1, -2, 3), shape: [1, 3] };
  const expected = net.forward(x).data;
  const close = (got: Float32Array) => {
    expect(got.length).toBe(expected.length);
    for (const [i, value] of got.entries()) expect(Math.abs(value - expected[i])).toBeLessThan(1e-6);
  };

  test.each([0, 1, 2, 3])('from a file %i bytes behind a multiple of four, which changes afterwards', (offset) => {
    const bytes = new Uint8Array(file.length + offset).subarray(offset);
    bytes.set(file);
    using run = load(bytes);
    bytes.fill(0);
    close(run(x).data);
  });

  test('from a file in linear memory, which grows', () => {
    const wide = new Sequential(new Linear(1024, 1024, { seed: 1 })).eval();
    const row = { data: Float32Array.from({ length: 1024 }, (_, i) => Math.sin(i)), shape: [1, 1024] };
    const saved = wide.compile().save();
    using held = tensor(new Float32Array(saved.length / 4), [saved.length / 4]);
    const bytes = new Uint8Array(held.data.buffer, held.data.byteOffset, saved.length);
    bytes.set(saved);
    const { buffer } = backend().heap;
    using run = load(bytes);
    expect(backend().heap.buffer).not.toBe(buffer);
    expect(run(row).data).toEqual(load(saved)(row).data);
  });

  test('from a file whose weights for other ranks are packed at the first such run', () => {
    const deep = new Sequential(new Linear(3, 3, { seed: 1 }), new BatchNorm1d(3)).eval();
    const sequence = { data: Float32Array.from({ length: 18 }, (_, i) => Math.sin(i)), shape: [2, 3, 3] };
    const compiled = deep.compile();
    const bytes = compiled.save();
    using run = load(bytes);
    bytes.fill(0);
    expect(run(sequence).data).toEqual(compiled(sequence).data);
  });
});
