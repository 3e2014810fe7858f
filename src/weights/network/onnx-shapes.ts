// Shapes, and values at other places: reshape, transpose, slices, padding, resizing, gathering,
// reductions.

import { TYPES } from '../../formats/onnx-tensor.ts';
import type { Operation as GraphOperation } from '../../graph/operation.ts';
import { Pad } from '../../nn/pad.ts';
import { GlobalAvgPool } from '../../nn/pool.ts';
import { Flatten, Reshape } from '../../nn/reshape.ts';
import { Upsample } from '../../nn/upsample.ts';
import { countOf } from '../../tensors/shape.ts';
import { broadcastDims, type Flow, type Known, lengthsFor } from './draft.ts';
import { type Call, type Converter, isFlow, type Site } from './onnx-call.ts';
import { einsum } from './onnx-einsum.ts';
import { binary, reduce, reshaped, scalar, surround, transpose } from './onnx-layers.ts';
import { eye, rangeOf, triangle } from './onnx-ranges.ts';
import { isSame, productOf, ratioOf, type Sym, work } from './terms.ts';

const whole = (value: number): Known => ({ dtype: 'I64', shape: [], data: Float64Array.of(value) });

/** x with these lengths, one of which may be −1: by a layer where its samples stay samples. */
export function shaped(call: Site, x: Flow, wanted: readonly Sym[]): Flow {
  const open = wanted.indexOf(-1);
  const others = wanted.filter((_, i) => i !== open);
  const dims = open < 0 ? [...wanted] : wanted.map((dim, i) => (i === open ? ratioOf(x.dims, others) : dim));
  const isKnown = (dim: Sym) => typeof dim === 'number' && dim > 0;
  if (x.dims.length > 0 && dims.length > 0 && isSame(dims[0], x.dims[0]) && !x.known) {
    const layer = dims.slice(1).every(isKnown)
      ? dims.length > 1 && x.dims.slice(1).every(isKnown)
        ? new Reshape(dims.slice(1) as number[])
        : undefined
      : flattened(x.dims, dims);
    if (layer && fits(x, dims)) return call.draft.apply(layer, x, call.name, dims);
  }
  return reshaped(call, x, dims);
}

/** Have the two as many values, as far as that is known? */
function fits(x: Flow, dims: readonly Sym[]): boolean {
  const [a, b] = [productOf(x.dims.slice(1)), productOf(dims.slice(1))];
  return typeof a !== 'number' || typeof b !== 'number' || a === b;
}

/** The layer that makes some axes one, where this is what happens. */
function flattened(from: readonly Sym[], to: readonly Sym[]): Flatten | undefined {
  const merged = from.length - to.length + 1;
  if (merged < 2) return undefined;
  let start = 0;
  while (start < to.length && isSame(from[start], to[start])) start++;
  if (start === to.length) return undefined;
  const same = to.slice(start + 1).every((dim, i) => isSame(dim, from[start + merged + i]));
  const isProduct = isSame(productOf(from.slice(start, start + merged)), to[start]);
  return same && isProduct ? new Flatten({ startAxis: start, endAxis: start + merged - 1 }) : undefined;
}

const reshape: Converter = (call) => {
  const x = call.flow(0);
  const own = call.wholes('shape');
  const wanted = own ?? call.shape(1, 'shape');
  const keepsZero = call.flag('allowzero');
  const dims = wanted.map((dim, i) => {
    if (dim !== 0 || keepsZero) return dim;
    if (i >= x.dims.length) throw call.fail(`an axis ${i} to keep`, `rank ${x.dims.length}`);
    return x.dims[i];
  });
  if (dims.filter((dim) => dim === -1).length > 1) throw call.fail('one -1 in shape', 'more');
  if (dims.some((dim) => typeof dim === 'number' && (dim < -1 || !Number.isInteger(dim)))) {
    throw call.fail(
      'lengths of 0 or more, or -1',
      `[${dims.map((dim) => (typeof dim === 'number' ? dim : '?')).join(', ')}]`,
    );
  }
  return shaped(call, x, dims);
};

const flatten: Converter = (call) => {
  const x = call.flow(0);
  const rank = x.shape.length;
  const given = call.whole('axis', 1);
  const axis = given < 0 ? given + rank : given;
  if (!(axis >= 0 && axis <= rank)) throw call.fail(`an axis of rank ${rank}`, `${given}`);
  if (axis === 1 && rank >= 2) {
    return call.draft.apply(new Flatten(), x, call.name, [x.dims[0], productOf(x.dims.slice(1))]);
  }
  return shaped(call, x, [productOf(x.dims.slice(0, axis)), productOf(x.dims.slice(axis))]);
};

const squeeze: Converter = (call) => {
  const x = call.flow(0);
  const rank = x.dims.length;
  const given = call.list('axes', 1);
  const axes = given ? call.axes(given, rank) : x.dims.flatMap((dim, i) => (dim === 1 ? [i] : []));
  if (!given && x.dims.some((dim) => typeof dim !== 'number')) {
    call.around.assume(`Squeeze '${call.name}', which names no axes: lengths that are open stay, where they are 1 too`);
  }
  for (const axis of axes) {
    const length = x.dims[axis];
    if (typeof length === 'number' && length !== 1) throw call.fail(`length 1 of axis ${axis}`, `${length}`);
  }
  return shaped(
    call,
    x,
    x.dims.filter((_, i) => !axes.includes(i)),
  );
};

const unsqueeze: Converter = (call) => {
  const x = call.flow(0);
  const given = call.list('axes', 1);
  if (!given) throw call.fail('axes', 'none');
  const rank = x.dims.length + given.length;
  const axes = call.axes(given, rank);
  const left = [...x.dims];
  return shaped(
    call,
    x,
    Array.from({ length: rank }, (_, i): Sym => (axes.includes(i) ? 1 : left.shift()!)),
  );
};

const transposed: Converter = (call) => {
  const x = call.flow(0);
  const rank = x.shape.length;
  const order = call.wholes('perm') ?? x.shape.map((_, i) => rank - 1 - i);
  if (order.length !== rank) throw call.fail(`${rank} axes as perm`, `[${order.join(', ')}]`);
  return transpose(call, x, call.axes(order, rank));
};

/** The end of an axis, however long it is. */
export const END = 2147483647;

export interface CutOf {
  readonly axis: number;
  readonly start: Sym;
  readonly end: Sym;
  readonly step: number;
}

export function sliced(call: Site, x: Flow, cuts: readonly CutOf[]): Flow {
  const { lengths, inputs } = lengthsFor(
    cuts.flatMap(({ start, end }) => [start, end]),
    [x],
  );
  const operation = {
    kind: 'slice',
    cuts: cuts.map(({ axis, step }, i) => ({ axis, step, start: lengths[2 * i], end: lengths[2 * i + 1] })),
  } as unknown as GraphOperation;
  const dims = x.dims.map((dim, i) => {
    const cut = cuts.find(({ axis }) => axis === i);
    if (!cut) return dim;
    const { start, end, step } = cut;
    // ends are cut where they lie outside, which is known of no length but this one
    const place = (term: Sym) => {
      if (typeof term === 'number' && term < 0) return work('max', work('add', dim, term), 0);
      return isSame(term, dim) ? dim : work('min', term, dim);
    };
    if (step === 1) {
      const [from, to] = [place(start), typeof end === 'number' && end >= 2 ** 31 - 1 ? dim : place(end)];
      return from === 0 ? to : work('max', work('sub', to, from), 0);
    }
    return undefined;
  });
  return call.draft.operate(operation, inputs, dims);
}

const slice: Converter = (call) => {
  const x = call.flow(0);
  const rank = x.shape.length;
  const isOld = call.opset < 10;
  const starts: readonly Sym[] = isOld ? (call.wholes('starts') ?? []) : call.shape(1, 'starts');
  const ends: readonly Sym[] = isOld ? (call.wholes('ends') ?? []) : call.shape(2, 'ends');
  const axes = (isOld ? call.wholes('axes') : call.list('axes', 3)) ?? starts.map((_, i) => i);
  const steps = (isOld ? undefined : call.list('steps', 4)) ?? starts.map(() => 1);
  if (ends.length !== starts.length || axes.length !== starts.length || steps.length !== starts.length) {
    throw call.fail('as many ends, axes and steps as starts', `${ends.length}, ${axes.length} and ${steps.length}`);
  }
  if (steps.includes(0)) throw call.fail('steps other than 0', '0');
  const places = call.axes(axes, rank);
  const cuts = places.map((axis, i) => ({ axis, start: starts[i], end: ends[i], step: steps[i] }));
  const isWhole = ({ start, end, step }: CutOf) =>
    step === 1 && start === 0 && typeof end === 'number' && end >= 2 ** 31 - 1;
  const left = cuts.filter((cut) => !isWhole(cut));
  return left.length ? sliced(call, x, left) : x;
};

const split: Converter = (call) => {
  const x = call.flow(0);
  const axis = call.axis(call.whole('axis', 0), x.shape.length);
  const count = call.node.outputs.length;
  const given = call.wholes('split') ?? (call.has(1) ? call.shape(1, 'split') : undefined);
  const outputs = call.node.attributes.has('num_outputs') ? call.whole('num_outputs', count, 1, 2 ** 20) : count;
  if (outputs !== count || (given && given.length !== count))
    throw call.fail(`${count} parts, as outputs`, `${given?.length ?? outputs}`);
  // the last part may be smaller, where the number of parts does not divide the length
  const part = work('ceil', work('div', x.dims[axis], count));
  if (given?.every((one) => typeof one === 'number') && typeof x.dims[axis] === 'number') {
    const sum = (given as number[]).reduce((a, b) => a + b, 0);
    if (sum !== x.dims[axis]) throw call.fail(`parts that make ${x.dims[axis]} together`, `${sum}`);
  }
  let start: Sym = 0;
  return call.node.outputs.map((_, i) => {
    const end: Sym = given ? work('add', start, given[i]) : i === count - 1 ? 2 ** 31 - 1 : work('mul', part, i + 1);
    const from = start;
    start = end;
    return call.uses(i) ? sliced(call, x, [{ axis, start: from, end, step: 1 }]) : undefined;
  });
};

const expand: Converter = (call) => expanded(call, call.flow(0), call.shape(1, 'shape'));

export function expanded(call: Site, x: Flow, wanted: readonly Sym[]): Flow {
  const dims = broadcastDims([{ dims: x.dims }, { dims: wanted }]);
  const isLike = (dim: Sym | undefined, i: number) => dim !== undefined && isSame(dim, x.dims[i]);
  if (dims.length === x.dims.length && dims.every(isLike)) return x;
  const { lengths, inputs } = lengthsFor(wanted, [x]);
  return call.draft.operate({ kind: 'expand', lengths } as GraphOperation, inputs, dims);
}

const tile: Converter = (call) => {
  const x = call.flow(0);
  const repeats = call.shape(1, 'repeats');
  if (repeats.length !== x.dims.length) throw call.fail(`${x.dims.length} numbers as repeats`, `${repeats.length}`);
  const apart = x.dims.flatMap((dim): Sym[] => [1, dim]);
  const wide = x.dims.flatMap((dim, i): Sym[] => [repeats[i], dim]);
  const all = x.dims.map((dim, i) => work('mul', dim, repeats[i]));
  return reshaped(call, expanded(call, reshaped(call, x, apart), wide), all);
};

const concat: Converter = (call) => {
  const flows = call.node.inputs.map((_, i) => call.flow(i));
  const axis = call.axis(call.whole('axis', call.opset < 4 ? 1 : 0), flows[0].shape.length);
  return call.draft.concat(flows, axis);
};

const pad: Converter = (call) => {
  const x = call.flow(0);
  const rank = x.shape.length;
  const mode = call.choice('mode', 'constant', ['constant', 'reflect', 'edge', 'wrap']);
  const isOld = call.opset < 11;
  const given: readonly Sym[] = isOld ? (call.wholes('pads') ?? []) : call.shape(1, 'pads');
  const constant = call.known(2);
  if (!isOld && call.has(2) && !constant) throw call.fail('a constant to pad with', 'one that comes at run time');
  const value = isOld ? call.number('value', 0) : (constant?.data[0] ?? 0);
  const axes = !isOld && call.has(3) ? call.axes(call.list('axes', 3)!, rank) : x.shape.map((_, i) => i);
  if (given.length !== 2 * axes.length) throw call.fail(`${2 * axes.length} numbers as pads`, `${given.length}`);
  const pads: Sym[] = new Array(2 * rank).fill(0);
  axes.forEach((axis, i) => {
    pads[axis] = given[i];
    pads[axis + rank] = given[i + axes.length];
  });
  if (pads.every((one) => one === 0)) return x;
  const isPlain = pads.every((one) => typeof one === 'number' && one >= 0);
  const inner = (from: number, to: number) => pads.slice(from, to).every((one) => one === 0);
  if (isPlain && rank >= 3 && mode !== 'wrap' && inner(0, 2) && inner(rank, rank + 2)) {
    const around = pads.slice(2, rank).map((before, i) => [before as number, pads[rank + 2 + i] as number] as const);
    const own = mode === 'edge' ? 'replicate' : mode;
    const layer = new Pad(around, own === 'constant' ? { mode: own, value } : { mode: own });
    const dims = x.dims.map((dim, i) => work('add', dim, work('add', pads[i], pads[i + rank])));
    return call.draft.apply(layer, x, call.name, dims);
  }
  return surround(call, x, pads, mode, value);
};

/** Resize, and Upsample before it. */
const resize: Converter = (call) => {
  const x = call.flow(0);
  const rank = x.shape.length;
  const isUpsample = call.node.op === 'Upsample';
  const isOld = call.opset < 11;
  const mode = call.choice('mode', 'nearest', ['nearest', 'linear', 'bilinear', 'cubic']);
  const kind = mode === 'bilinear' ? 'linear' : mode;
  const standard = isOld ? 'asymmetric' : 'half_pixel';
  const coordinates = call.choice('coordinate_transformation_mode', standard, [
    'half_pixel',
    'half_pixel_symmetric',
    'pytorch_half_pixel',
    'align_corners',
    'asymmetric',
    'tf_half_pixel_for_nn',
    'tf_crop_and_resize',
  ]);
  const nearest = call.choice('nearest_mode', isOld ? 'floor' : 'round_prefer_floor', [
    'round_prefer_floor',
    'round_prefer_ceil',
    'floor',
    'ceil',
  ]);
  if (call.text('keep_aspect_ratio_policy', 'stretch') !== 'stretch') {
    throw call.fail("keep_aspect_ratio_policy 'stretch'", call.text('keep_aspect_ratio_policy', ''));
  }
  const scalesAt = isUpsample || isOld ? 1 : 2;
  const own = call.node.attributes.get('scales');
  const hasSizes = !isUpsample && !isOld && call.has(3) && isGiven(call, 3);
  const given: readonly Sym[] = hasSizes
    ? call.shape(3, 'sizes')
    : Array.isArray(own)
      ? own
      : call.has(scalesAt)
        ? call.shape(scalesAt, 'scales')
        : [];
  const axes = call.wholes('axes') ? call.axes(call.wholes('axes')!, rank) : x.shape.map((_, i) => i);
  if (given.length !== axes.length)
    throw call.fail(`${axes.length} numbers as ${hasSizes ? 'sizes' : 'scales'}`, `${given.length}`);
  const numbers = x.dims.map((dim, i) => (axes.includes(i) ? given[axes.indexOf(i)] : hasSizes ? dim : 1));
  if (numbers.some((one) => typeof one === 'number' && !(one > 0 && one < 2 ** 24))) {
    throw call.fail(
      `${hasSizes ? 'sizes' : 'scales'} above 0`,
      `[${numbers.map((one) => (typeof one === 'number' ? one : '?')).join(', ')}]`,
    );
  }
  const isCrop = coordinates === 'tf_crop_and_resize';
  let region: number[] | null = null;
  if (isCrop) {
    const roi = Array.from(call.constant(1, 'roi').data);
    if (roi.length !== 2 * axes.length) throw call.fail(`${2 * axes.length} numbers as roi`, `${roi.length}`);
    region = x.dims.map((_, i) => (axes.includes(i) ? roi[axes.indexOf(i)] : 0));
    region.push(...x.dims.map((_, i) => (axes.includes(i) ? roi[axes.length + axes.indexOf(i)] : 1)));
  }
  const antialias = call.flag('antialias');
  const excludes = call.flag('exclude_outside');
  const scales = numbers.map((one, i) => {
    if (!hasSizes) return one;
    return isSame(one, x.dims[i]) ? 1 : work('div', one, x.dims[i]);
  });
  const dims = x.dims.map((dim, i) => {
    if (hasSizes) return numbers[i];
    return numbers[i] === 1 ? dim : work('floor', work('mul', dim, numbers[i]));
  });
  if (!isCrop && !antialias && scales.every((one) => one === 1)) return x;
  const layer = isCrop || antialias ? undefined : upsampler(scales, kind, coordinates, nearest);
  if (layer) return call.draft.apply(layer, x, call.name, dims);
  const { lengths, inputs } = lengthsFor(numbers, [x]);
  const operation = {
    kind: 'resize',
    mode: kind,
    coordinates,
    nearest,
    cubic: call.number('cubic_coeff_a', -0.75),
    excludes,
    antialias,
    outside: call.number('extrapolation_value', 0),
    by: hasSizes ? 'sizes' : 'scales',
    numbers: lengths,
    region,
  } as unknown as GraphOperation;
  return call.draft.operate(operation, inputs, isCrop ? undefined : dims);
};

/** An empty tensor stands for an input that is not there. */
function isGiven(call: Call, index: number): boolean {
  const entry = call.entry(index);
  const shape = isFlow(entry) ? entry.shape : entry.shape;
  return countOf(shape) !== 0;
}

/** The layer that does the same, where there is one. */
function upsampler(scales: readonly Sym[], mode: string, coordinates: string, nearest: string): Upsample | undefined {
  const [samples, channels, ...own] = scales;
  if (samples !== 1 || channels !== 1 || own.length === 0) return undefined;
  if (!own.every((one) => typeof one === 'number' && one >= 1)) return undefined;
  const scale = own as number[];
  const isWhole = scale.every(Number.isInteger);
  if (mode === 'nearest') {
    const isFloor = coordinates === 'asymmetric' && nearest === 'floor';
    const isHalf = coordinates.endsWith('half_pixel') && nearest.startsWith('round');
    return isWhole && (isFloor || isHalf) ? new Upsample({ scale }) : undefined;
  }
  if (mode !== 'linear' || scale.length !== 2 || !isWhole) return undefined;
  if (coordinates === 'align_corners') return new Upsample({ scale, mode: 'bilinear', alignCorners: true });
  return coordinates.endsWith('half_pixel') ? new Upsample({ scale, mode: 'bilinear' }) : undefined;
}

/** Blocks of channels as pixels, or the other way round. */
function blocks(isOut: boolean): Converter {
  return (call) => {
    const x = call.flow(0);
    const b = call.whole('blocksize', 0, 1, 2 ** 20);
    if (x.shape.length !== 4) throw call.fail('x of rank 4', `rank ${x.shape.length}`);
    const [n, c, h, w] = x.dims;
    if (isOut) {
      const left = work('quotient', c, b * b);
      const isLast = call.choice('mode', 'DCR', ['DCR', 'CRD']) === 'CRD';
      const apart = reshaped(call, x, isLast ? [n, left, b, b, h, w] : [n, b, b, left, h, w]);
      const turned = transpose(call, apart, isLast ? [0, 1, 4, 2, 5, 3] : [0, 3, 4, 1, 5, 2]);
      return reshaped(call, turned, [n, left, work('mul', h, b), work('mul', w, b)]);
    }
    const [rows, columns] = [work('quotient', h, b), work('quotient', w, b)];
    const apart = reshaped(call, x, [n, c, rows, b, columns, b]);
    const turned = transpose(call, apart, [0, 3, 5, 1, 2, 4]);
    return reshaped(call, turned, [n, work('mul', c, b * b), rows, columns]);
  };
}

function reduction(of: string): Converter {
  return (call) => {
    const x = call.flow(0);
    const rank = x.shape.length;
    const given = call.list('axes', 1);
    const keeps = call.flag('keepdims', 1);
    if (given?.length === 0 || !given) {
      if (call.flag('noop_with_empty_axes')) return x;
    }
    const axes = given?.length ? call.axes(given, rank).sort((a, b) => a - b) : null;
    const isSpatial = (first: number) => axes?.length === rank - 2 && axes.every((axis, i) => axis === first + i);
    if (of === 'mean' && rank >= 3 && !x.known && (isSpatial(2) || isSpatial(1))) {
      const layout = isSpatial(2) ? 'channels-first' : 'channels-last';
      const pooled = call.draft.apply(new GlobalAvgPool({ layout }), x, call.name);
      return keeps
        ? pooled
        : call.draft.apply(new Flatten(), pooled, `${call.name}.flatten`, [x.dims[0], productOf(pooled.dims.slice(1))]);
    }
    return reduce(call, x, of, axes, keeps);
  };
}

const gather: Converter = (call) => {
  const x = call.flow(0);
  const rank = x.shape.length;
  const axis = call.axis(call.whole('axis', 0), rank);
  const index = call.known(1);
  if (index && index.shape.length === 0 && !x.known) {
    const [place] = Array.from(index.data);
    const cut = sliced(call, x, [{ axis, start: place, end: place === -1 ? 2 ** 31 - 1 : place + 1, step: 1 }]);
    return shaped(
      call,
      cut,
      x.dims.filter((_, i) => i !== axis),
    );
  }
  const indices = call.flow(1);
  const dims = [...x.dims.slice(0, axis), ...indices.dims, ...x.dims.slice(axis + 1)];
  return call.draft.operate(
    { kind: 'gather', by: 'slices', axis, batch: 0 } as GraphOperation,
    [x, indices],
    dims,
    x.dtype,
  );
};

const gatherElements: Converter = (call) => {
  const [x, indices] = [call.flow(0), call.flow(1)];
  const axis = call.axis(call.whole('axis', 0), x.shape.length);
  return call.draft.operate(
    { kind: 'gather', by: 'elements', axis, batch: 0 } as GraphOperation,
    [x, indices],
    indices.dims,
  );
};

const gatherPoints: Converter = (call) => {
  const [x, indices] = [call.flow(0), call.flow(1)];
  const batch = call.whole('batch_dims', 0, 0, 64);
  const depth = indices.shape.at(-1);
  const dims = [...indices.dims.slice(0, -1), ...(depth ? x.dims.slice(batch + depth) : [])];
  return call.draft.operate(
    { kind: 'gather', by: 'points', axis: 0, batch } as GraphOperation,
    [x, indices],
    dims,
    x.dtype,
  );
};

function scatter(by: 'elements' | 'points'): Converter {
  return (call) => {
    const flows = [0, 1, 2].map((i) => call.flow(i));
    const reduction = call.choice('reduction', 'none', ['none', 'add', 'mul', 'max', 'min']);
    const axis = by === 'elements' ? call.axis(call.whole('axis', 0), flows[0].shape.length) : 0;
    return call.draft.operate({ kind: 'scatter', by, axis, reduction } as GraphOperation, flows, flows[0].dims);
  };
}

function arg(largest: boolean): Converter {
  return (call) => {
    const x = call.flow(0);
    const axis = call.axis(call.whole('axis', 0), x.shape.length);
    const keeps = call.flag('keepdims', 1);
    const dims = x.dims.map((dim, i): Sym => (i === axis ? 1 : dim)).filter((_, i) => keeps || i !== axis);
    const rest = { largest, last: call.flag('select_last_index'), gives: 'places', keeps, count: 1 };
    return call.draft.operate({ kind: 'select', axis, ...rest } as GraphOperation, [x], dims, 'I64');
  };
}

const topK: Converter = (call) => {
  const x = call.flow(0);
  const axis = call.axis(call.whole('axis', -1), x.shape.length);
  const [count] = call.opset < 10 ? [call.whole('k', 1, 0)] : call.shape(1, 'k');
  const largest = call.flag('largest', 1);
  const { lengths, inputs } = lengthsFor([count], [x]);
  const dims = x.dims.map((dim, i) => (i === axis ? count : dim));
  return (['values', 'places'] as const).map((gives, output) => {
    if (!call.uses(output)) return undefined;
    const rest = { largest, last: false, gives, keeps: true, count: lengths[0] };
    return call.draft.operate(
      { kind: 'select', axis, ...rest } as GraphOperation,
      inputs,
      dims,
      gives === 'places' ? 'I64' : x.dtype,
    );
  });
};

const oneHot: Converter = (call) => {
  const indices = call.flow(0);
  const [depth] = call.shape(1, 'depth');
  const rank = indices.shape.length + 1;
  const axis = call.axis(call.whole('axis', -1), rank);
  const values = call.flow(2);
  const range = rangeOf(call, depth);
  const wide = reshaped(
    call,
    range,
    Array.from({ length: rank - axis }, (_, i): Sym => (i === 0 ? depth : 1)),
  );
  const left = [...indices.dims];
  const tall = reshaped(
    call,
    indices,
    Array.from({ length: rank }, (_, i): Sym => (i === axis ? 1 : left.shift()!)),
  );
  const size = call.draft.numbers({ terms: [depth], shape: [], dtype: 'I64' });
  // from the end where it is negative; outside of the range there is no mark
  const negative = binary(call, 'less', tall, call.draft.constant(whole(0)), 'BOOL');
  const counted = binaryWhere(call, negative, call.draft.add(tall, size), tall);
  const mark = binary(call, 'equal', counted, wide, 'BOOL');
  const [off, on] = [0, 1].map((i) => {
    const cut = sliced(call, values, [{ axis: 0, start: i, end: i + 1, step: 1 }]);
    return reshaped(call, cut, []);
  });
  return binaryWhere(call, mark, on, off);
};

export function binaryWhere(call: Site, choice: Flow, a: Flow, b: Flow): Flow {
  return call.draft.operate({ kind: 'where' }, [choice, a, b], broadcastDims([choice, a, b]), a.dtype);
}

const cumSum: Converter = (call) => {
  const x = call.flow(0);
  const [axis] = Array.from(call.constant(1, 'axis').data);
  const rest = { exclusive: call.flag('exclusive'), reverse: call.flag('reverse') };
  return call.draft.operate(
    { kind: 'scan', axis: call.axis(axis, x.shape.length), ...rest } as GraphOperation,
    [x],
    x.dims,
  );
};

const shapeOf: Converter = (call) => {
  const entry = call.entry(0);
  const dims: readonly Sym[] = isFlow(entry) ? entry.dims : entry.shape;
  const place = (value: number) => Math.min(Math.max(value < 0 ? value + dims.length : value, 0), dims.length);
  const terms = dims.slice(place(call.whole('start', 0)), place(call.whole('end', dims.length)));
  return { terms, shape: [terms.length], dtype: 'I64' };
};

const sizeOf: Converter = (call) => {
  const entry = call.entry(0);
  return { terms: [productOf(isFlow(entry) ? entry.dims : entry.shape)], shape: [], dtype: 'I64' };
};

const constantOfShape: Converter = (call) => {
  const dims = call.shape(0, 'shape');
  const given = call.node.attributes.get('value');
  const tensor = typeof given === 'object' && given !== null && 'dtype' in given ? given : undefined;
  const value = tensor ? tensor.data[0] : 0;
  const dtype = tensor?.dtype ?? 'F32';
  const isWrong = (dim: Sym) => typeof dim === 'number' && !(Number.isInteger(dim) && dim >= 0);
  if (dims.some(isWrong)) throw call.fail('lengths of 0 or more', `[${dims.join(', ')}]`);
  const { lengths, inputs } = lengthsFor(dims, []);
  const operation = { kind: 'numbers', as: 'fill', numbers: lengths, value, shape: [] } as GraphOperation;
  return call.draft.operate(operation, inputs, dims, dtype);
};

const range: Converter = (call) => {
  const terms = [0, 1, 2].map((i) => call.terms(i)?.terms[0]);
  if (terms.some((term) => term === undefined))
    throw call.fail('bounds that follow from shapes and constants', 'one that comes at run time');
  const [start, end, step] = terms as Sym[];
  if (step === 0) throw call.fail('a step other than 0', '0');
  const { lengths, inputs } = lengthsFor([start, end, step], []);
  const count = work('max', work('ceil', work('div', work('sub', end, start), step)), 0);
  const operation = { kind: 'numbers', as: 'range', numbers: lengths, value: 0, shape: [] } as GraphOperation;
  return call.draft.operate(operation, inputs, [count], call.terms(0)!.dtype);
};

const trilu: Converter = (call) => {
  const x = call.flow(0);
  if (x.dims.length < 2) throw call.fail('x of rank 2 or more', `rank ${x.dims.length}`);
  const [rows, columns] = x.dims.slice(-2);
  const k = call.has(1) ? call.constant(1, 'k').data[0] : 0;
  const mask = triangle(call, rows, columns, k, call.flag('upper', 1) ? 'greater-equal' : 'less-equal');
  return binaryWhere(call, mask, x, scalar(call, 0));
};

const eyeLike: Converter = (call) => {
  const entry = call.entry(0);
  const dims: readonly Sym[] = isFlow(entry) ? entry.dims : entry.shape;
  if (dims.length !== 2) throw call.fail('x of rank 2', `rank ${dims.length}`);
  const type = call.node.attributes.has('dtype') ? TYPES[call.whole('dtype', 0)] : entry.dtype;
  return eye(call, dims[0], dims[1], call.whole('k', 0), type ?? `type ${call.whole('dtype', 0)}`);
};

const gridSample: Converter = (call) => {
  const [x, places] = [call.flow(0), call.flow(1)];
  const mode = call.choice('mode', call.opset < 20 ? 'bilinear' : 'linear', [...MODES, 'bilinear', 'bicubic']);
  const outside = call.choice('padding_mode', 'zeros', ['zeros', 'border', 'reflection']);
  const rest = { mode: mode.replace(/^bi/, ''), outside, alignCorners: call.flag('align_corners') };
  const dims = [x.dims[0], x.dims[1], ...places.dims.slice(1, -1)];
  return call.draft.operate({ kind: 'grid-sample', ...rest } as GraphOperation, [x, places], dims);
};

const MODES = ['nearest', 'linear', 'cubic'] as const;

const reverseSequence: Converter = (call) => {
  const x = call.flow(0);
  const time = call.whole('time_axis', 0, 0, 1);
  const batch = call.whole('batch_axis', 1, 0, 1);
  if (time === batch) throw call.fail('two axes, of time and of samples', `axis ${time} twice`);
  return call.draft.operate({ kind: 'reverse', time } as GraphOperation, [x, call.flow(1)], x.dims);
};

export const shapes = (): Readonly<Record<string, Converter>> => ({
  Reshape: reshape,
  Flatten: flatten,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Transpose: transposed,
  Slice: slice,
  Split: split,
  Expand: expand,
  Tile: tile,
  Concat: concat,
  Pad: pad,
  Resize: resize,
  Upsample: resize,
  DepthToSpace: blocks(true),
  SpaceToDepth: blocks(false),
  ReduceMean: reduction('mean'),
  ReduceSum: reduction('sum'),
  ReduceMax: reduction('max'),
  ReduceMin: reduction('min'),
  ReduceProd: reduction('prod'),
  ReduceL1: reduction('l1'),
  ReduceL2: reduction('l2'),
  ReduceSumSquare: reduction('sum-square'),
  ReduceLogSum: reduction('log-sum'),
  ReduceLogSumExp: reduction('log-sum-exp'),
  Gather: gather,
  GatherElements: gatherElements,
  GatherND: gatherPoints,
  Scatter: scatter('elements'),
  ScatterElements: scatter('elements'),
  ScatterND: scatter('points'),
  ArgMax: arg(true),
  ArgMin: arg(false),
  TopK: topK,
  OneHot: oneHot,
  CumSum: cumSum,
  Shape: shapeOf,
  Size: sizeOf,
  ConstantOfShape: constantOfShape,
  Range: range,
  Trilu: trilu,
  EyeLike: eyeLike,
  GridSample: gridSample,
  ReverseSequence: reverseSequence,
  Einsum: einsum,
});
