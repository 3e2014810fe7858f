// The kernels of the forward map, and the plain loops of each.

import type { Kernel, Part, Twin } from '../part.ts';
import * as js from './js.ts';

const TWINS = {
  activate_f32: ['ff', js.activate_f32],
  affine_ncx_f32: ['ffffff', js.affine_ncx_f32],
  affine_nxc_f32: ['ffffff', js.affine_nxc_f32],
} as const satisfies Record<string, Twin>;

export type InferenceKernels = Readonly<Record<keyof typeof TWINS, Kernel>>;

export const INFERENCE: Part = { name: 'inference', twins: TWINS };
