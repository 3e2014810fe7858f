// `evenkeel/shards`: one function per shard, on one machine or on many, with one result.

export type { ErrorCode, EvenkeelError } from '../errors.ts';
export type { Layer } from '../layers/layer.ts';
export { Moments, type MomentsJSON, type MomentsOptions } from '../norms/statistics/moments.ts';
export type { LinkLike } from '../pool/source.ts';
export type { Batches } from '../stats/population.ts';
export {
  type BullMQRunOptions,
  type BullMQWorker,
  type BullMQWorkerOptions,
  runOnBullMQ,
  workOnBullMQ,
} from './bullmq.ts';
export { type InferenceOutput, type InferenceTaskOptions, inferenceTask } from './inference.ts';
export { type Manifest, runIdOf, type Shard } from './manifest.ts';
export type { BrokerConnection } from './peer.ts';
export {
  mergeShards,
  type RunShardsOptions,
  runShard,
  runShards,
  type ShardProgress,
  type ShardReport,
} from './run.ts';
export { applyStatistics, type ShardStatistics, type StatisticsTaskOptions, statisticsTask } from './statistics.ts';
export { directoryStore, type PartStore } from './store.ts';
export type { ShardContext, ShardResult, ShardTask, TaskSignal } from './task.ts';
