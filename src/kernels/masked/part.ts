// The kernels of batches in which not every place counts, and the plain loops of each.

import { type Backend, withPart } from '../create-backend.ts';
import type { Part, Twin } from '../part.ts';
import * as js from './js.ts';

const TWINS = {
  masked_sums_ncx_f32: ['fffffdd', js.masked_sums_ncx_f32],
  masked_sums_nxc_f32: ['ffffffdd', js.masked_sums_nxc_f32],
  weigh_ncx_f32: ['ff', js.weigh_ncx_f32],
  weigh_nxc_f32: ['ff', js.weigh_nxc_f32],
} as const satisfies Record<string, Twin>;

export const MASKED: Part<typeof TWINS> = { name: 'masked', twins: TWINS };

/** The same backend with these kernels. */
export function withMasked<B extends Backend>(backend: B) {
  return withPart(backend, MASKED);
}
