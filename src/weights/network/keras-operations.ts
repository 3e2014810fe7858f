// Operations between layers: those of Keras 3 by name, and TensorFlow's, which Keras 2 wraps in
// TFOpLambda and SlicingOpLambda.

import type { Json } from '../../formats/json.ts';
import { ActivationLayer } from '../../nn/activations.ts';
import type { KerasEntry } from '../keras-model.ts';
import { broadcastDims, type Flow } from './draft.ts';
import { activated, negative } from './keras-activations.ts';
import type { KerasCall, KerasConverter, Operand } from './keras-call.ts';
import { binary, matmul, reduce, scalar, transpose, unary } from './onnx-layers.ts';
import { expanded, shaped, sliced } from './onnx-shapes.ts';
import type { Sym } from './terms.ts';

/** An operation with its arguments, by place or by name. */
class Arguments {
  readonly call: KerasCall;

  constructor(call: KerasCall) {
    this.call = call;
  }

  /** What was given at a place, or under one of some names, or in the operation's settings. */
  at(place: number, ...names: string[]): Operand | undefined {
    const { given, named, config } = this.call;
    if (place < given.length) return given[place];
    const name = names.find((one) => named[one] !== undefined);
    if (name !== undefined) return named[name];
    const setting = names.find((one) => config[one] !== undefined);
    return setting === undefined ? undefined : { constant: config[setting] };
  }

  /** A value: one of the network, or a number. */
  flow(place: number, ...names: string[]): Flow {
    const found = this.at(place, ...names);
    if (found && 'flow' in found) return found.flow;
    const value = constantOf(found);
    if (typeof value === 'number') return scalar(this.call, value);
    if (Array.isArray(value) && value.every((one) => typeof one === 'number')) {
      return this.call.constant(Float32Array.from(value as number[]), [value.length]);
    }
    throw this.call.fail(`a value or a number as ${names[0]}`, describe(found));
  }

  /** All values of a list, or of what was given one by one. */
  flows(...names: string[]): readonly Flow[] {
    const found = this.at(0, ...names);
    if (found && 'list' in found) {
      return found.list.map((one) => {
        if ('flow' in one) return one.flow;
        throw this.call.fail('values of the network', describe(one));
      });
    }
    return this.call.inputs;
  }

  number(place: number, standard: number, ...names: string[]): number {
    const value = constantOf(this.at(place, ...names)) ?? standard;
    if (typeof value === 'number') return value;
    throw this.call.fail(`a number as ${names[0]}`, describe({ constant: value }));
  }

  /** Whole numbers, one or a list; undefined where none are given. */
  wholes(place: number, ...names: string[]): number[] | undefined {
    const value = constantOf(this.at(place, ...names)) ?? null;
    if (value === null) return undefined;
    const list = Array.isArray(value) ? value : [value];
    if (list.every((one) => Number.isSafeInteger(one))) return list as number[];
    throw this.call.fail(`whole numbers as ${names[0]}`, describe({ constant: value }));
  }

  flag(place: number, ...names: string[]): boolean {
    const value = constantOf(this.at(place, ...names)) ?? false;
    if (typeof value === 'boolean') return value;
    throw this.call.fail(`true or false as ${names[0]}`, describe({ constant: value }));
  }
}

/** A constant, with lists of them; undefined for values of the network. */
function constantOf(operand: Operand | undefined): Json | undefined {
  if (!operand || 'flow' in operand || 'record' in operand) return undefined;
  if ('constant' in operand) return operand.constant;
  const list = operand.list.map(constantOf);
  return list.every((one) => one !== undefined) ? (list as Json[]) : undefined;
}

const describe = (operand: Operand | undefined) =>
  !operand ? 'none' : 'constant' in operand ? JSON.stringify(operand.constant).slice(0, 80) : 'a value of the network';

type Make = (args: Arguments) => Flow;

const X = ['x1', 'x', 'a', 'inputs'] as const;
const Y = ['x2', 'y', 'b'] as const;
const AXIS = ['axis', 'axes', 'dim'] as const;

const two =
  (join: (call: KerasCall, a: Flow, b: Flow) => Flow): Make =>
  (args) => {
    const { call } = args;
    const count = call.given.length;
    if (count > 2) throw call.fail('two values', `${count}`);
    return join(call, args.flow(0, ...X), args.flow(1, ...Y));
  };
const function1 =
  (of: string): Make =>
  (args) =>
    unary(args.call, args.flow(0, ...X), of);
const curve =
  (name: string): Make =>
  (args) =>
    activated(args.call, args.flow(0, ...X, 'features', 'logits', 'value'), name);

const truthOf = (call: KerasCall, x: Flow) => (x.dtype === 'BOOL' ? x : unary(call, x, 'truth', 0, 0, 'BOOL'));
const comparison = (of: string): Make => two((call, a, b) => binary(call, of, a, b, 'BOOL'));
const like =
  (value: number): Make =>
  (args) =>
    expanded(args.call, scalar(args.call, value), args.flow(0, ...X, 'input').dims);

function reduction(of: string, from: (call: KerasCall, x: Flow) => Flow = (_, x) => x): Make {
  return (args) => {
    const x = from(args.call, args.flow(0, ...X, 'input_tensor'));
    const given = args.wholes(1, ...AXIS);
    const axes = given?.map((one) => args.call.axisOf(one, x.shape.length)).sort((a, b) => a - b) ?? null;
    return reduce(args.call, x, of, axes, args.flag(2, 'keepdims', 'keep_dims'));
  };
}

const divide: Make = (args) => {
  const [a, b] = [args.flow(0, ...X), args.flow(1, ...Y)];
  const by = b.known && !a.known && b.known.data.length === 1 ? b.known.data[0] : 0;
  return by ? args.call.draft.multiply(a, scalar(args.call, 1 / by)) : binary(args.call, 'div', a, b);
};

const reshaping: Make = (args) => {
  const x = args.flow(0, ...X, 'tensor');
  const lengths = args.wholes(1, 'newshape', 'shape');
  if (
    !lengths?.length ||
    lengths.some((one) => one < -1 || one === 0) ||
    lengths.filter((one) => one === -1).length > 1
  )
    throw args.call.fail('lengths of 1 or more, one of them -1, as shape', `[${lengths}]`);
  // -1 at the batch stands for it
  const isBatch = lengths[0] === -1 && lengths.length > 1 && !lengths.slice(1).includes(-1);
  const rest = x.shape.slice(1).reduce((a, b) => a * b, 1);
  const own = lengths.slice(1).reduce((a, b) => a * b, 1);
  return shaped(args.call, x, isBatch && rest === own ? [x.dims[0], ...lengths.slice(1)] : lengths);
};

const transposing: Make = (args) => {
  const x = args.flow(0, ...X);
  const rank = x.shape.length;
  const order = (args.wholes(1, 'axes', 'perm') ?? x.shape.map((_, i) => rank - 1 - i)).map((one) =>
    args.call.axisOf(one, rank),
  );
  if (new Set(order).size !== rank) throw args.call.fail(`${rank} axes, each once`, `[${order}]`);
  return transpose(args.call, x, order);
};

const expanding: Make = (args) => {
  const x = args.flow(0, ...X, 'input');
  const rank = x.shape.length + 1;
  const [axis] = (args.wholes(1, ...AXIS) ?? [0]).map((one) => args.call.axisOf(one, rank));
  return shaped(args.call, x, [...x.dims.slice(0, axis), 1, ...x.dims.slice(axis)]);
};

const squeezing: Make = (args) => {
  const x = args.flow(0, ...X, 'input');
  const given = args.wholes(1, ...AXIS)?.map((one) => args.call.axisOf(one, x.shape.length));
  const axes = given ?? x.shape.flatMap((length, i) => (length === 1 ? [i] : []));
  if (axes.some((axis) => x.shape[axis] !== 1)) throw args.call.fail('axes of length 1', `[${axes}]`);
  return shaped(
    args.call,
    x,
    x.dims.filter((_, i) => !axes.includes(i)),
  );
};

const joining: Make = (args) => {
  const flows = args.flows('xs', 'values', 'inputs');
  const axis = args.number(1, -1, 'axis');
  return args.call.draft.concat(flows, args.call.axisOf(axis, flows[0].shape.length));
};

const clipping: Make = (args) => {
  const x = args.flow(0, ...X, 't');
  const low = args.number(1, Number.NEGATIVE_INFINITY, 'x_min', 'clip_value_min');
  const high = args.number(2, Number.POSITIVE_INFINITY, 'x_max', 'clip_value_max');
  return unary(args.call, x, 'clip', low, high);
};

const relu: Make = (args) => {
  const x = args.flow(0, ...X, 'features');
  const slope = args.number(1, 0, 'negative_slope', 'alpha');
  const layer = slope ? new ActivationLayer({ name: 'leaky-relu', slope }) : new ActivationLayer('relu');
  return args.call.draft.keep(layer, x, args.call.name);
};

/** Python's slices: `x[:, 1:3, ..., 0]`. */
const slicing: Make = (args) => {
  const { call } = args;
  const x = args.flow(0, ...X);
  const keys = keysOf(args.at(1, 'key', 'slice_spec'));
  if (!keys) throw call.fail('slices, whole numbers or … as the key', 'others');
  const rank = x.shape.length;
  const hidden = keys.indexOf('...');
  const count = keys.filter((key) => key !== '...' && key !== null).length;
  if (count > rank) throw call.fail(`at most ${rank} slices`, `${count}`);
  const whole: Slice = { start: null, stop: null, step: null };
  const filler = new Array<Slice>(rank - count).fill(whole);
  const all = hidden < 0 ? [...keys, ...filler] : [...keys.slice(0, hidden), ...filler, ...keys.slice(hidden + 1)];
  const cuts: { axis: number; start: Sym; end: Sym; step: number }[] = [];
  const dims: (Sym | undefined)[] = [];
  let axis = 0;
  for (const key of all) {
    if (key === null || key === '...') {
      dims.push(1);
      continue;
    }
    if (typeof key === 'number') cuts.push({ axis, start: key, end: key === -1 ? 2 ** 31 - 1 : key + 1, step: 1 });
    else {
      const step = key.step ?? 1;
      if (step === 0) throw call.fail('steps other than 0', '0');
      const [first, last] = step > 0 ? [0, 2 ** 31 - 1] : [-1, -(2 ** 31) + 1];
      const isWhole = key.start === null && key.stop === null && step === 1;
      if (!isWhole) cuts.push({ axis, start: key.start ?? first, end: key.stop ?? last, step });
      dims.push(isWhole ? x.dims[axis] : undefined);
    }
    axis++;
  }
  const y = cuts.length ? sliced(call, x, cuts) : x;
  if (
    dims.length === rank &&
    dims.every((dim) => dim !== 1 || rank === 0) &&
    all.every((key) => typeof key !== 'number')
  )
    return y;
  // axes of numbers go, axes of None come
  const left: Sym[] = [];
  let from = 0;
  for (const key of all) {
    if (key === null || key === '...') left.push(1);
    else if (typeof key === 'number') from++;
    else left.push(y.dims[from++]);
  }
  return shaped(call, y, left);
};

interface Slice {
  readonly start: number | null;
  readonly stop: number | null;
  readonly step: number | null;
}
type Key = Slice | number | '...' | null;

function keysOf(operand: Operand | undefined): Key[] | undefined {
  if (!operand) return undefined;
  const isList = 'constant' in operand && Array.isArray(operand.constant);
  const constants = isList ? (operand.constant as Json[]).map((constant) => ({ constant })) : undefined;
  const list: readonly Operand[] = constants ?? ('list' in operand ? operand.list : [operand]);
  const keys = list.map(keyOf);
  return keys.every((key) => key !== undefined) ? (keys as Key[]) : undefined;
}

function keyOf(operand: Operand): Key | undefined {
  if ('record' in operand) {
    const [start, stop, step] = ['start', 'stop', 'step'].map((name) => constantOf(operand.record[name]) ?? null);
    return sliceOf(start, stop, step);
  }
  if (!('constant' in operand)) return undefined;
  const { constant } = operand;
  if (constant === null || Number.isSafeInteger(constant)) return constant as number | null;
  const record = constant as { class_name?: unknown; config?: unknown; start?: Json; stop?: Json; step?: Json };
  if (record.class_name === '__ellipsis__') return '...';
  if (record.class_name === '__slice__') {
    const config = record.config as { start?: Json; stop?: Json; step?: Json } | undefined;
    return sliceOf(config?.start ?? null, config?.stop ?? null, config?.step ?? null);
  }
  if (typeof constant !== 'object') return undefined;
  const { start = null, stop = null, step = null, ...others } = record;
  return Object.keys(others).length ? undefined : sliceOf(start, stop, step);
}

function sliceOf(start: Json, stop: Json, step: Json): Slice | undefined {
  const isPart = (one: Json): one is number | null => one === null || Number.isSafeInteger(one);
  return isPart(start) && isPart(stop) && isPart(step) ? { start, stop, step } : undefined;
}

const l2: Make = (args) => {
  const x = args.flow(0, ...X);
  const axes = (args.wholes(1, ...AXIS) ?? [-1]).map((one) => args.call.axisOf(one, x.shape.length));
  const sum = reduce(
    args.call,
    unary(args.call, x, 'square'),
    'sum',
    axes.sort((a, b) => a - b),
    true,
  );
  const least = args.number(2, 1e-12, 'epsilon');
  return binary(args.call, 'div', x, unary(args.call, binary(args.call, 'max', sum, scalar(args.call, least)), 'sqrt'));
};

const softmax: Make = (args) => {
  const x = args.flow(0, ...X, 'logits');
  if (args.call.axisOf(args.number(1, -1, 'axis'), x.shape.length) === x.shape.length - 1) {
    return activated(args.call, x, 'softmax');
  }
  throw args.call.fail('the last axis', 'another');
};

const OPERATIONS = (): Readonly<Record<string, Make>> => ({
  add: two((call, a, b) => call.draft.add(a, b)),
  subtract: two((call, a, b) => call.draft.add(a, negative(call, b))),
  multiply: two((call, a, b) => call.draft.multiply(a, b)),
  divide,
  true_divide: divide,
  power: two((call, a, b) => binary(call, 'pow', a, b)),
  maximum: two((call, a, b) => binary(call, 'max', a, b)),
  minimum: two((call, a, b) => binary(call, 'min', a, b)),
  matmul: two((call, a, b) => matmul(call, a, b)),
  negative: (args) => negative(args.call, args.flow(0, ...X)),
  abs: function1('abs'),
  absolute: function1('abs'),
  sqrt: function1('sqrt'),
  rsqrt: (args) => unary(args.call, unary(args.call, args.flow(0, ...X), 'sqrt'), 'reciprocal'),
  square: function1('square'),
  exp: function1('exp'),
  log: function1('log'),
  mean: reduction('mean'),
  sum: reduction('sum'),
  max: reduction('max'),
  min: reduction('min'),
  reshape: reshaping,
  transpose: transposing,
  expand_dims: expanding,
  squeeze: squeezing,
  concatenate: joining,
  clip: clipping,
  get_item: slicing,
  relu,
  leaky_relu: relu,
  relu6: curve('relu6'),
  sigmoid: curve('sigmoid'),
  tanh: curve('tanh'),
  silu: curve('silu'),
  swish: curve('silu'),
  softplus: curve('softplus'),
  elu: curve('elu'),
  selu: curve('selu'),
  hard_sigmoid: curve('hard_sigmoid'),
  hard_silu: curve('hard_silu'),
  hard_swish: curve('hard_silu'),
  gelu: (args) => {
    // ops.gelu is the approximation unless told, tf.nn.gelu the exact one
    const standard = args.call.kind !== 'tf_op_lambda';
    const value = constantOf(args.at(1, 'approximate')) ?? standard;
    return activated(args.call, args.flow(0, ...X, 'features'), value === true ? 'gelu_new' : 'gelu');
  },
  softmax,
  l2_normalize: l2,
  identity: (args) => args.flow(0, ...X, 'input'),
  cast: (args) => {
    const type = constantOf(args.at(1, 'dtype'));
    const x = args.flow(0, ...X);
    if (type === 'bool') return truthOf(args.call, x);
    return typeof type === 'string' && /int/.test(type) ? unary(args.call, x, 'trunc') : x;
  },
  equal: comparison('equal'),
  not_equal: two((call, a, b) => unary(call, binary(call, 'equal', a, b, 'BOOL'), 'not')),
  less: comparison('less'),
  less_equal: comparison('less-equal'),
  greater: comparison('greater'),
  greater_equal: comparison('greater-equal'),
  logical_and: comparison('and'),
  logical_or: comparison('or'),
  logical_xor: comparison('xor'),
  logical_not: (args) => unary(args.call, args.flow(0, ...X), 'not', 0, 0, 'BOOL'),
  any: reduction('max', truthOf),
  all: reduction('min', truthOf),
  where: (args) => {
    const inputs = [args.flow(0, 'condition'), args.flow(1, 'x1', 'x'), args.flow(2, 'x2', 'y')];
    return args.call.draft.operate({ kind: 'where' }, inputs, broadcastDims(inputs), inputs[1].dtype);
  },
  zeros_like: like(0),
  ones_like: like(1),
});

/** TensorFlow's functions by the names that Keras 2 writes. */
const TENSORFLOW: Readonly<Record<string, string>> = {
  '__operators__.add': 'add',
  '__operators__.getitem': 'get_item',
  'math.add': 'add',
  'math.subtract': 'subtract',
  'math.multiply': 'multiply',
  'math.truediv': 'divide',
  'math.divide': 'divide',
  'math.pow': 'power',
  'math.maximum': 'maximum',
  'math.minimum': 'minimum',
  'math.negative': 'negative',
  'math.abs': 'abs',
  'math.sqrt': 'sqrt',
  'math.rsqrt': 'rsqrt',
  'math.square': 'square',
  'math.exp': 'exp',
  'math.log': 'log',
  'math.reduce_mean': 'mean',
  'math.reduce_sum': 'sum',
  'math.reduce_max': 'max',
  'math.reduce_min': 'min',
  'math.reduce_any': 'any',
  'math.reduce_all': 'all',
  'math.equal': 'equal',
  'math.not_equal': 'not_equal',
  'math.less': 'less',
  'math.less_equal': 'less_equal',
  'math.greater': 'greater',
  'math.greater_equal': 'greater_equal',
  'math.logical_and': 'logical_and',
  'math.logical_or': 'logical_or',
  'math.logical_xor': 'logical_xor',
  'math.logical_not': 'logical_not',
  'math.sigmoid': 'sigmoid',
  'math.tanh': 'tanh',
  'math.softplus': 'softplus',
  'math.l2_normalize': 'l2_normalize',
  'linalg.matmul': 'matmul',
  'linalg.l2_normalize': 'l2_normalize',
  'nn.relu': 'relu',
  'nn.relu6': 'relu6',
  'nn.leaky_relu': 'leaky_relu',
  'nn.sigmoid': 'sigmoid',
  'nn.tanh': 'tanh',
  'nn.silu': 'silu',
  'nn.swish': 'silu',
  'nn.elu': 'elu',
  'nn.selu': 'selu',
  'nn.gelu': 'gelu',
  'nn.softmax': 'softmax',
  'nn.softplus': 'softplus',
  'nn.l2_normalize': 'l2_normalize',
  reshape: 'reshape',
  transpose: 'transpose',
  expand_dims: 'expand_dims',
  squeeze: 'squeeze',
  concat: 'concatenate',
  clip_by_value: 'clip',
  cast: 'cast',
  identity: 'identity',
  where: 'where',
  zeros_like: 'zeros_like',
  ones_like: 'ones_like',
};

let table: Readonly<Record<string, Make>> | undefined;
const operations = () => {
  table ??= OPERATIONS();
  return table;
};

const LAMBDAS = ['tf_op_lambda', 'slicing_op_lambda'];

function tensorflowOf(config: { readonly [key: string]: Json }): Make | undefined {
  const { function: name } = config;
  if (typeof name !== 'string') return undefined;
  const known = Object.hasOwn(TENSORFLOW, name) ? TENSORFLOW[name] : undefined;
  return known === undefined ? undefined : operations()[known];
}

/** Layers that take a list, and operations of the same name that take values one by one. */
const EITHER = ['add', 'subtract', 'multiply', 'maximum', 'minimum'];

/**
 * The kind of an operation of Keras 3; undefined for a layer. Older files of Keras 3 do not say
 * where a class lies.
 */
export function operationKind(
  kind: string,
  { module, config, nodes }: Pick<KerasEntry, 'module' | 'config' | 'nodes'>,
  isLayer: boolean,
): string | undefined {
  const isSaid = module !== undefined && /^keras\.(?:src\.)?ops\b/.test(module);
  const isApart =
    EITHER.includes(kind) &&
    nodes.some(({ args, isNew }) => isNew && (args.length > 1 || (args[0] && 'constant' in args[0])));
  const isShape = kind === 'reshape' && config.target_shape === undefined && config.newshape !== undefined;
  const isOnly = !isLayer && Object.hasOwn(operations(), kind);
  return isSaid || isApart || isShape || isOnly ? `operation ${kind}` : undefined;
}

/** What of an operation there is not here; undefined for a layer, which is no operation. */
export function missingOperation(kind: string, config: { readonly [key: string]: Json }): string[] | undefined {
  if (LAMBDAS.includes(kind)) return tensorflowOf(config) ? [] : [`tf.${config.function}`];
  if (!kind.startsWith('operation ')) return undefined;
  const name = kind.slice('operation '.length);
  return Object.hasOwn(operations(), name) ? [] : [kind];
}

const lambda: KerasConverter = (call) => {
  const make = tensorflowOf(call.config);
  if (!make) throw call.fail('a function that there is here', `tf.${call.config.function}`);
  return make(new Arguments(call));
};

export const kerasOperations = (): Readonly<Record<string, KerasConverter>> => ({
  tf_op_lambda: lambda,
  slicing_op_lambda: lambda,
  ...Object.fromEntries(
    Object.entries(operations()).map(([name, make]) => [
      `operation ${name}`,
      (call: KerasCall) => make(new Arguments(call)),
    ]),
  ),
});
