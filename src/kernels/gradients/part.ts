// The kernels of gradients of convolutions' weights and of pooling, and the plain loops of each.

import { type Backend, withPart } from '../create-backend.ts';
import type { Part, Twin } from '../part.ts';
import * as js from './js.ts';

const TWINS = {
  avg_pool_grad_f32: ['fff', js.avg_pool_grad_f32],
  conv_weights_nxc_f32: ['ffffff', js.conv_weights_nxc_f32],
  depthwise_weights_nxc_f32: ['ffffff', js.depthwise_weights_nxc_f32],
  max_pool_grad_f32: ['ffff', js.max_pool_grad_f32],
} as const satisfies Record<string, Twin>;

export const GRADIENTS: Part<typeof TWINS> = { name: 'gradients', twins: TWINS };

/** The same backend with these kernels. */
export function withGradients<B extends Backend>(backend: B) {
  return withPart(backend, GRADIENTS);
}
