import { malformed, show, wrongKind } from '../errors.ts';
import { type Bytes, bytesFrom } from '../formats/bytes.ts';
import { isHdf5, recognize } from '../formats/recognize.ts';
import { checkNames } from '../named-options.ts';
import type { Sequential } from '../nn/sequential.ts';
import { readKeras } from './keras-file.ts';
import { sequentialFromKeras } from './sequential-keras.ts';
import { sequentialFromOnnx } from './sequential-onnx.ts';

export interface LoadOptions {
  /** `true`: a Softmax at the end is left out, and the network gives logits. Default `false`: it is refused, as there is no such layer here. */
  dropSoftmax?: boolean;
}

/** A URL, in the words of programs whose types know none. */
export interface FileUrl {
  readonly href: string;
}

interface Host {
  getBuiltinModule?(name: string): unknown;
}

/**
 * A network from an ONNX or Keras file, where its graph is a chain of fully connected layers, normalizations, activations and dropout, with its weights, in
 * evaluation mode.
 *
 * @param file bytes, or where there is a file system a path
 * @throws ERR_FORMAT where the file is none of these, or its graph no such chain: at which node
 */
export async function loadSequential(file: Bytes | string | FileUrl, options: LoadOptions = {}): Promise<Sequential> {
  checkNames('loadSequential', options, ['dropSoftmax']);
  const bytes = bytesFrom('loadSequential', await contentOf(file));
  const isZip = bytes[0] === 0x50 && bytes[1] === 0x4b;
  const known = recognize(bytes);
  if (known && !['ONNX', 'HDF5', 'Keras'].includes(known.kind ?? ''))
    throw malformed('loadSequential', 'file', 'an ONNX or Keras file', known.text, 0);
  if (!isZip && !isHdf5(bytes)) return sequentialFromOnnx(bytes, options);
  const { layers, ...keras } = await readKeras(bytes);
  if (!layers) throw malformed('Keras', 'config', 'a file with a config', 'weights alone', 0);
  return sequentialFromKeras({ layers, ...keras }, options);
}

async function contentOf(file: Bytes | string | FileUrl): Promise<Bytes> {
  if (typeof file !== 'string' && !('href' in file)) return file;
  const host = (globalThis as { process?: Host }).process;
  const fs = host?.getBuiltinModule?.('node:fs/promises') as
    | { readFile(path: string | FileUrl): Promise<Uint8Array> }
    | undefined;
  if (!fs) {
    throw wrongKind('ERR_TYPE', 'loadSequential', 'file', 'bytes, as this host has no files', show(String(file)));
  }
  return fs.readFile(file);
}
