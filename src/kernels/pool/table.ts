// One row per kernel of pooling; see ../inference/table.ts.

import { WORTHWHILE } from '../part.ts';
import { anywhere, type Row, read, type Sizes, type Split, sizes, write } from '../row.ts';
import { WINDOW } from './windows.ts';

const input = ({ outer, channels, inDepth, inHeight, inWidth }: Sizes) =>
  outer * channels * inDepth * inHeight * inWidth;
const output = ({ outer, channels, outDepth, outHeight, outWidth }: Sizes) =>
  outer * channels * outDepth * outHeight * outWidth;
const windows = ({ outDepth, outHeight, outWidth }: Sizes) => (outDepth + outHeight + outWidth) * WINDOW;

const table = () => {
  const bySamples: Split = {
    along: 'outer',
    grain: anywhere,
    work: ['outer', 'channels', 'inDepth', 'inHeight', 'inWidth'],
    least: WORTHWHILE,
  };
  const image = sizes('outer', 'channels', 'inDepth', 'inHeight', 'inWidth', 'outDepth', 'outHeight', 'outWidth');
  const dilation = sizes('dilationDepth', 'dilationHeight', 'dilationWidth');
  return {
    avg_pool_f32: {
      split: bySamples,
      args: [read('x', input), read('windows', windows), write('y', output), ...image],
    },
    avg_pool_grad_f32: {
      split: bySamples,
      args: [read('dy', output), read('windows', windows), write('dx', input), ...image],
    },
    max_pool_f32: {
      split: bySamples,
      args: [read('x', input), read('windows', windows), write('y', output), ...image, ...dilation],
    },
    max_pool_grad_f32: {
      split: bySamples,
      args: [read('x', input), read('windows', windows), read('dy', output), write('dx', input), ...image, ...dilation],
    },
  } satisfies Record<string, Row>;
};

export const POOL_ROWS = /* @__PURE__ */ table();
