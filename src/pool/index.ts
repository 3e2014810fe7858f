// `evenkeel/pool`: compiled networks in worker threads.

export type { ErrorCode, EvenkeelError } from '../errors.ts';
export type { Bytes } from '../formats/bytes.ts';
export type { OperationKind, Operations } from '../infer/load.ts';
export type { Port } from '../infer/program.ts';
export type { Tensor, TensorLike } from '../tensors/tensor.ts';
export type { PlainTensor } from '../types.ts';
export type { Measurement, Percentiles } from './measures.ts';
export {
  type CancelSignal,
  type Pool,
  type PoolOptions,
  type PoolResult,
  type PoolRunOptions,
  type PoolStats,
  pool,
} from './pool.ts';
export type { LinkLike } from './source.ts';
export type { WorkerStats } from './workers.ts';
