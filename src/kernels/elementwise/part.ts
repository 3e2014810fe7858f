// The kernels of products and softmax, and the plain loops of each.

import { type Backend, withPart } from '../create-backend.ts';
import type { Part, Twin } from '../part.ts';
import * as js from './js.ts';

const TWINS = {
  multiply_f32: ['fff', js.multiply_f32],
  softmax_grad_rows_f32: ['fff', js.softmax_grad_rows_f32],
  softmax_rows_f32: ['ff', js.softmax_rows_f32],
} as const satisfies Record<string, Twin>;

export const ELEMENTWISE: Part<typeof TWINS> = { name: 'elementwise', twins: TWINS };

/** The same backend with these kernels. */
export function withElementwise<B extends Backend>(backend: B) {
  return withPart(backend, ELEMENTWISE);
}
