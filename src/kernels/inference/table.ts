// One row per kernel of inference: its arguments in order, and how large calls are cut. Tests and
// threads read it.

import {
  byChannels,
  byRows,
  bySize,
  channel,
  epilogue,
  flat,
  NCX,
  optional,
  parameters,
  planes,
  type Row,
  read,
  rows,
  sizes,
  write,
} from '../row.ts';

// made by a function, so that a bundle without these kernels is without their rows
const table = () =>
  ({
    activate_f32: {
      split: bySize,
      args: [read('x', flat), write('y', flat, 'x'), ...epilogue, ...sizes('size')],
    },
    affine_ncx_f32: {
      split: byChannels,
      args: [
        read('x', planes),
        optional('center', channel),
        read('scale', channel),
        read('shift', channel),
        optional('residual', planes),
        write('y', planes, 'x', 'residual'),
        ...epilogue,
        ...NCX,
      ],
    },
    affine_nxc_f32: {
      split: byRows,
      args: [
        read('x', rows),
        optional('center', channel),
        read('scale', channel),
        read('shift', channel),
        optional('residual', rows),
        write('y', rows, 'x', 'residual'),
        ...epilogue,
        ...parameters('bands'),
        ...sizes('rows', 'channels'),
      ],
    },
  }) satisfies Record<string, Row>;

export const INFERENCE_ROWS = /* @__PURE__ */ table();
