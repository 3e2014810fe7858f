// Activations that a model writes as several nodes, in whatever order: told apart by their values,
// as a function of one number.

import type { OnnxNode } from '../formats/onnx.ts';
import {
  ACTIVATIONS,
  type ActivationName,
  activate,
  activationCode,
  FOREIGN,
  normalCdf,
} from '../kernels/activations.ts';
import { type Constants, sizeOf } from './onnx-constants.ts';
import type { Graph } from './onnx-graph.ts';

/**
 * Where functions are compared: near 0 and far from it, both sides of every corner that activations
 * have.
 */
const POINTS: readonly number[] = /* @__PURE__ */ (() => {
  const points: number[] = [0];
  for (let x = 0.037; x < 12; x += 0.0613) points.push(x, -x);
  for (let power = -20; power <= 40; power++) points.push(1.37 ** power, -(1.37 ** power));
  for (const corner of [1, 2.5, 3, 6]) points.push(corner - 1e-4, corner + 1e-4, 1e-4 - corner, -1e-4 - corner);
  return points;
})();

/**
 * Far below what separates the exact GELU from its approximation, far above what constants of 32
 * bits lose.
 */
const TOLERANCE = 1e-6;

/**
 * The activation that some nodes make of a value, times a factor; undefined where they make
 * something else of it.
 *
 * @param nodes in their order, the last one the last
 */
export function activationOfNodes(
  nodes: readonly OnnxNode[],
  value: string,
  { constants, shapes }: Pick<Graph, 'constants' | 'shapes'>,
): { activation: ActivationName; factor: number } | undefined {
  const known = new Map<string, readonly number[]>([[value, POINTS]]);
  const rank = shapes.get(value)?.length ?? 1;
  for (const node of nodes) {
    // a number with more axes than the value would give it those
    if (node.inputs.some((name) => (constants.get(name)?.shape.length ?? 0) > rank)) return undefined;
    const result = evaluate(node, known, constants);
    if (!result) return undefined;
    known.set(node.outputs[0], result);
  }
  const values = known.get(nodes.at(-1)!.outputs[0])!;
  for (const name of ACTIVATIONS) {
    const wanted = wantedOf(name);
    // by the value that is the largest of those near 1, where all activations have one
    const at = POINTS.indexOf(1.37 ** 2);
    const ratio = values[at] / wanted[at];
    const factor = Math.abs(ratio - Math.round(ratio)) < 1e-6 ? Math.round(ratio) : Math.fround(ratio);
    if (!(Math.abs(factor) > 1e-3 && Math.abs(factor) < 1e3)) continue;
    const fits = POINTS.every((x, i) => {
      const difference = Math.abs(values[i] - factor * wanted[i]);
      return difference <= TOLERANCE * Math.abs(factor) * Math.max(1, Math.abs(x));
    });
    if (fits) return { activation: name, factor };
  }
  return undefined;
}

/** Values of activations where functions are compared. */
const wantedValues = /* @__PURE__ */ new Map<ActivationName, readonly number[]>();

function wantedOf(name: ActivationName): readonly number[] {
  let values = wantedValues.get(name);
  if (!values) {
    const { kind, alpha } = activationCode('loadSequential', name);
    values = POINTS.map((x) => activate(kind, x, alpha));
    wantedValues.set(name, values);
  }
  return values;
}

const BINARY: Readonly<Record<string, (a: number, b: number) => number>> = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Mul: (a, b) => a * b,
  Div: (a, b) => a / b,
  Pow: (a, b) => a ** b,
  Min: Math.min,
  Max: Math.max,
};

const UNARY: Readonly<Record<string, (a: number) => number>> = {
  Identity: (a) => a,
  Neg: (a) => -a,
  Abs: Math.abs,
  Exp: Math.exp,
  Log: Math.log,
  Sqrt: Math.sqrt,
  Reciprocal: (a) => 1 / a,
  Erf: (a) => 2 * normalCdf(a * Math.SQRT2) - 1,
  Tanh: Math.tanh,
  Sigmoid: (a) => (a < 0 ? Math.exp(a) / (1 + Math.exp(a)) : 1 / (1 + Math.exp(-a))),
  Softplus: (a) => Math.max(a, 0) + Math.log1p(Math.exp(-Math.abs(a))),
  Relu: (a) => Math.max(a, 0),
};

/** Operators that are an activation by themselves. */
export const ONNX_ACTIVATIONS: readonly string[] = /* @__PURE__ */ Object.values(FOREIGN).flatMap(({ onnx }) =>
  onnx.length === 1 ? [onnx[0].op] : [],
);

/** Operators that take part in such functions. */
export const ELEMENTWISE: readonly string[] = /* @__PURE__ */ ['Clip', 'HardSigmoid'].concat(
  /* @__PURE__ */ Object.keys(BINARY),
  /* @__PURE__ */ Object.keys(UNARY),
);

/** A set of several lists, of which a bundle without it holds nothing. */
export function setOf(...lists: (readonly string[])[]): ReadonlySet<string> {
  return new Set(lists.flat());
}

function evaluate(
  { op, inputs, attributes, domain }: OnnxNode,
  known: ReadonlyMap<string, readonly number[]>,
  constants: Constants,
): readonly number[] | undefined {
  if (domain !== '') return undefined;
  const read = (name: string | undefined): readonly number[] | number | undefined => {
    if (name === undefined || name === '') return undefined;
    const constant = constants.get(name);
    if (!constant) return known.get(name);
    return sizeOf(constant.shape) === 1 ? constant.data[0] : undefined;
  };
  const number = (name: string, standard: number) => (attributes.get(name) as number | undefined) ?? standard;
  const [a, b] = [read(inputs[0]), read(inputs[1])];
  const at = (value: readonly number[] | number, i: number) => (typeof value === 'number' ? value : value[i]);
  if (a === undefined) return undefined;
  if (op === 'Clip') {
    const isOld = inputs.length === 1;
    const low = isOld ? number('min', Number.NEGATIVE_INFINITY) : inputs[1] ? b : Number.NEGATIVE_INFINITY;
    const high = isOld
      ? number('max', Number.POSITIVE_INFINITY)
      : inputs[2]
        ? read(inputs[2])
        : Number.POSITIVE_INFINITY;
    if (typeof low !== 'number' || typeof high !== 'number') return undefined;
    return POINTS.map((_, i) => Math.min(Math.max(at(a, i), low), high));
  }
  if (op === 'HardSigmoid') {
    const [alpha, beta] = [number('alpha', 0.2), number('beta', 0.5)];
    return POINTS.map((_, i) => Math.min(Math.max(alpha * at(a, i) + beta, 0), 1));
  }
  const one = Object.hasOwn(UNARY, op) ? UNARY[op] : undefined;
  if (one && inputs.length === 1) return POINTS.map((_, i) => one(at(a, i)));
  const two = Object.hasOwn(BINARY, op) ? BINARY[op] : undefined;
  if (!two || b === undefined || inputs.length !== 2) return undefined;
  return POINTS.map((_, i) => two(at(a, i), at(b, i)));
}
