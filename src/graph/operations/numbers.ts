// Values that follow from shapes alone: numbers by themselves, one number everywhere, and rows of
// equal steps.

import { wrongValue } from '../../errors.ts';
import { countOf, showSymbolic } from '../../tensors/shape.ts';
import { type Length, lengthsOf, readLengths } from '../lengths.ts';
import { MANY, type Operation, type Shape } from '../operation.ts';
import { type Plain, plainDescription, plainRunner } from '../plain.ts';

export interface NumbersOperation extends Operation {
  readonly kind: 'numbers';
  /**
   * `list`: the numbers; `fill`: the number `value` in that shape; `range`: from the first below
   * the second in steps of the third.
   */
  readonly as: 'list' | 'fill' | 'range';
  /** Over the inputs, which have shapes alone. */
  readonly numbers: readonly Length[];
  readonly value: number;
  /** Of a list: its shape. */
  readonly shape: Shape;
}

/** Values that follow from no weights. */
const MOST = 1 << 28;

const plain: Plain<NumbersOperation> = {
  kind: 'numbers',
  arity: MANY,
  name: ({ as }) => (as === 'list' ? 'numbers of shapes' : as),
  shape(subject, { as, numbers, shape }, shapes) {
    if (as === 'list') return shape;
    const found = lengthsOf(numbers, shapes);
    const [start, end, step] = found;
    const lengths = as === 'fill' ? found : [Math.max(0, Math.ceil((end - start) / step))];
    const isLength = (n: number) => Number.isNaN(n) || (Number.isInteger(n) && n >= 0);
    if (!lengths.every(isLength) || countOf(lengths) > MOST) {
      const expected = `whole lengths of 0 or more, and at most ${MOST} values`;
      throw wrongValue('ERR_SHAPE', subject, `the shape of ${as}`, expected, showSymbolic(lengths));
    }
    return lengths;
  },
  prepare({ as, numbers, value }, shapes) {
    const found = lengthsOf(numbers, shapes);
    if (as === 'fill') {
      const size = countOf(found);
      return (_xs, _from, y, to) => y.fill(value, to, to + size);
    }
    const [start, end, step] = found;
    const count = as === 'range' ? Math.max(0, Math.ceil((end - start) / step)) : found.length;
    return (_xs, _from, y, to) => {
      for (let i = 0; i < count; i++) y[to + i] = as === 'range' ? start + i * step : found[i];
    };
  },
  read(fields) {
    const { json, fail, whole } = fields;
    const { as, numbers, value, shape } = json;
    if (as !== 'list' && as !== 'fill' && as !== 'range') throw fail('list, fill or range', as);
    if (typeof value !== 'number' || !Array.isArray(shape)) throw fail('a value and a shape', value);
    const terms = readLengths(fields, numbers);
    const lengths = shape.map((length) => whole(length, 0, MOST));
    if (as === 'range' && terms.length !== 3) throw fail('three numbers of a range', numbers);
    if (as === 'list' && countOf(lengths) !== terms.length) throw fail('as many numbers as the shape has', numbers);
    return { kind: 'numbers', as, numbers: terms, value, shape: lengths };
  },
};

export const runNumbers = /* @__PURE__ */ plainRunner(plain);

export const describeNumbers = /* @__PURE__ */ plainDescription(plain, runNumbers, {
  group: 'arithmetic',
  noun: 'numbers',
  json: ({ kind: _, ...rest }) => rest,
  error: (_inputs, _operation, shape) => new Float64Array(countOf(shape)),
});
