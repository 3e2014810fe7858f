// Any file of weights: which kind it is, by its first bytes, and what is in it.

import { basename, dirname, join } from 'node:path';
import { malformed } from '../errors.ts';
import { quote } from '../formats/bytes.ts';
import { type FileKind, recognize } from '../formats/recognize.ts';
import { openTfjs } from '../formats/tfjs.ts';
import { isInside } from '../formats/zip.ts';
import {
  type Foreign,
  fromFlax,
  fromKeras,
  fromOnnx,
  fromTfjs,
  fromTorch,
  type Imported,
  type ImportOptions,
  type OnnxModel,
  readNpy,
  readNpz,
  readOnnx,
  readSafetensors,
  safetensorsShards,
} from '../weights/index.ts';
import { tfjsLayers } from '../weights/keras.ts';
import { kindOf } from '../weights/keras-config.ts';
import { strangeNorms, tensorsOf } from '../weights/onnx.ts';
import { dataBeside } from '../weights/onnx-data.ts';
import { readFileWhole } from './files.ts';
import { readKerasInTime } from './read-hdf5.ts';

export type Kind = 'safetensors' | 'NPZ' | 'NPY' | 'ONNX' | 'TF.js' | 'Keras';
export const FRAMEWORKS = ['torch', 'keras', 'flax', 'onnx', 'tfjs'] as const;
export type Framework = (typeof FRAMEWORKS)[number];

export interface WeightsFile {
  readonly kind: Kind;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly tensors: ReadonlyMap<string, Foreign & { readonly dtype?: string }>;
  /** Whose names these are. */
  readonly framework: Framework;
  /** The files beside it that it names: shards of an index, external data. */
  readonly files?: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
  /** Normalization layers of other kinds, as far as the file says so: `LayerNormalization ln_1`. */
  readonly otherNorms: readonly string[];
  /** Kinds of layers, where the file shows them. */
  readonly kinds?: ReadonlyMap<string, string>;
  /** In our names. */
  import(options?: ImportOptions): Imported;
}

const READERS = 'a file of weights (safetensors, NPZ, NPY, ONNX, TF.js, Keras)';

/** Reads a file of any kind, and those beside it that it names. Throws ERR_FORMAT. */
export async function openWeights(path: string, always = false): Promise<WeightsFile> {
  const bytes = await readFileWhole(path, always);
  const known = recognize(bytes);
  const file = await openAs(known?.kind, bytes, path, always, known?.text);
  if (file.tensors.size === 0 && file.kind !== 'ONNX')
    throw malformed(file.kind, basename(path), 'tensors', 'none that is known', 0);
  return file;
}

async function openAs(
  kind: FileKind | undefined,
  bytes: Uint8Array<ArrayBuffer>,
  path: string,
  always: boolean,
  text: string | undefined,
): Promise<WeightsFile> {
  const beside = (format: string, names: readonly string[]) => filesBeside(format, names, path, always);
  switch (kind) {
    case 'NPY':
      return of('NPY', bytes, new Map([['array', readNpy(bytes)]]));
    case 'NPZ':
      return of('NPZ', bytes, await readNpz(bytes));
    case 'safetensors':
    case 'compiled': {
      const { tensors, metadata } = readSafetensors(bytes);
      return of('safetensors', bytes, tensors, metadata);
    }
    case 'index': {
      const files = await beside('safetensors', safetensorsShards(bytes));
      const { tensors, metadata } = readSafetensors(bytes, { files });
      return { ...of('safetensors', bytes, tensors, metadata), files };
    }
    case 'HDF5':
    case 'Keras': {
      const file = await readKerasInTime(path, bytes);
      return {
        kind: 'Keras',
        bytes,
        tensors: file.tensors,
        framework: 'keras',
        kinds: file.kinds,
        otherNorms: otherNormsOf(file.kinds),
        import: (options) => fromKeras(file, options),
      };
    }
    case 'TF.js': {
      const { paths, read } = openTfjs(bytes);
      const files = await beside('TF.js', paths);
      const model = read(files);
      return {
        kind: 'TF.js',
        bytes,
        tensors: model.tensors,
        framework: 'tfjs',
        files,
        otherNorms: otherNormsOf(
          new Map((tfjsLayers(model.topology) ?? []).map((layer) => [layer.name, kindOf(layer.className)])),
        ),
        import: (options) => fromTfjs(model, options),
      };
    }
    default: {
      if (text !== undefined && kind !== 'ONNX') throw malformed('file', basename(path), READERS, text, 0);
      if (kind === undefined && path.endsWith('.safetensors')) readSafetensors(bytes); // for its error
      const { model, files } = await onnxFrom(bytes, path, kind);
      return {
        kind: 'ONNX',
        bytes,
        tensors: tensorsOf(model),
        framework: 'onnx',
        ...(files.size && { files }),
        otherNorms: strangeNorms(model),
        import: (options) => fromOnnx(model, options),
      };
    }
  }
}

/** What nobody knows may still be ONNX, whose files have no beginning of their own. */
async function onnxFrom(
  bytes: Uint8Array<ArrayBuffer>,
  path: string,
  kind: FileKind | undefined,
): Promise<{ model: OnnxModel; files: Map<string, Uint8Array<ArrayBuffer>> }> {
  try {
    const files = await dataBeside(path, bytes);
    return { model: readOnnx(bytes, { files }), files };
  } catch (error) {
    if (kind === 'ONNX' || path.endsWith('.onnx')) throw error;
    throw malformed('file', basename(path), READERS, 'bytes that nothing here knows', 0);
  }
}

/** Files that a file names, each once. Throws for paths out of its folder. */
async function filesBeside(
  format: string,
  names: readonly string[],
  path: string,
  always: boolean,
): Promise<Map<string, Uint8Array<ArrayBuffer>>> {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const name of new Set(names)) {
    if (!isInside(name))
      throw malformed(format, `shard ${quote(name)}`, 'a file beside the model', 'a path out of its folder', 0);
    files.set(name, await readFileWhole(join(dirname(path), name), always));
  }
  return files;
}

function of(
  kind: Kind,
  bytes: Uint8Array<ArrayBuffer>,
  tensors: ReadonlyMap<string, Foreign>,
  metadata?: Readonly<Record<string, string>>,
): WeightsFile {
  const framework = frameworkOf([...tensors.keys()]);
  const given = metadata ? { tensors, metadata } : tensors;
  return {
    kind,
    bytes,
    tensors,
    framework,
    otherNorms: [],
    import: (options) => importAs(framework, given as ReadonlyMap<string, Foreign>, options),
  };
}

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

/** Tensors in the words of a framework, in ours. */
export function importAs(
  framework: Framework,
  tensors: ReadonlyMap<string, Foreign>,
  options?: ImportOptions,
): Imported {
  if (framework === 'keras') return fromKeras(tensors, options);
  if (framework === 'tfjs') return fromTfjs(tensors, options);
  return framework === 'flax' ? fromFlax(tensors, options) : fromTorch(tensors, options);
}

/** The last part of a name. */
function leafOf(name: string): string {
  const bare = name.replace(/[./](?:raw_)?value$|:\d+$/, '');
  return bare.slice(Math.max(bare.lastIndexOf('/'), bare.lastIndexOf('.')) + 1);
}

/** Whose words these are. */
function frameworkOf(names: readonly string[]): Framework {
  const leaves = new Set(names.map(leafOf));
  if (leaves.has('moving_mean') || leaves.has('moving_variance')) return 'keras';
  if (names.some((name) => /^(?:params|batch_stats)[./]/.test(name))) return 'flax';
  if (!leaves.has('kernel')) return 'torch';
  // flax.nnx has no collections: its norms say scale, mean and var, or every name ends in what a variable holds
  const isNnx = ['scale', 'mean', 'var'].some((leaf) => leaves.has(leaf)) || names.every((name) => /value$/.test(name));
  return isNnx ? 'flax' : 'keras';
}
