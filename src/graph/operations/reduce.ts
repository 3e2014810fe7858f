// Sums, means, extremes and norms along axes, in f64.

import { wrongValue } from '../../errors.ts';
import { countOf, showSymbolic } from '../../tensors/shape.ts';
import type { Operation, Shape } from '../operation.ts';
import { axisIn, type Plain, plainDescription, plainRunner } from '../plain.ts';

interface Reduction {
  readonly start: number;
  /** The total with one more value. */
  readonly take: (total: number, value: number) => number;
  readonly end?: (total: number, count: number) => number;
}

const sum = (total: number, value: number) => total + value;

const REDUCTIONS = {
  sum: { start: 0, take: sum },
  mean: { start: 0, take: sum, end: (total, count) => total / count },
  max: { start: -Infinity, take: (total, value) => Math.max(total, value) },
  min: { start: Infinity, take: (total, value) => Math.min(total, value) },
  prod: { start: 1, take: (total, value) => total * value },
  l1: { start: 0, take: (total, value) => total + Math.abs(value) },
  l2: { start: 0, take: (total, value) => total + value * value, end: (total) => Math.sqrt(total) },
  'sum-square': { start: 0, take: (total, value) => total + value * value },
  'log-sum': { start: 0, take: sum, end: (total) => Math.log(total) },
  'log-sum-exp': { start: 0, take: (total, value) => total + Math.exp(value), end: (total) => Math.log(total) },
} as const satisfies Record<string, Reduction>;

export type ReductionName = keyof typeof REDUCTIONS;

export interface ReduceOperation extends Operation {
  readonly kind: 'reduce';
  readonly of: ReductionName;
  /** From the end where they are negative; null: all of them. */
  readonly axes: readonly number[] | null;
  /** Do they stay, as axes of length 1? */
  readonly keeps: boolean;
}

/** The axes that go, by place. Throws ERR_SHAPE. */
function goneOf(subject: string, { axes, of }: ReduceOperation, shape: Shape): boolean[] {
  const gone = shape.map(() => axes === null);
  for (const axis of axes ?? []) {
    const at = axisIn(shape.length, axis);
    if (!(at >= 0 && at < shape.length)) {
      throw wrongValue('ERR_SHAPE', subject, `the axis of ${of}`, `an axis of ${showSymbolic(shape)}`, `${axis}`);
    }
    gone[at] = true;
  }
  return gone;
}

/** Neighbouring axes that both go or both stay are one. */
function blocksOf(shape: Shape, gone: readonly boolean[]): { length: number; isGone: boolean; step: number }[] {
  const blocks: { length: number; isGone: boolean; step: number }[] = [];
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const first = blocks[0];
    if (first?.isGone === gone[axis]) first.length *= shape[axis];
    else if (shape[axis] !== 1) blocks.unshift({ length: shape[axis], isGone: gone[axis], step });
    step *= shape[axis];
  }
  return blocks;
}

/** Where the values behind the axes of some blocks begin. */
function placesOf(blocks: readonly { length: number; step: number }[]): Int32Array {
  let places = Int32Array.of(0);
  for (const { length, step } of blocks) {
    const next = new Int32Array(places.length * length);
    places.forEach((place, i) => {
      for (let k = 0; k < length; k++) next[i * length + k] = place + k * step;
    });
    places = next;
  }
  return places;
}

const plain: Plain<ReduceOperation> = {
  kind: 'reduce',
  arity: 1,
  name: ({ of, axes }) => `${of} over ${axes ? `axes ${axes.join(', ')}` : 'all axes'}`,
  shape(subject, operation, [x]) {
    const gone = goneOf(subject, operation, x);
    return operation.keeps ? x.map((length, i) => (gone[i] ? 1 : length)) : x.filter((_, i) => !gone[i]);
  },
  prepare(operation, [shape]) {
    const gone = goneOf('reduce', operation, shape);
    const { start, take, end } = REDUCTIONS[operation.of] as Reduction;
    const count = countOf(shape.filter((_, i) => gone[i]));
    const size = countOf(shape.filter((_, i) => !gone[i]));
    const isShifted = operation.of === 'log-sum-exp';
    const blocks = blocksOf(shape, gone);
    const kept = placesOf(blocks.filter(({ isGone }) => !isGone));
    const taken = blocks.filter(({ isGone }) => isGone);
    const run = taken.at(-1) ?? { length: 1, step: 1 };
    const runs = placesOf(taken.slice(0, -1));
    const total = (x: Float32Array | Float64Array, first: number): number => {
      let most = 0;
      if (isShifted) {
        most = Number.NEGATIVE_INFINITY;
        for (const place of runs) {
          for (let k = 0, at = first + place; k < run.length; k++, at += run.step) most = Math.max(most, x[at]);
        }
        if (!Number.isFinite(most)) most = 0;
      }
      let all = start;
      for (const place of runs) {
        for (let k = 0, at = first + place; k < run.length; k++, at += run.step) all = take(all, x[at] - most);
      }
      return (end ? end(all, count) : all) + most;
    };
    if (count === 0) return (_xs, _from, y, to) => y.fill(end ? end(start, 0) : start, to, to + size);
    if (size === 0) return () => {};
    return ([x], [from], y, to) => {
      for (let i = 0; i < kept.length; i++) y[to + i] = total(x, from + kept[i]);
    };
  },
  read({ json: { of, axes, keeps }, fail, whole }) {
    if (typeof of !== 'string' || !Object.hasOwn(REDUCTIONS, of)) throw fail('a reduction', of);
    if (typeof keeps !== 'boolean') throw fail('keeps true or false', keeps);
    if (axes !== null && !Array.isArray(axes)) throw fail('axes', axes);
    const places = axes === null ? null : axes.map((axis) => whole(axis, -64, 63));
    return { kind: 'reduce', of: of as ReductionName, axes: places, keeps };
  },
};

export const runReduce = /* @__PURE__ */ plainRunner(plain);

export const describeReduce = /* @__PURE__ */ plainDescription(plain, runReduce, {
  group: 'arithmetic',
  noun: 'a reduction',
  json: ({ of, axes, keeps }) => ({ of, axes, keeps }),
  error([x], operation, shape) {
    const { of } = operation;
    const out = new Float64Array(countOf(shape));
    const isLinear = of === 'sum' || of === 'mean' || of === 'max' || of === 'min';
    if (!isLinear) return out.fill(Number.POSITIVE_INFINITY);
    const within = { ...operation, of: of === 'min' ? ('max' as const) : of };
    plain.prepare(within, [x.shape])([x.error], [0], out, 0);
    const magnitude = new Float64Array(out.length);
    plain.prepare(within, [x.shape])([x.value.map(Math.abs)], [0], magnitude, 0);
    // summed in f64, and rounded once
    return out.map((e, i) => e + 2 ** -24 * (magnitude[i] + e));
  },
});
