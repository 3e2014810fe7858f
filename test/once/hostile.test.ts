// Hostile bytes: cut anywhere, lengths that lie, names twice, depth without end. Each gives an
// error that says what and where, at once.

import { deflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Linear, Sequential } from '../../src/index.ts';
import {
  fromTfjs,
  fromTorch,
  loadSequential,
  readKeras,
  readNpy,
  readNpz,
  readOnnx,
  readSafetensors,
  readTfjs,
  toOnnx,
  writeNpy,
  writeNpz,
  writeSafetensors,
} from '../../src/weights/index.ts';
import { mutate } from '../fuzz/mutate.ts';
import { complaint, kerasCases, readerCases } from '../support/readers.ts';
import { fixture } from '../support/weights.ts';

const text = (value: string) => new TextEncoder().encode(value);
const cases = readerCases();

describe.each(cases.map((one) => [one.name, one] as const))('%s', (_, one) => {
  test('cut at every byte', async () => {
    for (let length = 0; length < one.bytes.length; length++) {
      expect([length, await complaint(one, one.bytes.slice(0, length))]).toEqual([length, undefined]);
    }
  });

  test('hundreds of mutations', async () => {
    for (let seed = 0; seed < 300; seed++) {
      expect([seed, await complaint(one, mutate(one.bytes, seed))]).toEqual([seed, undefined]);
    }
  });
});

test('Keras files cut anywhere', async () => {
  for (const one of kerasCases()) {
    for (let length = 0; length < one.bytes.length; length += 211) {
      expect([one.name, length, await complaint(one, one.bytes.slice(0, length))]).toEqual([
        one.name,
        length,
        undefined,
      ]);
    }
  }
});

/** A safetensors file around a header. */
function safetensors(
  header: string,
  data = new Uint8Array(0),
  length: number | bigint = text(header).length,
): Uint8Array {
  const bytes = new Uint8Array(8 + text(header).length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(text(header), 8);
  bytes.set(data, 8 + text(header).length);
  return bytes;
}

describe('safetensors that lie', () => {
  const four = new Uint8Array(4);
  test.each([
    [
      'a header beyond the file',
      safetensors('{}', four, 100),
      'safetensors: header length expected at most 6, got 100 (offset 0)',
    ],
    [
      'a header beyond 2^53',
      safetensors('{}', four, 1n << 60n),
      'safetensors: header length expected a number below 2^53, got 1152921504606846976 (offset 0)',
    ],
    [
      'a header of 100 MB',
      safetensors(' '.repeat(100 << 20)),
      'safetensors: header length expected at most 16777216, got 104857600 (offset 0)',
    ],
    [
      'a key twice',
      safetensors('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{}}', four),
      "safetensors: header expected each key once, got 'a' again (offset 62)",
    ],
    [
      'a key twice inside',
      safetensors('{"a":{"dtype":"F32","shape":[1],"shape":[2],"data_offsets":[0,4]}}', four),
      "expected each key once, got 'shape' again",
    ],
    ['deep JSON', safetensors(`{"a":${'['.repeat(100_000)}`), 'safetensors: header expected at most 64 levels'],
    [
      'a gap',
      safetensors('{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', new Uint8Array(8)),
      "safetensors: tensor 'a' expected bytes from 0 on, got 4",
    ],
    [
      'an overlap',
      safetensors(
        '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}',
        new Uint8Array(6),
      ),
      "safetensors: tensor 'b' expected bytes from 4 on, got 2",
    ],
    [
      'bytes left over',
      safetensors('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', new Uint8Array(5)),
      'safetensors: data expected 4 bytes, got 5',
    ],
    [
      'an end beyond the data',
      safetensors('{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}', four),
      "safetensors: tensor 'a' expected an end by 4, got 16",
    ],
    [
      'a negative offset',
      safetensors('{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}', four),
      "safetensors: tensor 'a' expected two data_offsets, got [-4, 0]",
    ],
    [
      'no offsets',
      safetensors('{"a":{"dtype":"F32","shape":[1]}}', four),
      "safetensors: tensor 'a' expected two data_offsets, got undefined",
    ],
    [
      'offsets the wrong way round',
      safetensors('{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}', four),
      "safetensors: tensor 'a' expected data_offsets in order, got [4, 0]",
    ],
    [
      'a shape beyond 2^53',
      safetensors('{"a":{"dtype":"F32","shape":[4194305,4194305,211106198978564],"data_offsets":[0,4]}}', four),
      "safetensors: tensor 'a' expected fewer than 2^53 bytes",
    ],
    [
      'a shape of other bytes',
      safetensors('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', four),
      "safetensors: tensor 'a' expected 8 bytes for this shape and type, got 4",
    ],
    [
      'metadata that is no text',
      safetensors('{"__metadata__":{"a":1}}'),
      'safetensors: __metadata__ expected texts by name',
    ],
    [
      'bytes that are no UTF-8',
      safetensors('{"a":1}').fill(0xff, 10, 11),
      'safetensors: header expected UTF-8, got other bytes (offset 8)',
    ],
  ])('%s', (_, bytes, message) => {
    expect(() => readSafetensors(bytes)).toThrow(message);
  });
});

describe('NPY that lies', () => {
  const npy = (header: string, data = 0) => {
    const bytes = new Uint8Array(10 + header.length + data);
    bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, header.length & 255, header.length >> 8]);
    bytes.set(text(header), 10);
    return bytes;
  };
  const head = (shape: string, descr = '<f4') => `{'descr': '${descr}', 'fortran_order': False, 'shape': ${shape}, }\n`;
  test.each([
    ['more values than there are', npy(head('(100,)'), 16), 'NPY: values expected 400 bytes, got 16 before the end'],
    ['fewer values', npy(head('(2,)'), 12), 'NPY: values expected 8 bytes, got 4 more'],
    [
      'a shape beyond 2^53',
      npy(head('(9007199254740991, 9007199254740991)'), 4),
      'NPY: shape expected fewer than 2^53 bytes',
    ],
    ['a negative shape', npy(head('(-1,)'), 4), "NPY: header expected {'descr'"],
    ['objects, which are pickles', npy(head('(1,)', '|O'), 4), 'NPY: descr expected a type among f8, f4, f2'],
    [
      'a key twice',
      npy("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", 4),
      "NPY: header expected {'descr'",
    ],
    [
      'code',
      npy("{'descr': __import__('os').system('x'), 'fortran_order': False, 'shape': (1,), }", 4),
      "NPY: header expected {'descr'",
    ],
    [
      'a long header',
      npy(' '.repeat(300)).fill(255, 8, 10),
      'NPY: header length expected at most 16384, got 65535 (offset 8)',
    ],
    ['version 4', npy(head('(1,)'), 4).fill(4, 6, 7), 'NPY: version expected 1, 2 or 3, got 4 (offset 6)'],
  ])('%s', (_, bytes, message) => {
    expect(() => readNpy(bytes)).toThrow(message);
  });
});

describe('archives that lie', () => {
  const array = writeNpy({ data: [1, 2], shape: [2] });

  /** A ZIP whose only member may say anything. */
  interface Claims {
    name?: string;
    bytes?: Uint8Array;
    full?: number;
    packed?: number;
    method?: number;
    flags?: number;
    crc?: number;
    local?: number;
    twice?: boolean;
  }
  function zip({
    name = 'a.npy',
    bytes = array,
    full = bytes.length,
    packed = bytes.length,
    method = 0,
    flags = 0,
    crc = 0,
    local = 0,
    twice = false,
  }: Claims = {}): Uint8Array {
    const encoded = text(name);
    const u = (width: number, value: number) => Array.from({ length: width }, (_, k) => (value / 2 ** (8 * k)) & 255);
    const common = [
      ...u(2, 20),
      ...u(2, flags),
      ...u(2, method),
      ...u(4, 0),
      ...u(4, crc),
      ...u(4, packed),
      ...u(4, full),
      ...u(2, encoded.length),
      ...u(2, 0),
    ];
    const head = [...u(4, 0x04034b50), ...common, ...encoded];
    const entry = [
      ...u(4, 0x02014b50),
      ...u(2, 20),
      ...common,
      ...u(2, 0),
      ...u(2, 0),
      ...u(2, 0),
      ...u(4, 0),
      ...u(4, local),
      ...encoded,
    ];
    const directory = twice ? [...entry, ...entry] : entry;
    const start = head.length + bytes.length;
    const end = [
      ...u(4, 0x06054b50),
      ...u(4, 0),
      ...u(2, twice ? 2 : 1),
      ...u(2, twice ? 2 : 1),
      ...u(4, directory.length),
      ...u(4, start),
      ...u(2, 0),
    ];
    return Uint8Array.from([...head, ...bytes, ...directory, ...end]);
  }
  const zeros = new Uint8Array(100 << 20);
  const bomb = new Uint8Array(deflateRawSync(zeros));

  test.each([
    [
      'a path out of the archive',
      zip({ name: '../../etc/a.npy' }),
      "NPZ: member '../../etc/a.npy' expected a name inside the archive, got a path out of it",
    ],
    ['an absolute path', zip({ name: '/a.npy' }), "NPZ: member '/a.npy' expected a name inside the archive"],
    ['a name twice', zip({ twice: true }), "NPZ: member 'a.npy' expected each name once, got it again"],
    [
      'a bomb that says so',
      zip({ bytes: bomb, full: zeros.length, method: 8 }),
      "NPZ: member 'a.npy' expected at most",
    ],
    [
      'a bomb that says less',
      zip({ bytes: bomb, full: 100, method: 8 }),
      "NPZ: member 'a.npy' expected 100 bytes, got more",
    ],
    ['a wrong checksum', zip({ crc: 1 }), "NPZ: member 'a.npy' expected the checksum of the directory, got another"],
    ['encryption', zip({ flags: 1 }), "NPZ: member 'a.npy' expected no encryption"],
    ['an unknown method', zip({ method: 12 }), "NPZ: member 'a.npy' expected stored or deflated, got method 12"],
    ['more bytes than there are', zip({ packed: 1e6, full: 1e6 }), "NPZ: member 'a.npy' expected 1000000 bytes, got"],
    ['a place beyond the file', zip({ local: 1e6 }), "NPZ: member 'a.npy' expected a place before"],
    ['a name without .npy', zip({ name: 'a.txt' }), "NPZ: member 'a.txt' expected a name in .npy"],
    [
      'deflated bytes that are none',
      zip({ method: 8, full: 100, bytes: new Uint8Array(40).fill(0xff) }),
      "NPZ: member 'a.npy' expected deflated bytes",
    ],
  ])('%s', async (_, bytes, message) => {
    await expect(readNpz(bytes)).rejects.toThrow(message);
  });

  test('a .keras archive without its parts', async () => {
    await expect(readKeras(zip())).rejects.toThrow("Keras: .keras archive expected a member 'config.json', got none");
  });
});

describe('ONNX that lies', () => {
  const field = (number: number, ...bytes: number[]) => [number * 8 + 2, bytes.length, ...bytes];
  const opset = field(8, 8 * 2, 15);
  const model = (...graph: number[]) => Uint8Array.from([...opset, ...field(7, ...graph)]);
  const nested = (depth: number): number[] => {
    // a node whose attribute is a graph whose node …
    let inner: number[] = [];
    for (let k = 0; k < depth; k++) {
      const attribute = wide(6, inner);
      inner = wide(1, wide(5, attribute));
    }
    return inner;
  };
  const wide = (number: number, bytes: number[]): number[] => {
    const length: number[] = [];
    for (let rest = bytes.length; ; rest >>= 7) {
      if (rest < 128) {
        length.push(rest);
        break;
      }
      length.push((rest & 127) | 128);
    }
    return [number * 8 + 2, ...length, ...bytes];
  };
  test.each([
    [
      'an endless number',
      Uint8Array.from([8, ...Array.from({ length: 40 }, () => 0xff)]),
      'ONNX: model expected a number of at most 10 bytes, got more (offset 1)',
    ],
    [
      'a length beyond the file',
      Uint8Array.from([...opset, 7 * 8 + 2, 200, 1, 0]),
      'ONNX: model expected at most 1 bytes in field 7, got 200',
    ],
    [
      'a length below 0',
      Uint8Array.from([...opset, 7 * 8 + 2, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
      'ONNX: model expected at most 0 bytes in field 7, got -1',
    ],
    ['a group', Uint8Array.from([7 * 8 + 3]), 'ONNX: model expected a known wire type, got 3 (offset 0)'],
    ['field 0', Uint8Array.from([0, 0]), 'ONNX: model expected a field, got field 0 (offset 0)'],
    ['no graph', Uint8Array.from(opset), 'ONNX: model expected a graph, got none'],
    ['two graphs', Uint8Array.from([...opset, ...field(7), ...field(7)]), 'ONNX: graph expected one, got a second'],
    ['no opset', Uint8Array.from(field(7)), "ONNX: opset_import expected a version of ONNX's own operators, got none"],
    [
      'external data',
      model(...field(5, ...field(8, 97), 8 * 2, 1, 8 * 14, 1)),
      "ONNX: initializer 'a' expected external data in a file beside the model, got no location",
    ],
    [
      'fewer values than the shape',
      model(...field(5, 8, 9, 8 * 2, 1, ...field(8, 97), ...field(9, 0, 0, 0, 0))),
      "ONNX: initializer 'a' expected 36 bytes for this shape and type, got 4",
    ],
    [
      'a name twice',
      model(...field(5, ...field(8, 97)), ...field(5, ...field(8, 97))),
      "ONNX: initializer 'a' expected each name once, got it again",
    ],
    ['a name that is no UTF-8', model(...field(5, ...field(8, 0xff))), 'ONNX: initializer name expected UTF-8'],
    [
      'graphs in graphs',
      Uint8Array.from([...opset, ...wide(7, nested(200))]),
      'ONNX: graph in a node expected at most 16 levels, got more',
    ],
    ['a sparse initializer', model(...field(15)), 'ONNX: sparse_initializer expected dense tensors'],
  ])('%s', (_, bytes, message) => {
    expect(() => readOnnx(bytes)).toThrow(message);
  });

  test('a shape without its values is refused when they are asked for, and takes no memory', () => {
    // 2^30 values
    const huge = model(...field(5, 8, 0x80, 0x80, 0x80, 0x80, 4, 8 * 2, 1, ...field(8, 97)));
    const before = process.memoryUsage().arrayBuffers;
    expect(() => readOnnx(huge).initializers.get('a')!.data).toThrow(
      "ONNX: initializer 'a' expected 1073741824 values of type F32, got 0",
    );
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1 << 20);
  });
});

describe('TF.js that lies', () => {
  const model = (weights: unknown, paths = ['a.bin']) =>
    text(JSON.stringify({ weightsManifest: [{ paths, weights }] }));
  const shards = { 'a.bin': new Uint8Array(8) };
  test.each([
    [
      'a weight beyond the shard',
      model([{ name: 'w', shape: [3], dtype: 'float32' }]),
      "TF.js: weight 'w' expected 12 bytes, got 8",
    ],
    [
      'a shard that is too long',
      model([{ name: 'w', shape: [1], dtype: 'float32' }]),
      'TF.js: shards expected 4 bytes, got 8',
    ],
    [
      'a name twice',
      model([
        { name: 'w', shape: [1], dtype: 'float32' },
        { name: 'w', shape: [1], dtype: 'float32' },
      ]),
      "TF.js: weight 'w' expected each name once",
    ],
    [
      'a negative shape',
      model([{ name: 'w', shape: [-2], dtype: 'float32' }]),
      "TF.js: weight 'w' expected a shape of whole numbers",
    ],
    [
      'a shape beyond 2^53',
      model([{ name: 'w', shape: [2 ** 40, 2 ** 40], dtype: 'float32' }]),
      "TF.js: weight 'w' expected fewer than 2^53 bytes",
    ],
    [
      'an unknown type',
      model([{ name: 'w', shape: [1], dtype: 'int4' }]),
      "TF.js: weight 'w' expected a type among float32",
    ],
    [
      'a scale that is no number',
      model([{ name: 'w', shape: [8], dtype: 'float32', quantization: { dtype: 'uint8', scale: 'x', min: 0 } }]),
      "TF.js: weight 'w' expected numbers as scale and min",
    ],
    ['no manifest', text('{}'), 'TF.js: model.json expected a weightsManifest'],
    ['no JSON', text('hello'), "TF.js: model.json expected a value, got 'h' (offset 0)"],
  ])('%s', (_, bytes, message) => {
    expect(() => readTfjs(bytes, shards)).toThrow(message);
  });
});

describe('values of any type where others are expected', () => {
  /** A TF.js layers model of one layer, whose weights are its own. */
  const layered = (class_name: string, config: object, shape: number[] = [2], leaves = ['gamma', 'beta']) => {
    const weights = leaves.map((leaf) => ({ name: `n/${leaf}`, shape, dtype: 'float32' }));
    const size = weights.length * shape.reduce((product, length) => product * length, 4);
    const layers = [{ class_name, config: { name: 'n', batch_input_shape: [null, 2], ...config } }];
    const modelTopology = { model_config: { class_name: 'Sequential', config: { layers } } };
    const weightsManifest = [{ paths: ['a.bin'], weights }];
    return {
      'model.json': text(JSON.stringify({ modelTopology, weightsManifest })),
      'a.bin': new Uint8Array(size),
    };
  };
  const values: unknown[] = [
    null,
    true,
    'x',
    {},
    [],
    [{}],
    [[]],
    [[{ toString: 1, valueOf: 1 }]],
    [null],
    { constructor: 1 },
  ];

  test.each([
    ['LayerNormalization', 'axis'],
    ['LayerNormalization', 'epsilon'],
    ['GroupNormalization', 'groups'],
    ['GroupNormalization', 'axis'],
    ['GroupNormalization', 'epsilon'],
    ['BatchNormalization', 'axis'],
    ['BatchNormalization', 'epsilon'],
    ['BatchNormalization', 'momentum'],
    ['Softmax', 'axis'],
    ['LeakyReLU', 'alpha'],
    ['ReLU', 'max_value'],
    ['Activation', 'activation'],
    ['Dropout', 'rate'],
    ['Dropout', 'batch_input_shape'],
    ['Dropout', 'layers'],
  ])('%s with %s', async (kind, name) => {
    const moving = kind === 'BatchNormalization' ? ['moving_mean', 'moving_variance'] : [];
    const leaves = /Norm/.test(kind) ? ['gamma', 'beta', ...moving] : [];
    for (const value of values) {
      const files = layered(kind, { [name]: value }, [2], leaves);
      const error = await loadSequential(files).catch((error) => error);
      if (error instanceof Error) expect([value, error.message, error]).toMatchObject([value, {}, { code: /^ERR_/ }]);
      try {
        fromTfjs(readTfjs(files['model.json'], files));
      } catch (error) {
        expect([value, (error as { code: string }).code]).toEqual([value, expect.stringMatching(/^ERR_/)]);
      }
    }
  });

  test('axes that are not said, of a norm over several', async () => {
    const files = layered('LayerNormalization', { batch_input_shape: [null, 2, 2] }, [2, 2]);
    await expect(loadSequential(files)).rejects.toThrow(
      "TF.js: layer LayerNormalization 'n' expected 'gamma' of shape [2], got shape [2, 2] (offset 0)",
    );
  });

  test.each([
    ['as they are', '_aaa', 'channels-last'],
    ['as they are', 'a_==', 'channels-last'],
    ['as they are', 'NC-W', 'channels-last'],
    ['base64', 'TkNIVw==', 'channels-first'],
    ['a word', 'NCHW', 'channels-first'],
    ['bytes', [78, 67, 72, 87], 'channels-first'],
    ['of another type', { a: 1 }, 'channels-last'],
    ['long', '+'.repeat(4e6), 'channels-last'],
  ])('texts of a graph, %s', (_, s, layout) => {
    const names = ['mean', 'gamma', 'beta', 'var'];
    const node = [
      {
        name: 'n/bn',
        op: 'FusedBatchNormV3',
        input: ['x', 'gamma', 'beta', 'mean', 'var'],
        attr: { data_format: { s } },
      },
    ];
    const weights = names.map((name) => ({ name, shape: [2], dtype: 'float32' }));
    const model = { modelTopology: { node }, weightsManifest: [{ paths: ['a.bin'], weights }] };
    const { norms } = fromTfjs(readTfjs(text(JSON.stringify(model)), { 'a.bin': new Uint8Array(32) }));
    expect(norms.n).toMatchObject({ layout });
  });

  test('are shown in few words', async () => {
    const deep = JSON.parse(`${'['.repeat(40)}1${']'.repeat(40)}`);
    const wide = Array.from({ length: 9000 }, (_, i) => ({ [`key ${i}`]: i }));
    for (const axis of [deep, wide, { a: wide }, 'x'.repeat(9000), [`a\u0085b\n`, 'y'.repeat(9000)]]) {
      const files = layered('BatchNormalization', { axis }, [2], ['gamma', 'beta', 'moving_mean', 'moving_variance']);
      let message = '';
      try {
        fromTfjs(readTfjs(files['model.json'], files));
      } catch (error) {
        ({ message } = error as Error);
      }
      expect(message).toMatch(/^fromTfjs: 'n' axis expected one axis behind that of the samples, got .{2,82}$/);
      expect(Array.from(message).filter((c) => c < ' ' || (c > '~' && c < '\u00a0'))).toEqual([]);
    }
    const files = layered('BatchNormalization', { axis: [1, 'a', { b: null }] });
    expect(() => fromTfjs(readTfjs(files['model.json'], files))).toThrow(`got [1,"a",{"b":null}]`);
  });

  test('a network has no more layers than its size allows', async () => {
    const layers = Array.from({ length: 1501 }, (_, i) => ({
      class_name: 'Dropout',
      config: { name: `d${i}`, ...(i === 0 && { batch_input_shape: [null, 1] }) },
    }));
    const modelTopology = { model_config: { class_name: 'Sequential', config: { layers } } };
    const model = { modelTopology, weightsManifest: [] };
    await expect(loadSequential({ 'model.json': text(JSON.stringify(model)) })).rejects.toThrow(
      'TF.js: network expected as many calls of layers as its size justifies, got more (offset 0)',
    );
  });

  test('lists of names and shapes are shown in part', async () => {
    const leaves = Array.from({ length: 500 }, (_, i) => `kernel ${i}`);
    await expect(loadSequential(layered('LayerNormalization', {}, [2], ['gamma', ...leaves]))).rejects.toThrow(
      /expected a variable 'beta', got none \(there are 'n\/gamma', 'n\/kernel 0', 'n\/kernel 1', 'n\/kernel 2'\)/,
    );
    const shape = Array.from({ length: 3000 }, () => 1);
    const error = await loadSequential(layered('GroupNormalization', { groups: 1 }, shape)).catch((error) => error);
    expect(error).toMatchObject({ code: 'ERR_FORMAT' });
    expect(error.message.length).toBeLessThan(500);
  });
});

describe('whatever goes in comes out', () => {
  const shape = fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 4 });
  const floats = (size: number) => fc.float32Array({ minLength: size, maxLength: size });
  const doubles = (size: number) => fc.float64Array({ minLength: size, maxLength: size });
  const tensor = shape.chain((dims) => {
    const size = dims.reduce((product, length) => product * length, 1);
    return fc.oneof(floats(size), doubles(size)).map((data) => ({ data, shape: dims }));
  });
  const name = fc.string({ unit: 'binary', maxLength: 12 }).filter((text) => text !== '__metadata__');
  const same = (
    got: ReadonlyMap<string, { data: ArrayLike<number>; shape: readonly number[] }>,
    want: ReadonlyMap<string, { data: ArrayLike<number>; shape: readonly number[] }>,
  ) => {
    expect([...got.keys()].sort()).toEqual([...want.keys()].sort());
    for (const [key, { data, shape: dims }] of want) expect(got.get(key)).toMatchObject({ data, shape: dims });
  };

  test('safetensors', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(name, tensor), { maxLength: 6 }),
        fc.dictionary(name, fc.string()),
        (entries, metadata) => {
          const tensors = new Map(entries);
          const file = readSafetensors(writeSafetensors(tensors, metadata));
          same(file.tensors, tensors);
          expect({ ...file.metadata }).toEqual({ ...metadata });
          expect(writeSafetensors(file.tensors, file.metadata)).toEqual(writeSafetensors(tensors, metadata));
        },
      ),
    );
  });

  test('NPY and NPZ', async () => {
    const plain = fc
      .string({ unit: fc.constantFrom('a', 'b', '/', '.', 'ü', '0'), minLength: 1, maxLength: 8 })
      .filter((text) => !/(^|\/)\.\.(\/|$)|^\//.test(text));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(plain, tensor), { maxLength: 5 }), async (entries) => {
        const tensors = new Map(entries.filter(([key]) => !`${key}.npy`.includes('..')));
        for (const one of tensors.values()) expect(readNpy(writeNpy(one))).toMatchObject(one);
        same(await readNpz(writeNpz(tensors)), tensors);
      }),
    );
  });

  test('random bytes are refused by every reader', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
        for (const one of cases) expect(await complaint(one, bytes)).toBeUndefined();
      }),
      { numRuns: 50 },
    );
  });

  test('a network as ONNX gives the same outputs', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 2, maxLength: 5 }),
        fc.integer(),
        async (sizes, seed) => {
          const net = new Sequential(
            ...sizes.slice(1).map((size, i) => new Linear(sizes[i], size, { seed, bias: seed % 2 === 0 })),
          ).eval();
          const x = {
            data: Float32Array.from({ length: sizes[0] * 2 }, (_, i) => Math.sin(i + seed)),
            shape: [2, sizes[0]],
          };
          expect((await loadSequential(toOnnx(net))).forward(x).data).toEqual(net.forward(x).data);
        },
      ),
      { numRuns: 30 },
    );
  });
});

test('an import that is refused leaves the layer as it was', () => {
  const net = new Sequential(new Linear(6, 9));
  const before = JSON.stringify(net.stateDict());
  expect(() =>
    fromTorch(readSafetensors(fixture('torch/net.f32.safetensors')).tensors, { layer: net, rename: { fc3: '0' } }),
  ).toThrow('expected shape [9, 6] for 0.weight, got [3, 5]');
  expect(JSON.stringify(net.stateDict())).toBe(before);
});
