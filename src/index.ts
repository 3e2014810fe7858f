// The public list: what js.ts has, and behind each name the kernels that it runs. Names that run none come as they are.

import { inference, linear, masked, rows, training } from '#wasm';
import * as plain from './js.ts';
import { provide } from './wasm/source.ts';

export * from './js.ts';

export const Tensor = /* @__PURE__ */ provide(plain.Tensor, { inference });
export type Tensor = plain.Tensor;
export const tensor = /* @__PURE__ */ provide(plain.tensor, { inference });
export const zeros = /* @__PURE__ */ provide(plain.zeros, { inference });
export const tidy = /* @__PURE__ */ provide(plain.tidy, { inference });
export const configure = /* @__PURE__ */ provide(plain.configure, { inference });
export const info = /* @__PURE__ */ provide(plain.info, { inference });
export const init = /* @__PURE__ */ provide(plain.init, { inference });
export const batchNorm = /* @__PURE__ */ provide(plain.batchNorm, { inference });
export const crossEntropy = /* @__PURE__ */ provide(plain.crossEntropy, { inference });

export const BatchNorm = /* @__PURE__ */ provide(plain.BatchNorm, { inference, masked, training });
export type BatchNorm<R extends number = number> = plain.BatchNorm<R>;
export const BatchNorm1d = /* @__PURE__ */ provide(plain.BatchNorm1d, { inference, masked, training });
export type BatchNorm1d = plain.BatchNorm1d;
export const BatchNorm2d = /* @__PURE__ */ provide(plain.BatchNorm2d, { inference, masked, training });
export type BatchNorm2d = plain.BatchNorm2d;
export const BatchNorm3d = /* @__PURE__ */ provide(plain.BatchNorm3d, { inference, masked, training });
export type BatchNorm3d = plain.BatchNorm3d;
export const BatchRenorm = /* @__PURE__ */ provide(plain.BatchRenorm, { inference, masked, training });
export type BatchRenorm = plain.BatchRenorm;
export const DomainBatchNorm = /* @__PURE__ */ provide(plain.DomainBatchNorm, { inference, masked, training });
export type DomainBatchNorm = plain.DomainBatchNorm;
export const GroupNorm = /* @__PURE__ */ provide(plain.GroupNorm, { inference, training });
export type GroupNorm = plain.GroupNorm;
export const InstanceNorm1d = /* @__PURE__ */ provide(plain.InstanceNorm1d, { inference, masked, training });
export type InstanceNorm1d = plain.InstanceNorm1d;
export const InstanceNorm2d = /* @__PURE__ */ provide(plain.InstanceNorm2d, { inference, masked, training });
export type InstanceNorm2d = plain.InstanceNorm2d;
export const InstanceNorm3d = /* @__PURE__ */ provide(plain.InstanceNorm3d, { inference, masked, training });
export type InstanceNorm3d = plain.InstanceNorm3d;
export const LayerNorm = /* @__PURE__ */ provide(plain.LayerNorm, { inference, rows, training });
export type LayerNorm = plain.LayerNorm;
export const RMSNorm = /* @__PURE__ */ provide(plain.RMSNorm, { inference, rows, training });
export type RMSNorm = plain.RMSNorm;
export const RecurrentBatchNorm1d = /* @__PURE__ */ provide(plain.RecurrentBatchNorm1d, {
  inference,
  masked,
  training,
});
export type RecurrentBatchNorm1d = plain.RecurrentBatchNorm1d;
export const ActivationLayer = /* @__PURE__ */ provide(plain.ActivationLayer, { inference, training });
export type ActivationLayer = plain.ActivationLayer;
export const ReLU = /* @__PURE__ */ provide(plain.ReLU, { inference, training });
export type ReLU = plain.ReLU;
export const Sigmoid = /* @__PURE__ */ provide(plain.Sigmoid, { inference, training });
export type Sigmoid = plain.Sigmoid;
export const Tanh = /* @__PURE__ */ provide(plain.Tanh, { inference, training });
export type Tanh = plain.Tanh;
export const Dropout = /* @__PURE__ */ provide(plain.Dropout, { inference, training });
export type Dropout = plain.Dropout;
export const Residual = /* @__PURE__ */ provide(plain.Residual, { inference, training });
export type Residual = plain.Residual;

export const Linear = /* @__PURE__ */ provide(plain.Linear, { inference, linear, training });
export type Linear = plain.Linear;
export const BNLSTMCell = /* @__PURE__ */ provide(plain.BNLSTMCell, { inference, linear, training });
export type BNLSTMCell = plain.BNLSTMCell;
export const BNGRUCell = /* @__PURE__ */ provide(plain.BNGRUCell, { inference, linear, training });
export type BNGRUCell = plain.BNGRUCell;
export const Sequential = /* @__PURE__ */ provide(plain.Sequential, { inference, linear, training });
export type Sequential = plain.Sequential;
export const Graph = /* @__PURE__ */ provide(plain.Graph, { inference, linear, training });
export type Graph<
  I extends Readonly<Record<string, plain.SymbolicShape>> = Readonly<Record<string, plain.SymbolicShape>>,
  // biome-ignore lint/suspicious/noExplicitAny: whatever its outputs
  G extends plain.Value | Readonly<Record<string, plain.Value>> = any,
> = plain.Graph<I, G>;
export const setThreads = /* @__PURE__ */ provide(plain.setThreads, { inference, linear, masked, rows, training });
