// A chain of Keras layers as ours.

import { malformed } from '../errors.ts';
import { quote } from '../formats/bytes.ts';
import { asRecord, type Json } from '../formats/json.ts';
import type { Activation } from '../kernels/activations.ts';
import { BatchNorm } from '../layers/batch-norm.ts';
import { BatchNorm1d } from '../layers/batch-norm-ranks.ts';
import { GroupNorm } from '../layers/group-norm.ts';
import type { Layer } from '../layers/layer.ts';
import { LayerNorm } from '../layers/layer-norm.ts';
import { ActivationLayer } from '../nn/activations.ts';
import { Dropout } from '../nn/dropout.ts';
import { Linear } from '../nn/linear.ts';
import { Sequential } from '../nn/sequential.ts';
import { affineOf, fromKeras, normOptions } from './keras.ts';
import type { KerasFile, KerasLayer } from './keras-file.ts';
import type { LoadOptions } from './load-sequential.ts';

const FORMAT = 'Keras';

const ACTIVATIONS: Readonly<Record<string, Activation | undefined>> = {
  linear: undefined,
  relu: 'relu',
  relu6: 'relu6',
  leaky_relu: { name: 'leaky-relu', slope: 0.2 },
  elu: 'elu',
  silu: 'silu',
  swish: 'silu',
  sigmoid: 'sigmoid',
  tanh: 'tanh',
  gelu: 'gelu',
  hard_silu: 'hard-swish',
  hard_swish: 'hard-swish',
  softplus: 'softplus',
  mish: 'mish',
};

/** Builds the network. Throws ERR_FORMAT, by the layer's name, where it is no chain of layers that there are here. */
export function sequentialFromKeras(
  { layers, tensors, version }: KerasFile & { layers: readonly KerasLayer[] },
  { dropSoftmax = false }: LoadOptions,
): Sequential {
  const built: Layer[] = [];
  const rename: Record<string, string> = {};
  const chain = layers.filter(({ className }) => className !== 'InputLayer');
  const inputs = layers.filter(({ className }) => className === 'InputLayer').map(({ name }) => name);
  if (inputs.length > 1)
    throw malformed(FORMAT, 'config', 'one input', `${inputs.length}: ${inputs.map(quote).join(', ')}`, 0);
  let before = inputs[0];

  chain.forEach((layer, i) => {
    const { className, config, name, inbound } = layer;
    const label = `layer ${i} ${className} ${quote(name)}`;
    const fail = (expected: string, got: string) => malformed(FORMAT, label, expected, got, 0);
    if (inbound && (inbound.length !== 1 || (before !== undefined && inbound[0] !== before))) {
      throw fail(`${quote(before ?? 'the input')} as its one input: a chain`, inbound.map(quote).join(', ') || 'none');
    }
    before = name;
    const activate = (given: Json | undefined) => {
      const activation = activationFrom(given, version, fail);
      if (activation === 'softmax') {
        if (!dropSoftmax)
          throw fail('an activation that there is here (dropSoftmax: true leaves softmax out at the end)', "'softmax'");
        if (i !== chain.length - 1) throw fail('the end of the network behind softmax', chain[i + 1].className);
      } else if (activation) built.push(new ActivationLayer(activation));
    };
    const trained = (kernel: string): readonly number[] => {
      const tensor = tensors.get(`${name}/${kernel}`);
      if (!tensor) throw fail(`a variable '${kernel}'`, 'none');
      rename[name.replaceAll('/', '.')] = `${built.length}`;
      return tensor.shape;
    };
    switch (className) {
      case 'Dense': {
        const shape = trained('kernel');
        if (shape.length !== 2) throw fail('a kernel of rank 2', `rank ${shape.length}`);
        built.push(new Linear(shape[0], shape[1], { bias: config.use_bias !== false, init: () => {} }));
        activate(config.activation);
        break;
      }
      case 'BatchNormalization': {
        const [channels] = trained('moving_mean');
        const Norm = layer.rank === 2 ? BatchNorm1d : BatchNorm;
        built.push(new Norm(channels, normOptions('loadSequential', layer)));
        break;
      }
      case 'LayerNormalization': {
        const shape = trained(config.scale === false ? 'beta' : 'gamma');
        const { axis, epsilon } = config;
        const last = Array.isArray(axis) ? axis.at(-1) : (axis ?? -1);
        if (last !== -1 && last !== (layer.rank ?? 0) - 1) throw fail('the last axes', JSON.stringify(axis));
        const eps = typeof epsilon === 'number' ? epsilon : 1e-3;
        built.push(new LayerNorm(shape, { eps, affine: affineOf(config) }));
        break;
      }
      case 'GroupNormalization': {
        const [channels] = trained(config.scale === false ? 'beta' : 'gamma');
        const groups = typeof config.groups === 'number' ? config.groups : 32;
        const eps = typeof config.epsilon === 'number' ? config.epsilon : 1e-3;
        const layout = config.axis === 1 && layer.rank !== 2 ? 'channels-first' : 'channels-last';
        // −1 stands for as many groups as channels
        const numGroups = groups === -1 ? channels : groups;
        built.push(new GroupNorm(numGroups, channels, { eps, layout, affine: affineOf(config) }));
        break;
      }
      case 'Activation':
        activate(config.activation);
        break;
      case 'ReLU':
      case 'LeakyReLU':
      case 'ELU':
      case 'Softmax':
        activate({ class_name: className, config: { ...config } });
        break;
      case 'Dropout':
        built.push(new Dropout(typeof config.rate === 'number' ? config.rate : 0.5));
        break;
      case 'Flatten': // of rows it does nothing; of what comes in, whoever calls the network has done it
        if (built.length && layer.rank !== 2)
          throw fail('rows, or the beginning of the network', 'Flatten behind a layer');
        break;
      default:
        throw fail('Dense, a normalization, an activation, Dropout or Flatten', className);
    }
  });
  const net = new Sequential(...built);
  const { state, missing } = fromKeras({ layers, tensors, version }, { layer: net, rename });
  if (missing.length) throw malformed(FORMAT, 'variables', missing.map(quote).join(', '), 'none', 0);
  net.loadStateDict(state);
  return net.eval();
}

/** A name, or a layer in the place of one. */
function activationFrom(
  given: Json | undefined,
  version: string | null,
  fail: (expected: string, got: string) => Error,
): Activation | 'softmax' | undefined {
  if (given === undefined || given === null) return undefined;
  if (typeof given === 'string') {
    if (given === 'softmax') return 'softmax';
    // tf.keras had 0.2·x + 0.5; Keras 3 has x/6 + 1/2
    if (given === 'hard_sigmoid' && version && !version.startsWith('2.')) return 'hard-sigmoid';
    if (Object.hasOwn(ACTIVATIONS, given)) return ACTIVATIONS[given];
    throw fail('an activation that there is here', quote(given));
  }
  const layer = asRecord(given);
  const config = asRecord(layer?.config) ?? {};
  const number = (name: string, standard: number) =>
    typeof config[name] === 'number' ? (config[name] as number) : standard;
  switch (layer?.class_name) {
    case 'Softmax':
      return 'softmax';
    case 'LeakyReLU':
      return { name: 'leaky-relu', slope: number('negative_slope', number('alpha', 0.3)) };
    case 'ELU':
      return { name: 'elu', alpha: number('alpha', 1) };
    case 'ReLU': {
      const [most, slope, threshold] = [config.max_value ?? null, number('negative_slope', 0), number('threshold', 0)];
      if (threshold !== 0 || (most !== null && (most !== 6 || slope !== 0)))
        throw fail('a ReLU up to 6 or without end, from 0 on', JSON.stringify(config));
      return most === 6 ? 'relu6' : slope === 0 ? 'relu' : { name: 'leaky-relu', slope };
    }
    default:
      throw fail('an activation that there is here', JSON.stringify(given).slice(0, 80));
  }
}
