// Shapes of an ONNX graph's values, as far as they follow from its inputs and constants: one walk
// over its nodes.

import type { OnnxGraph, OnnxNode } from '../formats/onnx.ts';
import { broadcast, type Constants, type Shape, shapeAfter, sizeOf, wholesOf } from './onnx-constants.ts';
import { ONNX_ACTIVATIONS, setOf } from './onnx-elementwise.ts';

/** Operators that give values of the shape that they take. */
const SAME = /* @__PURE__ */ setOf(
  ONNX_ACTIVATIONS,
  ['Softsign', 'Selu', 'Celu', 'ThresholdedRelu', 'Dropout', 'Identity', 'Cast', 'PRelu', 'Softmax'],
  ['LogSoftmax', 'Hardmax', 'Erf', 'Exp', 'Log', 'Sqrt', 'Abs', 'Neg', 'Reciprocal', 'Floor', 'Ceil', 'Round'],
  ['Sin', 'Cos', 'Sign', 'Not', 'BatchNormalization', 'LayerNormalization', 'RMSNormalization', 'CumSum'],
  ['GroupNormalization', 'InstanceNormalization', 'MeanVarianceNormalization', 'LpNormalization', 'LRN'],
);
const BROADCAST = new Set(['Add', 'Sub', 'Mul', 'Div', 'Pow', 'Max', 'Min', 'Sum', 'Mean', 'Where', 'Equal', 'Less']);
const REDUCE = /^Reduce(?:Mean|Sum|Max|Min|Prod|L1|L2|SumSquare|LogSum|LogSumExp)$/;
const WINDOWS = new Set(['Conv', 'MaxPool', 'AveragePool', 'LpPool', 'GlobalAveragePool', 'GlobalMaxPool']);

/** Shapes by the names of values. What follows goes before what the model says of it. */
export function shapesOf(graph: OnnxGraph, constants: Constants): Map<string, Shape> {
  const shapes = new Map<string, Shape>(graph.shapes);
  const find = (name: string | undefined): Shape | undefined =>
    name === undefined ? undefined : (constants.get(name)?.shape ?? shapes.get(name));
  /** Values whose whole shapes are values themselves. */
  const measured = new Map<string, string>();
  for (const node of graph.nodes) {
    const [output] = node.outputs;
    if (isWholeShape(node) && output) measured.set(output, node.inputs[0]);
    if (node.domain !== '' || output === undefined || output === '') continue;
    const like = node.op === 'Reshape' ? measured.get(node.inputs[1]) : undefined;
    const shape = like === undefined ? shapeOf(node, find, constants) : find(like);
    if (!shape) continue;
    const said = shapes.get(output);
    shapes.set(output, said?.length === shape.length ? shape.map((length, i) => length ?? said[i]) : shape);
  }
  return shapes;
}

/** Is it a Shape of all axes? Later versions give some of them. */
export function isWholeShape({ op, domain, attributes }: OnnxNode): boolean {
  return op === 'Shape' && domain === '' && !attributes.has('start') && !attributes.has('end');
}

function shapeOf(
  node: OnnxNode,
  find: (name: string | undefined) => Shape | undefined,
  constants: Constants,
): Shape | undefined {
  const { op, inputs, attributes } = node;
  const shape = find(inputs[0]);
  if (SAME.has(op)) return shape;
  if (BROADCAST.has(op)) {
    const all = inputs.map(find);
    return all.reduce((sum, next) => sum && next && broadcast(sum, next), all[0]);
  }
  const number = (name: string, standard: number) => (attributes.get(name) as number | undefined) ?? standard;
  const wholes = (name: string, input: number) => wholesOf(attributes.get(name) ?? constants.get(inputs[input] ?? ''));
  if (op === 'Gemm') {
    const [a, b] = [shape, find(inputs[1])];
    if (a && a.length !== 2) return undefined;
    return [a?.[number('transA', 0) ? 1 : 0], b?.[number('transB', 0) ? 0 : 1]];
  }
  if (op === 'MatMul') {
    const other = find(inputs[1]);
    if (!shape || !other || shape.length < 2 || other.length < 2) return undefined;
    const outer = broadcast(shape.slice(0, -2), other.slice(0, -2));
    return outer && [...outer, shape.at(-2), other.at(-1)];
  }
  if (op === 'Flatten') {
    const product = (part: Shape | undefined) =>
      part?.every((length) => length !== undefined) ? sizeOf(part as number[]) : undefined;
    const axis = number('axis', 1);
    const at = axis < 0 && shape ? axis + shape.length : axis;
    return [product(shape?.slice(0, at)), product(shape?.slice(at))];
  }
  if (op === 'Reshape') {
    if (shape?.every((length) => length !== undefined))
      return shapeAfter(node, shape as number[], constants.get(inputs[1] ?? ''));
    const wanted = wholes('shape', 1);
    return wanted?.map((length, i) => (length > 0 ? length : length === 0 ? shape?.[i] : undefined));
  }
  if (!shape) return undefined;
  if (op === 'Transpose') {
    const order =
      (attributes.get('perm') as readonly number[] | undefined) ?? shape.map((_, i) => shape.length - 1 - i);
    return Array.isArray(order) ? order.map((axis) => shape[axis]) : undefined;
  }
  if (WINDOWS.has(op)) {
    const pooled = op.startsWith('Global') ? 1 : undefined;
    return [shape[0], op === 'Conv' ? find(inputs[1])?.[0] : shape[1], ...shape.slice(2).map(() => pooled)];
  }
  if (op === 'ConvTranspose') {
    const out = find(inputs[1])?.[1];
    return [shape[0], out === undefined ? undefined : out * number('group', 1), ...shape.slice(2).map(() => undefined)];
  }
  if (REDUCE.test(op)) {
    const axes = wholes('axes', 1)?.map((axis) => (axis < 0 ? axis + shape.length : axis));
    if (!axes && inputs[1]) return undefined;
    const isGone = (axis: number) => !axes || axes.includes(axis);
    return number('keepdims', 1)
      ? shape.map((length, axis) => (isGone(axis) ? 1 : length))
      : shape.filter((_, axis) => !isGone(axis));
  }
  if (op === 'Unsqueeze' || op === 'Squeeze') {
    const axes = wholes('axes', 1);
    if (!axes) return undefined;
    const rank = op === 'Squeeze' ? shape.length : shape.length + axes.length;
    const places = axes.map((axis) => (axis < 0 ? axis + rank : axis));
    if (op === 'Squeeze') return shape.filter((_, axis) => !places.includes(axis));
    const left = [...shape];
    return Array.from({ length: rank }, (_, axis) => (places.includes(axis) ? 1 : left.shift()));
  }
  if (op === 'Concat' || op === 'Slice' || op === 'Pad' || op === 'Resize' || op === 'Upsample')
    return shape.map(() => undefined);
  return undefined;
}
