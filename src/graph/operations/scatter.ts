// A copy of x with other values at places that an input names.

import { wrongValue } from '../../errors.ts';
import { countOf, showSymbolic } from '../../tensors/shape.ts';
import type { Operation, Shape } from '../operation.ts';
import { axisIn, type Plain, plainDescription, plainRunner } from '../plain.ts';

const REDUCTIONS = {
  none: (_: number, value: number) => value,
  add: (old: number, value: number) => old + value,
  mul: (old: number, value: number) => old * value,
  max: (old: number, value: number) => Math.max(old, value),
  min: (old: number, value: number) => Math.min(old, value),
};

export interface ScatterOperation extends Operation {
  readonly kind: 'scatter';
  readonly by: 'elements' | 'points';
  readonly axis: number;
  readonly reduction: keyof typeof REDUCTIONS;
}

function placeIn(length: number, index: number): number {
  const place = index < 0 ? index + length : index;
  if (place >= 0 && place < length && Number.isInteger(place)) return place;
  const expected = `a whole number from ${-length} to ${length - 1}`;
  throw wrongValue('ERR_SHAPE', 'scatter', 'an index', expected, `${index}`);
}

const product = (shape: Shape) => countOf(shape);

const plain: Plain<ScatterOperation> = {
  kind: 'scatter',
  arity: 3,
  overwrites: [0],
  name: ({ by }) => `scatter ${by}`,
  shape(subject, { by, axis }, [x, indices, updates]) {
    const wrong = () =>
      wrongValue('ERR_SHAPE', subject, 'indices', `places in ${showSymbolic(x)}`, `shape ${showSymbolic(indices)}`);
    if (by === 'elements') {
      const at = axisIn(x.length, axis);
      if (indices.length !== x.length || updates.length !== x.length || !(at >= 0 && at < x.length)) throw wrong();
      return x;
    }
    const depth = indices[indices.length - 1];
    if (!(depth <= x.length) || updates.length !== indices.length - 1 + x.length - depth) throw wrong();
    return x;
  },
  prepare({ by, axis, reduction }, [shape, indices, updates]) {
    const size = countOf(shape);
    const join = REDUCTIONS[reduction];
    const count = countOf(indices);
    const copy = (x: Float32Array | Float64Array, from: number, y: Float32Array | Float64Array, to: number) => {
      if (x === y) y.copyWithin(to, from, from + size);
      else y.set(x.subarray(from, from + size), to);
    };
    if (by === 'points') {
      const depth = indices[indices.length - 1];
      const block = product(shape.slice(depth));
      const points = product(indices.slice(0, -1));
      return ([x, places, values], [from, at, given], y, to) => {
        copy(x, from, y, to);
        for (let i = 0; i < points; i++) {
          let place = 0;
          for (let a = 0; a < depth; a++) place = place * shape[a] + placeIn(shape[a], places[at + i * depth + a]);
          for (let j = 0, o = to + place * block; j < block; j++)
            y[o + j] = join(y[o + j], values[given + i * block + j]);
        }
      };
    }
    const along = axisIn(shape.length, axis);
    const strides = updates.map((_, a) => product(updates.slice(a + 1)));
    return ([x, places, values], [from, at, given], y, to) => {
      copy(x, from, y, to);
      const place = indices.map(() => 0);
      for (let i = 0; i < count; i++) {
        let [index, source] = [0, 0];
        for (let a = 0; a < shape.length; a++) {
          index = index * shape[a] + (a === along ? placeIn(shape[a], places[at + i]) : place[a]);
          source += place[a] * strides[a];
        }
        y[to + index] = join(y[to + index], values[given + source]);
        for (let a = indices.length - 1; a >= 0 && ++place[a] === indices[a]; a--) place[a] = 0;
      }
    };
  },
  read({ json: { by, axis, reduction }, fail, whole }) {
    if (by !== 'elements' && by !== 'points') throw fail('a way to scatter', by);
    if (typeof reduction !== 'string' || !Object.hasOwn(REDUCTIONS, reduction)) throw fail('a reduction', reduction);
    return { kind: 'scatter', by, axis: whole(axis, -64, 63), reduction: reduction as 'none' };
  },
};

export const runScatter = /* @__PURE__ */ plainRunner(plain);

export const describeScatter = /* @__PURE__ */ plainDescription(plain, runScatter, {
  group: 'indexing',
  noun: 'a scattering',
  json: ({ by, axis, reduction }) => ({ by, axis, reduction }),
});
