// TensorFlow.js: a model.json with the network and a manifest of weights, and the weights' bytes in
// shards.

import { malformed, show, wrongValue } from '../errors.ts';
import { checkRecord } from '../named-options.ts';
import { type Bytes, bytesFrom, concat, mostNamed, quote } from './bytes.ts';
import {
  bytesPerValue,
  type Coded,
  type Codes,
  decode,
  encode,
  littleEndian,
  type StoredTensor,
  type StoredTensors,
  type Values,
} from './dtypes.ts';
import { asRecord, type Json, parseJson } from './json.ts';
import { isScript, modelInScript } from './script.ts';
import { showPart } from './show-json.ts';

const FORMAT = 'TF.js';

/** What a TF.js model holds. */
export interface TfjsModel {
  /** Weights by name, under Keras' names for a layers model. */
  readonly tensors: StoredTensors;
  /** `modelTopology` of the model.json: what Keras calls the config; null where there is none. */
  readonly topology: Json;
  /** `signature` of the model.json: names of a graph model's inputs and outputs. */
  readonly signature?: Json;
}

const DTYPES: Readonly<Record<string, string>> = {
  float32: 'F32',
  int32: 'I32',
  bool: 'BOOL',
  uint8: 'U8',
  uint16: 'U16',
  float16: 'F16',
  complex64: 'C64',
  string: 'STRING',
};

/** How a weight is stored: as it is, as half floats, or as integers with a scale. */
interface Stored {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly scale: number;
  readonly min: number;
  /** Are numbers with a scale whole again? */
  readonly whole: boolean;
}

/**
 * Shards one after another, as their bytes lie in them, and weights that may begin in one and end
 * in another.
 */
class Shards {
  readonly #parts: readonly Uint8Array[];
  readonly #starts: readonly number[];
  readonly length: number;

  constructor(parts: readonly Uint8Array[]) {
    this.#parts = parts;
    let at = 0;
    this.#starts = parts.map(({ length }) => {
      at += length;
      return at - length;
    });
    this.length = at;
  }

  /** Bytes from one place to another, without a copy where they lie in one shard. */
  slice(from: number, to: number): Uint8Array {
    let first = 0;
    for (let last = this.#starts.length - 1; first < last; ) {
      const middle = (first + last + 1) >> 1;
      if (this.#starts[middle] <= from) first = middle;
      else last = middle - 1;
    }
    const start = this.#starts[first];
    if (to <= start + (this.#parts[first]?.length ?? 0)) return this.#parts[first].subarray(from - start, to - start);
    const found: Uint8Array[] = [];
    for (let i = first; i < this.#parts.length && this.#starts[i] < to; i++) {
      found.push(this.#parts[i].subarray(Math.max(from - this.#starts[i], 0), to - this.#starts[i]));
    }
    return concat(found);
  }
}

/**
 * The files that a model.json, or a weights_manifest.json, names, in order.
 *
 *     tfjsShards(await readFile('model.json'));   // ['group1-shard1of1.bin']
 *
 * @param model bytes of model.json or weights_manifest.json
 * @throws ERR_FORMAT for anything else
 */
export function tfjsShards(model: Bytes): string[] {
  return pathsOf(manifestOf(model));
}

function pathsOf({ groups }: Manifest): string[] {
  return groups.flatMap(({ paths }) => paths);
}

/** A model that is parsed once: the files that it names, and what it is with them. */
export function openTfjs(model: Bytes): { paths: string[]; read(shards: ShardFiles): TfjsModel } {
  const manifest = manifestOf(model);
  return { paths: pathsOf(manifest), read: (shards) => withShards(manifest, shards) };
}

/**
 * Reads a TF.js model: float32, float16 and quantised weights (uint8 and uint16 with scale and
 * minimum), integers and booleans. Texts and complex numbers are there by name and shape; their
 * `data` throws.
 *
 *     const model = readTfjs(json, { 'group1-shard1of1.bin': bytes });
 *
 * @param model model.json, or a weights_manifest.json
 * @param shards the other files, by the paths that the model gives them (`tfjsShards`)
 * @throws ERR_FORMAT: which part, and at which offset (of a group's bytes, for weights)
 */
export function readTfjs(
  model: Bytes,
  shards: ReadonlyMap<string, Bytes> | Readonly<Record<string, Bytes>>,
): TfjsModel {
  return withShards(manifestOf(model), shards);
}

function withShards({ topology, signature, groups }: Manifest, shards: ShardFiles): TfjsModel {
  const shardOf = (path: string): Uint8Array => {
    const given =
      shards instanceof Map
        ? shards.get(path)
        : Object.hasOwn(shards, path)
          ? (shards as Record<string, Bytes>)[path]
          : undefined;
    if (!given) throw malformed(FORMAT, `shard ${quote(path)}`, 'its bytes', 'none', 0);
    return bytesFrom(FORMAT, given);
  };
  const tensors = new Map<string, StoredTensor>();
  for (const { paths, weights } of groups) {
    const bytes = new Shards(paths.map(shardOf));
    let at = 0;
    for (const weight of weights) {
      const { name } = weight;
      if (tensors.has(name)) throw malformed(FORMAT, `weight ${quote(name)}`, 'each name once', 'it again', at);
      const size = sizeOf(weight, bytes, at);
      tensors.set(name, new TfjsTensor(weight, bytes.slice(at, at + size), at));
      at += size;
    }
    if (at !== bytes.length) throw malformed(FORMAT, 'shards', `${at} bytes`, `${bytes.length}`, at);
  }
  return { tensors, topology, ...(signature !== null && { signature }) };
}

/** The bytes of a weight that begins at some place. */
function sizeOf({ name, shape, dtype }: Stored, bytes: Shards, at: number): number {
  let count = dtype === 'STRING' ? 1 : bytesPerValue(dtype)!;
  for (const length of shape) {
    count *= length;
    if (!Number.isSafeInteger(count))
      throw malformed(FORMAT, `weight ${quote(name)}`, 'fewer than 2^53 bytes', show(shape), at);
  }
  const left = bytes.length - at;
  const size = dtype === 'STRING' ? textsSize(count, bytes, at) : count;
  if (size > left) throw malformed(FORMAT, `weight ${quote(name)}`, `${size} bytes`, `${left}`, at);
  return size;
}

/** Texts lie one after another, each behind its length: four bytes. */
function textsSize(count: number, bytes: Shards, at: number): number {
  const left = bytes.length - at;
  if (count * 4 > left) return count * 4;
  let size = 0;
  for (let i = 0; i < count; i++) {
    if (size + 4 > left) return size + 4;
    const [a, b, c, d] = bytes.slice(at + size, at + size + 4);
    size += 4 + a + (b << 8) + (c << 16) + d * 2 ** 24;
  }
  return size;
}

class TfjsTensor implements StoredTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly #weight: Stored;
  readonly #bytes: Uint8Array;
  /** Where it begins in the bytes of its group, for messages. */
  readonly #from: number;

  constructor(weight: Stored, bytes: Uint8Array, from: number) {
    this.dtype = isQuantised(weight) ? 'F32' : weight.dtype;
    this.shape = weight.shape;
    this.#weight = weight;
    this.#bytes = bytes;
    this.#from = from;
  }

  get data(): Values {
    const { name, dtype } = this.#weight;
    const codes = isQuantised(this.#weight) ? codesOf(dtype, this.#bytes) : undefined;
    const stored = codes ?? decode(FORMAT, name, dtype, this.#bytes, this.#from);
    if (!isQuantised(this.#weight)) return stored as Values;
    const values = new Float32Array(stored.length);
    this.#decode(stored as Codes, values);
    return values;
  }

  get coded(): Coded | undefined {
    const { dtype, scale, min, whole } = this.#weight;
    const codes = isQuantised(this.#weight) ? codesOf(dtype, this.#bytes) : undefined;
    if (!codes) return undefined;
    const ends = Float32Array.of(0, 2 ** (8 * codes.BYTES_PER_ELEMENT) - 1);
    this.#decode(ends, ends);
    const most = Math.max(Math.abs(ends[0]), Math.abs(ends[1]));
    const line = whole ? undefined : { scale, min };
    return { codes, line, most, decode: (from, values) => this.#decode(from, values) };
  }

  #decode(codes: Codes, values: Float32Array): void {
    const { scale, min, whole } = this.#weight;
    if (!whole) dequantise(codes, scale, min, values);
    else for (let i = 0; i < values.length; i++) values[i] = Math.round(codes[i] * scale + min);
  }
}

const isQuantised = ({ scale, min }: Stored) => scale !== 1 || min !== 0;

/** By itself, and of few kinds of arrays, so that it is soon compiled well: weights are many. */
function dequantise(codes: Codes, scale: number, min: number, values: Float32Array): void {
  for (let i = 0; i < values.length; i++) values[i] = codes[i] * scale + min;
}

/** Quantised numbers as they lie in the file, where this host reads them as they are. */
function codesOf(dtype: string, bytes: Uint8Array): Uint8Array | Uint16Array | undefined {
  if (dtype === 'U8') return bytes;
  return dtype === 'U16' && littleEndian() ? new Uint16Array(bytes.slice().buffer) : undefined;
}

type ShardFiles = ReadonlyMap<string, Bytes> | Readonly<Record<string, Bytes>>;

interface Manifest {
  readonly topology: Json;
  readonly signature: Json;
  readonly groups: readonly { readonly paths: readonly string[]; readonly weights: readonly Stored[] }[];
}

function manifestOf(model: Bytes): Manifest {
  const given = bytesFrom(FORMAT, model);
  const bytes = isScript(given) ? modelInScript(given) : given;
  if (!bytes) throw malformed(FORMAT, 'script', 'an object with modelTopology or weightsManifest', 'none', 0);
  const json = parseJson(FORMAT, 'model.json', bytes);
  const root = asRecord(json);
  const fail = (part: string, expected: string, got: Json | undefined) =>
    malformed(FORMAT, part, expected, showPart(got), 0);
  // weights without a network are a manifest alone
  const manifest = Array.isArray(json) ? json : root?.weightsManifest;
  if (!Array.isArray(manifest)) throw fail('model.json', 'a weightsManifest', manifest);
  const seen = new Set<string>();
  const most = mostNamed(bytes.length);
  let [files, count] = [0, 0];
  const groups = manifest.map((item) => {
    const group = asRecord(item);
    if (!group || !Array.isArray(group.paths) || !Array.isArray(group.weights)) {
      throw fail('weightsManifest', '{ paths, weights }', item);
    }
    files += group.paths.length;
    count += group.weights.length;
    if (files > most) throw fail('weightsManifest', `at most ${most} shards`, files);
    if (count > most) throw fail('weightsManifest', `at most ${most} weights`, count);
    for (const path of group.paths) {
      if (typeof path !== 'string') throw fail('weightsManifest', 'paths', group.paths);
      const place = path
        .split(/[/\\]+/)
        .filter((part) => part !== '.')
        .join('/');
      if (seen.has(place)) throw fail('weightsManifest', 'each shard once', path);
      seen.add(place);
    }
    return { paths: group.paths as string[], weights: group.weights.map(storedOf) };
  });
  const signature = root?.signature ?? asRecord(root?.userDefinedMetadata)?.signature ?? null;
  return { topology: root?.modelTopology ?? null, signature, groups };
}

function storedOf(json: Json): Stored {
  const weight = asRecord(json);
  const name = weight?.name;
  const fail = (expected: string, got: Json | undefined) =>
    malformed(FORMAT, typeof name === 'string' ? `weight ${quote(name)}` : 'weight', expected, showPart(got), 0);
  if (!weight || typeof name !== 'string') throw fail('{ name, shape, dtype }', json);
  const { shape, dtype } = weight;
  if (!Array.isArray(shape) || !shape.every((length) => Number.isSafeInteger(length) && (length as number) >= 0)) {
    throw fail('a shape of whole numbers', shape);
  }
  const quantization = weight.quantization === undefined ? undefined : asRecord(weight.quantization);
  if (weight.quantization !== undefined && !quantization) throw fail('quantization as { dtype }', weight.quantization);
  const stored = quantization ? quantization.dtype : dtype;
  if (typeof stored !== 'string' || !Object.hasOwn(DTYPES, stored)) {
    throw fail(`a type among ${Object.keys(DTYPES).join(', ')}`, stored);
  }
  const { scale = 1, min = 0 } = quantization ?? {};
  if (typeof scale !== 'number' || typeof min !== 'number') throw fail('numbers as scale and min', [scale, min]);
  return { name, shape: shape as number[], dtype: DTYPES[stored], scale, min, whole: dtype === 'int32' };
}

/**
 * Writes weights as TF.js keeps them: a model.json and one shard, float32.
 *
 *     const files = writeTfjs(toTfjs(net.stateDict()));   // 'model.json' and 'weights.bin'
 *
 * @param topology the network as Keras describes it, if it is to be loaded as a layers model
 * @param name of the shard, without `.bin`
 * @throws ERR_SHAPE where shape and values differ
 */
export function writeTfjs(
  tensors: ReadonlyMap<string, { data: ArrayLike<number>; shape: readonly number[] }>,
  topology: unknown = null,
  name = 'group1-shard1of1',
): Map<string, Uint8Array<ArrayBuffer>> {
  checkRecord(FORMAT, tensors);
  const shard = `${name}.bin`;
  const weights = [...tensors].map(([name, { data, shape }]) => {
    const count = shape.reduce((product, length) => product * length, 1);
    if (count !== data.length) {
      throw wrongValue('ERR_SHAPE', FORMAT, `weight ${quote(name)}`, `${count} values`, `${data.length}`);
    }
    return { name, shape, dtype: 'float32' };
  });
  const model = {
    format: 'layers-model',
    generatedBy: 'evenkeel',
    convertedBy: null,
    modelTopology: topology,
    weightsManifest: [{ paths: [shard], weights }],
  };
  return new Map([
    ['model.json', new TextEncoder().encode(JSON.stringify(model)) as Uint8Array<ArrayBuffer>],
    [shard, concat([...tensors.values()].map(({ data }) => encode(data, 'F32')))],
  ]);
}
