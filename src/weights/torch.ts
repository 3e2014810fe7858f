// PyTorch's state dicts: https://pytorch.org/docs/stable/generated/torch.nn.BatchNorm2d.html.
// Momentum there is the weight of the new batch, as here; the running variance is the unbiased one.
// eps and momentum do not stand in a state dict: they are PyTorch's defaults unless told otherwise.

import { isQuantised } from '../formats/dtypes.ts';
import { checkChoice } from '../named-options.ts';
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
import { byLargest, byLength, type Reparameterized, reparameterizedIn } from './torch-reparameterized.ts';

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
 * Weights that PyTorch works out of others are read by the names of hooks and of parametrizations.
 * Of `spectral_norm` (`weight_orig`, `weight_u`, `weight_v`; `parametrizations.weight.original` …)
 * a `SpectralNorm` gets `weight`, `u` and `v`, and any other layer the weight divided by uᵀ·w·v. Of
 * `weight_norm` (`weight_g` and `weight_v`; `original0` and `original1`) comes g·v/‖v‖.
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
  const { found, others } = reparameterizedIn(entries, bare);
  for (const [name, parts] of found) takeReparameterized(collector, collector.rename(name), parts, options);
  for (const { name, tensors: group } of groupsOf(others, (full) => parted(bare(full))).values()) {
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
        : vector !== 'activation' && (leaf === 'weight' || leaf === 'bias' || isVector(needed, layer, leaf));
      const isCounter = ours === 'batchesTracked';
      if (!known || (!isCounter && isQuantised((tensor as { dtype?: string }).dtype))) collector.unused(full);
      else collector.take(full, tensor, layer, ours, isCounter ? asScalar : undefined);
    }
  }
  return collector.finish();
}

/** A singular vector of a layer that has such. */
const isVector = (needed: StateDict, layer: string, leaf: string) =>
  (leaf === 'u' || leaf === 'v') && Object.hasOwn(needed, joined(layer, leaf));

/** A weight that is worked out of others: those, for a layer with such, or what comes of them. */
function takeReparameterized(
  collector: Collector,
  name: string,
  parts: Reparameterized,
  { layer }: ImportOptions,
): void {
  if (parts.kind === 'weight-norm') {
    const [full, tensor] = parts.v;
    collector.take(full, tensor, name, 'weight', (v, shape) => byLength('fromTorch', parts, v, shape));
    return;
  }
  const { weight, u, v } = parts;
  if (!layer || Object.hasOwn(layer.stateDict(), joined(name, 'u'))) {
    collector.take(...weight, name, 'weight');
    collector.take(...u, name, 'u');
    if (v) collector.take(...v, name, 'v');
    return;
  }
  // by its looks, so that who reads weights does not carry the layers
  const [, target] = layer.named().find(([ours]) => ours === name) ?? [];
  const { transposed = false } = (target as { plain?(): { transposed: boolean } } | undefined)?.plain?.() ?? {};
  collector.take(...weight, name, 'weight', (w, shape) => byLargest('fromTorch', parts, w, shape, transposed));
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

/** Names of a norm's statistics. */
const torchWords = () =>
  Object.fromEntries(Object.entries(TORCH_NORM).filter(([name]) => !/^(?:gamma|beta)$/.test(name)));

/** Options of `toTorch`. */
export interface TorchExportOptions extends ExportOptions {
  /**
   * Names of the parts of a `SpectralNorm`: those of `torch.nn.utils.parametrizations`
   * (`parametrizations.weight.original` …), or those of the older `torch.nn.utils.spectral_norm`
   * (`weight_orig`, `weight_u`, `weight_v`). Default `'parametrizations'`.
   */
  spectralNorm?: 'parametrizations' | 'hook';
}

/** Names of the parts of a spectral norm, by ours. */
const SPECTRAL = {
  parametrizations: {
    weight: 'parametrizations.weight.original',
    u: 'parametrizations.weight.0._u',
    v: 'parametrizations.weight.0._v',
  },
  hook: { weight: 'weight_orig', u: 'weight_u', v: 'weight_v' },
} as const;

/**
 * Our state dict under PyTorch's names; the counter of batches is an I64, as there. In Python,
 * `load_state_dict(safetensors.torch.load_file(…))` takes it. A weight with `u` and `v` beside it
 * is that of a `SpectralNorm`.
 *
 *     const bytes = writeSafetensors(toTorch(net.stateDict()));
 *
 * @param state what `net.stateDict()` returns
 * @throws ERR_OPTION for anything but a record; ERR_TYPE for an entry that is no `{ data, shape }`;
 *   ERR_STATE where two entries would get one name
 */
export function toTorch(state: StateDict, options: TorchExportOptions = {}): Map<string, Exported> {
  const { spectralNorm = 'parametrizations', ...rest } = options;
  checkChoice('toTorch', 'spectralNorm', spectralNorm, Object.keys(SPECTRAL));
  const spectral = SPECTRAL[spectralNorm];
  const names = inverted(torchWords());
  const isSpectral = (layer: string) =>
    ['weight', 'u', 'v'].every((leaf) => Object.hasOwn(state, joined(layer, leaf))) ? spectral : undefined;
  const ours = new Map(Object.entries(rest.rename ?? {}));
  const out = new Map<string, Exported>();
  for (const { layer, leaf, data, shape } of leavesOf('toTorch', state, rest)) {
    const dtype = leaf === 'batchesTracked' ? { dtype: 'I64' } : undefined;
    const parts: Readonly<Record<string, string>> | undefined = isSpectral(ours.get(layer) ?? layer);
    put('toTorch', out, joined(layer, parts?.[leaf] ?? names.get(leaf) ?? leaf), { data, shape, ...dtype });
  }
  return out;
}
