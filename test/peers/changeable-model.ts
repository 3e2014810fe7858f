// An ONNX model as something that can be changed and written again.

import { concat } from '../../src/formats/bytes.ts';
import { encode } from '../../src/formats/dtypes.ts';
import { nodeField, tensorField, valueField, type WritableAttribute } from '../../src/formats/onnx-write.ts';
import { integerField, lengthField } from '../../src/formats/protobuf.ts';
import { type OnnxModel, readOnnx, type StoredTensor } from '../../src/weights/index.ts';

export interface Node {
  op: string;
  name: string;
  inputs: string[];
  outputs: string[];
  attributes: Record<string, WritableAttribute>;
}

export interface Tensor {
  data: number[];
  shape: number[];
  dtype: string;
}

export interface Model {
  opset: number;
  ir: number;
  nodes: Node[];
  tensors: Map<string, Tensor>;
  inputs: Map<string, (number | string)[]>;
  outputs: string[];
}

/**
 * A model as something that can be changed; undefined for one with parts that this does not write.
 */
export function taken(bytes: Uint8Array): Model | undefined {
  const model: OnnxModel = readOnnx(bytes);
  const tensors = new Map<string, Tensor>();
  const nodes: Node[] = [];
  const tensorOf = ({ data, shape, dtype }: StoredTensor): Tensor => ({ data: [...data], shape: [...shape], dtype });
  for (const [name, tensor] of model.initializers) tensors.set(name, tensorOf(tensor));
  for (const { op, name, inputs, outputs, attributes, graphs, domain } of model.nodes) {
    if (graphs.length || domain) return undefined;
    if (op === 'Constant') {
      const value = attributes.get('value');
      if (typeof value !== 'object' || value === null || !('dtype' in value)) return undefined;
      tensors.set(outputs[0], tensorOf(value));
      continue;
    }
    const own: Record<string, WritableAttribute> = {};
    for (const [key, value] of attributes) {
      if (typeof value === 'number') own[key] = FLOATS.has(key) ? { float: value } : value;
      else if (typeof value === 'string' || Array.isArray(value)) own[key] = value as string | number[];
      else return undefined;
    }
    nodes.push({ op, name, inputs: [...inputs], outputs: [...outputs], attributes: own });
  }
  const inputs = new Map([...model.inputs].map(([name, shape]) => [name, shape.map((length) => length ?? 'n')]));
  return { opset: model.opset, ir: model.irVersion, nodes, tensors, inputs, outputs: [...model.outputs] };
}

const FLOATS = new Set(['alpha', 'beta', 'gamma', 'epsilon', 'momentum', 'ratio', 'min', 'max']);

export function written({ opset, ir, nodes, tensors, inputs, outputs }: Model, constants: boolean): Uint8Array {
  const literal = (name: string, { data, shape, dtype }: Tensor) => {
    const tensor = tensorField(5, name, encode(data, dtype), shape, dtype);
    return lengthField(1, [
      lengthField(2, name),
      lengthField(4, 'Constant'),
      lengthField(5, [lengthField(1, 'value'), tensor, integerField(20, 4)]),
    ]);
  };
  return concat([
    integerField(1, ir),
    lengthField(7, [
      ...(constants ? [...tensors].map(([name, tensor]) => literal(name, tensor)) : []),
      ...nodes.map(({ op, name, inputs: i, outputs: o, attributes }) => nodeField(op, name, i, o, attributes)),
      lengthField(2, 'g'),
      ...(constants
        ? []
        : [...tensors].map(([name, t]) => tensorField(5, name, encode(t.data, t.dtype), t.shape, t.dtype))),
      ...[...inputs].map(([name, shape]) => valueField(11, name, shape)),
      ...(ir < 4 && !constants ? [...tensors].map(([name, t]) => valueField(11, name, t.shape, t.dtype)) : []),
      ...outputs.map((name) =>
        lengthField(12, [lengthField(1, name), lengthField(2, [lengthField(1, [integerField(1, 1)])])]),
      ),
    ]),
    lengthField(8, [lengthField(1, ''), integerField(2, opset)]),
  ]);
}
