// The kernels that each public name runs. The build makes src/generated/ of it: `evenkeel` and `evenkeel/infer` provide each
// name with its kernels (wasm/source.ts), so that a bundle holds those of the names it uses.

import type * as infer from './infer/list.ts';
import type * as plain from './js.ts';
import type { PartName } from './wasm/source.ts';

type Parts = readonly PartName[];

const none: Parts = [];
const forward: Parts = ['inference'];
const trained: Parts = ['inference', 'training'];
const masked: Parts = ['inference', 'masked', 'training'];
const pooled: Parts = ['inference', 'pool'];
const rows: Parts = ['inference', 'rows', 'training'];
const convolved: Parts = ['conv', 'inference', 'training'];
const products: Parts = ['inference', 'linear', 'training'];

export const KERNELS: Readonly<Record<keyof (typeof plain & typeof infer), Parts>> = {
  Tensor: forward,
  tensor: forward,
  zeros: forward,
  tidy: forward,
  configure: forward,
  info: forward,
  init: forward,
  batchNorm: forward,
  crossEntropy: forward,
  BatchNorm: masked,
  BatchNorm1d: masked,
  BatchNorm2d: masked,
  BatchNorm3d: masked,
  BatchRenorm: masked,
  DomainBatchNorm: masked,
  GroupNorm: trained,
  InstanceNorm1d: masked,
  InstanceNorm2d: masked,
  InstanceNorm3d: masked,
  LayerNorm: rows,
  RMSNorm: rows,
  RecurrentBatchNorm1d: masked,
  ActivationLayer: trained,
  ReLU: trained,
  Sigmoid: trained,
  Tanh: trained,
  Dropout: trained,
  Residual: trained,
  Linear: products,
  Conv1d: convolved,
  Conv2d: convolved,
  Conv3d: convolved,
  ConvTranspose1d: convolved,
  ConvTranspose2d: convolved,
  BNLSTMCell: products,
  BNGRUCell: products,
  Sequential: products,
  Graph: ['elementwise', 'inference', 'linear', 'training'],
  Softmax: ['elementwise', 'inference'],
  LogSoftmax: ['elementwise', 'inference'],
  MaxPool1d: pooled,
  MaxPool2d: pooled,
  MaxPool3d: pooled,
  AvgPool1d: pooled,
  AvgPool2d: pooled,
  AvgPool3d: pooled,
  AdaptiveAvgPool1d: pooled,
  AdaptiveAvgPool2d: pooled,
  AdaptiveMaxPool2d: pooled,
  GlobalAvgPool: pooled,
  setThreads: ['conv', 'elementwise', 'inference', 'linear', 'masked', 'pool', 'rows', 'training'],
  load: ['inference', 'linear'],
  norms: rows,
  merging: ['elementwise', 'inference'],
  softmax: ['elementwise', 'inference'],
  pooling: pooled,
  convolutions: ['conv', 'inference'],
  Layer: none,
  Moments: none,
  Diagnosis: none,
  adapt: none,
  diagnose: none,
  populationStatistics: none,
  recalibrate: none,
  Random: none,
  SGD: none,
  Adam: none,
  close: none,
  foldConv: none,
  foldLinear: none,
  foldNorms: none,
  heNormal: none,
  heUniform: none,
  normal: none,
  torchUniform: none,
  xavierNormal: none,
  xavierUniform: none,
};
