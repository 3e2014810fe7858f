// Shapes of TensorFlow, and values at other places: slices with masks, padding, resizing, blocks.

import type { Operation as GraphOperation } from '../../graph/operation.ts';
import { Pad } from '../../nn/pad.ts';
import { Upsample } from '../../nn/upsample.ts';
import { broadcastDims, type Flow, lengthsFor } from './draft.ts';
import type { Call, Converter } from './onnx-call.ts';
import { binary, reshaped, surround, transpose, unary } from './onnx-layers.ts';
import { type CutOf, END, shaped, sliced } from './onnx-shapes.ts';
import { isSame, type Sym, work } from './terms.ts';

/** A list of two numbers for each axis. */
function pairsOf(call: Call, index: number, count: number): (readonly [Sym, Sym])[] {
  const found = call.terms(index);
  if (!found) throw call.fail('places that follow from shapes and constants', 'some that come at run time');
  if (found.shape.length !== 2 || found.shape[0] !== count || found.shape[1] !== 2) {
    throw call.fail(`${count} pairs of numbers (input ${index})`, `shape [${found.shape.join(', ')}]`);
  }
  for (const term of found.terms) {
    if (typeof term === 'number' && !(Number.isInteger(term) && term >= 0 && term < 2 ** 24)) {
      throw call.fail(`whole numbers from 0 on (input ${index})`, `${term}`);
    }
  }
  return Array.from({ length: count }, (_, i) => [found.terms[2 * i], found.terms[2 * i + 1]] as const);
}

function padded(call: Call, x: Flow, pairs: readonly (readonly [Sym, Sym])[], mode: string, value: number): Flow {
  const rank = pairs.length;
  const isNone = ([before, behind]: readonly [Sym, Sym]) => before === 0 && behind === 0;
  if (pairs.every(isNone)) return x;
  const isPlain = pairs.every((pair) => pair.every((one) => typeof one === 'number')) && Number.isFinite(value);
  const isLast = isPlain && rank >= 3 && isNone(pairs[0]) && isNone(pairs[rank - 1]);
  const isFirst = isPlain && rank >= 3 && isNone(pairs[0]) && isNone(pairs[1]);
  if ((isLast || isFirst) && rank <= 5 && mode !== 'symmetric') {
    const around = (isLast ? pairs.slice(1, -1) : pairs.slice(2)) as (readonly [number, number])[];
    const options = mode === 'constant' ? { mode, value } : { mode: 'reflect' };
    const layer = new Pad(around, { ...options, layout: isLast ? 'channels-last' : 'channels-first' } as never);
    const dims = x.dims.map((dim, axis) => work('add', dim, work('add', pairs[axis][0], pairs[axis][1])));
    return call.draft.apply(layer, x, call.name, dims);
  }
  const pads = [...pairs.map(([before]) => before), ...pairs.map(([, behind]) => behind)];
  return surround(call, x, pads, mode, value);
}

const pad: Converter = (call) => {
  const x = call.flow(0);
  const value = call.has(2) ? Number(call.constant(2, 'constant_values').data[0]) : 0;
  return padded(call, x, pairsOf(call, 1, x.shape.length), 'constant', value);
};

const mirrorPad: Converter = (call) => {
  const x = call.flow(0);
  const mode = call.choice('mode', 'REFLECT', ['REFLECT', 'SYMMETRIC']) === 'REFLECT' ? 'reflect' : 'symmetric';
  return padded(call, x, pairsOf(call, 1, x.shape.length), mode, 0);
};

/** Places around the spatial axes, or as many fewer of them. */
const around: Converter = (call) => {
  const x = call.flow(0);
  const pairs = pairsOf(call, 1, 2);
  if (x.shape.length !== 4) throw call.fail('x of rank 4', `rank ${x.shape.length}`);
  if (call.whole('sign', 1) === 1) return padded(call, x, [[0, 0], ...pairs, [0, 0]], 'constant', 0);
  return cropped(call, x, pairs);
};

/** So many places fewer of the axes behind the first. */
function cropped(call: Call, x: Flow, pairs: readonly (readonly [Sym, Sym])[]): Flow {
  if (pairs.every(([before, behind]) => before === 0 && behind === 0)) return x;
  const pads: Sym[] = new Array(2 * x.shape.length).fill(0);
  pairs.forEach(([before, behind], i) => {
    pads[i + 1] = work('neg', before);
    pads[i + 1 + x.shape.length] = work('neg', behind);
  });
  return surround(call, x, pads, 'constant', 0);
}

/** Block lengths of the axes behind the first. */
function blocksOf(call: Call): number[] {
  const blocks = Array.from(call.constant(1, 'block_shape').data, Number);
  const isFine = blocks.every((one) => Number.isInteger(one) && one >= 1 && one < 2 ** 24);
  if (!isFine || blocks.length < 1 || blocks.length >= call.flow(0).shape.length) {
    throw call.fail(
      `1 to ${call.flow(0).shape.length - 1} whole numbers above 0 as block_shape`,
      `[${blocks.join(', ')}]`,
    );
  }
  return blocks;
}

const spaceToBatch: Converter = (call) => {
  const blocks = blocksOf(call);
  const count = blocks.length;
  const given = call.flow(0);
  const none = given.shape.slice(count + 1).map((): readonly [Sym, Sym] => [0, 0]);
  const x = padded(call, given, [[0, 0], ...pairsOf(call, 2, count), ...none], 'constant', 0);
  const inner = x.dims.slice(count + 1);
  const lengths = blocks.map((block, i) => {
    const length = x.dims[i + 1];
    if (typeof length === 'number' && length % block !== 0) {
      throw call.fail(`a padded length of axis ${i + 1} that ${block} divides`, `${length}`);
    }
    return work('quotient', length, block);
  });
  const apart = reshaped(call, x, [x.dims[0], ...lengths.flatMap((length, i): Sym[] => [length, blocks[i]]), ...inner]);
  const order = [
    ...blocks.map((_, i) => 2 * i + 2),
    0,
    ...blocks.map((_, i) => 2 * i + 1),
    ...inner.map((_, i) => 2 * count + 1 + i),
  ];
  const samples = blocks.reduce<Sym>((a, b) => work('mul', a, b), x.dims[0]);
  return reshaped(call, transpose(call, apart, order), [samples, ...lengths, ...inner]);
};

const batchToSpace: Converter = (call) => {
  const x = call.flow(0);
  const blocks = blocksOf(call);
  const count = blocks.length;
  const all = blocks.reduce((a, b) => a * b, 1);
  const [first, ...others] = x.dims;
  if (typeof first === 'number' && first % all !== 0)
    throw call.fail(`a number of samples that ${all} divides`, `${first}`);
  const samples = work('quotient', first, all);
  const inner = others.slice(count);
  const apart = reshaped(call, x, [...blocks, samples, ...others]);
  const order = [count, ...blocks.flatMap((_, i) => [count + 1 + i, i]), ...inner.map((_, i) => 2 * count + 1 + i)];
  const lengths = blocks.map((block, i) => work('mul', others[i], block));
  const whole = reshaped(call, transpose(call, apart, order), [samples, ...lengths, ...inner]);
  return cropped(call, whole, pairsOf(call, 2, count));
};

/** Blocks of channels as pixels, or the other way round; channels last. */
const blocks =
  (isOut: boolean): Converter =>
  (call) => {
    const x = call.flow(0);
    const b = call.whole('block', 0, 1, 2 ** 20);
    if (x.shape.length !== 4) throw call.fail('x of rank 4', `rank ${x.shape.length}`);
    const [n, h, w, c] = x.dims;
    const divided = (length: Sym, by: number, what: string) => {
      if (typeof length === 'number' && length % by !== 0) throw call.fail(`${what} that ${by} divides`, `${length}`);
      return work('quotient', length, by);
    };
    if (isOut) {
      const left = divided(c, b * b, 'a number of channels');
      const apart = transpose(call, reshaped(call, x, [n, h, w, b, b, left]), [0, 1, 3, 2, 4, 5]);
      return reshaped(call, apart, [n, work('mul', h, b), work('mul', w, b), left]);
    }
    const [rows, columns] = [divided(h, b, 'a height'), divided(w, b, 'a width')];
    const apart = transpose(call, reshaped(call, x, [n, rows, b, columns, b, c]), [0, 1, 3, 2, 4, 5]);
    return reshaped(call, apart, [n, rows, columns, work('mul', c, b * b)]);
  };

const bit = (mask: number, at: number) => Math.floor(mask / 2 ** at) % 2 === 1;

/** Slices of axes by masks: which bounds are left out, which axes are new, gone, or stand for others. */
const stridedSlice: Converter = (call) => {
  const x = call.flow(0);
  const rank = x.shape.length;
  const [begin, end] = [call.shape(1, 'begin'), call.shape(2, 'end')];
  const strides = call.has(3) ? call.shape(3, 'strides') : begin.map(() => 1);
  const mask = (name: string) => call.whole(`${name}_mask`, 0, 0);
  const [begins, ends, ellipsis, fresh, gone] = ['begin', 'end', 'ellipsis', 'new_axis', 'shrink_axis'].map(mask);
  const count = begin.length;
  if (end.length !== count || strides.length !== count || count > 31) {
    throw call.fail('as many ends and strides as begins', `${end.length} and ${strides.length}, ${count} begins`);
  }
  const places = Array.from({ length: count }, (_, i) => i);
  const dots = places.find((i) => bit(ellipsis, i));
  if (places.filter((i) => bit(ellipsis, i)).length > 1) throw call.fail('one bit of ellipsis_mask', 'more');
  const isFresh = (i: number) => i !== dots && bit(fresh, i);
  const own = places.filter((i) => i !== dots && !isFresh(i)).length;
  if (own > rank) throw call.fail(`${rank} axes at most`, `${own}`);
  const cuts: CutOf[] = [];
  // the axes of the result: of the input, or new ones
  const axes: ('new' | number)[] = [];
  let axis = 0;
  for (const i of places) {
    if (i === dots) for (let k = rank - own; k > 0; k--) axes.push(axis++);
    else if (isFresh(i)) axes.push('new');
    else {
      const step = strides[i];
      const isGone = bit(gone, i);
      if (typeof step !== 'number' || !Number.isInteger(step) || step === 0)
        throw call.fail('strides other than 0', 'others');
      const start = bit(begins, i) && !isGone ? (step > 0 ? 0 : END) : begin[i];
      const stop = isGone
        ? start === -1
          ? END
          : work('add', start, 1)
        : bit(ends, i)
          ? step > 0
            ? END
            : -END
          : end[i];
      const length = x.dims[axis];
      const isOutside = typeof start === 'number' && typeof length === 'number' && (start >= length || start < -length);
      if (isGone && isOutside) throw call.fail(`a place of axis ${axis}, of length ${length}`, `${start}`);
      if (isGone || step !== 1 || start !== 0 || stop !== END) {
        cuts.push({ axis, start, end: stop, step: isGone ? 1 : step });
      }
      if (!isGone) axes.push(axis);
      axis++;
    }
  }
  while (axis < rank) axes.push(axis++);
  const cut = cuts.length ? sliced(call, x, cuts) : x;
  const isKept = axes.length === rank && axes.every((one, i) => one === i);
  return isKept
    ? cut
    : shaped(
        call,
        cut,
        axes.map((one): Sym => (one === 'new' ? 1 : cut.dims[one])),
      );
};

const slice: Converter = (call) => {
  const x = call.flow(0);
  const [begin, size] = [call.shape(1, 'begin'), call.shape(2, 'size')];
  const rank = x.shape.length;
  if (begin.length !== rank || size.length !== rank) {
    throw call.fail(`${rank} begins and sizes`, `${begin.length} and ${size.length}`);
  }
  const cuts = begin.flatMap((start, axis): CutOf[] => {
    const length = x.dims[axis];
    const count = size[axis];
    const stop = count === -1 ? END : work('add', start, count);
    const isWrong = (term: Sym, least: number) =>
      typeof term === 'number' && !(Number.isInteger(term) && term >= least);
    const reaches = typeof stop === 'number' && stop !== END && typeof length === 'number' && stop > length;
    if (isWrong(start, 0) || isWrong(count, -1) || reaches) {
      throw call.fail(`places of axis ${axis}`, `${show(start)} and ${show(count)} of ${show(length)}`);
    }
    return start === 0 && (stop === END || isSame(stop, length)) ? [] : [{ axis, start, end: stop, step: 1 }];
  });
  return cuts.length ? sliced(call, x, cuts) : x;
};

const show = (term: Sym) => (typeof term === 'number' ? `${term}` : '?');

const split: Converter = (call) => {
  const x = call.flow(0);
  const axis = call.axis(call.whole('axis', 0), x.shape.length);
  const count = call.node.outputs.length;
  const length = x.dims[axis];
  const sizes = call.wholes('sizes');
  if (!sizes && typeof length === 'number' && length % count !== 0) {
    throw call.fail(`a length of axis ${axis} that ${count} divides`, `${length}`);
  }
  const sum = (sizes ?? []).reduce((all, size) => all + Math.max(size, 0), 0);
  const isOpen = sizes?.includes(-1);
  if (sizes && typeof length === 'number' && (isOpen ? sum > length : sum !== length)) {
    throw call.fail(`parts that make ${length} together`, `${sum}`);
  }
  const part = work('quotient', length, count);
  let start: Sym = 0;
  return call.node.outputs.map((_, i) => {
    const size = sizes ? (sizes[i] === -1 ? work('sub', length, sum) : sizes[i]) : part;
    const from = start;
    start = sizes ? work('add', start, size) : work('mul', part, i + 1);
    if (!call.uses(i)) return undefined;
    return count === 1 ? x : sliced(call, x, [{ axis, start: from, end: i === count - 1 ? END : start, step: 1 }]);
  });
};

const unpack: Converter = (call) => {
  const x = call.flow(0);
  const axis = call.axis(call.whole('axis', 0), x.shape.length);
  const count = call.node.outputs.length;
  const length = x.dims[axis];
  if (typeof length === 'number' && length !== count)
    throw call.fail(`${count} values along axis ${axis}`, `${length}`);
  const dims = x.dims.filter((_, i) => i !== axis);
  return call.node.outputs.map((_, i) =>
    call.uses(i) ? shaped(call, sliced(call, x, [{ axis, start: i, end: i + 1, step: 1 }]), dims) : undefined,
  );
};

const rank: Converter = (call) => {
  const count = call.flow(0).shape.length;
  return { dtype: 'I32', shape: [], data: Float64Array.of(count) };
};

/** A choice by rows, where it is a list beside values of more axes. */
const select: Converter = (call) => {
  const [choice, a, b] = [0, 1, 2].map((i) => call.flow(i));
  const isRows = choice.shape.length === 1 && a.shape.length > 1;
  const by = isRows ? reshaped(call, choice, [choice.dims[0], ...a.dims.slice(1).map((): Sym => 1)]) : choice;
  return call.draft.operate({ kind: 'where' }, [by, a, b], broadcastDims([by, a, b]), a.dtype);
};

const floorDiv: Converter = (call) => {
  const [a, b] = [call.flow(0), call.flow(1)];
  return unary(call, binary(call, 'div', a, b), 'floor');
};

/** Images of another size; channels last. */
const resize: Converter = (call) => {
  const x = call.flow(0);
  if (x.shape.length !== 4) throw call.fail('x of rank 4', `rank ${x.shape.length}`);
  const size = call.shape(1, 'size');
  if (size.length !== 2 || size.some((one) => typeof one === 'number' && !(Number.isInteger(one) && one > 0))) {
    throw call.fail('two lengths above 0 as size', `[${size.map(show).join(', ')}]`);
  }
  if (size.some((one) => typeof one === 'number' && one >= 2 ** 24)) throw call.fail('lengths below 2^24', 'more');
  const isNearest = call.text('mode', '') === 'nearest';
  const [corners, halves] = [call.flag('corners'), call.flag('halves')];
  const [n, h, w, c] = x.dims;
  const dims = [n, ...size, c];
  const scale = [h, w].map((length, i) => ratio(size[i], length));
  if (scale.every((one) => one === 1)) return x;
  const isLayer = isNearest ? !corners : corners || halves;
  if (scale.every((one) => one !== undefined) && isLayer) {
    const options = isNearest ? {} : { mode: 'bilinear', alignCorners: corners };
    const layer = new Upsample({ scale: scale as number[], layout: 'channels-last', ...options } as never);
    return call.draft.apply(layer, x, call.name, dims);
  }
  const { lengths, inputs } = lengthsFor(dims, [x]);
  const half = isNearest ? 'tf_half_pixel_for_nn' : 'half_pixel';
  const operation = {
    kind: 'resize',
    mode: isNearest ? 'nearest' : 'linear',
    coordinates: corners ? 'align_corners' : halves ? half : 'asymmetric',
    nearest: corners ? 'round_prefer_ceil' : 'floor',
    cubic: -0.75,
    excludes: false,
    antialias: false,
    outside: 0,
    by: 'sizes',
    numbers: lengths,
    region: null,
  } as unknown as GraphOperation;
  return call.draft.operate(operation, inputs, dims);
};

/** How many times as long, where that is a whole number whatever the length. */
function ratio(to: Sym, from: Sym): number | undefined {
  if (isSame(to, from)) return 1;
  if (typeof to === 'number' && typeof from === 'number') return to % from === 0 ? to / from : undefined;
  if (typeof to !== 'object' || !('op' in to) || to.op !== 'mul' || !isSame(to.terms[0], from)) return undefined;
  const [, times] = to.terms;
  return typeof times === 'number' && Number.isInteger(times) && times >= 1 ? times : undefined;
}

export const tfShapes = (): Readonly<Record<string, Converter>> => ({
  Pad: pad,
  MirrorPad: mirrorPad,
  Around: around,
  SpaceToBatchND: spaceToBatch,
  BatchToSpaceND: batchToSpace,
  DepthToSpace: blocks(true),
  SpaceToDepth: blocks(false),
  StridedSlice: stridedSlice,
  Slice: slice,
  Split: split,
  Unpack: unpack,
  Rank: rank,
  Select: select,
  FloorDiv: floorDiv,
  Resize: resize,
});
