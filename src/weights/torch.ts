// PyTorch's state dicts: https://pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html.
// Momentum there is the weight of the new batch, as here; the running variance is the unbiased one.
// eps and momentum do not stand in a state dict: they are PyTorch's defaults unless told otherwise.

import { isQuantised } from '../formats/dtypes.ts';
import { type BatchNormOptions, preset } from '../norms/options.ts';
import type { StateDict } from '../types.ts';
import { type Exported, type ExportOptions, inverted, leavesOf, put } from './exported.ts';
import {
  Collector,
  entriesOf,
  type ForeignTensors,
  type Group,
  groupsOf,
  type Imported,
  type ImportOptions,
} from './imported.ts';
import { joined, parted } from './names.ts';
import { bareNames, TORCH_NORM, vectorOf } from './torch-names.ts';

/**
 * Tensors under PyTorch's names in ours. A layer is a norm where it has `running_mean`,
 * `running_var`, `gamma` or `beta`, a `weight` with the shape of its `bias`, or a `weight` of one
 * axis and a name that says so; `weight` and `bias` of others are kept as they are. A missing
 * `num_batches_tracked` counts as 0. What wrappers put into names is taken off: DataParallel's and
 * AveragedModel's `module.` before all of them, `_orig_mod.` of `torch.compile` anywhere.
 *
 *     const { tensors } = readSafetensors(await readFile('model.safetensors'));
 *     net.loadStateDict(fromTorch(tensors, { layer: net }).state);
 *
 * Weights of quantised types are listed as unused: their scale lies elsewhere.
 *
 * @param tensors of `readSafetensors`, `readNpz`, or any record of `{ data, shape }`
 * @throws ERR_STATE, by name, for negative or NaN variances, means that are not finite, shapes that
 *   `layer` does not have, and where no name fits `layer`; ERR_FORMAT for a type that cannot be
 *   read
 */
export function fromTorch(tensors: ForeignTensors, options: ImportOptions = {}): Imported {
  const entries = entriesOf('fromTorch', tensors);
  const collector = new Collector('fromTorch', options, tensors);
  const needed = options.layer?.stateDict() ?? {};
  const bare = bareNames(() => entries.map(([name]) => name));
  for (const { name, tensors: group } of groupsOf(entries, (full) => parted(bare(full))).values()) {
    const layer = collector.rename(name);
    const vector = vectorIn(name, group);
    const isNorm = vector ? vector === 'norm' : isNormGroup(group);
    if (isNorm) collector.norm(layer, { ...preset('torch'), ...affineIn(group) }, []);
    if (group.has('running_mean') || group.has('running_var')) {
      for (const leaf of ['running_mean', 'running_var']) if (!group.has(leaf)) collector.missing(joined(name, leaf));
    }
    const asNorm = isNorm || vector === 'unknown' || Object.hasOwn(needed, joined(layer, 'gamma'));
    for (const [leaf, { full, tensor }] of group) {
      const ours = asNorm && Object.hasOwn(TORCH_NORM, leaf) ? TORCH_NORM[leaf] : leaf;
      const known = asNorm
        ? Object.hasOwn(TORCH_NORM, leaf)
        : vector !== 'activation' && (leaf === 'weight' || leaf === 'bias');
      const isCounter = ours === 'batchesTracked';
      if (!known || (!isCounter && isQuantised((tensor as { dtype?: string }).dtype))) collector.unused(full);
      else collector.take(full, tensor, layer, ours, isCounter ? asScalar : undefined);
    }
  }
  return collector.finish();
}

/** What a layer is that has nothing but a `weight` of one axis; undefined for others. */
function vectorIn(name: string, group: Group['tensors']) {
  const shape = group.get('weight')?.tensor.shape;
  return group.size === 1 && shape?.length === 1 ? vectorOf(name, shape[0]) : undefined;
}

function isNormGroup(group: Group['tensors']): boolean {
  if (['running_mean', 'running_var', 'gamma', 'beta'].some((leaf) => group.has(leaf))) return true;
  const [weight, bias] = ['weight', 'bias'].map((leaf) => group.get(leaf)?.tensor.shape);
  // a layer norm over several axes has a bias like its weight
  return weight !== undefined && weight.length > 0 && weight.join() === bias?.join();
}

/** Whether a norm has gamma and beta: what it has shows it. */
function affineIn(group: Group['tensors']): Pick<BatchNormOptions, 'affine'> {
  const [gamma, beta] = [
    ['weight', 'gamma'],
    ['bias', 'beta'],
  ].map((leaves) => leaves.some((leaf) => group.has(leaf)));
  if (gamma && beta) return {};
  return { affine: gamma ? 'gamma' : beta && 'beta' };
}

/** Some keep the counter as a list of one value. */
function asScalar<V extends { readonly length: number }>(data: V, shape: readonly number[]) {
  return { data, shape: data.length === 1 ? [] : shape };
}

const TORCH_WORDS = Object.fromEntries(Object.entries(TORCH_NORM).filter(([name]) => !/^(?:gamma|beta)$/.test(name)));

/**
 * Our state dict under PyTorch's names; the counter of batches is an I64, as there. In Python,
 * `load_state_dict(safetensors.torch.load_file(…))` takes it.
 *
 *     const bytes = writeSafetensors(toTorch(net.stateDict()));
 *
 * @param state what `net.stateDict()` returns
 * @throws ERR_OPTION for anything but a record; ERR_TYPE for an entry that is no `{ data, shape }`;
 *   ERR_STATE where two entries would get one name
 */
export function toTorch(state: StateDict, options: ExportOptions = {}): Map<string, Exported> {
  const names = inverted(TORCH_WORDS);
  const out = new Map<string, Exported>();
  for (const { layer, leaf, data, shape } of leavesOf('toTorch', state, options)) {
    const dtype = leaf === 'batchesTracked' ? { dtype: 'I64' } : undefined;
    put('toTorch', out, joined(layer, names.get(leaf) ?? leaf), { data, shape, ...dtype });
  }
  return out;
}
