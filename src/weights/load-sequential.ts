import { malformed, show, wrongKind } from '../errors.ts';
import { type Bytes, bytesFrom, quote } from '../formats/bytes.ts';
import type { TensorFiles } from '../formats/onnx-tensor.ts';
import { recognize } from '../formats/recognize.ts';
import { isInside } from '../formats/zip.ts';
import { checkNames } from '../named-options.ts';
import type { Sequential } from '../nn/sequential.ts';
import { dataBeside } from './onnx-data.ts';
import { formatOf, GRAPHS, networkFiles } from './registry.ts';

/** Files by name, as a model names those beside it. */
export type Files = ReadonlyMap<string, Bytes> | Readonly<Record<string, Bytes>>;

/** Options of `loadSequential`. */
export interface LoadOptions {
  /**
   * `true`: a Softmax at the end is left out, and the network gives logits. Default `false`: it is
   * refused, as there is no such layer here.
   */
  dropSoftmax?: boolean;
  /**
   * The files that a model.json of TF.js names, or that an ONNX model's tensors lie in (external
   * data). Where the file is a path, those beside it are read.
   */
  files?: TensorFiles | undefined;
}

/**
 * A URL, as far as the library reads one, so that its types need neither a browser's nor Node's.
 */
export interface FileUrl {
  /** The whole URL: `file:///home/user/model.onnx`. */
  readonly href: string;
}

interface Host {
  getBuiltinModule?(name: string): unknown;
}

/**
 * A network from an ONNX, Keras or TF.js file, where its graph is a chain of fully connected
 * layers, normalizations, activations and dropout, with its weights, in evaluation mode.
 *
 * @param file bytes, or where there is a file system a path; or all files of a TF.js model by name,
 *   `model.json` among them
 * @throws ERR_FORMAT where the file is none of these, or its graph no such chain: at which node
 */
export async function loadSequential(
  file: Bytes | string | FileUrl | Files,
  options: LoadOptions = {},
): Promise<Sequential> {
  checkNames('loadSequential', options, ['dropSoftmax', 'files']);
  const { bytes, beside } = await sourceOf('loadSequential', file, options.files);
  const known = recognize(bytes);
  const isZip = bytes[0] === 0x50 && bytes[1] === 0x4b;
  // what nobody knows may be a damaged archive, or ONNX, whose files have no beginning of their own
  const format = known ? formatOf(known.kind) : isZip ? 'Keras' : 'ONNX';
  const graph = format && GRAPHS[format];
  if (!graph) throw malformed('loadSequential', 'file', networkFiles(), known!.text, 0);
  const isPath = typeof file === 'string' || isUrl(file);
  const external = async () => options.files ?? (isPath ? dataBeside(file, bytes) : undefined);
  return graph({ bytes, beside, external }, options);
}

/** Finds a file beside the model; undefined where there is none. */
type Beside = (name: string) => Promise<Bytes | undefined>;

/** @internal What a program was given as a file: its bytes, and how to find those beside it. */
export async function sourceOf(
  subject: string,
  file: Bytes | string | FileUrl | Files,
  files: TensorFiles | undefined,
): Promise<{ bytes: Uint8Array; beside: Beside }> {
  const among = (given: TensorFiles | undefined, name: string) => {
    if (given instanceof Map) return given.get(name);
    if (typeof given === 'function') return given(name);
    return given && Object.hasOwn(given, name) ? (given as Record<string, Bytes>)[name] : undefined;
  };
  if (typeof file === 'string' || isUrl(file)) {
    const host = filesOf(subject, file);
    return {
      bytes: bytesFrom(subject, await host.read(file)),
      beside: async (name) => among(files, name) ?? (files ? undefined : host.beside(name)),
    };
  }
  const isBytes = ArrayBuffer.isView(file) || Object.prototype.toString.call(file) === '[object ArrayBuffer]';
  if (isBytes || typeof file !== 'object' || file === null) {
    return { bytes: bytesFrom(subject, file as Bytes), beside: async (name) => among(files, name) };
  }
  const given = file as Files;
  const model = among(given, 'model.json');
  if (model === undefined) {
    const names = [...(given instanceof Map ? given.keys() : Object.keys(given))].slice(0, 8);
    throw wrongKind('ERR_TYPE', 'loadSequential', 'file', "bytes, or files with 'model.json' among them", show(names));
  }
  return {
    bytes: bytesFrom('loadSequential', model),
    beside: async (name) => among(given, name) ?? among(files, name),
  };
}

/** @internal */
export function isUrl(file: object): file is FileUrl {
  return typeof (file as { href?: unknown }).href === 'string';
}

/** The host's files: the one at a path, and those beside it. */
function filesOf(
  subject: string,
  file: string | FileUrl,
): { read(path: string | FileUrl): Promise<Uint8Array>; beside: Beside } {
  const host = (globalThis as { process?: Host }).process;
  const fs = host?.getBuiltinModule?.('node:fs/promises') as
    | { readFile(path: string | FileUrl): Promise<Uint8Array> }
    | undefined;
  if (!fs) {
    throw wrongKind('ERR_TYPE', subject, 'file', 'bytes, as this host has no files', show(String(file)));
  }
  return {
    read: (path) => fs.readFile(path),
    beside: async (name) => {
      if (!isInside(name))
        throw malformed('TF.js', `shard ${quote(name)}`, 'a file beside the model', 'a path out of its folder', 0);
      const { join, dirname } = host!.getBuiltinModule!('node:path') as {
        join(...parts: string[]): string;
        dirname(path: string): string;
      };
      const { fileURLToPath } = host!.getBuiltinModule!('node:url') as { fileURLToPath(url: FileUrl): string };
      const folder = dirname(typeof file === 'string' ? file : fileURLToPath(file));
      return fs.readFile(join(folder, name)).catch((error: { code?: string }) => {
        if (error.code === 'ENOENT') return undefined;
        throw error;
      });
    },
  };
}
