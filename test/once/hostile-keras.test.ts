// Networks of Keras layers that lie: an error by the layer's name, before memory is touched.

import { describe, expect, test } from 'vitest';
import '../../src/index.ts';
import { loadNetwork } from '../../src/weights/index.ts';

interface Weight {
  readonly name: string;
  readonly shape: readonly number[];
}
type Config = Record<string, unknown>;

const countOf = (shape: readonly number[]) => shape.reduce((product, length) => product * length, 1);

/** A layers model of TF.js whose weights are 0.5. */
function model(topology: unknown, weights: readonly Weight[] = []): Record<string, Uint8Array> {
  const specs = weights.map((weight) => ({ ...weight, dtype: 'float32' }));
  const json = {
    format: 'layers-model',
    modelTopology: { model_config: topology },
    weightsManifest: [{ paths: ['w.bin'], weights: specs }],
  };
  const values = new Float32Array(weights.reduce((sum, { shape }) => sum + countOf(shape), 0)).fill(0.5);
  return { 'model.json': new TextEncoder().encode(JSON.stringify(json)), 'w.bin': new Uint8Array(values.buffer) };
}

/** A chain of layers on an input. */
function chain(
  shape: readonly (number | null)[],
  layers: readonly (readonly [className: string, config: Config])[],
  weights: readonly Weight[] = [],
) {
  const entries = layers.map(([class_name, config], i) => ({ class_name, config: { name: `l${i}`, ...config } }));
  const input = { class_name: 'InputLayer', config: { name: 'in', batch_input_shape: [null, ...shape] } };
  return model({ class_name: 'Sequential', config: { name: 'net', layers: [input, ...entries] } }, weights);
}

/** A graph: layers with what they are called on. */
function graph(
  layers: readonly (readonly [name: string, className: string, config: Config, inbound: unknown])[],
  outputs: unknown,
  weights: readonly Weight[] = [],
) {
  const entries = layers.map(([name, class_name, config, inbound_nodes]) => ({
    name,
    class_name,
    config: { name, ...config },
    inbound_nodes,
  }));
  const input = {
    name: 'in',
    class_name: 'InputLayer',
    config: { name: 'in', batch_input_shape: [null, 4] },
    inbound_nodes: [],
  };
  const config = { name: 'net', layers: [input, ...entries], input_layers: [['in', 0, 0]], output_layers: outputs };
  return model({ class_name: 'Model', config }, weights);
}

const dense = (name: string, from: number, to: number): Weight[] => [
  { name: `${name}/kernel`, shape: [from, to] },
  { name: `${name}/bias`, shape: [to] },
];
const norm = (name: string, size: number): Weight[] =>
  ['gamma', 'beta', 'moving_mean', 'moving_variance'].map((leaf) => ({ name: `${name}/${leaf}`, shape: [size] }));
const at = (name: string, node = 0, tensor = 0) => [[[name, node, tensor, {}]]];

const image = [6, 5, 2] as const;
const conv = { filters: 3, kernel_size: [3, 3], strides: [1, 1], padding: 'valid' };

describe('what is wrong is said by the name of the layer', () => {
  test.each<[string, Record<string, Uint8Array>, string]>([
    [
      'weights that are missing',
      chain([4], [['Dense', { units: 3 }]]),
      "TF.js: layer Dense 'l0' expected a variable 'kernel', got none (offset 0)",
    ],
    [
      'a weight that is missing among others',
      chain([4], [['Dense', { units: 3 }]], dense('l0', 4, 3).slice(0, 1)),
      "TF.js: layer Dense 'l0' expected a variable 'bias', got none (there are 'l0/kernel') (offset 0)",
    ],
    [
      'a kernel of another shape than the input',
      chain([4], [['Dense', { units: 3 }]], dense('l0', 5, 3)),
      "TF.js: layer Dense 'l0' expected 'kernel' of shape [4, 3], got shape [5, 3] (offset 0)",
    ],
    [
      'a kernel of another shape than the settings',
      chain(
        [...image],
        [['Conv2D', conv]],
        [
          { name: 'l0/kernel', shape: [3, 3, 2, 4] },
          { name: 'l0/bias', shape: [4] },
        ],
      ),
      "TF.js: layer Conv2D 'l0' expected 'kernel' of shape [3, 3, 2, 3], got shape [3, 3, 2, 4] (offset 0)",
    ],
    [
      'a bias of another length',
      chain(
        [...image],
        [['Conv2D', conv]],
        [
          { name: 'l0/kernel', shape: [3, 3, 2, 3] },
          { name: 'l0/bias', shape: [4] },
        ],
      ),
      "TF.js: layer Conv2D 'l0' expected 'bias' of shape [3], got shape [4] (offset 0)",
    ],
    [
      'groups that do not divide',
      chain([...image], [['Conv2D', { ...conv, groups: 2 }]], [{ name: 'l0/kernel', shape: [3, 3, 1, 3] }]),
      "TF.js: layer Conv2D 'l0' expected groups that divide the channels, got 2 groups, 2 in, 3 out (offset 0)",
    ],
    [
      'a stride of 0',
      chain([...image], [['MaxPooling2D', { pool_size: [2, 2], strides: [0, 1] }]]),
      "TF.js: layer MaxPooling2D 'l0' expected a whole number from 1 to 16777216 as strides, got 0 (offset 0)",
    ],
    [
      'a window of three axes',
      chain([...image], [['MaxPooling2D', { pool_size: [2, 2, 2] }]]),
      "TF.js: layer MaxPooling2D 'l0' expected 2 numbers as pool_size, got [2,2,2] (offset 0)",
    ],
    [
      'a window that is larger than the image',
      chain([...image], [['MaxPooling2D', { pool_size: [9, 9] }]]),
      "TF.js: layer MaxPooling2D 'l0' expected what the layer takes, got MaxPool2d([9, 9]): x expected 9 or more values on axis 1, got 6 (shape [null, 6, 5, 2], channels-last) (offset 0)",
    ],
    [
      'an image for a layer of sequences',
      chain([...image], [['LSTM', { units: 2 }]]),
      "TF.js: layer LSTM 'l0' expected a sequence of rank 3, got rank 4 (offset 0)",
    ],
    [
      'padding of another kind',
      chain([...image], [['Conv2D', { ...conv, padding: 'full' }]]),
      "TF.js: layer Conv2D 'l0' expected a variable 'kernel', got none (offset 0)",
    ],
    [
      'statistics of another size',
      chain([4], [['BatchNormalization', {}]], norm('l0', 3)),
      "TF.js: layer BatchNormalization 'l0' expected 'moving_mean' of shape [4], got shape [3] (offset 0)",
    ],
    [
      'an axis that there is not',
      chain([4], [['BatchNormalization', { axis: 5 }]], norm('l0', 4)),
      "TF.js: layer BatchNormalization 'l0' expected an axis of rank 2 as axis, got 5 (offset 0)",
    ],
    [
      'a shape of other values',
      chain([4], [['Reshape', { target_shape: [3] }]]),
      "TF.js: layer Reshape 'l0' expected a target_shape of 4 values, got [3] (offset 0)",
    ],
    [
      'a shape with two open lengths',
      chain([4], [['Reshape', { target_shape: [-1, -1] }]]),
      "TF.js: layer Reshape 'l0' expected lengths of 1 or more, one of them -1, as target_shape, got [-1,-1] (offset 0)",
    ],
    [
      'more cut away than there is',
      chain(
        [...image],
        [
          [
            'Cropping2D',
            {
              cropping: [
                [3, 3],
                [0, 0],
              ],
            },
          ],
        ],
      ),
      "TF.js: layer Cropping2D 'l0' expected more than 6 places on axis 1, got 6 (offset 0)",
    ],
    [
      'values without end by padding',
      chain([...image], [['ZeroPadding2D', { padding: [16777216, 16777216] }]]),
      'loadNetwork: l0 expected at most 16777216 values, as the file and its inputs justify, got shape [null, 33554438, 33554437, 2]',
    ],
    [
      'values without end by repeating',
      chain([1000], [['RepeatVector', { n: 16777216 }]]),
      'loadNetwork: l0 expected at most 16777216 values, as the file and its inputs justify, got shape [null, 16777216, 1000]',
    ],
    [
      'an input without a shape',
      model({
        class_name: 'Sequential',
        config: { layers: [{ class_name: 'Dropout', config: { name: 'd', rate: 0.5 } }] },
      }),
      "TF.js: config expected the shape of the input, got none at 'd' (offset 0)",
    ],
    [
      'an input of texts',
      model({
        class_name: 'Sequential',
        config: {
          layers: [
            { class_name: 'InputLayer', config: { name: 'in', batch_input_shape: [null], dtype: 'string' } },
            { class_name: 'Flatten', config: { name: 'f' } },
          ],
        },
      }),
      "TF.js: input 'in' expected a tensor of numbers, got texts (offset 0)",
    ],
    [
      'a mask of two axes before a recurrent layer',
      chain(
        [5, 4, 2],
        [
          ['Masking', { mask_value: 0 }],
          ['Dropout', { rate: 0.5 }],
          ['GlobalAveragePooling1D', {}],
        ],
      ),
      "TF.js: layer GlobalAveragePooling1D 'l2' expected an input of rank 3, got rank 4 (offset 0)",
    ],
    [
      'a mask of steps before a softmax',
      chain(
        [5, 2],
        [
          ['Masking', { mask_value: 0 }],
          ['Softmax', {}],
        ],
      ),
      "TF.js: layer Softmax 'l1' expected a mask of rank 3, as its values are, got the mask of 'l0' (offset 0)",
    ],
    [
      'a mask before a layer of cuDNN',
      chain(
        [5, 2],
        [
          ['Masking', { mask_value: 0 }],
          ['CuDNNGRU', { units: 1 }],
        ],
        [
          { name: 'l1/kernel', shape: [2, 3] },
          { name: 'l1/recurrent_kernel', shape: [1, 3] },
          { name: 'l1/bias', shape: [6] },
        ],
      ),
      "TF.js: layer CuDNNGRU 'l1' expected values without a mask, got one, which cuDNN does not take (offset 0)",
    ],
    [
      'a mask that is a constant',
      graph(
        [
          ['e', 'Embedding', { input_dim: 3, output_dim: 2 }, at('in')],
          ['r', 'SimpleRNN', { units: 1 }, [[['e', 0, 0, { mask: [1, 0, 1, 1] }]]]],
        ],
        [['r', 0, 0]],
        [{ name: 'e/embeddings', shape: [3, 2] }],
      ),
      "TF.js: layer SimpleRNN 'r' expected a value of the network as mask, got a constant (offset 0)",
    ],
    [
      'a mask for a layer that takes none',
      graph([['d', 'Dense', { units: 1 }, [[['in', 0, 0, { mask: ['in', 0, 0] }]]]]], [['d', 0, 0]], dense('d', 4, 1)),
      "TF.js: layer Dense 'd' expected a call without a mask, got one (offset 0)",
    ],
    [
      'a mask of single values before a recurrent layer',
      graph(
        [
          ['e', 'Embedding', { input_dim: 3, output_dim: 2 }, at('in')],
          ['r', 'SimpleRNN', { units: 1 }, [[['e', 0, 0, { mask: ['e', 0, 0] }]]]],
        ],
        [['r', 0, 0]],
        [{ name: 'e/embeddings', shape: [3, 2] }],
      ),
      "TF.js: layer SimpleRNN 'r' expected a mask with a value for each sample and step, got the mask of 'r, mask' (offset 0)",
    ],
    [
      'a layer that takes itself',
      graph(
        [
          ['a', 'Activation', { activation: 'relu' }, at('b')],
          ['b', 'Activation', { activation: 'relu' }, at('a')],
        ],
        [['b', 0, 0]],
      ),
      "TF.js: layer 'b' expected inputs that do not come of it, got a cycle (offset 0)",
    ],
    [
      'an input that there is not',
      graph([['a', 'Activation', { activation: 'relu' }, at('z')]], [['a', 0, 0]]),
      "TF.js: layer 'z' expected a layer of the network, got none (offset 0)",
    ],
    [
      'a call that there is not',
      graph([['a', 'Activation', { activation: 'relu' }, at('in')]], [['a', 3, 0]]),
      "TF.js: layer 'a' expected a call 3, got 1 calls (offset 0)",
    ],
    [
      'an output that there is not',
      graph([['a', 'Activation', { activation: 'relu' }, at('in')]], [['a', 0, 2]]),
      "TF.js: layer 'a' expected an output 2, got none (offset 0)",
    ],
    [
      'two layers of one name',
      graph(
        [
          ['a', 'Activation', { activation: 'relu' }, at('in')],
          ['a', 'Activation', { activation: 'relu' }, at('in')],
        ],
        [['a', 0, 0]],
      ),
      "TF.js: layer 'a' expected a name of its own, got it again (offset 0)",
    ],
    [
      'layers and activations that there are not',
      graph(
        [
          ['a', 'Lambda', {}, at('in')],
          ['b', 'Lambda', {}, at('a')],
          ['c', 'Dense', { units: 4, activation: 'wave' }, at('b')],
          ['d', 'Lambda', {}, at('c')],
        ],
        [['c', 0, 0]],
      ),
      "TF.js: network expected layers that there are here, got Lambda (2 layers, the first 'a'), activation 'wave' (1 layer, the first 'c') (outputs: [name of a layer] ends the network before them; in Python they can be written as other layers)",
    ],
  ])('%s', async (_, files, message) => {
    await expect(loadNetwork(files)).rejects.toThrow(message);
    await expect(loadNetwork(files)).rejects.toMatchObject({ code: 'ERR_FORMAT' });
  });
});

test('networks in networks end, and what is called often costs no more than the file justifies', async () => {
  let inner: unknown = { class_name: 'Dense', config: { name: 'd', units: 4 } };
  for (let i = 0; i < 18; i++) inner = { class_name: 'Sequential', config: { name: `n${i}`, layers: [inner] } };
  await expect(loadNetwork(model(inner, dense('d', 4, 4)))).rejects.toThrow('at most 16 levels');
  // each network calls the one inside of it ten times
  let net: Config = {
    class_name: 'Sequential',
    config: { name: 'n', layers: [{ class_name: 'Activation', config: { name: 'a', activation: 'relu' } }] },
  };
  for (let level = 0; level < 8; level++) {
    const calls = Array.from({ length: 10 }, (_, i) => at(i === 0 ? 'in' : 'inner', Math.max(i - 1, 0))[0]);
    net = {
      class_name: 'Model',
      config: {
        name: 'n',
        layers: [
          {
            name: 'in',
            class_name: 'InputLayer',
            config: { name: 'in', batch_input_shape: [null, 4] },
            inbound_nodes: [],
          },
          { ...net, name: 'inner', config: { ...(net.config as Config), name: 'inner' }, inbound_nodes: calls },
        ],
        input_layers: [['in', 0, 0]],
        output_layers: [['inner', 9, 0]],
      },
    };
  }
  await expect(loadNetwork(model(net))).rejects.toThrow('as many calls of layers as its size justifies');
});

test('indices of an embedding are checked when they come', async () => {
  const table = [{ name: 'l0/embeddings', shape: [10, 2] }];
  const net = await loadNetwork(chain([3], [['Embedding', { input_dim: 10, output_dim: 2 }]], table));
  const run = net.compile();
  const at3 = (...data: number[]) => ({ data: Float32Array.from(data), shape: [1, 3] });
  expect([...run(at3(0, 9, 3)).data]).toEqual(new Array(6).fill(0.5));
  for (const wrong of [-1, 10, 0.5, Number.NaN]) {
    expect(() => run(at3(0, wrong, 3))).toThrow(
      `embedding: an index expected a whole number from 0 to 9, got ${wrong}`,
    );
  }
});

test('variances below 0 are no statistics', async () => {
  const layer = ['Normalization', { mean: [1, 2], variance: [1, -2] }] as const;
  await expect(loadNetwork(chain([2], [layer]))).rejects.toThrow(
    "TF.js: layer Normalization 'l0' expected variances of 0 or more as variance, got -2 at 1 (offset 0)",
  );
});

test('a layer that adds three values, as Keras 2 and TF.js write its call', async () => {
  const net = await loadNetwork(
    graph(
      [
        ['a', 'Activation', { activation: 'relu' }, at('in')],
        ['b', 'Activation', { activation: 'linear' }, at('in')],
        ['c', 'Add', {}, [['in', 'a', 'b'].map((name) => [name, 0, 0, {}])]],
      ],
      [['c', 0, 0]],
    ),
  );
  expect([...net.forward({ data: Float32Array.of(1, -2, 3, -4), shape: [1, 4] }).data]).toEqual([3, -4, 9, -8]);
});
