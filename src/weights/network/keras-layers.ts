// Dense layers, convolutions, norms and pooling of Keras.

import type { Around } from '../../layers/conv-geometry.ts';
import type { Layer } from '../../layers/layer.ts';
import { Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d } from '../../nn/conv.ts';
import { startingAs } from '../../nn/initializers.ts';
import { Linear } from '../../nn/linear.ts';
import {
  AdaptiveMaxPool2d,
  AvgPool1d,
  AvgPool2d,
  AvgPool3d,
  GlobalAvgPool,
  MaxPool1d,
  MaxPool2d,
  MaxPool3d,
} from '../../nn/pool.ts';
import { Flatten } from '../../nn/reshape.ts';
import { BatchNorm } from '../../norms/batch-norm.ts';
import { BatchNorm1d, BatchNorm2d, BatchNorm3d } from '../../norms/batch-norm-ranks.ts';
import { GroupNorm } from '../../norms/group-norm.ts';
import { LayerNorm } from '../../norms/layer-norm.ts';
import { RMSNorm } from '../../norms/rms-norm.ts';
import { countOf } from '../../tensors/shape.ts';
import { type StoredKernel, storedKernel } from '../axes.ts';
import { newWeight } from '../keras.ts';
import type { Flow, Known } from './draft.ts';
import { activated } from './keras-activations.ts';
import { floats, type KerasCall, type KerasConverter, shown } from './keras-call.ts';
import { maskedMean, stepsThatCount } from './keras-masks.ts';
import { binary, normalize, reduce, scalar, withBias } from './onnx-layers.ts';
import { type Sym, work } from './terms.ts';

const CONVS = [Conv1d, Conv2d, Conv3d] as const;
const TRANSPOSED = [ConvTranspose1d, ConvTranspose2d] as const;

/** Lengths of x along the axes of windows, as terms. */
const spatial = (call: KerasCall, x: Flow) =>
  call.layout === 'channels-first' ? x.dims.slice(2) : x.dims.slice(1, -1);

const withSpatial = (call: KerasCall, x: Flow, lengths: readonly Sym[], channels: Sym): Sym[] =>
  call.layout === 'channels-first' ? [x.dims[0], channels, ...lengths] : [x.dims[0], ...lengths, channels];

interface Windows {
  readonly kernel: readonly number[];
  readonly stride: readonly number[];
  readonly dilation: readonly number[];
}

const extentOf = ({ kernel, dilation }: Windows, a: number) => dilation[a] * (kernel[a] - 1) + 1;

/** How many windows there are along an axis. */
function windowsAlong(windows: Windows, input: Sym, a: number, padding: readonly Around[] | 'same'): Sym {
  if (padding === 'same') return work('ceil', work('div', input, windows.stride[a]));
  const room = work('add', input, padding[a][0] + padding[a][1] - extentOf(windows, a));
  return work('add', work('floor', work('div', room, windows.stride[a])), 1);
}

function windowsOf(call: KerasCall, axes: number): Windows {
  return {
    kernel: call.perAxis('kernel_size', axes, undefined),
    stride: call.perAxis('strides', axes, 1),
    dilation: call.perAxis('dilation_rate', axes, 1),
  };
}

function paddingOf(call: KerasCall, windows: Windows, canBeCausal: boolean): readonly Around[] | 'same' {
  const padding = call.choice('padding', 'valid', canBeCausal ? ['valid', 'same', 'causal'] : ['valid', 'same']);
  if (padding === 'same') return 'same';
  return windows.kernel.map((_, a): Around => [padding === 'causal' ? extentOf(windows, a) - 1 : 0, 0]);
}

/** A kernel as a layer's weight, for which the file has room. */
function stored(call: KerasCall, kernel: Known, isDepthwise: boolean): StoredKernel {
  call.around.spend(countOf(kernel.shape));
  return storedKernel(kernel, isDepthwise);
}

/** A convolution whose kernel is read already. */
function convolve(
  call: KerasCall,
  x: Flow,
  weight: StoredKernel,
  bias: Known | undefined,
  windows: Windows,
  padding: readonly Around[] | 'same',
  groups: number,
  name: string,
): Flow {
  const axes = windows.kernel.length;
  const [filters, inGroup] = weight.shape;
  const layer = new CONVS[axes - 1](inGroup * groups, filters, [...windows.kernel], {
    stride: [...windows.stride],
    dilation: [...windows.dilation],
    padding: padding === 'same' ? 'same' : padding,
    groups,
    layout: call.layout,
    bias: bias !== undefined,
    init: startingAs(weight),
  });
  const lengths = spatial(call, x).map((length, a) => windowsAlong(windows, length, a, padding));
  const dims = withSpatial(call, x, lengths, filters);
  return call.draft.apply(withBias(layer as Layer, bias?.data), x, name, dims);
}

function conv(axes: number): KerasConverter {
  return (call) => {
    const x = call.ranked(axes + 2);
    const windows = windowsOf(call, axes);
    const groups = call.whole('groups', 1);
    const filters = call.whole('filters', 0);
    const channels = call.channels(x);
    if (channels % groups || filters % groups)
      throw call.fail('groups that divide the channels', `${groups} groups, ${channels} in, ${filters} out`);
    const kernel = call.weight('kernel', [...windows.kernel, channels / groups, filters]);
    const bias = call.optional('bias', call.flag('use_bias', true), [filters]);
    const weight = stored(call, kernel, false);
    const padding = paddingOf(call, windows, axes === 1);
    const y = convolve(call, x, weight, bias, windows, padding, groups, call.name);
    return activated(call, y, call.config.activation);
  };
}

/** Outputs for each input; NaN where the config does not say, as of TF.js' separable ones. */
const multiplierOf = (call: KerasCall) =>
  call.config.depth_multiplier == null ? Number.NaN : call.whole('depth_multiplier', 1);

function depthwise(axes: number): KerasConverter {
  return (call) => {
    const x = call.ranked(axes + 2);
    const windows = windowsOf(call, axes);
    const channels = call.channels(x);
    const shape = [...windows.kernel, channels, multiplierOf(call)];
    const kernel = call.weight('depthwise_kernel', shape, 'kernel');
    const multiplier = kernel.shape[kernel.shape.length - 1];
    const bias = call.optional('bias', call.flag('use_bias', true), [channels * multiplier]);
    const weight = stored(call, kernel, true);
    const padding = paddingOf(call, windows, axes === 1);
    const y = convolve(call, x, weight, bias, windows, padding, channels, call.name);
    return activated(call, y, call.config.activation);
  };
}

function separable(axes: number): KerasConverter {
  return (call) => {
    const x = call.ranked(axes + 2);
    const windows = windowsOf(call, axes);
    const filters = call.whole('filters', 0);
    const channels = call.channels(x);
    const inner = call.weight('depthwise_kernel', [...windows.kernel, channels, multiplierOf(call)]);
    const multiplier = inner.shape[inner.shape.length - 1];
    const one = windows.kernel.map(() => 1);
    const outer = call.weight('pointwise_kernel', [...one, channels * multiplier, filters]);
    const bias = call.optional('bias', call.flag('use_bias', true), [filters]);
    const padding = paddingOf(call, windows, axes === 1);
    const first = stored(call, inner, true);
    const h = convolve(call, x, first, undefined, windows, padding, channels, `${call.name}.depthwise`);
    const point = { kernel: one, stride: one, dilation: one };
    const second = stored(call, outer, false);
    const none = one.map((): Around => [0, 0]);
    const y = convolve(call, h, second, bias, point, none, 1, `${call.name}.pointwise`);
    return activated(call, y, call.config.activation);
  };
}

/**
 * The transposed convolution whose output has as many values as TensorFlow gives it: `same`
 * input·stride, of what is too many half before, the odd one behind.
 */
function convTranspose(axes: number): KerasConverter {
  return (call) => {
    const x = call.ranked(axes + 2);
    const windows = windowsOf(call, axes);
    const { kernel, stride, dilation } = windows;
    const filters = call.whole('filters', 0);
    const channels = call.channels(x);
    const padding = call.choice('padding', 'valid', ['valid', 'same']);
    const given = call.config.output_padding == null ? undefined : call.perAxis('output_padding', axes, 0, 0);
    const weight = call.weight('kernel', [...kernel, filters, channels]);
    const bias = call.optional('bias', call.flag('use_bias', true), [filters]);
    const cuts: Around[] = [];
    const more: number[] = [];
    for (let a = 0; a < axes; a++) {
      const extent = extentOf(windows, a);
      // of (input − 1)·stride + extent values
      const excess = given
        ? (padding === 'same' ? 2 * Math.floor(extent / 2) : 0) - given[a]
        : padding === 'same'
          ? extent - stride[a]
          : Math.min(extent - stride[a], 0);
      const cut = Math.max(excess, 0);
      cuts.push([Math.floor(cut / 2), Math.ceil(cut / 2)]);
      more.push(Math.max(-excess, 0));
    }
    const wrong = more.findIndex((extra, a) => extra >= Math.max(stride[a], dilation[a]));
    if (wrong >= 0) throw call.fail('an output_padding below the stride', `${more[wrong]}`);
    const layer = new TRANSPOSED[axes - 1](channels, filters, [...kernel], {
      stride: [...stride],
      dilation: [...dilation],
      padding: cuts,
      outputPadding: more,
      layout: call.layout,
      bias: bias !== undefined,
      init: startingAs(stored(call, weight, false)),
    });
    const lengths = spatial(call, x).map((length, a) => {
      const whole = work('add', work('mul', work('sub', length, 1), stride[a]), extentOf(windows, a));
      return work('add', whole, more[a] - cuts[a][0] - cuts[a][1]);
    });
    const dims = withSpatial(call, x, lengths, filters);
    const y = call.draft.apply(withBias(layer as Layer, bias?.data), x, call.name, dims);
    return activated(call, y, call.config.activation);
  };
}

const dense: KerasConverter = (call) => {
  const { x } = call;
  if (x.shape.length < 2) throw call.fail('an input of rank 2 or more', `rank ${x.shape.length}`);
  const units = call.whole('units', 0);
  const kernel = call.weight('kernel', [x.shape[x.shape.length - 1], units]);
  const [features] = kernel.shape;
  const bias = call.optional('bias', call.flag('use_bias', true), [units]);
  const weight = stored(call, kernel, false);
  const layer = new Linear(features, units, { bias: bias !== undefined, init: startingAs(weight) });
  const dims = [...x.dims.slice(0, -1), units];
  const y = call.draft.apply(withBias(layer as Layer, bias?.data), x, call.name, dims);
  return activated(call, y, call.config.activation);
};

// ---- norms

const batchNorm: KerasConverter = (call) => {
  const { x } = call;
  const rank = x.shape.length;
  const [axis, ...others] = call.axes('axis', -1, rank);
  if (others.length) throw call.fail('one axis', `${others.length + 1}`);
  if (axis === 0) throw call.fail('another axis than the batch', 'axis 0');
  if (rank < 2) throw call.fail('an input of rank 2 or more', `rank ${rank}`);
  return normed(call, x, axis);
};

function normed(call: KerasCall, x: Flow, axis: number): Flow {
  const rank = x.shape.length;
  const size = x.shape[axis];
  const [scale, center] = [call.flag('scale', true), call.flag('center', true)];
  const runningMean = call.weight('moving_mean', [size]);
  const channels = runningMean.shape[0];
  const runningVar = call.weight('moving_variance', [channels]);
  checkVariance(call, runningVar, 'moving_variance');
  const momentum = call.number('momentum', 0.99);
  const isOther = axis !== 1 && axis !== rank - 1;
  const Norm = isOther
    ? BatchNorm
    : rank <= 3
      ? BatchNorm1d
      : rank === 4
        ? BatchNorm2d
        : rank === 5
          ? BatchNorm3d
          : BatchNorm;
  const affine = scale ? (center ? true : 'gamma') : center ? 'beta' : false;
  const layer = new Norm(channels, {
    eps: call.number('epsilon', 1e-3),
    momentum: momentum >= 0 && momentum <= 1 ? newWeight(momentum) : 0.01,
    runningVariance: 'biased',
    ...(isOther ? { axis } : { layout: axis === rank - 1 ? 'channels-last' : 'channels-first' }),
    affine,
  });
  const own = {
    gamma: call.optional('gamma', scale, [channels]),
    beta: call.optional('beta', center, [channels]),
    runningMean,
    runningVar,
  };
  return call.draft.keep(call.loaded(layer as Layer, own), x, call.name);
}

/** Variances are 0 or more. */
export function checkVariance(call: KerasCall, { data }: Known, name: string): void {
  for (let i = 0; i < data.length; i++) {
    if (data[i] >= 0) continue;
    throw call.fail(`variances of 0 or more as ${name}`, `${data[i]} at ${i}`);
  }
}

const layerNorm: KerasConverter = (call) => {
  const { x } = call;
  if (call.flag('rms_scaling', false)) throw call.fail('rms_scaling false', 'true');
  return rows(call, x, call.number('epsilon', 1e-3), {
    gamma: call.flag('scale', true) ? 'gamma' : undefined,
    beta: call.flag('center', true) ? 'beta' : undefined,
    isRms: false,
  });
};

const rmsNorm: KerasConverter = (call) =>
  rows(call, call.x, call.number('epsilon', 1e-6), { gamma: 'scale', beta: undefined, isRms: true });

function rows(
  call: KerasCall,
  x: Flow,
  eps: number,
  { gamma, beta, isRms }: { gamma: string | undefined; beta: string | undefined; isRms: boolean },
): Flow {
  const rank = x.shape.length;
  const given = call.axes('axis', -1, rank);
  if (given.includes(0)) throw call.fail('other axes than the batch', 'axis 0');
  const axes = [...given].sort((a, b) => a - b);
  const own = axes.map((axis) => x.shape[axis]);
  // in the order of the setting; Keras reads them as if in that of the input
  const weight = (leaf: string | undefined): Known | undefined => {
    if (leaf === undefined) return undefined;
    const known = call.weight(
      leaf,
      given.map((axis) => x.shape[axis]),
    );
    const { dtype, shape, data } = known;
    return { dtype, shape: axes.map((axis) => shape[given.indexOf(axis)]), data };
  };
  const [scale, shift] = [weight(gamma), weight(beta)];
  const isTrailing = axes.every((axis, i) => axis === rank - axes.length + i);
  if (isRms && !isTrailing) {
    // Keras multiplies by the scale as it is, which falls on the last axes
    const y = normalize(call, x, axes, eps, false);
    return scale ? call.draft.multiply(y, call.constant(floats(scale.data), scale.shape)) : y;
  }
  if (!own.some(Number.isNaN)) {
    const axis = isTrailing ? null : axes;
    const layer = isRms
      ? new RMSNorm(own, { eps, axis })
      : new LayerNorm(own, { eps, axis, affine: scale ? (shift ? true : 'gamma') : shift ? 'beta' : false });
    return call.draft.keep(call.loaded(layer as Layer, { gamma: scale, beta: shift }), x, call.name);
  }
  const y = normalize(call, x, axes, eps, !isRms);
  const lift = ({ data, shape }: Known) => {
    const lengths = x.shape.map(() => 1);
    axes.forEach((axis, i) => {
      lengths[axis] = shape[i];
    });
    return call.constant(floats(data), lengths);
  };
  const scaled = scale ? call.draft.multiply(y, lift(scale)) : y;
  return shift ? call.draft.add(scaled, lift(shift)) : scaled;
}

const groupNorm: KerasConverter = (call) => {
  const { x } = call;
  const rank = x.shape.length;
  const [axis] = call.axes('axis', -1, rank);
  if (axis === 0) throw call.fail('another axis than the batch', 'axis 0');
  const channels = x.shape[axis];
  if (!(channels > 0)) throw call.fail('an input with a known number of channels', `shape [${shown(x.shape)}]`);
  const given = call.whole('groups', 32, -1);
  const groups = given === -1 ? channels : given;
  if (groups < 1 || channels % groups) throw call.fail(`groups that divide ${channels} channels`, `${groups}`);
  const [scale, center] = [call.flag('scale', true), call.flag('center', true)];
  const layer = new GroupNorm(groups, channels, {
    eps: call.number('epsilon', 1e-3),
    ...(axis === rank - 1 ? { layout: 'channels-last' } : axis === 1 ? {} : { axis }),
    affine: scale ? (center ? true : 'gamma') : center ? 'beta' : false,
  });
  const own = {
    gamma: call.optional('gamma', scale, [channels]),
    beta: call.optional('beta', center, [channels]),
  };
  return call.draft.keep(call.loaded(layer as Layer, own), x, call.name);
};

/** x/max(‖x‖, least) along axes. */
const unitNorm: KerasConverter = (call) => {
  const { x } = call;
  const axes = call.axes('axis', -1, x.shape.length).sort((a, b) => a - b);
  // TensorFlow bounds the square by 1e-12, Keras 3 the norm
  const least = call.isNew ? 1e-12 : 1e-6;
  const norm = reduce(call, x, 'l2', axes, true);
  return binary(call, 'div', x, binary(call, 'max', norm, scalar(call, least)));
};

/** (x − mean)/max(√variance, 1e-7), or the way back. */
const normalization: KerasConverter = (call) => {
  const { x } = call;
  const rank = x.shape.length;
  const { axis: given } = call.config;
  const isWhole = given === null || (Array.isArray(given) && given.length === 0);
  const axis = isWhole ? [] : call.axes('axis', -1, rank);
  const own = axis.map((one) => x.shape[one]);
  const lengths = x.shape.map((length, i) => (axis.includes(i) ? length : 1));
  const values = (name: string): Float32Array => {
    const given = call.config[name];
    const stored = call.weights.find(name, call.kind, call.config);
    const list =
      given === undefined || given === null || stored ? undefined : Array.isArray(given) ? given.flat(8) : [given];
    if (!list) {
      const shape = stored && stored.shape.length !== own.length ? stored.shape : own;
      const { data } = call.weight(name, shape);
      return floats(data);
    }
    if (list.every((one) => typeof one === 'number')) return Float32Array.from(list as number[]);
    throw call.fail(`numbers as ${name}`, 'others');
  };
  const [mean, variance] = [values('mean'), values('variance')];
  const size = own.reduce((product, length) => product * length, 1);
  for (const [name, list] of Object.entries({ mean, variance })) {
    if (list.length !== size && list.length !== 1) throw call.fail(`${size} values as ${name}`, `${list.length}`);
    if (!list.every(Number.isFinite)) throw call.fail(`finite numbers as ${name}`, 'others');
  }
  checkVariance(call, { dtype: 'F32', shape: own, data: variance }, 'variance');
  const constant = (list: Float32Array) => call.constant(list, list.length === 1 ? [] : lengths);
  const deviation = variance.map((value) => Math.max(Math.sqrt(value), 1e-7));
  if (call.flag('invert', false)) {
    return call.draft.add(call.draft.multiply(x, constant(deviation)), constant(mean));
  }
  const centred = call.draft.add(x, constant(mean.map((value) => -value)));
  return call.draft.multiply(centred, constant(deviation.map((value) => 1 / value)));
};

// ---- pooling

const MAX = [MaxPool1d, MaxPool2d, MaxPool3d] as const;
const AVG = [AvgPool1d, AvgPool2d, AvgPool3d] as const;

function pool(of: 'max' | 'avg', axes: number): KerasConverter {
  return (call) => {
    const x = call.ranked(axes + 2);
    const kernel = call.perAxis('pool_size', axes, 2);
    const stride = call.perAxis('strides', axes, kernel);
    const padding = call.choice('padding', 'valid', ['valid', 'same']) === 'same' ? 'same' : 0;
    const options = { stride, padding, layout: call.layout } as const;
    const layer =
      of === 'max'
        ? new MAX[axes - 1](kernel, options)
        : new AVG[axes - 1](kernel, { ...options, countIncludePad: false });
    const windows = { kernel, stride, dilation: kernel.map(() => 1) };
    const around = padding === 'same' ? padding : kernel.map((): Around => [0, 0]);
    const lengths = spatial(call, x).map((length, a) => windowsAlong(windows, length, a, around));
    const channels = call.layout === 'channels-first' ? x.dims[1] : x.dims[x.dims.length - 1];
    return call.draft.apply(layer as Layer, x, call.name, withSpatial(call, x, lengths, channels));
  };
}

function globalPool(of: 'max' | 'avg', axes: number): KerasConverter {
  return (call) => {
    const x = call.ranked(axes + 2);
    const { layout } = call;
    const keeps = call.flag('keepdims', false);
    const channels = layout === 'channels-first' ? x.dims[1] : x.dims[x.dims.length - 1];
    const isFlat = (y: Flow) =>
      keeps ? y : call.draft.apply(new Flatten(), y, `${call.name}.flatten`, [x.dims[0], channels]);
    const mask = of === 'avg' && axes === 1 ? stepsThatCount(call) : undefined;
    if (mask) return maskedMean(call, x, mask, keeps);
    if (of === 'avg') return isFlat(call.draft.apply(new GlobalAvgPool({ layout }), x, call.name));
    if (axes === 2) return isFlat(call.draft.apply(new AdaptiveMaxPool2d(1, { layout }), x, call.name));
    const first = layout === 'channels-first' ? 2 : 1;
    const where = Array.from({ length: axes }, (_, i) => i + first);
    return reduce(call, x, 'max', where, keeps);
  };
}

// ---- scales

const rescaling: KerasConverter = (call) => {
  const { x } = call;
  const operand = (name: string, standard: number) => {
    const value = call.config[name] ?? standard;
    const list = Array.isArray(value) ? value : [value];
    if (!list.every((one) => typeof one === 'number' && Number.isFinite(one)))
      throw call.fail(`numbers as ${name}`, 'others');
    const data = Float32Array.from(list as number[]);
    return {
      isIdle: data.every((one) => one === standard),
      flow: call.constant(data, Array.isArray(value) ? [data.length] : []),
    };
  };
  const [scale, offset] = [operand('scale', 1), operand('offset', 0)];
  const y = scale.isIdle ? x : call.draft.multiply(x, scale.flow);
  return offset.isIdle ? y : call.draft.add(y, offset.flow);
};

export const kerasLayers = (): Readonly<Record<string, KerasConverter>> => ({
  dense,
  conv1d: conv(1),
  conv2d: conv(2),
  conv3d: conv(3),
  depthwise_conv1d: depthwise(1),
  depthwise_conv2d: depthwise(2),
  separable_conv1d: separable(1),
  separable_conv2d: separable(2),
  conv1d_transpose: convTranspose(1),
  conv2d_transpose: convTranspose(2),
  batch_normalization: batchNorm,
  layer_normalization: layerNorm,
  rms_normalization: rmsNorm,
  group_normalization: groupNorm,
  unit_normalization: unitNorm,
  normalization,
  rescaling,
  max_pooling1d: pool('max', 1),
  max_pooling2d: pool('max', 2),
  max_pooling3d: pool('max', 3),
  average_pooling1d: pool('avg', 1),
  average_pooling2d: pool('avg', 2),
  average_pooling3d: pool('avg', 3),
  global_max_pooling1d: globalPool('max', 1),
  global_max_pooling2d: globalPool('max', 2),
  global_max_pooling3d: globalPool('max', 3),
  global_average_pooling1d: globalPool('avg', 1),
  global_average_pooling2d: globalPool('avg', 2),
  global_average_pooling3d: globalPool('avg', 3),
});
