// Numbers that follow from the shapes of an operation's inputs: what a network works out of `Shape`
// when it reshapes or
// resizes. They are evaluated once for each shape of the network's inputs.

import type { Fields, Shape } from './operation.ts';

/**
 * A number, the length of an axis, or what is worked out of such numbers. `R` says whose axis: an
 * input's place.
 */
export type Term<R> = number | Axis<R> | Worked<R>;

export interface Axis<R> {
  readonly of: R;
  readonly axis: number;
}

export interface Worked<R> {
  readonly op: LengthOp;
  readonly terms: readonly Term<R>[];
}

/** A term over the inputs of an operation. */
export type Length = Term<number>;

const truth = (value: boolean) => (value ? 1 : 0);

/**
 * What may be worked out. `div` is the quotient of real numbers, `quotient` the whole one, towards
 * 0.
 */
const OPERATORS = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  quotient: (a, b) => Math.trunc(a / b),
  mod: (a, b) => a - b * Math.floor(a / b),
  max: (a, b) => Math.max(a, b),
  min: (a, b) => Math.min(a, b),
  pow: (a, b) => a ** b,
  equal: (a, b) => truth(a === b),
  less: (a, b) => truth(a < b),
  and: (a, b) => truth(a !== 0 && b !== 0),
  or: (a, b) => truth(a !== 0 || b !== 0),
  not: (a) => truth(a === 0),
  where: (a, b, c) => (a !== 0 ? b : c),
  neg: (a) => -a,
  abs: (a) => Math.abs(a),
  floor: (a) => Math.floor(a),
  ceil: (a) => Math.ceil(a),
  trunc: (a) => Math.trunc(a),
  sqrt: (a) => Math.sqrt(a),
  /** Rounded to f32, as a network does where it casts to float. */
  single: (a) => Math.fround(a),
} as const satisfies Record<string, (a: number, b: number, c: number) => number>;

export type LengthOp = keyof typeof OPERATORS;

/** How many terms each takes. */
const TAKES: Readonly<Partial<Record<LengthOp, number>>> = {
  where: 3,
  not: 1,
  neg: 1,
  abs: 1,
  floor: 1,
  ceil: 1,
  trunc: 1,
  sqrt: 1,
  single: 1,
};

/** An operator on numbers; NaN, a length that is not known, makes the result unknown. */
export function apply(op: LengthOp, terms: readonly number[]): number {
  if (terms.some(Number.isNaN)) return Number.NaN;
  return (OPERATORS[op] as (...terms: readonly number[]) => number)(...terms);
}

/** The value of a term for inputs of these shapes; NaN where it is not known. */
export function lengthOf(term: Length, shapes: readonly Shape[]): number {
  if (typeof term === 'number') return term;
  if ('op' in term) {
    return apply(
      term.op,
      term.terms.map((one) => lengthOf(one, shapes)),
    );
  }
  return shapes[term.of]?.[term.axis] ?? Number.NaN;
}

export const lengthsOf = (terms: readonly Length[], shapes: readonly Shape[]) =>
  terms.map((term) => lengthOf(term, shapes));

/** Terms that a file may have in one list. */
const MOST_TERMS = 4096;

/** Reads a list of terms from a file. Throws what `fail` makes. */
export function readLengths({ fail }: Pick<Fields, 'fail'>, given: unknown): Length[] {
  let left = MOST_TERMS;
  const read = (term: unknown, depth: number): Length => {
    if (left-- <= 0 || depth > 64) throw fail('fewer terms', 'more');
    if (typeof term === 'number') return term;
    const { of, axis, op, terms } = (term ?? {}) as Record<string, unknown>;
    const isPlace = (value: unknown) => Number.isInteger(value) && (value as number) >= 0 && (value as number) < 65536;
    if (isPlace(of) && isPlace(axis)) return { of: of as number, axis: axis as number };
    if (typeof op === 'string' && Object.hasOwn(OPERATORS, op) && Array.isArray(terms)) {
      if (terms.length === (TAKES[op as LengthOp] ?? 2)) {
        return { op: op as LengthOp, terms: terms.map((one) => read(one, depth + 1)) };
      }
    }
    throw fail('a length', term);
  };
  if (!Array.isArray(given)) throw fail('a list of lengths', given);
  return given.map((term) => read(term, 0));
}
