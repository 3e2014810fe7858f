// One row per kernel of pooling; see ../inference/table.ts.

import { WORTHWHILE } from '../part.ts';
import { anywhere, type Row, read, type Sizes, type Split, sizes, write } from '../row.ts';
import { WINDOW } from './windows.ts';

export const input = ({ outer, channels, inDepth, inHeight, inWidth }: Sizes) =>
  outer * channels * inDepth * inHeight * inWidth;
export const output = ({ outer, channels, outDepth, outHeight, outWidth }: Sizes) =>
  outer * channels * outDepth * outHeight * outWidth;
export const windows = ({ outDepth, outHeight, outWidth }: Sizes) => (outDepth + outHeight + outWidth) * WINDOW;

export const bySamples = (): Split => ({
  along: 'outer',
  grain: anywhere,
  work: ['outer', 'channels', 'inDepth', 'inHeight', 'inWidth'],
  least: WORTHWHILE,
});
export const image = () =>
  sizes('outer', 'channels', 'inDepth', 'inHeight', 'inWidth', 'outDepth', 'outHeight', 'outWidth');
export const dilation = () => sizes('dilationDepth', 'dilationHeight', 'dilationWidth');

const table = () =>
  ({
    avg_pool_f32: {
      split: bySamples(),
      args: [read('x', input), read('windows', windows), write('y', output), ...image()],
    },
    max_pool_f32: {
      split: bySamples(),
      args: [read('x', input), read('windows', windows), write('y', output), ...image(), ...dilation()],
    },
  }) satisfies Record<string, Row>;

export const POOL_ROWS = /* @__PURE__ */ table();
