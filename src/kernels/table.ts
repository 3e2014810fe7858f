// All kernels: what has to know every one of them walks this table (conformance tests, threads, benchmarks). It brings all of them along.

import { INFERENCE_ROWS } from './inference/table.ts';
import type { Row } from './row.ts';
import { TRAINING_ROWS } from './training/table.ts';

const TABLE = { ...INFERENCE_ROWS, ...TRAINING_ROWS } satisfies Record<string, Row>;

export type KernelName = keyof typeof TABLE;

export const KERNEL_NAMES = Object.keys(TABLE) as KernelName[];

/** A row, seen without its particular types. */
export function rowOf(name: KernelName): Row {
  return TABLE[name];
}
