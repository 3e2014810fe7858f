// Convolutions, products, norms and pooling: what has weights, and what stands between.

import type { Values } from '../../formats/dtypes.ts';
import type { Operation as GraphOperation } from '../../graph/operation.ts';
import type { Around } from '../../layers/conv-geometry.ts';
import type { Layer } from '../../layers/layer.ts';
import { Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d } from '../../nn/conv.ts';
import { startingAs } from '../../nn/initializers.ts';
import { Linear } from '../../nn/linear.ts';
import { AvgPool1d, AvgPool2d, AvgPool3d, GlobalAvgPool, MaxPool1d, MaxPool2d, MaxPool3d } from '../../nn/pool.ts';
import { BatchNorm } from '../../norms/batch-norm.ts';
import { BatchNorm1d, BatchNorm2d, BatchNorm3d } from '../../norms/batch-norm-ranks.ts';
import { GroupNorm } from '../../norms/group-norm.ts';
import { InstanceNorm1d, InstanceNorm2d, InstanceNorm3d } from '../../norms/instance-norm.ts';
import { LayerNorm } from '../../norms/layer-norm.ts';
import { RMSNorm } from '../../norms/rms-norm.ts';
import { countOf } from '../../tensors/shape.ts';
import { held } from '../../tensors/stored.ts';
import { fromKernel } from '../axes.ts';
import type { Flow, Known } from './draft.ts';
import { broadcastDim, broadcastDims, lengthsFor } from './draft.ts';
import type { Call, Converter, Site } from './onnx-call.ts';
import { isSame, productOf, type Sym, work } from './terms.ts';

export const floats = (values: ArrayLike<number>): Float32Array =>
  values instanceof Float32Array ? values : Float32Array.from(values);

/** What a layer's weight begins with: values of the file, to which nobody writes. */
export const startingWith = (values: ArrayLike<number>) => startingAs(held(floats(values)));

interface Windows {
  readonly kernel: readonly number[];
  readonly stride: readonly number[];
  readonly dilation: readonly number[];
  readonly padding: readonly Around[] | 'upper' | 'lower';
}

/** What nodes with windows say of them. */
function windowsOf(call: Call, axes: number, weight?: readonly number[]): Windows {
  const list = (name: string, standard: number, least: number) => {
    const given = call.wholes(name);
    if (!given) return new Array<number>(axes).fill(standard);
    if (given.length !== axes || given.some((one) => one < least || one > 2 ** 24)) {
      throw call.fail(`${axes} numbers from ${least} on as ${name}`, `[${given.join(', ')}]`);
    }
    return [...given];
  };
  const given = call.wholes('kernel_shape');
  if (!given && !weight) throw call.fail('a kernel_shape', 'none');
  const kernel = given ? list('kernel_shape', 1, 1) : [...weight!];
  if (weight && kernel.some((length, a) => length !== weight[a])) {
    throw call.fail(`the kernel_shape of the weight, [${weight.join(', ')}]`, `[${kernel.join(', ')}]`);
  }
  const auto = call.choice('auto_pad', 'NOTSET', ['NOTSET', 'SAME_UPPER', 'SAME_LOWER', 'VALID', '']);
  const pads = call.wholes('pads') ?? new Array<number>(2 * axes).fill(0);
  if (pads.length !== 2 * axes || pads.some((one) => Math.abs(one) > 2 ** 24)) {
    throw call.fail(`${2 * axes} numbers as pads`, `[${pads.join(', ')}]`);
  }
  const padding =
    auto === 'SAME_UPPER'
      ? 'upper'
      : auto === 'SAME_LOWER'
        ? 'lower'
        : kernel.map((_, a): Around => (auto === 'VALID' ? [0, 0] : [pads[a], pads[a + axes]]));
  return { kernel, stride: list('strides', 1, 1), dilation: list('dilations', 1, 1), padding };
}

const extentOf = ({ kernel, dilation }: Windows, a: number) => dilation[a] * (kernel[a] - 1) + 1;

/** The number of windows along an axis. */
function windowsAlong(windows: Windows, input: Sym, a: number, ceil = false): Sym {
  const { padding, stride } = windows;
  if (typeof padding === 'string') return work('ceil', work('div', input, stride[a]));
  const room = work('add', input, padding[a][0] + padding[a][1] - extentOf(windows, a));
  return work('add', work(ceil ? 'ceil' : 'floor', work('div', room, stride[a])), 1);
}

/** The input with padding of its own, where a layer does not pad as the node does. */
function padded(call: Call, x: Flow, windows: Windows, value: number): { x: Flow; windows: Windows } {
  const { padding, stride } = windows;
  const axes = windows.kernel.length;
  const zero = windows.kernel.map((): Around => [0, 0]);
  const pads: Sym[] = new Array(2 * (axes + 2)).fill(0);
  for (let a = 0; a < axes; a++) {
    if (typeof padding !== 'string') {
      [pads[a + 2], pads[a + axes + 4]] = padding[a];
      continue;
    }
    const input = x.dims[a + 2];
    const output = work('ceil', work('div', input, stride[a]));
    const span = work('add', work('mul', work('sub', output, 1), stride[a]), extentOf(windows, a));
    const all = work('max', work('sub', span, input), 0);
    const half = work('floor', work('div', all, 2));
    const rest = work('sub', all, half);
    [pads[a + 2], pads[a + axes + 4]] = padding === 'upper' ? [half, rest] : [rest, half];
  }
  return { x: surround(call, x, pads, 'constant', value), windows: { ...windows, padding: zero } };
}

/** Places around any axis. */
export function surround(call: Site, x: Flow, pads: readonly Sym[], mode: string, value: number): Flow {
  const { lengths, inputs } = lengthsFor(pads, [x]);
  const rank = x.shape.length;
  const dims = x.dims.map((dim, axis) => work('add', work('add', dim, pads[axis]), pads[axis + rank]));
  return call.draft.operate({ kind: 'surround', mode, pads: lengths, value } as GraphOperation, inputs, dims);
}

/** A bias of so many values; undefined where there is none. */
export function biasOf(call: Call, index: number, count: number): Float32Array | undefined {
  if (!call.has(index)) return undefined;
  const { data, shape } = call.constant(index, 'bias');
  if (countOf(shape) !== count) throw call.fail(`a bias of ${count} values`, `shape [${shape.join(', ')}]`);
  return floats(data);
}

/** Gives a layer its weights. */
export function loaded<L extends Layer>(
  layer: L,
  weights: Record<string, { data: Float32Array; shape: readonly number[] }>,
): L {
  // what a file has not, such as how many batches there were, stays as it is
  layer.loadStateDict(weights as never, { strict: false });
  return layer;
}

/** Gives a layer its bias, where it has one. */
export function withBias<L extends Layer>(layer: L, bias: ArrayLike<number> | undefined): L {
  if (bias) layer.stateSlots().bias.write(bias);
  return layer;
}

const CONVS = [Conv1d, Conv2d, Conv3d] as const;
const TRANSPOSED = [ConvTranspose1d, ConvTranspose2d] as const;

const conv: Converter = (call) => {
  let x = call.flow(0);
  const axes = x.shape.length - 2;
  const groups = call.whole('group', 1, 1);
  const weight = call.known(1);
  const shape = weight?.shape ?? call.flow(1).shape;
  if (axes < 1 || shape.length !== x.shape.length) {
    throw call.fail('x and a weight of one rank, 3 or more', `ranks ${x.shape.length} and ${shape.length}`);
  }
  let windows = windowsOf(call, axes, shape.slice(2));
  const isNegative = typeof windows.padding !== 'string' && windows.padding.flat().some((one) => one < 0);
  if (windows.padding === 'lower' || isNegative) ({ x, windows } = padded(call, x, windows, 0));
  const { kernel, stride, dilation, padding } = windows;
  const own = padding === 'upper' ? 'same' : (padding as readonly Around[]);
  const dims = [x.dims[0], shape[0], ...kernel.map((_, a) => windowsAlong(windows, x.dims[a + 2], a))];
  const Conv = CONVS[axes - 1];
  if (!weight || !Conv || (call.has(2) && !call.known(2))) {
    const inputs = [x, call.flow(1), ...(call.has(2) ? [call.flow(2)] : [])];
    const outputPadding = kernel.map(() => 0);
    const rest = { kernel, stride, dilation, padding: own, groups, outputPadding, transposed: false };
    return call.draft.operate({ kind: 'weighted', ...rest } as GraphOperation, inputs, dims);
  }
  const bias = biasOf(call, 2, shape[0]);
  const layer = new Conv(shape[1] * groups, shape[0], kernel, {
    stride,
    dilation,
    padding: own,
    groups,
    bias: bias !== undefined,
    init: startingWith(weight.data),
  });
  return call.draft.apply(withBias(layer, bias), x, call.name, dims);
};

const convTranspose: Converter = (call) => {
  const x = call.flow(0);
  const axes = x.shape.length - 2;
  const groups = call.whole('group', 1, 1);
  const weight = call.known(1);
  const shape = weight?.shape ?? call.flow(1).shape;
  if (axes < 1 || shape.length !== x.shape.length) {
    throw call.fail('x and a weight of one rank, 3 or more', `ranks ${x.shape.length} and ${shape.length}`);
  }
  const windows = windowsOf(call, axes, shape.slice(2));
  const { kernel, stride, dilation } = windows;
  const outputPadding = [...(call.wholes('output_padding') ?? kernel.map(() => 0))];
  const wanted = call.wholes('output_shape')?.slice(-axes);
  if (outputPadding.length !== axes || outputPadding.some((one) => one < 0)) {
    throw call.fail(`${axes} numbers from 0 on as output_padding`, `[${outputPadding.join(', ')}]`);
  }
  /** What is taken from both ends of the whole output. */
  const cuts = kernel.map((_, a): [Sym, Sym] => {
    const input = x.dims[a + 2];
    const whole = work('add', work('mul', work('sub', input, 1), stride[a]), extentOf(windows, a) + outputPadding[a]);
    if (!wanted && typeof windows.padding !== 'string') return [...windows.padding[a]];
    const length: Sym = wanted ? wanted[a] : work('mul', input, stride[a]);
    const missing = work('sub', length, whole);
    if (typeof missing === 'number' && missing > 0) {
      // places that no input reaches
      outputPadding[a] += missing;
      return [0, 0];
    }
    const all = work('max', work('sub', whole, length), 0);
    const half = work('floor', work('div', all, 2));
    const rest = work('sub', all, half);
    return windows.padding === 'upper' ? [half, rest] : [rest, half];
  });
  const out = shape[1] * groups;
  const isEven = cuts.every(([before, behind]) => typeof before === 'number' && before === behind && before >= 0);
  const Conv = TRANSPOSED[axes - 1];
  const bias = call.has(2) ? call.known(2) : undefined;
  const isLayer =
    weight && Conv && (!call.has(2) || bias) && outputPadding.every((p, a) => p < Math.max(stride[a], dilation[a]));
  const padding = cuts.map(([before]) => (isEven ? (before as number) : 0));
  const dims = [
    x.dims[0],
    out,
    ...kernel.map((_, a) => {
      const all = work(
        'add',
        work('mul', work('sub', x.dims[a + 2], 1), stride[a]),
        extentOf(windows, a) + outputPadding[a],
      );
      return work('sub', all, 2 * padding[a]);
    }),
  ];
  let y: Flow;
  if (isLayer) {
    const layer = new Conv(shape[0], out, kernel, {
      stride,
      dilation,
      padding,
      outputPadding,
      groups,
      bias: bias !== undefined,
      init: startingWith(weight.data),
    });
    y = call.draft.apply(withBias(layer, biasOf(call, 2, out)), x, call.name, dims);
  } else {
    const inputs = [x, call.flow(1), ...(call.has(2) ? [call.flow(2)] : [])];
    const around = padding.map((one): Around => [one, one]);
    const rest = { kernel, stride, dilation, padding: around, groups, outputPadding, transposed: true };
    y = call.draft.operate({ kind: 'weighted', ...rest } as GraphOperation, inputs, dims);
  }
  if (isEven) return y;
  const zero: Sym[] = [0, 0];
  const minus = (term: Sym) => work('neg', term);
  const pads = [...zero, ...cuts.map(([before]) => minus(before)), ...zero, ...cuts.map(([, behind]) => minus(behind))];
  return surround(call, y, pads, 'constant', 0);
};

export function linear(
  call: Call,
  x: Flow,
  weight: Float32Array,
  shape: readonly number[],
  bias: Float32Array | undefined,
): Flow {
  const layer = new Linear(shape[1], shape[0], { bias: bias !== undefined, init: startingWith(weight) });
  return call.draft.apply(withBias(layer, bias), x, call.name, [...x.dims.slice(0, -1), shape[0]]);
}

const scaled = (values: ArrayLike<number>, by: number) =>
  by === 1 ? floats(values) : Float32Array.from(values, (value) => value * by);

export const turned = ({ data, shape }: Known): { data: ArrayLike<number>; shape: readonly number[] } =>
  fromKernel(data as Values, shape);

export function transpose(call: Site, x: Flow, order: readonly number[]): Flow {
  if (order.every((axis, i) => axis === i)) return x;
  const dims = order.map((axis) => x.dims[axis]);
  return call.draft.operate({ kind: 'transpose', order } as GraphOperation, [x], dims);
}

export function scalar(call: Site, value: number): Flow {
  return call.draft.constant({ dtype: 'F32', shape: [], data: Float32Array.of(value) });
}

function times(call: Site, x: Flow, by: number): Flow {
  return by === 1 ? x : call.draft.multiply(x, scalar(call, by));
}

export function matmul(call: Site, a: Flow, b: Flow): Flow {
  const lead = (flow: Flow, rank: number) => (flow.shape.length >= 2 ? flow.dims.slice(0, -2) : []).slice(-rank);
  const rank = Math.max(a.shape.length, b.shape.length) - 2;
  const outer = Array.from({ length: Math.max(rank, 0) }, (_, i) =>
    broadcastDim([a, b].map((flow) => lead(flow, rank)).map((dims) => dims[i - rank + dims.length] ?? 1)),
  );
  const dims = [
    ...outer,
    ...(a.shape.length > 1 ? [a.dims[a.dims.length - 2]] : []),
    ...(b.shape.length > 1 ? [b.dims[b.dims.length - 1]] : []),
  ];
  return call.draft.operate({ kind: 'matmul' } as GraphOperation, [a, b], dims, a.dtype);
}

const gemm: Converter = (call) => {
  let a = call.flow(0);
  const [transA, transB] = [call.flag('transA'), call.flag('transB')];
  const [alpha, beta] = [call.number('alpha', 1), call.number('beta', 1)];
  if (a.shape.length !== 2) throw call.fail('x of rank 2', `rank ${a.shape.length}`);
  if (transA) a = transpose(call, a, [1, 0]);
  const weight = call.known(1);
  const bias = call.known(2);
  if (weight && weight.shape.length === 2 && !a.known && (!call.has(2) || bias)) {
    const { data, shape } = transB ? weight : turned(weight);
    const size = bias ? countOf(bias.shape) : 0;
    const isRow = bias && (size === 1 || (size === shape[0] && (bias.shape.at(-1) ?? 1) === size));
    if (!bias || isRow) {
      const row = bias && Float32Array.from({ length: shape[0] }, (_, o) => bias.data[size === 1 ? 0 : o] * beta);
      return linear(call, a, scaled(data, alpha), shape, row);
    }
  }
  const b = transB ? transpose(call, call.flow(1), [1, 0]) : call.flow(1);
  const product = times(call, matmul(call, a, b), alpha);
  return call.has(2) && beta !== 0 ? call.draft.add(product, times(call, call.flow(2), beta)) : product;
};

const matMul: Converter = (call) => {
  const a = call.flow(0);
  const weight = call.known(1);
  if (weight?.shape.length !== 2 || a.shape.length < 2 || a.known) return matmul(call, a, call.flow(1));
  const { data, shape } = turned(weight);
  return linear(call, a, floats(data), shape, undefined);
};

const batchNorm: Converter = (call) => {
  const x = call.flow(0);
  const rank = x.shape.length;
  const eps = call.number('epsilon', 1e-5);
  if (call.flag('training_mode')) throw call.fail('inference', 'training_mode 1');
  if (call.whole('spatial', 1) !== 1) throw call.fail('statistics of channels', 'spatial 0');
  if ([1, 2, 3, 4].some((output) => call.uses(output))) throw call.fail('one output', 'statistics that are used');
  if (rank < 2) throw call.fail('x of rank 2 or more', `rank ${rank}`);
  const names = ['scale', 'B', 'mean', 'var'];
  const given = names.map((_, i) => call.known(i + 1));
  if (given.some((one) => !one)) {
    // weights that come at run time, one for each channel
    const lift = (flow: Flow) => reshaped(call, flow, [flow.dims[0], ...new Array<Sym>(rank - 2).fill(1)]);
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
  const momentum = 1 - call.number('momentum', 0.9);
  const layer = new Norm(channels, {
    eps,
    momentum: momentum >= 0 && momentum <= 1 ? momentum : 0.1,
    runningVariance: 'biased',
  });
  const [gamma, beta, runningMean, runningVar] = given.map((one) => ({ data: floats(one!.data), shape: [channels] }));
  return call.draft.keep(loaded(layer as Layer, { gamma, beta, runningMean, runningVar }), x, call.name);
};

export function unary(call: Site, x: Flow, of: string, a = 0, b = 0, dtype = x.dtype): Flow {
  return call.draft.operate({ kind: 'unary', of, a, b } as GraphOperation, [x], x.dims, dtype);
}

export function binary(call: Site, of: string, a: Flow, b: Flow, dtype = a.dtype): Flow {
  return call.draft.operate({ kind: 'binary', of } as GraphOperation, [a, b], broadcastDims([a, b]), dtype);
}

/** The same values in another shape, by operations alone. */
export function reshaped(call: Site, x: Flow, dims: readonly Sym[]): Flow {
  if (dims.length === x.dims.length && dims.every((dim, i) => isSame(dim, x.dims[i]))) return x;
  const { lengths, inputs } = lengthsFor(dims, [x]);
  return call.draft.operate({ kind: 'shape-to', lengths } as GraphOperation, inputs, dims);
}

export function reduce(call: Site, x: Flow, of: string, axes: readonly number[] | null, keeps: boolean): Flow {
  const gone = new Set(axes ?? x.shape.map((_, i) => i));
  const dims = x.dims.map((dim, i): Sym => (gone.has(i) ? 1 : dim)).filter((_, i) => keeps || !gone.has(i));
  return call.draft.operate({ kind: 'reduce', of, axes, keeps } as GraphOperation, [x], dims);
}

/**
 * (x − mean)/√(variance + eps) over axes, by operations; without `centred` x/√(mean of squares +
 * eps).
 */
export function normalize(call: Site, x: Flow, axes: readonly number[], eps: number, centred: boolean): Flow {
  const d = centred ? binary(call, 'sub', x, reduce(call, x, 'mean', axes, true)) : x;
  const variance = reduce(call, unary(call, d, 'square'), 'mean', axes, true);
  return binary(call, 'div', d, unary(call, call.draft.add(variance, scalar(call, eps)), 'sqrt'));
}

/** Scale and bias of channels beside values of a rank. */
function affine(call: Site, x: Flow, gamma: Flow | undefined, beta: Flow | undefined, byChannel: boolean): Flow {
  const lift = (flow: Flow) =>
    byChannel ? reshaped(call, flow, [flow.dims[0], ...new Array<Sym>(x.shape.length - 2).fill(1)]) : flow;
  const y = gamma ? call.draft.multiply(x, lift(gamma)) : x;
  return beta ? call.draft.add(y, lift(beta)) : y;
}

const instanceNorm: Converter = (call) => {
  const x = call.flow(0);
  const rank = x.shape.length;
  const eps = call.number('epsilon', 1e-5);
  const [gamma, beta] = [call.known(1), call.known(2)];
  if (rank < 3) throw call.fail('x of rank 3 or more', `rank ${rank}`);
  const Norm = [InstanceNorm1d, InstanceNorm2d, InstanceNorm3d][rank - 3];
  if (!gamma || !beta || !Norm) {
    const axes = x.shape.slice(2).map((_, i) => i + 2);
    return affine(call, normalize(call, x, axes, eps, true), call.flow(1), call.flow(2), true);
  }
  const channels = countOf(gamma.shape);
  const layer = new Norm(channels, { eps, affine: true });
  const weights = [gamma, beta].map(({ data }) => ({ data: floats(data), shape: [channels] }));
  return call.draft.keep(loaded(layer as Layer, { gamma: weights[0], beta: weights[1] }), x, call.name);
};

/** A norm of rows whose axes follow from the last ones. */
function rowNorm(call: Call, kind: 'layer' | 'rms'): Flow | Flow[] {
  const x = call.flow(0);
  const rank = x.shape.length;
  const axis = call.axis(call.whole('axis', -1), rank);
  const eps = call.number('epsilon', 1e-5);
  const own = x.shape.slice(axis);
  const weights = [1, 2].filter((i) => call.has(i)).map((i) => call.known(i));
  /** Do scale and bias spread over what is normalised? */
  const fits = (shape: readonly number[]) =>
    shape.length <= own.length &&
    shape.every((length, i) => length === 1 || length === own[i + own.length - shape.length]);
  const isLayer = axis >= 1 && !own.some(Number.isNaN) && weights.every((one) => one && fits(one.shape));
  if (kind === 'layer' && [1, 2].some((output) => call.uses(output))) return withStatistics(call, x, axis, eps);
  if (!isLayer) {
    const axes = own.map((_, i) => axis + i);
    const y = normalize(call, x, axes, eps, kind === 'layer');
    return affine(call, y, call.has(1) ? call.flow(1) : undefined, call.has(2) ? call.flow(2) : undefined, false);
  }
  return rowLayer(call, x, own, eps, kind, weights[0], weights[1], call.name);
}

/** A layer norm whose mean and inverse deviation are used as well. */
function withStatistics(call: Call, x: Flow, axis: number, eps: number): Flow[] {
  const axes = x.shape.slice(axis).map((_, i) => axis + i);
  const mean = reduce(call, x, 'mean', axes, true);
  const d = binary(call, 'sub', x, mean);
  const variance = reduce(call, unary(call, d, 'square'), 'mean', axes, true);
  const inverse = unary(call, unary(call, call.draft.add(variance, scalar(call, eps)), 'sqrt'), 'reciprocal');
  const y = call.draft.multiply(d, inverse);
  return [affine(call, y, call.flow(1), call.has(2) ? call.flow(2) : undefined, false), mean, inverse];
}

/** Scale or bias spread over all that is normalised. */
function spread({ data, shape }: Known, to: readonly number[]): Float32Array {
  const size = countOf(to);
  if (countOf(shape) === size) return floats(data);
  const lengths = [...new Array<number>(to.length - shape.length).fill(1), ...shape];
  return Float32Array.from({ length: size }, (_, i) => {
    let [rest, place, step] = [i, 0, 1];
    for (let a = to.length - 1; a >= 0; a--) {
      if (lengths[a] !== 1) {
        place += (rest % to[a]) * step;
        step *= lengths[a];
      }
      rest = Math.floor(rest / to[a]);
    }
    return data[place];
  });
}

export function rowLayer(
  call: Call,
  x: Flow,
  own: readonly number[],
  eps: number,
  kind: 'layer' | 'rms',
  gamma: Known | undefined,
  beta: Known | undefined,
  name: string,
): Flow {
  const affineOf = gamma && beta ? true : gamma ? 'gamma' : false;
  const isRms = kind === 'rms';
  const layer = isRms
    ? new RMSNorm([...own], { eps, affine: gamma ? 'gamma' : false } as never)
    : new LayerNorm([...own], { eps, affine: affineOf });
  const weights = {
    ...(gamma && { gamma: { data: spread(gamma, own), shape: own } }),
    ...(beta && !isRms && { beta: { data: spread(beta, own), shape: own } }),
  };
  const y = call.draft.keep(loaded(layer as Layer, weights), x, name);
  return beta && isRms ? call.draft.add(y, call.draft.constant(beta)) : y;
}

const groupNorm: Converter = (call) => {
  const x = call.flow(0);
  const [, channels] = x.shape;
  const groups = call.whole('num_groups', 0, 1);
  const eps = call.number('epsilon', 1e-5);
  const [gamma, beta] = [call.known(1), call.known(2)];
  if (!gamma || !beta || !(channels > 0)) throw call.fail('constant weights of a known number of channels', 'others');
  for (const { shape } of [gamma, beta]) {
    const size = countOf(shape);
    if (size !== groups && size !== channels)
      throw call.fail(`scale and bias of ${groups} groups or ${channels} channels`, `shape [${shape.join(', ')}]`);
  }
  // before version 21 scale and bias were those of groups
  const spreadTo = ({ data }: Known) =>
    Float32Array.from({ length: channels }, (_, c) => data[Math.floor((c * data.length) / channels)]);
  const layer = new GroupNorm(groups, channels, { eps });
  const weights = [gamma, beta].map((one) => ({ data: spreadTo(one), shape: [channels] }));
  return call.draft.keep(loaded(layer as Layer, { gamma: weights[0], beta: weights[1] }), x, call.name);
};

const meanVariance: Converter = (call) => {
  const x = call.flow(0);
  const axes = call.axes(call.wholes('axes') ?? [0, 2, 3], x.shape.length);
  const d = binary(call, 'sub', x, reduce(call, x, 'mean', axes, true));
  const deviation = unary(call, reduce(call, unary(call, d, 'square'), 'mean', axes, true), 'sqrt');
  return binary(call, 'div', d, call.draft.add(deviation, scalar(call, 1e-9)));
};

const MAX = [MaxPool1d, MaxPool2d, MaxPool3d] as const;
const AVG = [AvgPool1d, AvgPool2d, AvgPool3d] as const;

function pool(of: 'max' | 'avg' | 'lp'): Converter {
  return (call) => {
    const x = call.flow(0);
    const axes = x.shape.length - 2;
    if (axes < 1) throw call.fail('x of rank 3 or more', `rank ${x.shape.length}`);
    const windows = windowsOf(call, axes);
    const { kernel, stride, dilation, padding } = windows;
    const ceil = call.flag('ceil_mode');
    const counts = call.flag('count_include_pad');
    const p = call.number('p', 2);
    const dims = [x.dims[0], x.dims[1], ...kernel.map((_, a) => windowsAlong(windows, x.dims[a + 2], a, ceil))];
    const Pool = of === 'max' ? MAX[axes - 1] : of === 'avg' ? AVG[axes - 1] : undefined;
    const even =
      typeof padding === 'string' ? undefined : padding.map(([before, behind]) => (before === behind ? before : -1));
    const isLayer =
      even?.every((one, a) => one >= 0 && 2 * one <= extentOf(windows, a)) &&
      (of === 'max' || dilation.every((one) => one === 1));
    // a length in which the last window may be none does not follow from a quotient
    const lengths = ceil ? dims.slice(0, 2) : dims;
    const windowed = (places: 'rows' | 'columns' | null) => {
      const operation = {
        kind: 'window',
        of,
        kernel,
        stride,
        dilation,
        padding,
        ceil,
        countsPadding: counts,
        p,
        places,
      };
      return call.draft.operate(operation as unknown as GraphOperation, [x], lengths, places ? 'I64' : x.dtype);
    };
    const indices = call.uses(1) ? windowed(call.flag('storage_order') ? 'columns' : 'rows') : undefined;
    if (!Pool || !isLayer) return indices ? [windowed(null), indices] : windowed(null);
    const options = { stride, padding: even, ceilMode: ceil };
    const layer =
      of === 'max'
        ? new (Pool as typeof MaxPool2d)(kernel, { ...options, dilation })
        : new (Pool as typeof AvgPool2d)(kernel, { ...options, countIncludePad: counts });
    const y = call.draft.apply(layer, x, call.name, lengths);
    return indices ? [y, indices] : y;
  };
}

/** Values back to the places that MaxPool took them from, and zeros. */
const maxUnpool: Converter = (call) => {
  const [x, places] = [call.flow(0), call.flow(1)];
  const axes = x.shape.length - 2;
  if (axes < 1) throw call.fail('x of rank 3 or more', `rank ${x.shape.length}`);
  const windows = windowsOf(call, axes);
  const { stride, padding } = windows;
  if (typeof padding === 'string') throw call.fail('pads', `auto_pad ${padding}`);
  const dims = x.dims.map((dim, i) => {
    if (i < 2) return dim;
    const [before, behind] = padding[i - 2];
    return work('add', work('mul', work('sub', dim, 1), stride[i - 2]), windows.kernel[i - 2] - before - behind);
  });
  const { lengths, inputs } = lengthsFor([productOf(dims)], []);
  const fill = { kind: 'numbers', as: 'fill', numbers: lengths, value: 0, shape: [] } as GraphOperation;
  const zeros = call.draft.operate(fill, inputs, [productOf(dims)], x.dtype);
  const flat = [places, x].map((flow) => reshaped(call, flow, [productOf(flow.dims)]));
  const scatter = { kind: 'scatter', by: 'elements', axis: 0, reduction: 'none' } as GraphOperation;
  const y = reshaped(call, call.draft.operate(scatter, [zeros, ...flat], zeros.dims), dims);
  if (!call.has(2)) return y;
  // places count in the shape that windows make; what a larger one has besides is 0
  const wanted = call.shape(2, 'output_shape');
  if (wanted.length !== dims.length) throw call.fail(`${dims.length} lengths as output_shape`, `${wanted.length}`);
  const behind = dims.map((dim, i) => (isSame(dim, wanted[i]) ? 0 : work('sub', wanted[i], dim)));
  return surround(call, y, [...dims.map(() => 0), ...behind], 'constant', 0);
};

/** Sums of blocks where they overlap: a transposed convolution with weights of one 1 each. */
const col2Im: Converter = (call) => {
  const x = call.flow(0);
  const [image, block] = [call.constant(1, 'image_shape'), call.constant(2, 'block_shape')].map(({ data }) =>
    Array.from(data),
  );
  const axes = block.length;
  const [list, around] = [call.wholes('strides'), call.wholes('pads')];
  const stride = list ?? block.map(() => 1);
  const dilation = call.wholes('dilations') ?? block.map(() => 1);
  const pads = around ?? new Array<number>(2 * axes).fill(0);
  const size = block.reduce((product, length) => product * length, 1);
  const [, columns] = x.shape;
  const isWrong = [stride, dilation].some((one) => one.length !== axes || one.some((step) => step < 1));
  if (x.shape.length !== 3 || image.length !== axes || pads.length !== 2 * axes || isWrong || axes > 2) {
    throw call.fail('x of rank 3, and lengths, strides, dilations and pads of one or two axes', 'others');
  }
  if (!(size >= 1 && size <= 2 ** 16 && columns % size === 0))
    throw call.fail(`channels of ${size} values`, `${columns}`);
  const channels = columns / size;
  const windows = block.map((length, a) => {
    const room = image[a] + pads[a] + pads[a + axes] - dilation[a] * (length - 1) - 1;
    return Math.floor(room / stride[a]) + 1;
  });
  const weight = new Float32Array(channels * size * size);
  for (let i = 0; i < channels * size; i++) weight[i * size + (i % size)] = 1;
  const Conv = TRANSPOSED[axes - 1];
  const layer = new Conv(columns, channels, block, {
    stride,
    dilation,
    groups: channels,
    bias: false,
    init: startingWith(weight),
  });
  const whole = windows.map((count, a) => (count - 1) * stride[a] + dilation[a] * (block[a] - 1) + 1);
  const y = call.draft.apply(layer, reshaped(call, x, [x.dims[0], columns, ...windows]), call.name, [
    x.dims[0],
    channels,
    ...whole,
  ]);
  // what no block reaches is 0
  const cuts = [0, 0, ...pads.slice(0, axes).map((one) => -one)];
  const ends = [0, 0, ...image.map((length, a) => length - whole[a] + pads[a])];
  return surround(call, y, [...cuts, ...ends], 'constant', 0);
};

const globalAverage: Converter = (call) => {
  const x = call.flow(0);
  if (x.shape.length < 3) throw call.fail('x of rank 3 or more', `rank ${x.shape.length}`);
  return call.draft.apply(new GlobalAvgPool(), x, call.name);
};

function globalReduction(of: 'max' | 'l2'): Converter {
  return (call) => {
    const x = call.flow(0);
    const p = of === 'l2' ? call.whole('p', 2) : 2;
    if (p !== 1 && p !== 2) throw call.fail('p of 1 or 2', `${p}`);
    const axes = x.shape.slice(2).map((_, i) => i + 2);
    return reduce(call, x, of === 'l2' && p === 1 ? 'l1' : of, axes, true);
  };
}

export const layers = (): Readonly<Record<string, Converter>> => ({
  Conv: conv,
  ConvTranspose: convTranspose,
  Gemm: gemm,
  MatMul: matMul,
  BatchNormalization: batchNorm,
  InstanceNormalization: instanceNorm,
  LayerNormalization: (call) => rowNorm(call, 'layer'),
  RMSNormalization: (call) => rowNorm(call, 'rms'),
  GroupNormalization: groupNorm,
  MeanVarianceNormalization: meanVariance,
  MaxPool: pool('max'),
  AveragePool: pool('avg'),
  LpPool: pool('lp'),
  MaxUnpool: maxUnpool,
  Col2Im: col2Im,
  GlobalAveragePool: globalAverage,
  GlobalMaxPool: globalReduction('max'),
  GlobalLpPool: globalReduction('l2'),
});
