// The layers of a network in the order in which they run, where each takes what the one before
// gives; networks in it layer by layer.

import { malformed } from '../errors.ts';
import { quote, quoteSome } from '../formats/bytes.ts';
import { isNetwork, type KerasLayer, kindOf, listed, outputsOf, ownName } from './keras-config.ts';

export interface Link {
  readonly layer: KerasLayer;
  /** Axes of its input, where that is known. */
  readonly rank: number | undefined;
}

interface Network {
  readonly format: string;
  readonly layers: readonly KerasLayer[];
  readonly outputs: readonly string[] | null;
}

/** Throws ERR_FORMAT where it is no chain: at which layer. */
export function chainOf({ format, layers, outputs }: Network): Link[] {
  const networks = new Set<string>();
  for (const layer of layers) {
    if (!isNetwork(layer)) continue;
    if (networks.has(layer.name))
      throw malformed(format, `network ${quote(layer.name)}`, 'a name of its own', 'it again', 0);
    networks.add(layer.name);
  }
  const inside = listed(layers, ({ network }) => network ?? null);
  const links: Link[] = [];
  let rank: number | undefined;

  const walk = (network: string | null, outputs: readonly string[] | null) => {
    const list = inside.get(network) ?? [];
    const label = network === null ? 'config' : `network ${quote(network)}`;
    const inputs = list.filter(({ className }) => className === 'InputLayer');
    if (inputs.length > 1) {
      const names = quoteSome(inputs.map(ownName));
      throw malformed(format, label, 'one input', `${inputs.length}: ${names}`, 0);
    }
    let before = inputs.length ? ownName(inputs[0]) : undefined;
    rank = inputs[0]?.rank ?? rank;
    for (const layer of list) {
      if (layer.className === 'InputLayer') continue;
      const { inbound, className, name, training } = layer;
      const here = `layer ${links.length} ${className} ${quote(name)}`;
      if (inbound && (inbound.length !== 1 || (before !== undefined && inbound[0] !== before))) {
        const got = quoteSome(inbound);
        throw malformed(format, here, `${quote(before ?? 'the input')} as its one input: a chain`, got, 0);
      }
      before = ownName(layer);
      if (isNetwork(layer)) {
        if (training) throw malformed(format, here, 'inference', 'training=True, which a call in the model says', 0);
        walk(name, outputsOf(layer.config));
      } else {
        rank = layer.rank ?? rank;
        links.push({ layer, rank });
        if (kindOf(className) === 'flatten') rank = 2;
      }
    }
    if (outputs && (outputs.length !== 1 || outputs[0] !== before)) {
      const expected = `${before === undefined ? 'a layer' : quote(before)}, the last layer, as its one output`;
      throw malformed(format, label, expected, quoteSome(outputs), 0);
    }
  };
  walk(null, outputs);
  return links;
}
