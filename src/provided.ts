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
const rows: Parts = ['inference', 'rows', 'training'];
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
  mse: forward,
  huber: forward,
  bceWithLogits: forward,
  accuracy: forward,
  topK: forward,
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
  BNLSTMCell: products,
  BNGRUCell: products,
  Sequential: products,
  Graph: ['elementwise', 'inference', 'linear', 'training'],
  Softmax: ['elementwise', 'inference'],
  LogSoftmax: ['elementwise', 'inference'],
  setThreads: ['elementwise', 'inference', 'linear', 'masked', 'rows', 'training'],
  load: ['inference', 'linear'],
  norms: rows,
  merging: ['elementwise', 'inference'],
  softmax: ['elementwise', 'inference'],
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
  AdamW: none,
  RMSprop: none,
  namedParameters: none,
  clipGradNorm: none,
  clipGradValue: none,
  EMA: none,
  StepLR: none,
  CosineLR: none,
  WarmUp: none,
  OneCycle: none,
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
