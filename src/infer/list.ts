// What `evenkeel/infer` has, before its kernels join (index.ts).

export type { ErrorCode, EvenkeelError } from '../errors.ts';
export type { Bytes } from '../formats/bytes.ts';
export type { Activation, ActivationName } from '../kernels/activations.ts';
export { type Configuration, configure, type Info, type Initialization, info, init } from '../kernels/backend.ts';
export type { BackendName } from '../kernels/create-backend.ts';
export { type BatchNormArguments, batchNorm } from '../norms/functional.ts';
export { type Result, Tensor, type TensorLike, tensor, tidy, zeros } from '../tensors/tensor.ts';
export type { Layout, PlainTensor } from '../types.ts';
export { type LoadCompiledOptions, load, type OperationKind, type Operations } from './load.ts';
export {
  activations,
  arithmetic,
  convolutions,
  indexing,
  merging,
  norms,
  pooling,
  recurrent,
  reshaping,
  softmax,
} from './operations.ts';
export type { Port } from './program.ts';
export type { Compiled, Named, RunOptions } from './run.ts';
