// What in an ONNX graph is constant: initializers, and what nodes make of constants alone. Weights
// come as Constant nodes, behind Transpose, Cast, Reshape and the like, and as products of
// constants, as exporters like it. Everybody who reads a model asks here.

import { malformed } from '../errors.ts';
import { quote } from '../formats/bytes.ts';
import type { StoredTensor, Values } from '../formats/dtypes.ts';
import type { OnnxGraph, OnnxNode } from '../formats/onnx.ts';
import { TYPES } from '../formats/onnx-tensor.ts';
import { permute } from './axes.ts';

/** Lengths of axes; undefined for one that is not known. */
export type Shape = readonly (number | undefined)[];

export const sizeOf = (shape: readonly number[]) => shape.reduce((product, length) => product * length, 1);

/** The shape that two give together; undefined where they do not fit. */
export function broadcast(a: Shape, b: Shape): Shape | undefined {
  const rank = Math.max(a.length, b.length);
  const out: (number | undefined)[] = [];
  for (let i = 0; i < rank; i++) {
    const [one, two] = [a, b].map((shape) => (i < rank - shape.length ? 1 : shape[i - (rank - shape.length)]));
    if (one !== undefined && two !== undefined && one !== two && one !== 1 && two !== 1) return undefined;
    // beside a length above 1 the other can only be the same or 1
    out.push(one === 1 ? two : two === 1 ? one : (one ?? two));
  }
  return out;
}

/** A value that does not change. */
export interface Constant extends StoredTensor {
  /** The values as they are stored, where they are. */
  readonly bytes?: Uint8Array | undefined;
  /** Steps from what is stored: nothing is worked out through more of them than MOST_STEPS. */
  readonly steps?: number;
}

export type Constants = ReadonlyMap<string, Constant>;

/** No exporter has longer rows of nodes over constants. */
const MOST_STEPS = 32;

/**
 * Constants by the names under which nodes take them. Values are worked out when they are asked
 * for.
 */
export function constantsOf({ initializers, nodes }: Pick<OnnxGraph, 'initializers' | 'nodes'>): Constants {
  // most models have no others
  let made: Map<string, Constant> | undefined;
  // what is worked out, and may be kept, in values: no more than ten times what is stored
  let left = 10 * [...initializers.values()].reduce((sum, { shape }) => sum + sizeOf(shape), 1 << 16);
  for (const node of nodes) {
    if (node.domain !== '' || node.outputs.length !== 1) continue;
    const value = node.op === 'Constant' ? literalOf(node) : constantOf(node, made ?? initializers);
    if (!value) continue;
    if (node.op === 'Constant') left += 10 * sizeOf(value.shape);
    else if (value.steps) left -= sizeOf(value.shape);
    if (left < 0 || (value.steps ?? 0) > MOST_STEPS) continue;
    made ??= new Map<string, Constant>(initializers);
    made.set(node.outputs[0], value);
  }
  return made ?? initializers;
}

/**
 * How many values may be taken out of a model: some times as many as its bytes could hold. One that
 * names the same weights in thousands of nodes would else become gigabytes.
 */
export class Allowance {
  #left: number;

  constructor(size: number) {
    this.#left = Math.max(2 * size, 4e6);
  }

  take(name: string, { shape }: StoredTensor): void {
    this.#left -= sizeOf(shape);
    if (this.#left < 0)
      throw malformed(
        'ONNX',
        'model',
        'weights of few times its size',
        `more: ${quote(name)} is used time after time`,
        0,
      );
  }
}

/** The value of a Constant node; undefined for texts and sparse ones. */
export function literalOf({ attributes }: OnnxNode): Constant | undefined {
  for (const [name, dtype] of [
    ['value_float', 'F32'],
    ['value_floats', 'F32'],
    ['value_int', 'I64'],
    ['value_ints', 'I64'],
  ]) {
    const value = attributes.get(name);
    if (value === undefined) continue;
    const list = [value as number | readonly number[]].flat();
    return {
      dtype,
      shape: Array.isArray(value) ? [list.length] : [],
      data: dtype === 'F32' ? Float32Array.from(list) : Float64Array.from(list),
    };
  }
  const value = attributes.get('value');
  return typeof value === 'object' && value !== null && 'dtype' in value ? value : undefined;
}

function constantOf(node: OnnxNode, constants: Constants): Constant | undefined {
  const given = node.inputs.map((name) => (name === '' ? undefined : constants.get(name)));
  const [first] = given;
  if (!first || node.inputs.some((name, i) => name !== '' && !given[i])) return undefined;
  switch (node.op) {
    case 'Identity':
      return first;
    case 'Cast':
      return castOf(node, first);
    case 'Transpose':
      return transposed(node, first);
    case 'Reshape':
    case 'Flatten':
    case 'Squeeze':
    case 'Unsqueeze': {
      const shape = shapeAfter(node, first.shape, given[1]);
      return shape && derived(first.dtype, shape, [first], () => first.data, first.bytes);
    }
    default:
      return arithmetic(node, given);
  }
}

/** A constant worked out of others. */
function derived(
  dtype: string,
  shape: readonly number[],
  from: readonly Constant[],
  work: () => Values,
  bytes?: Uint8Array,
): Constant {
  const steps = 1 + from.reduce((most, { steps: before = 0 }) => Math.max(most, before), 0);
  return {
    dtype,
    shape,
    steps,
    bytes,
    get data() {
      return work();
    },
  };
}

const FLOATS = ['F16', 'BF16', 'F32', 'F64'];
const WHOLE: Readonly<Record<string, readonly [number, number]>> = {
  I64: [-(2 ** 53), 2 ** 53],
  I32: [-(2 ** 31), 2 ** 31 - 1],
};

function castOf({ attributes }: OnnxNode, from: Constant): Constant | undefined {
  const to = TYPES[attributes.get('to') as number];
  if (to === from.dtype) return from;
  // to a type that is at least as wide nothing happens to a value
  const widens = FLOATS.includes(from.dtype) && (to === 'F32' || to === 'F64') && from.dtype !== 'F64';
  const fromWhole = /^[IU]/.test(from.dtype) || from.dtype === 'BOOL';
  if (!widens && !(from.dtype === 'F64' && to === 'F32') && !(fromWhole && (to in WHOLE || to === 'F32'))) {
    return undefined;
  }
  return derived(to, from.shape, [from], () => {
    const { data } = from;
    return to === 'F32' ? Float32Array.from(data) : Float64Array.from(data);
  });
}

function transposed({ attributes }: OnnxNode, from: Constant): Constant | undefined {
  const rank = from.shape.length;
  const order = (attributes.get('perm') as readonly number[] | undefined) ?? from.shape.map((_, i) => rank - 1 - i);
  if (!Array.isArray(order) || [...order].sort((a, b) => a - b).some((axis, i) => axis !== i)) return undefined;
  if (order.length !== rank) return undefined;
  const shape = order.map((axis) => from.shape[axis]);
  return derived(from.dtype, shape, [from], () => permute(from.data, from.shape, order).data);
}

/** Whole numbers that a node takes as an attribute or, in later versions, as an input. */
export function wholesOf(given: unknown): readonly number[] | undefined {
  if (given === undefined) return undefined;
  const list = Array.isArray(given) ? given : typeof given === 'number' ? [given] : undefined;
  if (list) return list;
  const { dtype, shape } = given as Constant;
  if (!/^[IU]/.test(dtype) || sizeOf(shape) > 64) return undefined;
  return [...(given as Constant).data];
}

/** The shape that a node gives the same values; undefined where it is not known or cannot be. */
export function shapeAfter(
  { op, attributes }: Pick<OnnxNode, 'op' | 'attributes'>,
  shape: readonly number[],
  input: Constant | undefined,
): readonly number[] | undefined {
  const rank = shape.length;
  const place = (axis: number, axes: number) => (axis < 0 ? axis + axes : axis);
  if (op === 'Flatten') {
    const axis = place((attributes.get('axis') as number | undefined) ?? 1, rank);
    if (!(axis >= 0 && axis <= rank)) return undefined;
    return [sizeOf(shape.slice(0, axis)), sizeOf(shape.slice(axis))];
  }
  if (op === 'Reshape') {
    const wanted = wholesOf(attributes.get('shape') ?? input);
    if (!wanted) return undefined;
    const keepsZero = attributes.get('allowzero') === 1;
    const to = wanted.map((length, i) => (length === 0 && !keepsZero ? (shape[i] ?? 0) : length));
    const known = to.reduce((product, length) => product * (length === -1 ? 1 : length), 1);
    const filled = to.map((length) => (length === -1 ? sizeOf(shape) / known : length));
    const fits = filled.every((length) => Number.isSafeInteger(length) && length >= 0);
    return fits && to.filter((length) => length === -1).length < 2 && sizeOf(filled) === sizeOf(shape)
      ? filled
      : undefined;
  }
  const axes = wholesOf(attributes.get('axes') ?? input);
  if (op === 'Squeeze') {
    const gone = axes?.map((axis) => place(axis, rank)) ?? [...shape.keys()].filter((axis) => shape[axis] === 1);
    if (gone.some((axis) => shape[axis] !== 1)) return undefined;
    return shape.filter((_, axis) => !gone.includes(axis));
  }
  if (!axes) return undefined;
  const added = axes.map((axis) => place(axis, rank + axes.length));
  if (new Set(added).size !== added.length || added.some((axis) => !(axis >= 0 && axis < rank + axes.length)))
    return undefined;
  const left = [...shape];
  return Array.from({ length: rank + axes.length }, (_, axis) => (added.includes(axis) ? 1 : left.shift()!));
}

const BINARY: Readonly<Record<string, (a: number, b: number) => number>> = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Mul: (a, b) => a * b,
  Div: (a, b) => a / b,
};
const UNARY: Readonly<Record<string, (a: number) => number>> = {
  Neg: (a) => -a,
  Sqrt: Math.sqrt,
  Reciprocal: (a) => 1 / a,
};

/** Sums and products of floats, rounded to their type at each node as running the model would. */
function arithmetic({ op }: OnnxNode, given: readonly (Constant | undefined)[]): Constant | undefined {
  const [a, b] = given;
  if (!a || !['F32', 'F64'].includes(a.dtype)) return undefined;
  const one = Object.hasOwn(UNARY, op) ? UNARY[op] : undefined;
  const two = Object.hasOwn(BINARY, op) ? BINARY[op] : undefined;
  if (given.length === 1 && one) {
    return kept(a.dtype, a.shape, [a], () => map(a.dtype, sizeOf(a.shape), a.data, (values, i) => one(values[i])));
  }
  if (given.length !== 2 || !b || !two || b.dtype !== a.dtype) return undefined;
  const shape = broadcast(a.shape, b.shape) as readonly number[] | undefined;
  // a column and a row would make a table
  if (!shape || sizeOf(shape) > Math.max(sizeOf(a.shape), sizeOf(b.shape))) return undefined;
  return kept(a.dtype, shape, [a, b], () => {
    const [fromA, fromB] = [placesOf(a.shape, shape), placesOf(b.shape, shape)];
    const other = b.data;
    return map(a.dtype, sizeOf(shape), a.data, (values, i) => two(values[fromA(i)], other[fromB(i)]));
  });
}

function map(dtype: string, count: number, values: Values, value: (values: Values, i: number) => number): Values {
  const out = dtype === 'F32' ? new Float32Array(count) : new Float64Array(count);
  for (let i = 0; i < count; i++) out[i] = value(values, i);
  return out;
}

/** Worked out once: rows of sums that name a value twice would double the work at each step. */
function kept(dtype: string, shape: readonly number[], from: readonly Constant[], work: () => Values): Constant {
  let values: Values | undefined;
  return derived(dtype, shape, from, () => {
    values ??= work();
    return values.slice() as Values;
  });
}

/** Where in a tensor the value for a place of a broader one lies. */
export function placesOf(shape: readonly number[], to: readonly number[]): (index: number) => number {
  if (sizeOf(shape) === 1) return () => 0;
  if (sizeOf(shape) === sizeOf(to)) return (index) => index;
  const lengths = [...Array<number>(to.length - shape.length).fill(1), ...shape];
  const strides = lengths.map((length, i) => (length === 1 ? 0 : sizeOf(lengths.slice(i + 1))));
  return (index) => {
    let rest = index;
    let place = 0;
    for (let axis = to.length - 1; axis >= 0; axis--) {
      place += (rest % to[axis]) * strides[axis];
      rest = Math.floor(rest / to[axis]);
    }
    return place;
  };
}
