// Files as networks. Each format has a reader that brings its graph into a draft
// (network/draft.ts).

import { inFile, isList, malformed, show, showShape, wrongKind, wrongValue } from '../errors.ts';
import { type Bytes, quote } from '../formats/bytes.ts';
import type { Json } from '../formats/json.ts';
import type { TensorFiles } from '../formats/onnx-tensor.ts';
import { recognize } from '../formats/recognize.ts';
import { checkNames } from '../named-options.ts';
import { type KerasFile, readKerasWith } from './keras-file.ts';
import { isKerasConfig, kerasBeside, kerasSource, tfjsSource } from './keras-source.ts';
import type { Known } from './network/draft.ts';
import { networkFromKeras } from './network/keras-network.ts';
import { buildNetwork, type LoadedNetwork, type Read } from './network/loaded-network.ts';
import { networkFromOnnx, type OnnxNetworkOptions } from './network/onnx-network.ts';
import { networkFromGraphModel } from './network/tfjs-graph-network.ts';
import { type Files, type FileUrl, type NetworkFiles, openNetworkFiles } from './network-source.ts';
import { dataBeside } from './onnx-data.ts';
import { formatOf, networkFiles } from './registry.ts';
import { readTfjsFiles } from './tfjs-files.ts';
import { isGraph } from './tfjs-graph.ts';

/**
 * Values for an input that is to be a constant: numbers of any kind, and their shape; a number by
 * itself is a scalar.
 */
export type ConstantInput =
  | number
  | bigint
  | boolean
  | {
      /** Values, row-major. */
      readonly data: ArrayLike<number> | ArrayLike<bigint>;
      /** Length of each axis, outermost first. */
      readonly shape: readonly number[];
    }
  | {
      /** Values, row-major. */
      readonly data: ArrayLike<number> | ArrayLike<bigint>;
      /** Length of each axis, outermost first. */
      readonly dims: readonly number[];
    };

/** What `loadNetwork` takes besides a file. */
export interface LoadNetworkOptions {
  /**
   * Names of values that are the outputs, in place of the file's own: those inside the graph cut it
   * there, for features
   * and for other last layers. What they do not need is left out.
   */
  outputs?: readonly string[];
  /** Inputs that are to be constants: a sampling rate, the shape for a Reshape, weights. */
  constants?: Readonly<Record<string, ConstantInput>>;
  /**
   * The files beside a model: those that an ONNX model's tensors lie in (external data), shards of
   * TF.js, weights of a Keras config. Where the source is a path or an address, those beside it are
   * read.
   */
  files?: TensorFiles | undefined;
}

const SUBJECT = 'loadNetwork';

/**
 * The network of a file, in evaluation mode: a `Graph` whose inputs, outputs and layouts are
 * the file's. It is an ONNX model; a Keras file (`.keras`, `.h5` with its config, or a JSON config
 * beside the file of its weights); or a TF.js model (`model.json` with its shards, also where a
 * package has them in scripts as base64). Integer inputs are whole numbers in a Float32Array.
 *
 * @param source bytes; a path or a file URL where there is a file system; an http URL; or files by
 *   name, one of them the model, beside it those that it names
 * @throws ERR_FORMAT where the file is none of these, or has operators or layers that there are not
 *   here: all of them, how often, and where first; or says what there is not here. ERR_OPTION for
 *   `outputs` and `constants` that the network does not have
 */
export async function loadNetwork(
  source: Bytes | string | FileUrl | Files,
  options: LoadNetworkOptions = {},
): Promise<LoadedNetwork> {
  return networkFromFiles(source, options, readKerasWith);
}

/**
 * @internal As `loadNetwork`, with a reader of Keras files of its own: one that gives up in time.
 */
export async function networkFromFiles(
  source: Bytes | string | FileUrl | Files,
  options: LoadNetworkOptions,
  keras: KerasReader,
): Promise<LoadedNetwork> {
  checkNames(SUBJECT, options, ['outputs', 'constants', 'files']);
  const outputs = readOutputs(options.outputs);
  const constants = readConstants(options.constants);
  return buildNetwork(await readFiles(SUBJECT, source, { outputs, constants, files: options.files }, keras));
}

/** @internal Reads a network of whatever format. */
export async function readFiles(
  subject: string,
  source: Bytes | string | FileUrl | Files,
  options: OnnxNetworkOptions,
  keras: KerasReader,
): Promise<Read> {
  const files = await openNetworkFiles(subject, source, options.files);
  try {
    return await readOpen(subject, files, options, keras);
  } catch (error) {
    // names in a record are its owner's
    throw inFile(files.given === source ? undefined : files.name, error);
  }
}

type KerasReader = (bytes: Uint8Array, config?: Json) => Promise<KerasFile>;

async function readOpen(
  subject: string,
  files: NetworkFiles,
  { files: given, ...own }: OnnxNetworkOptions,
  keras: KerasReader,
): Promise<Read> {
  const { bytes, path } = files;
  const known = recognize(bytes);
  const isZip = bytes[0] === 0x50 && bytes[1] === 0x4b;
  // what nobody knows may be a damaged archive, or ONNX, whose files have no beginning of their own
  const format = known ? formatOf(known.kind) : isZip ? 'Keras' : 'ONNX';
  switch (format) {
    case 'ONNX': {
      const beside = given ?? files.given ?? (path === undefined ? undefined : await dataBeside(path, bytes));
      return networkFromOnnx(bytes, { ...own, files: beside });
    }
    case 'Keras':
      return networkFromKeras(kerasSource(await keras(bytes)), own);
    case 'TF.js': {
      const model = await readTfjsFiles(files);
      return isGraph(model.topology) ? networkFromGraphModel(model, own) : networkFromKeras(tfjsSource(model), own);
    }
    default:
      if (isKerasConfig(bytes)) return networkFromKeras(await kerasBeside(files, keras), own);
      throw malformed(subject, 'file', networkFiles(), known!.text, 0);
  }
}

function readOutputs(given: unknown): readonly string[] | undefined {
  if (given === undefined) return undefined;
  const isNames = Array.isArray(given) && given.length > 0 && given.every((name) => typeof name === 'string');
  if (!isNames) throw wrongKind('ERR_OPTION', SUBJECT, 'outputs', 'names of values', show(given));
  if (new Set(given).size < given.length)
    throw wrongValue('ERR_OPTION', SUBJECT, 'outputs', 'each name once', show(given));
  return given as string[];
}

function readConstants(given: unknown): ReadonlyMap<string, Known> {
  const found = new Map<string, Known>();
  if (given === undefined) return found;
  if (typeof given !== 'object' || given === null || isList(given)) {
    throw wrongKind('ERR_OPTION', SUBJECT, 'constants', 'a record of names to tensors', show(given));
  }
  for (const [name, value] of Object.entries(given as Record<string, ConstantInput>)) {
    const argument = `constants ${quote(name)}`;
    if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean') {
      found.set(name, { dtype: 'F32', shape: [], data: Float64Array.of(Number(value)) });
      continue;
    }
    const { data, shape = (value as { dims?: unknown } | null)?.dims } = (value ?? {}) as {
      data?: unknown;
      shape?: unknown;
    };
    if (!isList(data) || !isList(shape)) {
      throw wrongKind('ERR_OPTION', SUBJECT, argument, 'a number, or { data, shape }', show(value));
    }
    const lengths = Array.from(shape as ArrayLike<number>);
    const size = lengths.reduce((product, length) => product * length, 1);
    if (size !== data.length)
      throw wrongValue('ERR_OPTION', SUBJECT, argument, `${data.length} values`, `shape ${showShape(lengths)}`);
    const isSingle = data instanceof Float32Array;
    const values = isSingle ? data.slice() : Float64Array.from(data as ArrayLike<number>, Number);
    found.set(name, { dtype: 'F32', shape: lengths, data: values });
  }
  return found;
}
