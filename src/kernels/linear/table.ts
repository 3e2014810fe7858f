// One row per kernel of products; see ../inference/table.ts.

import { WORTHWHILE_PRODUCT } from '../part.ts';
import { flat, optional, parameters, type Row, read, sizes, sums, write } from '../row.ts';

// made by a function, so that a bundle without these kernels is without their rows
const table = () =>
  ({
    byte_sums_f32: { args: [read('x', flat), sums('totals', () => 2), ...sizes('size')] },
    linear_f32: {
      split: {
        along: 'rows',
        grain: () => 4,
        work: ['rows', 'depth', 'cols'],
        least: WORTHWHILE_PRODUCT,
      },
      args: [
        read('x', ({ rows, depth, rowStride, depthStride }) =>
          depth ? (rows - 1) * rowStride + (depth - 1) * depthStride + 1 : 0,
        ),
        read('packed', ({ depth, cols }) => Math.ceil(cols / 8) * depth * 8),
        optional('bias', ({ cols }) => cols),
        { name: 'y', type: 'f32', access: 'update', length: ({ rows, cols }) => rows * cols },
        ...sizes('rows', 'depth', 'cols', 'rowStride', 'depthStride'),
        ...parameters('accumulate'),
      ],
    },
    pack_f32: {
      args: [
        read('w', ({ depth, cols, depthStride, colStride }) =>
          depth ? (depth - 1) * depthStride + (cols - 1) * colStride + 1 : 0,
        ),
        write('packed', ({ depth, cols, panelStride }) => (Math.ceil(cols / 8) - 1) * panelStride + depth * 8),
        ...sizes('depth', 'cols', 'depthStride', 'colStride', 'panelStride'),
      ],
    },
  }) satisfies Record<string, Row>;

export const LINEAR_ROWS = /* @__PURE__ */ table();
