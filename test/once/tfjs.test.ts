// TF.js: layers models as networks, kernels and norms by name and by node, manifests alone, and
// files that cost more than they are.

import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, test } from 'vitest';
import type { BatchNorm, Sequential } from '../../src/index.ts';
import { fromTfjs, loadSequential, readTfjs, tfjsShards } from '../../src/weights/index.ts';
import { normalized } from '../support/reference.ts';
import { answers, fixture, fixturePath, relative } from '../support/weights.ts';

const folder = 'tfjs-networks';
const json = (name: string) => fixture(`${folder}/${name}.json`);
const shards = (name: string) => ({ [`${name}.bin`]: fixture(`${folder}/${name}.bin`) });
const read = (name: string) => readTfjs(json(name), shards(name));
const answer = answers(`${folder}/answers.json`);
const text = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));

const forward = (net: Sequential, { x }: { x: number[] }) =>
  net.forward({ data: Float32Array.from(x), shape: [2, x.length / 2] }).data;

describe('layers models as networks', () => {
  test.each(['chain', 'functional'])('%s gives TF.js’ outputs', async (name) => {
    const net = await loadSequential(fixturePath(`${folder}/${name}.json`));
    expect(relative(forward(net, answer[name]), answer[name].y)).toBeLessThan(1e-5);
  });

  test('layers, and eps of the config', async () => {
    const net = await loadSequential(json('chain'), { files: shards('chain') });
    expect(net.layers.map(({ subject }) => subject)).toEqual([
      'Linear(4, 6)',
      'ActivationLayer',
      'BatchNorm1d(6)',
      'ActivationLayer',
      'LayerNorm(6)',
      'Dropout(0.25)',
      'BatchNorm1d(6)',
      'Linear(6, 5)',
      'ActivationLayer',
      'ActivationLayer',
      'Linear(5, 3)',
      'ActivationLayer',
    ]);
    expect((net.layers[2] as BatchNorm).options).toMatchObject({ eps: 0.05, momentum: 0.1 });
  });

  test('a path, a URL, bytes with files, a record and a Map of all files are one', async () => {
    const path = fixturePath(`${folder}/chain.json`);
    const files = { 'model.json': json('chain'), ...shards('chain') };
    const given = [path, pathToFileURL(path), files, new Map(Object.entries(files))];
    const nets = await Promise.all(given.map((one) => loadSequential(one)));
    nets.push(await loadSequential(json('chain'), { files: new Map(Object.entries(shards('chain'))) }));
    nets.push(await loadSequential({ 'model.json': json('chain') }, { files: shards('chain') }));
    const [first, ...others] = nets.map((net) => forward(net, answer.chain));
    for (const other of others) expect(other).toEqual(first);
  });

  test('class names and scopes of older converters', async () => {
    const net = await loadSequential(json('scopes'), { files: shards('scopes') });
    expect(relative(forward(net, answer.chain), answer.chain.y)).toBeLessThan(1e-5);
    const { norms, assumed, unused, missing } = fromTfjs(read('scopes'));
    expect(Object.entries(norms).map(([name, { eps }]) => [name, eps])).toEqual([
      ['norm', 0.05],
      ['bare', 0.01],
    ]);
    expect([assumed, unused, missing]).toEqual([{}, [], []]);
  });

  test.each([
    [
      'shards that are not there',
      json('chain'),
      {},
      "TF.js: shard 'chain.bin' expected its bytes, got none (offset 0)",
    ],
    [
      'a manifest alone',
      json('manifest'),
      shards('manifest'),
      'TF.js: model.json expected a network with layers, got weights alone (offset 0)',
    ],
  ])('%s', async (_, bytes, files, message) => {
    await expect(loadSequential(bytes, { files })).rejects.toThrow(message);
  });

  test('a shard out of the model’s folder is not read from the disk', async () => {
    const at = join(mkdtempSync(join(tmpdir(), 'evenkeel-')), 'model.json');
    writeFileSync(at, text({ modelTopology: {}, weightsManifest: [{ paths: ['../x.bin'], weights: [] }] }));
    await expect(loadSequential(at)).rejects.toThrow(
      "TF.js: shard '../x.bin' expected a file beside the model, got a path out of its folder (offset 0, loading 'model.json')",
    );
    writeFileSync(at, text({ modelTopology: {}, weightsManifest: [{ paths: ['x.bin'], weights: [] }] }));
    await expect(loadSequential(at)).rejects.toThrow(
      "TF.js: shard 'x.bin' expected its bytes, got none (offset 0, loading 'model.json')",
    );
  });

  test('files without a model among them', async () => {
    await expect(loadSequential(shards('chain'))).rejects.toThrow(
      "loadSequential: source expected bytes, a path, or files with one of '*.onnx', 'model.json', '*.keras', '*.h5' among them, got ['chain.bin']",
    );
  });
});

describe('weights', () => {
  test('kernels of every kind', () => {
    const { state, unused, multipliers } = fromTfjs(read('kernels'));
    const { weights } = answer.kernels;
    expect(Object.entries(state).map(([name, { shape }]) => `${name} ${shape.join('x')}`)).toEqual([
      'conv.weight 3x2x2x3',
      'conv.bias 3',
      'depthwise.weight 6x1x3x2',
      'depthwise.bias 6',
      'norm.gamma 6',
      'norm.beta 6',
      'norm.runningMean 6',
      'norm.runningVar 6',
      'separable.depthwise.weight 12x1x2x2',
      'separable.pointwise.weight 4x12x1x1',
      'separable.pointwise.bias 4',
      'transposed.weight 4x3x1x2',
      'transposed.bias 3',
      'norm.batchesTracked ',
    ]);
    expect(unused).toEqual([]);
    expect(multipliers).toEqual({ depthwise: 2, 'separable.depthwise': 2 });
    // [3, 2, 2, 2] → [4 · …]: output c·2 + m at (i, j) is kernel[i, j, c, m]
    const kernel: number[] = weights['depthwise/depthwise_kernel'];
    const got = state['depthwise.weight'].data;
    for (let c = 0; c < 3; c++)
      for (let m = 0; m < 2; m++)
        for (let i = 0; i < 3; i++)
          for (let j = 0; j < 2; j++)
            expect(got[((c * 2 + m) * 3 + i) * 2 + j]).toBe(kernel[((i * 2 + j) * 3 + c) * 2 + m]);
    // TF.js: [rows, columns, out, in]; PyTorch: [in, out, rows, columns]
    const transposed: number[] = weights['transposed/kernel'];
    for (let o = 0; o < 3; o++)
      for (let n = 0; n < 4; n++)
        for (let j = 0; j < 2; j++)
          expect(state['transposed.weight'].data[(n * 3 + o) * 2 + j]).toBe(transposed[(j * 3 + o) * 4 + n]);
  });

  test('a graph’s norms: weights and eps by its nodes', () => {
    const { state, norms, assumed, unused, missing } = fromTfjs(read('graph'));
    expect(norms).toEqual({
      one: { eps: 0.05, momentum: 0.01, runningVariance: 'biased', layout: 'channels-last' },
      two: { eps: 0.25, momentum: 0.01, runningVariance: 'biased', layout: 'channels-last' },
      three: { eps: 0.001, momentum: 0.01, runningVariance: 'biased', layout: 'channels-last' },
    });
    expect(assumed).toEqual({
      one: ['momentum', 'runningVariance'],
      two: ['momentum', 'runningVariance'],
      three: ['eps', 'momentum', 'runningVariance'],
    });
    const normed = (name: string, from: number[]) =>
      from.map((value, i) => {
        const [mean, variance, gamma, beta] = ['runningMean', 'runningVar', 'gamma', 'beta'].map(
          (leaf) => state[`${name}.${leaf}`].data as Float32Array,
        );
        return normalized(value, i % 3, { mean, variance }, { gamma, beta, eps: norms[name].eps });
      });
    expect(relative(normed('one', answer.graph.x), answer.graph.one)).toBeLessThan(1e-6);
    expect(relative(normed('two', answer.graph.dw), answer.graph.two)).toBeLessThan(1e-6);
    expect(relative(normed('three', answer.graph.two), answer.graph.three)).toBeLessThan(1e-6);
    expect(state['dw.weight'].shape).toEqual([3, 1, 2, 2]);
    expect([state['fc.weight'].shape, state['fc.bias'].shape]).toEqual([[2, 3], [2]]);
    expect(unused).toEqual(['shape', 'axes']);
    expect(missing).toEqual([]);
  });

  test('a manifest alone, a text between the weights', () => {
    expect(tfjsShards(json('manifest'))).toEqual(['manifest.bin']);
    const { tensors, topology } = read('manifest');
    expect(topology).toBeNull();
    const { vocabulary, ...rest } = Object.fromEntries(tensors);
    expect([vocabulary.dtype, vocabulary.shape]).toEqual(['STRING', [2]]);
    expect(() => vocabulary.data).toThrow(
      "TF.js: tensor 'vocabulary' expected a type among F64, F32, F16, BF16, I64, U64, I32, U32, I16, U16, I8, U8, BOOL, got 'STRING' (offset 96)",
    );
    expect(Object.fromEntries(Object.entries(rest).map(([name, { data }]) => [name, [...data]]))).toEqual(
      answer.chain.weights,
    );
    expect(fromTfjs(read('manifest')).unused).toEqual(['vocabulary']);
  });

  test('weights that lie in several shards', () => {
    const model = JSON.parse(new TextDecoder().decode(json('chain')));
    const bytes = fixture(`${folder}/chain.bin`);
    const cuts = [0, 1, 7, 7, 50, 51, 300, bytes.length];
    const parts = cuts.slice(1).map((end, i) => [`${i}.bin`, bytes.slice(cuts[i], end)] as const);
    model.weightsManifest[0].paths = parts.map(([name]) => name);
    const values = (tensors: ReturnType<typeof read>['tensors']) =>
      Object.fromEntries([...tensors].map(([name, { data }]) => [name, data]));
    expect(values(readTfjs(text(model), new Map(parts)).tensors)).toEqual(values(read('chain').tensors));
  });

  test('whole numbers with a scale are rounded', () => {
    const weight = { name: 'w', shape: [3], dtype: 'int32', quantization: { dtype: 'uint8', scale: 0.7, min: -1 } };
    const model = text({ weightsManifest: [{ paths: ['a'], weights: [weight] }] });
    expect([...readTfjs(model, { a: Uint8Array.of(0, 3, 255) }).tensors.get('w')!.data]).toEqual([-1, 1, 178]);
  });

  test.each([
    ['a text without its end', [1], [9, 0, 0, 0, 65], "weight 't' expected 13 bytes, got 5"],
    ['fewer texts than it says', [2], [1, 0, 0, 0, 65], "weight 't' expected 8 bytes, got 5"],
    ['texts without end', [1 << 30], [0, 0, 0, 0], "weight 't' expected 4294967296 bytes, got 4"],
    ['more than texts', [1], [0, 0, 0, 0, 1], 'shards expected 4 bytes, got 5'],
  ])('%s', (_, shape, bytes, message) => {
    const model = text([{ paths: ['a'], weights: [{ name: 't', shape, dtype: 'string' }] }]);
    expect(() => readTfjs(model, { a: Uint8Array.from(bytes) })).toThrow(`TF.js: ${message}`);
  });
});

describe('files that cost more than they are', () => {
  test.each([
    ['a', 'a'],
    ['a', './a'],
    ['b/a', 'b//./a'],
    ['b/a', 'b\\a'],
  ])('a shard that is named twice: %s, %s', (one, two) => {
    const model = text({
      weightsManifest: [
        { paths: [one], weights: [] },
        { paths: [two], weights: [] },
      ],
    });
    expect(() => tfjsShards(model)).toThrow(`TF.js: weightsManifest expected each shard once, got '${two}' (offset 0)`);
  });

  test('many names for one shard are refused before anything is put together', () => {
    const paths = Array(10_000).fill('a');
    const shard = new Uint8Array(1 << 20);
    const before = process.memoryUsage().arrayBuffers;
    expect(() => readTfjs(text([{ paths, weights: [] }]), { a: shard })).toThrow('expected each shard once');
    const many = Array.from({ length: 4000 }, (_, i) => `${i}`);
    // names of its own for each: whoever gives the bytes has them
    const given = new Map(many.map((name) => [name, shard]));
    expect(() => readTfjs(text([{ paths: many, weights: [] }]), given)).toThrow('shards expected 0 bytes');
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 << 20);
  });

  test('more shards, weights or nodes than a model of its length has', () => {
    const weights = Array.from({ length: 16_385 }, (_, i) => ({ name: `${i}`, shape: [0], dtype: 'bool' }));
    expect(() => tfjsShards(text([{ paths: ['a'], weights }]))).toThrow(
      'TF.js: weightsManifest expected at most 16384 weights, got 16385 (offset 0)',
    );
    const paths = weights.map(({ name }) => name);
    expect(() => tfjsShards(text([{ paths, weights: [] }]))).toThrow('at most 16384 shards, got 16385 (offset 0)');
    const graph = (count: number, op: string) =>
      readTfjs(
        text({
          modelTopology: { node: Array.from({ length: count }, (_, i) => ({ name: `${i}`, op })) },
          weightsManifest: [{ paths: ['a'], weights: [] }],
        }),
        { a: new Uint8Array(0) },
      );
    expect(() => fromTfjs(graph(8193, 'FusedBatchNormV3'))).toThrow('at most 8192 norms and products, got 8193');
    expect(() => fromTfjs(graph(131_073, 'Abs'))).toThrow(
      'TF.js: modelTopology expected at most 131072 nodes, got 131073',
    );
  });

  test('as many layers as a model may have are put in order at once', () => {
    const layers = Array.from({ length: 10_000 }, (_, i) => ({
      class_name: 'BatchNormalization',
      config: { name: `n${i}`, epsilon: 0.5 },
    }));
    const weights = layers.map(({ config }) => ({ name: `${config.name}/gamma`, shape: [1], dtype: 'float32' }));
    const model = text({
      modelTopology: { class_name: 'Sequential', config: { layers } },
      weightsManifest: [{ paths: ['a'], weights }],
    });
    const start = performance.now();
    const { norms } = fromTfjs(readTfjs(model, { a: new Uint8Array(4 * layers.length) }));
    expect(performance.now() - start).toBeLessThan(10_000);
    expect(Object.keys(norms).length).toBe(layers.length);
    expect(norms.n9999.eps).toBe(0.5);
  });

  test.each([
    ['lists', '[0],'],
    ['objects', '{"a":0},'],
    ['long lists', '[1,2,3,4],'],
    ['keys', ''],
    ['objects of other keys each', ' '],
  ])('%s without end are no model', (_, item) => {
    const many = (of: (i: number) => string) => Array.from({ length: 1e6 }, (_, i) => of(i)).join();
    const all =
      item === ''
        ? `{${many((i) => `"${i}":0`)}}`
        : item === ' '
          ? `[${many((i) => `{"${i}":0}`)}]`
          : `[${item.repeat(12e6 / item.length)}0]`;
    const bytes = new TextEncoder().encode(all);
    const before = process.memoryUsage().heapUsed;
    expect(() => tfjsShards(bytes)).toThrow(
      /^TF\.js: model\.json expected fewer lists, objects and keys for its length, got '.' \(offset \d+\)$/,
    );
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(10 * bytes.length);
  });

  test('names and layers without end', async () => {
    const relu = (name: string) => ({ class_name: 'ReLU', config: { name } });
    const load = (layers: object[]) =>
      loadSequential({
        'model.json': text({
          modelTopology: { class_name: 'Sequential', config: { layers } },
          weightsManifest: [{ paths: ['a'], weights: [] }],
        }),
        a: new Uint8Array(0),
      });
    await expect(load(Array.from({ length: 10_001 }, (_, i) => relu(`r${i}`)))).rejects.toThrow(
      'Keras: config expected at most 10000 layers, got more (offset 0)',
    );
    // networks of one name, each of which would hold the layers of both: nine in nine in nine in
    // nine run for ever
    const nest = (depth: number): object => ({
      class_name: 'Sequential',
      config: { name: 'n', layers: depth ? Array.from({ length: 9 }, () => nest(depth - 1)) : [] },
    });
    await expect(load([nest(3)])).rejects.toThrow("TF.js: layer 'n' expected a name of its own, got it again");
    const inner = { class_name: 'Sequential', config: { name: 'n'.repeat(512), layers: [relu('r')] } };
    await expect(load([inner])).rejects.toThrow(
      "Keras: layer 'r' expected names of at most 512 characters, got 514 (offset 0)",
    );
  });
});
