// What all importers share: foreign names taken apart into a layer's name and a tensor's, and what
// comes of them.

import { show, wrongKind, wrongValue } from '../errors.ts';
import { quote, quoteSome } from '../formats/bytes.ts';
import type { StoredTensor, Values } from '../formats/dtypes.ts';
import type { Layer } from '../layers/layer.ts';
import { checkNames } from '../named-options.ts';
import type { BatchNormOptions } from '../norms/options.ts';
import type { StateDict, StateEntry } from '../types.ts';
import { joined, parted } from './names.ts';
import { normsIn, type StoredNorm } from './stored-norms.ts';

/** A tensor under somebody's name: of a file that was read, or any values with a shape. */
export type Foreign =
  | StoredTensor
  | {
      /** Values, row-major. */
      readonly data: ArrayLike<number>;
      /** Length of each axis, outermost first. */
      readonly shape: readonly number[];
    };

/** A file that was read. What its metadata says of norms counts as read. */
export interface ForeignFile {
  /** Tensors by name. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** Texts by name, as a safetensors file has them. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** Tensors by name, or a file of them. */
export type ForeignTensors = ReadonlyMap<string, Foreign> | Readonly<Record<string, Foreign>> | ForeignFile;

/** Options of a norm that a file may say or leave out. */
export type NormOption = 'eps' | 'momentum' | 'runningVariance' | 'layout';

const NORM_OPTIONS: readonly NormOption[] = ['eps', 'momentum', 'runningVariance', 'layout'];

/** Foreign weights in our names. */
export interface Imported {
  /** For `loadStateDict`: `fc1.weight`, `bn1.gamma`, `bn1.runningMean` … */
  readonly state: StateDict;
  /**
   * By the name of each batch norm: eps, momentum, variance estimator and layout as that framework
   * has them, for the constructor.
   */
  readonly norms: Readonly<Record<string, BatchNormOptions>>;
  /**
   * By the name of each batch norm: the options in `norms` that the file does not say, and that are
   * the framework's defaults.
   */
  readonly assumed: Readonly<Record<string, readonly NormOption[]>>;
  /**
   * By the name of each layer whose `weight` was a depthwise kernel: outputs for each input, which
   * its shape does not say.
   */
  readonly multipliers?: Readonly<Record<string, number>>;
  /**
   * Names of layers that run in training mode in the file, whoever calls the network, if there are
   * any: batch norms that take each batch's own statistics, dropout that drops. `loadSequential`
   * refuses them.
   */
  readonly training?: readonly string[];
  /** Names in the file that no entry of `state` came from. */
  readonly unused: readonly string[];
  /**
   * Names that should be there and are not: of `layer`, if one was given; of a norm without
   * statistics.
   */
  readonly missing: readonly string[];
  /**
   * Options in which the file and `layer`'s norms differ, in sentences: with another eps the same
   * weights give other results.
   */
  readonly differences: readonly string[];
}

/** Options of `fromTorch`, `fromKeras`, `fromTfjs`, `fromFlax` and `fromOnnx`. */
export interface ImportOptions {
  /** What the weights are for: its state dict says which names and shapes are needed. */
  layer?: Layer;
  /** Foreign layer names and ours: `{ fc1: '0', bn1: '1' }`. Default: as they are. */
  rename?: Readonly<Record<string, string>>;
  /** `true`: gammas and betas may be NaN or infinite. Default `false`. */
  allowNonFinite?: boolean;
  /**
   * `true`: statistics are taken as they are, to look for what is wrong with them. Default `false`.
   */
  lenient?: boolean;
}

/** Checks that something is a tensor, without looking at its values. */
export function checkTensor(subject: string, name: string, tensor: unknown): void {
  const { shape } = (tensor ?? {}) as { shape?: unknown };
  if (typeof tensor !== 'object' || !Array.isArray(shape) || !('data' in tensor!)) {
    throw wrongKind('ERR_TYPE', subject, quote(name), '{ data, shape }', show(tensor));
  }
}

/** Tensors of one layer by their last name. */
export interface Group {
  readonly name: string;
  readonly tensors: Leaves;
}

export interface Leaf {
  readonly full: string;
  readonly tensor: Foreign;
}

/** A layer has a handful of tensors; more are looked up in a table. */
const HANDFUL = 8;
/** Last names that are kept once each. */
const MANY_LEAVES = 64;

/**
 * Tensors of one layer by their last name, in the order of the file. A handful of them stand side
 * by side: a Map for each layer would cost five times as much.
 */
export class Leaves {
  readonly #leaf: string;
  readonly #full: string;
  readonly #tensor: Foreign;
  /**
   * Last name, whole name and tensor of each but the first; all of them in a table, where they are
   * more than a handful.
   */
  #others: readonly unknown[] | Map<string, Leaf> = NONE;

  constructor(leaf: string, full: string, tensor: Foreign) {
    this.#leaf = leaf;
    this.#full = full;
    this.#tensor = tensor;
  }

  get size(): number {
    return this.#others instanceof Map ? this.#others.size : 1 + this.#others.length / 3;
  }

  has(leaf: string): boolean {
    return this.get(leaf) !== undefined;
  }

  get(leaf: string): Leaf | undefined {
    const others = this.#others;
    if (others instanceof Map) return others.get(leaf);
    if (leaf === this.#leaf) return { full: this.#full, tensor: this.#tensor };
    for (let at = 0; at < others.length; at += 3) if (others[at] === leaf) return leafAt(others, at);
    return undefined;
  }

  /** What comes twice is not lost: it keeps its whole name, and nobody knows it. */
  add(leaf: string, full: string, tensor: Foreign): void {
    const name = this.has(leaf) ? full : leaf;
    const others = this.#others;
    if (others instanceof Map) others.set(name, { full, tensor });
    else if (this.size < HANDFUL) this.#others = [...others, name, full, tensor];
    else this.#others = new Map([...this, [name, { full, tensor }]]);
  }

  *[Symbol.iterator](): IterableIterator<[string, Leaf]> {
    const others = this.#others;
    if (others instanceof Map) return yield* others;
    yield [this.#leaf, { full: this.#full, tensor: this.#tensor }];
    for (let at = 0; at < others.length; at += 3) yield [others[at] as string, leafAt(others, at)];
  }

  *keys(): IterableIterator<string> {
    for (const [leaf] of this) yield leaf;
  }

  *values(): IterableIterator<Leaf> {
    for (const [, found] of this) yield found;
  }
}

function leafAt(items: readonly unknown[], at: number): Leaf {
  return { full: items[at + 1] as string, tensor: items[at + 2] as Foreign };
}

const NONE: readonly unknown[] = [];

export function entriesOf(subject: string, given: ForeignTensors): (readonly [string, Foreign])[] {
  // a file that was read, with its tensors in it
  const inner = given && !(given instanceof Map) ? (given as { tensors?: unknown }).tensors : undefined;
  const tensors = inner instanceof Map ? (inner as ForeignTensors) : given;
  if (tensors instanceof Map) return [...tensors];
  if (typeof tensors !== 'object' || tensors === null) {
    throw wrongKind('ERR_TYPE', subject, 'tensors', 'a Map or a record of tensors', show(tensors));
  }
  return Object.entries(tensors);
}

/**
 * Puts tensors together by layer; `split` takes a name apart, `make` makes what is kept of a layer.
 */
export function groupsOf<G extends { readonly tensors: Leaves } = Group>(
  entries: Iterable<readonly [string, Foreign]>,
  split: (name: string) => readonly [layer: string, leaf: string],
  make: (name: string, leaf: string, full: string, tensor: Foreign, at: number) => G = (name, ...first) =>
    ({ name, tensors: new Leaves(first[0], first[1], first[2]) }) as never,
): Map<string, G> {
  const groups = new Map<string, G>();
  const names = new Map<string, string>();
  for (const [full, tensor] of entries) {
    const [name, last] = split(full);
    const leaf = names.get(last) ?? last;
    // few names come again and again
    if (names.size < MANY_LEAVES) names.set(leaf, leaf);
    const group = groups.get(name);
    if (group) group.tensors.add(leaf, full, tensor);
    else groups.set(name, make(name, leaf, full, tensor, groups.size));
  }
  return groups;
}

/** What values of a norm may be, in our words. */
const SOUND: ReadonlyMap<string, readonly [(value: number) => boolean, string]> = /* @__PURE__ */ new Map<
  string,
  readonly [(value: number) => boolean, string]
>([
  ['runningVar', [(value) => value >= 0 && value < Number.POSITIVE_INFINITY, 'finite variances of 0 or more']],
  ['runningMean', [Number.isFinite, 'finite means']],
  ['batchesTracked', [(value) => Number.isSafeInteger(value) && value >= 0, 'a whole number of 0 or more']],
  ['gamma', [Number.isFinite, 'finite values']],
  ['beta', [Number.isFinite, 'finite values']],
]);

/** The first of a norm's values that it cannot have; −1 where all are as they may be. */
export function unsoundAt(ours: string, data: ArrayLike<number>): number {
  const [test] = SOUND.get(ours) ?? [];
  if (test) for (let i = 0; i < data.length; i++) if (!test(data[i])) return i;
  return -1;
}

/** Gathers an import, name by name. */
export class Collector {
  readonly #subject: string;
  readonly #options: ImportOptions;
  readonly #state = new Map<string, StateEntry>();
  readonly #norms = new Map<string, { readonly options: BatchNormOptions; readonly stated: readonly NormOption[] }>();
  readonly #multipliers = new Map<string, number>();
  readonly #unused: string[] = [];
  readonly #missing: string[] = [];
  readonly #training = new Set<string>();
  /** Foreign names of layers. */
  readonly #seen = new Set<string>();
  /** Foreign name of each of ours. */
  readonly #origin = new Map<string, string>();

  /** Options that the metadata of a safetensors file say, by foreign name. */
  readonly #said: ReturnType<typeof normsIn>;
  /** Foreign names of layers, by ours. */
  readonly #theirs = new Map<string, string>();

  /** @param file what is imported: its metadata may say options of norms */
  constructor(subject: string, options: ImportOptions, file?: object) {
    checkNames(subject, options, ['layer', 'rename', 'allowNonFinite', 'lenient']);
    this.#subject = subject;
    this.#options = options;
    const { tensors, metadata } = (file ?? {}) as { tensors?: unknown; metadata?: Readonly<Record<string, string>> };
    this.#said = tensors instanceof Map && metadata ? normsIn(metadata) : {};
  }

  /** Is it for a layer, which says what it needs? */
  get isForLayer(): boolean {
    return this.#options.layer !== undefined;
  }

  /** A layer's name in our network. */
  rename(layer: string): string {
    const { rename } = this.#options;
    this.#seen.add(layer);
    const ours = rename && Object.hasOwn(rename, layer) ? rename[layer] : layer;
    this.#theirs.set(ours, layer);
    return ours;
  }

  /** Takes a tensor. `change` sees its values, and gives others with their shape. */
  take(
    full: string,
    tensor: Foreign,
    layer: string,
    ours: string,
    change?: (values: Values, shape: readonly number[]) => { data: Values; shape: readonly number[] },
  ): void {
    const name = joined(layer, ours);
    checkTensor(this.#subject, full, tensor);
    // a file's tensor decodes its data each time it is asked
    const { shape, data: stored } = tensor;
    const data = stored instanceof Float64Array ? stored : new Float32Array(stored);
    const count = shape.reduce((product, length) => product * length, 1);
    if (data.length !== count) throw this.#wrong(full, `${count} values for shape ${show(shape)}`, `${data.length}`);
    const entry = change ? change(data as Values, shape) : { data, shape };
    this.#check(full, ours, entry.data);
    if (this.#state.has(name))
      throw this.#wrong(full, `a name of its own`, `${quote(name)}, as ${quote(this.#origin.get(name)!)}`);
    this.#origin.set(name, full);
    this.#state.set(name, entry);
  }

  /** What a file may not say of a batch norm. */
  #check(full: string, ours: string, data: Values): void {
    if (this.#options.lenient) return;
    if (this.#options.allowNonFinite && (ours === 'gamma' || ours === 'beta')) return;
    const at = unsoundAt(ours, data);
    if (at >= 0) throw this.#wrong(full, SOUND.get(ours)![1], `${data[at]} at ${at}`);
  }

  #wrong(full: string, expected: string, got: string): Error {
    return wrongValue('ERR_STATE', this.#subject, quote(full), expected, got);
  }

  /**
   * A batch norm and the options it was trained with. `stated`: those that the file says; the
   * others are defaults.
   */
  norm(layer: string, options: BatchNormOptions, stated: 'all' | readonly NormOption[]): void {
    const foreign = this.#theirs.get(layer) ?? layer;
    const said: StoredNorm = Object.hasOwn(this.#said, foreign) ? this.#said[foreign] : {};
    const { training, ...own } = said;
    const more = Object.keys(own) as NormOption[];
    const read = stated === 'all' ? NORM_OPTIONS : more.length ? [...stated, ...more] : stated;
    this.#norms.set(layer, { options: { ...options, ...own }, stated: read });
    if (training) this.#training.add(layer);
  }

  /** A depthwise kernel: as our weight it has its inputs and their outputs in one axis. */
  multiplier(layer: string, outputs: number): void {
    this.#multipliers.set(layer, outputs);
  }

  /** A layer that runs in training mode, by its foreign name. */
  training(foreign: string): void {
    const { rename } = this.#options;
    this.#training.add(rename && Object.hasOwn(rename, foreign) ? rename[foreign] : foreign);
  }

  unused(full: string): void {
    this.#unused.push(full);
  }

  missing(name: string): void {
    this.#missing.push(name);
  }

  /** The result: for `layer`, if there is one, just what it needs. */
  finish(): Imported {
    const { layer, rename = {} } = this.#options;
    const unknown = Object.keys(rename).find((name) => !this.#seen.has(name));
    if (unknown !== undefined) {
      throw wrongValue(
        'ERR_OPTION',
        this.#subject,
        'rename',
        `layers of the file: ${quoteSome([...this.#seen])}`,
        quote(unknown),
      );
    }
    // nobody but PyTorch counts batches, and PyTorch only since 0.4.1
    for (const name of this.#norms.keys()) {
      const counter = joined(name, 'batchesTracked');
      if (this.#state.has(joined(name, 'runningMean')) && !this.#state.has(counter)) {
        this.#state.set(counter, { data: new Float64Array(1), shape: [] });
      }
    }
    if (layer) {
      const needed = layer.stateDict();
      this.#checkNames(needed);
      this.#fit(needed);
    }
    return {
      state: Object.fromEntries(this.#state),
      norms: Object.fromEntries([...this.#norms].map(([name, { options }]) => [name, options])),
      assumed: this.#assumed(),
      ...(this.#multipliers.size && { multipliers: Object.fromEntries(this.#multipliers) }),
      ...(this.#training.size && { training: [...this.#training] }),
      unused: this.#unused,
      missing: this.#missing,
      differences: this.#differences(),
    };
  }

  #assumed(): Record<string, NormOption[]> {
    const guesses = [...this.#norms].map(
      ([name, { stated }]) => [name, NORM_OPTIONS.filter((option) => !stated.includes(option))] as const,
    );
    return Object.fromEntries(guesses.filter(([, options]) => options.length > 0));
  }

  #differences(): string[] {
    const layers = new Map(this.#options.layer?.named());
    return [...this.#norms].flatMap(([name, { options, stated }]) => {
      // by its looks, so that who reads weights does not carry the layers
      const { options: ours, subject } = (layers.get(name) ?? {}) as { options?: BatchNormOptions; subject?: string };
      if (!ours) return [];
      const label = name || subject;
      const training = this.#training.has(name)
        ? [`${label}: training mode there, running statistics here in evaluation`]
        : [];
      const sentences = stated
        .filter(
          (option) => options[option] !== ours[option] && !(option === 'layout' && subject?.startsWith('BatchNorm1d')),
        )
        .map((option) => `${label}: ${option} is ${options[option]} there, ${ours[option]} here`);
      return [...training, ...sentences];
    });
  }

  /** Where not one layer has the name of one of `layer`'s, names are what is wrong. */
  #checkNames(needed: StateDict): void {
    const layersIn = (names: Iterable<string>) => [...new Set(Array.from(names, (name) => parted(name)[0]))];
    const [wanted, given] = [layersIn(Object.keys(needed)), layersIn(this.#origin.keys())];
    if (!wanted.length || !given.length || given.some((name) => wanted.includes(name))) return;
    const theirs = given.map((name) => this.#theirs.get(name) ?? name);
    throw wrongValue(
      'ERR_STATE',
      this.#subject,
      'names of layers',
      quoteSome(wanted),
      quoteSome(theirs),
      `rename: { ${quote(theirs[0])}: ${quote(wanted[0])}, … } says which is which`,
    );
  }

  #fit(needed: StateDict): void {
    for (const name of [...this.#state.keys()]) {
      if (Object.hasOwn(needed, name)) continue;
      this.#state.delete(name);
      const origin = this.#origin.get(name);
      if (origin) this.#unused.push(origin);
    }
    for (const [name, { shape, data }] of Object.entries(needed)) {
      const entry = this.#state.get(name);
      if (!entry) {
        if (name.endsWith('batchesTracked')) this.#state.set(name, { data: new Float64Array(data.length), shape });
        else this.#missing.push(name);
      } else if (entry.shape.join() !== shape.join()) {
        throw this.#wrong(this.#origin.get(name) ?? name, `shape ${show(shape)} for ${name}`, show(entry.shape));
      }
    }
  }
}
