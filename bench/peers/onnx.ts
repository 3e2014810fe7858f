// ONNX models of one batch norm, of the digits network and of networks of convolutions, as
// onnxruntime takes them: the few fields of the format that they need.

import type { Builder, Convnet } from '../convnets.ts';

type Field = Uint8Array;

function varint(value: number): number[] {
  const bytes = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return [...bytes, value];
}

const concat = (...parts: (Uint8Array | readonly number[])[]) =>
  Uint8Array.from(parts.flatMap((part) => Array.from(part)));
const integer = (field: number, value: number): Field => concat(varint(field * 8), varint(value));
const bytes = (field: number, content: Uint8Array): Field => {
  const head = [...varint(field * 8 + 2), ...varint(content.length)];
  const result = new Uint8Array(head.length + content.length);
  result.set(head);
  result.set(content, head.length);
  return result;
};
const text = (field: number, content: string): Field => bytes(field, new TextEncoder().encode(content));
const message = (field: number, ...fields: Field[]): Field => bytes(field, join(fields));

function join(fields: readonly Uint8Array[]): Uint8Array {
  const result = new Uint8Array(fields.reduce((size, field) => size + field.length, 0));
  let at = 0;
  for (const field of fields) {
    result.set(field, at);
    at += field.length;
  }
  return result;
}

const FLOAT = 1;

/** TensorProto: dims 1, data_type 2, name 8, raw_data 9. */
function initializer(name: string, data: Float32Array, dims: readonly number[]): Field {
  const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return message(5, ...dims.map((dim) => integer(1, dim)), integer(2, FLOAT), text(8, name), bytes(9, raw));
}

/** AttributeProto: name 1, f 2, i 3, type 20 (1 float, 2 integer). */
function attribute(name: string, value: number, kind: 'float' | 'int'): Field {
  const number =
    kind === 'int' ? integer(3, value) : concat(varint(2 * 8 + 5), new Uint8Array(Float32Array.of(value).buffer));
  return message(5, text(1, name), number, integer(20, kind === 'int' ? 2 : 1));
}

/** NodeProto: input 1, output 2, op_type 4, attribute 5. */
function node(op: string, inputs: readonly string[], output: string, ...attributes: Field[]): Field {
  return message(1, ...inputs.map((name) => text(1, name)), text(2, output), text(4, op), ...attributes);
}

/** ValueInfoProto of a float tensor. */
function value(field: number, name: string, dims: readonly number[]): Field {
  const shape = message(2, ...dims.map((dim) => message(1, integer(1, dim))));
  return message(field, text(1, name), message(2, message(1, integer(1, FLOAT), shape)));
}

/**
 * ModelProto: ir_version 1, graph 7, opset_import 8. GraphProto: node 1, name 2, initializer 5,
 * input 11, output 12.
 */
function model(nodes: Field[], initializers: Field[], input: readonly number[], output: readonly number[]): Uint8Array {
  const graph = message(7, ...nodes, text(2, 'bench'), ...initializers, value(11, 'x', input), value(12, 'y', output));
  return join([integer(1, 8), graph, message(8, integer(2, 15))]);
}

export interface BatchNormParameters {
  gamma: Float32Array;
  beta: Float32Array;
  runningMean: Float32Array;
  runningVar: Float32Array;
}

/** One BatchNormalization in evaluation form, channels first. */
export function batchNormModel(dims: readonly number[], parameters: BatchNormParameters, eps: number): Uint8Array {
  const { gamma, beta, runningMean, runningVar } = parameters;
  const vectors = { gamma, beta, runningMean, runningVar };
  return model(
    [node('BatchNormalization', ['x', ...Object.keys(vectors)], 'y', attribute('epsilon', eps, 'float'))],
    Object.entries(vectors).map(([name, data]) => initializer(name, data, [data.length])),
    dims,
    dims,
  );
}

/**
 * Linear layers with batch norm and tanh between them, from a state dict of a Sequential(Linear,
 * BatchNorm1d, Tanh, …, Linear).
 */
export function networkModel(
  rows: number,
  state: Record<string, { data: ArrayLike<number>; shape: readonly number[] }>,
  eps: number,
): Uint8Array {
  const nodes: Field[] = [];
  const initializers: Field[] = [];
  const add = (name: string) => {
    initializers.push(initializer(name, Float32Array.from(state[name].data), state[name].shape));
    return name;
  };
  const weights = Object.keys(state).filter((name) => name.endsWith('.weight'));
  let current = 'x';
  for (const weight of weights) {
    const layer = Number(weight.split('.')[0]);
    const last = weight === weights.at(-1);
    const out = last ? 'y' : `linear${layer}`;
    nodes.push(node('Gemm', [current, add(weight), add(`${layer}.bias`)], out, attribute('transB', 1, 'int')));
    if (last) break;
    const vectors = ['gamma', 'beta', 'runningMean', 'runningVar'].map((name) => add(`${layer + 1}.${name}`));
    nodes.push(node('BatchNormalization', [out, ...vectors], `bn${layer}`, attribute('epsilon', eps, 'float')));
    nodes.push(node('Tanh', [`bn${layer}`], `tanh${layer}`));
    current = `tanh${layer}`;
  }
  const inputs = state[weights[0]].shape[1];
  const outputs = state[weights.at(-1)!].shape[0];
  return model(nodes, initializers, [rows, inputs], [rows, outputs]);
}

/** AttributeProto of integers: name 1, ints 8, type 20. */
function integers(name: string, values: readonly number[]): Field {
  return message(5, text(1, name), ...values.map((value) => integer(8, value)), integer(20, 7));
}

/** A network of convolutions, channels first, with its norms as they are. */
export function convnetModel(net: Convnet, batch: number, eps: number): Uint8Array {
  const nodes: Field[] = [];
  const initializers: Field[] = [];
  let count = 0;
  let shape: readonly number[] = [];
  const shapes = new Map<string, readonly number[]>([['x', [batch, ...net.input]]]);
  const add = (name: string, data: Float32Array, dims: readonly number[]) => {
    initializers.push(initializer(name, data, dims));
    return name;
  };
  const push = (op: string, inputs: readonly string[], dims: readonly number[], ...attributes: Field[]): string => {
    const out = `${op}${count++}`;
    nodes.push(node(op, inputs, out, ...attributes));
    shapes.set(out, dims);
    shape = dims;
    return out;
  };
  const builder: Builder<string> = {
    convNorm(x, { name, inChannels, outChannels, kernel, stride, padding, groups, weight, ...norm }) {
      const [n, , height, width] = shapes.get(x)!;
      const dims = [n, outChannels, Math.ceil(height / stride), Math.ceil(width / stride)];
      const w = add(name, weight, [outChannels, inChannels / groups, kernel, kernel]);
      const attributes = [
        integers('kernel_shape', [kernel, kernel]),
        integers('strides', [stride, stride]),
        integers('pads', [padding, padding, padding, padding]),
        attribute('group', groups, 'int'),
      ];
      const y = push('Conv', [x, w], dims, ...attributes);
      const { gamma, beta, mean, variance } = norm;
      const vectors = Object.entries({ gamma, beta, mean, variance }).map(([key, data]) =>
        add(`${name}.${key}`, data, [outChannels]),
      );
      return push('BatchNormalization', [y, ...vectors], dims, attribute('epsilon', eps, 'float'));
    },
    activate(x, name) {
      if (name === 'relu') return push('Relu', [x], shapes.get(x)!);
      if (!shapes.has('six')) {
        add('zero', Float32Array.of(0), []);
        add('six', Float32Array.of(6), []);
        shapes.set('six', []);
      }
      return push('Clip', [x, 'zero', 'six'], shapes.get(x)!);
    },
    add: (a, b) => push('Add', [a, b], shapes.get(a)!),
    maxPool(x) {
      const [n, c, height, width] = shapes.get(x)!;
      const attributes = [
        integers('kernel_shape', [3, 3]),
        integers('strides', [2, 2]),
        integers('pads', [1, 1, 1, 1]),
      ];
      return push('MaxPool', [x], [n, c, Math.ceil(height / 2), Math.ceil(width / 2)], ...attributes);
    },
    classify(x, { inFeatures, outFeatures, weight, bias }) {
      const [n, c] = shapes.get(x)!;
      const pooled = push('Flatten', [push('GlobalAveragePool', [x], [n, c, 1, 1])], [n, c]);
      const operands = [pooled, add('fc', weight, [outFeatures, inFeatures]), add('fc.bias', bias, [outFeatures])];
      return push('Gemm', operands, [n, outFeatures], attribute('transB', 1, 'int'));
    },
  };
  nodes.push(node('Identity', [net.build(builder, 'x')], 'y'));
  return model(nodes, initializers, [batch, ...net.input], shape);
}
