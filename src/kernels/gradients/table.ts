// One row per kernel of gradients of convolutions' weights and of pooling; see
// ../inference/table.ts.

import { panels, pixels, reach, runs, span } from '../conv/table.ts';
import { WORTHWHILE_PRODUCT } from '../part.ts';
import { bySamples, dilation, image, input, output, windows } from '../pool/table.ts';
import { type Row, read, type Sizes, sizes, write } from '../row.ts';

/** dy moves along with the columns that a part works on, which end where those of the whole do. */
const shifted = ({ span, cols }: Sizes) => span + cols;

const table = () =>
  ({
    avg_pool_grad_f32: {
      split: bySamples(),
      args: [read('dy', output), read('windows', windows), write('dx', input), ...image()],
    },
    conv_weights_nxc_f32: {
      // panels of columns
      split: { along: 'cols', grain: () => 8, work: ['cols', 'count', 'runs', 'run'], least: WORTHWHILE_PRODUCT },
      args: [
        read('x', reach),
        read('dy', shifted),
        read('at', pixels),
        read('to', pixels),
        read('taps', runs),
        write('dw', (sizes) => panels(sizes) * sizes.runs * sizes.run),
        ...sizes('count', 'runs', 'run', 'cols', 'reach', 'span'),
      ],
    },
    depthwise_weights_nxc_f32: {
      args: [
        read('x', reach),
        read('dy', span),
        read('at', pixels),
        read('to', pixels),
        read('taps', runs),
        write('dw', ({ runs, cols }) => runs * cols),
        ...sizes('count', 'runs', 'cols', 'reach', 'span'),
      ],
    },
    max_pool_grad_f32: {
      split: bySamples(),
      args: [
        read('x', input),
        read('windows', windows),
        read('dy', output),
        write('dx', input),
        ...image(),
        ...dilation(),
      ],
    },
  }) satisfies Record<string, Row>;

export const GRADIENTS_ROWS = /* @__PURE__ */ table();
