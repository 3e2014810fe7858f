// Files as networks. Each format has a reader that brings its graph into a draft
// (network/draft.ts).

import { isList, malformed, show, showShape, wrongKind, wrongValue } from '../errors.ts';
import { type Bytes, bytesFrom, quote } from '../formats/bytes.ts';
import type { TensorFiles } from '../formats/onnx-tensor.ts';
import { recognize } from '../formats/recognize.ts';
import { checkNames } from '../named-options.ts';
import { type Files, type FileUrl, isUrl, sourceOf } from './load-sequential.ts';
import type { Known } from './network/draft.ts';
import type { LoadedNetwork } from './network/loaded-network.ts';
import { networkFromOnnx } from './network/onnx-network.ts';
import { dataBeside } from './onnx-data.ts';
import { formatOf } from './registry.ts';

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
   * The files beside an ONNX model that its tensors lie in (external data). Where the source is a
   * path, those beside it are read.
   */
  files?: TensorFiles | undefined;
}

const SUBJECT = 'loadNetwork';

/**
 * The network of an ONNX file, in evaluation mode: a `Graph` whose inputs, outputs and layouts are
 * the file's. Integer
 * inputs are whole numbers in a Float32Array.
 *
 * @param source bytes, or where there is a file system a path or a file URL; or files by name, one
 * of them `*.onnx`, beside
 *   it those that its tensors lie in
 * @throws ERR_FORMAT where the file is no ONNX model, or has operators that there are not here: all
 * of them, how often, and
 *   where first; or nodes that say what there is not here. ERR_OPTION for `outputs` and `constants`
 * that the graph does not have
 */
export async function loadNetwork(
  source: Bytes | string | FileUrl | Files,
  options: LoadNetworkOptions = {},
): Promise<LoadedNetwork> {
  checkNames(SUBJECT, options, ['outputs', 'constants', 'files']);
  const outputs = readOutputs(options.outputs);
  const constants = readConstants(options.constants);
  const isPath = typeof source === 'string' || (typeof source === 'object' && source !== null && isUrl(source));
  const { bytes, beside } = await read(source, options.files);
  const known = recognize(bytes);
  if ((known && formatOf(known.kind) !== 'ONNX') || (bytes[0] === 0x50 && bytes[1] === 0x4b)) {
    const got = known?.text ?? 'a ZIP archive';
    throw malformed(SUBJECT, 'file', 'an ONNX model (loadSequential reads chains from Keras and TF.js)', got, 0);
  }
  const files = options.files ?? beside ?? (isPath ? await dataBeside(source as string, bytes) : undefined);
  return networkFromOnnx(bytes, { outputs, constants, files });
}

/** The model, and the files that were given with it. */
async function read(
  source: Bytes | string | FileUrl | Files,
  files: TensorFiles | undefined,
): Promise<{ bytes: Uint8Array; beside?: TensorFiles }> {
  const isBytes = ArrayBuffer.isView(source) || Object.prototype.toString.call(source) === '[object ArrayBuffer]';
  if (isBytes || typeof source !== 'object' || source === null || isUrl(source)) {
    return { bytes: (await sourceOf(SUBJECT, source as Bytes | string, files)).bytes };
  }
  const given = source as Files;
  const names = [...(given instanceof Map ? given.keys() : Object.keys(given))] as string[];
  const models = names.filter((name) => name.endsWith('.onnx'));
  if (models.length !== 1) {
    const got = models.length ? models : names.slice(0, 8);
    throw wrongKind('ERR_TYPE', SUBJECT, 'source', "bytes, a path, or files with one '*.onnx' among them", show(got));
  }
  const [model] = models;
  const bytes = given instanceof Map ? given.get(model) : (given as Record<string, Bytes>)[model];
  return { bytes: bytesFrom(SUBJECT, bytes as Bytes), beside: given as TensorFiles };
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
