// A `.weights.h5` as Keras 3 reads it: variables by number, in groups named after the layer's class
// and a counter.

import { wrongValue } from '../errors.ts';
import { type WritableHdf5, writeHdf5 } from '../formats/hdf5.ts';
import { checkNames } from '../named-options.ts';
import type { Exported } from './exported.ts';
import { snake } from './keras-config.ts';
import { placeOf } from './keras-kinds.ts';

/** Options of `writeKeras`. */
export interface WriteKerasOptions {
  /**
   * Kinds of layers by name, as Keras calls their classes: `{ gn: 'GroupNormalization' }`; `kinds`
   * of a file that was read. A layer that is not among them is what its variables look like: gamma
   * and beta alone are a LayerNormalization.
   */
  kinds?: ReadonlyMap<string, string> | Readonly<Record<string, string>>;
}

/** Kinds of networks, whose layers lie in a list. */
const NETWORKS = ['sequential', 'functional', 'model'];

/**
 * Writes a `.weights.h5` as Keras 3 reads it (`model.load_weights`), layers of each kind in the
 * order of the tensors, which must be that of the model. A tensor that is no variable of its
 * layer's kind is written under its own name, where Keras does not look for it. It needs the
 * package h5wasm.
 *
 *     const bytes = await writeKeras(toKeras(net.stateDict()));
 *
 * @param tensors of `toKeras`
 * @throws ERR_FORMAT without h5wasm; ERR_STATE for the variables of a batch renormalization without
 *   Keras' `moving_stddev`, which follows from the variance and eps
 */
export async function writeKeras(
  tensors: ReadonlyMap<string, Exported>,
  options: WriteKerasOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  checkNames('writeKeras', options, ['kinds']);
  const given = options.kinds ?? {};
  const kinds = new Map(
    [...(given instanceof Map ? given : Object.entries(given))].map(([name, kind]) => [name, snake(kind)] as const),
  );
  const layers = new Map<string, Map<string, Exported>>();
  for (const [full, tensor] of tensors) {
    const cut = full.lastIndexOf('/');
    const name = full.slice(0, Math.max(cut, 0));
    const leaves = layers.get(name) ?? new Map<string, Exported>();
    layers.set(name, leaves.set(full.slice(cut + 1), tensor));
  }
  const paths = new Paths(kinds);
  const attributes: { path: string; name: string; value: string }[] = [];
  const datasets: WritableHdf5['datasets'][number][] = [];
  const put = (path: string, { data, shape, dtype }: Exported) => datasets.push({ path, data, shape, dtype });
  for (const [name, leaves] of layers) {
    const kind = kinds.get(name) ?? kindLike(leaves);
    const places = [...leaves].map(([leaf, tensor]) => ({ leaf, tensor, place: placeOf(kind, leaf) }));
    const own = places.filter(({ place }) => place >= 0).sort((a, b) => a.place - b.place);
    // variables have numbers: where one in the middle is missing, others would be taken for it
    if (leaves.has('renorm_mean') && !leaves.has('moving_stddev')) {
      const context = 'beside renorm_mean: √(moving_variance + epsilon)';
      throw wrongValue('ERR_STATE', 'writeKeras', name, "a variable 'moving_stddev'", 'none', context);
    }
    if (own.length) {
      const path = `${paths.of(name, kind!)}/vars`;
      attributes.push({ path, name: 'name', value: name.slice(name.lastIndexOf('/') + 1) });
      for (const [i, { tensor }] of own.entries()) put(`${path}/${i}`, tensor);
    }
    for (const { leaf, tensor, place } of places) if (place < 0) put(name === '' ? leaf : `${name}/${leaf}`, tensor);
  }
  return writeHdf5('Keras', { datasets, attributes, groups: ['vars'] });
}

/** Groups of layers: in networks a list, in other layers an attribute. */
class Paths {
  readonly #kinds: ReadonlyMap<string, string>;
  readonly #paths = new Map<string, string>();
  readonly #counts = new Map<string, number>();

  constructor(kinds: ReadonlyMap<string, string>) {
    this.#kinds = kinds;
  }

  of(name: string, kind: string): string {
    const found = this.#paths.get(name);
    if (found !== undefined) return found;
    const outer = this.#outer(name);
    const around = this.#kinds.get(outer ?? '');
    const inside = outer === undefined ? '' : this.of(outer, around!);
    const path =
      around === undefined || NETWORKS.includes(around)
        ? this.#next(inside === '' ? 'layers' : `${inside}/layers`, kind)
        : outer === undefined
          ? name
          : `${inside}/${name.slice(outer.length + 1)}`;
    this.#paths.set(name, path);
    return path;
  }

  /** The innermost layer around this one: names of layers may have slashes. */
  #outer(name: string): string | undefined {
    for (let cut = name.lastIndexOf('/'); cut > 0; cut = name.lastIndexOf('/', cut - 1)) {
      if (this.#kinds.has(name.slice(0, cut))) return name.slice(0, cut);
    }
    return undefined;
  }

  #next(list: string, kind: string): string {
    const path = `${list}/${kind}`;
    const count = this.#counts.get(path) ?? 0;
    this.#counts.set(path, count + 1);
    return count ? `${path}_${count}` : path;
  }
}

/** What variables look like; undefined for nothing that is known here. */
function kindLike(leaves: ReadonlyMap<string, Exported>): string | undefined {
  if (leaves.has('moving_mean') || leaves.has('moving_variance')) return 'batch_normalization';
  if (leaves.has('gamma') || leaves.has('beta')) return 'layer_normalization';
  const rank = leaves.get('kernel')?.shape.length ?? 0;
  if (rank >= 2) return rank === 2 ? 'dense' : `conv${rank - 2}d`;
  const depthwise = leaves.get('depthwise_kernel')?.shape.length ?? 0;
  if (depthwise > 2) return `${leaves.has('pointwise_kernel') ? 'separable' : 'depthwise'}_conv${depthwise - 2}d`;
  return undefined;
}
