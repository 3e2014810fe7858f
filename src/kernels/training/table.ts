// One row per kernel of training; see ../inference/table.ts.

import {
  byCachedRows,
  byChannels,
  bySegments,
  bySize,
  channel,
  epilogue,
  flat,
  NCX,
  parameters,
  partial,
  planes,
  type Row,
  read,
  rows,
  scratch,
  segmentLanes,
  segmentSums,
  segmentTotals,
  sizes,
  strided,
  sums,
  write,
} from '../row.ts';

// made by a function, so that a bundle without these kernels is without their rows
const table = () =>
  ({
    activate_grad_f32: {
      split: bySize,
      args: [read('x', flat), read('dy', flat), write('dx', flat, 'x', 'dy'), ...epilogue, ...sizes('size')],
    },
    column_sums_f32: {
      args: [read('x', ({ rows, cols }) => rows * cols), sums('sums', ({ cols }) => cols), ...sizes('rows', 'cols')],
    },
    dropout_f32: {
      args: [read('x', flat), write('y', flat, 'x'), ...parameters('seed', 'threshold', 'scale'), ...sizes('size')],
    },
    grad_input_ncx_f32: {
      split: byChannels,
      args: [
        read('x', planes),
        read('dy', planes),
        read('center', channel),
        read('a', channel),
        read('b', channel),
        read('k', channel),
        write('dx', planes, 'x', 'dy'),
        ...NCX,
      ],
    },
    grad_input_nxc_f32: {
      split: byCachedRows,
      args: [
        read('x', rows),
        read('dy', rows),
        read('center', channel),
        read('a', channel),
        read('b', channel),
        read('k', channel),
        write('dx', rows, 'x', 'dy'),
        ...parameters('bands'),
        ...sizes('rows', 'channels'),
      ],
    },
    grad_stats_ncx_f32: {
      split: byChannels,
      args: [
        read('x', planes),
        read('dy', planes),
        read('center', channel),
        read('invStd', channel),
        scratch('sums', ({ channels }) => channels * 4, 'f64'),
        sums('dbeta', channel),
        sums('dot', channel),
        ...NCX,
      ],
    },
    grad_sums_nxc_f32: {
      split: bySegments,
      args: [
        read('x', strided),
        read('dy', strided),
        read('center', channel),
        read('invStd', channel),
        scratch('lanes', segmentLanes),
        sums('sum', segmentSums),
        sums('dot', segmentSums),
        ...sizes('rows', 'channels', 'stride', 'segment'),
        ...parameters('together'),
      ],
    },
    grad_totals_nxc_f32: {
      args: [
        read('x', strided),
        read('dy', strided),
        read('center', channel),
        read('invStd', channel),
        partial('sum', segmentTotals),
        partial('dot', segmentTotals),
        sums('dbeta', channel),
        sums('total', channel),
        ...sizes('rows', 'channels', 'stride', 'segments'),
      ],
    },
    moments_nxc_f32: {
      args: [
        read('x', strided),
        read('pivot', channel),
        partial('sum', segmentTotals),
        partial('square', segmentTotals),
        sums('mean', channel),
        sums('variance', channel),
        ...sizes('rows', 'channels', 'stride', 'segments'),
      ],
    },
    pivot_nxc_f32: {
      args: [read('x', strided), scratch('pivot', channel), ...sizes('rows', 'channels', 'stride')],
    },
    stats_ncx_f32: {
      split: byChannels,
      args: [
        read('x', planes),
        scratch('pivot', channel),
        scratch('sums', ({ channels }) => channels * 4, 'f64'),
        sums('mean', channel),
        sums('variance', channel),
        ...NCX,
      ],
    },
    sums_nxc_f32: {
      split: bySegments,
      args: [
        read('x', strided),
        read('pivot', channel),
        scratch('lanes', segmentLanes),
        sums('sum', segmentSums),
        sums('square', segmentSums),
        ...sizes('rows', 'channels', 'stride', 'segment'),
        ...parameters('together'),
      ],
    },
  }) satisfies Record<string, Row>;

export const TRAINING_ROWS = /* @__PURE__ */ table();
