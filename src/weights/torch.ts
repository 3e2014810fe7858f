// PyTorch's state dicts: https://pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html. Momentum there is the weight of the new batch, as here;
// the running variance is the unbiased one. eps and momentum do not stand in a state dict: they are PyTorch's defaults unless told otherwise.

import { preset } from '../layers/options.ts';
import type { StateDict } from '../types.ts';
import { type Exported, type ExportOptions, inverted, leavesOf, put } from './exported.ts';
import { Collector, entriesOf, type ForeignTensors, groupsOf, type Imported, type ImportOptions } from './imported.ts';
import { joined, parted } from './names.ts';

const NORM: Readonly<Record<string, string>> = {
  weight: 'gamma',
  bias: 'beta',
  running_mean: 'runningMean',
  running_var: 'runningVar',
  num_batches_tracked: 'batchesTracked',
};

/** What wrappers put before every name. */
const WRAPPERS = ['module.', '_orig_mod.'];

/**
 * Tensors under PyTorch's names in ours. A layer with `running_mean` or `running_var`, or whose `weight` has one axis or the shape of its `bias`, is a norm; `weight` and `bias` of
 * others are kept as they are. A missing `num_batches_tracked` counts as 0; the names that DataParallel (`module.`) and `torch.compile`
 * (`_orig_mod.`) put before all others are taken off.
 *
 * @param tensors of `readSafetensors`, `readNpz`, or any record of `{ data, shape }`
 * @throws ERR_STATE, by name, for negative or NaN variances, means that are not finite, shapes that `layer` does not have; ERR_FORMAT for a type
 *   that cannot be read
 */
export function fromTorch(tensors: ForeignTensors, options: ImportOptions = {}): Imported {
  const collector = new Collector('fromTorch', options);
  let entries = entriesOf('fromTorch', tensors);
  const bare = new Map<string, string>();
  for (const wrapper of [...WRAPPERS, ...WRAPPERS]) {
    if (!entries.length || !entries.every(([name]) => name.startsWith(wrapper))) continue;
    entries = entries.map(([name, tensor]) => {
      const short = name.slice(wrapper.length);
      bare.set(short, bare.get(name) ?? name);
      return [short, tensor] as const;
    });
  }
  for (const { name, tensors: group } of groupsOf(entries, parted)) {
    const layer = collector.rename(name);
    const tracked = group.has('running_mean') || group.has('running_var');
    const [weight, bias] = ['weight', 'bias'].map((leaf) => group.get(leaf)?.tensor.shape);
    // a layer norm over several axes has a bias like its weight
    const isNorm = tracked || weight?.length === 1 || (weight !== undefined && weight.join() === bias?.join());
    if (isNorm) {
      collector.norm(layer, preset('torch'), []);
      for (const leaf of ['running_mean', 'running_var']) {
        if (tracked && !group.has(leaf)) collector.missing(joined(name, leaf));
      }
    }
    for (const [leaf, { full, tensor }] of group) {
      if (isNorm && Object.hasOwn(NORM, leaf)) collector.take(full, tensor, layer, NORM[leaf]);
      else if (!isNorm && (leaf === 'weight' || leaf === 'bias')) collector.take(full, tensor, layer, leaf);
      else collector.unused(bare.get(full) ?? full);
    }
  }
  return collector.finish();
}

/** Our state dict under PyTorch's names: for `writeSafetensors`, and `torch.load_state_dict` behind it. The counter is an I64, as there. */
export function toTorch(state: StateDict, options: ExportOptions = {}): Map<string, Exported> {
  const names = inverted(NORM);
  const out = new Map<string, Exported>();
  for (const { layer, leaf, data, shape } of leavesOf('toTorch', state, options)) {
    const dtype = leaf === 'batchesTracked' ? { dtype: 'I64' } : undefined;
    put('toTorch', out, joined(layer, names.get(leaf) ?? leaf), { data, shape, ...dtype });
  }
  return out;
}
