// Keras' config as a graph: which layers are called on what. What layers are stands in
// keras-config.ts.

import { malformed } from '../errors.ts';
import { quote } from '../formats/bytes.ts';
import { asRecord, type Json } from '../formats/json.ts';
import { showJson } from '../formats/show-json.ts';
import { listOf } from './keras-config.ts';

type Config = { readonly [key: string]: Json };

/** An output of a call: the layer, which of its calls, which of the call's outputs. */
export interface Ref {
  readonly layer: string;
  readonly node: number;
  readonly tensor: number;
}

/** What a call is given: values of the network, constants, lists and records of these. */
export type Argument =
  | { readonly ref: Ref }
  | { readonly constant: Json }
  | { readonly list: readonly Argument[] }
  | { readonly record: Readonly<Record<string, Argument>> };

/** A call of a layer. */
export interface KerasNode {
  readonly args: readonly Argument[];
  readonly kwargs: Readonly<Record<string, Argument>>;
  /** Are arguments as they were given, as Keras 3 writes them, or all tensors one by one? */
  readonly isNew: boolean;
}

/** A layer of a network, with its calls. */
export interface KerasEntry {
  /** Its own name. */
  readonly name: string;
  readonly className: string;
  readonly config: Config;
  /** Where the class lies, as Keras 3 says it: `keras.layers`, `keras.src.ops.numpy`. */
  readonly module: string | undefined;
  /** Calls in their order; none in a Sequential. */
  readonly nodes: readonly KerasNode[];
  /** The network that it is, where it is one. */
  readonly network: KerasModel | undefined;
  /** Layers of one number are one object, in whatever network they stand. */
  readonly sharedId: number | undefined;
}

/** A network of a config. */
export interface KerasModel {
  readonly name: string;
  /** Is each layer called on what the one before gives? */
  readonly isChain: boolean;
  readonly entries: readonly KerasEntry[];
  readonly byName: ReadonlyMap<string, KerasEntry>;
  readonly inputs: readonly Ref[];
  readonly outputs: readonly { readonly name: string; readonly ref: Ref }[];
  /** Shape of a chain's input, where the config says it. */
  readonly inputShape: Json | undefined;
}

const DEEPEST = 16;

/** Classes that are chains, and those that are graphs. */
const CHAIN = /(?:^|>)Sequential$/;

/** Is it a config of a network, with layers? */
export function isModel(json: Json | undefined): boolean {
  return json !== undefined && listOf(json) !== undefined;
}

/** Reads a config. Throws ERR_FORMAT. */
export function modelFrom(format: string, json: Json, depth = 0): KerasModel {
  const list = listOf(json);
  const record = asRecord(json);
  const config: Config = asRecord(record?.config) ?? {};
  const fail = (part: string, expected: string, got: Json | undefined) =>
    malformed(format, part, expected, showJson(got), 0);
  if (!list) throw fail('config', 'a network with layers', json);
  if (depth > DEEPEST) throw malformed(format, 'config', `at most ${DEEPEST} levels`, 'more', 0);
  const className = typeof record?.class_name === 'string' ? record.class_name : 'Sequential';
  const byName = new Map<string, KerasEntry>();
  const isChain = CHAIN.test(className) || (config.input_layers === undefined && config.output_layers === undefined);
  const names = new Set<string>();
  for (const item of list) {
    const own = asRecord(asRecord(item)?.config)?.name ?? asRecord(item)?.name;
    if (typeof own === 'string') names.add(own);
  }
  let isNew = false;
  const read = list.map((item) => {
    const entry = asRecord(item);
    const inner = asRecord(entry?.config);
    const name = inner?.name ?? entry?.name;
    // a list of layers stands for a network's config in older files
    const isList = Array.isArray(entry?.config);
    if (!entry || !(inner || isList) || typeof entry.class_name !== 'string' || typeof name !== 'string') {
      throw fail('config', 'layers as { class_name, config: { name } }', item);
    }
    if (byName.has(name)) throw malformed(format, `layer ${quote(name)}`, 'a name of its own', 'it again', 0);
    const made: KerasEntry = {
      name,
      className: entry.class_name,
      config: inner ? unwrapped(inner) : {},
      module: typeof entry.module === 'string' ? entry.module : undefined,
      nodes: isChain ? [] : nodesOf(format, name, entry.inbound_nodes ?? [], names),
      network: listOf(entry) ? modelFrom(format, entry, depth + 1) : undefined,
      sharedId: typeof entry.shared_object_id === 'number' ? entry.shared_object_id : undefined,
    };
    byName.set(name, made);
    isNew ||= isNewStyle(entry.inbound_nodes);
    return made;
  });
  const name = typeof config.name === 'string' ? config.name : 'model';
  if (isChain) {
    const inputShape = config.build_input_shape ?? undefined;
    return { name, isChain, entries: read, byName, inputs: [], outputs: [], inputShape };
  }
  const refs = (part: string, given: Json | undefined) => {
    const found = namedRefs(given ?? null, names);
    if (found.length === 0) throw fail(part, 'layers as [name, node, tensor]', given);
    return found;
  };
  const inputs = refs('input_layers', config.input_layers).map(({ ref }) => ref);
  const outputs = refs('output_layers', config.output_layers);
  const counts = new Counts(byName, read, outputs, isNew);
  const entries = read.map((entry) => ({ ...entry, nodes: entry.nodes.map((node) => counts.inNode(node)) }));
  for (const entry of entries) byName.set(entry.name, entry);
  return {
    name,
    isChain,
    entries,
    byName,
    inputs,
    outputs: outputs.map(({ name: own, ref }) => ({ name: own, ref: counts.ofOutput(ref) })),
    inputShape: undefined,
  };
}

/** Are calls written with args and kwargs, as Keras 3 writes them? */
function isNewStyle(nodes: Json | undefined): boolean {
  return Array.isArray(nodes) && nodes.some((node) => asRecord(node)?.args !== undefined);
}

/**
 * Numbers of calls. Networks are written as if they had been called once before: by Keras 2
 * everywhere, by Keras 3 among the outputs alone, and there not for a Sequential.
 */
class Counts {
  readonly #byName: ReadonlyMap<string, KerasEntry>;
  readonly #isNew: boolean;
  /** Networks whose calls are counted from 1. */
  readonly #shifted = new Set<string>();

  constructor(
    byName: ReadonlyMap<string, KerasEntry>,
    entries: readonly KerasEntry[],
    outputs: readonly { readonly ref: Ref }[],
    isNew: boolean,
  ) {
    this.#byName = byName;
    this.#isNew = isNew;
    if (isNew) return;
    const refs = [...entries.flatMap(({ nodes }) => nodes.flatMap(refsOf)), ...outputs.map(({ ref }) => ref)];
    const seen = new Map<string, number[]>();
    for (const { layer, node } of refs) {
      if (!byName.get(layer)?.network) continue;
      const list = seen.get(layer);
      if (list) list.push(node);
      else seen.set(layer, [node]);
    }
    for (const [layer, list] of seen) if (list.every((node) => node >= 1)) this.#shifted.add(layer);
  }

  inNode({ args, kwargs, isNew }: KerasNode): KerasNode {
    const inArgument = (one: Argument): Argument => {
      if ('ref' in one) return { ref: this.#of(one.ref, this.#shifted.has(one.ref.layer)) };
      if ('list' in one) return { list: one.list.map(inArgument) };
      return 'record' in one ? { record: mapped(one.record, inArgument) } : one;
    };
    return { args: args.map(inArgument), kwargs: mapped(kwargs, inArgument), isNew };
  }

  ofOutput(ref: Ref): Ref {
    const network = this.#byName.get(ref.layer)?.network;
    const isShifted = this.#isNew ? network !== undefined && !network.isChain : this.#shifted.has(ref.layer);
    return this.#of(ref, isShifted);
  }

  #of(ref: Ref, isShifted: boolean): Ref {
    return isShifted && ref.node > 0 ? { ...ref, node: ref.node - 1 } : ref;
  }
}

const mapped = <A, B>(record: Readonly<Record<string, A>>, of: (one: A) => B): Record<string, B> =>
  Object.fromEntries(Object.entries(record).map(([key, one]) => [key, of(one)]));

/** All references of a call. */
export const refsOf = ({ args, kwargs }: KerasNode): Ref[] => [...args, ...Object.values(kwargs)].flatMap(refsIn);

/** Settings with tuples as lists, which Keras writes as records in places. */
export function unwrapped(config: Config): Config {
  let found: Record<string, Json> | undefined;
  for (const [key, value] of Object.entries(config)) {
    const one = key === 'layers' ? value : listFrom(value, 0);
    if (one === value) continue;
    found ??= { ...config };
    found[key] = one;
  }
  return found ?? config;
}

const TUPLES = ['__tuple__', 'TensorShape', '__tensor_shape__'];

function listFrom(value: Json, depth: number): Json {
  if (depth > 4) return value;
  if (Array.isArray(value))
    return value.some((one) => asRecord(one)) ? value.map((one) => listFrom(one, depth + 1)) : value;
  const record = asRecord(value);
  if (!record || typeof record.class_name !== 'string' || !TUPLES.includes(record.class_name)) return value;
  const items = record.items ?? record.config;
  return Array.isArray(items) ? items.map((one) => listFrom(one, depth + 1)) : value;
}

/** `[name, node, tensor]`, lists and records of these; names are keys, or those of layers. */
function namedRefs(json: Json, names: ReadonlySet<string>): { name: string; ref: Ref }[] {
  const found: { name: string; ref: Ref }[] = [];
  const walk = (value: Json, key: string | undefined, depth: number) => {
    const ref = refOf(value, names);
    if (ref) found.push({ name: key ?? ref.layer, ref });
    else if (depth < DEEPEST) {
      if (Array.isArray(value)) for (const one of value) walk(one, key, depth + 1);
      else for (const [name, one] of Object.entries(asRecord(value) ?? {})) walk(one, name, depth + 1);
    }
  };
  walk(json, undefined, 0);
  return found;
}

const isIndex = (value: Json | undefined): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

function refOf(json: Json, names: ReadonlySet<string>): Ref | undefined {
  if (!Array.isArray(json)) return undefined;
  const [layer, node, tensor] = json;
  if (typeof layer !== 'string' || !isIndex(node) || !isIndex(tensor)) return undefined;
  return names.has(layer) || json.length <= 4 ? { layer, node, tensor } : undefined;
}

function nodesOf(format: string, name: string, json: Json, names: ReadonlySet<string>): KerasNode[] {
  if (!Array.isArray(json)) {
    throw malformed(format, `layer ${quote(name)}`, 'a list as inbound_nodes', showJson(json), 0);
  }
  return json.map((node) => {
    const record = asRecord(node);
    if (record && ('args' in record || 'kwargs' in record)) {
      const { args = [], kwargs = {} } = record;
      const list = Array.isArray(args) ? args : [args];
      return {
        args: list.map((one) => argumentOf(one, names, 0)),
        kwargs: recordOf(asRecord(kwargs) ?? {}, names, 0),
        isNew: true,
      };
    }
    return oldNode(node, names);
  });
}

/** Keras 3: tensors as records with their history. */
function argumentOf(json: Json, names: ReadonlySet<string>, depth: number): Argument {
  if (depth > DEEPEST) return { constant: json };
  if (Array.isArray(json)) return { list: json.map((one) => argumentOf(one, names, depth + 1)) };
  const record = asRecord(json);
  if (!record) return { constant: json };
  if (record.class_name === '__keras_tensor__') {
    const ref = refOf(asRecord(record.config)?.keras_history ?? null, names);
    if (ref) return { ref };
  }
  if ('class_name' in record) return { constant: json };
  return { record: recordOf(record, names, depth + 1) };
}

function recordOf(record: Config, names: ReadonlySet<string>, depth: number): Record<string, Argument> {
  return Object.fromEntries(Object.entries(record).map(([key, one]) => [key, argumentOf(one, names, depth)]));
}

/**
 * tf.keras and TF.js: a call is a list of `[name, node, tensor, kwargs]`, or one of these by
 * itself, or a record of them.
 */
function oldNode(json: Json, names: ReadonlySet<string>): KerasNode {
  const kwargs: Record<string, Argument> = {};
  const walk = (value: Json, depth: number): Argument => {
    if (depth > DEEPEST) return { constant: value };
    if (Array.isArray(value)) {
      if (value[0] === '_CONSTANT_VALUE' && value[1] === -1) {
        keep(value[3]);
        return { constant: value[2] ?? null };
      }
      const ref = refOf(value, names);
      if (!ref) return { list: value.map((one) => walk(one, depth + 1)) };
      keep(value[3]);
      return { ref };
    }
    const record = asRecord(value);
    if (!record) return { constant: value };
    return { record: Object.fromEntries(Object.entries(record).map(([key, one]) => [key, walk(one, depth + 1)])) };
  };
  const keep = (given: Json | undefined) => {
    for (const [key, one] of Object.entries(asRecord(given ?? null) ?? {})) {
      const ref = isNamed(one, names) ? refOf(one, names) : undefined;
      kwargs[key] = ref ? { ref } : withRefs(one, names);
    }
  };
  const first = walk(json, 0);
  // a single call written as a list of one
  const args = 'list' in first ? first.list : [first];
  return { args, kwargs, isNew: false };
}

/** Does a list begin with the name of a layer? */
const isNamed = (json: Json, names: ReadonlySet<string>) =>
  Array.isArray(json) && typeof json[0] === 'string' && names.has(json[0]);

/** Lists of references inside of arguments by name. */
function withRefs(json: Json, names: ReadonlySet<string>): Argument {
  if (!Array.isArray(json) || json.length === 0) return { constant: json };
  const refs = json.map((one) => (isNamed(one, names) ? refOf(one, names) : undefined));
  return refs.every((one) => one !== undefined) ? { list: refs.map((ref) => ({ ref: ref! })) } : { constant: json };
}

/** The references in an argument, in their order. */
export function refsIn(argument: Argument): Ref[] {
  if ('ref' in argument) return [argument.ref];
  if ('list' in argument) return argument.list.flatMap(refsIn);
  return 'record' in argument ? Object.values(argument.record).flatMap(refsIn) : [];
}
