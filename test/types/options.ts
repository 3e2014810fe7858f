// Every option of every layer. `Required` makes the lists whole: an option that is added to the
// library and not to its list here does not compile, and neither does one that is renamed or
// removed.

import {
  type Activation,
  ActivationLayer,
  type ActivationName,
  Adam,
  type AdamOptions,
  AvgPool1d,
  type AvgPoolOptions,
  BatchNorm,
  BatchNorm1d,
  BatchNorm2d,
  BatchNorm3d,
  type BatchNormOptions,
  BatchRenorm,
  type BatchRenormOptions,
  BNGRUCell,
  BNLSTMCell,
  Conv2d,
  type ConvOptions,
  ConvTranspose1d,
  type ConvTransposeOptions,
  DomainBatchNorm,
  type DomainBatchNormOptions,
  Dropout,
  Dropout1d,
  Dropout2d,
  Dropout3d,
  type DropoutOptions,
  type FeatureDropoutOptions,
  Flatten,
  GroupNorm,
  type GroupNormOptions,
  InstanceNorm1d,
  InstanceNorm2d,
  InstanceNorm3d,
  type InstanceNormOptions,
  LayerNorm,
  Linear,
  type LinearOptions,
  type LoadOptions,
  type LoadReport,
  LogSoftmax,
  type LSTMCellOptions,
  type MaskOptions,
  MaxPool3d,
  type MaxPoolOptions,
  Pad,
  type PadOptions,
  PReLU,
  RecurrentBatchNorm1d,
  type RecurrentBatchNormOptions,
  type RecurrentCellOptions,
  type RecurrentForwardOptions,
  RMSNorm,
  type RowNormOptions,
  Sequential,
  SGD,
  type SGDOptions,
  Softmax,
  type SoftmaxOptions,
  SpectralNorm,
  type SpectralNormOptions,
  tensor,
  Upsample,
  WeightStandardization,
  type WeightStandardizationOptions,
  xavierNormal,
  xavierUniform,
} from 'evenkeel';
import { type PoolOptions, type PoolRunOptions, pool } from 'evenkeel/pool';
import {
  type BullMQRunOptions,
  type BullMQWorkerOptions,
  directoryStore,
  type Manifest,
  type RunShardsOptions,
  runOnBullMQ,
  runShards,
  type ShardStatistics,
  statisticsTask,
  workOnBullMQ,
} from 'evenkeel/shards';

type Complete<T> = Required<{ [K in keyof T]: T[K] }>;

const batchNorm: Complete<BatchNormOptions> = {
  activation: 'relu',
  affine: 'gamma',
  axis: 2,
  eps: 1e-3,
  layout: 'channels-last',
  momentum: null,
  onNonFinite: 'skip-update',
  onSingleValue: 'use-running',
  runningVariance: 'biased',
  trackRunningStats: true,
  virtualBatchSize: null,
};
for (const Norm of [BatchNorm, BatchNorm1d, BatchNorm2d, BatchNorm3d]) new Norm(3, batchNorm);
const affine: BatchNormOptions['affine'][] = [true, false, 'gamma', 'beta', undefined];
const onNonFinite: BatchNormOptions['onNonFinite'][] = ['propagate', 'skip-update', 'throw', undefined];
const onSingleValue: BatchNormOptions['onSingleValue'][] = ['throw', 'use-running', 'skip-update', undefined];

const renorm: Complete<BatchRenormOptions> = {
  ...batchNorm,
  average: 'std',
  renormMomentum: 0.01,
  dMax: 5,
  rMax: (batches) => 1 + batches / 1000,
  rMin: 1 / 3,
};
new BatchRenorm(3, renorm);
new BatchRenorm(3, BatchRenorm.conventions('keras'));

const domains: Complete<DomainBatchNormOptions> = { ...batchNorm, domains: ['day', 'night'] };
new DomainBatchNorm(3, domains).domain = 'night';

const group: Complete<GroupNormOptions> = {
  activation: { name: 'elu', alpha: 0.5 },
  affine: true,
  axis: -2,
  eps: 1e-5,
  layout: 'channels-first',
  onSingleValue: 'skip-update',
};
new GroupNorm(2, 4, group);

const instance: Complete<InstanceNormOptions> = {
  ...group,
  momentum: 0.1,
  onSingleValue: 'use-running',
  runningVariance: 'unbiased',
  trackRunningStats: true,
};
for (const Norm of [InstanceNorm1d, InstanceNorm2d, InstanceNorm3d]) new Norm(3, instance);

const rows: Complete<RowNormOptions> = { activation: 'gelu', affine: 'gamma', axis: [1], eps: 1e-6 };
new LayerNorm([3, 4], rows);
new RMSNorm(4, rows);

const recurrent: Complete<RecurrentBatchNormOptions> = {
  activation: 'tanh',
  affine: true,
  beyond: 'pooled',
  eps: 1e-5,
  gamma: 0.1,
  maxSteps: 4,
  momentum: 0.1,
  onNonFinite: 'throw',
  onSingleValue: 'throw',
  runningVariance: 'unbiased',
  shrinkage: 8,
};
new RecurrentBatchNorm1d(3, recurrent);

const { activation: _, affine: __, ...steps } = recurrent;
const cell: Complete<RecurrentCellOptions> = { ...steps, init: xavierUniform(), norm: true, output: 'last', seed: 1 };
new BNGRUCell(3, 4, cell);
const lstm: Complete<LSTMCellOptions> = { ...cell, forgetBias: 1 };
new BNLSTMCell(3, 4, lstm);

const linear: Complete<LinearOptions> = { bias: false, init: xavierNormal(), seed: 3 };
new Linear(3, 4, linear);
const dropout: Complete<DropoutOptions> = { seed: 3, noiseShape: [null, 1, 4] };
new Dropout(0.2, dropout);
const featureDropout: Complete<FeatureDropoutOptions> = { seed: 3, layout: 'channels-last' };
for (const FeatureDropout of [Dropout1d, Dropout2d, Dropout3d]) new FeatureDropout(0.2, featureDropout);

const spectralNorm: Complete<SpectralNormOptions> = { iterations: 2, eps: 1e-6, seed: 1 };
new SpectralNorm(new Conv2d(3, 4, 3), spectralNorm);
const weightStandardization: Complete<WeightStandardizationOptions> = { eps: 1e-6 };
new WeightStandardization(new Linear(3, 4), weightStandardization);
const load: Complete<LoadOptions> = { strict: false };
const report: LoadReport = new Linear(3, 4).loadStateDict({}, load);
export const names: readonly string[] = [...report.missing, ...report.unexpected];
const softmax: Complete<SoftmaxOptions> = { axis: -1 };
new Softmax(softmax);
new LogSoftmax(softmax);

const sgd: Complete<SGDOptions> = {
  dampening: 0,
  decayNorms: true,
  lr: 0.1,
  momentum: 0.9,
  nesterov: true,
  weightDecay: 1e-4,
};
const adam: Complete<AdamOptions> = {
  amsgrad: false,
  betas: [0.9, 0.999],
  decayNorms: true,
  eps: 1e-8,
  lr: 1e-3,
  weightDecay: 0,
};
const net = new Sequential(new Linear(3, 4));
new SGD(net.parameters(), sgd);
new Adam(net.parameters(), adam);

const conv: Complete<ConvOptions> = {
  bias: false,
  dilation: [1, 1],
  groups: 1,
  init: xavierNormal(),
  layout: 'channels-last',
  padding: [
    [1, 2],
    [0, 1],
  ],
  seed: 1,
  stride: 2,
};
new Conv2d(4, 8, [3, 1], conv);
const transposed: Complete<ConvTransposeOptions> = {
  bias: false,
  dilation: 1,
  groups: 1,
  init: xavierNormal(),
  layout: 'channels-first',
  outputPadding: 1,
  padding: 1,
  seed: 1,
  stride: 2,
};
new ConvTranspose1d(4, 8, 3, transposed);
const maxPool: Complete<MaxPoolOptions> = {
  ceilMode: true,
  dilation: 1,
  layout: 'channels-last',
  padding: 1,
  stride: 2,
};
new MaxPool3d(3, maxPool);
const avgPool: Complete<AvgPoolOptions> = {
  ceilMode: true,
  countIncludePad: false,
  layout: 'channels-last',
  padding: 1,
  stride: 2,
};
new AvgPool1d(3, avgPool);
const pad: Complete<PadOptions> = { layout: 'channels-first', mode: 'reflect', value: 0 };
new Pad(
  [
    [1, 2],
    [0, 1],
  ],
  pad,
);
new Upsample({ alignCorners: false, layout: 'channels-last', mode: 'bilinear', scale: 2 });
new PReLU(4, { init: 0.25, layout: 'channels-first' });
new Flatten({ endAxis: -1, startAxis: 1 });

/** Activations by name, and those with a parameter as an object. */
const activations: Record<ActivationName, Activation> = {
  relu: 'relu',
  relu6: 'relu6',
  'leaky-relu': { name: 'leaky-relu', slope: 0.2 },
  elu: { name: 'elu', alpha: 0.5 },
  silu: 'silu',
  sigmoid: 'sigmoid',
  tanh: 'tanh',
  gelu: 'gelu',
  'gelu-tanh': 'gelu-tanh',
  'hard-swish': 'hard-swish',
  'hard-sigmoid': 'hard-sigmoid',
  softplus: 'softplus',
  mish: 'mish',
};
for (const activation of Object.values(activations)) new ActivationLayer(activation);

// Options of a forward: masks where there are channels, states where there are steps.
const x = tensor(new Float32Array(24), [2, 4, 3]);
const mask: Complete<MaskOptions> = {
  lengths: [4, 2],
  mask: { data: [1, 1, 1, 1, 1, 1, 0, 0], shape: [2, 4] },
  weights: { data: new Float32Array(8), shape: [2, 4] },
};
new BatchNorm1d(3, { layout: 'channels-last' }).forward(x, { lengths: mask.lengths, out: x, residual: x });
new InstanceNorm1d(3, { layout: 'channels-last' }).forward(x, { mask: mask.mask });
const sequence: Complete<RecurrentForwardOptions> = {
  lengths: [4, 2],
  out: x,
  state: { h: new Float32Array(8), step: 4 },
};
new BNGRUCell(3, 4, { maxSteps: 4 }).forward(x, sequence);

// A pool: all of its options, and of a request's.
const abort = { aborted: false, reason: undefined, addEventListener() {}, removeEventListener() {} };
const pooled: Complete<PoolOptions> = {
  maxBatch: 32,
  maxDelay: 1,
  maxQueue: 100,
  metrics: ({ name, value }) => name.length + value,
  operations: ['norms'],
  timeout: 1000,
  workers: 'auto',
};
const request: Complete<PoolRunOptions> = { signal: abort, timeout: 10 };
export const answered = pool('net.safetensors', pooled).then(async (p) => {
  const { data } = await p.run({ data: new Float32Array(2), dims: [1, 2] }, request);
  for await (const { shape } of p.map([{ data, shape: [1, 2] }])) shape.length;
  return p.stats().latency.p99;
});

// Runs over shards: all of their options.
const task = statisticsTask({ version: '1', net: () => new BatchNorm1d(3), batches: () => [x], forward: () => {} });
const manifest: Complete<Manifest> = { task: './task.mjs', shards: [{ key: 'a', input: { file: 'a' } }] };
const local: Complete<RunShardsOptions> = {
  attempts: 2,
  progress: ({ done }) => done,
  signal: { aborted: false, throwIfAborted() {} },
};
const worker: Complete<BullMQWorkerOptions> = {
  connection: 'redis://127.0.0.1:6379',
  connectTimeout: 1000,
  lockDuration: 30_000,
  queue: 'q',
  store: directoryStore('parts'),
  task: 'task.mjs',
  threads: 2,
};
const over: Complete<BullMQRunOptions<ShardStatistics>> = {
  attempts: 3,
  connection: { connectionString: 'postgres://127.0.0.1/x' },
  connectTimeout: 1000,
  deadline: 1000,
  manifest,
  progress: ({ all }) => all,
  queue: 'q',
  signal: { aborted: false, throwIfAborted() {} },
  store: directoryStore('parts'),
  task,
};
export const merged = runShards(manifest, task, local).then(({ layers }) => layers['1'].count);
export const brokered = workOnBullMQ(worker).then(() => runOnBullMQ(over));

export { affine, onNonFinite, onSingleValue };
