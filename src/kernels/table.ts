// All kernels, part by part: what has to know every one of them walks this table (conformance
// tests, threads, benchmarks). It brings all of them along.

import type { PartName } from '../wasm/source.ts';
import { CONV } from './conv/part.ts';
import { CONV_ROWS } from './conv/table.ts';
import { type Backend, withPart } from './create-backend.ts';
import { ELEMENTWISE } from './elementwise/part.ts';
import { ELEMENTWISE_ROWS } from './elementwise/table.ts';
import { GRADIENTS } from './gradients/part.ts';
import { GRADIENTS_ROWS } from './gradients/table.ts';
import { INFERENCE } from './inference/part.ts';
import { INFERENCE_ROWS } from './inference/table.ts';
import { LINEAR } from './linear/part.ts';
import { LINEAR_ROWS } from './linear/table.ts';
import { MASKED } from './masked/part.ts';
import { MASKED_ROWS } from './masked/table.ts';
import type { Kernel, Part, Twin } from './part.ts';
import { POOL } from './pool/part.ts';
import { POOL_ROWS } from './pool/table.ts';
import type { Row } from './row.ts';
import { ROWS } from './rows/part.ts';
import { ROWS_ROWS } from './rows/table.ts';
import { TRAINING } from './training/part.ts';
import { TRAINING_ROWS } from './training/table.ts';

const PARTS = {
  conv: { part: CONV, rows: CONV_ROWS },
  elementwise: { part: ELEMENTWISE, rows: ELEMENTWISE_ROWS },
  gradients: { part: GRADIENTS, rows: GRADIENTS_ROWS },
  inference: { part: INFERENCE, rows: INFERENCE_ROWS },
  linear: { part: LINEAR, rows: LINEAR_ROWS },
  masked: { part: MASKED, rows: MASKED_ROWS },
  pool: { part: POOL, rows: POOL_ROWS },
  rows: { part: ROWS, rows: ROWS_ROWS },
  training: { part: TRAINING, rows: TRAINING_ROWS },
} satisfies Record<PartName, { part: Part; rows: Record<string, Row> }>;

type RowsOf<P extends PartName> = (typeof PARTS)[P]['rows'];

export type KernelName = { [P in PartName]: keyof RowsOf<P> }[PartName];

const ALL = /* @__PURE__ */ Object.values(PARTS);
const TABLE = /* @__PURE__ */ Object.assign({}, ...ALL.map(({ rows }) => rows)) as Record<KernelName, Row>;
/** The plain loops of each. */
export const TWINS = /* @__PURE__ */ Object.assign({}, ...ALL.map(({ part }) => part.twins)) as Record<
  KernelName,
  Twin
>;

export const KERNEL_NAMES = /* @__PURE__ */ Object.keys(TABLE) as KernelName[];

export function rowOf(name: KernelName): Row {
  return TABLE[name];
}

type Kernels = Readonly<Record<KernelName, Kernel>>;

/** A backend that has them all. */
export type CompleteBackend = Omit<Backend, 'kernels' | 'parallel'> & { kernels: Kernels; parallel: Kernels };

/** The same backend with all kernels. */
export function withAll(backend: Backend): CompleteBackend {
  for (const { part } of ALL) withPart(backend, part as Part);
  return backend as CompleteBackend;
}
