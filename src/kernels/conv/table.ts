// One row per kernel of convolutions; see ../inference/table.ts.

import { WORTHWHILE, WORTHWHILE_PRODUCT } from '../part.ts';
import {
  optional,
  parameters,
  type Row,
  read,
  type Sizes,
  type Split,
  scratch,
  sizes,
  type Vector,
  write,
} from '../row.ts';
import { type WindowSizes, windowWork } from './windows.ts';

export const panels = ({ cols }: Sizes) => Math.ceil(cols / 8) * 8;
export const reach = ({ reach }: Sizes) => reach;
export const span = ({ span }: Sizes) => span;
export const pixels = ({ count }: Sizes) => count;
export const runs = ({ runs }: Sizes) => runs;
const cols = ({ cols }: Sizes) => cols;
const y: Vector = { name: 'y', type: 'f32', access: 'update', length: span, alias: ['residual'] };

const outImages = ({ samples, outHeight, outWidth, cols }: Sizes) => samples * outHeight * outWidth * cols;
/** Of the columns that a part works on, pixel after pixel. */
const image = ({ samples, outHeight, outWidth, pixel, cols }: Sizes) =>
  (samples * outHeight * outWidth - 1) * pixel + cols;

/** Tiles of pixels. */
const byPixels = (...work: string[]): Split => ({
  along: 'count',
  grain: () => 4,
  work: ['count', ...work],
  least: WORTHWHILE_PRODUCT,
});

// made by a function, so that a bundle without these kernels is without their rows
const table = () =>
  ({
    conv_nxc_f32: {
      split: byPixels('runs', 'run', 'cols'),
      args: [
        read('x', reach),
        read('packed', (sizes) => panels(sizes) * sizes.runs * sizes.run),
        optional('bias', cols),
        optional('residual', span),
        y,
        read('at', pixels),
        read('to', pixels),
        read('taps', runs),
        ...parameters('low', 'high'),
        ...sizes('count', 'runs', 'run', 'cols', 'reach', 'span'),
      ],
    },
    decode_bytes_f32: {
      args: [
        { name: 'y', type: 'f32', access: 'update', length: ({ count }) => count },
        ...parameters('scale', 'min'),
        ...sizes('count'),
      ],
    },
    depthwise_nxc_f32: {
      split: byPixels('runs', 'cols'),
      args: [
        read('x', reach),
        read('w', ({ runs, cols }) => runs * cols),
        optional('bias', cols),
        optional('residual', span),
        y,
        read('at', pixels),
        read('to', pixels),
        read('taps', runs),
        ...parameters('low', 'high'),
        ...sizes('count', 'runs', 'cols', 'reach', 'span'),
      ],
    },
    depthwise_rows_nxc_f32: {
      split: {
        along: 'rows',
        grain: () => 1,
        work: ['rows', 'outWidth', 'cols', 'kernelHeight', 'kernelWidth'],
        least: WORTHWHILE_PRODUCT,
      },
      args: [
        read('x', ({ samples, height, width, cols }) => samples * height * width * cols),
        read('w', ({ kernelHeight, kernelWidth, cols }) => kernelHeight * kernelWidth * cols),
        optional('bias', cols),
        optional('residual', outImages),
        { name: 'y', type: 'f32', access: 'update', length: outImages, alias: ['residual'] },
        read('order', ({ rows }) => rows),
        ...parameters('low', 'high'),
        ...sizes('rows', 'samples', 'height', 'width', 'outHeight', 'outWidth', 'cols'),
        ...sizes('kernelHeight', 'kernelWidth', 'strideHeight', 'strideWidth', 'top', 'left'),
      ],
    },
    pack_taps_f32: {
      args: [
        read('w', ({ depth, cols, depthStride, colStride }) => (depth - 1) * depthStride + (cols - 1) * colStride + 1),
        write('packed', ({ depth, cols, panelStride }) => (Math.ceil(cols / 8) - 1) * panelStride + 8 * depth),
        { name: 'factors', type: 'f64', access: 'read', length: cols, optional: true },
        ...sizes('depth', 'cols', 'depthStride', 'colStride', 'panelStride'),
      ],
    },
    pad_nxc_f32: {
      split: {
        along: 'samples',
        grain: () => 1,
        work: ['samples', 'cols', 'repeat', 'depth', 'height', 'width'],
        least: WORTHWHILE,
      },
      args: [
        read('x', ({ samples, cols, depth, height, width }) => samples * cols * depth * height * width),
        write(
          'y',
          ({ samples, cols, repeat, toDepth, toHeight, toWidth }) =>
            samples * cols * repeat * toDepth * toHeight * toWidth,
        ),
        ...sizes('first', 'samples', 'cols', 'repeat', 'depth', 'height', 'width'),
        ...sizes('toDepth', 'toHeight', 'toWidth', 'front', 'top', 'left'),
      ],
    },
    pixel_table_f32: {
      args: [
        write('table', ({ samples, depth, height, width }) => samples * depth * height * width),
        ...sizes('samples', 'depth', 'height', 'width'),
        ...sizes('first', 'sampleStep', 'depthStep', 'rowStep', 'step'),
      ],
    },
    sum_runs_f32: {
      args: [read('x', ({ count, run }) => count * run), write('y', ({ count }) => count), ...sizes('count', 'run')],
    },
    winograd_nxc_f32: {
      // each part turns all windows anew, so that parts are few
      split: {
        along: 'cols',
        grain: ({ share }) => share,
        work: ['samples', 'outHeight', 'outWidth', 'depth', 'cols'],
        least: WORTHWHILE_PRODUCT >> 3,
      },
      args: [
        read('x', ({ samples, height, width, depth }) => samples * height * width * depth),
        read('packed', (sizes) => panels(sizes) * 9 * sizes.depth),
        optional('bias', cols),
        optional('residual', image),
        { name: 'y', type: 'f32', access: 'update', length: image, alias: ['residual'] },
        scratch('work', (sizes) => windowWork(sizes as unknown as WindowSizes)),
        ...parameters('low', 'high'),
        ...sizes('samples', 'height', 'width', 'depth', 'outHeight', 'outWidth', 'cols', 'pixel', 'top', 'left'),
        ...sizes('share', 'block'),
      ],
    },
  }) satisfies Record<string, Row>;

export const CONV_ROWS = /* @__PURE__ */ table();
