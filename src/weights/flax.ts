// Flax: collections of nested dictionaries, `params` and `batch_stats` (flax.linen), or one of
// modules (flax.nnx: `bn/mean/value`). Momentum there is the weight of the old value, the running
// variance the biased one, channels are last; none of it stands in the weights, so that the norms'
// options are Flax's defaults.

import { checkRecord } from '../named-options.ts';
import { preset } from '../norms/options.ts';
import type { StateDict } from '../types.ts';
import { fromKernel } from './axes.ts';
import { type Exported, type ExportOptions, withKernels } from './exported.ts';
import {
  Collector,
  checkTensor,
  entriesOf,
  type Foreign,
  type ForeignTensors,
  groupsOf,
  type Imported,
  type ImportOptions,
} from './imported.ts';
import { joined } from './names.ts';

const NORM: Readonly<Record<string, string>> = { scale: 'gamma', bias: 'beta', mean: 'runningMean', var: 'runningVar' };
const COLLECTIONS = ['params', 'batch_stats'];
const WRAPPED = ['value', 'raw_value'];

/** Nested dictionaries of tensors, as Flax has its variables. */
export interface FlaxTree {
  readonly [name: string]: Foreign | FlaxTree;
}

/**
 * Flax's variables in our names: `params/BatchNorm_0/scale` is `BatchNorm_0.gamma`,
 * `params/Dense_0/kernel` the transposed `Dense_0.weight`.
 *
 *     const { state } = fromFlax(await readNpz(bytes), { layer: net });
 *
 * @param variables nested dictionaries, or flat names with `/` or `.` between them
 *   (`flax.traverse_util.flatten_dict(variables, sep='/')`)
 * @throws as `fromTorch`
 */
export function fromFlax(variables: ForeignTensors | FlaxTree, options: ImportOptions = {}): Imported {
  const collector = new Collector('fromFlax', options, variables);
  const entries = entriesOf('fromFlax', variables as ForeignTensors).flatMap(([name, value]) => flatten(name, value));
  for (const { name, tensors: group } of groupsOf(entries, split).values()) {
    const layer = collector.rename(name);
    const tracked = group.has('mean') || group.has('var');
    const isNorm = tracked || group.has('scale');
    // Flax' LayerNorm and GroupNorm add less than its BatchNorm
    if (isNorm) collector.norm(layer, { ...preset('flax'), ...(!tracked && { eps: 1e-6 }) }, []);
    if (tracked) {
      for (const leaf of ['mean', 'var']) if (!group.has(leaf)) collector.missing(joined(name, leaf));
    }
    for (const [leaf, { full, tensor }] of group) {
      if (isNorm && Object.hasOwn(NORM, leaf)) collector.take(full, tensor, layer, NORM[leaf]);
      else if (leaf === 'kernel' && tensor.shape.length >= 2) collector.take(full, tensor, layer, 'weight', fromKernel);
      else if (!isNorm && leaf === 'bias') collector.take(full, tensor, layer, 'bias');
      else {
        checkTensor('fromFlax', full, tensor);
        collector.unused(full);
      }
    }
  }
  return collector.finish();
}

function flatten(name: string, value: Foreign | FlaxTree): (readonly [string, Foreign])[] {
  checkRecord('fromFlax', value);
  if (isTensor(value)) return [[name, value]];
  return Object.entries(value as FlaxTree).flatMap(([key, inner]) => flatten(`${name}/${key}`, inner));
}

function isTensor(value: Foreign | FlaxTree): value is Foreign {
  return Array.isArray(value.shape);
}

function split(name: string): readonly [string, string] {
  const parts = name.split(name.includes('/') ? '/' : '.');
  if (COLLECTIONS.includes(parts[0])) parts.shift();
  // flax.nnx wraps each array in a variable
  if (parts.length > 1 && WRAPPED.includes(parts[parts.length - 1])) parts.pop();
  return [parts.slice(0, -1).join('.'), parts[parts.length - 1]];
}

/**
 * Our state dict under Flax's names, with `/` between them. Flax counts no batches, so
 * `batchesTracked` is left out.
 *
 *     const bytes = writeNpz(toFlax(net.stateDict()));
 *
 * @param state what `net.stateDict()` returns
 * @throws as `toTorch`
 */
export function toFlax(state: StateDict, options: ExportOptions = {}): Map<string, Exported> {
  return withKernels('toFlax', state, options, NORM, (leaf) => (leaf.startsWith('running') ? 'batch_stats' : 'params'));
}
