// Two values of broadcast shapes, number by number: differences, quotients, extremes, powers,
// comparisons, logic.

import { broadcastShape, eachRow, walkOver } from '../../tensors/broadcast.ts';
import { countOf, sameShape } from '../../tensors/shape.ts';
import { U } from '../error-analysis.ts';
import type { Operation } from '../operation.ts';
import { type Plain, plainDescription, plainRunner } from '../plain.ts';

const truth = (value: boolean) => (value ? 1 : 0);

/** 0 to the power of a number, and whole powers of negative ones, as the host has them. */
const FUNCTIONS = {
  sub: (a, b) => a - b,
  div: (a, b) => a / b,
  /** Of whole numbers, towards 0. */
  quotient: (a, b) => Math.trunc(a / b),
  max: (a, b) => Math.max(a, b),
  min: (a, b) => Math.min(a, b),
  pow: (a, b) => a ** b,
  /** With the sign of the divisor. */
  mod: (a, b) => a - b * Math.floor(a / b),
  /** With the sign of the dividend. */
  fmod: (a, b) => a % b,
  prelu: (a, b) => (a < 0 ? b * a : a),
  equal: (a, b) => truth(a === b),
  less: (a, b) => truth(a < b),
  'less-equal': (a, b) => truth(a <= b),
  greater: (a, b) => truth(a > b),
  'greater-equal': (a, b) => truth(a >= b),
  and: (a, b) => truth(a !== 0 && b !== 0),
  or: (a, b) => truth(a !== 0 || b !== 0),
  xor: (a, b) => truth((a !== 0) !== (b !== 0)),
} as const satisfies Record<string, (a: number, b: number) => number>;

export type BinaryFunction = keyof typeof FUNCTIONS;

export interface BinaryOperation extends Operation {
  readonly kind: 'binary';
  readonly of: BinaryFunction;
}

type Values = Float32Array | Float64Array;

/**
 * A loop over one row; the frequent ones are written out, so that they are compiled as loops of
 * their own.
 */
type Row = (a: Values, i: number, p: number, b: Values, j: number, q: number, y: Values, k: number, n: number) => void;

const ROWS: Partial<Record<BinaryFunction, Row>> = {
  sub(a, i, p, b, j, q, y, k, n) {
    for (let m = 0; m < n; m++) y[k + m] = a[i + m * p] - b[j + m * q];
  },
  max(a, i, p, b, j, q, y, k, n) {
    for (let m = 0; m < n; m++) y[k + m] = Math.max(a[i + m * p], b[j + m * q]);
  },
  min(a, i, p, b, j, q, y, k, n) {
    for (let m = 0; m < n; m++) y[k + m] = Math.min(a[i + m * p], b[j + m * q]);
  },
  pow(a, i, p, b, j, q, y, k, n) {
    for (let m = 0; m < n; m++) y[k + m] = a[i + m * p] ** b[j + m * q];
  },
  div(a, i, p, b, j, q, y, k, n) {
    for (let m = 0; m < n; m++) y[k + m] = a[i + m * p] / b[j + m * q];
  },
};

function rowOf(of: BinaryFunction): Row {
  const value = FUNCTIONS[of];
  return (
    ROWS[of] ??
    ((a, i, p, b, j, q, y, k, n) => {
      for (let m = 0; m < n; m++) y[k + m] = value(a[i + m * p], b[j + m * q]);
    })
  );
}

const plain: Plain<BinaryOperation> = {
  kind: 'binary',
  arity: 2,
  name: ({ of }) => of,
  shape: (subject, { of }, shapes) => broadcastShape(subject, of, shapes),
  prepare({ of }, [a, b]) {
    const row = rowOf(of);
    const shape = broadcastShape('binary', of, [a, b]);
    const size = countOf(shape);
    if (sameShape(a, b)) {
      return ([x, z], [i, j], y, to) => row(x, i, 1, z, j, 1, y, to, size);
    }
    const walk = walkOver(shape, [shape, a, b]);
    return ([x, z], [i, j], y, to) => {
      eachRow(walk, ([k, m, l], length, [, p, q]) => row(x, i + m, p, z, j + l, q, y, to + k, length));
    };
  },
  read({ json: { of }, fail }) {
    if (typeof of !== 'string' || !Object.hasOwn(FUNCTIONS, of)) throw fail('a function of two numbers', of);
    return { kind: 'binary', of: of as BinaryFunction };
  },
};

export const runBinary = /* @__PURE__ */ plainRunner(plain);

export const describeBinary = /* @__PURE__ */ plainDescription(plain, runBinary, {
  group: 'arithmetic',
  noun: 'a function of two values',
  json: ({ of }) => ({ of }),
  error([a, b], { of }, shape) {
    const out = new Float64Array(countOf(shape));
    const isExact = of === 'max' || of === 'min';
    const value = FUNCTIONS[of];
    eachRow(walkOver(shape, [shape, a.shape, b.shape]), ([i, k, l], length, [, p, q]) => {
      for (let j = 0; j < length; j++) {
        const [x, e, z, d] = [a.value[k + j * p], a.error[k + j * p], b.value[l + j * q], b.error[l + j * q]];
        const y = Math.abs(value(x, z));
        if (isExact) out[i + j] = Math.max(e, d);
        else if (of === 'sub') out[i + j] = e + d + U * (y + e + d);
        else if (of === 'div') {
          const least = Math.abs(z) - d;
          const off = least > 0 ? (e + y * d) / least : Number.POSITIVE_INFINITY;
          out[i + j] = off + U * (y + off);
        } else if (of === 'pow') out[i + j] = e === 0 && d === 0 ? 8 * U * y : Number.POSITIVE_INFINITY;
        else out[i + j] = e === 0 && d === 0 ? 2 * U * y : Number.POSITIVE_INFINITY;
      }
    });
    return out;
  },
});
