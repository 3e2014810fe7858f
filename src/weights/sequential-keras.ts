// A chain of Keras layers as ours. TF.js' layers models are described in the same way.

import { malformed } from '../errors.ts';
import { mostLayers, quote, quoteSome } from '../formats/bytes.ts';
import { asRecord, type Json } from '../formats/json.ts';
import { showJson } from '../formats/show-json.ts';
import { type Activation, type ActivationName, activationOf, FOREIGN, NAMES } from '../kernels/activations.ts';
import type { Layer } from '../layers/layer.ts';
import { ActivationLayer } from '../nn/activations.ts';
import { Dropout } from '../nn/dropout.ts';
import { Linear } from '../nn/linear.ts';
import { Sequential } from '../nn/sequential.ts';
import { BatchNorm } from '../norms/batch-norm.ts';
import { BatchNorm1d } from '../norms/batch-norm-ranks.ts';
import { GroupNorm } from '../norms/group-norm.ts';
import { LayerNorm } from '../norms/layer-norm.ts';
import { RMSNorm } from '../norms/rms-norm.ts';
import { Collector } from './imported.ts';
import { affineOf, axisOf, collectGroups, normOptions } from './keras.ts';
import { chainOf } from './keras-chain.ts';
import { type KerasLayer, kindOf } from './keras-config.ts';
import type { KerasGroup } from './keras-groups.ts';
import type { LoadOptions } from './load-sequential.ts';

const ACTIVATIONS: ReadonlyMap<string, Activation | undefined> = /* @__PURE__ */ (() => {
  const named = Object.entries(FOREIGN).flatMap(([name, { keras, kerasParameter: alpha }]) => {
    const activation =
      alpha === undefined ? name : activationOf({ kind: NAMES.indexOf(name as ActivationName), alpha });
    return keras.map((foreign) => [foreign, activation as Activation] as const);
  });
  return new Map([['linear', undefined], ...named]);
})();

/** A network and its variables. */
export interface KerasNetwork {
  readonly format: 'Keras' | 'TF.js';
  readonly layers: readonly KerasLayer[];
  /** Layers that the outermost network's outputs come from, if the config says so. */
  readonly outputs: readonly string[] | null;
  readonly groups: readonly KerasGroup[];
  readonly version: string | null;
}

/** Variables of a layer that inference does without. */
const TRAINING = ['moving_stddev', 'renorm_mean', 'renorm_stddev'];

/**
 * Builds the network. Throws ERR_FORMAT, by the layer's name, where it is no chain of layers that
 * there are here.
 */
export function sequentialFromKeras(network: KerasNetwork, options: LoadOptions): Sequential {
  const { format, version } = network;
  const { dropSoftmax = false } = options;
  const built: Layer[] = [];
  const byLayer = new Map(network.groups.map((group) => [group.known?.name ?? group.name.replaceAll('.', '/'), group]));
  const used: KerasGroup[] = [];
  const rename: Record<string, string> = {};
  const chain = chainOf(network);
  const sizes = network.groups.flatMap(({ tensors }) => Array.from(tensors.values(), ({ tensor }) => tensor.shape));
  const most = mostLayers(4 * sizes.reduce((sum, shape) => sum + shape.reduce((size, length) => size * length, 1), 0));
  if (chain.length > most)
    throw malformed(format, 'network', `at most ${most} layers for its size`, `${chain.length}`, 0);

  chain.forEach(({ layer, rank }, i) => {
    const { className, config, name } = layer;
    const label = `layer ${i} ${className} ${quote(name)}`;
    const fail = (expected: string, got: string) => malformed(format, label, expected, got, 0);
    const activate = (given: Json | undefined) => {
      const activation = activationFrom(given, { format, version, rank }, fail);
      if (activation === 'softmax') {
        if (!dropSoftmax)
          throw fail('an activation that there is here (dropSoftmax: true leaves softmax out at the end)', "'softmax'");
        if (i !== chain.length - 1) throw fail('the end of the network behind softmax', chain[i + 1].layer.className);
      } else if (activation) built.push(new ActivationLayer(activation));
    };
    /** The shape of a layer's variable; the layer is one that has these variables and no others. */
    const trained = (variable: string, ...others: string[]): readonly number[] => {
      const group = byLayer.get(name);
      const tensor = group?.tensors.get(variable)?.tensor;
      if (!group || !tensor) throw fail(`a variable '${variable}'`, 'none');
      const more = [...group.tensors.keys()].filter((leaf) => ![variable, ...others, ...TRAINING].includes(leaf));
      if (more.length) throw fail(`variables ${[variable, ...others].join(', ')}`, `${quoteSome(more)} as well`);
      rename[group.name] = `${built.length}`;
      used.push(group);
      return tensor.shape;
    };
    const normed = () => (config.scale === false ? trained('beta') : trained('gamma', 'beta'));
    const eps = (standard: number) => {
      if (config.epsilon === undefined) return standard;
      if (typeof config.epsilon !== 'number') throw fail('a number as epsilon', showJson(config.epsilon));
      return config.epsilon;
    };
    if (layer.training && className !== 'InputLayer')
      throw fail('inference', 'training=True, which a call in the model says');
    switch (kindOf(className)) {
      case 'dense': {
        const shape = trained('kernel', 'bias');
        if (shape.length !== 2) throw fail('a kernel of rank 2', `rank ${shape.length}`);
        built.push(new Linear(shape[0], shape[1], { bias: config.use_bias !== false, init: () => {} }));
        activate(config.activation);
        break;
      }
      case 'batch_normalization': {
        const [channels] = trained('moving_mean', 'moving_variance', 'gamma', 'beta');
        const Norm = rank === 2 ? BatchNorm1d : BatchNorm;
        built.push(new Norm(channels, normOptions('loadSequential', { ...layer, rank })));
        break;
      }
      case 'layer_normalization': {
        const shape = normed();
        const axis = axesOf(config.axis, shape.length, rank, fail);
        built.push(new LayerNorm(shape, { eps: eps(1e-3), axis, affine: affineOf(config) }));
        break;
      }
      case 'rms_normalization': {
        const shape = trained('scale');
        built.push(new RMSNorm(shape, { eps: eps(1e-6), axis: axesOf(config.axis, shape.length, rank, fail) }));
        break;
      }
      case 'group_normalization': {
        const [channels] = normed();
        const groups = typeof config.groups === 'number' ? config.groups : 32;
        const place = axisOf(config.axis, rank);
        if (place === undefined) throw fail('an axis behind that of the samples', showJson(config.axis));
        const where = typeof place === 'string' ? { layout: place } : { axis: place };
        // −1 stands for as many groups as channels
        const numGroups = groups === -1 ? channels : groups;
        built.push(new GroupNorm(numGroups, channels, { eps: eps(1e-3), ...where, affine: affineOf(config) }));
        break;
      }
      case 'activation':
        activate(config.activation);
        break;
      case 're_lu':
      case 'leaky_re_lu':
      case 'elu':
      case 'softmax':
        activate({ class_name: className, config: { ...config } });
        break;
      case 'dropout':
        built.push(new Dropout(typeof config.rate === 'number' ? config.rate : 0.5));
        break;
      // it does nothing to rows; the network's caller has flattened its input
      case 'flatten':
        if (built.length && rank !== 2) throw fail('rows, or the beginning of the network', 'Flatten behind a layer');
        break;
      default:
        throw fail('Dense, a normalization, an activation, Dropout or Flatten', className);
    }
  });
  const net = new Sequential(...built);
  const collector = new Collector('loadSequential', { layer: net, rename });
  const { state, missing } = collectGroups(collector, 'loadSequential', used).finish();
  if (missing.length) throw malformed(format, 'variables', quoteSome(missing), 'none', 0);
  net.loadStateDict(state);
  return net.eval();
}

/** Are these as many of the last axes? */
function isLast(axis: Json | undefined, count: number, rank: number | undefined): boolean {
  // objects without a prototype are no numbers, and become none
  const axes = (Array.isArray(axis) ? axis : [axis ?? -1]).map((one) => (typeof one === 'number' ? one : Number.NaN));
  if (axes.length !== count) return false;
  const fromEnd = axes.map((one) => (one < 0 ? one : one - (rank ?? Number.NaN)));
  return fromEnd.every((one, i) => one === i - count);
}

/**
 * The axes that a norm of rows normalises together, null for the last ones. gamma has their lengths
 * in the order of the axes, which must be that of the shape.
 */
function axesOf(
  axis: Json | undefined,
  count: number,
  rank: number | undefined,
  fail: (expected: string, got: string) => Error,
): number[] | null {
  if (isLast(axis, count, rank)) return null;
  const axes = Array.isArray(axis) ? axis : [axis];
  const places = axes.map((one) => {
    if (typeof one !== 'number' || !Number.isInteger(one) || one === 0) return Number.NaN;
    return one < 0 && rank !== undefined ? one + rank : one;
  });
  const isAscending = places.every((one, i) => !Number.isNaN(one) && one !== 0 && (i === 0 || one > places[i - 1]));
  if (axes.length !== count || !isAscending) {
    throw fail(`${count === 1 ? 'an axis' : `${count} ascending axes`} behind that of the samples`, showJson(axis));
  }
  return places;
}

/** A name, or a layer in the place of one. */
function activationFrom(
  given: Json | undefined,
  { format, version, rank }: { format: 'Keras' | 'TF.js'; version: string | null; rank: number | undefined },
  fail: (expected: string, got: string) => Error,
): Activation | 'softmax' | undefined {
  if (given === undefined || given === null) return undefined;
  if (typeof given === 'string') {
    if (given === 'softmax') return 'softmax';
    // tf.keras had 0.2·x + 0.5, and TF.js has it; Keras 3 has x/6 + 1/2
    const isOurs = given !== 'hard_sigmoid' || (format === 'Keras' && version && !version.startsWith('2.'));
    if (isOurs && ACTIVATIONS.has(given)) return ACTIVATIONS.get(given);
    throw fail('an activation that there is here', quote(given));
  }
  const layer = asRecord(given);
  const config = asRecord(layer?.config) ?? {};
  const number = (name: string, standard: number) => {
    const value = config[name] ?? null;
    if (value !== null && typeof value !== 'number') throw fail(`a number as ${name}`, showJson(value));
    return value ?? standard;
  };
  switch (layer?.class_name) {
    case 'Softmax':
      if (!isLast(config.axis, 1, rank)) throw fail('softmax over the last axis', showJson(config.axis));
      return 'softmax';
    case 'LeakyReLU':
      return { name: 'leaky-relu', slope: number('negative_slope', number('alpha', 0.3)) };
    case 'ELU':
      return { name: 'elu', alpha: number('alpha', 1) };
    case 'ReLU': {
      const [slope, threshold] = [number('negative_slope', 0), number('threshold', 0)];
      const most = number('max_value', Number.POSITIVE_INFINITY);
      if (threshold !== 0 || (most !== Number.POSITIVE_INFINITY && (most !== 6 || slope !== 0)))
        throw fail('a ReLU up to 6 or without end, from 0 on', showJson(config));
      return most === 6 ? 'relu6' : slope === 0 ? 'relu' : { name: 'leaky-relu', slope };
    }
    default:
      throw fail('an activation that there is here', showJson(given));
  }
}
