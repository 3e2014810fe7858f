// The public list, without WebAssembly: `evenkeel/js`, where the plain loops run. `evenkeel` is the
// same with kernels (index.ts).

export type { ErrorCode, EvenkeelError } from './errors.ts';
export {
  type Certificate,
  type Convolution,
  type Folded,
  type FoldOptions,
  foldConv,
  foldLinear,
} from './fold/fold.ts';
export type { ConvWeights, LinearWeights } from './fold/geometry.ts';
export { foldNorms, type Norm, type Scale, type Statistics } from './fold/norm.ts';
export type { NetworkCertificate } from './infer/certificate.ts';
export type { CompiledNetwork, CompileOptions } from './infer/compile.ts';
export type { StepPlan } from './infer/explain.ts';
export type { Profile, StepProfile } from './infer/profile.ts';
export type { Port } from './infer/program.ts';
export type { Compiled, Named, RunOptions } from './infer/run.ts';
export type { Activation, ActivationName } from './kernels/activations.ts';
export { type Configuration, configure, type Info, type Initialization, info, init } from './kernels/backend.ts';
export type { BackendName } from './kernels/create-backend.ts';
export type { ConvPadding } from './layers/conv-options.ts';
export { Layer } from './layers/layer.ts';
export type { PerAxis } from './layers/per-axis.ts';
export type { LoadOptions, LoadReport, StateSlot, StateSlots } from './layers/state.ts';
export {
  ActivationLayer,
  GELU,
  type GELUOptions,
  HardSwish,
  LeakyReLU,
  ReLU,
  ReLU6,
  Sigmoid,
  SiLU,
  Tanh,
} from './nn/activations.ts';
export {
  type CheckpointOptions,
  type CheckpointParts,
  checkpointBytes,
  type FileLocation,
  type LoadedCheckpoint,
  loadCheckpoint,
  type Stateful,
  saveCheckpoint,
} from './nn/checkpoint.ts';
export {
  Conv1d,
  Conv2d,
  Conv3d,
  type ConvOptions,
  ConvTranspose1d,
  ConvTranspose2d,
  type ConvTransposeOptions,
} from './nn/conv.ts';
export { HardSigmoid, type HardSigmoidOptions, HardTanh, SELU, Softsign } from './nn/curves.ts';
export {
  type AsyncBatchIterable,
  type BatchIterable,
  type BatchOptions,
  batches,
  type Sample,
  stack,
} from './nn/data.ts';
export {
  Dropout,
  Dropout1d,
  Dropout2d,
  Dropout3d,
  type DropoutOptions,
  type FeatureDropoutOptions,
} from './nn/dropout.ts';
export {
  type AnyOutputs,
  Graph,
  type GraphBuilder,
  type GraphInputs,
  type GraphOutputs,
  type GraphPort,
  type Outputs,
  type SymbolicShape,
  type Value,
} from './nn/graph.ts';
export {
  heNormal,
  heUniform,
  type Initializer,
  normal,
  torchUniform,
  xavierNormal,
  xavierUniform,
} from './nn/initializers.ts';
export { Linear, type LinearOptions } from './nn/linear.ts';
export {
  type AccuracyOptions,
  accuracy,
  type BceOptions,
  bceWithLogits,
  type CrossEntropyOptions,
  crossEntropy,
  type HuberOptions,
  huber,
  type Labels,
  type Loss,
  type LossOptions,
  mse,
  type Reduction,
  topK,
} from './nn/loss.ts';
export type { Network, NetworkOptions } from './nn/network.ts';
export { Adam, type AdamOptions, AdamW, type AdamWOptions } from './nn/optim/adam.ts';
export { clipGradNorm, clipGradValue } from './nn/optim/clip.ts';
export { EMA, type EMAOptions } from './nn/optim/ema.ts';
export type { CommonOptions, GroupOptions, Optimizer, ParameterGroup } from './nn/optim/optimizer.ts';
export { type NamedParameter, namedParameters, type Parameters } from './nn/optim/parameters.ts';
export { RMSprop, type RMSpropOptions } from './nn/optim/rmsprop.ts';
export {
  CosineLR,
  type CosineLROptions,
  OneCycle,
  type OneCycleOptions,
  type Schedule,
  type Scheduled,
  StepLR,
  type StepLROptions,
  WarmUp,
  type WarmUpOptions,
} from './nn/optim/schedule.ts';
export { SGD, type SGDOptions } from './nn/optim/sgd.ts';
export { Pad, type PadOptions } from './nn/pad.ts';
export {
  AdaptiveAvgPool1d,
  AdaptiveAvgPool2d,
  AdaptiveMaxPool2d,
  AvgPool1d,
  AvgPool2d,
  AvgPool3d,
  type AvgPoolOptions,
  GlobalAvgPool,
  MaxPool1d,
  MaxPool2d,
  MaxPool3d,
  type MaxPoolOptions,
  type PoolLayoutOptions,
} from './nn/pool.ts';
export { PReLU, type PReLUOptions } from './nn/prelu.ts';
export { Random } from './nn/random.ts';
export type { RecurrentCellOptions, RecurrentForwardOptions, RecurrentState } from './nn/recurrent/cell-options.ts';
export { BNGRUCell } from './nn/recurrent/gru-cell.ts';
export { BNLSTMCell, type LSTMCellOptions } from './nn/recurrent/lstm-cell.ts';
export {
  SpectralNorm,
  type SpectralNormOptions,
  type WeightedLayer,
  WeightStandardization,
  type WeightStandardizationOptions,
} from './nn/reparameterized.ts';
export { Flatten, type FlattenOptions, Reshape } from './nn/reshape.ts';
export { Residual } from './nn/residual.ts';
export { Sequential } from './nn/sequential.ts';
export { LogSoftmax, Softmax, type SoftmaxOptions } from './nn/softmax.ts';
export { Upsample, type UpsampleOptions } from './nn/upsample.ts';
export { BatchNorm } from './norms/batch-norm.ts';
export { BatchNorm1d, BatchNorm2d, BatchNorm3d } from './norms/batch-norm-ranks.ts';
export { BatchRenorm, type BatchRenormOptions, type Bound } from './norms/batch-renorm.ts';
export { DomainBatchNorm, type DomainBatchNormOptions } from './norms/domain-batch-norm.ts';
export { type BatchNormArguments, batchNorm } from './norms/functional.ts';
export { GroupNorm, type GroupNormOptions } from './norms/group-norm.ts';
export { InstanceNorm1d, InstanceNorm2d, InstanceNorm3d, type InstanceNormOptions } from './norms/instance-norm.ts';
export { LayerNorm } from './norms/layer-norm.ts';
export type { ForwardOptions } from './norms/norm.ts';
export type { AffineOptions, BatchNormOptions, BatchNormSettings, Preset, PresetOptions } from './norms/options.ts';
export { RecurrentBatchNorm1d, type RecurrentBatchNormOptions } from './norms/recurrent-batch-norm.ts';
export { RMSNorm } from './norms/rms-norm.ts';
export type { RowNormOptions } from './norms/row-norm.ts';
export { Moments, type MomentsJSON, type MomentsOptions } from './norms/statistics/moments.ts';
export type { Field, MaskOptions } from './passes/mask.ts';
export { type Adaptation, type AdaptOptions, adapt } from './stats/adapt.ts';
export { type DiagnoseOptions, diagnose } from './stats/diagnose.ts';
export {
  type Cause,
  type ChannelGap,
  Diagnosis,
  type DropoutDiagnosis,
  type NormDiagnosis,
  type UnitDiagnosis,
} from './stats/diagnosis.ts';
export {
  type Batches,
  type LayerStatistics,
  type PopulationOptions,
  type PopulationProgress,
  type PopulationStatistics,
  populationStatistics,
  recalibrate,
  type Signal,
} from './stats/population.ts';
export {
  type OfRank,
  type RankOf,
  type Result,
  Tensor,
  type TensorLike,
  tensor,
  tidy,
  zeros,
} from './tensors/tensor.ts';
export { close, setThreads } from './threads/set-threads.ts';
export type { Layout, Parameter, PlainTensor, StateDict, StateEntry } from './types.ts';
