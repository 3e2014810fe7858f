// Keras' weights: https://keras.io/api/layers/normalization_layers/batch_normalization/. Momentum
// there is the weight of the old value; the moving variance is the biased one; channels are last
// unless `axis` says otherwise.

import { wrongValue } from '../errors.ts';
import { quote } from '../formats/bytes.ts';
import type { StoredTensor } from '../formats/dtypes.ts';
import type { Json } from '../formats/json.ts';
import { showJson } from '../formats/show-json.ts';
import type { TfjsModel } from '../formats/tfjs.ts';
import { checkRecord } from '../named-options.ts';
import { type BatchNormOptions, preset } from '../norms/options.ts';
import type { StateDict } from '../types.ts';
import { fromDepthwise, fromKernel } from './axes.ts';
import { type Exported, type ExportOptions, withKernels } from './exported.ts';
import {
  Collector,
  entriesOf,
  type ForeignTensors,
  type Imported,
  type ImportOptions,
  type NormOption,
} from './imported.ts';
import { type KerasLayer, layersOf, listOf, trainingLayers } from './keras-config.ts';
import type { KerasFile } from './keras-file.ts';
import { type KerasGroup, kerasGroups } from './keras-groups.ts';
import { isDepthwise, isKnownKind, isWeighted } from './keras-kinds.ts';
import { joined } from './names.ts';
import { graphLayers, isGraph } from './tfjs-graph.ts';

const NORM: Readonly<Record<string, string>> = {
  gamma: 'gamma',
  beta: 'beta',
  moving_mean: 'runningMean',
  moving_variance: 'runningVar',
  renorm_mean: 'renormMean',
  renorm_stddev: 'renormStd',
};

/** Variables that only training needs: taken for a layer that has such. */
const CORRECTION = ['renorm_mean', 'renorm_stddev'];

/**
 * Keras' weights in our names: `bn/moving_mean` is `bn.runningMean`, `dense/kernel` the transposed
 * `dense.weight`. With a config, `norms` says each layer's eps, momentum (as the weight of the new
 * batch) and axis. The variables of batch renormalization, `renorm_mean` and `renorm_stddev`, are
 * taken for a `layer` with a `BatchRenorm` that has them, and listed as unused elsewhere: inference
 * does not need them.
 *
 *     const { state } = fromKeras(await readKeras(await readFile('model.keras')), { layer: net });
 *
 * @param file of `readKeras`; or tensors under Keras' names
 * @throws as `fromTorch`; ERR_STATE for an axis that is neither the first nor the last
 */
export function fromKeras(file: KerasFile | ForeignTensors, options: ImportOptions = {}): Imported {
  checkRecord('fromKeras', file);
  const isFile = 'layers' in file && 'tensors' in file && !(file instanceof Map);
  if (!isFile) return collect('fromKeras', file as ForeignTensors, { layers: null }, options);
  const { tensors, layers, kinds } = file as KerasFile;
  return collect('fromKeras', tensors, { layers, kinds }, options);
}

/**
 * A TF.js model's weights in our names: Keras' names and conventions.
 *
 *     const { state } = fromTfjs(readTfjs(json, shards), { layer: net });
 *
 * @param model of `readTfjs`; or tensors under TF.js' names
 * @throws as `fromKeras`
 */
export function fromTfjs(model: TfjsModel | ForeignTensors, options: ImportOptions = {}): Imported {
  checkRecord('fromTfjs', model);
  const isModel = 'topology' in model && 'tensors' in model && !(model instanceof Map);
  if (!isModel) return collect('fromTfjs', model as ForeignTensors, { layers: null }, options);
  const { tensors, topology } = model as TfjsModel;
  if (isGraph(topology)) return fromGraph(topology, tensors, options);
  return collect('fromTfjs', tensors, { layers: tfjsLayers(topology), scoped: true }, options);
}

/**
 * The layers of a TF.js topology, in which Keras' config may lie one level deeper; null where there
 * is none.
 */
export function tfjsLayers(topology: Json): KerasLayer[] | null {
  if (typeof topology !== 'object' || topology === null || Array.isArray(topology)) return null;
  const config = 'model_config' in topology ? topology.model_config : topology;
  return listOf(config) || 'config' in topology ? layersOf(config) : null;
}

/** What is known of the tensors beside their names. */
interface Source {
  readonly layers: readonly KerasLayer[] | null;
  readonly kinds?: ReadonlyMap<string, string>;
  readonly scoped?: boolean;
}

function collect(subject: string, tensors: ForeignTensors, source: Source, options: ImportOptions): Imported {
  const collector = new Collector(subject, options, tensors);
  const groups = kerasGroups(entriesOf(subject, tensors), { scoped: false, ...source });
  collectGroups(collector, subject, groups);
  const training = new Set(trainingLayers(source.layers));
  for (const { name, known } of groups) {
    // a layer in a wrapper is called as the wrapper is
    const called = [known?.name, known?.name.slice(0, known.name.lastIndexOf('/'))].find((one) => training.has(one!));
    if (called !== undefined) collector.training(name);
    training.delete(called!);
  }
  for (const name of training) collector.training(name.replaceAll('/', '.'));
  return collector.finish();
}

/** Puts groups of variables into a collector. */
export function collectGroups(collector: Collector, subject: string, groups: readonly KerasGroup[]): Collector {
  for (const group of groups) {
    const layer = collector.rename(group.name);
    const { known, tensors } = group;
    if (isBatchNorm(group)) {
      if (known) collector.norm(layer, normOptions(subject, known), statedIn(known));
      else collector.norm(layer, preset('keras'), []);
      for (const leaf of expectedOf(known)) if (!tensors.has(leaf)) collector.missing(joined(group.name, leaf, '/'));
    }
    for (const [leaf, { full, tensor }] of tensors) {
      const part = partOf(group, leaf, tensor.shape.length);
      const inside = part?.inside ? joined(layer, part.inside) : layer;
      if (part?.change === fromDepthwise) collector.multiplier(inside, tensor.shape[tensor.shape.length - 1]);
      if (part && (collector.isForLayer || !CORRECTION.includes(leaf)))
        collector.take(full, tensor, inside, part.ours, part.change);
      else collector.unused(full);
    }
  }
  return collector;
}

/**
 * A batch norm: its config or its name says so, or, where nobody says what it is, its moving
 * statistics.
 */
function isBatchNorm({ kind, tensors }: KerasGroup): boolean {
  const tracked = tensors.has('moving_mean') || tensors.has('moving_variance');
  if (kind === 'batch_normalization') return tracked || tensors.has('gamma') || tensors.has('beta');
  return tracked && !isKnownKind(kind);
}

function expectedOf(known: KerasLayer | undefined): string[] {
  const affine = known ? affineOf(known.config) : false;
  return [
    ...(affine === true || affine === 'gamma' ? ['gamma'] : []),
    ...(affine === true || affine === 'beta' ? ['beta'] : []),
    'moving_mean',
    'moving_variance',
  ];
}

/**
 * What a variable is here: in which layer inside of its own, under which name, with which axes;
 * undefined for what there is no such thing.
 */
function partOf(
  { kind, tensors }: KerasGroup,
  leaf: string,
  rank: number,
): { inside: string; ours: string; change?: typeof fromKernel } | undefined {
  const isNorm = Object.keys(NORM).some((name) => tensors.has(name));
  if (isNorm) return Object.hasOwn(NORM, leaf) ? { inside: '', ours: NORM[leaf] } : undefined;
  if (kind === 'rms_normalization' && leaf === 'scale') return { inside: '', ours: 'gamma' };
  if (tensors.has('recurrent_kernel') || (isKnownKind(kind) && !isWeighted(kind))) return undefined;
  const separable = tensors.has('depthwise_kernel') && tensors.has('pointwise_kernel');
  // a kernel of more axes than that is one of an equation
  if (kind === 'einsum_dense' && (tensors.get('kernel')?.tensor.shape.length ?? 2) > 2) return undefined;
  if (leaf === 'bias') return { inside: separable ? 'pointwise' : '', ours: 'bias' };
  if (rank < 2) return undefined;
  if (leaf === 'depthwise_kernel' && rank > 2)
    return { inside: separable ? 'depthwise' : '', ours: 'weight', change: fromDepthwise };
  if (leaf === 'pointwise_kernel' && separable) return { inside: 'pointwise', ours: 'weight', change: fromKernel };
  if (leaf !== 'kernel') return undefined;
  return { inside: '', ours: 'weight', change: kind !== undefined && isDepthwise(kind) ? fromDepthwise : fromKernel };
}

/** The weights of a graph model: what its nodes take; the others by their names. */
function fromGraph(topology: Json, tensors: ReadonlyMap<string, StoredTensor>, options: ImportOptions): Imported {
  const collector = new Collector('fromTfjs', options, tensors);
  const taken = new Set<string>();
  for (const { name, weights, missing, norm } of graphLayers(topology, tensors)) {
    const layer = collector.rename(name);
    if (norm) collector.norm(layer, norm.options, norm.stated);
    for (const ours of missing) collector.missing(joined(name, ours));
    for (const { ours, full, axes } of weights) {
      const tensor = tensors.get(full)!;
      const change = tensor.shape.length < 2 ? undefined : CHANGES[axes];
      if (change === fromDepthwise) collector.multiplier(layer, tensor.shape[tensor.shape.length - 1]);
      collector.take(full, tensor, layer, ours, change);
      taken.add(full);
    }
  }
  const rest = [...tensors].filter(([full]) => !taken.has(full));
  return collectGroups(collector, 'fromTfjs', kerasGroups(rest, { layers: null, scoped: false })).finish();
}

const CHANGES = { 'as they are': undefined, kernel: fromKernel, depthwise: fromDepthwise };

/** What a BatchNormalization's config comes to. */
export function normOptions(subject: string, { name, config, rank }: KerasLayer): BatchNormOptions {
  const { epsilon, momentum } = config;
  const affine = affineOf(config);
  const standard = preset('keras');
  const axis = Array.isArray(config.axis) ? config.axis[0] : config.axis;
  const several = Array.isArray(config.axis) && config.axis.length !== 1;
  const last =
    axis === undefined ||
    axis === -1 ||
    (rank === undefined ? Number.isInteger(axis) && Number(axis) > 1 : axis === rank - 1);
  if (several || (!last && axis !== 1)) {
    throw wrongValue('ERR_STATE', subject, `${quote(name)} axis`, '1 or the last', showJson(config.axis));
  }
  return {
    eps: typeof epsilon === 'number' ? epsilon : standard.eps,
    momentum: typeof momentum === 'number' ? newWeight(momentum) : standard.momentum,
    runningVariance: standard.runningVariance,
    layout: last ? 'channels-last' : 'channels-first',
    ...(affine !== true && { affine }),
  };
}

/**
 * Options that a BatchNormalization's config says; how Keras estimates the variance follows from
 * the class.
 */
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

/** Options of `toKeras` and `toTfjs`. */
export interface KerasExportOptions extends ExportOptions {
  /**
   * Outputs for each input of layers whose weights are depthwise kernels, as an import says them.
   */
  multipliers?: Readonly<Record<string, number>>;
}

/**
 * Our state dict under Keras' names, kernels transposed. Keras counts no batches, so
 * `batchesTracked` is left out.
 *
 *     const bytes = await writeKeras(toKeras(net.stateDict()));
 *
 * @param state what `net.stateDict()` returns
 * @throws as `toTorch`
 */
export function toKeras(state: StateDict, options: KerasExportOptions = {}): Map<string, Exported> {
  return exported('toKeras', state, options, 'kernel');
}

/**
 * Our state dict under TF.js' names, which are Keras', but for depthwise kernels.
 *
 *     const files = writeTfjs(toTfjs(net.stateDict()));
 *
 * @param state what `net.stateDict()` returns
 * @throws as `toKeras`
 */
export function toTfjs(state: StateDict, options: KerasExportOptions = {}): Map<string, Exported> {
  return exported('toTfjs', state, options, 'depthwise_kernel');
}

function exported(
  subject: string,
  state: StateDict,
  { multipliers = {}, ...options }: KerasExportOptions,
  depthwise: string,
): Map<string, Exported> {
  const tensors = withKernels(subject, state, options, NORM);
  const foreign = new Map(Object.entries(options.rename ?? {}).map(([theirs, ours]) => [ours, theirs]));
  const renamed = new Map<string, string>();
  for (const [layer, outputs] of Object.entries(multipliers)) {
    const path = (foreign.get(layer) ?? layer).replaceAll('.', '/');
    const kernel = joined(path, 'kernel', '/');
    const tensor = tensors.get(kernel);
    if (!tensor) continue;
    const { shape, data } = tensor;
    // inputs and outputs lie side by side in the last axis: taken apart, the values stay where they
    // are
    tensors.set(kernel, { data, shape: [...shape.slice(0, -2), shape[shape.length - 1] / outputs, outputs] });
    const outer = path.replace(/\/?depthwise$/, '');
    const pointwise = joined(outer, 'pointwise', '/');
    if (outer !== path && tensors.has(`${pointwise}/kernel`)) {
      renamed.set(kernel, joined(outer, 'depthwise_kernel', '/'));
      renamed.set(`${pointwise}/kernel`, joined(outer, 'pointwise_kernel', '/'));
      renamed.set(`${pointwise}/bias`, joined(outer, 'bias', '/'));
    } else renamed.set(kernel, joined(path, depthwise, '/'));
  }
  return new Map([...tensors].map(([name, tensor]) => [renamed.get(name) ?? name, tensor]));
}
