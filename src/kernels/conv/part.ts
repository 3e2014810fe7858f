// The kernels of convolutions, and the plain loops of each.

import { type Backend, withPart } from '../create-backend.ts';
import type { Part, Twin } from '../part.ts';
import * as js from './js.ts';

const TWINS = {
  conv_nxc_f32: ['ffffffff', js.conv_nxc_f32],
  decode_bytes_f32: ['f', js.decode_bytes_f32],
  depthwise_nxc_f32: ['ffffffff', js.depthwise_nxc_f32],
  depthwise_rows_nxc_f32: ['ffffff', js.depthwise_rows_nxc_f32],
  pack_taps_f32: ['ffd', js.pack_taps_f32],
  pad_nxc_f32: ['ff', js.pad_nxc_f32],
  pixel_table_f32: ['f', js.pixel_table_f32],
  sum_runs_f32: ['ff', js.sum_runs_f32],
  winograd_nxc_f32: ['ffffff', js.winograd_nxc_f32],
} as const satisfies Record<string, Twin>;

export const CONV: Part<typeof TWINS> = { name: 'conv', twins: TWINS };

/** The same backend with these kernels. */
export function withConv<B extends Backend>(backend: B) {
  return withPart(backend, CONV);
}
