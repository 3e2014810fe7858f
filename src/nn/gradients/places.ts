// Gradients of operations that choose among values, put them elsewhere, or add them up along an
// axis.

import type { Operation } from '../../graph/operation.ts';
import { descriptionOf } from '../../graph/operations/every.ts';
import type { ScanOperation } from '../../graph/operations/scan.ts';
import type { ScatterOperation } from '../../graph/operations/scatter.ts';
import type { SelectOperation } from '../../graph/operations/select.ts';
import { axisIn } from '../../graph/plain.ts';
import { eachRow, walkOver } from '../../tensors/broadcast.ts';
import { countOf, shapeOf } from '../../tensors/shape.ts';
import { type Backward, clear, flat, put, shapesOf, sumsFor } from './backward.ts';

type Shape = readonly number[];

/** Values of an operation, in f64. */
function valuesOf(operation: Operation, given: readonly { value: Float64Array; shape: Shape }[]): Float64Array {
  const description = descriptionOf(operation.kind);
  const all = given.map(({ value, shape }) => ({ value, shape, error: new Float64Array(value.length) }));
  return Float64Array.from(description.analyse(all, operation, description.rounded(operation)).value);
}

/** Each value gets the gradient of the places where it was chosen; the condition none. */
export const whereGradient: Backward = (dy, xs, dxs) => {
  const shape = shapeOf(dy);
  const sums = sumsFor(dxs);
  const walk = walkOver(shape, [shape, ...shapesOf(xs)]);
  const [{ data: condition }] = xs;
  eachRow(walk, ([i, k, l, m], length, [, p, q, r]) => {
    for (let j = 0; j < length; j++) {
      const isFirst = condition[k + j * p] !== 0;
      const sum = sums[isFirst ? 1 : 2];
      if (sum) sum[isFirst ? l + j * q : m + j * r] += dy.data[i + j];
    }
  });
  put(sums, dxs);
};

/** Of running sums the running sum the other way. */
export const scanGradient =
  (operation: ScanOperation): Backward =>
  (dy, _xs, [dx]) => {
    const turned = { ...operation, reverse: !operation.reverse };
    dx?.data.set(valuesOf(turned, [{ value: Float64Array.from(dy.data), shape: shapeOf(dy) }]));
  };

/** Of the largest values each gets its gradient; their places have none. */
export function selectGradient(operation: SelectOperation): Backward {
  if (operation.gives !== 'values') return flat;
  return ({ data: g }, xs, dxs) => {
    clear(dxs);
    const [dx] = dxs;
    if (!dx) return;
    const given = xs.map(({ data }, i) => ({ value: Float64Array.from(data), shape: shapeOf(xs[i]) }));
    const places = valuesOf({ ...operation, gives: 'places' } as SelectOperation, given);
    const [{ shape }] = given;
    const axis = axisIn(shape.length, operation.axis);
    const [length, inner] = [shape[axis], countOf(shape.slice(axis + 1))];
    const count = g.length / (countOf(shape.slice(0, axis)) * inner || 1);
    for (let i = 0; i < g.length; i++) {
      const outer = Math.floor(i / (count * inner));
      dx.data[(outer * length + places[i]) * inner + (i % inner)] += g[i];
    }
  };
}

/** For each update, where it goes to; −1 for one that has no index. */
function targetsOf(
  { by, axis }: ScatterOperation,
  [x, indices, updates]: readonly Shape[],
  at: Float64Array,
): Int32Array {
  const numbers = { value: Float64Array.from({ length: countOf(x) }, (_, i) => i), shape: x };
  const gather = { kind: 'gather', by, axis: by === 'points' ? 0 : axis, batch: 0 } as Operation;
  const found = Int32Array.from(valuesOf(gather, [numbers, { value: at, shape: indices }]));
  if (by === 'points' || countOf(updates) === found.length) return found;
  // more updates than indices: those at the same places count
  const targets = new Int32Array(countOf(updates)).fill(-1);
  const place = indices.map(() => 0);
  for (const target of found) {
    targets[place.reduce((sum, one, a) => sum * updates[a] + one, 0)] = target;
    for (let a = indices.length - 1; a >= 0 && ++place[a] === indices[a]; a--) place[a] = 0;
  }
  return targets;
}

/**
 * x gets the gradient where nothing was put, and an update that of its place: of several in the
 * place of others the last one's. Of products each factor gets the product of the others, of
 * equally extreme ones each a share.
 */
export const scatterGradient =
  (operation: ScatterOperation): Backward =>
  ({ data: g }, xs, dxs) => {
    const shapes = shapesOf(xs);
    const [{ data: x }, { data: indices }, { data: updates }] = xs;
    const targets = targetsOf(operation, shapes, Float64Array.from(indices));
    const members: (number[] | undefined)[] = new Array(x.length);
    targets.forEach((target, k) => {
      if (target < 0) return;
      members[target] ??= [];
      members[target].push(k);
    });
    const sums = sumsFor(dxs);
    const [dx, , du] = sums;
    const { reduction } = operation;
    for (let i = 0; i < x.length; i++) {
      const own = members[i];
      const give = (k: number, value: number) => {
        if (k < 0) {
          if (dx) dx[i] += value;
        } else if (du) du[k] += value;
      };
      if (!own || reduction === 'add') give(-1, g[i]);
      if (!own) continue;
      if (reduction === 'add') for (const k of own) give(k, g[i]);
      else if (reduction === 'none') give(own[own.length - 1], g[i]);
      else {
        const all = [-1, ...own];
        const given = (k: number) => (k < 0 ? x[i] : updates[k]);
        if (reduction === 'mul') {
          for (const k of all)
            give(
              k,
              all.reduce((product, one) => (one === k ? product : product * given(one)), g[i]),
            );
        } else {
          const best = Math[reduction](...all.map(given));
          const equal = all.filter((k) => given(k) === best);
          for (const k of equal) give(k, g[i] / equal.length);
        }
      }
    }
    put(sums, dxs);
  };
