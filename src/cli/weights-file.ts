// Any file of weights: which kind it is, by its first bytes, and what is in it.

import { basename, dirname, join } from 'node:path';
import { malformed, wrongValue } from '../errors.ts';
import { quote } from '../formats/bytes.ts';
import { recognize } from '../formats/recognize.ts';
import { readSafetensors } from '../formats/safetensors.ts';
import { bytesInScript } from '../formats/script.ts';
import { isInside } from '../formats/zip.ts';
import type { Sequential } from '../nn/sequential.ts';
import {
  type Foreign,
  fromFlax,
  fromKeras,
  fromTfjs,
  fromTorch,
  type Imported,
  type ImportOptions,
  type LoadedNetwork,
  loadNetwork,
  loadSequential,
} from '../weights/index.ts';
import { isKerasConfig } from '../weights/keras-source.ts';
import { dataBeside } from '../weights/onnx-data.ts';
import {
  type Contents,
  type Format,
  type Framework,
  formatOf,
  GRAPHS,
  networkFiles,
  READERS,
} from '../weights/registry.ts';
import { SCRIPTS } from '../weights/tfjs-files.ts';
import { readFileWhole } from './files.ts';
import { loadInTime } from './network.ts';
import { readKerasInTime } from './read-hdf5.ts';

export const FRAMEWORKS: readonly Framework[] = ['torch', 'keras', 'flax', 'onnx', 'tfjs'];

export interface WeightsFile extends Contents {
  readonly kind: Format;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Whose names these are. */
  readonly framework: Framework;
  readonly otherNorms: readonly string[];
  /** Is it what `save()` of a compiled network writes? */
  readonly isCompiled: boolean;
  /** In our names. */
  import(options?: ImportOptions): Imported;
}

const READABLE = `a file of weights (${Object.keys(READERS).join(', ')})`;

/** Reads a file of any kind, and those beside it that it names. Throws ERR_FORMAT. */
export async function openWeights(path: string, always = false): Promise<WeightsFile> {
  const bytes = await readFileWhole(path, always);
  const known = recognize(bytes);
  const fail = (got: string) => malformed('file', basename(path), READABLE, got, 0);
  // what nobody knows may still be ONNX, whose files have no beginning of their own
  const format = known ? formatOf(known.kind) : 'ONNX';
  if (!format) throw fail(known!.text);
  if (!known && path.endsWith('.safetensors')) readSafetensors(bytes); // for its error
  const source = {
    kind: known?.kind,
    bytes,
    beside: (kind: string, names: readonly string[]) => filesBeside(kind, names, path, always),
    external: () => dataBeside(path, bytes),
    keras: () => readKerasInTime(path, bytes),
  };
  const contents = await READERS[format](source).catch((error) => {
    throw known || path.endsWith('.onnx') ? error : fail('bytes that nothing here knows');
  });
  const { tensors, metadata } = contents;
  if (tensors.size === 0 && format !== 'ONNX')
    throw malformed(format, basename(path), 'tensors', 'none that is known', 0);
  const framework = contents.framework ?? frameworkOf([...tensors.keys()]);
  const given = (metadata ? { tensors, metadata } : tensors) as ReadonlyMap<string, Foreign>;
  return {
    import: (options) => importAs(framework, given, options),
    ...contents,
    kind: format,
    bytes,
    framework,
    otherNorms: contents.otherNorms ?? [],
    isCompiled: known?.kind === 'compiled',
  };
}

/** The network in a file. Throws ERR_FORMAT for a format that holds none. */
export async function networkIn(
  command: string,
  path: string,
  { kind, bytes, files }: WeightsFile,
): Promise<Sequential> {
  if (!GRAPHS.includes(kind)) throw noGraph(command, path, kind);
  return loadSequential(bytes, { files });
}

/** The network in a file, whatever its graph. Throws ERR_FORMAT. */
export async function graphIn(command: string, path: string, progress: boolean): Promise<LoadedNetwork> {
  // a config beside a file of weights is no file of weights itself
  if (isKerasConfig(await readFileWhole(path))) return loadInTime(path);
  const { kind, bytes, files } = await openWeights(path, progress);
  if (!GRAPHS.includes(kind)) throw noGraph(command, path, kind);
  return kind === 'ONNX' ? loadNetwork(bytes, { files }) : loadInTime(path);
}

function noGraph(command: string, path: string, kind: Format): Error {
  return wrongValue('ERR_FORMAT', command, basename(path), `${networkFiles()}, which has a graph`, kind);
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
    const read = (ending: string) => readFileWhole(join(dirname(path), `${name}${ending}`), always);
    files.set(name, await read('').catch((error) => fromScript(format, name, read, error)));
  }
  return files;
}

/** A shard that a package has as base64 in a script. */
async function fromScript(
  format: string,
  name: string,
  read: (ending: string) => Promise<Uint8Array<ArrayBuffer>>,
  missing: { code?: string },
): Promise<Uint8Array<ArrayBuffer>> {
  if (format === 'TF.js' && missing.code === 'ENOENT') {
    for (const ending of SCRIPTS) {
      const script = await read(ending).catch(() => undefined);
      if (script) return bytesInScript(format, `${name}${ending}`, script) as Uint8Array<ArrayBuffer>;
    }
  }
  throw missing;
}

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
  // flax.nnx has no collections: its norms say scale, mean and var, or every name ends in what a
  // variable holds
  const isNnx = ['scale', 'mean', 'var'].some((leaf) => leaves.has(leaf)) || names.every((name) => /value$/.test(name));
  return isNnx ? 'flax' : 'keras';
}
