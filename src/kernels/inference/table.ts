// One row per kernel of inference: its arguments in order, and the plain loops of the same name.

import * as source from '#wasm/inference';
import {
  byChannels,
  byRows,
  bySize,
  channel,
  epilogue,
  flat,
  type Kernel,
  NCX,
  optional,
  type Part,
  parameters,
  planes,
  type Row,
  read,
  rows,
  sizes,
  WORTHWHILE_PRODUCT,
  write,
} from '../row.ts';
import * as js from './js.ts';

export const INFERENCE_ROWS = {
  activate_f32: {
    twin: js.activate_f32,
    split: bySize,
    args: [read('x', flat), write('y', flat, 'x'), ...epilogue, ...sizes('size')],
  },
  affine_ncx_f32: {
    twin: js.affine_ncx_f32,
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
    twin: js.affine_nxc_f32,
    split: byRows,
    args: [
      read('x', rows),
      optional('center', channel),
      read('scale', channel),
      read('shift', channel),
      optional('residual', rows),
      write('y', rows, 'x', 'residual'),
      ...epilogue,
      ...sizes('rows', 'channels'),
    ],
  },
  linear_f32: {
    twin: js.linear_f32,
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
      ...epilogue,
      ...sizes('rows', 'depth', 'cols', 'rowStride', 'depthStride'),
      ...parameters('accumulate'),
    ],
  },
  pack_f32: {
    twin: js.pack_f32,
    args: [
      read('w', ({ depth, cols, depthStride, colStride }) =>
        depth ? (depth - 1) * depthStride + (cols - 1) * colStride + 1 : 0,
      ),
      write('packed', ({ depth, cols }) => Math.ceil(cols / 8) * depth * 8),
      ...sizes('depth', 'cols', 'depthStride', 'colStride'),
    ],
  },
} satisfies Record<string, Row>;

export type InferenceKernels = Readonly<Record<keyof typeof INFERENCE_ROWS, Kernel>>;

export const INFERENCE: Part = { rows: INFERENCE_ROWS, source };
