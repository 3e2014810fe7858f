// Functions of one number that are no activations: roots, logarithms, rounding, trigonometry.

import { normalCdf } from '../../kernels/activations.ts';
import { countOf } from '../../tensors/shape.ts';
import { U } from '../error-analysis.ts';
import type { Operation } from '../operation.ts';
import { type Plain, plainDescription, plainRunner } from '../plain.ts';

/** Halves go to the even neighbour, as IEEE 754 and ONNX have it. */
function roundEven(x: number): number {
  const low = Math.floor(x);
  const rest = x - low;
  return rest < 0.5 || (rest === 0.5 && low % 2 === 0) ? low : low + 1;
}

interface Formula {
  readonly value: (x: number, a: number, b: number) => number;
  /** A bound of |f′|, where there is one. */
  readonly steepest?: number;
}

const FUNCTIONS = {
  exp: { value: Math.exp },
  log: { value: Math.log },
  sqrt: { value: Math.sqrt },
  reciprocal: { value: (x) => 1 / x },
  square: { value: (x) => x * x },
  abs: { value: Math.abs, steepest: 1 },
  neg: { value: (x) => -x, steepest: 1 },
  floor: { value: Math.floor },
  ceil: { value: Math.ceil },
  round: { value: roundEven },
  trunc: { value: Math.trunc },
  sign: { value: Math.sign },
  erf: { value: (x) => 2 * normalCdf(x * Math.SQRT2) - 1, steepest: 1.13 },
  sin: { value: Math.sin, steepest: 1 },
  cos: { value: Math.cos, steepest: 1 },
  tan: { value: Math.tan },
  asin: { value: Math.asin },
  acos: { value: Math.acos },
  atan: { value: Math.atan, steepest: 1 },
  sinh: { value: Math.sinh },
  cosh: { value: Math.cosh },
  asinh: { value: Math.asinh, steepest: 1 },
  acosh: { value: Math.acosh },
  atanh: { value: Math.atanh },
  not: { value: (x) => (x === 0 ? 1 : 0) },
  /** To a truth value. */
  truth: { value: (x) => (x === 0 ? 0 : 1) },
  'is-nan': { value: (x) => (Number.isNaN(x) ? 1 : 0) },
  /** Of ∞ where a is not 0, of −∞ where b is not. */
  'is-inf': { value: (x, a, b) => ((x === Infinity && a !== 0) || (x === -Infinity && b !== 0) ? 1 : 0) },
  /** min(max(x, a), b) */
  clip: { value: (x, a, b) => Math.min(Math.max(x, a), b), steepest: 1 },
  /** max(x, 0) + min(0, a·(e^(x/a) − 1)) */
  celu: { value: (x, a) => Math.max(x, 0) + Math.min(0, a * Math.expm1(x / a)), steepest: 1 },
  /** x where x > a, else 0 */
  threshold: { value: (x, a) => (x > a ? x : 0) },
  /** x + b below −a, x − b above a, between them 0 */
  shrink: { value: (x, a, b) => (x < -a ? x + b : x > a ? x - b : 0) },
  /** a·(x > 0 ? b·x … : …), ONNX' Selu: b·x above 0, b·(a·eˣ − a) below */
  selu: { value: (x, a, b) => (x > 0 ? b * x : b * a * Math.expm1(x)) },
  /** max(0, min(1, a·x + b)) */
  'hard-sigmoid': { value: (x, a, b) => Math.max(0, Math.min(1, a * x + b)) },
  /** x/(1 + e^(−a·x)) */
  swish: { value: (x, a) => x / (1 + Math.exp(-a * x)) },
} as const satisfies Record<string, Formula>;

export type UnaryFunction = keyof typeof FUNCTIONS;

export interface UnaryOperation extends Operation {
  readonly kind: 'unary';
  readonly of: UnaryFunction;
  readonly a: number;
  readonly b: number;
}

type Values = Float32Array | Float64Array;
type Loop = (x: Values, from: number, y: Values, to: number, size: number, a: number, b: number) => void;

/** The frequent ones written out, so that each is compiled as a loop of its own. */
const LOOPS: Partial<Record<UnaryFunction, Loop>> = {
  clip(x, from, y, to, size, a, b) {
    for (let i = 0; i < size; i++) {
      const value = x[from + i];
      y[to + i] = value < a ? a : value > b ? b : value;
    }
  },
  sqrt(x, from, y, to, size) {
    for (let i = 0; i < size; i++) y[to + i] = Math.sqrt(x[from + i]);
  },
  square(x, from, y, to, size) {
    for (let i = 0; i < size; i++) y[to + i] = x[from + i] * x[from + i];
  },
  reciprocal(x, from, y, to, size) {
    for (let i = 0; i < size; i++) y[to + i] = 1 / x[from + i];
  },
  neg(x, from, y, to, size) {
    for (let i = 0; i < size; i++) y[to + i] = -x[from + i];
  },
  exp(x, from, y, to, size) {
    for (let i = 0; i < size; i++) y[to + i] = Math.exp(x[from + i]);
  },
  log(x, from, y, to, size) {
    for (let i = 0; i < size; i++) y[to + i] = Math.log(x[from + i]);
  },
};

/** Reads a number; JSON has no infinite ones. */
const infinite = (text: string): number | undefined =>
  text === '∞' ? Number.POSITIVE_INFINITY : text === '-∞' ? Number.NEGATIVE_INFINITY : undefined;
const written = (value: number) => (value === Infinity ? '∞' : value === -Infinity ? '-∞' : value);

const plain: Plain<UnaryOperation> = {
  kind: 'unary',
  arity: 1,
  overwrites: [0],
  name: ({ of }) => of,
  shape: (_subject, _operation, [x]) => x,
  prepare({ of, a, b }, [shape]) {
    const { value } = FUNCTIONS[of] as Formula;
    const size = countOf(shape);
    const loop = a <= b ? LOOPS[of] : undefined;
    if (loop) return ([x], [from], y, to) => loop(x, from, y, to, size, a, b);
    return ([x], [from], y, to) => {
      for (let i = 0; i < size; i++) y[to + i] = value(x[from + i], a, b);
    };
  },
  read({ json: { of, a, b }, fail }) {
    if (typeof of !== 'string' || !Object.hasOwn(FUNCTIONS, of)) throw fail('a function of a number', of);
    const [low, high] = [a, b].map((value) => {
      const number = (typeof value === 'string' ? infinite(value) : undefined) ?? value;
      if (typeof number !== 'number') throw fail('a number', value);
      return number;
    });
    return { kind: 'unary', of: of as UnaryFunction, a: low, b: high };
  },
};

export const runUnary = /* @__PURE__ */ plainRunner(plain);

export const describeUnary = /* @__PURE__ */ plainDescription(plain, runUnary, {
  group: 'arithmetic',
  noun: 'a function',
  json: ({ of, a, b }) => ({ of, a: written(a), b: written(b) }),
  error([x], { of, a, b }) {
    const { value, steepest } = FUNCTIONS[of] as Formula;
    return x.error.map((e, i) => {
      const rounded = 4 * U * Math.abs(value(x.value[i], a, b));
      if (e === 0) return rounded;
      return steepest === undefined ? Number.POSITIVE_INFINITY : e * steepest * (1 + U) + rounded;
    });
  },
});
