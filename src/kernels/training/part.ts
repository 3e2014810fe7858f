// The kernels that only training needs, and the plain loops of each.

import { type Backend, withPart } from '../create-backend.ts';
import type { Part, Twin } from '../part.ts';
import * as js from './js.ts';

const TWINS = {
  activate_grad_f32: ['fff', js.activate_grad_f32],
  column_sums_f32: ['fd', js.column_sums_f32],
  dropout_f32: ['ff', js.dropout_f32],
  grad_input_ncx_f32: ['fffffff', js.grad_input_ncx_f32],
  grad_input_nxc_f32: ['fffffff', js.grad_input_nxc_f32],
  grad_stats_ncx_f32: ['ffffddd', js.grad_stats_ncx_f32],
  grad_sums_nxc_f32: ['fffffdd', js.grad_sums_nxc_f32],
  grad_totals_nxc_f32: ['ffffdddd', js.grad_totals_nxc_f32],
  moments_nxc_f32: ['ffdddd', js.moments_nxc_f32],
  pivot_nxc_f32: ['ff', js.pivot_nxc_f32],
  stats_ncx_f32: ['ffddd', js.stats_ncx_f32],
  sums_nxc_f32: ['fffdd', js.sums_nxc_f32],
} as const satisfies Record<string, Twin>;

export const TRAINING: Part<typeof TWINS> = { name: 'training', twins: TWINS };

/** The same backend with these kernels. */
export function training<B extends Backend>(backend: B) {
  return withPart(backend, TRAINING);
}
