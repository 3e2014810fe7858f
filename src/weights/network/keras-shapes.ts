// Layers of Keras that move, join and repeat values.

import type { Operation as GraphOperation } from '../../graph/operation.ts';
import type { Layer } from '../../layers/layer.ts';
import { Dropout, Dropout1d, Dropout2d, Dropout3d } from '../../nn/dropout.ts';
import { Pad } from '../../nn/pad.ts';
import { Flatten } from '../../nn/reshape.ts';
import { Upsample } from '../../nn/upsample.ts';
import { countOf } from '../../tensors/shape.ts';
import type { Flow } from './draft.ts';
import { negative } from './keras-activations.ts';
import { floats, type KerasCall, type KerasConverter } from './keras-call.ts';
import { leaveOutZero, maskedBy, maskedExtreme, maskedProduct } from './keras-masks.ts';
import { binary, matmul, reduce, reshaped, scalar, surround, transpose } from './onnx-layers.ts';
import { expanded, shaped } from './onnx-shapes.ts';
import { productOf, type Sym, work } from './terms.ts';

const flatten: KerasConverter = (call) => {
  const { x } = call;
  const rank = x.shape.length;
  if (rank === 2) return x;
  if (rank < 2) return reshaped(call, x, [x.dims[0] ?? 1, 1]);
  const isFirst = call.layout === 'channels-first';
  const moved = isFirst ? transpose(call, x, [0, ...lastAxes(rank), 1]) : x;
  return call.draft.apply(new Flatten(), moved, call.name, [x.dims[0], productOf(moved.dims.slice(1))]);
};

const lastAxes = (rank: number) => Array.from({ length: rank - 2 }, (_, i) => i + 2);

const reshape: KerasConverter = (call) => {
  const { x } = call;
  const target = call.config.target_shape;
  const isLength = (one: unknown) =>
    one === null || (Number.isSafeInteger(one) && ((one as number) >= 1 || one === -1));
  if (
    !Array.isArray(target) ||
    !target.every(isLength) ||
    target.filter((one) => one === -1 || one === null).length > 1
  ) {
    throw call.fail('lengths of 1 or more, one of them -1, as target_shape', JSON.stringify(target));
  }
  const lengths = target.map((one) => (one as number) ?? -1);
  const own = countOf(x.shape.slice(1));
  const known = countOf(lengths.filter((one) => one !== -1));
  if (!Number.isNaN(own) && (own % known || (own !== known && !lengths.includes(-1)))) {
    throw call.fail(`a target_shape of ${own} values`, JSON.stringify(target));
  }
  return shaped(call, x, [x.dims[0], ...lengths]);
};

const permute: KerasConverter = (call) => {
  const { x } = call;
  const rank = x.shape.length;
  const given = call.config.dims;
  const order = Array.isArray(given) ? given : [given];
  const isOrder = order.length === rank - 1 && order.every((_, i) => order.includes(i + 1));
  if (!isOrder) throw call.fail(`axes 1 to ${rank - 1}, each once, as dims`, JSON.stringify(given));
  return transpose(call, x, [0, ...(order as number[])]);
};

const repeat: KerasConverter = (call) => {
  const x = call.ranked(2);
  const n = call.whole('n', 1);
  const apart = shaped(call, x, [x.dims[0], 1, x.dims[1]]);
  return expanded(call, apart, [x.dims[0], n, x.dims[1]]);
};

function padding(axes: number): KerasConverter {
  return (call) => {
    const x = call.ranked(axes + 2);
    const pads = call.around2('padding', axes, 1);
    if (pads.flat().every((one) => one === 0)) return x;
    const first = call.layout === 'channels-first' ? 2 : 1;
    const dims = x.dims.map((dim, i): Sym => {
      const pair = pads[i - first];
      return pair ? work('add', dim, pair[0] + pair[1]) : dim;
    });
    return call.draft.apply(new Pad(pads, { layout: call.layout }), x, call.name, dims);
  };
}

function cropping(axes: number): KerasConverter {
  return (call) => {
    const x = call.ranked(axes + 2);
    const cuts = call.around2('cropping', axes, axes === 1 ? 1 : 0);
    if (cuts.flat().every((one) => one === 0)) return x;
    const first = call.layout === 'channels-first' ? 2 : 1;
    const pads = (side: 0 | 1) => x.dims.map((_, i): Sym => -(cuts[i - first]?.[side] ?? 0) + 0);
    cuts.forEach(([before, behind], a) => {
      const length = x.shape[a + first];
      if (before + behind >= length)
        throw call.fail(`more than ${before + behind} places on axis ${a + first}`, `${length}`);
    });
    return surround(call, x, [...pads(0), ...pads(1)], 'constant', 0);
  };
}

function upsampling(axes: number): KerasConverter {
  return (call) => {
    const x = call.ranked(axes + 2);
    const scale = call.perAxis('size', axes, 2);
    const mode = call.choice('interpolation', 'nearest', axes === 2 ? ['nearest', 'bilinear'] : ['nearest']);
    const first = call.layout === 'channels-first' ? 2 : 1;
    const dims = x.dims.map((dim, i): Sym => (scale[i - first] ? work('mul', dim, scale[i - first]) : dim));
    if (mode === 'nearest' || !isOldResize(call)) {
      return call.draft.apply(new Upsample({ scale, mode, layout: call.layout }) as Layer, x, call.name, dims);
    }
    call.assume(
      `layer ${call.settings.className} '${call.settings.name}': output i lies at i/scale, as TensorFlow 1 and TF.js resize`,
    );
    return resized(
      call,
      x,
      'linear',
      'asymmetric',
      { by: 'scales', numbers: x.dims.map((_, i) => scale[i - first] ?? 1) },
      dims,
    );
  };
}

/** TensorFlow 1 and TF.js place outputs at input/scale, later versions in the middle of cells. */
function isOldResize({ around: { format, version } }: KerasCall): boolean {
  return format === 'TF.js' || /^2\.[0-3]\.\d+$/.test(version ?? '');
}

function resized(
  call: KerasCall,
  x: Flow,
  mode: string,
  coordinates: string,
  to: { by: 'scales' | 'sizes'; numbers: readonly number[] },
  dims: readonly Sym[],
): Flow {
  const operation = {
    kind: 'resize',
    mode,
    coordinates,
    nearest: coordinates === 'half_pixel' ? 'round_prefer_ceil' : 'floor',
    cubic: -0.75,
    excludes: false,
    antialias: false,
    outside: 0,
    ...to,
    region: null,
  } as unknown as GraphOperation;
  return call.draft.operate(operation, [x], dims);
}

/** An image at another size. */
const resizing: KerasConverter = (call) => {
  const x = call.ranked(4);
  const [height, width] = [call.whole('height', 0), call.whole('width', 0)];
  const mode = call.choice('interpolation', 'bilinear', ['bilinear', 'nearest']);
  for (const name of ['crop_to_aspect_ratio', 'pad_to_aspect_ratio', 'antialias']) {
    if (call.flag(name, false)) throw call.fail(`${name} false`, 'true');
  }
  const isFirst = call.layout === 'channels-first';
  const wanted = isFirst ? [x.shape[0], x.shape[1], height, width] : [x.shape[0], height, width, x.shape[3]];
  const lengths = x.shape.slice(isFirst ? 2 : 1).slice(0, 2);
  if (lengths.some(Number.isNaN)) throw call.fail('an image of known size', `shape [${x.shape}]`);
  const dims = x.dims.map((dim, i): Sym => (Number.isNaN(wanted[i]) ? dim : wanted[i]));
  const numbers = wanted.map((to, i) => (Number.isNaN(to) ? 1 : to / x.shape[i]));
  return resized(call, x, mode === 'bilinear' ? 'linear' : 'nearest', 'half_pixel', { by: 'scales', numbers }, dims);
};

// ---- several inputs

/** Inputs of one rank: those of less get axes of 1 behind the batch. */
function aligned(call: KerasCall): Flow[] {
  if (call.inputs.length < 1) throw call.fail('inputs', 'none');
  const rank = Math.max(...call.inputs.map(({ shape }) => shape.length));
  return call.inputs.map((x) => {
    const missing = rank - x.shape.length;
    if (missing === 0 || x.known) return x;
    return shaped(call, x, [x.dims[0], ...new Array<Sym>(missing).fill(1), ...x.dims.slice(1)]);
  });
}

const merge =
  (join: (call: KerasCall, a: Flow, b: Flow) => Flow): KerasConverter =>
  (call) =>
    aligned(call).reduce((a, b) => join(call, a, b));

const extreme =
  (of: 'max' | 'min'): KerasConverter =>
  (call) =>
    call.isNew ? maskedExtreme(call, of, aligned(call)) : merge((own, a, b) => binary(own, of, a, b))(call);

const concatenate: KerasConverter = (call) => {
  if (call.inputs.length < 1) throw call.fail('inputs', 'none');
  return call.draft.concat(call.inputs, call.axisOf(call.config.axis ?? -1, call.inputs[0].shape.length));
};

/** Σ a·b along an axis of each, for each sample. */
const dot: KerasConverter = (call) => {
  if (call.inputs.length !== 2) throw call.fail('two inputs', `${call.inputs.length}`);
  const [a, b] = call.inputs;
  const given = call.config.axes;
  const pair = Array.isArray(given) ? given : [given, given];
  if (pair.length !== 2) throw call.fail('one axis, or one of each, as axes', JSON.stringify(given));
  const axes = [
    call.axisOf(pair[0] as never, a.shape.length, 'axes'),
    call.axisOf(pair[1] as never, b.shape.length, 'axes'),
  ];
  if (axes.includes(0)) throw call.fail('other axes than the batch', 'axis 0');
  const unit = (x: Flow, axis: number) => {
    if (!call.flag('normalize', false)) return x;
    const norm = binary(call, 'max', reduce(call, x, 'l2', [axis], true), scalar(call, call.isNew ? 1e-7 : 1e-6));
    return binary(call, 'div', x, norm);
  };
  const behind = (x: Flow, axis: number) => {
    const order = [...x.shape.keys()].filter((one) => one !== axis);
    return transpose(call, unit(x, axis), [...order, axis]);
  };
  const [left, right] = [behind(a, axes[0]), behind(b, axes[1])];
  if (left.shape.length > 3 || right.shape.length > 3) throw call.fail('inputs of rank 2 or 3', 'others');
  if (left.shape.length === 2 && right.shape.length === 2) {
    return reduce(call, call.draft.multiply(left, right), 'sum', [1], true);
  }
  const flat = (x: Flow) => (x.shape.length === 2 ? reshaped(call, x, [x.dims[0], 1, x.dims[1]]) : x);
  const product = matmul(call, flat(left), transpose(call, flat(right), [0, 2, 1]));
  const dims = [product.dims[0], ...left.dims.slice(1, -1), ...right.dims.slice(1, -1)];
  return reshaped(call, product, dims);
};

// ---- values at places

/** Rows of a table by whole numbers, which are checked in the run. */
const embedding: KerasConverter = (call) => {
  const { x } = call;
  const [rows, width] = [call.whole('input_dim', 0), call.whole('output_dim', 0)];
  const table = call.weight('embeddings', [rows, width]);
  const operation = { kind: 'gather', by: 'rows', axis: 0, batch: 0 } as GraphOperation;
  const from = [call.constant(floats(table.data), table.shape), x];
  const y = call.draft.operate(operation, from, [...x.dims, width], 'F32');
  if (call.flag('mask_zero', false)) leaveOutZero(call, x, y);
  return y;
};

/** Steps of which every value is the mask's become 0. */
const masking: KerasConverter = (call) => maskedBy(call, call.x, call.number('mask_value', 0));

// ---- what does nothing in evaluation

const rate = (call: KerasCall) => {
  const p = call.number('rate', 0.5);
  if (p >= 0 && p <= 1) return p;
  throw call.fail('a rate from 0 to 1', `${p}`);
};

const dropout: KerasConverter = (call) => {
  const { x } = call;
  const shape = call.config.noise_shape;
  const isShape = Array.isArray(shape) && shape.every((one) => one === null || Number.isSafeInteger(one));
  const options = isShape ? { noiseShape: shape as (number | null)[] } : {};
  return call.draft.keep(new Dropout(rate(call), options), x, call.name);
};

function spatialDropout(axes: 1 | 2 | 3): KerasConverter {
  const Own = { 1: Dropout1d, 2: Dropout2d, 3: Dropout3d }[axes];
  return (call) =>
    call.draft.keep(new Own(rate(call), { layout: call.layout }) as Layer, call.ranked(axes + 2), call.name);
}

/** Noise and augmentation: nothing in evaluation, and nothing here in training. */
const idle: KerasConverter = (call) => {
  call.assume(`layer ${call.settings.className} '${call.settings.name}' does nothing, in training as well`);
  return call.x;
};

/** Layers that draw random numbers in training. */
const IDLE = [
  'gaussian_noise',
  'gaussian_dropout',
  'alpha_dropout',
  'activity_regularization',
  'random_flip',
  'random_rotation',
  'random_zoom',
  'random_contrast',
  'random_brightness',
  'random_translation',
  'random_height',
  'random_width',
];

export const kerasShapes = (): Readonly<Record<string, KerasConverter>> => ({
  flatten,
  reshape,
  permute,
  repeat_vector: repeat,
  zero_padding1d: padding(1),
  zero_padding2d: padding(2),
  zero_padding3d: padding(3),
  cropping1d: cropping(1),
  cropping2d: cropping(2),
  cropping3d: cropping(3),
  up_sampling1d: upsampling(1),
  up_sampling2d: upsampling(2),
  up_sampling3d: upsampling(3),
  resizing,
  add: merge((call, a, b) => call.draft.add(a, b)),
  subtract: merge((call, a, b) => call.draft.add(a, negative(call, b))),
  multiply: (call) =>
    call.isNew ? maskedProduct(call, aligned(call)) : merge((own, a, b) => own.draft.multiply(a, b))(call),
  average(call) {
    const sum = merge((own, a, b) => own.draft.add(a, b))(call) as Flow;
    return call.draft.multiply(sum, scalar(call, 1 / call.inputs.length));
  },
  maximum: extreme('max'),
  minimum: extreme('min'),
  concatenate,
  dot,
  embedding,
  masking,
  dropout,
  spatial_dropout1d: spatialDropout(1),
  spatial_dropout2d: spatialDropout(2),
  spatial_dropout3d: spatialDropout(3),
  identity: (call) => call.x,
  ...Object.fromEntries(IDLE.map((kind) => [kind, idle])),
});
