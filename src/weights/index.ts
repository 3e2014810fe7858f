// `evenkeel/weights`: files of other frameworks, and their names in ours.

import * as kernels from '#wasm';
import type { Bytes } from '../formats/bytes.ts';
import { provide } from '../wasm/source.ts';
import type { LoadNetworkOptions } from './load-network.ts';
import * as loading from './load-network.ts';
import type { LoadOptions } from './load-sequential.ts';
import * as networks from './load-sequential.ts';
import type { LoadedSequential } from './network/chain.ts';
import type { LoadedNetwork } from './network/loaded-network.ts';
import type { Files, FileUrl } from './network-source.ts';

export type { Bytes } from '../formats/bytes.ts';
export type { StoredTensor, StoredTensors, Values } from '../formats/dtypes.ts';
export type { Json } from '../formats/json.ts';
export { readNpy, type WritableArray, writeNpy } from '../formats/npy.ts';
export { readNpz, writeNpz } from '../formats/npz.ts';
export {
  type OnnxAttribute,
  type OnnxFunction,
  type OnnxGraph,
  type OnnxInitializer,
  type OnnxModel,
  type OnnxNode,
  type OnnxReadOptions,
  onnxFiles,
  readOnnx,
} from '../formats/onnx.ts';
export type { TensorFiles } from '../formats/onnx-tensor.ts';
export type { Field as OnnxField } from '../formats/protobuf.ts';
export {
  type RawTensor,
  readSafetensors,
  type SafetensorsFile,
  type SafetensorsOptions,
  safetensorsShards,
  type Writable,
  writeSafetensors,
} from '../formats/safetensors.ts';
export { readTfjs, type TfjsModel, tfjsShards, writeTfjs } from '../formats/tfjs.ts';
export type { Exported, ExportOptions } from './exported.ts';
export { type FlaxTree, fromFlax, toFlax } from './flax.ts';
export { foldOnnx } from './fold-onnx.ts';
export type { FileFold, FoldedNorm } from './fold-report.ts';
export { foldSafetensors, type SafetensorsFoldOptions } from './fold-safetensors.ts';
export type { Foreign, ForeignFile, ForeignTensors, Imported, ImportOptions, NormOption } from './imported.ts';
export { fromKeras, fromTfjs, type KerasExportOptions, toKeras, toTfjs } from './keras.ts';
export type { KerasLayer } from './keras-config.ts';
export { type KerasFile, readKeras } from './keras-file.ts';
export { type WriteKerasOptions, writeKeras } from './keras-write.ts';
export type { ConstantInput, LoadNetworkOptions } from './load-network.ts';
export type { LoadOptions } from './load-sequential.ts';
export type { LoadedSequential } from './network/chain.ts';
export type { LoadedNetwork, NetworkReport } from './network/loaded-network.ts';
export type { Files, FileUrl } from './network-source.ts';
export { fromOnnx, normsOf, type OnnxNorm } from './onnx.ts';
export { type OnnxExportOptions, toOnnx } from './onnx-export.ts';
export { type OnnxStatelessNorm, statelessNormsOf } from './onnx-stateless-norms.ts';
export { fromTorch, type TorchExportOptions, toTorch } from './torch.ts';

/**
 * A network from an ONNX, Keras or TF.js file with its weights, in evaluation mode: what
 * `loadNetwork` reads, as layers in a row. The file's graph must be a chain of layers. Constants
 * that are added and multiplied become a batch norm of variance 1, bounds a moved ReLU. `report`
 * says what became of the file.
 *
 *     const net = await loadSequential('model.onnx');
 *     const run = net.compile();
 *
 * @param file bytes; a path or a file URL where there is a file system; an http URL; or files by
 *   name, one of them the model
 * @throws ERR_FORMAT where the file is none of these, or its graph no such chain: what of it is no
 *   layer
 */
export const loadSequential: (
  file: Bytes | string | FileUrl | Files,
  options?: LoadOptions,
) => Promise<LoadedSequential> = /* @__PURE__ */ provide(networks.loadSequential, kernels);

/**
 * The network of an ONNX, Keras or TF.js file, in evaluation mode: a `Graph` whose inputs, outputs
 * and layouts are the file's, to be run, compiled, saved, or trained where all of it can be
 * (`report`). Integer inputs are whole numbers in a Float32Array.
 *
 *     const net = await loadNetwork('model.onnx');   // .keras, .h5, model.json
 *     const run = net.compile();
 *
 * @param source bytes, or where there is a file system a path or a file URL; or files by name, one
 *   of them the model, beside it those that its tensors lie in
 * @throws ERR_FORMAT where the file is none of these, or has operators or layers that there are not
 *   here: all of them, how often, and where first; or nodes that say what there is not here.
 *   ERR_OPTION for `outputs` and `constants` that the graph does not have
 */
export const loadNetwork: (
  source: Bytes | string | FileUrl | Files,
  options?: LoadNetworkOptions,
) => Promise<LoadedNetwork> = /* @__PURE__ */ provide(loading.loadNetwork, kernels);
