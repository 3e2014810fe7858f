// The kernels of pooling, and the plain loops of each.

import { type Backend, withPart } from '../create-backend.ts';
import type { Part, Twin } from '../part.ts';
import * as js from './js.ts';

const TWINS = {
  avg_pool_f32: ['fff', js.avg_pool_f32],
  max_pool_f32: ['fff', js.max_pool_f32],
} as const satisfies Record<string, Twin>;

export const POOL: Part<typeof TWINS> = { name: 'pool', twins: TWINS };

/** The same backend with these kernels. */
export function withPool<B extends Backend>(backend: B) {
  return withPart(backend, POOL);
}
