// All kernels: what has to know every one of them walks this table (conformance tests, threads, benchmarks). It brings all of them along.

import type { Backend } from './create-backend.ts';
import { INFERENCE_ROWS } from './inference/table.ts';
import { withLinear } from './linear/part.ts';
import { LINEAR_ROWS } from './linear/table.ts';
import type { Row } from './row.ts';
import { training } from './training/part.ts';
import { TRAINING_ROWS } from './training/table.ts';

const TABLE = /* @__PURE__ */ Object.assign({}, INFERENCE_ROWS, LINEAR_ROWS, TRAINING_ROWS) satisfies Record<
  string,
  Row
>;

export type KernelName = keyof typeof TABLE;

export const KERNEL_NAMES = /* @__PURE__ */ Object.keys(TABLE) as KernelName[];

/** A row, seen without its particular types. */
export function rowOf(name: KernelName): Row {
  return TABLE[name];
}

/** A backend that has them all. */
export type CompleteBackend = ReturnType<typeof withAll>;

/** The same backend with all kernels. */
export function withAll(backend: Backend) {
  return training(withLinear(backend));
}
