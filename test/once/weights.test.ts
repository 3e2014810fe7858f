// Weights of other frameworks: files that those wrote themselves (test/fixtures/weights), names
// both ways, chains as networks.

import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { nodeField, tensorField, valueField, writeModel } from '../../src/formats/onnx-write.ts';
import { lengthField } from '../../src/formats/protobuf.ts';
import {
  ActivationLayer,
  BatchNorm,
  BatchNorm1d,
  BatchNorm2d,
  Dropout,
  foldConv,
  GroupNorm,
  InstanceNorm2d,
  type Layer,
  LayerNorm,
  Linear,
  Random,
  Sequential,
  Tanh,
} from '../../src/index.ts';
import {
  foldOnnx,
  foldSafetensors,
  fromFlax,
  fromKeras,
  fromOnnx,
  fromTfjs,
  fromTorch,
  type Imported,
  loadSequential,
  normsOf,
  type OnnxStatelessNorm,
  readKeras,
  readNpy,
  readNpz,
  readOnnx,
  readSafetensors,
  readTfjs,
  type StoredTensor,
  statelessNormsOf,
  toFlax,
  toKeras,
  toOnnx,
  toTfjs,
  toTorch,
  writeKeras,
  writeNpy,
  writeNpz,
  writeSafetensors,
  writeTfjs,
} from '../../src/weights/index.ts';
import { type Conv, convolve } from '../support/convolve.ts';
import { errorRatio, goldenCases, goldenFile } from '../support/golden.ts';
import { answers, fixture, fixturePath, relative } from '../support/weights.ts';

const values = (tensors: ReadonlyMap<string, StoredTensor>) =>
  Object.fromEntries([...tensors].map(([name, { data, shape }]) => [name, { data: Array.from(data), shape }]));

describe('safetensors', () => {
  const { state } = answers('torch/net.json');

  test.each(['f32', 'f64', 'f16', 'bf16'])('%s as PyTorch wrote it', (type) => {
    const { tensors, metadata } = readSafetensors(fixture(`torch/net.${type}.safetensors`));
    expect(metadata).toEqual({ format: 'pt' });
    expect([...tensors.keys()].sort()).toEqual(Object.keys(state).sort());
    const step = { f32: 0, f64: 0, f16: 2 ** -11, bf16: 2 ** -8 }[type]!;
    for (const [name, { data, dtype }] of tensors) {
      expect(dtype).toBe(name.endsWith('tracked') ? 'I64' : type.toUpperCase());
      data.forEach((value, i) => {
        expect(Math.abs(value - state[name][i])).toBeLessThanOrEqual(
          Math.abs(state[name][i]) * step + (step ? 2 ** -25 : 0),
        );
      });
    }
  });

  test.each(['f32', 'f64', 'f16', 'bf16'])('%s comes back byte for byte', (type) => {
    const file = fixture(`torch/net.${type}.safetensors`);
    const { tensors, metadata } = readSafetensors(file);
    expect(writeSafetensors(tensors, metadata)).toEqual(file); // the bytes themselves
    const converted = new Map([...tensors].map(([name, { data, shape, dtype }]) => [name, { data, shape, dtype }]));
    expect(writeSafetensors(converted, metadata)).toEqual(file); // through numbers
  });

  test('types that are not numbers here are refused when they are read, by name', () => {
    const file = writeSafetensors({
      odd: { bytes: new Uint8Array(3), shape: [3], dtype: 'F8_E4M3' },
      w: { data: [1.5], shape: [1] },
    });
    const { tensors } = readSafetensors(file);
    expect([...tensors.get('w')!.data]).toEqual([1.5]);
    expect(() => tensors.get('odd')!.data).toThrow(
      "safetensors: tensor 'odd' expected a type among F64, F32, F16, BF16, I64, U64, I32, U32, I16, U16, I8, U8, BOOL, got 'F8_E4M3' (offset 128)",
    );
  });

  test('a name like any other', () => {
    const names = ['__proto__', 'constructor', 'hasOwnProperty', '0', 'ü\n"'];
    const { tensors } = readSafetensors(
      writeSafetensors(new Map(names.map((name, i) => [name, { data: [i], shape: [1] }]))),
    );
    expect([...tensors.keys()]).toEqual(names);
    expect([...tensors.values()].map(({ data }) => data[0])).toEqual([0, 1, 2, 3, 4]);
  });

  test('what cannot be written', () => {
    expect(() => writeSafetensors({ a: { data: [1, 2], shape: [3] } })).toThrow(
      "safetensors: tensor 'a' expected 3 values for shape [3], got 2",
    );
    expect(() => writeSafetensors({ a: { data: [1], shape: [1], dtype: 'F8_E4M3' } })).toThrow(
      "safetensors: tensor 'a' expected a type that can be written, got 'F8_E4M3'",
    );
    expect(() => writeSafetensors({ __metadata__: { data: [1], shape: [1] } })).toThrow('expected another name');
  });
});

describe('NumPy', () => {
  const arrays = answers('numpy/arrays.json');

  test.each(Object.keys(arrays))('%s.npy', (name) => {
    const { data, shape } = readNpy(fixture(`numpy/${name}.npy`));
    expect({ shape, values: Array.from(data) }).toEqual(arrays[name]);
  });

  test.each(['v2', 'v3'])('%s.npy', (name) => {
    expect(Array.from(readNpy(fixture(`numpy/${name}.npy`)).data)).toEqual(arrays.f4.values);
  });

  test.each(['stored', 'deflated'])('%s.npz, and back', async (name) => {
    const tensors = await readNpz(fixture(`numpy/${name}.npz`));
    expect(
      Object.fromEntries([...tensors].map(([key, { data, shape }]) => [key, { shape, values: Array.from(data) }])),
    ).toEqual(arrays);
    const again = await readNpz(writeNpz(tensors));
    expect(values(again)).toEqual(values(tensors));
    expect([...again.values()].map(({ dtype }) => dtype)).toEqual([...tensors.values()].map(({ dtype }) => dtype));
  });

  test('what we write is what numpy.save writes', () => {
    for (const name of ['f4', 'f8', 'f2', 'i8', 'i4', 'i1', 'u1', 'u2', 'u4', 'bool', 'scalar', 'empty']) {
      const file = fixture(`numpy/${name}.npy`);
      expect(writeNpy(readNpy(file))).toEqual(file);
    }
  });

  test('what cannot be written', () => {
    expect(() => writeNpy({ data: [1], shape: [2] })).toThrow('NPY: data expected 2 values for shape [2], got 1');
    expect(() => writeNpy({ data: [1], shape: [1], dtype: 'BF16' })).toThrow('NPY: dtype expected F64, F32, F16');
  });
});

const torchNet = () =>
  new Sequential(
    new BatchNorm1d(6),
    new Linear(6, 9),
    new BatchNorm1d(9, { eps: 1e-3, momentum: 0.3, activation: 'tanh' }),
    new Dropout(0.2),
    new Linear(9, 5, { bias: false }),
    new BatchNorm1d(5, { activation: { name: 'leaky-relu', slope: 0.2 } }),
    new Linear(5, 3),
  );
const TORCH_NAMES = { bn0: '0', fc1: '1', bn1: '2', fc2: '4', bn2: '5', fc3: '6' };

/** Loads, runs and compares; the compiled network must stay within its certificate. */
function expectOutputs(net: Sequential, { x, y }: { x: number[]; y: number[] }, features: number, tolerance: number) {
  const input = { data: Float32Array.from(x), shape: [x.length / features, features] };
  const got = net.eval().forward(input);
  expect(relative(got.data, y)).toBeLessThan(tolerance);
  const run = net.compile({ samples: input });
  const { bound } = run.certificate!;
  run(input).data.forEach((value, i) => {
    expect(Math.abs(value - got.data[i])).toBeLessThanOrEqual(bound[i % bound.length]);
  });
  run.dispose();
}

describe('PyTorch', () => {
  const answer = answers('torch/net.json');

  test.each([
    ['f32', 2e-6],
    ['f64', 2e-6],
    ['f16', 5e-3],
    ['bf16', 5e-2],
  ])('a network from %s safetensors gives PyTorch’s outputs', (type, tolerance) => {
    const net = torchNet();
    const imported = fromTorch(readSafetensors(fixture(`torch/net.${type}.safetensors`)).tensors, {
      layer: net,
      rename: TORCH_NAMES,
    });
    expect(imported).toMatchObject({ unused: [], missing: [] });
    expect(imported.norms).toEqual(
      Object.fromEntries(['0', '2', '5'].map((name) => [name, BatchNorm.preset('torch')])),
    );
    net.loadStateDict(imported.state);
    expect((net.layers[0] as BatchNorm1d).batchesTracked).toBe(20);
    expectOutputs(net, answer, 6, tolerance);
  });

  test('the same from NPZ', async () => {
    const net = torchNet();
    net.loadStateDict(fromTorch(await readNpz(fixture('torch/net.npz')), { layer: net, rename: TORCH_NAMES }).state);
    expectOutputs(net, answer, 6, 2e-6);
  });

  test('there and back again, byte for byte', () => {
    const { tensors, metadata } = readSafetensors(fixture('torch/net.f32.safetensors'));
    const { state } = fromTorch(tensors, { rename: TORCH_NAMES });
    const back = toTorch(state, { rename: TORCH_NAMES });
    const ordered = new Map([...tensors.keys()].map((name) => [name, back.get(name)!]));
    expect(back.size).toBe(tensors.size);
    expect(writeSafetensors(ordered, metadata)).toEqual(fixture('torch/net.f32.safetensors'));
  });

  test('names of wrappers go, a missing counter is 0, what is left over is listed', () => {
    const bn = { weight: [2], bias: [1], running_mean: [3], running_var: [4] };
    const tensors = Object.fromEntries(
      Object.entries(bn).map(([name, data]) => [`module.bn.${name}`, { data, shape: [1] }]),
    );
    expect(fromTorch(tensors)).toEqual({
      state: {
        'bn.gamma': { data: Float32Array.of(2), shape: [1] },
        'bn.beta': { data: Float32Array.of(1), shape: [1] },
        'bn.runningMean': { data: Float32Array.of(3), shape: [1] },
        'bn.runningVar': { data: Float32Array.of(4), shape: [1] },
        'bn.batchesTracked': { data: new Float64Array(1), shape: [] },
      },
      norms: { bn: BatchNorm.preset('torch') },
      assumed: { bn: ['eps', 'momentum', 'runningVariance', 'layout'] },
      unused: [],
      missing: [],
      differences: [],
    });
    const odd = { 'module.bn.weight_ih_l0': { data: [1], shape: [1] }, ...tensors };
    expect(fromTorch(odd).unused).toEqual(['module.bn.weight_ih_l0']);
    const layer = new BatchNorm1d(1);
    const imported = fromTorch(
      { weight: { data: [1], shape: [1] }, running_mean: { data: [0], shape: [1] } },
      { layer },
    );
    expect(imported.missing).toEqual(['running_var', 'beta', 'runningVar']);
  });

  test.each([
    [
      'a negative variance',
      { running_mean: [0], running_var: [-1] },
      "fromTorch: 'running_var' expected finite variances of 0 or more, got -1 at 0",
    ],
    [
      'a NaN mean',
      { running_mean: [Number.NaN], running_var: [1] },
      "fromTorch: 'running_mean' expected finite means, got NaN at 0",
    ],
    [
      'an infinite gamma',
      { weight: [Number.POSITIVE_INFINITY], running_mean: [0], running_var: [1] },
      "fromTorch: 'weight' expected finite values, got Infinity at 0",
    ],
    [
      'a counter below 0',
      { running_mean: [0], running_var: [1], num_batches_tracked: [-1] },
      "fromTorch: 'num_batches_tracked' expected a whole number of 0 or more, got -1 at 0",
    ],
  ])('%s is refused', (_, tensors, message) => {
    expect(() =>
      fromTorch(Object.fromEntries(Object.entries(tensors).map(([name, data]) => [name, { data, shape: [1] }]))),
    ).toThrow(message);
  });

  test('shapes that the layer does not have are refused', () => {
    const tensors = { weight: { data: new Float32Array(6), shape: [3, 2] } };
    expect(() => fromTorch(tensors, { layer: new Linear(3, 2) })).toThrow(
      "fromTorch: 'weight' expected shape [2, 3] for weight, got [3, 2]",
    );
    expect(() => fromTorch({ weight: { data: new Float32Array(5), shape: [3, 2] } })).toThrow(
      "fromTorch: 'weight' expected 6 values for shape [3, 2], got 5",
    );
  });
});

describe('Flax', () => {
  const net = () =>
    new Sequential(
      new Linear(4, 6),
      new BatchNorm1d(6, { ...BatchNorm.preset('flax'), activation: 'relu' }),
      new Linear(6, 5, { bias: false }),
      new BatchNorm1d(5, { ...BatchNorm.preset('flax'), affine: 'gamma', activation: 'tanh' }),
      new Linear(5, 2),
    );
  const rename = { Dense_0: '0', BatchNorm_0: '1', Dense_1: '2', BatchNorm_1: '3', Dense_2: '4' };

  test.each(['npz', 'safetensors'])('a network from %s gives Flax’s outputs, and goes back', async (type) => {
    const file = fixture(`flax/net.${type}`);
    const tensors = type === 'npz' ? await readNpz(file) : readSafetensors(file).tensors;
    const ours = net();
    const imported = fromFlax(tensors, { layer: ours, rename });
    expect(imported).toMatchObject({ unused: [], missing: [] });
    expect(imported.norms['1']).toEqual(BatchNorm.preset('flax'));
    ours.loadStateDict(imported.state);
    expectOutputs(ours, answers('flax/net.json'), 4, 2e-6);
    const back = toFlax(imported.state, { rename });
    const want = values(tensors);
    expect(
      Object.fromEntries(
        [...back].map(([name, { data, shape }]) => [
          type === 'npz' ? name.replaceAll('/', '.') : name,
          { data: Array.from(data), shape },
        ]),
      ),
    ).toEqual(want);
  });

  test('nested dictionaries are taken as they are', () => {
    const { state } = fromFlax({
      params: { block: { Dense_0: { kernel: { data: [1, 2, 3, 4, 5, 6], shape: [2, 3] } } } },
    });
    expect(state).toEqual({ 'block.Dense_0.weight': { data: Float32Array.of(1, 4, 2, 5, 3, 6), shape: [3, 2] } });
  });
});

describe('Keras', () => {
  describe.each(['new', 'old'])('%s', (version) => {
    const answer = answers(`keras/answers.${version}.json`);

    test.each(['keras', 'h5'])('chain.%s gives Keras’ outputs', async (type) => {
      const net = await loadSequential(fixture(`keras/chain.${version}.${type}`), { dropSoftmax: true });
      expect(net.layers.map(({ subject }) => subject.replace(/(?:1d)?\(.*/, ''))).toEqual([
        'BatchNorm',
        'Linear',
        'BatchNorm',
        'ActivationLayer',
        'Dropout',
        'Linear',
        'ActivationLayer',
        'BatchNorm',
        'ActivationLayer',
        'Linear',
        'ActivationLayer',
        'BatchNorm',
        'Linear',
      ]);
      const { x, y } = answer.chain;
      const input = { data: Float32Array.from(x as number[]), shape: [3, 4] };
      const logits = net.forward(input).data;
      const softmax = [0, 3, 6].flatMap((row) => {
        const e = Array.from(logits.subarray(row, row + 3), Math.exp);
        return e.map((value) => value / (e[0] + e[1] + e[2]));
      });
      expect(relative(softmax, y)).toBeLessThan(1e-5);
      const bn = net.layers[2] as BatchNorm;
      expect(bn.options).toMatchObject({
        eps: 1e-4,
        momentum: 0.1,
        runningVariance: 'biased',
        layout: 'channels-last',
      });
      expect((net.layers[7] as BatchNorm).gamma).toBeNull();
      expect((net.layers[4] as Dropout).p).toBe(0.3);
    });

    test.each(['keras', 'h5'])('functional.%s gives Keras’ outputs', async (type) => {
      const net = await loadSequential(fixture(`keras/functional.${version}.${type}`));
      expectOutputs(net, answer.functional, 4, 1e-5);
    });

    test('weights alone have the names of the archive where their order says what they are', async () => {
      const archive = (await readKeras(fixture(`keras/chain.${version}.keras`))).tensors;
      const { tensors, layers } = await readKeras(fixture(`keras/chain.${version}.weights.h5`));
      expect(layers).toBeNull();
      const known = [...tensors].filter(([name]) => !name.includes('vars/'));
      expect(known.length).toBeGreaterThan(10);
      if (version === 'new')
        for (const [name, { data }] of known) expect([name, data]).toEqual([name, archive.get(name)!.data]);
      // beta or gamma beside the statistics: only a config knows
      expect([...tensors.keys()].filter((name) => name.includes('vars/')).length).toBe(3);
    });

    test('a branch is no chain, and the error says where', async () => {
      await expect(loadSequential(fixture(`keras/branched.${version}.keras`))).rejects.toThrow(
        "Keras: graph expected a chain of layers that there are here, got add of 2 values ('sum') (offset 0)",
      );
    });
  });

  test('there and back again: weights that Keras would load', async () => {
    const file = await readKeras(fixture('keras/chain.new.keras'));
    const imported = fromKeras(file);
    expect(imported.unused).toEqual([]);
    expect(imported.missing).toEqual([]);
    const back = toKeras(imported.state);
    expect(
      Object.fromEntries([...back].map(([name, { data, shape }]) => [name, { data: Array.from(data), shape }])),
    ).toEqual(values(file.tensors));
    // and through a file: groups, numbers and values as Keras writes them
    const again = await readKeras(
      await writeKeras(new Map([...file.tensors.keys()].map((name) => [name, back.get(name)!]))),
    );
    const original = await readKeras(fixture('keras/chain.new.weights.h5'));
    expect(values(again.tensors)).toEqual(values(original.tensors));
  });

  test('the variables of batch renormalization are left alone', async () => {
    const { norms, unused, missing, state } = fromKeras(await readKeras(fixture('keras/renorm.new.keras')));
    expect(unused.map((name) => name.split('/')[1])).toEqual(['moving_stddev', 'renorm_mean', 'renorm_stddev']);
    expect(missing).toEqual([]);
    expect(Object.keys(state).map((name) => name.split('.')[1])).toEqual([
      'gamma',
      'beta',
      'runningMean',
      'runningVar',
      'batchesTracked',
    ]);
    expect(Object.values(norms)).toEqual([
      { eps: 1e-3, momentum: 0.01, runningVariance: 'biased', layout: 'channels-last' },
    ]);
  });

  test('tf.keras’ names, with their counters', () => {
    const one = (data: number[]) => ({ data, shape: [1] });
    const { state } = fromKeras({
      'bn/gamma:0': one([2]),
      'bn/beta:0': one([1]),
      'bn/moving_mean:0': one([3]),
      'bn/moving_variance:0': one([4]),
    });
    expect(Object.keys(state)).toEqual(['bn.gamma', 'bn.beta', 'bn.runningMean', 'bn.runningVar', 'bn.batchesTracked']);
  });

  test('half floats and bfloat16', async () => {
    const { tensors } = await readKeras(fixture('keras/small.new.weights.h5'));
    expect(tensors.get('brain/kernel')!.dtype).toBe('BF16');
    expect(tensors.get('half/kernel')!.dtype).toBe('F16');
    const want = answers('keras/small.json');
    for (const name of Object.keys(want)) expect([...tensors.get(name)!.data]).toEqual(want[name]);
  });

  test('a path is as good as bytes', async () => {
    const net = await loadSequential(fixturePath('keras/functional.new.keras'));
    expect(net.layers.length).toBe(5);
  });

  test('without h5wasm the error names it', () => {
    const code = `import { register } from 'node:module'; import { readFileSync } from 'node:fs';
      register('data:text/javascript,' + encodeURIComponent("export const resolve = (name, context, next) => { if (name === 'h5wasm') throw new Error('not installed'); return next(name, context); }"));
      const { readKeras } = await import('evenkeel/weights');
      readKeras(readFileSync('test/fixtures/weights/keras/chain.new.h5')).catch((error) => console.log(error.code, error.message));`;
    const text = execFileSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8' });
    expect(text.trim()).toBe(
      "ERR_FORMAT Keras: HDF5 expected the optional peer 'h5wasm' (npm install h5wasm), got not installed",
    );
  });
});

describe('TF.js', () => {
  const answer = answers('tfjs/answers.json');
  const read = (name: string) => {
    const model = fixture(`tfjs/${name}.json`);
    const files = readdirSync(fixturePath('tfjs')).filter((file) => file.startsWith(name) && file.endsWith('.bin'));
    return readTfjs(model, Object.fromEntries(files.map((file) => [file, fixture(`tfjs/${file}`)])));
  };

  test.each(['plain', 'float16', 'uint8', 'uint16'])('%s weights are what TF.js reads', (name) => {
    const { tensors } = read(name);
    expect(Object.fromEntries([...tensors].map(([key, { data }]) => [key, Array.from(data)]))).toEqual(
      answer.weights[name],
    );
  });

  test('a network gives TF.js’ outputs', () => {
    const net = new Sequential(
      new Linear(4, 5),
      new BatchNorm1d(5, { eps: 0.01, layout: 'channels-last', activation: 'tanh' }),
      new Linear(5, 2),
    );
    const imported = fromTfjs(read('plain'), { layer: net, rename: { first: '0', norm: '1', second: '2' } });
    expect(imported).toMatchObject({
      unused: [],
      missing: [],
      norms: { '1': { eps: 0.01, momentum: 0.1, runningVariance: 'biased', layout: 'channels-last' } },
    });
    net.loadStateDict(imported.state);
    expectOutputs(net, answer, 4, 2e-6);
  });

  test('there and back again', () => {
    const model = read('plain');
    const back = toTfjs(fromTfjs(model).state);
    const files = writeTfjs(back, model.topology);
    const again = readTfjs(files.get('model.json')!, files);
    expect(values(again.tensors)).toEqual(
      Object.fromEntries(
        Object.entries(values(model.tensors)).sort(
          ([a], [b]) => [...back.keys()].indexOf(a) - [...back.keys()].indexOf(b),
        ),
      ),
    );
    expect(again.topology).toEqual(model.topology);
  });

  test('shards that are not there', () => {
    expect(() => readTfjs(fixture('tfjs/plain.json'), {})).toThrow(
      "TF.js: shard 'plain-1of2.bin' expected its bytes, got none (offset 0)",
    );
  });
});

describe('ONNX', () => {
  const answer = answers('onnx/answers.json');

  test('PyTorch’s export, as a network and as weights', async () => {
    const file = fixture('torch/net.onnx');
    const net = await loadSequential(file);
    expectOutputs(net, answers('torch/net.json'), 6, 2e-6);
    const { state, norms, unused, missing } = fromOnnx(file);
    expect(unused).toEqual([]);
    expect(missing).toEqual([]);
    // the exporter folds the norm that follows a linear layer: what stands in the file is what
    // comes out
    expect(Object.keys(norms)).toEqual(normsOf(readOnnx(file)).map(({ name }) => name));
    expect(Object.keys(state).length).toBeGreaterThan(5);
  });

  test.each(['matmul_add', 'lists', 'activations', 'old'])('%s gives the outputs of its formula', async (name) => {
    const net = await loadSequential(fixture(`onnx/${name}.onnx`));
    expectOutputs(net, answer[name], answer[name].x.length / 3, 3e-6);
  });

  test('softmax at the end is left out if asked', async () => {
    const whole = await loadSequential(fixture('onnx/softmax.onnx'));
    expect(whole.layers.map(({ subject }) => subject)).toEqual(['Linear(6, 3)', 'Softmax']);
    expectOutputs(await loadSequential(fixture('onnx/softmax.onnx'), { dropSoftmax: true }), answer.softmax, 6, 2e-6);
  });

  test.each([
    ['residual', "ONNX: graph expected a chain of layers that there are here, got add of 2 values ('y') (offset 0)"],
    ['other', "ONNX: graph expected a chain of layers that there are here, got sin ('wave') (offset 0)"],
    ['training', /^ONNX: node BatchNormalization 'y' expected inference, got training_mode 1/],
    [
      'captured',
      "ONNX: graph expected a chain of layers that there are here, got multiply of 2 values ('z') (offset 0)",
    ],
  ])('%s is no chain, and the error says where', async (name, message) => {
    await expect(loadSequential(fixture(`onnx/${name}.onnx`))).rejects.toThrow(message);
  });

  test('norms say what they are: momentum turned around, the decimal that was meant', () => {
    const [norm] = normsOf(readOnnx(fixture('onnx/matmul_add.onnx')));
    expect(norm.options).toEqual({ eps: 0.001, momentum: 0.01, runningVariance: 'biased', layout: 'channels-first' });
    expect(normsOf(readOnnx(fixture('onnx/training.onnx')))[0].training).toBe(true);
    expect(readOnnx(fixture('onnx/captured.onnx')).nodes[1].captured).toContain('outer');
  });

  test('a network goes out as a model and comes back the same', async () => {
    const random = new Random(3);
    const net = new Sequential(
      new Linear(4, 6, { seed: 1 }),
      new BatchNorm1d(6, { eps: 0.01, momentum: 0.25, activation: { name: 'elu', alpha: 0.5 } }),
      new Dropout(0.25),
      new Sequential(new Linear(6, 5, { seed: 2, bias: false }), new Tanh()),
      new ActivationLayer('relu6'),
      new ActivationLayer('hard-swish'),
      new ActivationLayer('gelu-tanh'),
      new Linear(5, 2, { seed: 3 }),
    );
    for (let k = 0; k < 4; k++)
      net.forward({ data: Float32Array.from({ length: 32 }, () => random.normal()), shape: [8, 4] });
    const file = toOnnx(net.eval());
    const again = await loadSequential(file);
    const x = { data: Float32Array.from({ length: 12 }, () => random.normal()), shape: [3, 4] };
    expect(again.forward(x).data).toEqual(net.forward(x).data);
    const bn = again.layers[1] as BatchNorm;
    expect([bn.options.eps, bn.options.momentum]).toEqual([0.01, 0.25]);
    expect(readOnnx(file).opset).toBe(20);
    const images = new Sequential(new BatchNorm2d(3), new ActivationLayer('silu'));
    const model = readOnnx(toOnnx(images.eval(), { inputShape: [3, 8, 8] }));
    expect(model.nodes.map(({ op }) => op)).toEqual(['BatchNormalization', 'Sigmoid', 'Mul', 'Identity']);
    expect([...model.inputs]).toEqual([['input', [undefined, 3, 8, 8]]]);
    expect(() => toOnnx(images)).toThrow(
      "toOnnx: inputShape expected one row's shape, as the network does not say it, got none",
    );
  });

  test.each(goldenCases('onnx_model'))('$id', (golden) => {
    const { tensors: T, attributes: a } = golden;
    const model = readOnnx(goldenFile(golden, 'model'));
    const [stateless] = statelessNormsOf(model);
    const check = (got: ArrayLike<number>, want: ArrayLike<number>) => {
      expect(got.length).toBe(want.length);
      for (let i = 0; i < want.length; i++)
        expect(Math.abs(got[i] - want[i])).toBeLessThanOrEqual(a.atol + a.rtol * Math.abs(want[i]));
    };
    if (stateless) {
      const x = { data: T.in0.data as Float32Array, shape: T.in0.shape };
      const [scale, bias] = [T.in1, T.in2].map((t) => t && { data: t.data as Float32Array, shape: t.shape });
      const norm = normLayerFor(stateless, x.shape, scale);
      if (scale) {
        const { state, missing } = fromOnnx(model);
        expect(missing).toEqual(Object.values(stateless.inputs));
        expect(state).toEqual({});
        const spread = ({ data }: { data: Float32Array }) =>
          Float32Array.from({ length: x.shape[1] }, (_, c) => data[Math.floor((c * data.length) / x.shape[1])]);
        norm.gamma!.data.set(stateless.byGroup ? spread(scale) : scale.data);
        if (bias) norm.beta!.data.set(stateless.byGroup ? spread(bias) : bias.data);
      }
      check((norm as Layer).forward(x).data, T.out0.data);
      if (T.out1) check(norm.savedMean!, T.out1.data);
      if (T.out2) check(norm.savedInvStd!, T.out2.data);
      return;
    }
    const [norm] = normsOf(model);
    const { state, missing } = fromOnnx(model);
    const inputs = Object.values(T).filter(({ role }) => role === 'input') as ((typeof T)[string] & {
      onnxName: string;
    })[];
    for (const [ours, name] of Object.entries(norm.inputs)) {
      if (missing.includes(name)) {
        const { data, shape } = inputs.find(({ onnxName }) => onnxName === name)!;
        state[`${norm.name}.${ours}`] = { data: data as Float32Array, shape };
      }
    }
    const bn = new BatchNorm(state[`${norm.name}.gamma`].data.length, norm.options);
    const own = bn.stateDict();
    for (const name of ['gamma', 'beta', 'runningMean', 'runningVar']) own[name] = state[`${norm.name}.${name}`];
    bn.loadStateDict(own);
    bn.train(norm.training);
    const y = bn.forward({ data: T.in0.data as Float32Array, shape: T.in0.shape });
    check(y.data, T.out0.data);
    if (T.out1) check(bn.runningMean!, T.out1.data);
    if (T.out2) check(bn.runningVar!, T.out2.data);
  });
});

/** The layer that a node of a norm beside batch norm stands for. */
function normLayerFor(
  stateless: OnnxStatelessNorm,
  shape: readonly number[],
  scale: { shape: readonly number[] } | undefined,
) {
  const { eps } = stateless;
  const [, channels] = shape;
  switch (stateless.kind) {
    case 'LayerNorm':
      return new LayerNorm(scale!.shape, { eps });
    case 'GroupNorm':
      return new GroupNorm(stateless.numGroups!, channels, { eps });
    case 'InstanceNorm':
      return new InstanceNorm2d(channels, { eps, affine: true });
    default:
      expect([stateless.kind, stateless.axes]).toEqual(['MeanVariance', [0, 2, 3]]);
      return new BatchNorm(channels, { eps, affine: false, trackRunningStats: false });
  }
}

test.each(goldenCases('eval_convnet'))('$id: folded convolutions give the outputs of the network', (golden) => {
  const { tensors: T } = golden;
  const { tensors } = readSafetensors(goldenFile(golden, 'weights'));
  const onnx = readOnnx(goldenFile(golden, 'onnx'));
  const norms: Imported = fromTorch(tensors);
  const fold = (index: number, options: Partial<Conv>, eps = 1e-5) => {
    const { data: weight, shape } = tensors.get(`conv${index}.weight`)!;
    const read = (name: string) => norms.state[`bn${index}.${name}`].data;
    const norm = {
      mean: read('runningMean'),
      variance: read('runningVar'),
      gamma: read('gamma'),
      beta: read('beta'),
      eps,
    };
    const folded = foldConv({ weight, shape, ...options }, norm);
    // the same from the model's initializers, and against the formula
    const { state, norms: fromModel } = fromOnnx(onnx);
    const again = foldConv(
      { weight: onnx.initializers.get(`conv${index}.weight`)!.data, shape, ...options },
      {
        mean: state[`bn${index}.runningMean`].data,
        variance: state[`bn${index}.runningVar`].data,
        gamma: state[`bn${index}.gamma`].data,
        beta: state[`bn${index}.beta`].data,
        eps: fromModel[`bn${index}`].eps,
      },
    );
    expect(again.weight).toEqual(folded.weight);
    expect(again.bias).toEqual(folded.bias);
    const taps = weight.length / shape[0];
    folded.weight.forEach((value, i) => {
      const o = Math.floor(i / taps);
      const exact = (weight[i] * norm.gamma[o]) / Math.sqrt(norm.variance[o] + eps);
      expect(Math.abs(value - exact)).toBeLessThanOrEqual(Math.abs(exact) * 2 ** -23);
    });
    return folded as Conv;
  };
  const relu = (x: { data: Float64Array; shape: number[] }) => ({
    ...x,
    data: x.data.map((value) => Math.max(value, 0)),
  });
  const first = convolve({ data: T.x.data, shape: T.x.shape }, fold(1, { padding: 1 }));
  expect(errorRatio(T.bn1_out_first4, first.data.subarray(0, T.bn1_out_first4.data.length), 'tol')).toBeLessThanOrEqual(
    1,
  );
  const second = relu(convolve(relu(first), fold(2, { padding: 1, stride: 2 }, 1e-3)));
  const third = convolve(second, fold(3, { padding: 1, groups: 2 }));
  const block = relu({ ...third, data: third.data.map((value, i) => value + second.data[i]) });
  const inner = block.shape[2] * block.shape[3];
  const means = Float64Array.from(
    { length: 16 * 12 },
    (_, i) => block.data.subarray(i * inner, (i + 1) * inner).reduce((sum, value) => sum + value, 0) / inner,
  );
  expect(errorRatio(T.block3_out_mean, means, 'tol')).toBeLessThanOrEqual(1);
  const fc = { weight: tensors.get('fc.weight')!.data, bias: tensors.get('fc.bias')!.data, shape: [4, 12] };
  expect(errorRatio(T.logits, convolve({ data: means, shape: [16, 12] }, fc).data, 'tol')).toBeLessThanOrEqual(1);
});

describe('found by others', () => {
  test('options that differ are told: with another eps the same weights give other results', async () => {
    const net = new Sequential(new Linear(4, 6), new BatchNorm1d(6), new Tanh(), new Linear(6, 2));
    const file = await readKeras(fixture('keras/functional.new.keras'));
    const [dense, norm, , last] = file.layers!.slice(1).map(({ name }) => name);
    const { differences } = fromKeras(file, { layer: net, rename: { [dense]: '0', [norm]: '1', [last]: '3' } });
    expect(differences.slice(0, 2)).toEqual([
      '1: eps is 0.001 there, 0.00001 here',
      '1: momentum is 0.01 there, 0.1 here',
    ]);
    expect(() => fromKeras(file, { rename: { nobody: '0' } })).toThrow(
      /^fromKeras: rename expected layers of the file: .*, got 'nobody'$/,
    );
  });

  test('files given to the wrong reader are named', async () => {
    const pickle = Uint8Array.from([0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20]);
    const hint = 'write safetensors with save_file(model.state_dict(), …)';
    expect(() => readSafetensors(pickle)).toThrow(
      `safetensors: file expected a safetensors file, got a pickle: ${hint} (offset 0)`,
    );
    expect(() => readSafetensors(fixture('torch/net.npz'))).toThrow('got an NPZ file');
    await expect(loadSequential(pickle)).rejects.toThrow(
      `loadSequential: file expected an ONNX, Keras or TF.js file, got a pickle: ${hint}`,
    );
    await expect(loadSequential(fixture('torch/net.f32.safetensors'))).rejects.toThrow(
      'loadSequential: file expected an ONNX, Keras or TF.js file, got a safetensors file (offset 0)',
    );
    await expect(readNpz(fixture('torch/net.pt'))).rejects.toThrow(
      'NPZ: file expected an NPZ file, got a file of torch.save, which is a pickle',
    );
    await expect(loadSequential(fixture('torch/net.pt'))).rejects.toThrow(
      `loadSequential: file expected an ONNX, Keras or TF.js file, got a file of torch.save, which is a pickle: ${hint} (offset 0)`,
    );
    // the file as well as its tensors
    expect(fromTorch(readSafetensors(fixture('torch/net.f32.safetensors'))).unused).toEqual([]);
  });

  const vector = (...data: number[]) => ({ data: Float32Array.from(data), shape: [data.length] });

  test('names that collide on the way out are refused', () => {
    const state = { 'a.weight': vector(1, 2), 'b.gamma': vector(3, 4) };
    expect(() => toTorch(state, { rename: { c: 'a', d: 'b' } })).not.toThrow();
    expect(() => toTorch({ weight: vector(1), gamma: vector(2) })).toThrow(
      "toTorch: 'weight' expected a name of its own, got it twice",
    );
  });

  test('a norm behind a product of unknown rank is left alone', () => {
    const node = (op: string, inputs: string[], output: string) => nodeField(op, output, inputs, [output]);
    const model = (shape: (number | string)[]) =>
      writeModel(
        [
          node('MatMul', ['x', 'W'], 'a'),
          node('BatchNormalization', ['a', 's', 'b', 'm', 'v'], 'y'),
          lengthField(2, 'g'),
          tensorField(
            5,
            'W',
            Float32Array.from({ length: 12 }, (_, i) => i),
            [2, 6],
          ),
          ...['s', 'b', 'm', 'v'].map((name) =>
            tensorField(
              5,
              name,
              Float32Array.from({ length: 6 }, (_, i) => i + 1),
              [6],
            ),
          ),
          valueField(11, 'x', shape),
          valueField(12, 'y', shape.slice(0, -1).concat(6)),
        ],
        15,
      );
    expect(foldOnnx(model(['n', 6, 2])).kept).toEqual([
      { norm: 'y', reason: 'a MatMul before it whose output is not known to have rank 2; no layer behind it' },
    ]);
    expect(foldOnnx(model(['n', 2])).folded.length).toBe(1);
  });

  test('the rounding of half floats is what half floats round', () => {
    const halves = (data: number[], shape: number[]) => ({ data: Float32Array.from(data), shape, dtype: 'F16' });
    const file = (weight: number, gamma: number) =>
      writeSafetensors({
        'fc.weight': halves([weight, 0.1], [1, 2]),
        'bn.weight': halves([gamma], [1]),
        'bn.bias': halves([0], [1]),
        'bn.running_mean': halves([0], [1]),
        'bn.running_var': halves([1], [1]),
      });
    const { folded, file: out } = foldSafetensors(file(0.3, 1.1));
    const { data } = readSafetensors(out).tensors.get('fc.weight')!;
    const scale = halfOf(1.1) / Math.sqrt(1 + 1e-5);
    const lost = Math.abs(data[0] - halfOf(0.3) * scale) + Math.abs(data[1] - halfOf(0.1) * scale);
    expect(folded[0].rounding).toBeCloseTo(lost, 9);
    expect(folded[0].rounding).toBeGreaterThan(1e-5);
    const message = /^foldSafetensors: the folded weight expected values that F16 holds, got \d+\.\d+$/;
    expect(() => foldSafetensors(file(100, 1000), { pairs: { bn: 'fc' } })).toThrow(message);
    expect(foldSafetensors(file(100, 1000)).kept[0].reason).toMatch(message);
  });
  const halfOf = (value: number) =>
    readSafetensors(writeSafetensors({ a: { data: [value], shape: [1], dtype: 'F16' } })).tensors.get('a')!.data[0];

  test('integers that a type does not hold are refused', () => {
    expect(() => writeSafetensors({ a: { data: [1.5], shape: [1], dtype: 'I64' } })).toThrow(
      'a file: dtype I64 expected values that it holds, got 1.5',
    );
    expect(() => writeSafetensors({ a: { data: [1e20], shape: [1], dtype: 'I32' } })).toThrow(
      'expected values that it holds, got 100000000000000000000',
    );
    expect(() => writeSafetensors({ a: { bytes: new Uint8Array(3), shape: [4], dtype: 'F32' } })).toThrow(
      "safetensors: tensor 'a' expected 16 bytes for shape [4], got 3",
    );
    expect(() => writeNpz({ '../a': { data: [1], shape: [1] } })).toThrow(
      "NPZ: a name expected one inside the archive, got '../a'",
    );
  });

  test('zeros that deflate to nothing are no bomb', async () => {
    expect([...(await readNpz(fixture('numpy/zeros.npz'))).get('w')!.shape]).toEqual([1024, 1024]);
  });

  test.each([
    ['fromTorch', () => fromTorch(null as never)],
    ['fromKeras', () => fromKeras(null as never)],
    ['fromTfjs', () => fromTfjs(null as never)],
    ['fromFlax', () => fromFlax({ a: null } as never)],
    ['fromFlax', () => fromFlax({ a: { shape: [1] } } as never)],
    ['fromOnnx', () => fromOnnx(null as never)],
    ['toTorch', () => toTorch({ a: null } as never)],
    ['toKeras', () => toKeras(null as never)],
    ['toOnnx', () => toOnnx(null as never)],
    ['writeNpz', () => writeNpz(null as never)],
    ['writeTfjs', () => writeTfjs(null as never)],
    ['writeSafetensors', () => writeSafetensors({ a: null } as never)],
    ['writeSafetensors', () => writeSafetensors({ a: { data: null, shape: [1] } } as never)],
    ['an unknown option', () => fromTorch({}, { renam: {} } as never)],
    ['no options', () => fromTorch({}, null as never)],
    ['pairs', () => foldSafetensors(fixture('torch/net.f32.safetensors'), { pairs: null } as never)],
  ])('%s gives an error with a code', (_, call) => {
    expect(call).toThrow(expect.objectContaining({ code: expect.stringMatching(/^ERR_/) }));
  });

  test('SiLU and transposed constants, as exporters write them', async () => {
    const net = new Sequential(
      new Linear(3, 4, { seed: 1 }),
      new ActivationLayer('silu'),
      new Linear(4, 2, { seed: 2 }),
    );
    const x = { data: Float32Array.of(1, -2, 3, 0.5, 0, -1), shape: [2, 3] };
    expect((await loadSequential(toOnnx(net.eval()))).forward(x).data).toEqual(net.forward(x).data);
  });
});
