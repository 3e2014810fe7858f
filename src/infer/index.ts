// `evenkeel/infer`: compiled networks and batch norm in evaluation, without anything that trains. Behind each name the kernels that it runs, as in
// src/index.ts; names of both are provided in both, since a module for them would be one more file to load at the start of each.

import { inference, linear, rows, training } from '#wasm';
import { provide } from '../wasm/source.ts';
import * as plain from './list.ts';

export * from './list.ts';

export const Tensor = /* @__PURE__ */ provide(plain.Tensor, { inference });
export type Tensor = plain.Tensor;
export const tensor = /* @__PURE__ */ provide(plain.tensor, { inference });
export const zeros = /* @__PURE__ */ provide(plain.zeros, { inference });
export const tidy = /* @__PURE__ */ provide(plain.tidy, { inference });
export const configure = /* @__PURE__ */ provide(plain.configure, { inference });
export const info = /* @__PURE__ */ provide(plain.info, { inference });
export const init = /* @__PURE__ */ provide(plain.init, { inference });
export const batchNorm = /* @__PURE__ */ provide(plain.batchNorm, { inference });
export const load = /* @__PURE__ */ provide(plain.load, { inference, linear });
export const norms = /* @__PURE__ */ provide(plain.norms, { inference, rows, training });
