// The kernels of norms whose statistics are those of one row, and the plain loops of each.

import { type Backend, withPart } from '../create-backend.ts';
import type { Part, Twin } from '../part.ts';
import * as js from './js.ts';

const TWINS = {
  grad_rows_f32: ['ffffffffdd', js.grad_rows_f32],
  norm_rows_f32: ['ffffffffd', js.norm_rows_f32],
} as const satisfies Record<string, Twin>;

export const ROWS: Part<typeof TWINS> = { name: 'rows', twins: TWINS };

/** The same backend with these kernels. */
export function withRows<B extends Backend>(backend: B) {
  return withPart(backend, ROWS);
}
