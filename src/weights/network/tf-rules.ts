// Operators of TensorFlow in ONNX' words: https://www.tensorflow.org/api_docs/python/tf/raw_ops.

import type { OnnxAttribute } from '../../formats/onnx.ts';
import type { Rule, TfGraph } from './tf-graph.ts';
import type { TfNode } from './tf-nodes.ts';
import { algebraicNorm } from './tf-norms.ts';

/** An operator that means the same. */
const same =
  (op: string, attributes: (node: TfNode) => Readonly<Record<string, OnnxAttribute>> = () => ({})): Rule =>
  (to, node) =>
    to.emit(node, op, { attributes: attributes(node) });

/** One with a converter of its own. */
const own =
  (op: string, attributes: (node: TfNode, to: TfGraph) => Readonly<Record<string, OnnxAttribute>> = () => ({})): Rule =>
  (to, node) =>
    to.own(node, op, { attributes: attributes(node, to) });

const pass: Rule = (to, node) => to.emit(node, 'Identity', { inputs: node.inputs.slice(0, 1) });

// ---- layers

const LAYOUTS = ['NHWC', 'NCHW'] as const;

/** Numbers of the two spatial axes out of a list for all four. */
function spatial(node: TfNode, name: string, isFirst: boolean, standard?: number): [number, number] {
  const list = node.wholes(name);
  if (list.length === 0 && standard !== undefined) return [standard, standard];
  const [outer, ...others] = isFirst ? [[list[0], list[1]], list[2], list[3]] : [[list[0], list[3]], list[1], list[2]];
  const isWrong = list.length !== 4 || (outer as number[]).some((one) => one !== 1);
  if (isWrong || (others as number[]).some((one) => one < 1 || one > 2 ** 24)) {
    throw node.fail(`4 numbers above 0 as ${name}, 1 for samples and channels`, `[${list.join(', ')}]`);
  }
  return others as [number, number];
}

/** What nodes with windows say of them. */
function windows(node: TfNode): Record<string, OnnxAttribute> {
  const isFirst = node.choice('data_format', 'NHWC', LAYOUTS) === 'NCHW';
  const padding = node.choice('padding', 'VALID', ['SAME', 'VALID', 'EXPLICIT']);
  const explicit = node.wholes('explicit_paddings');
  const [top, left] = isFirst ? [4, 6] : [2, 4];
  const pads = padding === 'EXPLICIT' ? [explicit[top], explicit[left], explicit[top + 1], explicit[left + 1]] : [];
  if (padding === 'EXPLICIT' && (explicit.length !== 8 || explicit.some((one) => one < 0 || one > 2 ** 24))) {
    throw node.fail('8 numbers from 0 on as explicit_paddings', `[${explicit.join(', ')}]`);
  }
  return {
    layout: isFirst ? 'channels-first' : 'channels-last',
    padding,
    pads,
    strides: spatial(node, 'strides', isFirst, 1),
    dilations: spatial(node, 'dilations', isFirst, 1),
  };
}

/** What a fused node does behind its product: an activation by its name. */
function activate(to: TfGraph, node: TfNode, op: string, from: string, output: string, more: () => string): void {
  const inputs = [from];
  const outputs = [output];
  const emit = (name: string, attributes: Record<string, OnnxAttribute> = {}) =>
    to.emit(node, name, { inputs, outputs, attributes });
  if (op === 'Relu6') relu6(to, node, from, output);
  else if (op === 'LeakyRelu') emit(op, { alpha: node.number('leakyrelu_alpha') ?? 0.2 });
  else if (op === 'Elu') emit(op, { alpha: 1 });
  else if (op === 'Prelu') to.own(node, 'Prelu', { inputs: [from, more()], outputs });
  else if (op === 'GeluExact') emit('Gelu');
  else if (op === 'GeluApproximate') emit('Gelu', { approximate: 'tanh' });
  else if (['Relu', 'Sigmoid', 'Tanh', 'Selu', 'Softplus'].includes(op)) emit(op);
  else throw node.fail(`fused_ops among ${FUSED.join(', ')}`, op);
}

const FUSED = [
  'BiasAdd',
  'FusedBatchNorm',
  'Relu',
  'Relu6',
  'LeakyRelu',
  'Elu',
  'Prelu',
  'Sigmoid',
  'Tanh',
  'Selu',
  'GeluExact',
  'GeluApproximate',
];

function relu6(to: TfGraph, node: TfNode, from: string, output: string): void {
  const bounds = [0, 6].map((bound) => to.give(node, 'F32', [], [bound]));
  to.emit(node, 'Clip', { inputs: [from, ...bounds], outputs: [output] });
}

/** The bias that is added to a product and to nothing else: it becomes the layer's. */
function biasBehind(to: TfGraph, node: TfNode, size: number | undefined): TfNode | undefined {
  const next = to.onlyTaker(node.name);
  if (!next || !['BiasAdd', 'Add', 'AddV2'].includes(next.op) || next.inputs.length !== 2) return undefined;
  if (next.inputs[0] !== node.name && next.op === 'BiasAdd') return undefined;
  const known = to.known(next.inputs[next.inputs[0] === node.name ? 1 : 0]);
  const isRow = known?.shape.length === 1 && known.shape[0] === size && /^B?F/.test(known.dtype);
  const isLast = node.text('data_format', 'NHWC') === 'NHWC';
  return isRow && (isLast || next.op === 'BiasAdd') ? next : undefined;
}

/** A product, and what is fused into it. */
function product(
  emit: (to: TfGraph, node: TfNode, inputs: readonly string[], output: string) => void,
  outputs: (shape: readonly number[], node: TfNode) => number | undefined,
): Rule {
  return (to, node) => {
    const fused = node.texts('fused_ops');
    const given = [...node.inputs.slice(2)];
    const more = () => {
      const next = given.shift();
      if (next === undefined)
        throw node.fail(`an input for each of fused_ops ${fused.join(', ')}`, `${node.inputs.length}`);
      return next;
    };
    const weight = to.known(node.inputs[1]);
    const isPlain = fused.length === 0;
    const behind = isPlain ? biasBehind(to, node, weight && outputs(weight.shape, node)) : undefined;
    if (behind) {
      to.taken.add(behind);
      const bias = behind.inputs[behind.inputs[0] === node.name ? 1 : 0];
      emit(to, node, [...node.inputs.slice(0, 2), bias], behind.name);
      return;
    }
    const hasBias = fused[0] === 'BiasAdd';
    const steps = hasBias ? fused.slice(1) : fused;
    let value = steps.length ? to.inner(node) : node.name;
    emit(to, node, hasBias ? [...node.inputs.slice(0, 2), more()] : node.inputs.slice(0, 2), value);
    steps.forEach((op, i) => {
      const output = i === steps.length - 1 ? node.name : to.inner(node);
      if (op === 'FusedBatchNorm') {
        const attributes = { epsilon: node.number('epsilon') ?? EPSILON, layout: layoutOf(node) };
        to.own(node, 'FusedBatchNorm', {
          inputs: [value, more(), more(), more(), more()],
          outputs: [output],
          attributes,
        });
      } else activate(to, node, op, value, output, more);
      value = output;
    });
    if (given.length) throw node.fail(`inputs for fused_ops ${fused.join(', ')}`, `${node.inputs.length} of them`);
  };
}

const layoutOf = (node: TfNode) =>
  node.choice('data_format', 'NHWC', LAYOUTS) === 'NCHW' ? 'channels-first' : 'channels-last';

const conv = (op: 'Conv2D' | 'Depthwise') =>
  product(
    (to, node, inputs, output) => to.own(node, op, { inputs, outputs: [output], attributes: windows(node) }),
    (shape) => (shape.length === 4 ? (op === 'Conv2D' ? shape[3] : shape[2] * shape[3]) : undefined),
  );

const matMul = /* @__PURE__ */ product(
  (to, node, inputs, output) => {
    const attributes = { transA: Number(node.flag('transpose_a')), transB: Number(node.flag('transpose_b')) };
    to.emit(node, 'Gemm', { inputs, outputs: [output], attributes });
  },
  (shape, node) => shape[node.flag('transpose_b') ? 0 : 1],
);

/** What TF.js takes where a node does not say it. */
const EPSILON = 0.001;

const batchNorm: Rule = (to, node) => {
  const epsilon = node.number('epsilon');
  const statistics = to.known(node.inputs[3]);
  if (node.flag('is_training') || statistics?.shape[0] === 0) throw node.fail('inference', 'is_training true');
  if (epsilon === undefined)
    to.assumed.add(`${node.op} '${node.name}': epsilon ${EPSILON}, as the file does not say it`);
  to.own(node, 'FusedBatchNorm', { attributes: { epsilon: epsilon ?? EPSILON, layout: layoutOf(node) } });
};

const pool =
  (op: string): Rule =>
  (to, node) => {
    const attributes = windows(node);
    const ksize = spatial(node, 'ksize', attributes.layout === 'channels-first');
    to.own(node, op, { attributes: { ...attributes, ksize } });
  };

/** Convolutions between SpaceToBatchND and BatchToSpaceND are dilated ones. */
const spaceToBatch: Rule = (to, node) => {
  const block = to.wholes(node, 1, 'block_shape');
  const inner = to.onlyTaker(node.name);
  const isConv =
    inner && /^_?(?:Fused)?(?:Conv2D|DepthwiseConv2dNative)$/.test(inner.op) && inner.inputs[0] === node.name;
  const back = isConv ? to.onlyTaker(inner.name) : undefined;
  const isPair =
    back?.op === 'BatchToSpaceND' &&
    back.inputs[0] === inner!.name &&
    block.length === 2 &&
    to.known(back.inputs[1])?.shape[0] === 2 &&
    to.wholes(back, 1, 'block_shape').every((one, i) => one === block[i]) &&
    layoutOf(inner!) === 'channels-last' &&
    inner!.text('padding', '') === 'VALID' &&
    ['strides', 'dilations'].every((name) => inner!.wholes(name).every((one) => one === 1));
  if (!isPair) {
    to.own(node, 'SpaceToBatchND');
    return;
  }
  const padded = to.inner(node);
  to.own(node, 'Around', { inputs: [node.inputs[0], node.inputs[2]], outputs: [padded], attributes: { sign: 1 } });
  const whole = to.inner(node);
  const isDepthwise = inner!.op.includes('Depthwise');
  const dilated = product(
    (graph, one, inputs, output) => {
      const attributes = { ...windows(one), dilations: block };
      graph.own(one, isDepthwise ? 'Depthwise' : 'Conv2D', {
        inputs: [padded, ...inputs.slice(1)],
        outputs: [output === one.name ? whole : output],
        attributes,
      });
    },
    () => undefined,
  );
  const before = to.nodes.length;
  dilated(to, inner!);
  // what the last of its nodes gives is cut as it would have been put together
  const last = to.nodes[to.nodes.length - 1];
  if (last.outputs[0] === inner!.name) to.nodes[to.nodes.length - 1] = { ...last, outputs: [whole] };
  to.own(back!, 'Around', { inputs: [whole, back!.inputs[2]], outputs: [back!.name], attributes: { sign: -1 } });
  to.taken.add(inner!).add(back!);
  to.folded.push(`dilated convolution '${inner!.name}': of ${2 + to.nodes.length - before - 1} nodes`);
};

// ---- arithmetic

const reduction =
  (op: string): Rule =>
  (to, node) => {
    const axes = to.wholes(node, 1, 'axes');
    const inputs = node.inputs.slice(0, 1);
    if (axes.length === 0) to.emit(node, 'Identity', { inputs });
    else
      to.emit(node, op, {
        inputs,
        attributes: { axes, keepdims: Number(node.flag('keep_dims', node.flag('keepdims'))) },
      });
  };

const square: Rule = (to, node) => to.emit(node, 'Mul', { inputs: [node.inputs[0], node.inputs[0]] });

const squaredDifference: Rule = (to, node) => {
  const difference = to.inner(node);
  to.emit(node, 'Sub', { outputs: [difference] });
  to.emit(node, 'Mul', { inputs: [difference, difference] });
};

const two =
  (first: string, second: string): Rule =>
  (to, node) => {
    const value = to.inner(node);
    to.emit(node, first, { outputs: [value] });
    to.emit(node, second, { inputs: [value] });
  };

const leaky: Rule = (to, node) => to.emit(node, 'LeakyRelu', { attributes: { alpha: node.number('alpha') ?? 0.2 } });

const divideNoNan: Rule = (to, node) => {
  const zero = to.give(node, 'F32', [], [0]);
  const [isZero, quotient] = ['z', 'q'].map((name) => `${to.inner(node)}${name}`);
  to.emit(node, 'Equal', { inputs: [node.inputs[1], zero], outputs: [isZero] });
  to.emit(node, 'Div', { outputs: [quotient] });
  to.emit(node, 'Where', { inputs: [isZero, zero, quotient] });
};

/** 0 or 1 in the shape of a value. */
const filled =
  (value: number): Rule =>
  (to, node) => {
    const shape = to.inner(node);
    to.emit(node, 'Shape', { outputs: [shape] });
    to.emit(node, 'Expand', { inputs: [to.give(node, 'F32', [], [value]), shape] });
  };

const plus: Rule = (to, node) => {
  const norm = algebraicNorm(to, node);
  if (!norm) return to.emit(node, 'Add');
  to.own(node, 'FusedBatchNorm', norm);
  to.folded.push(`BatchNorm '${node.name}': of ${norm.count} nodes`);
};

// ---- shapes

const placeholder: Rule = (_to, node) => {
  const dtype = node.type('dtype') ?? 'F32';
  if (dtype === 'STRING' || dtype === 'C64') throw node.fail('numbers as input', `type ${dtype}`);
};

const concat =
  (axisAt: 'first' | 'last'): Rule =>
  (to, node) => {
    const at = axisAt === 'first' ? 0 : node.inputs.length - 1;
    if (node.inputs.length < 2) throw node.fail('values and an axis', `${node.inputs.length} inputs`);
    const axis = to.whole(node, at, 'axis');
    to.emit(node, 'Concat', { inputs: node.inputs.filter((_, i) => i !== at), attributes: { axis } });
  };

const pack: Rule = (to, node) => {
  const axis = node.whole('axis', 0, -32, 32);
  if (node.inputs.length === 0) throw node.fail('values', 'none');
  const rows = node.inputs.map((value) => {
    const row = to.inner(node);
    to.emit(node, 'Unsqueeze', { inputs: [value], outputs: [row], attributes: { axes: [axis] } });
    return row;
  });
  to.emit(node, 'Concat', { inputs: rows, attributes: { axis } });
};

/** Outputs of a node that has several. */
const several = (node: TfNode, count: number) =>
  Array.from({ length: count }, (_, i) => (i === 0 ? node.name : `${node.name}:${i}`));

const MOST_PARTS = 1 << 16;

const split: Rule = (to, node) => {
  const count = node.whole('num_split', 1, 1, MOST_PARTS);
  const axis = to.whole(node, 0, 'axis');
  to.own(node, 'Split', { inputs: [node.inputs[1]], outputs: several(node, count), attributes: { axis } });
};

const splitBySizes: Rule = (to, node) => {
  const sizes = to.wholes(node, 1, 'size_splits');
  const axis = to.whole(node, 2, 'axis');
  if (sizes.filter((one) => one < 0).length > 1 || sizes.some((one) => one < -1)) {
    throw node.fail('sizes of 0 or more, and one -1', `[${sizes.join(', ')}]`);
  }
  to.own(node, 'Split', {
    inputs: [node.inputs[0]],
    outputs: several(node, sizes.length),
    attributes: { axis, sizes },
  });
};

const unpack: Rule = (to, node) => {
  const count = node.whole('num', 0, 1, MOST_PARTS);
  to.own(node, 'Unpack', { outputs: several(node, count), attributes: { axis: node.whole('axis', 0, -32, 32) } });
};

const gather: Rule = (to, node) => {
  const axis = node.op === 'GatherV2' ? to.whole(node, 2, 'axis') : 0;
  if (node.whole('batch_dims', 0) !== 0) throw node.fail('batch_dims 0', `${node.whole('batch_dims', 0)}`);
  to.emit(node, 'Gather', { inputs: node.inputs.slice(0, 2), attributes: { axis } });
};

/** ONNX' numbers of types. */
const CODES: Readonly<Record<string, number>> = {
  F32: 1,
  U8: 2,
  I8: 3,
  U16: 4,
  I16: 5,
  I32: 6,
  I64: 7,
  BOOL: 9,
  F16: 10,
  F64: 11,
  U32: 12,
  U64: 13,
  BF16: 16,
};

const cast: Rule = (to, node) => {
  const dtype = node.type('DstT') ?? 'none';
  if (!Object.hasOwn(CODES, dtype)) throw node.fail('numbers as DstT', `type ${dtype}`);
  to.emit(node, 'Cast', { attributes: { to: CODES[dtype] } });
};

const arg =
  (op: string): Rule =>
  (to, node) => {
    const axis = node.inputs.length > 1 ? to.whole(node, 1, 'dimension') : 0;
    to.emit(node, op, { inputs: node.inputs.slice(0, 1), attributes: { axis, keepdims: 0 } });
  };

const reverse: Rule = (to, node) => {
  const axes = to.wholes(node, 1, 'axes');
  const list = (value: number) =>
    to.give(
      node,
      'I64',
      [axes.length],
      axes.map(() => value),
    );
  const inputs = [node.inputs[0], list(-1), list(-(2 ** 31)), to.give(node, 'I64', [axes.length], axes), list(-1)];
  to.emit(node, 'Slice', { inputs });
};

const oneHot: Rule = (to, node) => {
  const [indices, depth, on, off] = node.inputs;
  const lists = [off, on].map((value) => {
    const list = to.inner(node);
    to.emit(node, 'Unsqueeze', { inputs: [value], outputs: [list], attributes: { axes: [0] } });
    return list;
  });
  const values = to.inner(node);
  to.emit(node, 'Concat', { inputs: lists, outputs: [values], attributes: { axis: 0 } });
  to.emit(node, 'OneHot', { inputs: [indices, depth, values], attributes: { axis: node.whole('axis', -1, -1, 32) } });
};

const topK: Rule = (to, node) => {
  to.emit(node, 'TopK', { outputs: several(node, 2), attributes: { axis: -1, largest: 1, sorted: 1 } });
};

const cumSum: Rule = (to, node) => {
  const attributes = { exclusive: Number(node.flag('exclusive')), reverse: Number(node.flag('reverse')) };
  to.emit(node, 'CumSum', { attributes });
};

const nothing: Rule = () => {};

let table: Readonly<Record<string, Rule>> | undefined;

/** Operators that there are here. */
export function rules(): Readonly<Record<string, Rule>> {
  table ??= {
    Const: nothing,
    NoOp: nothing,
    Placeholder: placeholder,
    PlaceholderWithDefault: (to, node) => {
      to.assumed.add(`input '${node.name}' has its default value, as no signature names it`);
      pass(to, node);
    },
    Identity: pass,
    StopGradient: pass,
    Snapshot: pass,
    IdentityN: (to, node) => {
      several(node, node.inputs.length).forEach((output, i) => {
        to.emit(node, 'Identity', { inputs: [node.inputs[i]], outputs: [output] });
      });
    },
    Conv2D: conv('Conv2D'),
    _FusedConv2D: conv('Conv2D'),
    DepthwiseConv2dNative: conv('Depthwise'),
    FusedDepthwiseConv2dNative: conv('Depthwise'),
    Conv2DBackpropInput: own('Conv2DBackpropInput', windows),
    MatMul: matMul,
    _FusedMatMul: matMul,
    BatchMatMul: own('BatchMatMul', (node) => ({ x: Number(node.flag('adj_x')), y: Number(node.flag('adj_y')) })),
    BatchMatMulV2: own('BatchMatMul', (node) => ({ x: Number(node.flag('adj_x')), y: Number(node.flag('adj_y')) })),
    FusedBatchNorm: batchNorm,
    FusedBatchNormV2: batchNorm,
    FusedBatchNormV3: batchNorm,
    BiasAdd: (to, node) => {
      if (layoutOf(node) === 'channels-last') to.emit(node, 'Add');
      else to.own(node, 'BiasAdd');
    },
    MaxPool: pool('MaxPool'),
    AvgPool: pool('AvgPool'),
    LRN: own('LRN', (node) => ({
      radius: node.whole('depth_radius', 5, 0, 2 ** 20),
      bias: node.number('bias') ?? 1,
      alpha: node.number('alpha') ?? 1,
      beta: node.number('beta') ?? 0.5,
    })),
    Relu: same('Relu'),
    Relu6: (to, node) => relu6(to, node, node.inputs[0], node.name),
    LeakyRelu: leaky,
    Elu: same('Elu', () => ({ alpha: 1 })),
    Selu: same('Selu'),
    Prelu: own('Prelu'),
    Sigmoid: same('Sigmoid'),
    Tanh: same('Tanh'),
    Softplus: same('Softplus'),
    Softsign: same('Softsign'),
    Softmax: same('Softmax', () => ({ axis: -1 })),
    LogSoftmax: same('LogSoftmax', () => ({ axis: -1 })),
    ClipByValue: same('Clip'),
    Mean: reduction('ReduceMean'),
    Sum: reduction('ReduceSum'),
    Max: reduction('ReduceMax'),
    Min: reduction('ReduceMin'),
    Prod: reduction('ReduceProd'),
    All: reduction('ReduceMin'),
    Any: reduction('ReduceMax'),
    Add: plus,
    AddV2: plus,
    AddN: same('Sum'),
    Sub: same('Sub'),
    Mul: same('Mul'),
    Div: same('Div'),
    RealDiv: same('Div'),
    DivNoNan: divideNoNan,
    FloorDiv: own('FloorDiv'),
    FloorMod: same('Mod'),
    Maximum: same('Max'),
    Minimum: same('Min'),
    Pow: same('Pow'),
    Sqrt: same('Sqrt'),
    Rsqrt: two('Sqrt', 'Reciprocal'),
    Reciprocal: same('Reciprocal'),
    Square: square,
    SquaredDifference: squaredDifference,
    Exp: same('Exp'),
    Log: same('Log'),
    Neg: same('Neg'),
    Abs: same('Abs'),
    Floor: same('Floor'),
    Ceil: same('Ceil'),
    Round: same('Round'),
    Sign: same('Sign'),
    Erf: same('Erf'),
    Sin: same('Sin'),
    Cos: same('Cos'),
    Tan: same('Tan'),
    Asin: same('Asin'),
    Acos: same('Acos'),
    Atan: same('Atan'),
    Sinh: same('Sinh'),
    Cosh: same('Cosh'),
    Asinh: same('Asinh'),
    Acosh: same('Acosh'),
    Atanh: same('Atanh'),
    IsNan: same('IsNaN'),
    IsInf: same('IsInf'),
    IsFinite: (to, node) => {
      // x − x is 0 for finite numbers alone
      const difference = to.inner(node);
      to.emit(node, 'Sub', { inputs: [node.inputs[0], node.inputs[0]], outputs: [difference] });
      to.emit(node, 'Equal', { inputs: [difference, to.give(node, 'F32', [], [0])] });
    },
    Expm1: (to, node) => {
      const power = to.inner(node);
      to.emit(node, 'Exp', { outputs: [power] });
      to.emit(node, 'Sub', { inputs: [power, to.give(node, 'F32', [], [1])] });
    },
    Log1p: (to, node) => {
      const sum = to.inner(node);
      to.emit(node, 'Add', { inputs: [node.inputs[0], to.give(node, 'F32', [], [1])], outputs: [sum] });
      to.emit(node, 'Log', { inputs: [sum] });
    },
    Equal: same('Equal'),
    NotEqual: two('Equal', 'Not'),
    Less: same('Less'),
    LessEqual: same('LessOrEqual'),
    Greater: same('Greater'),
    GreaterEqual: same('GreaterOrEqual'),
    LogicalAnd: same('And'),
    LogicalOr: same('Or'),
    LogicalNot: same('Not'),
    Select: own('Select'),
    SelectV2: same('Where'),
    ZerosLike: filled(0),
    OnesLike: filled(1),
    Pad: own('Pad'),
    PadV2: own('Pad'),
    MirrorPad: own('MirrorPad', (node) => ({ mode: node.choice('mode', 'REFLECT', ['REFLECT', 'SYMMETRIC']) })),
    Concat: concat('first'),
    ConcatV2: concat('last'),
    Split: split,
    SplitV: splitBySizes,
    Pack: pack,
    Unpack: unpack,
    StridedSlice: own('StridedSlice', (node) =>
      Object.fromEntries(
        ['begin_mask', 'end_mask', 'ellipsis_mask', 'new_axis_mask', 'shrink_axis_mask'].map((name) => [
          name,
          node.whole(name, 0, 0, 2 ** 31),
        ]),
      ),
    ),
    Slice: own('Slice'),
    Reshape: same('Reshape', () => ({ allowzero: 1 })),
    Transpose: (to, node) => {
      to.emit(node, 'Transpose', { inputs: node.inputs.slice(0, 1), attributes: { perm: to.wholes(node, 1, 'perm') } });
    },
    Squeeze: (to, node) => {
      const axes = [...node.wholes('squeeze_dims'), ...node.wholes('axis')];
      to.emit(node, 'Squeeze', { attributes: axes.length ? { axes } : {} });
    },
    ExpandDims: (to, node) => {
      const axes = [to.whole(node, 1, 'axis')];
      to.emit(node, 'Unsqueeze', { inputs: node.inputs.slice(0, 1), attributes: { axes } });
    },
    Tile: same('Tile'),
    BroadcastTo: same('Expand'),
    Fill: (to, node) => to.emit(node, 'Expand', { inputs: [node.inputs[1], node.inputs[0]] }),
    Range: same('Range'),
    Shape: same('Shape'),
    Size: same('Size'),
    Rank: own('Rank'),
    Gather: gather,
    GatherV2: gather,
    GatherNd: same('GatherND'),
    OneHot: oneHot,
    TopKV2: topK,
    Cumsum: cumSum,
    ReverseV2: reverse,
    ArgMax: arg('ArgMax'),
    ArgMin: arg('ArgMin'),
    Cast: cast,
    ResizeBilinear: own('Resize', (node) => resize(node, 'linear')),
    ResizeNearestNeighbor: own('Resize', (node) => resize(node, 'nearest')),
    SpaceToBatchND: spaceToBatch,
    BatchToSpaceND: own('BatchToSpaceND'),
    DepthToSpace: own('DepthToSpace', blocks),
    SpaceToDepth: own('SpaceToDepth', blocks),
  };
  return table;
}

const resize = (node: TfNode, mode: string) => {
  const [corners, halves] = [node.flag('align_corners'), node.flag('half_pixel_centers')];
  if (corners && halves) throw node.fail('align_corners or half_pixel_centers', 'both');
  return { mode, corners: Number(corners), halves: Number(halves) };
};

function blocks(node: TfNode): Record<string, OnnxAttribute> {
  const layout = node.choice('data_format', 'NHWC', LAYOUTS);
  if (layout !== 'NHWC') throw node.fail("data_format 'NHWC'", quote(layout));
  return { block: node.whole('block_size', 0, 2, 2 ** 20) };
}

const quote = (text: string) => `'${text}'`;
