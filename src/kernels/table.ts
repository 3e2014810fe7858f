// All kernels: what has to know every one of them walks this table (conformance tests, threads, benchmarks). It brings all of them along.

import type { Backend } from './create-backend.ts';
import { INFERENCE_ROWS } from './inference/table.ts';
import { withLinear } from './linear/part.ts';
import { LINEAR_ROWS } from './linear/table.ts';
import { withMasked } from './masked/part.ts';
import { MASKED_ROWS } from './masked/table.ts';
import type { Row } from './row.ts';
import { withRows } from './rows/part.ts';
import { ROWS_ROWS } from './rows/table.ts';
import { training } from './training/part.ts';
import { TRAINING_ROWS } from './training/table.ts';

type Table = typeof INFERENCE_ROWS & typeof LINEAR_ROWS & typeof MASKED_ROWS & typeof ROWS_ROWS & typeof TRAINING_ROWS;

const TABLE: Table & Record<string, Row> = /* @__PURE__ */ Object.assign(
  {},
  ...[INFERENCE_ROWS, LINEAR_ROWS, MASKED_ROWS, ROWS_ROWS, TRAINING_ROWS],
);

export type KernelName = keyof Table;

export const KERNEL_NAMES = /* @__PURE__ */ Object.keys(TABLE) as KernelName[];

/** A row, seen without its particular types. */
export function rowOf(name: KernelName): Row {
  return TABLE[name];
}

/** A backend that has them all. */
export type CompleteBackend = ReturnType<typeof withAll>;

/** The same backend with all kernels. */
export function withAll(backend: Backend) {
  return withRows(withMasked(training(withLinear(backend))));
}
