// Convolutions, and transposed ones, of one to three axes.

import { geometryOf } from '../../fold/geometry.ts';
import { NO_ACTIVATION } from '../../kernels/activations.ts';
import { clampOf, decodeBytes, sumRuns, transpose } from '../../kernels/conv/calls.ts';
import type { Backend } from '../../kernels/create-backend.ts';
import { activate, affine } from '../../kernels/inference/calls.ts';
import {
  type Around,
  type ConvSpec,
  convShape,
  gridOf,
  lengthsOf,
  paddingOf,
  weightShape,
  windowsOf,
} from '../../layers/conv-geometry.ts';
import {
  align,
  type ConvChannels,
  fillSource,
  packedLength,
  packRows,
  packWeights,
  runPlan,
  tableBytes,
} from '../../layers/conv-passes.ts';
import { type ConvPlan, isDepthwise, placesOf, planOf, type Towards } from '../../layers/conv-plan.ts';
import { Call } from '../../tensors/call.ts';
import { countOf, unravel } from '../../tensors/shape.ts';
import { allOf, held, type Stored } from '../../tensors/stored.ts';
import { doubles, store } from '../../wasm/views.ts';
import { gamma, U, type Valued } from '../error-analysis.ts';
import {
  axisOf,
  type ChannelMap,
  type Description,
  type Fields,
  inPieces,
  type Operation,
  padded,
  type Runner,
  type Shape,
} from '../operation.ts';
import {
  biasBehind,
  fitsF32,
  foldedBefore,
  largestOf,
  mostOf,
  type RoundedWeights,
  roundedOf,
  roundingOf,
  valuesOf,
  type WeightAxes,
  type Weights,
} from '../weights.ts';

/** Weights `[out, in/groups, ...kernel]`, transposed `[in, out/groups, ...kernel]`. */
export interface ConvOperation extends Operation, ConvSpec, Weights {
  readonly kind: 'conv';
}

type Rounded = ConvOperation & RoundedWeights;

/**
 * Weights that a map of the output channels is folded into stay as they are, beside their factors,
 * until they are packed: to write millions of them once more takes longer than the rest of a
 * compilation.
 */
interface Exact extends ConvOperation {
  /** What the weights of each output channel are still to be multiplied by. */
  readonly factors?: Float64Array;
}

const towardsOf = ({ transposed }: ConvSpec): Towards => (transposed ? 'input' : 'output');

/** Channels of the convolution that a transposed one is the gradient of. */
const channelsOf = ({ transposed, inChannels, outChannels, groups }: ConvSpec): ConvChannels =>
  transposed ? { inChannels: outChannels, outChannels: inChannels, groups } : { inChannels, outChannels, groups };

/** Places of the window by phase. Those of a convolution do not depend on its padding. */
const placesBy = (operation: ConvSpec) => {
  const { padding, kernel } = operation;
  const around = padding === 'same' ? kernel.map((): Around => [0, 0]) : padding;
  return placesOf(windowsOf(operation, around), towardsOf(operation));
};

const weightBytes = (operation: ConvSpec) =>
  align(packedLength(channelsOf(operation), countOf(operation.kernel), towardsOf(operation)) * 4);

const name = (operation: ConvSpec) => {
  const { transposed, kernel, inChannels, outChannels, groups, stride } = operation;
  const kind = isDepthwise(channelsOf(operation)) ? 'depthwise ' : '';
  const window = kernel.join('×');
  const step = stride.every((s) => s === 1) ? '' : ` / ${stride.join('×')}`;
  const parts = groups > 1 && !kind ? `, ${groups} groups` : '';
  return `${kind}conv${transposed ? ' transposed' : ''} ${window}${step} ${inChannels} → ${outChannels}${parts}`;
};

/** Writes rows of `[...kernel, in, out]` at an address, where weights lie so. */
function acrossIn(backend: Backend, { writeAcross, bytes }: Stored, columns: number) {
  if (!bytes) return writeAcross;
  const { codes, scale, min } = bytes;
  return ({ length }: Float32Array, row: number, at: number) => {
    const behind = new Uint8Array(backend.heap.buffer, at + 3 * length, length);
    behind.set(codes.subarray(row * columns, row * columns + length));
    decodeBytes(backend, at, scale, min, length);
  };
}

interface Layers {
  readonly plan: ConvPlan;
  /** Channels and pixels of the output. */
  readonly places: number;
  readonly rows: number;
  readonly repeat: number;
  /** Are values turned on their way in, and on their way out? */
  readonly copies: boolean;
  readonly turns: boolean;
}

/** What an operation does with the last shape: memory is reserved for it, and then it is run. */
const latest = /* @__PURE__ */ new WeakMap<ConvSpec, { readonly shape: Shape; readonly layers: Layers }>();

function layersOf(operation: ConvSpec, shape: Shape): Layers {
  const known = latest.get(operation);
  if (known?.shape === shape) return known.layers;
  const outShape = convShape('conv', operation, shape);
  const plan = planOf(gridOf(operation, shape, outShape), towardsOf(operation));
  const places = countOf(lengthsOf(operation, outShape));
  const rows = outShape[0] * places;
  const isFirst = operation.layout === 'channels-first';
  const layers = {
    plan,
    places,
    rows,
    repeat: plan.size / (rows * operation.outChannels) || 1,
    copies: !plan.source.isGiven || (isFirst && countOf(plan.source.lengths) > 1),
    turns: isFirst && places > 1,
  };
  latest.set(operation, { shape, layers });
  return layers;
}

/**
 * Scratch memory: tables, the padded source, the result and a residual with channels innermost, and
 * what it is summed up to.
 */
function scratchOf({ plan, rows, repeat, copies, turns }: Layers, outChannels: number) {
  const values = align(rows * outChannels * 4);
  const source = align(tableBytes(plan));
  const result = source + (copies ? align(plan.source.size * 4) : 0);
  const residual = result + (turns || repeat > 1 ? align(plan.size * 4) : 0);
  const summed = residual + (turns ? values : 0);
  return { source, result, residual, summed, bytes: summed + (repeat > 1 ? values : 0) };
}

export const runConv: Runner<Rounded> = {
  kind: 'conv',
  arity: 1,
  fuses: true,
  // the residual is read where the output is written, pixel by pixel
  overwrites: [1],
  name,
  shape: (subject, operation, [x]) => convShape(subject, operation, x),
  takes: ({ kernel, inChannels, layout }, rank) => {
    if (rank !== kernel.length + 2) return undefined;
    const lengths = kernel.map(() => Number.NaN);
    return layout === 'channels-first' ? [Number.NaN, inChannels, ...lengths] : [Number.NaN, ...lengths, inChannels];
  },
  bytes: (operation) => weightBytes(operation) + 2 * padded(operation.outChannels),
  fill(backend, operation, at) {
    const { weight, bias, kernel, outChannels, groups, transposed } = operation;
    const channels = channelsOf(operation);
    const columns = weight.length / outChannels;
    const depthwise = isDepthwise(channels);
    // panels of one product lie one behind the other
    const isOne = groups === 1 && !transposed && !depthwise;
    const vectors = at + weightBytes(operation);
    const { values, factors } = (!transposed && weight.scaled) || { values: weight, factors: undefined };
    const across = transposed || !(isOne || depthwise) ? undefined : acrossIn(backend, values, outChannels);
    const call = new Call(backend);
    try {
      const by = factors && (across || !depthwise) ? call.scratch(8 * outChannels) : 0;
      if (by) doubles(backend.heap, by, outChannels).set(factors!);
      if (across) {
        inPieces(backend, columns, outChannels, across, (from, row, count) =>
          packRows(backend, from, at, by, row, count, columns, outChannels, depthwise),
        );
      } else {
        const [places, taps, towards] = [placesBy(operation), countOf(kernel), towardsOf(operation)];
        const own = depthwise ? weight : values;
        const pack = (from: number, o: number, count: number) => {
          const part = isOne ? { ...channels, outChannels: count } : channels;
          packWeights(backend, from, at + o * columns * 4, part, taps, places, towards, by && by + o * 8);
        };
        const write = (out: Float32Array, o: number) => own.write(out, o * columns);
        inPieces(backend, outChannels, columns, write, pack, isOne ? undefined : outChannels);
      }
    } finally {
      call.end();
    }
    // behind the weights, where rows of fewer channels than a panel has may have left zeros
    store(backend.heap, vectors, bias ?? new Float32Array(outChannels));
    store(backend.heap, vectors + padded(outChannels), new Float32Array(outChannels).fill(1));
  },
  scratch: (operation, [x]) => scratchOf(layersOf(operation, x), operation.outChannels).bytes,
  call({ backend, operation, weights, shapes, inputs: [from], residual, output, scratch, activation }) {
    const { outChannels, bias } = operation;
    const isFirst = operation.layout === 'channels-first';
    const layers = layersOf(operation, shapes[0]);
    const { plan, places, rows, repeat, copies, turns } = layers;
    const at = scratchOf(layers, outChannels);
    const samples = shapes[0][0];
    const biasAt = weights + weightBytes(operation);
    const ones = biasAt + padded(outChannels);
    const adds = shapes.length > 1;
    const clamp = clampOf(activation);
    const size = rows * outChannels;
    // made once: a run allocates nothing
    const operands = { x: 0, packed: weights, bias: bias && repeat === 1 ? biasAt : 0, residual: 0, y: 0, tables: 0 };
    const extent = { kernel: 'nxc', outer: rows, channels: outChannels, inner: 1 } as const;
    const vectors = { center: 0, scale: ones, shift: biasAt };
    const within = clamp ?? clampOf(NO_ACTIVATION)!;
    return () => {
      const memory = scratch();
      const result = output();
      let x = from();
      if (copies) {
        fillSource(backend, plan.source, x, memory + at.source, isFirst);
        x = memory + at.source;
      }
      let onto = adds ? residual() : 0;
      if (adds && turns) {
        transpose(backend, onto, memory + at.residual, samples, outChannels, places);
        onto = memory + at.residual;
      }
      const y = turns || repeat > 1 ? memory + at.result : result;
      operands.x = x;
      operands.y = y;
      operands.tables = memory;
      let last = y;
      if (repeat > 1) {
        // channels are summed up first: bias, residual and activation come behind
        runPlan(backend, plan, operands);
        // the residual may lie where the result goes
        const sums = memory + at.summed;
        last = turns ? sums : result;
        sumRuns(backend, y, sums, size, repeat);
        affine(backend, extent, sums, vectors, onto, last, activation);
      } else {
        operands.residual = onto;
        runPlan(backend, plan, operands, within);
      }
      if (turns) transpose(backend, last, result, samples, places, outChannels);
      if (!clamp && repeat === 1) activate(backend, result, result, activation, size);
    };
  },
  read: readOperation,
};

/** The most channels, or cells of a window, that a file may name. */
const MOST = 16_777_216;

function readOperation(fields: Fields): Rounded {
  const { json, fail, whole } = fields;
  const list = (value: unknown, least: number, length?: number): number[] => {
    if (Array.isArray(value) && value.length === (length ?? value.length))
      return value.map((n) => whole(n, least, MOST));
    throw fail(length === undefined ? 'a list' : `${length} values`, value);
  };
  const kernel = list(json.kernel, 1);
  const axes = kernel.length;
  if (axes < 1 || axes > 3) throw fail('a kernel of 1 to 3 axes', json.kernel);
  const transposed = json.transposed === true;
  if (typeof json.transposed !== 'boolean') throw fail('transposed true or false', json.transposed);
  if (json.layout !== 'channels-first' && json.layout !== 'channels-last') throw fail('a layout', json.layout);
  const { layout } = json;
  const inChannels = whole(json.in, 1, MOST);
  const outChannels = whole(json.out, 1, MOST);
  const groups = whole(json.groups, 1, MOST);
  if (inChannels % groups || outChannels % groups) throw fail('groups that divide the channels', groups);
  const pairs = (value: unknown) => {
    if (!Array.isArray(value) || value.length !== axes) throw fail(`${axes} pairs`, value);
    return value.map((pair) => list(pair, 0, 2) as unknown as Around);
  };
  const padding = json.padding === 'same' && !transposed ? 'same' : pairs(json.padding);
  const stride = list(json.stride, 1, axes);
  const dilation = list(json.dilation, 1, axes);
  const outputPadding = list(json.outputPadding, 0, axes);
  const spec: ConvSpec = {
    transposed,
    inChannels,
    outChannels,
    kernel,
    stride,
    dilation,
    padding,
    outputPadding,
    groups,
    layout,
  };
  const weight = held(fields.weight('weight', weightShape(spec)));
  return { kind: 'conv', ...spec, weight, bias: fields.optional('bias', [outChannels]) };
}

const axesOf = (operation: ConvSpec): WeightAxes => {
  const { transposed, groups } = operation;
  return geometryOf('compile', { shape: weightShape(operation), transposed, groups });
};

/** A convolution whose weights are read by index. */
interface Plain extends Omit<ConvOperation, 'weight'> {
  readonly weight: Float32Array | Float64Array;
}

/** The operation with its factors in the weights. */
function whole(exact: Exact): Plain & { readonly weight: Float64Array } {
  const { factors, ...rest } = exact;
  const weight = new Float64Array(valuesOf(rest.weight));
  if (factors) multiply(weight, exact, factors);
  return { ...rest, weight };
}

/** Multiplies weights, the first of which is `first` of all, by the factors of their channels. */
function multiply(out: Float32Array | Float64Array, exact: Exact, factors: Float64Array, first = 0): void {
  if (exact.transposed) {
    const { outOf } = axesOf(exact);
    for (let i = 0; i < out.length; i++) out[i] *= factors[outOf(first + i)];
    return;
  }
  const row = exact.weight.length / exact.outChannels;
  for (let o = first / row, i = 0; i < out.length; o++) {
    const factor = factors[o];
    for (const end = i + row; i < end; i++) out[i] *= factor;
  }
}

/** Half of what f32 holds: what weights do not exceed may be known up to rounding. */
const LARGEST = 2 ** 127;

function foldBack(exact: Exact, map: ChannelMap): Exact | string {
  const given = exact.factors;
  const factors = new Float64Array(map.scale);
  if (given) for (let o = 0; o < factors.length; o++) factors[o] *= given[o];
  const bias = biasBehind(exact.bias, exact.outChannels, map);
  const own = { ...exact, bias, factors };
  if (mostOf(exact.weight) * largestOf(factors) <= LARGEST && fitsF32(bias)) return own;
  return withWeights(exact, { weight: whole(own).weight, bias });
}

/**
 * The operation with other weights, unless they are beyond f32 where the operations by themselves
 * are not.
 */
function withWeights(exact: Exact, { weight, bias }: { weight: Float64Array; bias: Float64Array }): Exact | string {
  const { factors: _, ...rest } = exact;
  return fitsF32(weight) && fitsF32(bias) ? { ...rest, weight, bias } : 'folded weights beyond f32';
}

/** Does every output see as many inputs as any other? */
function seesAll({ transposed, padding, kernel }: Exact): boolean {
  if (transposed) return false;
  return padding === 'same' ? kernel.every((length) => length === 1) : padding.flat().every((zeros) => zeros === 0);
}

function foldForward(exact: Exact, map: ChannelMap): Exact | string {
  const { center, scale, shift } = map;
  const shifts = Array.from(scale, (value, c) => shift[c] - center[c] * value).some((value) => value !== 0);
  if (shifts && !seesAll(exact)) {
    return exact.transposed
      ? 'a shift before a transposed convolution, whose outputs do not all see as many inputs'
      : 'a shift before a convolution that pads with zeros';
  }
  return withWeights(exact, foldedBefore(whole(exact), axesOf(exact), map));
}

export const describeConv: Description<Exact, Rounded> = {
  runner: runConv,
  group: 'convolutions',
  noun: 'a convolution',
  exact: (given) => given,
  rounded(given) {
    const { factors, ...exact }: Exact = given.weight instanceof Float64Array ? whole(given) : given;
    const { weight, bias } = roundedOf(exact);
    if (!factors) return { ...exact, weight, bias };
    const write = (out: Float32Array, first: number) => {
      weight.write(out, first);
      multiply(out, exact, factors, first);
    };
    const scaled = exact.transposed ? undefined : { values: weight, factors };
    return { ...exact, weight: { length: weight.length, write, scaled }, bias };
  },
  rounding(exact, { weight }) {
    const most = roundingOf(whole(exact).weight, allOf(weight), axesOf(exact)).reduce((a, b) => Math.max(a, b), 0);
    return most > 0 ? most : null;
  },
  json({ weight, bias, kind, inChannels, outChannels, ...spec }, store) {
    return {
      in: inChannels,
      out: outChannels,
      ...spec,
      weight: store(allOf(weight), weightShape({ inChannels, outChannels, ...spec }), 'weight'),
      bias: store(bias, [outChannels], 'bias'),
    };
  },
  bytes: ({ weight, bias }) => 4 * (weight.length + (bias?.length ?? 0)),
  work: () => null,
  multiplyAdds: (operation, [x], y) =>
    operation.weight.length * x[0] * countOf(lengthsOf(operation, operation.transposed ? x : y)),
  // of the output; of the input where outputs see unlike parts of the window
  workWords: ({ weight, transposed }) => `${weight.length.toLocaleString('en')} per ${transposed ? 'input ' : ''}pixel`,
  analyse: ([x], exact, used) => analyseConv(x, whole(exact), { ...used, weight: allOf(used.weight) }),
  input: ({ inChannels, layout }) => ({ axis: axisOf(layout), count: inChannels }),
  output: ({ outChannels, layout }) => ({ axis: axisOf(layout), count: outChannels }),
  foldBack,
  foldForward,
};

/**
 * The convolution in f64, and what working it out in f32 with other weights than the exact ones may
 * add.
 */
function analyseConv({ shape, value, error }: Valued, exact: Plain, used: Plain): Valued {
  const { transposed, inChannels, outChannels, groups, kernel, stride, dilation, layout } = exact;
  const outShape = convShape('certificate', exact, shape);
  const lengths = lengthsOf(exact, shape);
  const outLengths = lengthsOf(exact, outShape);
  const padding = paddingOf(exact, lengths);
  const [places, outPlaces, taps] = [lengths, outLengths, kernel].map(countOf);
  const [own, whole] = [inChannels / groups, outChannels / groups];
  const isFirst = layout === 'channels-first';
  const size = shape[0] * outChannels * outPlaces;
  const out = { value: new Float64Array(size), error: new Float64Array(size) };
  // running error: each product rounds, and each sum on the way; in whatever order, they are at
  // most the sum of what is added
  const terms = gamma(own * taps + 4);
  const turned = boundOfWindows(exact, used, { shape, value, error });
  const windows = Array.from({ length: outPlaces }, (_, p) => {
    const at = unravel(p, outLengths);
    return Array.from({ length: taps }, (_, k) => {
      const tap = unravel(k, kernel);
      let from = 0;
      for (let a = 0; a < at.length; a++) {
        let i = transposed
          ? at[a] + padding[a][0] - tap[a] * dilation[a]
          : at[a] * stride[a] + tap[a] * dilation[a] - padding[a][0];
        if (transposed) i /= stride[a];
        if (!Number.isInteger(i) || i < 0 || i >= lengths[a]) return -1;
        from = from * lengths[a] + i;
      }
      return from;
    });
  });
  for (let n = 0; n < shape[0]; n++) {
    for (let p = 0; p < outPlaces; p++) {
      for (let o = 0; o < outChannels; o++) {
        const group = Math.floor(o / whole);
        const [b, usedBias] = [exact.bias ? exact.bias[o] : 0, used.bias ? used.bias[o] : 0];
        let total = b;
        let inherited = Math.abs(b - usedBias);
        let sum = Math.abs(usedBias);
        windows[p].forEach((from, k) => {
          if (from < 0) return;
          for (let j = 0; j < own; j++) {
            const c = group * own + j;
            const w = (transposed ? c * whole + (o - group * whole) : o * own + j) * taps + k;
            const i = isFirst ? (n * inChannels + c) * places + from : (n * places + from) * inChannels + c;
            total += exact.weight[w] * value[i];
            const lost = Math.abs(used.weight[w]) * error[i];
            inherited += lost + Math.abs(exact.weight[w] - used.weight[w]) * Math.abs(value[i]);
            sum += Math.abs(used.weight[w] * value[i]) + lost;
          }
        });
        const i = isFirst ? (n * outChannels + o) * outPlaces + p : (n * outPlaces + p) * outChannels + o;
        const rounded = turned ? turned(n, p, o) + terms * Math.abs(usedBias) : terms * sum;
        out.value[i] = total;
        out.error[i] = inherited + rounded + U * Math.abs(total);
      }
    }
  }
  return { shape: outShape, ...out };
}

/**
 * 3 values as the 4 that the transform of weights makes of their absolute values, and 4 of a window
 * as those of the inputs' one.
 */
const weighed = ([a, b, c]: readonly number[]) => [a, (a + b + c) / 2, (a + b + c) / 2, c];
const windowed = ([a, b, c, d]: readonly number[]) => [a + c, b + c, b + c, b + d];

/** A transform along both axes of a square. */
function alongBoth(side: number, of: (row: number, col: number) => number, by: (line: readonly number[]) => number[]) {
  const places = Array.from({ length: side }, (_, k) => k);
  const rows = places.map((i) => by(places.map((j) => of(i, j))));
  const across = rows[0].map((_, j) => by(rows.map((row) => row[j])));
  return rows[0].flatMap((_, i) => across.map((col) => col[i]));
}

/**
 * What rounding adds to outputs that are worked out from turned windows
 * (assembly/kernels/winograd-nxc.ts), by sample, place and channel: at most γ of the terms times
 * Aᵀ[(G·|w|·Gᵀ) ∘ (Bᵀ·|x|·B)]A with absolute values throughout.
 */
function boundOfWindows(exact: ConvSpec, { weight }: Plain, { shape, value, error }: Valued) {
  const outShape = convShape('certificate', exact, shape);
  const { windows } = planOf(gridOf(exact, shape, outShape), towardsOf(exact));
  if (!windows) return undefined;
  const { height, width, depth, outWidth, outHeight, cols, top, left } = windows;
  const isFirst = exact.layout === 'channels-first';
  const across = Math.ceil(outWidth / 2);
  const down = Math.ceil(outHeight / 2);
  const terms = gamma(depth + 16);
  const sums = new Map<number, Float64Array>();
  const { transposed } = exact;
  const u = Array.from({ length: cols * depth }, (_, i) => {
    const [o, c] = [Math.floor(i / depth), i % depth];
    // of a transposed one, the window is turned around
    const from = (transposed ? c * cols + o : i) * 9;
    const of = (k: number, l: number) => Math.abs(weight[from + (transposed ? 8 - 3 * k - l : 3 * k + l)]);
    return alongBoth(3, of, weighed);
  });
  /** 16 sums by output channel of one tile. */
  const tileAt = (n: number, i: number, j: number) => {
    const key = (n * down + i) * across + j;
    const known = sums.get(key);
    if (known) return known;
    const found = new Float64Array(cols * 16);
    for (let c = 0; c < depth; c++) {
      const of = (k: number, l: number) => {
        const [row, col] = [2 * i + k - top, 2 * j + l - left];
        if (row < 0 || col < 0 || row >= height || col >= width) return 0;
        const place = row * width + col;
        const at = isFirst ? (n * depth + c) * height * width + place : (n * height * width + place) * depth + c;
        return Math.abs(value[at]) + error[at];
      };
      const v = alongBoth(4, of, windowed);
      for (let o = 0; o < cols; o++) {
        const w = u[o * depth + c];
        for (let k = 0; k < 16; k++) found[o * 16 + k] += v[k] * w[k];
      }
    }
    sums.set(key, found);
    return found;
  };
  return (n: number, p: number, o: number) => {
    const [i, j] = [Math.floor(p / outWidth), p % outWidth];
    const tile = tileAt(n, i >> 1, j >> 1);
    let sum = 0;
    for (let k = 0; k < 3; k++) for (let l = 0; l < 3; l++) sum += tile[o * 16 + (k + (i & 1)) * 4 + l + (j & 1)];
    return terms * sum;
  };
}
