// Places of the largest values along an axis, and those values.

import { wrongValue } from '../../errors.ts';
import { countOf, differs, showSymbolic } from '../../tensors/shape.ts';
import { type Length, lengthOf, readLengths } from '../lengths.ts';
import { MANY, type Operation, type Shape } from '../operation.ts';
import { axisIn, type Plain, plainDescription, plainRunner, type Values } from '../plain.ts';

export interface SelectOperation extends Operation {
  readonly kind: 'select';
  readonly axis: number;
  /** How many: over the inputs, of which all but the first have shapes alone. */
  readonly count: Length;
  readonly largest: boolean;
  /** Of equal ones the last? */
  readonly last: boolean;
  /** The values themselves, their places, or 1 at the place and 0 elsewhere. */
  readonly gives: 'values' | 'places' | 'mark';
  /** Does the axis stay where there is one? */
  readonly keeps: boolean;
}

function axisFor(subject: string, { axis }: SelectOperation, x: Shape): number {
  const at = axisIn(x.length, axis);
  if (at >= 0 && at < x.length) return at;
  throw wrongValue('ERR_SHAPE', subject, 'the axis', `an axis of ${showSymbolic(x)}`, `${axis}`);
}

const plain: Plain<SelectOperation> = {
  kind: 'select',
  arity: MANY,
  name: ({ largest, axis }) => `${largest ? 'largest' : 'smallest'} of axis ${axis}`,
  shape(subject, operation, shapes) {
    const [x] = shapes;
    const at = axisFor(subject, operation, x);
    if (operation.gives === 'mark') return x;
    const count = lengthOf(operation.count, shapes);
    if (!(count <= x[at]) && !Number.isNaN(count) && !Number.isNaN(x[at])) {
      throw wrongValue('ERR_SHAPE', subject, 'k', `at most ${x[at]} values of axis ${at}`, `${count}`);
    }
    if (differs(count, Math.max(0, Math.trunc(count)))) {
      throw wrongValue('ERR_SHAPE', subject, 'k', 'a whole number of 0 or more', `${count}`);
    }
    if (!operation.keeps) return x.filter((_, i) => i !== at);
    return x.map((length, i) => (i === at ? count : length));
  },
  prepare(operation, shapes) {
    const [shape] = shapes;
    const { largest, last, gives } = operation;
    const at = axisFor('select', operation, shape);
    const length = shape[at];
    const outer = countOf(shape.slice(0, at));
    const inner = countOf(shape.slice(at + 1));
    const count = gives === 'mark' ? 1 : lengthOf(operation.count, shapes);
    if (length === 0 || count === 0) return () => {};
    const isBefore = (a: number, b: number) => (largest ? a > b : a < b) || (Number.isNaN(a) && !Number.isNaN(b));
    const one = (x: Values, first: number) => {
      let best = 0;
      for (let k = 1; k < length; k++) {
        const [value, most] = [x[first + k * inner], x[first + best * inner]];
        if (isBefore(value, most) || (last && value === most)) best = k;
      }
      return best;
    };
    const order = Array.from({ length }, (_, k) => k);
    return ([x], [from], y, to) => {
      for (let n = 0; n < outer; n++) {
        for (let i = 0; i < inner; i++) {
          const first = from + n * length * inner + i;
          if (gives === 'mark') {
            const best = one(x, first);
            for (let k = 0; k < length; k++) y[to + (n * length + k) * inner + i] = k === best ? 1 : 0;
            continue;
          }
          const found =
            count === 1
              ? [one(x, first)]
              : [...order].sort((a, b) => {
                  const [p, q] = [x[first + a * inner], x[first + b * inner]];
                  return isBefore(p, q) ? -1 : isBefore(q, p) ? 1 : a - b;
                });
          for (let k = 0; k < count; k++) {
            y[to + (n * count + k) * inner + i] = gives === 'places' ? found[k] : x[first + found[k] * inner];
          }
        }
      }
    };
  },
  read(fields) {
    const { json, fail, whole } = fields;
    const { axis, count, largest, last, gives, keeps } = json;
    if (gives !== 'values' && gives !== 'places' && gives !== 'mark') throw fail('what it gives', gives);
    if (typeof largest !== 'boolean' || typeof last !== 'boolean' || typeof keeps !== 'boolean') {
      throw fail('largest, last and keeps true or false', largest);
    }
    const [length] = readLengths(fields, [count]);
    return { kind: 'select', axis: whole(axis, -64, 63), count: length, largest, last, gives, keeps };
  },
};

export const runSelect = /* @__PURE__ */ plainRunner(plain);

export const describeSelect = /* @__PURE__ */ plainDescription(plain, runSelect, {
  group: 'indexing',
  noun: 'a choice of the largest',
  json: ({ kind: _, ...rest }) => rest,
});
