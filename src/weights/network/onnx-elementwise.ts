// Activations, functions of one value, arithmetic of several.

import { TYPES } from '../../formats/onnx-tensor.ts';
import type { Operation as GraphOperation } from '../../graph/operation.ts';
import type { Activation } from '../../kernels/activations.ts';
import { ActivationLayer } from '../../nn/activations.ts';
import { HardSigmoid, HardTanh, SELU, Softsign } from '../../nn/curves.ts';
import { PReLU } from '../../nn/prelu.ts';
import { LogSoftmax, Softmax } from '../../nn/softmax.ts';
import { countOf } from '../../tensors/shape.ts';
import { broadcastDims, type Flow } from './draft.ts';
import { type Call, type Converter, isWholeType } from './onnx-call.ts';
import { binary, floats, reduce, reshaped, scalar, unary } from './onnx-layers.ts';
import { productOf, type Sym } from './terms.ts';

const activation =
  (name: Activation | ((call: Call) => Activation)): Converter =>
  (call) => {
    const x = call.flow(0);
    return call.draft.keep(new ActivationLayer(typeof name === 'function' ? name(call) : name), x, call.name);
  };

const LARGEST = 3.4028234663852886e38;

/** min(max(x, low), high) as the layer that does it. */
function clamp(call: Call, x: Flow, low: number, high: number): Flow {
  const [hasLow, hasHigh] = [low > -LARGEST, high < LARGEST];
  if (!hasLow && !hasHigh) return x;
  if (low === 0 && high === 6) return call.draft.keep(new ActivationLayer('relu6'), x, call.name);
  if (low === 0 && !hasHigh) return call.draft.keep(new ActivationLayer('relu'), x, call.name);
  if (hasLow && hasHigh && low < high && !isWholeType(x.dtype))
    return call.draft.keep(new HardTanh(low, high), x, call.name);
  return unary(call, x, 'clip', hasLow ? low : -Infinity, hasHigh ? high : Infinity);
}

const clip: Converter = (call) => {
  const x = call.flow(0);
  const isOld = call.opset < 11;
  const bound = (index: number, name: string, standard: number): number | Flow => {
    if (isOld) return call.number(name, standard);
    if (!call.has(index)) return standard;
    const known = call.known(index);
    if (!known) return call.flow(index);
    if (countOf(known.shape) !== 1) throw call.fail(`one number as ${name}`, `shape [${known.shape.join(', ')}]`);
    return known.data[0];
  };
  const [low, high] = [bound(1, 'min', -Infinity), bound(2, 'max', Infinity)];
  if (typeof low === 'number' && typeof high === 'number') {
    if (Number.isNaN(low) || Number.isNaN(high)) throw call.fail('numbers as bounds', 'NaN');
    return clamp(call, x, low, high);
  }
  const flowOf = (given: number | Flow) => (typeof given === 'number' ? scalar(call, given) : given);
  let y = x;
  if (low !== -Infinity) y = binary(call, 'max', y, flowOf(low));
  if (high !== Infinity) y = binary(call, 'min', y, flowOf(high));
  return y;
};

const hardSigmoid: Converter = (call) => {
  const x = call.flow(0);
  const [alpha, beta] = [call.number('alpha', 0.2), call.number('beta', 0.5)];
  if (beta !== 0.5) return unary(call, x, 'hard-sigmoid', alpha, beta);
  const isSixth = Math.abs(alpha - 1 / 6) < 1e-7;
  return call.draft.keep(
    isSixth ? new ActivationLayer('hard-sigmoid') : new HardSigmoid({ slope: alpha }),
    x,
    call.name,
  );
};

const selu: Converter = (call) => {
  const x = call.flow(0);
  const [alpha, gamma] = [call.number('alpha', 1.6732632), call.number('gamma', 1.050701)];
  const isStandard = Math.abs(alpha - 1.6732632423543772) < 1e-6 && Math.abs(gamma - 1.0507009873554805) < 1e-6;
  return isStandard ? call.draft.keep(new SELU(), x, call.name) : unary(call, x, 'selu', alpha, gamma);
};

const prelu: Converter = (call) => {
  const x = call.flow(0);
  const slope = call.known(1);
  const rank = x.shape.length;
  if (!slope) return binary(call, 'prelu', x, call.flow(1));
  const size = countOf(slope.shape);
  const own = slope.shape;
  const place = own.findIndex((length) => length !== 1);
  const axis = place - own.length + rank;
  const isChannel = size > 1 && own[place] === size && axis === 1 && x.shape[1] === size && own.length <= rank;
  const isOne = size === 1 && own.length <= rank;
  if (!isChannel && !isOne) return binary(call, 'prelu', x, call.draft.constant(slope));
  const layer = new PReLU(size);
  layer.loadStateDict({ weight: { data: floats(slope.data), shape: [size] } });
  return call.draft.keep(layer, x, call.name);
};

function softmax(isLog: boolean): Converter {
  return (call) => {
    const x = call.flow(0);
    const rank = x.shape.length;
    const layer = (axis: number) => (isLog ? new LogSoftmax({ axis }) : new Softmax({ axis }));
    if (rank === 0) throw call.fail('x of rank 1 or more', 'rank 0');
    if (call.opset >= 13) return call.draft.keep(layer(call.axis(call.whole('axis', -1), rank)), x, call.name);
    // all axes from this one on are one
    const axis = call.axis(call.whole('axis', 1), Math.max(rank, 2));
    if (axis === rank - 1) return call.draft.keep(layer(axis), x, call.name);
    const flat = reshaped(call, x, [productOf(x.dims.slice(0, axis)), productOf(x.dims.slice(axis))]);
    return reshaped(call, call.draft.keep(layer(1), flat, call.name), x.dims);
  };
}

const hardmax: Converter = (call) => {
  const x = call.flow(0);
  const rank = x.shape.length;
  const mark = (flow: Flow, axis: number) => {
    const rest = { largest: true, last: false, gives: 'mark', keeps: true, count: 1 };
    return call.draft.operate({ kind: 'select', axis, ...rest } as GraphOperation, [flow], flow.dims);
  };
  if (call.opset >= 13) return mark(x, call.axis(call.whole('axis', -1), rank));
  const axis = call.axis(call.whole('axis', 1), Math.max(rank, 2));
  const flat = reshaped(call, x, [productOf(x.dims.slice(0, axis)), productOf(x.dims.slice(axis))]);
  return reshaped(call, mark(flat, 1), x.dims);
};

const one =
  (of: string, parameters: (call: Call) => [number?, number?] = () => [], dtype?: string): Converter =>
  (call) => {
    const x = call.flow(0);
    const [a = 0, b = 0] = parameters(call);
    return unary(call, x, of, a, b, dtype ?? x.dtype);
  };

/** Of whole numbers a quotient is one. */
const isWhole = (call: Call) => [0, 1].every((i) => isWholeType(call.flow(i).dtype));

/** A constant that is not 0 and finite, as its inverse. */
function inverse(call: Call, index: number): Flow | undefined {
  const known = call.known(index);
  if (!known || isWhole(call)) return undefined;
  const data = Float32Array.from(known.data, (value) => 1 / value);
  // an inverse that rounds is no worse than a quotient, but a power of two is exact
  if (!data.every((value) => Number.isFinite(value) && Math.abs(value) > 2 ** -120)) return undefined;
  return call.draft.constant({ dtype: known.dtype, shape: known.shape, data });
}

function several(of: 'max' | 'min' | 'sum' | 'mean'): Converter {
  return (call) => {
    let y = call.flow(0);
    for (let i = 1; i < call.count; i++) {
      const next = call.flow(i);
      y = of === 'sum' || of === 'mean' ? call.draft.add(y, next) : extreme(call, of, y, next);
    }
    return of === 'mean' ? call.draft.multiply(y, scalar(call, 1 / call.count)) : y;
  };
}

/** A bound by a number is a layer. */
function extreme(call: Call, of: 'max' | 'min', a: Flow, b: Flow): Flow {
  for (const [x, bound] of [
    [a, b],
    [b, a],
  ]) {
    const { known } = bound;
    if (!known || x.known || countOf(known.shape) !== 1 || known.shape.length > x.shape.length) continue;
    const value = known.data[0];
    if (Number.isNaN(value)) continue;
    return of === 'max' ? clamp(call, x, value, Infinity) : clamp(call, x, -Infinity, value);
  }
  return binary(call, of, a, b);
}

const pow: Converter = (call) => {
  const x = call.flow(0);
  const exponent = call.known(1);
  const isOne = exponent && countOf(exponent.shape) === 1 && exponent.shape.length <= x.shape.length;
  if (isOne && !isWholeType(x.dtype)) {
    const power = exponent.data[0];
    if (power === 2) return call.draft.multiply(x, x);
    if (power === 0.5) return unary(call, x, 'sqrt');
    if (power === 1) return x;
    if (power === -1) return unary(call, x, 'reciprocal');
  }
  const y = binary(call, 'pow', x, call.flow(1));
  // whole numbers stay whole
  return isWholeType(x.dtype) && !isWholeType(call.flow(1).dtype) ? unary(call, y, 'trunc') : y;
};

const compared =
  (of: string): Converter =>
  (call) =>
    binary(call, of, call.flow(0), call.flow(1), 'BOOL');

const lrn: Converter = (call) => {
  const x = call.flow(0);
  const size = call.whole('size', 0, 1, 2 ** 20);
  const [alpha, beta, bias] = [call.number('alpha', 1e-4), call.number('beta', 0.75), call.number('bias', 1)];
  if (x.shape.length < 3) throw call.fail('x of rank 3 or more', `rank ${x.shape.length}`);
  // windows over channels: as an image of one plane for each sample
  const image = reshaped(call, unary(call, x, 'square'), [x.dims[0], 1, x.dims[1], productOf(x.dims.slice(2))]);
  const before = Math.floor((size - 1) / 2);
  const window = {
    kind: 'window',
    of: 'avg',
    kernel: [size, 1],
    stride: [1, 1],
    dilation: [1, 1],
    padding: [
      [before, size - 1 - before],
      [0, 0],
    ],
    ceil: false,
    countsPadding: true,
    p: 2,
    places: null,
  } as unknown as GraphOperation;
  const mean = reshaped(call, call.draft.operate(window, [image], image.dims), x.dims);
  const base = call.draft.add(call.draft.multiply(mean, scalar(call, alpha)), scalar(call, bias));
  return call.draft.multiply(x, binary(call, 'pow', base, scalar(call, -beta)));
};

/** The least number above 0 in f32. */
const LEAST = 2 ** -149;

/** x/‖x‖, and 0 where all is 0. */
const lpNorm: Converter = (call) => {
  const x = call.flow(0);
  const axis = call.axis(call.whole('axis', -1), x.shape.length);
  const norm = reduce(call, x, call.whole('p', 2, 1, 2) === 1 ? 'l1' : 'l2', [axis], true);
  return binary(call, 'div', x, binary(call, 'max', norm, scalar(call, LEAST)));
};

const where: Converter = (call) => {
  const flows = [0, 1, 2].map((i) => call.flow(i));
  return call.draft.operate({ kind: 'where' }, flows, broadcastDims(flows), flows[1].dtype);
};

/** Scale or zero point of the axis that the node names, beside x. */
function ofAxis(call: Call, x: Flow, index: number): Flow {
  const flow = call.flow(index);
  if (flow.shape.length !== 1 || x.shape.length < 2 || flow.shape[0] === 1) return flow;
  if (call.whole('block_size', 0)) throw call.fail('scales of an axis', 'block_size');
  const at = call.axis(call.whole('axis', 1), x.shape.length);
  return reshaped(
    call,
    flow,
    x.dims.slice(at).map((_, i): Sym => (i === 0 ? flow.dims[0] : 1)),
  );
}

const dequantize: Converter = (call) => {
  const x = call.flow(0);
  const centred = call.has(2) ? binary(call, 'sub', x, ofAxis(call, x, 2), 'F32') : x;
  return call.draft.multiply(ofAxis(call, x, 1), call.draft.retyped(centred, 'F32'));
};

/** The least and the largest number of quantized types. */
const RANGES: Readonly<Record<string, readonly [number, number]>> = {
  U8: [0, 255],
  I8: [-128, 127],
  U16: [0, 65535],
  I16: [-32768, 32767],
};

const quantize: Converter = (call) => {
  const x = call.flow(0);
  const zero = call.has(2) ? call.flow(2) : undefined;
  const given = call.node.attributes.has('output_dtype') ? TYPES[call.whole('output_dtype', 0)] : undefined;
  const dtype = given ?? zero?.dtype ?? 'U8';
  if (!Object.hasOwn(RANGES, dtype)) throw call.fail(`a type among ${Object.keys(RANGES).join(', ')}`, `${dtype}`);
  const steps = unary(call, binary(call, 'div', x, ofAxis(call, x, 1)), 'round');
  const moved = zero ? call.draft.add(steps, call.draft.retyped(ofAxis(call, x, 2), 'F32')) : steps;
  const [low, high] = RANGES[dtype];
  return unary(call, moved, 'clip', low, high, dtype);
};

export const elementwise = (): Readonly<Record<string, Converter>> => ({
  Relu: activation('relu'),
  Sigmoid: activation('sigmoid'),
  Tanh: activation('tanh'),
  LeakyRelu: activation((call) => ({ name: 'leaky-relu', slope: call.number('alpha', 0.01) })),
  Elu: activation((call) => ({ name: 'elu', alpha: call.number('alpha', 1) })),
  Softplus: activation('softplus'),
  HardSwish: activation('hard-swish'),
  Mish: activation('mish'),
  Gelu: activation((call) => (call.choice('approximate', 'none', ['none', 'tanh']) === 'tanh' ? 'gelu-tanh' : 'gelu')),
  Swish: (call) =>
    call.number('alpha', 1) === 1
      ? activation('silu')(call)
      : unary(call, call.flow(0), 'swish', call.number('alpha', 1)),
  Clip: clip,
  HardSigmoid: hardSigmoid,
  Selu: selu,
  Softsign: (call) => call.draft.keep(new Softsign(), call.flow(0), call.name),
  PRelu: prelu,
  Celu: one('celu', (call) => [call.number('alpha', 1)]),
  ThresholdedRelu: one('threshold', (call) => [call.number('alpha', 1)]),
  Shrink: one('shrink', (call) => [call.number('lambd', 0.5), call.number('bias', 0)]),
  Softmax: softmax(false),
  LogSoftmax: softmax(true),
  Hardmax: hardmax,
  Exp: one('exp'),
  Log: one('log'),
  Sqrt: one('sqrt'),
  Reciprocal: one('reciprocal'),
  Abs: one('abs'),
  Neg: one('neg'),
  Floor: one('floor'),
  Ceil: one('ceil'),
  Round: one('round'),
  Sign: one('sign'),
  Erf: one('erf'),
  Sin: one('sin'),
  Cos: one('cos'),
  Tan: one('tan'),
  Asin: one('asin'),
  Acos: one('acos'),
  Atan: one('atan'),
  Sinh: one('sinh'),
  Cosh: one('cosh'),
  Asinh: one('asinh'),
  Acosh: one('acosh'),
  Atanh: one('atanh'),
  Not: one('not', () => [], 'BOOL'),
  IsNaN: one('is-nan', () => [], 'BOOL'),
  IsInf: one('is-inf', (call) => [call.whole('detect_positive', 1), call.whole('detect_negative', 1)], 'BOOL'),
  Add: (call) => call.draft.add(call.flow(0), call.flow(1)),
  Mul: (call) => call.draft.multiply(call.flow(0), call.flow(1)),
  Sub(call) {
    const known = call.known(1);
    if (!known || call.known(0)) return binary(call, 'sub', call.flow(0), call.flow(1));
    const data = Float32Array.from(known.data, (value) => -value);
    return call.draft.add(call.flow(0), call.draft.constant({ shape: known.shape, dtype: known.dtype, data }));
  },
  Div(call) {
    const [a, b] = [call.flow(0), call.flow(1)];
    if (isWhole(call)) return binary(call, 'quotient', a, b);
    const by = call.known(0) ? undefined : inverse(call, 1);
    return by ? call.draft.multiply(a, by) : binary(call, 'div', a, b);
  },
  Max: several('max'),
  Min: several('min'),
  Sum: several('sum'),
  Mean: several('mean'),
  Pow: pow,
  Mod: (call) => binary(call, call.flag('fmod') ? 'fmod' : 'mod', call.flow(0), call.flow(1)),
  Equal: compared('equal'),
  Less: compared('less'),
  LessOrEqual: compared('less-equal'),
  Greater: compared('greater'),
  GreaterOrEqual: compared('greater-equal'),
  And: compared('and'),
  Or: compared('or'),
  Xor: compared('xor'),
  Where: where,
  LRN: lrn,
  LpNormalization: lpNorm,
  DequantizeLinear: dequantize,
  QuantizeLinear: quantize,
});
