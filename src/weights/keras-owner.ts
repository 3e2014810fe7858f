// Whose a variable is: names of variables carry the names of models around a layer, scopes, and
// their counters.

import { isNetwork, type KerasLayer, listed, ownName, wrapped } from './keras-config.ts';

/**
 * As far as names are searched: scopes of a variable, slashes in a layer's name, layers of one
 * name.
 */
const MOST_SCOPES = 16;
const MOST_PARTS = 6;
const MOST_ALIKE = 64;

/** The layers of a config by name. */
export class LayerIndex {
  readonly layers: readonly KerasLayer[];
  readonly #exact: ReadonlyMap<string, KerasLayer>;
  /** Layers that are no networks, by their own name. */
  readonly #own: ReadonlyMap<string, readonly KerasLayer[]>;

  constructor(layers: readonly KerasLayer[]) {
    this.layers = layers;
    this.#exact = new Map(layers.map((layer) => [layer.name, layer]));
    const plain = layers.filter((layer) => !isNetwork(layer));
    this.#own = listed(plain, ownName);
  }

  /** The layer of this whole name, which is no network. */
  layerNamed(name: string): KerasLayer | undefined {
    const found = this.#exact.get(name);
    return found && !isNetwork(found) ? found : undefined;
  }

  /** The layer of this name, or that which a layer holds as an attribute: `steps/layer`. */
  exact(name: string): KerasLayer | undefined {
    const found = this.#exact.get(name);
    const cut = name.lastIndexOf('/');
    return found ?? (cut < 0 ? undefined : wrapped(this.#exact.get(name.slice(0, cut)), name.slice(cut + 1)));
  }

  /** Is there one layer alone of this own name? */
  isUnique(layer: KerasLayer): boolean {
    return this.#own.get(ownName(layer))?.length === 1;
  }

  /** The layer of a network that names of groups lead to. */
  within(network: KerasLayer, scopes: readonly string[]): KerasLayer | undefined {
    const inside = this.#exact.get([network.name, ...scopes].join('/'));
    if (inside && !isNetwork(inside)) return inside;
    return this.find(scopes, ({ name }) => name.startsWith(`${network.name}/`))?.layer;
  }

  /**
   * The layer that a variable's scopes lead to, and what of them follows its name: the first that
   * is a layer's name, as it is, or without its counter. Of layers of one name, that which has the
   * networks around it in the scopes before.
   */
  find(
    scopes: readonly string[],
    among: (layer: KerasLayer) => boolean = () => true,
  ): { layer: KerasLayer; inner: readonly string[] } | undefined {
    const whole = this.#exact.get(scopes.join('/'));
    if (whole && !isNetwork(whole) && among(whole)) return { layer: whole, inner: [] };
    if (scopes.length > MOST_SCOPES) return undefined;
    for (const bare of [(part: string) => part, (part: string) => part.replace(/_\d+$/, '')]) {
      for (let end = 1; end <= scopes.length; end++) {
        // names of layers may have slashes
        for (let start = Math.max(0, end - MOST_PARTS); start < end; start++) {
          const name = [...scopes.slice(start, end - 1), bare(scopes[end - 1])].join('/');
          const alike = this.#own.get(name) ?? [];
          if (alike.length > MOST_ALIKE) continue;
          const layer = best(alike.filter(among), scopes.slice(0, start));
          if (layer) return { layer, inner: scopes.slice(end) };
        }
      }
    }
    return undefined;
  }
}

/**
 * The one with the most networks around it among the scopes before; undefined where two have as
 * many.
 */
function best(layers: readonly KerasLayer[], before: readonly string[]): KerasLayer | undefined {
  if (layers.length < 2) return layers[0];
  const depth = ({ network }: KerasLayer) => {
    const around = network?.split('/') ?? [];
    let count = 0;
    while (count < around.length && count < before.length && around.at(-1 - count) === before.at(-1 - count)) count++;
    return count;
  };
  const most = Math.max(...layers.map(depth));
  const found = layers.filter((layer) => depth(layer) === most);
  return found.length === 1 ? found[0] : undefined;
}
