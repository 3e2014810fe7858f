// Values at places that another value names.

import { wrongValue } from '../../errors.ts';
import { countOf, showSymbolic } from '../../tensors/shape.ts';
import type { Operation, Shape } from '../operation.ts';
import { axisIn, type Plain, plainDescription, plainRunner } from '../plain.ts';

export interface GatherOperation extends Operation {
  readonly kind: 'gather';
  /**
   * `slices`: whole slices of the axis; `rows`: the same, by indices from 0 on; `elements`: one
   * value for each index; `points`: an index names a place along several axes.
   */
  readonly by: 'slices' | 'rows' | 'elements' | 'points';
  readonly axis: number;
  /** Of `points`: leading axes that both share. */
  readonly batch: number;
}

const wrong = (subject: string, expected: string, got: string) =>
  wrongValue('ERR_SHAPE', subject, 'an index', expected, got);

/** An index as a place. A number outside of the axis is an error in the run. */
function placeIn(length: number, index: number): number {
  const place = index < 0 ? index + length : index;
  if (place >= 0 && place < length && Number.isInteger(place)) return place;
  throw wrong('gather', `a whole number from ${-length} to ${length - 1}`, `${index}`);
}

/** An index of a row. A number outside of the axis is an error in the run. */
function rowIn(length: number, index: number): number {
  if (index >= 0 && index < length && Number.isInteger(index)) return index;
  throw wrong('embedding', `a whole number from 0 to ${length - 1}`, `${index}`);
}

function axisFor(subject: string, { axis }: GatherOperation, x: Shape): number {
  const at = axisIn(x.length, axis);
  if (at >= 0 && at < x.length) return at;
  throw wrongValue('ERR_SHAPE', subject, 'the axis', `an axis of ${showSymbolic(x)}`, `${axis}`);
}

const plain: Plain<GatherOperation> = {
  kind: 'gather',
  arity: 2,
  name: ({ by, axis }) => (by === 'points' ? 'gather points' : `gather ${by} of axis ${axis}`),
  shape(subject, operation, [x, indices]) {
    if (operation.by === 'points') {
      const count = indices[indices.length - 1] + operation.batch;
      if (!(indices.length > operation.batch) || !(count <= x.length)) {
        throw wrong(subject, `places of at most ${x.length} axes`, `shape ${showSymbolic(indices)}`);
      }
      return [...indices.slice(0, -1), ...x.slice(count)];
    }
    const axis = axisFor(subject, operation, x);
    if (operation.by === 'slices' || operation.by === 'rows')
      return [...x.slice(0, axis), ...indices, ...x.slice(axis + 1)];
    if (indices.length !== x.length) throw wrong(subject, `rank ${x.length}`, `shape ${showSymbolic(indices)}`);
    return indices;
  },
  prepare(operation, [shape, indices]) {
    const count = countOf(indices);
    if (operation.by === 'points') {
      const { batch } = operation;
      const depth = indices[indices.length - 1];
      const lengths = shape.slice(batch, batch + depth);
      const size = countOf(shape.slice(batch + depth));
      const sample = countOf(shape.slice(batch));
      const samples = countOf(shape.slice(0, batch));
      const points = depth ? count / depth / (samples || 1) : countOf(indices.slice(batch, -1));
      return ([x, places], [from, at], y, to) => {
        for (let n = 0, out = to, k = at; n < samples; n++) {
          for (let i = 0; i < points; i++, out += size) {
            let place = 0;
            for (let a = 0; a < depth; a++) place = place * lengths[a] + placeIn(lengths[a], places[k++]);
            const first = from + n * sample + place * size;
            for (let j = 0; j < size; j++) y[out + j] = x[first + j];
          }
        }
      };
    }
    const axis = axisFor('gather', operation, shape);
    const length = shape[axis];
    const inner = countOf(shape.slice(axis + 1));
    if (operation.by === 'slices' || operation.by === 'rows') {
      const isRows = operation.by === 'rows';
      const outer = countOf(shape.slice(0, axis));
      return ([x, places], [from, at], y, to) => {
        for (let n = 0, out = to; n < outer; n++) {
          for (let i = 0; i < count; i++, out += inner) {
            const place = isRows ? rowIn(length, places[at + i]) : placeIn(length, places[at + i]);
            const first = from + (n * length + place) * inner;
            for (let j = 0; j < inner; j++) y[out + j] = x[first + j];
          }
        }
      };
    }
    return ([x, places], [from, at], y, to) => {
      const place = indices.map(() => 0);
      for (let i = 0; i < count; i++) {
        let index = 0;
        for (let a = 0; a < shape.length; a++) {
          index = index * shape[a] + (a === axis ? placeIn(length, places[at + i]) : place[a]);
        }
        y[to + i] = x[from + index];
        for (let a = indices.length - 1; a >= 0 && ++place[a] === indices[a]; a--) place[a] = 0;
      }
    };
  },
  read({ json: { by, axis, batch }, fail, whole }) {
    if (by !== 'slices' && by !== 'rows' && by !== 'elements' && by !== 'points') throw fail('a way to gather', by);
    return { kind: 'gather', by, axis: whole(axis, -64, 63), batch: whole(batch, 0, 63) };
  },
};

export const runGather = /* @__PURE__ */ plainRunner(plain);

export const describeGather = /* @__PURE__ */ plainDescription(plain, runGather, {
  group: 'indexing',
  noun: 'a gathering',
  json: ({ by, axis, batch }) => ({ by, axis, batch }),
  error([x, indices], operation, shape) {
    const out = new Float64Array(countOf(shape));
    if (indices.error.some((e) => e !== 0)) return out.fill(Number.POSITIVE_INFINITY);
    plain.prepare(operation, [x.shape, indices.shape])([x.error, indices.value], [0, 0], out, 0);
    return out;
  },
});
