// `evenkeel/pool`: compiled networks in worker threads.

export type { ErrorCode, EvenkeelError } from '../errors.ts';
export type { Bytes } from '../formats/bytes.ts';
export type { OperationKind, Operations } from '../infer/load.ts';
export type { Port } from '../infer/program.ts';
export type { Tensor, TensorLike } from '../tensors/tensor.ts';
export type { PlainTensor } from '../types.ts';
export type { Measurement, Percentiles, PoolStats } from './measures.ts';
export type { CancelSignal, PoolOptions, PoolRunOptions } from './options.ts';
export { type Pool, type PoolResult, pool } from './pool.ts';
export type { LinkLike } from './source.ts';
export type { WorkerStats } from './workers.ts';
