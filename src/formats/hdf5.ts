// HDF5 through h5wasm, an optional peer: the HDF5 library itself, compiled to WebAssembly. It is loaded when the first such file comes.
//
// Sizes, depth and the number of objects are checked here; what the library makes of a damaged file is its own affair, and it has been seen to read some
// for ever. Files of strangers in this format belong in a worker that can be ended.

import { malformed, wrongMoment } from '../errors.ts';
import { concat, quote } from './bytes.ts';
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

const MOST_DEPTH = 16;
/** An object takes this many bytes of a file at the least: links that go round in circles show as more. */
const LEAST_OBJECT = 64;

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
  readonly attrs: Record<string, { readonly value: unknown }>;
  readonly shape: number[] | null;
  readonly metadata: { type: number; size: number; signed: boolean; littleEndian: boolean; total_size: number };
  readonly value: unknown;
}

let names = 0;

type Library = Awaited<Peer['ready']>;

async function loadPeer(format: string): Promise<{ peer: Peer; library: Library }> {
  try {
    const name = ['h5wasm'].join(); // a name that bundlers do not see: they leave it to the host
    const module = await import(/* @vite-ignore */ /* webpackIgnore: true */ name);
    const peer = (module.default ?? module) as Peer;
    const library = await peer.ready;
    library.activate_throwing_error_handler?.();
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
 * Reads the whole tree, and gives it to `use` while the file is open. Throws ERR_FORMAT for what is no HDF5 file, without h5wasm, and for trees without
 * end.
 */
export async function readHdf5<T>(format: string, bytes: Uint8Array, use: (root: Hdf5Group) => T): Promise<T> {
  if (!isHdf5(bytes)) throw malformed(format, 'HDF5 file', '\\x89HDF', 'other bytes', 0);
  const { peer, library } = await loadPeer(format);
  const { FS: fs } = library;
  const name = `evenkeel-${names++}.h5`;
  fs.writeFile(name, bytes);
  let file: InstanceType<Peer['File']> | undefined;
  try {
    file = new peer.File(name, 'r');
    let budget = mostInflated(bytes.length); // what is compressed, or never written, may be larger than the file
    const most = Math.ceil(bytes.length / LEAST_OBJECT);
    let objects = 0;
    const walk = (group: PeerGroup, path: string, depth: number): Hdf5Group => {
      if (depth > MOST_DEPTH)
        throw malformed(format, `group ${quote(path)}`, `at most ${MOST_DEPTH} levels`, 'more', 0);
      const groups = new Map<string, Hdf5Group>();
      const datasets = new Map<string, StoredTensor>();
      for (const key of group.keys()) {
        const at = `${path}/${key}`;
        if (++objects > most) throw malformed(format, `group ${quote(path)}`, `at most ${most} objects`, 'more', 0);
        const entity = group.get(key) as { keys?: unknown; metadata?: unknown } | null;
        if (entity && typeof entity.keys === 'function') groups.set(key, walk(entity as PeerGroup, at, depth + 1));
        else if (entity?.metadata && 'shape' in entity) {
          const { tensor, size } = tensorOf(format, at, entity as unknown as PeerDataset, budget, library);
          budget -= size;
          datasets.set(key, tensor);
        } else
          throw malformed(format, quote(at), 'a group or a dataset', 'a link out of the file, or another object', 0);
      }
      return { attribute: (name) => attributeOf(format, group, name), groups, datasets };
    };
    return use(walk(file, '', 0));
  } catch (error) {
    if ((error as { code?: string }).code === 'ERR_FORMAT') throw error;
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
    } finally {
      fs.unlink(name);
    }
  }
}

function attributeOf(format: string, { attrs }: PeerGroup, name: string): unknown {
  try {
    return Object.hasOwn(attrs, name) ? attrs[name].value : undefined;
  } catch (error) {
    throw malformed(format, `attribute ${quote(name)}`, 'a value that the HDF5 library reads', `${error}`, 0);
  }
}

/** HDF5's classes of numbers: integers, floats, and bytes that mean what an attribute says (bfloat16). */
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
  const { metadata, shape } = dataset;
  const { type, size, signed, littleEndian } = metadata;
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
  let bytes: Uint8Array | undefined;
  const half = type === FLOAT && size === 2;
  const value = half ? rawBytes(library, dataset, count * size) : isNumeric ? dataset.value : undefined;
  if (littleEndian || bfloat || size === 1) bytes = bytesIn(value);
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

/** The bytes of half floats, which the wrapper around the library does not read where the host has no such arrays. */
function rawBytes(library: Library, { file_id, path }: PeerDataset, bytes: number): Uint8Array {
  const at = library._malloc(bytes);
  try {
    library.get_dataset_data(file_id, path, null, null, null, BigInt(at));
    return library.HEAPU8.slice(at, at + bytes);
  } finally {
    library._free(at);
  }
}

function bytesIn(value: unknown): Uint8Array | undefined {
  if (Array.isArray(value) && value.every((item) => item instanceof Uint8Array)) return concat(value);
  if (typeof value === 'number') return undefined;
  if (!ArrayBuffer.isView(value)) return undefined;
  return new Uint8Array(value.buffer, value.byteOffset, value.byteLength).slice();
}

/** Datasets to write: path, values and shape; and the groups' attributes by path. */
export interface WritableHdf5 {
  readonly datasets: readonly {
    readonly path: string;
    readonly data: Float32Array;
    readonly shape: readonly number[];
  }[];
  readonly attributes?: readonly { readonly path: string; readonly name: string; readonly value: string }[];
  /** Groups that are there even if nothing is in them. */
  readonly groups?: readonly string[];
}

/** Writes an HDF5 file of f32 datasets. Throws ERR_FORMAT without h5wasm. */
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
    for (const { path, data, shape } of datasets) {
      const cut = path.lastIndexOf('/');
      groupAt(cut < 0 ? '' : path.slice(0, cut)).create_dataset({
        name: path.slice(cut + 1),
        data,
        shape,
        dtype: '<f',
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
