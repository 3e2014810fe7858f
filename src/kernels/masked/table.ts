// One row per kernel of masked batches; see ../inference/table.ts.

import {
  byChannels,
  byRows,
  channel,
  NCX,
  optional,
  parameters,
  planes,
  type Row,
  read,
  rows,
  type Sizes,
  scratch,
  sizes,
  strided,
  sums,
  type Vector,
} from '../row.ts';

const update = (name: string, length: Vector['length']): Vector => ({ name, type: 'f32', access: 'update', length });
const steps = /* @__PURE__ */ sizes('sampleStep', 'channelStep');
const weights = ({ outer, channels, inner, sampleStep, channelStep }: Sizes) =>
  (outer - 1) * sampleStep + (channels - 1) * channelStep + inner;

// made by a function, so that a bundle without these kernels is without their rows
const table = () =>
  ({
    masked_sums_ncx_f32: {
      split: byChannels,
      args: [
        read('x', planes),
        optional('dy', planes),
        read('weights', weights),
        read('center', channel),
        read('invStd', channel),
        sums('sum', channel),
        sums('dot', channel),
        ...parameters('plain'),
        ...NCX,
        ...steps,
      ],
    },
    masked_sums_nxc_f32: {
      args: [
        read('x', strided),
        optional('dy', strided),
        read('weights', ({ rows }) => rows),
        read('center', channel),
        read('invStd', channel),
        scratch('lanes', ({ channels }) => Math.ceil(channels / 4) * 8),
        sums('sum', channel),
        sums('dot', channel),
        ...parameters('plain', 'together'),
        ...sizes('rows', 'channels', 'stride'),
      ],
    },
    weigh_ncx_f32: {
      split: byChannels,
      args: [update('y', planes), read('weights', weights), ...NCX, ...steps],
    },
    weigh_nxc_f32: {
      split: byRows,
      args: [update('y', rows), read('weights', ({ rows }) => rows), ...sizes('rows', 'channels')],
    },
  }) satisfies Record<string, Row>;

export const MASKED_ROWS = /* @__PURE__ */ table();
