// Values of x in another order, or some of them, or some of them several times: axes moved, slices,
// repetition.

import { wrongValue } from '../../errors.ts';
import { broadcastShape } from '../../tensors/broadcast.ts';
import { countOf, showSymbolic } from '../../tensors/shape.ts';
import { type Length, lengthOf, lengthsOf, readLengths } from '../lengths.ts';
import { MANY, type Operation, type Shape } from '../operation.ts';
import { axisIn, movedError, type Plain, plainDescription, plainRunner, type Values, type Work } from '../plain.ts';

export interface TransposeOperation extends Operation {
  readonly kind: 'transpose';
  /** The output's axis i is the input's axis `order[i]`. */
  readonly order: readonly number[];
}

/**
 * Of one axis: from `start` up to `end`, counted from the end where they are negative, cut where
 * they lie outside.
 */
export interface Cut {
  readonly axis: number;
  readonly start: Length;
  readonly end: Length;
  readonly step: number;
}

export interface SliceOperation extends Operation {
  readonly kind: 'slice';
  readonly cuts: readonly Cut[];
}

export interface ExpandOperation extends Operation {
  readonly kind: 'expand';
  /** Broadcast with the shape of x. */
  readonly lengths: readonly Length[];
}

/** y[i, j, …] = x[first + i·step₀ + j·step₁ + …] */
interface Strided {
  readonly lengths: readonly number[];
  readonly steps: readonly number[];
  readonly first: number;
}

const stridesOf = (shape: Shape) => shape.map((_, axis) => countOf(shape.slice(axis + 1)));

function copier({ lengths: given, steps: strides, first }: Strided): Work {
  // axes that follow each other in both are one
  const lengths: number[] = [];
  const steps: number[] = [];
  for (let axis = given.length - 1; axis >= 0; axis--) {
    if (given[axis] === 1) continue;
    if (lengths.length && strides[axis] === steps[0] * lengths[0]) lengths[0] *= given[axis];
    else {
      lengths.unshift(given[axis]);
      steps.unshift(strides[axis]);
    }
  }
  if (given.includes(0)) return () => {};
  const [rows, length] = [lengths.slice(0, -1), lengths.at(-1) ?? 1];
  const step = steps.at(-1) ?? 1;
  const line = (x: Values, from: number, y: Values, to: number) => {
    if (step === 1 && length > 48) {
      if (x === y) y.copyWithin(to, from, from + length);
      else y.set(x.subarray(from, from + length), to);
    } else for (let i = 0, at = from; i < length; i++, at += step) y[to + i] = x[at];
  };
  const last = rows.length - 1;
  return ([x], [from], y, to) => {
    const place = rows.map(() => 0);
    let at = from + first;
    let out = to;
    for (;;) {
      line(x, at, y, out);
      out += length;
      let axis = last;
      for (; axis >= 0; axis--) {
        at += steps[axis];
        if (++place[axis] < rows[axis]) break;
        at -= steps[axis] * rows[axis];
        place[axis] = 0;
      }
      if (axis < 0) return;
    }
  };
}

const transposed: Plain<TransposeOperation> = {
  kind: 'transpose',
  arity: 1,
  name: ({ order }) => `transpose ${order.join(', ')}`,
  shape(subject, { order }, [x]) {
    if (order.length !== x.length) {
      throw wrongValue('ERR_SHAPE', subject, 'x', `rank ${order.length}`, `shape ${showSymbolic(x)}`);
    }
    return order.map((axis) => x[axis]);
  },
  prepare({ order }, [x]) {
    const strides = stridesOf(x);
    return copier({ lengths: order.map((axis) => x[axis]), steps: order.map((axis) => strides[axis]), first: 0 });
  },
  read({ json: { order }, fail, whole }) {
    if (!Array.isArray(order)) throw fail('an order of axes', order);
    const axes = order.map((axis) => whole(axis, 0, order.length - 1));
    if (new Set(axes).size !== axes.length) throw fail('each axis once', order);
    return { kind: 'transpose', order: axes };
  },
};

export const runTranspose = /* @__PURE__ */ plainRunner(transposed);
export const describeTranspose = /* @__PURE__ */ plainDescription(transposed, runTranspose, {
  group: 'indexing',
  noun: 'a transposition',
  json: ({ order }) => ({ order }),
  error: /* @__PURE__ */ movedError(transposed),
});

/** What a cut leaves of an axis: its first place, and how many. */
function rangeOf({ start, end, step }: Cut, length: number, shapes: readonly Shape[]): [first: number, count: number] {
  const [given, until] = [lengthOf(start, shapes), lengthOf(end, shapes)];
  if (Number.isNaN(length) && step > 0 && given === 0 && until >= 2 ** 31 - 1)
    return [0, step === 1 ? length : Number.NaN];
  if ([length, given, until].some(Number.isNaN)) return [Number.NaN, Number.NaN];
  const place = (value: number, least: number, most: number) =>
    Math.min(Math.max(value < 0 ? value + length : value, least), most);
  const first = step > 0 ? place(given, 0, length) : place(given, -1, length - 1);
  const last = step > 0 ? place(until, 0, length) : place(until, -1, length - 1);
  return [first, Math.max(0, Math.ceil((last - first) / step))];
}

/** Where each cut's axis lies. Throws ERR_SHAPE. */
function cutsOf(subject: string, { cuts }: SliceOperation, x: Shape): (Cut & { readonly at: number })[] {
  return cuts.map((cut) => {
    const at = axisIn(x.length, cut.axis);
    if (at >= 0 && at < x.length) return { ...cut, at };
    throw wrongValue('ERR_SHAPE', subject, 'the axis of a slice', `an axis of ${showSymbolic(x)}`, `${cut.axis}`);
  });
}

const sliced: Plain<SliceOperation> = {
  kind: 'slice',
  arity: MANY,
  name: ({ cuts }) => `slice of axes ${cuts.map(({ axis }) => axis).join(', ')}`,
  shape(subject, operation, shapes) {
    const shape = [...shapes[0]];
    for (const cut of cutsOf(subject, operation, shape)) [, shape[cut.at]] = rangeOf(cut, shapes[0][cut.at], shapes);
    return shape;
  },
  prepare(operation, shapes) {
    const [x] = shapes;
    const lengths = [...x];
    const steps = stridesOf(x);
    let first = 0;
    for (const cut of cutsOf('slice', operation, x)) {
      const [from, count] = rangeOf(cut, x[cut.at], shapes);
      lengths[cut.at] = count;
      first += from * steps[cut.at];
      steps[cut.at] *= cut.step;
    }
    return copier({ lengths, steps, first });
  },
  read(fields) {
    const { json, fail, whole } = fields;
    if (!Array.isArray(json.cuts)) throw fail('a list of cuts', json.cuts);
    const cuts = json.cuts.map((cut) => {
      const { axis, start, end, step } = (cut ?? {}) as Record<string, unknown>;
      const [from, until] = readLengths(fields, [start, end]);
      if (!Number.isInteger(step) || step === 0) throw fail('a whole step other than 0', step);
      return { axis: whole(axis, -64, 63), start: from, end: until, step: step as number };
    });
    if (new Set(cuts.map(({ axis }) => axis)).size !== cuts.length) throw fail('each axis once', json.cuts);
    return { kind: 'slice', cuts };
  },
};

export const runSlice = /* @__PURE__ */ plainRunner(sliced);
export const describeSlice = /* @__PURE__ */ plainDescription(sliced, runSlice, {
  group: 'indexing',
  noun: 'a slice',
  json: ({ cuts }) => ({ cuts }),
  error: /* @__PURE__ */ movedError(sliced),
});

function expandedShape(subject: string, { lengths }: ExpandOperation, shapes: readonly Shape[]): Shape {
  return broadcastShape(subject, 'the shape to expand to', [shapes[0], lengthsOf(lengths, shapes)]);
}

const expanded: Plain<ExpandOperation> = {
  kind: 'expand',
  arity: MANY,
  name: ({ lengths }) => `expand to ${lengths.map((one) => (typeof one === 'number' ? one : '?')).join('×')}`,
  shape: expandedShape,
  prepare(operation, shapes) {
    const [x] = shapes;
    const lengths = expandedShape('expand', operation, shapes);
    const strides = stridesOf(x);
    const steps = lengths.map((_, axis) => {
      const at = axis - lengths.length + x.length;
      return at < 0 || x[at] === 1 ? 0 : strides[at];
    });
    return copier({ lengths, steps, first: 0 });
  },
  read: (fields) => ({ kind: 'expand', lengths: readLengths(fields, fields.json.lengths) }),
};

export const runExpand = /* @__PURE__ */ plainRunner(expanded);
export const describeExpand = /* @__PURE__ */ plainDescription(expanded, runExpand, {
  group: 'indexing',
  noun: 'a repetition',
  json: ({ lengths }) => ({ lengths }),
  error: /* @__PURE__ */ movedError(expanded),
});
