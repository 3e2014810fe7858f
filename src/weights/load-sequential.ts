// Files as chains of layers: what `loadNetwork` reads, where it is one.

import type { Bytes } from '../formats/bytes.ts';
import type { TensorFiles } from '../formats/onnx-tensor.ts';
import { checkNames } from '../named-options.ts';
import { readKerasWith } from './keras-file.ts';
import { readFiles } from './load-network.ts';
import { chainOf, type LoadedSequential } from './network/chain.ts';
import type { Files, FileUrl } from './network-source.ts';

/** Options of `loadSequential`. */
export interface LoadOptions {
  /** `true`: a Softmax at the end is left out, and the network gives logits. Default `false`. */
  dropSoftmax?: boolean;
  /**
   * The files that a model.json of TF.js names, or that an ONNX model's tensors lie in (external
   * data). Where the file is a path or an address, those beside it are read.
   */
  files?: TensorFiles | undefined;
}

const SUBJECT = 'loadSequential';

/**
 * A network from an ONNX, Keras or TF.js file as a `Sequential`, with its weights, in evaluation
 * mode. It is read as `loadNetwork` reads it. Its graph is a chain of layers that there are here.
 * Constants that are added and multiplied become a batch norm of variance 1, bounds a moved ReLU.
 * Its `report` says what became of the file.
 *
 * @param file what `loadNetwork` takes: bytes; a path or a file URL where there is a file system;
 *   an http URL; or files by name, one of them the model
 * @throws ERR_FORMAT where the file is none of these, or its graph no such chain: what of it is no
 *   layer, or where the chain ends
 */
export async function loadSequential(
  file: Bytes | string | FileUrl | Files,
  options: LoadOptions = {},
): Promise<LoadedSequential> {
  checkNames(SUBJECT, options, ['dropSoftmax', 'files']);
  const { dropSoftmax = false, files } = options;
  return chainOf(await readFiles(SUBJECT, file, { files }, readKerasWith), dropSoftmax);
}
