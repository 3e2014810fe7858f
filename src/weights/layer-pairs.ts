// Which layer a norm follows, in a file that has names and no graph. Indexes that follow each other
// in a Sequential prove it; names that belong together (conv1, bn1) are a custom, which holds as
// long as nothing in the file speaks against it: docs/decisions/015-pairs-by-name.md.

import { quote } from '../formats/bytes.ts';
import { isQuantised } from '../formats/dtypes.ts';
import { type Foreign, Leaves } from './imported.ts';
import { joined, parted } from './names.ts';
import { vectorOf } from './torch-names.ts';

/**
 * The tensors of one layer. A file may have any number of layers: there is nothing in one that can
 * be worked out.
 */
export class FileLayer extends Leaves {
  /** Its name without what wrappers put into it. */
  readonly bare: string;
  /** Its number among all layers, in the order of their first tensors. */
  readonly at: number;

  constructor(bare: string, leaf: string, full: string, tensor: Foreign, at: number) {
    super(leaf, full, tensor);
    this.bare = bare;
    this.at = at;
  }

  get tensors(): Leaves {
    return this;
  }

  /** Its name in the file. */
  get name(): string {
    const [[leaf, { full }]] = this;
    const { length } = leaf;
    if (full.length === length) return '';
    return full.length === this.bare.length + 1 + length ? this.bare : full.slice(0, -length - 1);
  }
}

/** A norm's layer and how that is known, or why there is none. */
export type Pair =
  | { readonly layer: FileLayer; readonly by: 'names' | 'position' | 'option' }
  | { readonly reason: string };

/** What norms and the layers before them are called. */
const NORM_WORDS = ['batch_norm', 'batchnorm', 'norm', 'bn'];
const LAYER_WORDS = ['conv', 'fc', 'linear', 'dense', 'proj', 'lin'];
const LOOKS_TRANSPOSED = /transpose|deconv|(?:^|[._])up(?:conv|sample)?\d*$/i;

export interface Given {
  /** All layers by their bare names. */
  readonly layers: ReadonlyMap<string, FileLayer>;
  readonly norms: readonly FileLayer[];
  /** What somebody said that norms follow. */
  readonly chosen: ReadonlyMap<FileLayer, FileLayer>;
  readonly isTransposed: (layer: FileLayer) => boolean;
  /** Do names come in the order in which layers were made? Not where they are sorted. */
  readonly inOrder: boolean;
}

/** Finds the layer of each norm, in the order of norms. */
export function pairsOf(given: Given): Pair[] {
  const { norms } = given;
  const pairs = norms.map((norm): Pair => {
    const layer = given.chosen.get(norm);
    return layer ? { layer, by: 'option' } : pairOf(norm, given);
  });
  const doubt = doubtOf(pairs, given);
  const transposed = norms.find((norm, i) => 'reason' in pairs[i] && looksTransposed(norm, given));
  const otherOf = ownersOf(pairs, given);
  for (const [i, norm] of norms.entries()) {
    const pair = pairs[i];
    if (!('layer' in pair) || pair.by === 'option') continue;
    const { layer, by } = pair;
    const name = quote(layer.name);
    const other = otherOf(layer, norm);
    const refuse = (reason: string) => {
      pairs[i] = { reason };
    };
    if (other) refuse(`${name} is ${quote(other.name)}'s layer as well: pair it with one`);
    else if (by === 'names' && doubt) refuse(`names leave open what it follows, as ${doubt}: pair it with its layer`);
    else if (given.isTransposed(layer)) continue;
    else if (LOOKS_TRANSPOSED.test(layer.bare))
      refuse(
        `${name} looks like a transposed convolution, which a file of weights does not say: name it as transposed, or pair it`,
      );
    else if (isSquare(layer) && shapeOf(layer).length > 2 && transposed)
      refuse(
        `${name} may be transposed, as the layer before ${quote(transposed.name)} looks so: name it as transposed, or pair it`,
      );
    else if (isSquare(layer) && shapeOf(layer).length === 2 && (norm.tensors.has('gamma') || norm.tensors.has('beta')))
      refuse(
        `${name} has as many outputs as inputs, and Burn, which says gamma and beta, has the inputs first: pair it with its layer`,
      );
  }
  return pairs;
}

/**
 * What finds another norm of the same layer. Owners are numbers: a list for each layer would cost
 * more than the layer.
 */
function ownersOf(pairs: readonly Pair[], { layers, norms }: Given) {
  const all = [...layers.values()];
  const [first, second] = [new Int32Array(all.length).fill(-1), new Int32Array(all.length).fill(-1)];
  for (const [i, pair] of pairs.entries()) {
    if (!('layer' in pair)) continue;
    const { at } = pair.layer;
    (first[at] < 0 ? first : second)[at] = norms[i].at;
  }
  return (layer: FileLayer, norm: FileLayer): FileLayer | undefined => {
    const owner = first[layer.at] === norm.at ? second[layer.at] : first[layer.at];
    return all[owner];
  };
}

/** As many channels in as out: shapes cannot tell which is which. */
export function isSquare(layer: FileLayer): boolean {
  const [first, second] = shapeOf(layer);
  return first === second;
}

function shapeOf(layer: FileLayer | undefined): readonly number[] {
  return layer?.tensors.get('weight')?.tensor.shape ?? [];
}

function channelsOf(norm: FileLayer): number {
  return (norm.tensors.get('running_mean') ?? norm.tensors.get('running_var')!).tensor.shape[0];
}

/** The layer before it in a Sequential. */
function before(norm: FileLayer, { layers }: Given): FileLayer | undefined {
  const [parent, own] = parted(norm.bare);
  return /^\d+$/.test(own) ? layers.get(joined(parent, `${Number(own) - 1}`)) : undefined;
}

function pairOf(norm: FileLayer, given: Given): Pair {
  const channels = channelsOf(norm);
  const position = before(norm, given);
  const found = shapeOf(position).length >= 2 ? [position!] : namesakes(norm, given);
  if (found.length === 0) return { reason: 'no layer of a name that it follows: pair it with one' };
  const fitting = found.filter((layer) => gives(layer, given, channels));
  if (fitting.length > 1) {
    return { reason: `it may follow ${fitting.map(({ name }) => quote(name)).join(' or ')}: pair it with one` };
  }
  const [layer] = fitting;
  if (!layer) return { reason: `${quote(found[0].name)} gives ${shapeOf(found[0])[0]} channels, not ${channels}` };
  return { layer, by: layer === position ? 'position' : 'names' };
}

/** A transposed convolution has its outputs second, and groups that nobody knows. */
function gives(layer: FileLayer, { isTransposed }: Given, channels: number): boolean {
  return isTransposed(layer) || LOOKS_TRANSPOSED.test(layer.bare) || shapeOf(layer)[0] === channels;
}

function namesakes(norm: FileLayer, { layers }: Given): FileLayer[] {
  const [parent, own] = parted(norm.bare);
  const word = NORM_WORDS.find((one) => own.includes(one));
  if (!word) return [];
  return LAYER_WORDS.map((layer) => layers.get(joined(parent, own.replace(word, layer)))).filter(
    (layer): layer is FileLayer => layer !== undefined && layer !== norm && shapeOf(layer).length >= 2,
  );
}

function looksTransposed(norm: FileLayer, given: Given): boolean {
  const shape = shapeOf(before(norm, given));
  return shape.length > 2 && shape[1] === channelsOf(norm);
}

/** What in the file speaks against norms behind the layers of their names. */
function doubtOf(pairs: readonly Pair[], given: Given): string | undefined {
  const activations = activationsIn(given);
  for (const [i, pair] of pairs.entries()) {
    const norm = given.norms[i];
    if ('layer' in pair && pair.by === 'position') continue;
    const others = namesakes(norm, given);
    if (!others.length) continue;
    const channels = channelsOf(norm);
    if (!others.some((layer) => gives(layer, given, channels)))
      return `${quote(others[0].name)} gives ${shapeOf(others[0])[0]} channels and ${quote(norm.name)} takes ${channels}`;
    if (!('layer' in pair)) continue;
    const { layer, by } = pair;
    if (by === 'option' && !others.includes(layer))
      return `${quote(norm.name)} follows ${quote(layer.name)} and not ${quote(others[0].name)}`;
    if (!given.inOrder || by === 'option') continue;
    if (norm.at < layer.at) return `the file has ${quote(norm.name)} before ${quote(layer.name)}`;
    const beside = activations.get(parted(norm.bare)[0]) ?? [];
    const between = beside[firstBehind(beside, layer.at)];
    if (between && between.at < norm.at)
      return `the file has ${quote(between.name)} between ${quote(layer.name)} and ${quote(norm.name)}`;
  }
  return aloneIn(pairs, given) ?? rectifiedIn(pairs, given);
}

/**
 * Where norms come first, a convolution at the beginning has none and one norm is left at the end.
 * In a network of one width, where channels tell nothing, a layer and a norm with names of that
 * kind and no partner look so.
 */
function aloneIn(pairs: readonly Pair[], given: Given): string | undefined {
  const { chosen, layers } = given;
  const followed = new Uint8Array(layers.size);
  const alone: FileLayer[] = [];
  for (const [i, pair] of pairs.entries()) {
    const norm = given.norms[i];
    const others = 'layer' in pair && pair.by === 'position' ? [pair.layer] : namesakes(norm, given);
    for (const layer of others) followed[layer.at] = 1;
    if (!others.length && hasWord(norm, NORM_WORDS)) alone.push(norm);
    // a layer that changes the width fits a norm behind it, not one before
    if ('layer' in pair && pair.by === 'names' && !isSquare(pair.layer)) return undefined;
  }
  // one that was given a layer of its own is not alone
  const norm = alone.find((one) => !chosen.has(one) || followed[chosen.get(one)!.at]);
  if (!norm) return undefined;
  for (const layer of chosen.values()) followed[layer.at] = 1;
  for (const layer of layers.values())
    if (shapeOf(layer).length > 2 && !followed[layer.at] && hasWord(layer, LAYER_WORDS))
      return `${quote(norm.name)} has no layer of its name and ${quote(layer.name)} no norm, as where norms come first`;
  return undefined;
}

function hasWord({ bare }: FileLayer, words: readonly string[]): boolean {
  const [, own] = parted(bare);
  return words.some((word) => own.includes(word));
}

/** So many means of different values are not all above 0 by chance: that is one file in 65,536. */
const MOST_CHANCE = 16;

/** Behind a ReLU no mean is below 0, behind a layer some of them are. */
function rectifiedIn(pairs: readonly Pair[], { norms }: Given): string | undefined {
  const above = new Set<number>();
  for (const [i, pair] of pairs.entries()) {
    const norm = norms[i];
    const mean = norm.tensors.get('running_mean')?.tensor;
    if (!('layer' in pair) || pair.by !== 'names' || !mean || isQuantised((mean as { dtype?: string }).dtype)) continue;
    for (const value of Array.from(mean.data)) {
      if (!(value >= 0)) return undefined;
      if (value > 0 && above.size < MOST_CHANCE) above.add(value);
    }
  }
  return above.size < MOST_CHANCE ? undefined : 'no running mean is below 0, as behind a ReLU';
}

/** Activations that have parameters, in the order of the file, by the module they lie in. */
function activationsIn({ layers }: Given): Map<string, FileLayer[]> {
  const found = new Map<string, FileLayer[]>();
  for (const layer of layers.values()) {
    const shape = shapeOf(layer);
    if (layer.tensors.size !== 1 || shape.length !== 1 || vectorOf(layer.bare, shape[0]) === 'norm') continue;
    const [parent] = parted(layer.bare);
    const list = found.get(parent) ?? [];
    list.push(layer);
    found.set(parent, list);
  }
  return found;
}

/**
 * The index of the first layer of a list, which is in the order of the file, that comes behind a
 * place in it.
 */
function firstBehind(list: readonly FileLayer[], at: number): number {
  let [from, to] = [0, list.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (list[middle].at > at) to = middle;
    else from = middle + 1;
  }
  return from;
}

/**
 * Are names in the order in which layers were made? The safetensors package sorts them by type and
 * name, which says nothing.
 */
export function isInOrder(tensors: ReadonlyMap<string, { readonly dtype: string }>): boolean {
  const last = new Map<string, string>();
  for (const [name, { dtype }] of tensors) {
    if (name < (last.get(dtype) ?? '')) return true;
    last.set(dtype, name);
  }
  return false;
}
