// One row per kernel of products and softmax; see ../inference/table.ts.

import { bySize, byWholeRows, flat, matrix, parameters, type Row, read, sizes, write } from '../row.ts';

// made by a function, so that a bundle without these kernels is without their rows
const table = () =>
  ({
    multiply_f32: {
      split: bySize,
      args: [read('x', flat), read('w', flat), write('y', flat, 'x', 'w'), ...sizes('size')],
    },
    softmax_grad_rows_f32: {
      split: byWholeRows,
      args: [
        read('y', matrix),
        read('dy', matrix),
        write('dx', matrix, 'y', 'dy'),
        ...parameters('log'),
        ...sizes('rows', 'cols'),
      ],
    },
    softmax_rows_f32: {
      split: byWholeRows,
      args: [read('x', matrix), write('y', matrix, 'x'), ...parameters('log'), ...sizes('rows', 'cols')],
    },
  }) satisfies Record<string, Row>;

export const ELEMENTWISE_ROWS = /* @__PURE__ */ table();
