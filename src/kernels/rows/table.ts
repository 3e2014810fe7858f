// One row per kernel of norms of rows; see ../inference/table.ts.

import type { Sizes } from '../row.ts';
import {
  byWholeRows,
  epilogue,
  matrix,
  optional,
  parameters,
  type Row,
  read,
  scratch,
  sizes,
  sums,
  write,
} from '../row.ts';

const column = ({ cols }: Sizes) => cols;
const each = ({ rows }: Sizes) => rows;
const segments = ({ rows, segment }: Sizes) => Math.ceil(rows / segment);

// made by a function, so that a bundle without these kernels is without their rows
const table = () =>
  ({
    grad_rows_f32: {
      split: { ...byWholeRows, grain: ({ segment }: Sizes) => segment },
      args: [
        read('x', matrix),
        read('dy', matrix),
        read('gamma', column),
        read('center', each),
        read('invStd', each),
        read('left', each),
        write('dx', matrix, 'x', 'dy'),
        scratch('lanes', (s) => segments(s) * Math.ceil(s.cols / 4) * 8),
        sums('dbeta', (s) => segments(s) * s.cols),
        sums('dgamma', (s) => segments(s) * s.cols),
        ...parameters('centred'),
        ...sizes('rows', 'cols', 'segment'),
      ],
    },
    norm_rows_f32: {
      split: byWholeRows,
      args: [
        read('x', matrix),
        read('gamma', column),
        read('beta', column),
        optional('residual', matrix),
        write('y', matrix, 'x', 'residual'),
        write('center', each),
        write('invStd', each),
        write('left', each),
        scratch('moments', ({ rows }) => rows * 2, 'f64'),
        ...epilogue,
        ...parameters('eps', 'centred'),
        ...sizes('rows', 'cols'),
      ],
    },
  }) satisfies Record<string, Row>;

export const ROWS_ROWS = /* @__PURE__ */ table();
