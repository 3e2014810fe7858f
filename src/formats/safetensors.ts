// safetensors (github.com/huggingface/safetensors): eight bytes of length, a header in JSON, and
// the tensors' bytes, which must lie side by side and fill the rest.

import { malformed, show, wrongKind, wrongValue } from '../errors.ts';
import { checkNames } from '../named-options.ts';
import { ByteReader, type Bytes, bytesFrom, mostNamed, quote } from './bytes.ts';
import { bytesPerValue, decode, encode, isWritable, naturalType, type StoredTensor, type Values } from './dtypes.ts';
import { asRecord, type Json, parseJson, parseMembers } from './json.ts';
import { type Recognized, recognize } from './recognize.ts';
import { showPart } from './show-json.ts';

const FORMAT = 'safetensors';
/** Longer headers are refused: the reference stops at 100 MB, which nobody needs. */
const LONGEST_HEADER = 16 << 20;
/** Tensors that any file may have, however small they are. */
const FEW_TENSORS = 3 << 14;
const MOST_AXES = 1 << 13;
/** Different shapes that are remembered: no network has more. */
const MOST_SAME = 1 << 10;
const FEW_AXES = 8;

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
 * @param file bytes of the file, or of an index with `files`
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
  const text = reader.take(length, 'header');
  const base = reader.offset;
  const data = reader.take(reader.left, 'data');
  const most = mostNamed(all.length, FEW_TENSORS);
  let tensors = new Map<string, Entry>();
  let metadata: Json | undefined;
  let count = 0;
  let isOrdered = true;
  const same = new Same();
  const contents = { data, base };
  let last: Entry | undefined;
  // entries are made one by one: the header as values is several times as large
  const header = parseMembers(FORMAT, 'header', text, 8, (name, json) => {
    if (name === '__metadata__') {
      const isNew = metadata === undefined;
      metadata = json;
      return isNew;
    }
    if (tensors.has(name)) return false;
    if (++count > most) return true;
    const entry = entryOf(name, json, contents, same);
    tensors.set(name, entry);
    if (last && inOrder(last, entry) > 0) isOrdered = false;
    last = entry;
    return true;
  });
  if (!asRecord(header)) throw malformed(FORMAT, 'header', 'an object', 'another value', 8);
  if (count > most) throw malformed(FORMAT, 'header', `at most ${most} tensors`, `${count}`, 8);
  if (!isOrdered) tensors = new Map([...tensors].sort(([, a], [, b]) => inOrder(a, b)));
  let end = 0;
  for (const { name, from, to } of tensors.values()) {
    if (from !== end) throw malformed(FORMAT, `tensor ${quote(name)}`, `bytes from ${end} on`, `${from}`, base + from);
    if (to > data.length)
      throw malformed(FORMAT, `tensor ${quote(name)}`, `an end by ${data.length}`, `${to}`, base + from);
    end = to;
  }
  if (end !== data.length) throw malformed(FORMAT, 'data', `${end} bytes`, `${data.length}`, base + end);
  return { tensors, metadata: metadataOf(metadata) };
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
 * @param index bytes of the index
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

/** Types and shapes that come again and again are kept once. */
class Same {
  readonly #texts = new Map<string, string>();
  readonly #lists = new Map<string, readonly number[]>();

  text(text: string): string {
    return this.#texts.get(text) ?? this.#new(this.#texts, text, text);
  }

  list(list: readonly number[]): readonly number[] {
    if (list.length > FEW_AXES) return list;
    const key = list.join();
    return this.#lists.get(key) ?? this.#new(this.#lists, key, Object.freeze(list));
  }

  #new<V>(known: Map<string, V>, key: string, value: V): V {
    if (known.size < MOST_SAME) known.set(key, value);
    return value;
  }
}

/** What tensors lie in. */
interface Contents {
  readonly data: Uint8Array;
  /** Where the data begin in the file. */
  readonly base: number;
}

/** A tensor where it lies: views and values are made when they are asked for. */
class Entry implements RawTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly from: number;
  readonly to: number;
  readonly #file: Contents;

  constructor(name: string, dtype: string, shape: readonly number[], from: number, to: number, file: Contents) {
    this.name = name;
    this.dtype = dtype;
    this.shape = shape;
    this.from = from;
    this.to = to;
    this.#file = file;
  }

  get bytes(): Uint8Array {
    return this.#file.data.subarray(this.from, this.to);
  }

  get data(): Values {
    return decode(FORMAT, this.name, this.dtype, this.bytes, this.#file.base + this.from);
  }
}

const inOrder = (a: Entry, b: Entry) => a.from - b.from || a.to - b.to;

function entryOf(name: string, json: Json, file: Contents, same: Same): Entry {
  const fail = (expected: string, got: Json | undefined) =>
    malformed(FORMAT, `tensor ${quote(name)}`, expected, showPart(got), file.base);
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
  return new Entry(name, same.text(dtype), same.list(shape as number[]), from, to, file);
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
  const entries = tensors instanceof Map ? (tensors as Map<string, Writable>) : Object.entries(tensors);
  return writeEntries(() => entries, metadata);
}

/** What of the header is encoded at a time. */
const LINES = 1 << 14;

/**
 * The file of tensors that may be made one by one: they are gone through twice, so that nothing but
 * the file is in memory.
 *
 * @internal
 */
export function writeEntries(
  tensors: () => Iterable<readonly [string, Writable]>,
  metadata: Readonly<Record<string, string>>,
): Uint8Array<ArrayBuffer> {
  const lengths = { header: 0, data: 0 };
  const write = (text: (bytes: Uint8Array) => void, values?: (bytes: Uint8Array) => void) => {
    const encoder = new TextEncoder();
    let [lines, isFirst, at] = ['{', true, 0];
    const flush = () => {
      text(encoder.encode(lines));
      lines = '';
    };
    const member = (name: string, value: unknown) => {
      // entry by entry: a record would put names that look like numbers first
      lines += `${isFirst ? '' : ','}${JSON.stringify(name)}:${JSON.stringify(value)}`;
      isFirst = false;
      if (lines.length > LINES) flush();
    };
    if (Object.keys(metadata).length) member('__metadata__', metadata);
    for (const [name, tensor] of tensors()) {
      const { size, encoded, dtype, shape } = storedOf(name, tensor);
      member(name, { dtype, shape, data_offsets: [at, at + size] });
      at += size;
      values?.(encoded());
    }
    lengths.data = at;
    lines += '}';
    flush();
  };
  write(({ length }) => {
    lengths.header += length;
  });
  const length = Math.ceil(lengths.header / 8) * 8;
  const file = new Uint8Array(8 + length + lengths.data);
  new DataView(file.buffer).setBigUint64(0, BigInt(length), true);
  file.fill(32, 8, 8 + length);
  const put = (part: Uint8Array) => {
    let at = 0;
    return (bytes: Uint8Array) => {
      if (at + bytes.length > part.length) throw wrongKind('ERR_TYPE', FORMAT, 'tensors', 'the same twice', 'others');
      part.set(bytes, at);
      at += bytes.length;
    };
  };
  write(put(file.subarray(8, 8 + length)), put(file.subarray(8 + length)));
  return file;
}

interface Stored {
  /** Bytes of the values. */
  readonly size: number;
  readonly encoded: () => Uint8Array;
  readonly dtype: string;
  readonly shape: readonly number[];
}

function storedOf(name: string, tensor: Writable): Stored {
  const fail = (expected: string, got: string) =>
    wrongValue('ERR_SHAPE', FORMAT, `tensor ${quote(name)}`, expected, got);
  if (name === '__metadata__') throw fail('another name', 'the name of the metadata');
  const isTensor = typeof tensor === 'object' && tensor !== null && Array.isArray(tensor.shape);
  // a file's tensor decodes its values each time it is asked
  const data = isTensor && !('bytes' in tensor) ? tensor.data : undefined;
  if (!isTensor || !('bytes' in tensor || typeof data?.length === 'number'))
    throw fail('{ data, shape }', show(tensor));
  const shape = [...tensor.shape];
  const count = shape.reduce((product, length) => product * length, 1);
  if ('bytes' in tensor) {
    const { bytes, dtype } = tensor;
    const size = bytesPerValue(dtype);
    if (size !== undefined && bytes.length !== count * size)
      throw fail(`${count * size} bytes for shape [${shape.join(', ')}]`, `${bytes.length}`);
    return { size: bytes.length, encoded: () => bytes, dtype, shape };
  }
  const dtype = tensor.dtype ?? naturalType(data!);
  if (!isWritable(dtype)) {
    throw wrongValue('ERR_OPTION', FORMAT, `tensor ${quote(name)}`, 'a type that can be written', show(dtype));
  }
  if (data!.length !== count) throw fail(`${count} values for shape [${shape.join(', ')}]`, `${data!.length}`);
  return { size: count * bytesPerValue(dtype)!, encoded: () => encode(data!, dtype), dtype, shape };
}
