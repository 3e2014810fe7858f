// Keras' weights: https://keras.io/api/layers/normalization_layers/batch_normalization/. Momentum there is the weight of the old value; the moving
// variance is the biased one; channels are last unless `axis` says otherwise.

import { wrongValue } from '../errors.ts';
import type { Json } from '../formats/json.ts';
import type { TfjsModel } from '../formats/tfjs.ts';
import { type BatchNormOptions, preset } from '../layers/options.ts';
import { checkRecord } from '../named-options.ts';
import type { StateDict } from '../types.ts';
import { fromKernel } from './axes.ts';
import { type Exported, type ExportOptions, withKernels } from './exported.ts';
import {
  Collector,
  entriesOf,
  type ForeignTensors,
  groupsOf,
  type Imported,
  type ImportOptions,
  type NormOption,
} from './imported.ts';
import { type KerasFile, type KerasLayer, layersOf } from './keras-file.ts';
import { joined } from './names.ts';

const NORM: Readonly<Record<string, string>> = {
  gamma: 'gamma',
  beta: 'beta',
  moving_mean: 'runningMean',
  moving_variance: 'runningVar',
};

/**
 * Keras' weights in our names: `bn/moving_mean` is `bn.runningMean`, `dense/kernel` the transposed `dense.weight`. With a config, `norms` says each
 * layer's eps, momentum (turned around) and axis. The variables of batch renormalization (`renorm_mean` …) are listed as unused: inference does not
 * need them.
 *
 * @param file of `readKeras`; or tensors under Keras' names
 * @throws as `fromTorch`; ERR_STATE for an axis that is neither the first nor the last
 */
export function fromKeras(file: KerasFile | ForeignTensors, options: ImportOptions = {}): Imported {
  checkRecord('fromKeras', file);
  const isFile = 'layers' in file && 'tensors' in file && !(file instanceof Map);
  const { tensors, layers } = isFile ? (file as KerasFile) : { tensors: file as ForeignTensors, layers: null };
  return collect('fromKeras', tensors, layers, options);
}

/**
 * A TF.js model's weights in our names: Keras' names and conventions.
 *
 * @param model of `readTfjs`; or tensors under TF.js' names
 * @throws as `fromKeras`
 */
export function fromTfjs(model: TfjsModel | ForeignTensors, options: ImportOptions = {}): Imported {
  checkRecord('fromTfjs', model);
  const isModel = 'topology' in model && 'tensors' in model && !(model instanceof Map);
  if (!isModel) return collect('fromTfjs', model as ForeignTensors, null, options);
  const { tensors, topology } = model as TfjsModel;
  return collect('fromTfjs', tensors, tfjsLayers(topology), options);
}

/** The layers of a TF.js topology, in which Keras' config may lie one level deeper; null where there is none. */
export function tfjsLayers(topology: Json): KerasLayer[] | null {
  if (typeof topology !== 'object' || topology === null || Array.isArray(topology)) return null;
  if ('model_config' in topology) return layersOf(topology.model_config);
  return 'config' in topology ? layersOf(topology) : null;
}

function collect(
  subject: string,
  tensors: ForeignTensors,
  layers: readonly KerasLayer[] | null,
  options: ImportOptions,
): Imported {
  const collector = new Collector(subject, options, tensors);
  for (const { name, tensors: group } of groupsOf(entriesOf(subject, tensors), split)) {
    const layer = collector.rename(name);
    const isNorm = ['gamma', 'beta', 'moving_mean', 'moving_variance'].some((leaf) => group.has(leaf));
    const known = layers?.find((one) => one.name.replaceAll('/', '.') === name);
    // a norm that its config calls otherwise, or without moving statistics, has those of its input
    const tracked = ['moving_mean', 'moving_variance'].some((leaf) => group.has(leaf));
    if (isNorm && (known ? known.className === 'BatchNormalization' : tracked)) {
      if (known) collector.norm(layer, normOptions(subject, known), statedIn(known));
      else collector.norm(layer, preset('keras'), []);
      for (const leaf of ['moving_mean', 'moving_variance'])
        if (!group.has(leaf)) collector.missing(joined(name, leaf, '/'));
    }
    for (const [leaf, { full, tensor }] of group) {
      if (isNorm && Object.hasOwn(NORM, leaf)) collector.take(full, tensor, layer, NORM[leaf]);
      else if (leaf === 'kernel' && tensor.shape.length >= 2) collector.take(full, tensor, layer, 'weight', fromKernel);
      else if (!isNorm && leaf === 'bias') collector.take(full, tensor, layer, 'bias');
      else collector.unused(full);
    }
  }
  return collector.finish();
}

function split(name: string): readonly [string, string] {
  const parts = name.replace(/:\d+$/, '').split('/');
  return [parts.slice(0, -1).join('.'), parts[parts.length - 1]];
}

/** What a BatchNormalization's config comes to. */
export function normOptions(subject: string, { name, config, rank }: KerasLayer): BatchNormOptions {
  const { epsilon, momentum } = config;
  const affine = affineOf(config);
  const standard = preset('keras');
  const axis = Array.isArray(config.axis) ? config.axis[0] : config.axis;
  const several = Array.isArray(config.axis) && config.axis.length !== 1;
  const last = axis === undefined || axis === -1 || (rank === undefined ? Number(axis) > 1 : axis === rank - 1);
  if (several || (!last && axis !== 1)) {
    throw wrongValue('ERR_STATE', subject, `'${name}' axis`, '1 or the last', JSON.stringify(config.axis));
  }
  return {
    eps: typeof epsilon === 'number' ? epsilon : standard.eps,
    momentum: typeof momentum === 'number' ? newWeight(momentum) : standard.momentum,
    runningVariance: standard.runningVariance,
    layout: last ? 'channels-last' : 'channels-first',
    ...(affine !== true && { affine }),
  };
}

/** Options that a BatchNormalization's config says; how Keras estimates the variance follows from the class. */
function statedIn({ config }: KerasLayer): NormOption[] {
  return [
    ...(typeof config.epsilon === 'number' ? (['eps'] as const) : []),
    ...(typeof config.momentum === 'number' ? (['momentum'] as const) : []),
    'runningVariance',
    ...(config.axis === undefined ? [] : (['layout'] as const)),
  ];
}

/** What `scale` and `center` of a config come to. */
export function affineOf({ scale, center }: KerasLayer['config']): boolean | 'gamma' | 'beta' {
  if (scale === false) return center === false ? false : 'beta';
  return center === false ? 'gamma' : true;
}

/** 1 − m for the m that was meant: 0.99 gives 0.01, not 0.010000000000000009. */
export function newWeight(old: number): number {
  return Number((1 - old).toPrecision(12));
}

/**
 * Our state dict under Keras' names, kernels transposed. Keras counts no batches: `batchesTracked` stays here.
 */
export function toKeras(state: StateDict, options: ExportOptions = {}): Map<string, Exported> {
  return withKernels('toKeras', state, options, NORM);
}

/** Our state dict under TF.js' names, which are Keras': for `writeTfjs`. */
export function toTfjs(state: StateDict, options: ExportOptions = {}): Map<string, Exported> {
  return toKeras(state, options);
}
