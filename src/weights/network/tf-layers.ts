// Convolutions, products, norms and pooling of TensorFlow, channels last where the file has them
// there.

import type { Operation as GraphOperation } from '../../graph/operation.ts';
import type { Around } from '../../layers/conv-geometry.ts';
import type { Layer } from '../../layers/layer.ts';
import { Conv2d, ConvTranspose2d } from '../../nn/conv.ts';
import { startingAs } from '../../nn/initializers.ts';
import { AvgPool2d, MaxPool2d } from '../../nn/pool.ts';
import { PReLU } from '../../nn/prelu.ts';
import { BatchNorm } from '../../norms/batch-norm.ts';
import { BatchNorm1d, BatchNorm2d, BatchNorm3d } from '../../norms/batch-norm-ranks.ts';
import { countOf } from '../../tensors/shape.ts';
import type { Layout } from '../../types.ts';
import { storedKernel } from '../axes.ts';
import type { Flow } from './draft.ts';
import type { Call, Converter } from './onnx-call.ts';
import {
  biasOf,
  binary,
  floats,
  linear,
  loaded,
  matmul,
  reshaped,
  scalar,
  surround,
  transpose,
  turned,
  unary,
  withBias,
} from './onnx-layers.ts';
import { isSame, productOf, type Sym, work } from './terms.ts';

interface Windows {
  readonly layout: Layout;
  readonly kernel: readonly number[];
  readonly stride: readonly number[];
  readonly dilation: readonly number[];
  readonly padding: readonly Around[] | 'same';
}

const FIRST = [0, 3, 1, 2];
const LAST = [0, 2, 3, 1];

/** The first of the two spatial axes. */
const spatialAxis = (layout: Layout) => (layout === 'channels-first' ? 2 : 1);
const channelAxis = (layout: Layout) => (layout === 'channels-first' ? 1 : 3);

function windowsOf(call: Call, kernel: readonly number[]): Windows {
  const layout = call.choice('layout', 'channels-last', ['channels-first', 'channels-last']);
  const padding = call.choice('padding', 'VALID', ['SAME', 'VALID', 'EXPLICIT']);
  const [top = 0, left = 0, bottom = 0, right = 0] = call.wholes('pads') ?? [];
  const [stride, dilation] = ['strides', 'dilations'].map((name) => call.wholes(name)!);
  const pairs: Around[] = [
    [top, bottom],
    [left, right],
  ];
  return { layout, kernel, stride, dilation, padding: padding === 'SAME' ? 'same' : pairs };
}

const extentOf = ({ kernel, dilation }: Windows, a: number) => dilation[a] * (kernel[a] - 1) + 1;

function windowsAlong(windows: Windows, input: Sym, a: number): Sym {
  const { padding, stride } = windows;
  if (padding === 'same') return work('ceil', work('div', input, stride[a]));
  const room = work('add', input, padding[a][0] + padding[a][1] - extentOf(windows, a));
  return work('add', work('floor', work('div', room, stride[a])), 1);
}

/** The shape of values of so many channels, with other lengths. */
function dimsOf({ layout }: Windows, samples: Sym, channels: Sym, lengths: readonly Sym[]): Sym[] {
  return layout === 'channels-first' ? [samples, channels, ...lengths] : [samples, ...lengths, channels];
}

function image(call: Call): Flow {
  const x = call.flow(0);
  if (x.shape.length !== 4) throw call.fail('x of rank 4', `rank ${x.shape.length}`);
  return x;
}

/** The shape of a kernel, whose lengths are known. */
function kernelShape(call: Call): readonly number[] {
  const shape = call.known(1)?.shape ?? call.flow(1).shape;
  if (shape.length !== 4) throw call.fail('a kernel of rank 4', `rank ${shape.length}`);
  if (shape.some((length) => Number.isNaN(length) || length < 1)) {
    throw call.fail('a kernel of known lengths above 0', `[${shape.join(', ')}]`);
  }
  return shape;
}

/** `[height, width, in/groups, out]`; depthwise `[height, width, in, multiplier]`. */
const conv =
  (isDepthwise: boolean): Converter =>
  (call) => {
    const x = image(call);
    const [height, width, third, fourth] = kernelShape(call);
    const windows = windowsOf(call, [height, width]);
    const { layout, kernel, stride, dilation, padding } = windows;
    const channels = x.shape[channelAxis(layout)];
    const groups = isDepthwise ? third : Number.isNaN(channels) ? 1 : channels / third;
    const [given, out] = isDepthwise ? [third, third * fourth] : [third * groups, fourth];
    if (!Number.isInteger(groups) || out % groups !== 0 || (!Number.isNaN(channels) && channels !== given)) {
      throw call.fail(`x of ${third} channels, as the kernel`, `${channels}`);
    }
    const lengths = kernel.map((_, a) => windowsAlong(windows, x.dims[spatialAxis(layout) + a], a));
    const dims = dimsOf(windows, x.dims[0], out, lengths);
    const weight = call.known(1);
    if (!weight || (call.has(2) && !call.known(2))) {
      if (isDepthwise) throw call.fail('a constant kernel', 'one that comes at run time');
      const isLast = layout === 'channels-last';
      const inputs = [isLast ? transpose(call, x, FIRST) : x, transpose(call, call.flow(1), [3, 2, 0, 1])];
      if (call.has(2)) inputs.push(call.flow(2));
      const rest = { kernel, stride, dilation, padding, groups, outputPadding: [0, 0], transposed: false };
      const first = isLast ? FIRST.map((axis) => dims[axis]) : dims;
      const y = call.draft.operate({ kind: 'weighted', ...rest } as GraphOperation, inputs, first);
      return isLast ? transpose(call, y, LAST) : y;
    }
    const bias = biasOf(call, 2, out);
    const layer = new Conv2d(given, out, kernel, {
      stride,
      dilation,
      padding,
      groups,
      layout,
      bias: bias !== undefined,
      init: startingAs(storedKernel(weight, isDepthwise)),
    });
    return call.draft.apply(withBias(layer, bias), x, call.name, dims);
  };

/**
 * The gradient of a convolution with respect to its input: a kernel `[height, width, out, in]`, and
 * as output the shape that input 0 says.
 */
const convTranspose: Converter = (call) => {
  const x = call.flow(2);
  if (x.shape.length !== 4) throw call.fail('x of rank 4', `rank ${x.shape.length}`);
  const [height, width, out, channels] = kernelShape(call);
  const windows = windowsOf(call, [height, width]);
  const { layout, kernel, stride, dilation, padding } = windows;
  const weight = call.known(1);
  if (!weight) throw call.fail('a constant kernel', 'one that comes at run time');
  const given = x.shape[channelAxis(layout)];
  if (!Number.isNaN(given) && given !== channels)
    throw call.fail(`x of ${channels} channels, as the kernel`, `${given}`);
  const at = spatialAxis(layout);
  const wanted = call.shape(0, 'input_sizes');
  // older files say the two lengths alone
  const lengths = wanted.length === 2 ? wanted : wanted.slice(at, at + 2);
  if (lengths.length !== 2 || (wanted.length !== 4 && wanted.length !== 2)) {
    throw call.fail('4 numbers as input_sizes', `${wanted.length}`);
  }
  const outputPadding = [0, 0];
  /** What is taken from both ends of the whole output. */
  const cuts = kernel.map((_, a): [Sym, Sym] => {
    const input = x.dims[at + a];
    const extent = extentOf(windows, a);
    const length = lengths[a];
    const whole = work('add', work('mul', work('sub', input, 1), stride[a]), extent);
    if (typeof length === 'number' && typeof input === 'number') {
      const pads = padding === 'same' ? 0 : padding[a][0] + padding[a][1];
      const least = Math.ceil((padding === 'same' ? length : length + pads - extent + 1) / stride[a]);
      if (least !== input) throw call.fail(`lengths whose convolution has ${input} on axis ${at + a}`, `${length}`);
    }
    const isTimes = isSame(length, work('mul', input, stride[a]));
    const missing = isTimes ? stride[a] - extent : work('sub', length, whole);
    if (typeof missing === 'number' && missing > 0) {
      // places that no input reaches
      outputPadding[a] = missing;
      return [0, 0];
    }
    if (padding !== 'same') {
      const [before] = padding[a];
      return [before, work('max', work('sub', work('neg', missing), before), 0)];
    }
    const all = typeof missing === 'number' ? -missing : work('max', work('neg', missing), 0);
    const half = work('floor', work('div', all, 2));
    return [half, work('sub', all, half)];
  });
  const isKnown = cuts.flat().every((places) => typeof places === 'number');
  const around = cuts.map((cut): Around => (isKnown ? (cut as readonly Sym[] as Around) : [0, 0]));
  if (outputPadding.some((more, a) => more >= Math.max(stride[a], dilation[a]))) {
    throw call.fail('input_sizes that the kernel and its strides give', `${outputPadding.join(' and ')} places more`);
  }
  const layer = new ConvTranspose2d(channels, out, kernel, {
    stride,
    dilation,
    padding: around,
    outputPadding,
    layout,
    bias: false,
    init: startingAs(storedKernel(weight, false)),
  });
  const whole = kernel.map((_, a) => {
    const steps = work('mul', work('sub', x.dims[at + a], 1), stride[a]);
    return work('add', steps, extentOf(windows, a) + outputPadding[a] - around[a][0] - around[a][1]);
  });
  const y = call.draft.apply(layer, x, call.name, dimsOf(windows, x.dims[0], out, whole));
  if (isKnown) return y;
  const pads: Sym[] = new Array(8).fill(0);
  cuts.forEach(([before, behind], a) => {
    pads[at + a] = work('neg', before);
    pads[at + a + 4] = work('neg', behind);
  });
  return surround(call, y, pads, 'constant', 0);
};

const batchMatMul: Converter = (call) => {
  const flip = (flow: Flow, isTurned: boolean) => {
    const rank = flow.shape.length;
    if (rank < 2) throw call.fail('matrices', `rank ${rank}`);
    const order = flow.shape.map((_, axis) => axis);
    return isTurned ? transpose(call, flow, [...order.slice(0, -2), rank - 1, rank - 2]) : flow;
  };
  const a = flip(call.flow(0), call.flag('x'));
  const b = flip(call.flow(1), call.flag('y'));
  if (!b.known || b.shape.length !== 2 || a.known) return matmul(call, a, b);
  const { data, shape } = turned(b.known);
  return linear(call, a, floats(data), shape, undefined);
};

const batchNorm: Converter = (call) => {
  const x = call.flow(0);
  const rank = x.shape.length;
  const eps = call.number('epsilon', 1e-3);
  const layout = call.choice('layout', 'channels-last', ['channels-first', 'channels-last']);
  if (rank < 2) throw call.fail('x of rank 2 or more', `rank ${rank}`);
  if (!(eps >= 0)) throw call.fail('an epsilon of 0 or more', `${eps}`);
  const names = ['scale', 'offset', 'mean', 'variance'];
  const given = names.map((_, i) => call.known(i + 1));
  if (given.some((one) => !one)) {
    // weights that come at run time, one for each channel
    const behind = layout === 'channels-first' ? rank - 2 : 0;
    const lift = (flow: Flow) => reshaped(call, flow, [flow.dims[0], ...new Array<Sym>(behind).fill(1)]);
    const [scale, shift, mean, variance] = names.map((_, i) => lift(call.flow(i + 1)));
    const root = unary(call, call.draft.add(variance, scalar(call, eps)), 'sqrt');
    const centred = binary(call, 'sub', x, mean);
    return call.draft.add(call.draft.multiply(binary(call, 'div', centred, root), scale), shift);
  }
  const channels = countOf(given[0]!.shape);
  names.forEach((name, i) => {
    const size = countOf(given[i]!.shape);
    if (size !== channels) throw call.fail(`${channels} values as ${name}`, `${size}`);
  });
  const Norm = rank <= 3 ? BatchNorm1d : rank === 4 ? BatchNorm2d : rank === 5 ? BatchNorm3d : BatchNorm;
  const layer = new Norm(channels, { eps, layout: rank === 2 ? 'channels-first' : layout, runningVariance: 'biased' });
  const [gamma, beta, runningMean, runningVar] = given.map((one) => ({ data: floats(one!.data), shape: [channels] }));
  return call.draft.keep(loaded(layer as Layer, { gamma, beta, runningMean, runningVar }), x, call.name);
};

const biasFirst: Converter = (call) => {
  const x = call.flow(0);
  const bias = call.flow(1);
  if (bias.shape.length !== 1 || x.shape.length < 3)
    throw call.fail('a bias of rank 1 and x of rank 3 or more', 'others');
  return call.draft.add(x, reshaped(call, bias, [bias.dims[0], ...new Array<Sym>(x.shape.length - 2).fill(1)]));
};

const pool =
  (of: 'max' | 'avg'): Converter =>
  (call) => {
    const x = image(call);
    const windows = windowsOf(call, call.wholes('ksize')!);
    const { layout, kernel, stride, padding } = windows;
    const at = spatialAxis(layout);
    const lengths = kernel.map((_, a) => windowsAlong(windows, x.dims[at + a], a));
    const dims = dimsOf(windows, x.dims[0], x.dims[channelAxis(layout)], lengths);
    const even = padding === 'same' ? padding : padding.map(([before, behind]) => (before === behind ? before : -1));
    const isPlain = even === 'same' || even.every((one, a) => one >= 0 && 2 * one <= kernel[a]);
    if (!isPlain && of === 'avg')
      throw call.fail('explicit_paddings of half a window at most, alike on both sides', 'others');
    const options = { stride, padding: isPlain ? even : 0, layout };
    const layer =
      of === 'max' ? new MaxPool2d(kernel, options) : new AvgPool2d(kernel, { ...options, countIncludePad: false });
    if (isPlain) return call.draft.apply(layer, x, call.name, dims);
    const pads: Sym[] = new Array(8).fill(0);
    (padding as readonly Around[]).forEach(([before, behind], a) => {
      pads[at + a] = before;
      pads[at + a + 4] = behind;
    });
    return call.draft.apply(layer, surround(call, x, pads, 'constant', Number.NEGATIVE_INFINITY), call.name, dims);
  };

const prelu: Converter = (call) => {
  const x = call.flow(0);
  const slope = call.known(1);
  if (!slope) return binary(call, 'prelu', x, call.flow(1));
  const size = countOf(slope.shape);
  const isChannel = size > 1 && slope.shape.at(-1) === size && x.shape.at(-1) === size && x.shape.length >= 2;
  if (slope.shape.length > x.shape.length || !(isChannel || size === 1)) {
    return binary(call, 'prelu', x, call.draft.constant(slope));
  }
  const layer = new PReLU(size, { layout: x.shape.length === 2 ? 'channels-first' : 'channels-last' });
  layer.loadStateDict({ weight: { data: floats(slope.data), shape: [size] } });
  return call.draft.keep(layer, x, call.name);
};

/** x/(bias + alpha·Σ x²)^beta, over so many channels to both sides. */
const lrn: Converter = (call) => {
  const x = image(call);
  const radius = call.whole('radius', 5, 0);
  const [alpha, beta, bias] = [call.number('alpha', 1), call.number('beta', 0.5), call.number('bias', 1)];
  const rows = reshaped(call, unary(call, x, 'square'), [productOf(x.dims.slice(0, 3)), 1, x.dims[3], 1]);
  const window = {
    kind: 'window',
    of: 'avg',
    kernel: [2 * radius + 1, 1],
    stride: [1, 1],
    dilation: [1, 1],
    padding: [
      [radius, radius],
      [0, 0],
    ],
    ceil: false,
    countsPadding: true,
    p: 2,
    places: null,
  } as unknown as GraphOperation;
  const mean = reshaped(call, call.draft.operate(window, [rows], rows.dims), x.dims);
  const base = call.draft.add(call.draft.multiply(mean, scalar(call, alpha * (2 * radius + 1))), scalar(call, bias));
  return call.draft.multiply(x, binary(call, 'pow', base, scalar(call, -beta)));
};

export const tfLayers = (): Readonly<Record<string, Converter>> => ({
  Conv2D: conv(false),
  Depthwise: conv(true),
  Conv2DBackpropInput: convTranspose,
  BatchMatMul: batchMatMul,
  FusedBatchNorm: batchNorm,
  BiasAdd: biasFirst,
  MaxPool: pool('max'),
  AvgPool: pool('avg'),
  Prelu: prelu,
  LRN: lrn,
});
