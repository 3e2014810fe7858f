// HDF5 through h5wasm, an optional peer: the HDF5 library itself, compiled to WebAssembly. It is
// loaded when the first such file comes.
//
// Sizes, depth and the number of objects are checked here; what the library makes of a damaged file
// is its own affair, and it has been seen to read some for ever. Files of strangers in this format
// belong in a worker that can be ended, as the command line reads them (src/cli/hdf5-worker.ts).

import { malformed, wrongMoment } from '../errors.ts';
import { ByteReader, quote } from './bytes.ts';
import { decode, type StoredTensor } from './dtypes.ts';
import { isHdf5 } from './recognize.ts';
import { mostInflated } from './zip.ts';

/** A tree of groups and datasets. */
export interface Hdf5Group {
  /** Read when asked for; undefined where there is none. */
  readonly attribute: (name: string) => unknown;
  readonly groups: ReadonlyMap<string, Hdf5Group>;
  readonly datasets: ReadonlyMap<string, StoredTensor>;
}

const MOST_DEPTH = 32;
/**
 * An object takes this many bytes of a file: more of them are links that go round in circles, or
 * nothing of Keras. A few are there in any case.
 */
const LEAST_OBJECT = 512;
const FEW_OBJECTS = 4096;
/**
 * What is compressed, or never written, may be larger than the file: so many times, or so many
 * bytes.
 */
const MOST_EXPANSION = 4;
const HARMLESS = 16 << 20;

// what is used of h5wasm, as types: the peer may not be there when this is compiled
interface Peer {
  readonly ready: Promise<{
    /** Errors are thrown, where they would be printed. */
    activate_throwing_error_handler?(): void;
    get_dataset_data(file: bigint, path: string, counts: null, offsets: null, strides: null, to: bigint): number;
    _malloc(bytes: number): number;
    _free(at: number): void;
    readonly HEAPU8: Uint8Array;
    FS: {
      writeFile(name: string, bytes: Uint8Array): void;
      readFile(name: string): Uint8Array;
      unlink(name: string): void;
    };
  }>;
  readonly File: new (name: string, mode: 'r' | 'w') => PeerGroup & { close(): void };
}
interface PeerGroup {
  readonly attrs: Record<string, { readonly value: unknown }>;
  keys(): string[];
  get(name: string): unknown;
  create_group(name: string): PeerGroup;
  create_dataset(options: { name: string; data: unknown; shape: readonly number[]; dtype: string }): unknown;
  create_attribute(name: string, value: unknown): void;
}
interface PeerDataset {
  readonly file_id: bigint;
  readonly path: string;
  readonly metadata: {
    readonly type: number;
    readonly size: number;
    readonly signed: boolean;
    readonly littleEndian: boolean;
    readonly shape: number[] | null;
  };
}

let names = 0;

/**
 * What damaged files leave behind. The library has one memory, which is good for nothing after a
 * crash: the next file may be read for ever. So it gets the memory back that it began with. Its
 * stack is a little shorter after each error, and it was seen to end after some 3,300 of them.
 */
let wear = 0;
const MOST_WEAR = 2048;
const CRASH = 64;
let begun: Uint8Array | undefined;

type Library = Awaited<Peer['ready']>;

/** After a crash the library begins anew. */
function noteFailure(error: unknown, { HEAPU8: memory }: Library): void {
  wear++;
  if ((error as Error).name !== 'RuntimeError') return;
  wear += CRASH;
  memory.fill(0);
  memory.set(begun!);
}

async function loadPeer(format: string): Promise<{ peer: Peer; library: Library }> {
  if (wear > MOST_WEAR) {
    const got = 'one that thousands of damaged files have worn out';
    throw wrongMoment('ERR_FORMAT', format, 'HDF5', 'a library that works', got, "read strangers' files in a worker");
  }
  try {
    const name = ['h5wasm'].join(); // a name that bundlers do not see: they leave it to the host
    const module = await import(/* @vite-ignore */ /* webpackIgnore: true */ name);
    const peer = (module.default ?? module) as Peer;
    const library = await peer.ready;
    library.activate_throwing_error_handler?.();
    begun ??= library.HEAPU8.slice(0, library.HEAPU8.findLastIndex((byte) => byte !== 0) + 1);
    return { peer, library };
  } catch (cause) {
    const error = wrongMoment(
      'ERR_FORMAT',
      format,
      'HDF5',
      "the optional peer 'h5wasm' (npm install h5wasm)",
      `${(cause as Error).message}`,
    );
    error.cause = cause;
    throw error;
  }
}

/**
 * Reads the whole tree, and gives it to `use` while the file is open. Throws ERR_FORMAT for what is
 * no HDF5 file, without h5wasm, and for trees without end.
 *
 * @param whole bytes of the archive that this file came out of
 */
export async function readHdf5<T>(
  format: string,
  bytes: Uint8Array,
  use: (root: Hdf5Group) => T,
  whole = bytes.length,
): Promise<T> {
  if (!isHdf5(bytes)) throw malformed(format, 'HDF5 file', '\\x89HDF', 'other bytes', 0);
  checkEnd(format, bytes);
  checkHeaps(format, bytes);
  const { peer, library } = await loadPeer(format);
  const { FS: fs } = library;
  const name = `evenkeel-${names++}.h5`;
  fs.writeFile(name, bytes);
  let file: InstanceType<Peer['File']> | undefined;
  try {
    file = new peer.File(name, 'r');
    let budget = mostInflated(whole, MOST_EXPANSION, HARMLESS);
    const most = Math.max(FEW_OBJECTS, Math.ceil(whole / LEAST_OBJECT));
    let objects = 0;
    const walk = (group: PeerGroup, path: string, depth: number): Hdf5Group => {
      if (depth > MOST_DEPTH)
        throw malformed(format, `group ${quote(path)}`, `at most ${MOST_DEPTH} levels`, 'more', 0);
      const groups = new Map<string, Hdf5Group>();
      const datasets = new Map<string, StoredTensor>();
      const keys = group.keys();
      objects += keys.length;
      if (objects > most) throw malformed(format, `group ${quote(path)}`, `at most ${most} objects`, 'more', 0);
      for (const key of keys) {
        const at = `${path}/${key}`;
        const entity = group.get(key) as { keys?: unknown } | null;
        if (entity && typeof entity.keys === 'function') groups.set(key, walk(entity as PeerGroup, at, depth + 1));
        else if (entity && 'metadata' in entity && 'shape' in entity) {
          const { tensor, size } = tensorOf(format, at, entity as unknown as PeerDataset, budget, library);
          budget -= size;
          datasets.set(key, tensor);
        } else
          throw malformed(format, quote(at), 'a group or a dataset', 'a link out of the file, or another object', 0);
      }
      return { attribute: (name) => attributeOf(group, name), groups, datasets };
    };
    return use(walk(file, '', 0));
  } catch (error) {
    if ((error as { code?: string }).code === 'ERR_FORMAT') throw error;
    noteFailure(error, library);
    if ((error as Error).name === 'RuntimeError') file = undefined;
    throw malformed(
      format,
      'HDF5 file',
      'a file that the HDF5 library reads',
      quote((error as Error).message ?? `${error}`),
      0,
    );
  } finally {
    try {
      file?.close();
    } catch (error) {
      noteFailure(error, library); // what was read is read
    }
    fs.unlink(name);
  }
}

/**
 * A file that was cut is found here: the library wears out by errors. Its beginning says where it
 * ends, in the first versions at 40, later at 28.
 */
function checkEnd(format: string, bytes: Uint8Array): void {
  const reader = new ByteReader(format, bytes);
  reader.take(8, 'superblock');
  const version = reader.u8('superblock');
  reader.take((version < 2 ? 40 : 28) - 9 + (version === 1 ? 4 : 0), 'superblock');
  const at = reader.offset;
  const end = reader.u64('superblock');
  if (end > bytes.length) throw malformed(format, 'HDF5 file', `${end} bytes`, `${bytes.length}`, at);
}

const GCOL = 0x4c4f4347;

/**
 * Global heaps, in which texts of any length lie (the config of a model): the library never ends in
 * one whose objects have no size. A heap is `GCOL`, a version, its size; then objects: number,
 * references, size, and their bytes up to a multiple of 8. Number 0 is what is free.
 */
function checkHeaps(format: string, bytes: Uint8Array): void {
  // what follows is about files with sizes of 8 bytes, as there are no others of Keras
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = (at: number) => view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
  for (let start = bytes.indexOf(0x47); start >= 0; start = bytes.indexOf(0x47, start + 1)) {
    if (start + 16 > bytes.length) return;
    if (view.getUint32(start, true) !== GCOL || view.getUint32(start + 4, true) !== 1) continue;
    const end = start + size(start + 8);
    if (end > bytes.length) continue;
    for (let at = start + 16; end - at >= 16; ) {
      const isFree = view.getUint16(at, true) === 0;
      const taken = isFree ? size(at + 8) : 16 + Math.ceil(size(at + 8) / 8) * 8;
      if (taken < 16 || taken > end - at) {
        throw malformed(format, 'global heap', `objects of 16 to ${end - at} bytes`, `${taken}`, at);
      }
      at += taken;
    }
  }
}

function attributeOf({ attrs }: PeerGroup, name: string): unknown {
  return Object.hasOwn(attrs, name) ? attrs[name].value : undefined;
}

/**
 * HDF5's classes of numbers: integers, floats, and bytes that mean what an attribute says
 * (bfloat16).
 */
const INTEGER = 0;
const FLOAT = 1;
const OPAQUE = 5;

function tensorOf(
  format: string,
  path: string,
  dataset: PeerDataset,
  budget: number,
  library: Library,
): { tensor: StoredTensor; size: number } {
  const { type, size, signed, littleEndian, shape } = dataset.metadata;
  const dims = shape ?? [];
  const count = dims.reduce((product, length) => product * length, 1);
  if (!(count * size <= budget)) {
    throw malformed(format, `dataset ${quote(path)}`, `at most ${budget} bytes`, `${count * size}`, 0);
  }
  const bfloat = type === OPAQUE && size === 2;
  const isNumeric = type === FLOAT || type === INTEGER || bfloat;
  const dtype = bfloat
    ? 'BF16'
    : type === FLOAT
      ? `F${size * 8}`
      : type === INTEGER
        ? `${signed ? 'I' : 'U'}${size * 8}`
        : `HDF5 class ${type}`;
  // as they lie in the file: of half floats the wrapper around the library makes nothing where the
  // host has no such arrays
  const readable = isNumeric && (littleEndian || bfloat || size === 1) && shape !== null;
  const bytes = readable ? rawBytes(format, path, library, dataset, count * size) : undefined;
  return {
    size: count * size,
    tensor: {
      dtype,
      shape: dims,
      get data() {
        if (!bytes || bytes.length !== count * size) {
          throw malformed(
            format,
            `dataset ${quote(path)}`,
            'little-endian integers, F32, F64 or BF16',
            quote(dtype),
            0,
          );
        }
        return decode(format, path, dtype, bytes, 0);
      },
    },
  };
}

function rawBytes(
  format: string,
  path: string,
  library: Library,
  { file_id, path: inside }: PeerDataset,
  bytes: number,
): Uint8Array {
  const at = library._malloc(Math.max(bytes, 1));
  if (!at) throw malformed(format, `dataset ${quote(path)}`, `memory for ${bytes} bytes`, 'none', 0);
  try {
    library.get_dataset_data(file_id, inside, null, null, null, BigInt(at));
    return library.HEAPU8.slice(at, at + bytes);
  } finally {
    library._free(at);
  }
}

/** Datasets to write: path, values and shape; and the groups' attributes by path. */
export interface WritableHdf5 {
  readonly datasets: readonly {
    readonly path: string;
    readonly data: ArrayLike<number>;
    readonly shape: readonly number[];
    /** In the words of safetensors; F32 unless said otherwise, or where HDF5 has no such type. */
    readonly dtype?: string;
  }[];
  readonly attributes?: readonly { readonly path: string; readonly name: string; readonly value: string }[];
  /** Groups that are there even if nothing is in them. */
  readonly groups?: readonly string[];
}

const WRITTEN: Readonly<Record<string, readonly [code: string, of: (values: ArrayLike<number>) => unknown]>> = {
  F32: ['<f', (values) => Float32Array.from(values)],
  F64: ['<d', (values) => Float64Array.from(values)],
  I64: ['<q', (values) => BigInt64Array.from(values as readonly number[], BigInt)],
  U64: ['<Q', (values) => BigUint64Array.from(values as readonly number[], BigInt)],
  I32: ['<i', (values) => Int32Array.from(values)],
  U32: ['<I', (values) => Uint32Array.from(values)],
  I16: ['<h', (values) => Int16Array.from(values)],
  U16: ['<H', (values) => Uint16Array.from(values)],
  I8: ['<b', (values) => Int8Array.from(values)],
  U8: ['<B', (values) => Uint8Array.from(values)],
};

/** Writes an HDF5 file. Throws ERR_FORMAT without h5wasm. */
export async function writeHdf5(
  format: string,
  { datasets, attributes = [], groups = [] }: WritableHdf5,
): Promise<Uint8Array<ArrayBuffer>> {
  const { peer, library } = await loadPeer(format);
  const { FS: fs } = library;
  const name = `evenkeel-${names++}.h5`;
  const file = new peer.File(name, 'w');
  try {
    const known = new Map<string, PeerGroup>([['', file]]);
    const groupAt = (path: string): PeerGroup => {
      const found = known.get(path);
      if (found) return found;
      const cut = path.lastIndexOf('/');
      const group = groupAt(cut < 0 ? '' : path.slice(0, cut)).create_group(path.slice(cut + 1));
      known.set(path, group);
      return group;
    };
    for (const path of groups) groupAt(path);
    for (const { path, data, shape, dtype = 'F32' } of datasets) {
      const cut = path.lastIndexOf('/');
      const [code, of] = WRITTEN[dtype] ?? WRITTEN.F32;
      groupAt(cut < 0 ? '' : path.slice(0, cut)).create_dataset({
        name: path.slice(cut + 1),
        data: of(data),
        shape,
        dtype: code,
      });
    }
    for (const { path, name: key, value } of attributes) groupAt(path).create_attribute(key, value);
  } finally {
    file.close();
  }
  const bytes = Uint8Array.from(fs.readFile(name));
  fs.unlink(name);
  return bytes;
}
