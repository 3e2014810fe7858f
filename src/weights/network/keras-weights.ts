// Variables of Keras' layers: which are whose, and which is what.

import { malformed } from '../../errors.ts';
import { quote } from '../../formats/bytes.ts';
import type { StoredTensor } from '../../formats/dtypes.ts';
import type { KerasLayer } from '../keras-config.ts';
import { variableNames } from '../keras-kinds.ts';
import { LayerIndex } from '../keras-owner.ts';
import { type Known, StoredConstant } from './draft.ts';

/** A variable: its whole name, and what of it follows the name of its layer. */
interface Variable {
  readonly full: string;
  readonly scopes: readonly string[];
  readonly leaf: string;
  readonly tensor: StoredTensor;
}

/** What is behind a counter is a name as well: `lstm_cell_3`. */
const bare = (scope: string) => scope.replace(/_\d+$/, '');

/** The variables of one layer, or of a part of it. */
export class LayerWeights {
  readonly #format: string;
  readonly #variables: readonly Variable[];
  readonly #used: Set<string>;

  constructor(format: string, variables: readonly Variable[], used: Set<string>) {
    this.#format = format;
    this.#variables = variables;
    this.#used = used;
  }

  get size(): number {
    return this.#variables.length;
  }

  /** Those in groups that a name fits: `forward_layer`, `forward_lstm_1`. */
  within(fits: (scope: string) => boolean): LayerWeights {
    const inside = this.#variables.flatMap((one) => {
      const at = one.scopes.findIndex(fits);
      return at < 0 ? [] : [{ ...one, scopes: one.scopes.slice(at + 1) }];
    });
    return new LayerWeights(this.#format, inside, this.#used);
  }

  /** Those of a layer inside, by its name; with its counter only where that is not enough. */
  of(name: string): LayerWeights {
    const exact = this.within((scope) => scope === name);
    return exact.size ? exact : this.within((scope) => bare(scope) === bare(name));
  }

  /**
   * A variable by name, or by number in a layer of some kind; undefined where there is none.
   *
   * @throws ERR_FORMAT where there are two
   */
  find(leaf: string, kind?: string, config?: KerasLayer['config']): Known | undefined {
    const named = this.#variables.filter((one) => one.leaf === leaf);
    const found = named.length ? named : this.#numbered(leaf, kind, config);
    if (found.length === 0) return undefined;
    if (found.length > 1) {
      const got = found.map(({ full }) => quote(full)).join(', ');
      throw malformed(this.#format, `variable '${leaf}'`, 'one in a layer', got, 0);
    }
    const [{ full, tensor }] = found;
    this.#used.add(full);
    return new StoredConstant(tensor);
  }

  #numbered(leaf: string, kind: string | undefined, config: KerasLayer['config'] | undefined): Variable[] {
    if (kind === undefined) return [];
    const vars = this.#variables.filter(({ scopes }) => scopes.at(-1) === 'vars');
    const names = variableNames(kind, config, vars.length);
    const at = names?.indexOf(leaf) ?? -1;
    if (at < 0) return [];
    return [...vars].sort((a, b) => Number(a.leaf) - Number(b.leaf)).slice(at, at + 1);
  }

  /** Names of the variables, for messages. */
  get names(): string[] {
    return this.#variables.map(({ full }) => full);
  }
}

/** All variables of a file by layer. */
export class FileWeights {
  readonly #format: string;
  readonly #byLayer = new Map<string, Variable[]>();
  readonly #all: string[] = [];
  readonly #used = new Set<string>();
  /** How many values there are. */
  readonly count: number;

  constructor(format: string, tensors: ReadonlyMap<string, StoredTensor>, layers: readonly KerasLayer[]) {
    this.#format = format;
    const index = new LayerIndex(layers);
    let count = 0;
    for (const [full, tensor] of tensors) {
      count += tensor.shape.reduce((product, length) => product * length, 1);
      this.#all.push(full);
      const parts = full.replace(/:\d+$/, '').split('/');
      const leaf = parts.pop()!;
      const owner = ownerOf(parts, index);
      if (!owner) continue;
      const list = this.#byLayer.get(owner.name) ?? [];
      list.push({ full, scopes: owner.rest, leaf, tensor });
      this.#byLayer.set(owner.name, list);
    }
    this.count = count;
  }

  of(layer: string): LayerWeights {
    return new LayerWeights(this.#format, this.#byLayer.get(layer) ?? [], this.#used);
  }

  /** Names of variables that no layer took. */
  get unused(): string[] {
    return this.#all.filter((name) => !this.#used.has(name));
  }
}

/** The layer whose name the scopes begin with, the longest; else that which they lead to. */
function ownerOf(scopes: readonly string[], index: LayerIndex): { name: string; rest: readonly string[] } | undefined {
  for (let end = scopes.length; end > 0; end--) {
    const name = scopes.slice(0, end).join('/');
    const layer = index.layerNamed(name);
    if (layer) return { name, rest: scopes.slice(end) };
  }
  const found = index.find(scopes);
  return found && { name: found.layer.name, rest: found.inner };
}
