// Lengths that are not known before an input comes, as they are worked out while a graph is read.

import { apply, type LengthOp, type Term } from '../../graph/lengths.ts';
import type { Flow } from './draft.ts';

/** A number, the length of an axis of a value, or what is worked out of these. */
export type Sym = Term<Flow>;

const keys = /* @__PURE__ */ new WeakMap<object, string>();

/** Says when two terms are the same. */
export function keyOf(term: Sym): string {
  if (typeof term === 'number') return `${term}`;
  let key = keys.get(term);
  if (key === undefined) {
    key = 'op' in term ? `${term.op}(${term.terms.map(keyOf).join()})` : `${term.of.id}[${term.axis}]`;
    keys.set(term, key);
  }
  return key;
}

export const isSame = (a: Sym, b: Sym) => a === b || keyOf(a) === keyOf(b);

/** A term, simpler where that is easy to see. */
export function work(op: LengthOp, ...terms: Sym[]): Sym {
  if (terms.every((term) => typeof term === 'number')) return apply(op, terms as number[]);
  const [a, b] = terms;
  if (op === 'add') {
    if (b === 0) return a;
    if (a === 0) return b;
    // (x + 2) + 3
    if (typeof b === 'number' && typeof a === 'object' && 'op' in a && a.op === 'add') {
      const [x, c] = a.terms;
      if (typeof c === 'number') return work('add', x, c + b);
    }
    if (typeof a === 'number') return work('add', b, a);
  }
  if (op === 'sub') {
    if (typeof b === 'number') return work('add', a, -b);
    if (isSame(a, b)) return 0;
  }
  if (op === 'mul') {
    if (b === 1) return a;
    if (a === 1) return b;
    if (a === 0 || b === 0) return 0;
    if (typeof a === 'number') return work('mul', b, a);
  }
  if ((op === 'div' || op === 'quotient') && b === 1) return a;
  if ((op === 'div' || op === 'quotient') && isSame(a, b)) return 1;
  if ((op === 'floor' || op === 'ceil' || op === 'trunc') && isWhole(a)) return a;
  if (op === 'single' && isWhole(a)) return a;
  if (op === 'equal' && isSame(a, b)) return 1;
  // a length is never negative
  if (op === 'equal' && typeof b === 'number' && b < 0 && isLength(a)) return 0;
  if (op === 'equal' && typeof a === 'number' && a < 0 && isLength(b)) return 0;
  if (op === 'less' && b === 0 && isLength(a)) return 0;
  if (op === 'where') {
    if (typeof a === 'number') return a !== 0 ? b : terms[2];
    if (isSame(b, terms[2])) return b;
  }
  if ((op === 'max' || op === 'min') && isSame(a, b)) return a;
  return { op, terms };
}

const isLength = (term: Sym) => typeof term === 'object' && !('op' in term);

const WHOLE: readonly LengthOp[] = [
  'add',
  'mul',
  'quotient',
  'floor',
  'ceil',
  'trunc',
  'max',
  'min',
  'mod',
  'neg',
  'abs',
];

function isWhole(term: Sym): boolean {
  if (typeof term === 'number') return Number.isInteger(term);
  return !('op' in term) || (WHOLE.includes(term.op) && term.terms.every(isWhole));
}

export const productOf = (terms: readonly Sym[]) => terms.reduce<Sym>((a, b) => work('mul', a, b), 1);

/** The quotient of two products, after equal factors of both are gone. */
export function ratioOf(above: readonly Sym[], below: readonly Sym[]): Sym {
  const left = [...above];
  const divisors: Sym[] = [];
  for (const divisor of below) {
    const at = left.findIndex((one) => isSame(one, divisor));
    if (at >= 0) left.splice(at, 1);
    else divisors.push(divisor);
  }
  return work('quotient', productOf(left), productOf(divisors));
}

/** How many terms there are in one; counting ends beyond `most`. */
export function sizeOf(term: Sym, most = 400): number {
  if (typeof term === 'number' || !('op' in term)) return 1;
  let size = 1;
  for (const one of term.terms) {
    size += sizeOf(one, most - size);
    if (size > most) break;
  }
  return size;
}

/** The terms of axes as numbers, NaN where they are not known. */
export const numbersOf = (terms: readonly Sym[]) => terms.map((term) => (typeof term === 'number' ? term : Number.NaN));
