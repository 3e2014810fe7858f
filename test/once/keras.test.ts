// Keras files of every age: archives, HDF5 by name and by number, models that are classes of their
// own, layers in layers.

import { describe, expect, test } from 'vitest';
import { type Hdf5Group, readHdf5, writeHdf5 } from '../../src/formats/hdf5.ts';
import type { Json } from '../../src/formats/json.ts';
import { BatchNorm, BatchNorm1d, GroupNorm, LayerNorm, Linear, Sequential } from '../../src/index.ts';
import { fromKeras, loadSequential, readKeras, toKeras, toTfjs, writeKeras } from '../../src/weights/index.ts';
import { layersOf } from '../../src/weights/keras-config.ts';
import { normals } from '../support/data.ts';
import { answers, fixture, relative } from '../support/weights.ts';

const read = async (name: string) => readKeras(fixture(name));
const statesOf = async (name: string) => {
  const { state, unused, missing } = fromKeras(await read(name));
  return { state, unused, missing };
};

/** An array with its axes in another order. */
function moved(values: readonly number[], shape: readonly number[], order: readonly number[]): number[] {
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
  const to = order.map((axis) => shape[axis]);
  const out: number[] = [];
  const walk = (axis: number, from: number) => {
    if (axis === to.length) out.push(values[from]);
    else for (let i = 0; i < to[axis]; i++) walk(axis + 1, from + i * strides[order[axis]]);
  };
  walk(0, 0);
  return out;
}

describe('layers by their kind', () => {
  const want: Record<string, number[]> = answers('keras-kinds/answers.json').kinds.values;

  test.each(['kinds.keras', 'kinds.weights.h5', 'kinds.h5'])('%s: kernels and norms of every kind', async (name) => {
    const { state, unused, missing } = await statesOf(`keras-kinds/${name}`);
    const have = (entry: string, shape: readonly number[], values: readonly number[]) => {
      expect([entry, state[entry]?.shape]).toEqual([entry, shape]);
      expect([entry, Array.from(state[entry].data)]).toEqual([entry, values]);
    };
    have('conv.weight', [4, 4, 2, 3], moved(want['conv/kernel'], [2, 3, 4, 4], [3, 2, 0, 1]));
    have('conv1.weight', [4, 3, 3], moved(want['conv1/kernel'], [3, 3, 4], [2, 1, 0]));
    have('depthwise.weight', [8, 1, 3, 2], moved(want['depthwise/kernel'], [3, 2, 4, 2], [2, 3, 0, 1]));
    have('depthwise.bias', [8], want['depthwise/bias']);
    have(
      'separable.depthwise.weight',
      [16, 1, 2, 2],
      moved(want['separable/depthwise_kernel'], [2, 2, 8, 2], [2, 3, 0, 1]),
    );
    have(
      'separable.pointwise.weight',
      [5, 16, 1, 1],
      moved(want['separable/pointwise_kernel'], [1, 1, 16, 5], [3, 2, 0, 1]),
    );
    have('separable.pointwise.bias', [5], want['separable/bias']);
    have('transposed.weight', [5, 3, 2, 3], moved(want['transposed/kernel'], [2, 3, 3, 5], [3, 2, 0, 1]));
    have('fc.weight', [2, 3], moved(want['fc/kernel'], [3, 2], [1, 0]));
    have('ln.gamma', [5], want['ln/gamma']);
    have('ln.beta', [5], want['ln/beta']);
    have('gn.gamma', [8], want['gn/gamma']);
    have('gn.beta', [8], want['gn/beta']);
    have('rms.gamma', [3], want['rms/scale']);
    have('bn.runningVar', [4], want['bn/moving_variance']);
    // of recurrent layers there are none with these gates
    const cell = name.endsWith('kinds.h5') ? 'lstm/lstm_cell' : 'lstm/cell';
    expect([...unused].sort()).toEqual([`${cell}/bias`, `${cell}/kernel`, `${cell}/recurrent_kernel`]);
    expect(missing).toEqual([]);
  });

  test.each(['kinds', 'rows', 'nested', 'custom', 'own'])('%s: nothing is passed over', async (name) => {
    const count = Object.keys(answers('keras-kinds/answers.json')[name].values).length;
    const files = name === 'own' ? ['keras', 'weights.h5'] : ['keras', 'weights.h5', 'h5'];
    for (const ending of files) {
      const { tensors } = await read(`keras-kinds/${name}.${ending}`);
      expect([ending, tensors.size]).toEqual([ending, count]);
    }
  });

  test('what an optimizer keeps is named as unused', async () => {
    const archive = await statesOf('keras-kinds/compiled.keras');
    expect(archive.unused).toEqual(Array.from({ length: 10 }, (_, i) => `optimizer/vars/${i}`));
    const named = await statesOf('keras-kinds/compiled.h5');
    expect(named.unused.length).toBe(10);
    expect(named.unused).toContain('optimizer_weights/adam/compiled_fc_kernel_velocity');
  });
});

describe('models that are classes of their own', () => {
  test.each(['own.keras', 'own.weights.h5'])('%s: every variable under the name of its attribute', async (name) => {
    const file = await read(`keras-kinds/${name}`);
    expect(file.layers).toBeNull();
    expect(Object.fromEntries(file.kinds!)).toEqual({
      '': 'class_of_its_own',
      bn1: 'batch_normalization',
      conv1: 'conv2d',
      fc: 'dense',
    });
    const { state, norms, assumed, unused } = fromKeras(file);
    const want = answers('keras-kinds/answers.json').own.values;
    expect(Array.from(state['bn1.runningVar'].data)).toEqual(want['own/batch_normalization/moving_variance']);
    expect(state['conv1.weight'].shape).toEqual([3, 2, 2, 2]);
    expect(norms).toEqual({ bn1: { eps: 1e-3, momentum: 0.01, runningVariance: 'biased', layout: 'channels-last' } });
    expect(assumed).toEqual({ bn1: ['eps', 'momentum', 'runningVariance', 'layout'] });
    expect(unused).toEqual([]);
  });

  test('are no network', async () => {
    await expect(loadSequential(fixture('keras-kinds/own.keras'))).rejects.toThrow(
      'Keras: config expected a network with layers, got a class of its own, of which only its Python says what it does (offset 0)',
    );
  });

  test.each(['custom.keras', 'custom.weights.h5'])('%s: layers in a layer', async (name) => {
    const { state, unused } = await statesOf(`keras-kinds/${name}`);
    expect(
      Object.keys(state)
        .filter((key) => key.startsWith('block.'))
        .sort(),
    ).toEqual([
      'block.dense.bias',
      'block.dense.weight',
      'block.norm.batchesTracked',
      'block.norm.beta',
      'block.norm.gamma',
      'block.norm.runningMean',
      'block.norm.runningVar',
      'block.steps.batch_normalization.batchesTracked',
      'block.steps.batch_normalization.beta',
      'block.steps.batch_normalization.gamma',
      'block.steps.batch_normalization.runningMean',
      'block.steps.batch_normalization.runningVar',
      'block.steps.dense.weight',
    ]);
    expect(unused).toEqual([]);
  });
});

describe('networks', () => {
  test.each(['rows.keras', 'rows.h5', 'nested.keras', 'nested.h5'])('%s gives Keras’ outputs', async (name) => {
    const net = await loadSequential(fixture(`keras-kinds/${name}`));
    const { x, y } = answers('keras-kinds/answers.json')[name.split('.')[0]];
    const got = net.forward({ data: Float32Array.from(x), shape: [2, x.length / 2] }).data;
    expect(relative(got, y)).toBeLessThan(1e-5);
  });

  test('norms of rows have what their configs say', async () => {
    const net = await loadSequential(fixture('keras-kinds/rows.keras'));
    expect(net.report).toEqual({ trainable: true, reason: null, folded: [], unused: [], assumed: [] });
    expect(net.layers.map(({ subject }) => subject)).toEqual([
      'LayerNorm(6)',
      'Linear(6, 8)',
      'GroupNorm(4, 8)',
      'RMSNorm(8)',
      'ActivationLayer',
      'LayerNorm(8)',
      'Linear(8, 3)',
    ]);
  });

  test.each([
    ['norm.keras', "layer BatchNormalization 'bn'"],
    ['norm.h5', "layer BatchNormalization 'bn'"],
    ['network.keras', "layer Sequential 'inner'"],
    ['dropout.keras', "layer Dropout 'drop'"],
  ])('a call with training=True is refused: %s', async (name, where) => {
    await expect(loadSequential(fixture(`keras-kinds/training-${name}`))).rejects.toThrow(
      `Keras: ${where} expected inference, got training=True, which a call in the model says (offset 0)`,
    );
  });

  test('imports name the layers in training mode, and the difference to a layer', async () => {
    const trained = async (name: string, options = {}) =>
      fromKeras(await readKeras(fixture(`keras-kinds/training-${name}`)), options);
    expect((await trained('norm.h5')).training).toEqual(['bn']);
    expect((await trained('dropout.keras')).training).toEqual(['drop']);
    expect((await trained('none.keras')).training).toBeUndefined();
    const { training, differences } = await trained('norm.keras', {
      layer: new Sequential(new BatchNorm1d(4, { eps: 1e-3, momentum: 0.01, runningVariance: 'biased' })),
      rename: { bn: '0' },
    });
    expect(training).toEqual(['0']);
    expect(differences).toEqual(['0: training mode there, running statistics here in evaluation']);
  });

  test('a layer in a wrapper has the options of its own config, and is called as the wrapper is', () => {
    const tensors = new Map(
      ['steps', 'wrapper/layer'].flatMap((layer) =>
        ['gamma', 'beta', 'moving_mean', 'moving_variance'].map(
          (leaf) => [`${layer}/${leaf}`, { dtype: 'F32', shape: [3], data: Float32Array.of(1, 2, 3) }] as const,
        ),
      ),
    );
    const inner = {
      class_name: 'BatchNormalization',
      config: { name: 'bn', epsilon: 0.05, momentum: 0.75, axis: [2] },
    };
    const outer = (name: string, nodes: Json) => ({
      class_name: 'TimeDistributed',
      config: { name, layer: inner },
      build_config: { input_shape: [null, 7, 5, 3] },
      inbound_nodes: nodes,
    });
    const layers = layersOf({
      class_name: 'Functional',
      config: {
        layers: [
          outer('steps', [[['input', 0, 0, { training: true }]]]),
          outer('wrapper', [{ args: [], kwargs: { training: false } }]),
        ],
      },
    });
    const { norms, assumed, training } = fromKeras({ tensors, layers, version: null });
    const options = { eps: 0.05, momentum: 0.25, runningVariance: 'biased', layout: 'channels-last' };
    expect(norms).toEqual({ steps: options, 'wrapper.layer': options });
    expect([assumed, training]).toEqual([{}, ['steps']]);
  });

  test('training=False is inference', async () => {
    const net = await loadSequential(fixture('keras-kinds/training-none.keras'));
    expect(net.layers.length).toBe(4);
  });
});

describe('tf.keras', () => {
  const { x, y } = answers('tfkeras/answers.json').mlp;
  const forward = async (name: string) =>
    (await loadSequential(fixture(`tfkeras/${name}`))).forward({ data: Float32Array.from(x), shape: [2, 3] }).data;

  test.each(['mlp.h5', 'mlp-counted.h5', 'mlp-scoped.h5', 'mlp-2.13.keras', 'mlp-2.14-windows.keras'])(
    '%s: every name that batch norm has had, whatever scopes are in names of variables',
    async (name) => {
      expect(relative(await forward(name), y)).toBeLessThan(1e-5);
      const file = await read(`tfkeras/${name}`);
      const { norms, assumed, unused, missing } = fromKeras(file);
      expect(norms).toMatchObject({
        X: { eps: 0.05, momentum: 0.1 },
        batch_normalization: { eps: 0.01, affine: 'beta' },
        batch_normalization_1: { eps: 0.002 },
      });
      expect([assumed, unused, missing]).toEqual([{}, [], []]);
      const net = await loadSequential(fixture(`tfkeras/${name}`));
      expect((net.layers[1] as BatchNorm).options.eps).toBe(0.05);
    },
  );

  test.each(['mlp-2.13', 'mlp-2.14-windows'])('%s.weights.h5: what cannot be told is named', async (name) => {
    const { state, unused } = await statesOf(`tfkeras/${name}.weights.h5`);
    const want = answers('tfkeras/answers.json').mlp.values;
    expect(Array.from(state['batch_normalization.runningMean'].data)).toEqual(want['X/moving_mean:0']);
    expect(Array.from(state['dense.weight'].data)).toEqual(moved(want['fc1/kernel:0'], [3, 4], [1, 0]));
    // beta or gamma beside the statistics
    expect(unused).toEqual([0, 1, 2].map((i) => `batch_normalization_2/vars/${i}`));
  });

  test('names of layers with slashes, and networks in networks', async () => {
    const { state } = await statesOf('tfkeras/convnet.h5');
    const want = answers('tfkeras/answers.json').convnet.values;
    const kernel = want['block/depthwise/depthwise_kernel:0'];
    expect(state['block.depthwise.weight'].shape).toEqual([4, 1, 3, 2]);
    expect(Array.from(state['block.depthwise.weight'].data)).toEqual(moved(kernel, [3, 2, 2, 2], [2, 3, 0, 1]));
    expect(fromKeras(await read('tfkeras/convnet.h5')).norms['block.depthwise.BatchNorm'].eps).toBe(0.03);
    const nested = fromKeras(await read('tfkeras/nested.h5'));
    expect(nested.norms['inner.inner_bn'].eps).toBe(0.02);
    const net = await loadSequential(fixture('tfkeras/nested.h5'));
    const answer = answers('tfkeras/answers.json').nested;
    const got = net.forward({ data: Float32Array.from(answer.x), shape: [2, 3] }).data;
    expect(relative(got, answer.y)).toBeLessThan(1e-5);
  });
});

describe('written again', () => {
  /** Every dataset of a file by its path. */
  const datasetsOf = (bytes: Uint8Array) =>
    readHdf5('test', bytes, (root) => {
      const found: Record<string, readonly number[]> = {};
      const walk = ({ groups, datasets }: Hdf5Group, path: string) => {
        for (const [key, { data }] of datasets) found[`${path}${key}`] = Array.from(data);
        for (const [key, group] of groups) walk(group, `${path}${key}/`);
      };
      walk(root, '');
      return found;
    });

  test.each(['kinds', 'rows', 'nested', 'custom', 'own'])(
    '%s: the groups and numbers that Keras wrote, and loads',
    async (name) => {
      const file = await read(`keras-kinds/${name}.keras`);
      const { state, unused, multipliers } = fromKeras(file);
      const tensors = toKeras(state, { multipliers });
      for (const full of unused) tensors.set(full, file.tensors.get(full)!);
      const original = await datasetsOf(fixture(`keras-kinds/${name}.weights.h5`));
      expect(await datasetsOf(await writeKeras(tensors, { kinds: file.kinds }))).toEqual(original);
    },
  );

  test('a network of ours: kinds that variables do not show are told', async () => {
    const net = new Sequential(new Linear(4, 6, { seed: 1 }), new LayerNorm(6), new GroupNorm(2, 6), new Linear(6, 2));
    const bytes = await writeKeras(toKeras(net.stateDict()), { kinds: { 2: 'GroupNormalization' } });
    expect(Object.keys(await datasetsOf(bytes))).toEqual([
      'layers/dense/vars/0',
      'layers/dense/vars/1',
      'layers/dense_1/vars/0',
      'layers/dense_1/vars/1',
      'layers/group_normalization/vars/0',
      'layers/group_normalization/vars/1',
      'layers/layer_normalization/vars/0',
      'layers/layer_normalization/vars/1',
    ]);
  });

  test('what is no variable of its layer keeps its own name', async () => {
    const odd = { data: Float32Array.of(1, 2), shape: [2] };
    const bytes = await writeKeras(new Map([['lab/filters', odd]]));
    expect(await datasetsOf(bytes)).toEqual({ 'lab/filters': [1, 2] });
  });

  test('an option that there is not', async () => {
    await expect(writeKeras(new Map(), { kind: {} } as never)).rejects.toThrow(
      "writeKeras: options expected 'kinds', got 'kind'",
    );
  });

  test('depthwise kernels as TF.js names them', () => {
    const { state, multipliers } = fromKeras({
      'dw/depthwise_kernel': { data: Float32Array.of(1, 2, 3, 4), shape: [1, 1, 2, 2] },
    });
    expect(state['dw.weight']).toEqual({ data: Float32Array.of(1, 2, 3, 4), shape: [4, 1, 1, 1] });
    expect(multipliers).toEqual({ dw: 2 });
    expect(toTfjs(state, { multipliers })).toEqual(
      new Map([['dw/depthwise_kernel', { data: Float32Array.of(1, 2, 3, 4), shape: [1, 1, 2, 2] }]]),
    );
  });
});

describe('configs that are no chain, or say what there is not here', () => {
  /** A file as tf.keras writes it. */
  const legacy = (config: object, tensors: Record<string, { data: number[]; shape: number[] }>) =>
    writeHdf5('test', {
      datasets: Object.entries(tensors).map(([path, { data, shape }]) => ({
        path: `model_weights/${path}`,
        data: Float32Array.from(data),
        shape,
      })),
      attributes: [
        { path: '', name: 'model_config', value: JSON.stringify(config) },
        { path: '', name: 'keras_version', value: '2.15.0' },
      ],
    });
  const layer = (class_name: string, name: string, config: object = {}, inbound?: unknown) => ({
    class_name,
    config: { name, ...config },
    ...(inbound ? { name, inbound_nodes: inbound } : {}),
  });
  const from = (name: string, kwargs = {}) => [[[name, 0, 0, kwargs]]];
  const input = layer('InputLayer', 'in', { batch_input_shape: [null, 2] }, []);
  const dense = (name: string) => ({ [`${name}/${name}/kernel:0`]: { data: [1, 2, 3, 4], shape: [2, 2] } });
  const functional = (layers: object[], outputs: unknown) => ({
    class_name: 'Functional',
    config: { name: 'm', layers, input_layers: [['in', 0, 0]], output_layers: outputs },
  });
  const sequential = (...layers: object[]) => ({ class_name: 'Sequential', config: { name: 's', layers } });
  const bias = { use_bias: false, units: 2 };
  const four = [null, 2, 3, 2];

  test('two outputs', async () => {
    const config = functional(
      [input, layer('Dense', 'a', bias, from('in')), layer('Dense', 'b', bias, from('a'))],
      [
        ['a', 0, 0],
        ['b', 0, 0],
      ],
    );
    await expect(loadSequential(await legacy(config, { ...dense('a'), ...dense('b') }))).rejects.toThrow(
      "Keras: graph expected a chain of layers that there are here, from one input to one output, got 2 outputs ('a', 'b') (offset 0)",
    );
  });

  test('an output before the last layer', async () => {
    const layers = [input, layer('Dense', 'a', bias, from('in')), layer('Dense', 'b', bias, from('a'))];
    const config = functional(
      [
        input,
        layer('Dense', 'outer', bias, from('in')),
        layer('Functional', 'in2', { ...functional(layers, [['a', 0, 0]]).config, name: 'in2' }, from('outer')),
      ],
      [['in2', 0, 0]],
    );
    const inner = Object.entries(dense('a')).map(([name, tensor]) => [`in2/${name}`, tensor] as const);
    const net = await loadSequential(await legacy(config, { ...dense('outer'), ...Object.fromEntries(inner) }));
    // what the output does not need is left out
    expect(net.layers.map(({ subject }) => subject)).toEqual(['Linear(2, 2)', 'Linear(2, 2)']);
  });

  test('what a layer computes in: quantised weights are refused, other floats named', async () => {
    const policy = (config: unknown) => ({
      dtype: { module: 'keras.dtype_policies', class_name: 'a policy', config, registered_name: null },
    });
    const mode = policy({ mode: 'int8', source_name: 'float32' });
    const tensors = { ...dense('a'), 'a/a/kernel_scale:0': { data: [0.5, 0.5], shape: [2] } };
    const quantised = legacy(sequential(layer('Dense', 'a', { ...bias, ...mode })), tensors);
    await expect(quantised.then(loadSequential)).rejects.toThrow(
      "Keras: layer Dense 'a' expected 'kernel' as it is, got one that is quantized: int8_from_float32 (offset 0)",
    );
    for (const given of [policy({ name: 'mixed_float16' }), { dtype: 'mixed_float16' }]) {
      const net = await loadSequential(
        await legacy(sequential(layer('Dense', 'a', { ...bias, ...given })), dense('a')),
      );
      expect(net.report?.assumed).toContain('float32 where layers compute in mixed_float16');
    }
  });

  test('a variable more than the layer has: a quantised kernel is not taken for its numbers', async () => {
    const config = sequential(layer('Dense', 'a', bias));
    const tensors = { ...dense('a'), 'a/a/kernel_scale:0': { data: [0.5, 0.5], shape: [2] } };
    await expect(loadSequential(await legacy(config, tensors))).rejects.toThrow(
      "Keras: layer Dense 'a' expected 'kernel' as it is, got one that is quantized, with 'kernel_scale' beside it (offset 0)",
    );
  });

  test.each([
    [
      layer('LayerNormalization', 'n', { axis: 0, batch_input_shape: four }),
      'other axes than the batch, got axis 0',
      [2],
    ],
    [
      layer('LayerNormalization', 'n', { axis: [{}], batch_input_shape: four }),
      'an axis of rank 4 as axis, got {}',
      [2],
    ],
    [layer('LayerNormalization', 'n', { epsilon: '1', batch_input_shape: four }), 'a number as epsilon, got "1"', [2]],
  ])('%j', async (one, message, shape) => {
    const values = { data: Array(shape.reduce((a, b) => a * b)).fill(1), shape };
    const tensors = { 'n/n/gamma:0': values, 'n/n/beta:0': values };
    await expect(loadSequential(await legacy(sequential(one), tensors))).rejects.toThrow(
      `Keras: layer LayerNormalization 'n' expected ${message} (offset 0)`,
    );
  });

  test.each([
    [
      [1, 3],
      [2, 2],
      [1, 3],
    ],
    [-2, [3], [2]],
    [-1, [2], null],
    [[-2, -1], [3, 2], null],
  ])('a layer norm along axis %j', async (axis, shape, expected) => {
    const values = { data: Array(shape.reduce((a, b) => a * b)).fill(1), shape };
    const tensors = { 'n/n/gamma:0': values, 'n/n/beta:0': values };
    const net = await loadSequential(
      await legacy(sequential(layer('LayerNormalization', 'n', { axis, batch_input_shape: four })), tensors),
    );
    expect((net.layers[0] as LayerNorm).axis).toEqual(expected);
  });

  test('group and batch norm along an axis that is neither 1 nor the last', async () => {
    const values = { data: [1, 2], shape: [2] };
    const tensors = Object.fromEntries(
      ['g/g/gamma', 'g/g/beta', 'b/b/gamma', 'b/b/beta', 'b/b/moving_mean', 'b/b/moving_variance'].map((name) => [
        `${name}:0`,
        values,
      ]),
    );
    const first = layer('InputLayer', 'in', { batch_input_shape: [null, 3, 2, 4] });
    const norms = [
      layer('GroupNormalization', 'g', { axis: 2, groups: 1 }),
      layer('BatchNormalization', 'b', { axis: [-2] }),
    ];
    const net = await loadSequential(await legacy(sequential(first, ...norms), tensors));
    expect(net.layers.map((one) => (one as GroupNorm).options.axis)).toEqual([2, 2]);
    const x = { data: normals(1, 48), shape: [2, 3, 2, 4] };
    const [group, batch] = [new GroupNorm(1, 2, { axis: 2, eps: 1e-3 }), new BatchNorm(2, { axis: 2, eps: 1e-3 })];
    group.loadStateDict({ gamma: values, beta: values } as never);
    const state = { gamma: values, beta: values, runningMean: values, runningVar: values };
    batch.loadStateDict(state as never, { strict: false });
    expect(net.eval().forward(x).data).toEqual(batch.eval().forward(group.forward(x)).data);
  });

  test.each([
    [{ max_value: [6] }, 'a number as max_value, got [6]'],
    [{ negative_slope: { value: 0.1 } }, 'a number as negative_slope, got {"value":0.1}'],
    [{ max_value: -4 }, 'a max_value of 0 or more, got -4'],
  ])('ReLU with %j', async (config, message) => {
    await expect(
      loadSequential(await legacy(sequential(layer('ReLU', 'r', { batch_input_shape: four, ...config })), dense('a'))),
    ).rejects.toThrow(`Keras: layer ReLU 'r' expected ${message} (offset 0)`);
  });

  test('a negative variance is refused with the norm’s name', async () => {
    const one = (value: number) => ({ data: [value], shape: [1] });
    const tensors = {
      'n/n/gamma:0': one(1),
      'n/n/beta:0': one(0),
      'n/n/moving_mean:0': one(0),
      'n/n/moving_variance:0': one(-9.99e-6),
    };
    const bytes = await legacy(sequential(layer('BatchNormalization', 'n', { batch_input_shape: [null, 1] })), tensors);
    await expect(loadSequential(bytes)).rejects.toThrow(
      /^Keras: layer BatchNormalization 'n' expected variances of 0 or more as moving_variance, got -0\.000009\d+ at 0/,
    );
    expect(fromKeras(await readKeras(bytes), { lenient: true }).state['n.runningVar'].data[0]).toBeCloseTo(-9.99e-6, 9);
  });
});

describe('HDF5 that costs more than it is', () => {
  /** A file written by the library itself. */
  async function written(
    make: (file: {
      create_hard_link(to: string, name: string): unknown;
      create_dataset(options: object): void;
    }) => void,
  ) {
    const h5wasm = await import('h5wasm');
    const { FS } = await h5wasm.ready;
    const file = new h5wasm.File('costs.h5', 'w');
    make(file as never);
    file.close();
    const bytes = Uint8Array.from(FS.readFile('costs.h5'));
    FS.unlink('costs.h5');
    return bytes;
  }

  test('zeros that deflate to nothing', async () => {
    const zeros = new Float32Array(6 << 20);
    const bytes = await written((file) =>
      file.create_dataset({
        name: 'z',
        data: zeros,
        shape: [zeros.length],
        dtype: '<f',
        chunks: [1 << 20],
        compression: 9,
      }),
    );
    expect(bytes.length).toBeLessThan(200_000);
    await expect(readKeras(bytes)).rejects.toThrow(
      "Keras: dataset '/z' expected at most 16777216 bytes, got 25165824 (offset 0)",
    );
  });

  test('more names than a model of its size has objects', async () => {
    const bytes = await written((file) => {
      file.create_dataset({ name: 'd', data: Float32Array.of(1), shape: [1], dtype: '<f' });
      for (let i = 0; i < 5000; i++) file.create_hard_link('/d', `${i}`);
    });
    await expect(readKeras(bytes)).rejects.toThrow(
      "Keras: group '' expected at most 4096 objects, got more (offset 0)",
    );
  });

  test('a heap whose objects have no size, which the library never gets out of', async () => {
    const bytes = fixture('keras/chain.new.h5');
    const start = bytes.findIndex((_, i) => String.fromCharCode(...bytes.subarray(i, i + 4)) === 'GCOL');
    // the second object's size is in the way of the third
    const second = start + 16 + 24;
    bytes.fill(0, second, second + 24);
    await expect(readKeras(bytes)).rejects.toThrow(
      /^Keras: global heap expected objects of 16 to \d+ bytes, got 0 \(offset \d+\)$/,
    );
  });

  test('a file that was cut', async () => {
    const bytes = fixture('keras/chain.old.h5');
    await expect(readKeras(bytes.slice(0, 30_000))).rejects.toThrow(
      `Keras: HDF5 file expected ${bytes.length} bytes, got 30000 (offset 40)`,
    );
    await expect(readKeras(bytes.slice(0, 20))).rejects.toThrow(
      'Keras: superblock expected 31 bytes, got 11 before the end (offset 9)',
    );
  });

  test('a file that crashes the library leaves the next one alone', async () => {
    const bytes = fixture('keras/chain.old.h5');
    bytes.fill(0x80, 8534, 8540);
    await expect(readKeras(bytes)).rejects.toThrow(
      "Keras: HDF5 file expected a file that the HDF5 library reads, got 'memory access out of bounds' (offset 0)",
    );
    expect((await readKeras(fixture('keras/chain.old.h5'))).tensors.size).toBe(20);
  });
});

test('an axis that is no number is refused by name', () => {
  const tensors = new Map([['n/gamma', { data: Float32Array.of(1, 1), shape: [2] }]]);
  for (const axis of [{ a: 1 }, [{}], 'last', true, 1.5]) {
    const config = { axis } as never;
    const layers = [{ name: 'n', className: 'BatchNormalization', config, inbound: undefined, rank: undefined }];
    expect(() => fromKeras({ tensors, layers, version: null } as never)).toThrow(
      `fromKeras: 'n' axis expected one axis behind that of the samples, got ${JSON.stringify(axis)}`,
    );
  }
});
