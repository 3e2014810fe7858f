// The same values in a shape that is worked out of the shapes of inputs.

import { wrongValue } from '../../errors.ts';
import { countOf, differs, showSymbolic } from '../../tensors/shape.ts';
import { type Length, lengthsOf, readLengths } from '../lengths.ts';
import { MANY, type Operation, type Shape } from '../operation.ts';
import { movedError, type Plain, plainDescription, plainRunner } from '../plain.ts';

export interface ShapeToOperation extends Operation {
  readonly kind: 'shape-to';
  /**
   * Lengths over the inputs, of which the first is moved and the others have shapes alone; −1: what
   * is left.
   */
  readonly lengths: readonly Length[];
}

function shapeFor(subject: string, { lengths }: ShapeToOperation, shapes: readonly Shape[]): Shape {
  const wanted = lengthsOf(lengths, shapes);
  const [x] = shapes;
  const size = countOf(x);
  const open = wanted.indexOf(-1);
  const known = wanted.reduce((product, length, i) => (i === open ? product : product * length), 1);
  const filled = wanted.map((length, i) => (i === open ? (known === 0 ? 0 : size / known) : length));
  const isFit = (length: number) => Number.isNaN(length) || (Number.isInteger(length) && length >= 0);
  if (!filled.every(isFit) || differs(countOf(filled), size)) {
    const expected = `${Number.isNaN(size) ? 'as many' : size} values, as x has`;
    const got = `shape ${showSymbolic(wanted)}`;
    throw wrongValue('ERR_SHAPE', subject, 'the new shape', expected, got, `shape ${showSymbolic(x)}`);
  }
  return filled;
}

const plain: Plain<ShapeToOperation> = {
  kind: 'shape-to',
  arity: MANY,
  overwrites: [0],
  name: ({ lengths }) => `reshape to ${lengths.map((one) => (typeof one === 'number' ? one : '?')).join('×')}`,
  shape: shapeFor,
  prepare(_operation, [x]) {
    const size = countOf(x);
    return ([values], [from], y, to) => {
      if (values === y && from === to) return;
      if (values === y) y.copyWithin(to, from, from + size);
      else y.set(values.subarray(from, from + size), to);
    };
  },
  read: (fields) => ({ kind: 'shape-to', lengths: readLengths(fields, fields.json.lengths) }),
};

export const runShapeTo = /* @__PURE__ */ plainRunner(plain);

export const describeShapeTo = /* @__PURE__ */ plainDescription(plain, runShapeTo, {
  group: 'indexing',
  noun: 'a change of shape',
  json: ({ lengths }) => ({ lengths }),
  error: /* @__PURE__ */ movedError(plain),
});
