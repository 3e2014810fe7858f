// safetensors (github.com/huggingface/safetensors): eight bytes of length, a header in JSON, and
// the tensors' bytes, which must lie side by side and fill the rest.

import { malformed, show, wrongKind, wrongValue } from '../errors.ts';
import { checkNames } from '../named-options.ts';
import { ByteReader, type Bytes, bytesFrom, concat, mostNamed, quote } from './bytes.ts';
import { bytesPerValue, decode, encode, isWritable, naturalType, type StoredTensor, type Values } from './dtypes.ts';
import { asRecord, type Json, parseJson } from './json.ts';
import { type Recognized, recognize } from './recognize.ts';
import { showPart } from './show-json.ts';

const FORMAT = 'safetensors';
/** Longer headers are refused: the reference stops at 100 MB, which nobody needs. */
const LONGEST_HEADER = 16 << 20;
/** Tensors that any file may have, however small they are. */
const FEW_TENSORS = 3 << 14;
const MOST_AXES = 1 << 13;

/** A tensor of a safetensors file, with the bytes it is read from. */
export interface RawTensor extends StoredTensor {
  /** A view of the file. */
  readonly bytes: Uint8Array;
}

/** What a safetensors file holds. */
export interface SafetensorsFile {
  /** In the order of their bytes. */
  readonly tensors: ReadonlyMap<string, RawTensor>;
  /** Texts by name (`__metadata__`); `{}` where there are none. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** Options of `readSafetensors`. */
export interface SafetensorsOptions {
  /**
   * Of an index (`model.safetensors.index.json`): the files that it names (`safetensorsShards`), by
   * name.
   */
  files?: ReadonlyMap<string, Bytes> | Readonly<Record<string, Bytes>>;
}

/**
 * Reads a safetensors file, or an index and its shards as one. F64, F32, F16, BF16, booleans and
 * integers below 2⁵³ can be read; a tensor of another type throws only when its `data` is read.
 *
 *     const { tensors } = readSafetensors(await readFile('model.safetensors'));
 *     net.loadStateDict(fromTorch(tensors, { layer: net }).state);
 *
 * @throws ERR_FORMAT for anything that is not a safetensors file: which part, and at which offset
 */
export function readSafetensors(file: Bytes, options: SafetensorsOptions = {}): SafetensorsFile {
  checkNames(FORMAT, options, ['files']);
  const all = bytesFrom(FORMAT, file);
  const known = recognize(all);
  return known?.kind === 'index' ? readShards(all, options.files) : readOne(all, known);
}

function readOne(all: Uint8Array, known: Recognized | undefined): SafetensorsFile {
  const reader = new ByteReader(FORMAT, all);
  if (known && known.kind !== 'safetensors' && known.kind !== 'compiled')
    throw malformed(FORMAT, 'file', 'a safetensors file', known.text, 0);
  const length = reader.u64('header length');
  if (length > Math.min(reader.left, LONGEST_HEADER)) {
    throw malformed(FORMAT, 'header length', `at most ${Math.min(reader.left, LONGEST_HEADER)}`, `${length}`, 0);
  }
  const header = asRecord(parseJson(FORMAT, 'header', reader.take(length, 'header'), 8));
  if (!header) throw malformed(FORMAT, 'header', 'an object', 'another value', 8);
  const base = reader.offset;
  const data = reader.take(reader.left, 'data');
  const names = Object.keys(header).filter((name) => name !== '__metadata__');
  const most = mostNamed(all.length, FEW_TENSORS);
  if (names.length > most) throw malformed(FORMAT, 'header', `at most ${most} tensors`, `${names.length}`, 8);
  const entries = names.map((name) => entryOf(name, header[name], data, base));
  entries.sort((a, b) => a.from - b.from || a.to - b.to);
  let end = 0;
  const tensors = new Map<string, RawTensor>();
  for (const entry of entries) {
    const { name, from, to } = entry;
    if (from !== end) throw malformed(FORMAT, `tensor ${quote(name)}`, `bytes from ${end} on`, `${from}`, base + from);
    if (to > data.length)
      throw malformed(FORMAT, `tensor ${quote(name)}`, `an end by ${data.length}`, `${to}`, base + from);
    end = to;
    tensors.set(name, entry);
  }
  if (end !== data.length) throw malformed(FORMAT, 'data', `${end} bytes`, `${data.length}`, base + end);
  return { tensors, metadata: metadataOf(header.__metadata__) };
}

/** Where an index says that tensors are: files by tensor. */
function weightMapOf(index: Bytes): Map<string, string> {
  const root = asRecord(parseJson(FORMAT, 'index', bytesFrom(FORMAT, index)));
  const map = asRecord(root?.weight_map);
  if (!map || !Object.values(map).every((file) => typeof file === 'string'))
    throw malformed(FORMAT, 'index', 'a weight_map of files by tensor', showPart(root?.weight_map), 0);
  return new Map(Object.entries(map) as [string, string][]);
}

/**
 * The files that an index (`model.safetensors.index.json`) names, each once.
 *
 *     safetensorsShards(index);   // ['model-00001-of-00002.safetensors', …]
 *
 * @throws ERR_FORMAT for anything but an index
 */
export function safetensorsShards(index: Bytes): string[] {
  return [...new Set(weightMapOf(index).values())];
}

function readShards(index: Uint8Array, files: SafetensorsOptions['files'] = {}): SafetensorsFile {
  const map = weightMapOf(index);
  const given = files instanceof Map ? files : new Map(Object.entries(files as Record<string, Bytes>));
  const tensors = new Map<string, RawTensor>();
  const metadata: Record<string, string> = Object.create(null);
  const homes = new Map<string, string>();
  for (const name of new Set(map.values())) {
    const bytes = given.get(name);
    if (!bytes) throw malformed(FORMAT, 'index', `the file ${quote(name)} in files`, 'none', 0);
    const shard = bytesFrom(FORMAT, bytes);
    const known = recognize(shard);
    if (known?.kind === 'index') throw malformed(FORMAT, `shard ${quote(name)}`, 'a safetensors file', known.text, 0);
    const read = readOne(shard, known);
    for (const [tensor, value] of read.tensors) {
      if (tensors.has(tensor))
        throw malformed(FORMAT, `tensor ${quote(tensor)}`, 'one shard', `${homes.get(tensor)} and ${name}`, 0);
      tensors.set(tensor, value);
      homes.set(tensor, name);
    }
    Object.assign(metadata, read.metadata);
  }
  for (const [tensor, file] of map) {
    if (homes.get(tensor) !== file)
      throw malformed(FORMAT, `tensor ${quote(tensor)}`, `a place in ${quote(file)}`, homes.get(tensor) ?? 'none', 0);
  }
  return { tensors, metadata };
}

/** A tensor where it lies: views and values are made when they are asked for. */
class Entry implements RawTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly from: number;
  readonly to: number;
  readonly #all: Uint8Array;
  readonly #base: number;

  constructor(
    name: string,
    dtype: string,
    shape: readonly number[],
    from: number,
    to: number,
    all: Uint8Array,
    base: number,
  ) {
    this.name = name;
    this.dtype = dtype;
    this.shape = shape;
    this.from = from;
    this.to = to;
    this.#all = all;
    this.#base = base;
  }

  get bytes(): Uint8Array {
    return this.#all.subarray(this.from, this.to);
  }

  get data(): Values {
    return decode(FORMAT, this.name, this.dtype, this.bytes, this.#base + this.from);
  }
}

function entryOf(name: string, json: Json, all: Uint8Array, base: number): Entry {
  const fail = (expected: string, got: Json | undefined) =>
    malformed(FORMAT, `tensor ${quote(name)}`, expected, showPart(got), base);
  const entry = asRecord(json);
  if (!entry) throw fail('{ dtype, shape, data_offsets }', json);
  const { dtype, shape, data_offsets: offsets } = entry;
  const isSize = (value: Json) => Number.isSafeInteger(value) && (value as number) >= 0;
  if (typeof dtype !== 'string') throw fail('a dtype', dtype);
  if (!Array.isArray(shape) || !shape.every(isSize)) throw fail('a shape of whole numbers', shape);
  if (shape.length > MOST_AXES) throw fail(`at most ${MOST_AXES} axes`, shape.length);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize))
    throw fail('two data_offsets', offsets);
  const [from, to] = offsets as [number, number];
  if (to < from) throw fail('data_offsets in order', offsets);
  const size = bytesPerValue(dtype);
  let bytes = size ?? 0;
  for (const length of shape as number[]) {
    bytes *= length;
    if (!Number.isSafeInteger(bytes)) throw fail('fewer than 2^53 bytes', shape);
  }
  if (size !== undefined && bytes !== to - from) throw fail(`${bytes} bytes for this shape and type`, to - from);
  return new Entry(name, dtype, shape as number[], from, to, all, base);
}

function metadataOf(json: Json | undefined): Record<string, string> {
  // null is what some writers put in the place of none, and the reference takes it
  if (json === undefined || json === null) return Object.create(null);
  const record = asRecord(json);
  if (!record || !Object.values(record).every((value) => typeof value === 'string')) {
    throw malformed(FORMAT, '__metadata__', 'texts by name', showPart(json), 8);
  }
  return record as Record<string, string>;
}

/** What is written: values, and as which type. `bytes` are written as they are. */
export type Writable =
  | {
      /** Values, row-major. */
      readonly data: ArrayLike<number>;
      /** Length of each axis, outermost first. */
      readonly shape: readonly number[];
      /** The type in the file. Default: `'F32'` for a Float32Array, `'F64'` for other numbers. */
      readonly dtype?: string;
    }
  | {
      /** The values as they are stored, little-endian. */
      readonly bytes: Uint8Array;
      /** Length of each axis, outermost first. */
      readonly shape: readonly number[];
      /** The type in the file: `'F32'`, `'BF16'`, `'I64'` … */
      readonly dtype: string;
    };

/**
 * Writes a safetensors file: tensors in the order given, the header padded so that the data begins
 * at a multiple of 8.
 *
 *     const bytes = writeSafetensors(toTorch(net.stateDict()));
 *
 * @param tensors by name; `dtype` is by default F32 for a Float32Array and F64 for other numbers
 * @param metadata texts by name, kept in the header
 * @throws ERR_OPTION for a type that cannot be written; ERR_SHAPE where shape and values differ
 */
export function writeSafetensors(
  tensors: ReadonlyMap<string, Writable> | Readonly<Record<string, Writable>>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array<ArrayBuffer> {
  if (typeof tensors !== 'object' || tensors === null) {
    throw wrongKind('ERR_TYPE', FORMAT, 'tensors', 'a Map or a record', show(tensors));
  }
  if (!Object.values(metadata).every((value) => typeof value === 'string')) {
    throw wrongKind('ERR_TYPE', FORMAT, 'metadata', 'texts by name', show(metadata));
  }
  const entries = tensors instanceof Map ? [...tensors] : Object.entries(tensors as Record<string, Writable>);
  const header: [string, unknown][] = [];
  const parts: Uint8Array[] = [];
  let at = 0;
  if (Object.keys(metadata).length) header.push(['__metadata__', metadata]);
  for (const [name, tensor] of entries) {
    const bytes = bytesOf(name, tensor);
    const dtype = tensor.dtype ?? naturalType((tensor as { data: ArrayLike<number> }).data);
    header.push([name, { dtype, shape: [...tensor.shape], data_offsets: [at, at + bytes.length] }]);
    parts.push(bytes);
    at += bytes.length;
  }
  // entry by entry: a record would put names that look like numbers first
  const text = `{${header.map(([name, entry]) => `${JSON.stringify(name)}:${JSON.stringify(entry)}`).join(',')}}`;
  const json = new TextEncoder().encode(text);
  const padded = new Uint8Array(Math.ceil(json.length / 8) * 8).fill(32);
  padded.set(json);
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(padded.length), true);
  return concat([length, padded, ...parts]);
}

function bytesOf(name: string, tensor: Writable): Uint8Array {
  const fail = (expected: string, got: string) =>
    wrongValue('ERR_SHAPE', FORMAT, `tensor ${quote(name)}`, expected, got);
  if (name === '__metadata__') throw fail('another name', 'the name of the metadata');
  const isTensor = typeof tensor === 'object' && tensor !== null && Array.isArray(tensor.shape);
  if (!isTensor || !('bytes' in tensor || typeof tensor.data?.length === 'number'))
    throw fail('{ data, shape }', show(tensor));
  const count = tensor.shape.reduce((product, length) => product * length, 1);
  if ('bytes' in tensor) {
    const size = bytesPerValue(tensor.dtype);
    if (size !== undefined && tensor.bytes.length !== count * size)
      throw fail(`${count * size} bytes for shape [${tensor.shape.join(', ')}]`, `${tensor.bytes.length}`);
    return tensor.bytes;
  }
  const dtype = tensor.dtype ?? naturalType(tensor.data);
  if (!isWritable(dtype)) {
    throw wrongValue('ERR_OPTION', FORMAT, `tensor ${quote(name)}`, 'a type that can be written', show(dtype));
  }
  if (tensor.data.length !== count)
    throw fail(`${count} values for shape [${tensor.shape.join(', ')}]`, `${tensor.data.length}`);
  return encode(tensor.data, dtype);
}
