// The kernels of products, and the plain loops of each.

import { type Backend, withPart } from '../create-backend.ts';
import type { Part, Twin } from '../part.ts';
import * as js from './js.ts';

const TWINS = {
  byte_sums_f32: ['fd', js.byte_sums_f32],
  linear_f32: ['ffff', js.linear_f32],
  pack_f32: ['ff', js.pack_f32],
} as const satisfies Record<string, Twin>;

export const LINEAR: Part<typeof TWINS> = { name: 'linear', twins: TWINS };

/** The same backend with these kernels. */
export function withLinear<B extends Backend>(backend: B) {
  return withPart(backend, LINEAR);
}
