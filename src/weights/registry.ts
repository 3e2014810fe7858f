// Formats of files of weights, a row each: how the command line reads and writes them, and which
// hold a network. What a file is by its first bytes stands in formats/recognize.ts. Columns stand
// by themselves, so that a bundle which loads networks carries no writers.

import { readNpy } from '../formats/npy.ts';
import { readNpz, writeNpz } from '../formats/npz.ts';
import { readOnnx } from '../formats/onnx.ts';
import type { FileKind } from '../formats/recognize.ts';
import { readSafetensors, safetensorsShards, type Writable, writeSafetensors } from '../formats/safetensors.ts';
import { openTfjs, writeTfjs } from '../formats/tfjs.ts';
import type { Exported } from './exported.ts';
import type { Foreign, Imported, ImportOptions } from './imported.ts';
import { fromKeras, fromTfjs, tfjsLayers } from './keras.ts';
import { kindOf } from './keras-config.ts';
import type { KerasFile } from './keras-file.ts';
import { writeKeras } from './keras-write.ts';
import { fromOnnx, strangeNorms, tensorsOf } from './onnx.ts';

/** The formats, as people call them. */
export type Format = Exclude<FileKind, keyof typeof VARIANTS | 'ZIP'>;

/** Kinds of files that belong to a format of another name. */
const VARIANTS = { index: 'safetensors', compiled: 'safetensors', HDF5: 'Keras' } as const;

/** The format of a file; undefined where nothing here reads it. */
export function formatOf(kind: FileKind | undefined): Format | undefined {
  if (kind === undefined || kind === 'ZIP') return undefined;
  return kind in VARIANTS ? VARIANTS[kind as keyof typeof VARIANTS] : (kind as Format);
}

export type Framework = 'torch' | 'keras' | 'flax' | 'onnx' | 'tfjs';
type FilesBeside = ReadonlyMap<string, Uint8Array<ArrayBuffer>>;

/** A file to read, and what its reader may ask for. */
export interface Source {
  readonly kind: FileKind | undefined;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Files beside it, by the names that it gives them. */
  beside(format: string, names: readonly string[]): Promise<FilesBeside>;
  /** Files in which tensors of an ONNX model lie. */
  external(): Promise<FilesBeside>;
  /** Reads HDF5, and gives up on a file that takes too long. */
  keras(): Promise<KerasFile>;
}

/** What is in a file. Without `framework` and `import` the names in it say whose they are. */
export interface Contents {
  readonly tensors: ReadonlyMap<string, Foreign & { readonly dtype?: string }>;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly framework?: Framework;
  import?(options?: ImportOptions): Imported;
  /** The files beside it that it names: shards of an index, external data. */
  readonly files?: FilesBeside;
  /** Kinds of layers, where the file shows them. */
  readonly kinds?: ReadonlyMap<string, string>;
  /** Normalization layers of other kinds, as far as the file says so: `LayerNormalization ln_1`. */
  readonly otherNorms?: readonly string[];
}

export const READERS: Readonly<Record<Format, (source: Source) => Promise<Contents>>> = {
  async safetensors({ kind, bytes, beside }) {
    if (kind !== 'index') return readSafetensors(bytes);
    const files = await beside('safetensors', safetensorsShards(bytes));
    return { ...readSafetensors(bytes, { files }), files };
  },
  NPZ: async ({ bytes }) => ({ tensors: await readNpz(bytes) }),
  NPY: async ({ bytes }) => ({ tensors: new Map([['array', readNpy(bytes)]]) }),
  async ONNX({ bytes, external }) {
    const files = await external();
    const model = readOnnx(bytes, { files });
    return {
      tensors: tensorsOf(model),
      framework: 'onnx',
      ...(files.size && { files }),
      otherNorms: strangeNorms(model),
      import: (options) => fromOnnx(model, options),
    };
  },
  async 'TF.js'({ bytes, beside }) {
    const { paths, read } = openTfjs(bytes);
    const files = await beside('TF.js', paths);
    const model = read(files);
    const layers = tfjsLayers(model.topology) ?? [];
    return {
      tensors: model.tensors,
      framework: 'tfjs',
      files,
      otherNorms: otherNormsOf(new Map(layers.map((layer) => [layer.name, kindOf(layer.className)]))),
      import: (options) => fromTfjs(model, options),
    };
  },
  async Keras({ keras }) {
    const file = await keras();
    return {
      tensors: file.tensors,
      framework: 'keras',
      kinds: file.kinds,
      otherNorms: otherNormsOf(file.kinds),
      import: (options) => fromKeras(file, options),
    };
  },
};

/** Norms of Keras that are no batch norms, in our names for them. */
function otherNormsOf(kinds: ReadonlyMap<string, string> = new Map()): string[] {
  return [...kinds].flatMap(([name, kind]) => {
    const norm = /^(layer|group|rms)_normalization$/.exec(kind)?.[1];
    return norm ? [`${OTHER_NORMS[norm]} ${name}`] : [];
  });
}

const OTHER_NORMS: Readonly<Record<string, string>> = {
  layer: 'LayerNormalization',
  group: 'GroupNormalization',
  rms: 'RMSNormalization',
};

/** A tensor to write; as bytes only into a format that holds `raw` ones. */
export type Output = Exported | Extract<Writable, { bytes: Uint8Array }>;

/** How tensors are written into a format. */
export interface Writer {
  /** What the name of such a file ends in. */
  readonly ends: string;
  /** A name for help, where the end alone is none that readers would find. */
  readonly example?: string;
  /** Whose names it has unless told. */
  readonly names: Framework;
  /** It has no other framework's names. */
  readonly fixed?: true;
  /** It holds tensors of types that nothing here reads, as bytes. */
  readonly raw?: true;
  /** It holds integers as they are. */
  readonly integers?: true;
  /** All that it holds is of single precision. */
  readonly singles?: true;
  /** Files by name, the one called `name` last. undefined: it holds networks alone (toOnnx). */
  readonly write?: (
    tensors: ReadonlyMap<string, Output>,
    said: {
      readonly name: string;
      readonly metadata: Readonly<Record<string, string>>;
      readonly kinds: ReadonlyMap<string, string> | undefined;
    },
  ) => Promise<readonly (readonly [name: string, bytes: Uint8Array])[]>;
}

type Tensors = ReadonlyMap<string, Exported>; // bytes are carried over into raw formats alone

/** Formats that are written; an array alone (NPY) is none of a network. */
export const WRITERS: readonly Writer[] = [
  {
    ends: '.safetensors',
    names: 'torch',
    raw: true,
    write: async (tensors, { name, metadata }) => [[name, writeSafetensors(tensors, metadata)]],
  },
  {
    ends: '.npz',
    names: 'torch',
    integers: true,
    write: async (tensors, { name }) => [[name, writeNpz(tensors as Tensors)]],
  },
  { ends: '.onnx', names: 'onnx', fixed: true },
  {
    ends: '.h5',
    example: '.weights.h5',
    names: 'keras',
    fixed: true,
    integers: true,
    singles: true,
    write: async (tensors, { name, kinds }) => [[name, await writeKeras(tensors as Tensors, { kinds })]],
  },
  {
    ends: '.json',
    example: 'model.json',
    names: 'tfjs',
    fixed: true,
    singles: true,
    async write(tensors, { name }) {
      const files = writeTfjs(tensors as Tensors, null, `${name.replace(/\.json$/, '')}.group1-shard1of1`);
      // the model last: it is what says that the shards are there
      return [...files].reverse().map(([file, bytes]) => [file === 'model.json' ? name : file, bytes]);
    },
  },
];

/** Formats that hold networks. */
export const GRAPHS: readonly Format[] = ['ONNX', 'Keras', 'TF.js'];

/** Files that hold networks, in words. */
export function networkFiles(): string {
  return `an ${GRAPHS.slice(0, -1).join(', ')} or ${GRAPHS.at(-1)} file`;
}
