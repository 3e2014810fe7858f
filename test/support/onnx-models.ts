// ONNX models written in a few lines.

import { concat } from '../../src/formats/bytes.ts';
import {
  nodeField,
  tensorField,
  valueField,
  type WritableAttribute,
  writeModel,
} from '../../src/formats/onnx-write.ts';
import { lengthField } from '../../src/formats/protobuf.ts';

export interface NodeText {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<Record<string, WritableAttribute>>;
  /** Graphs inside the node. */
  readonly graphs?: Readonly<Record<string, ModelText>>;
  readonly domain?: string;
}

interface ModelText {
  readonly nodes: readonly NodeText[];
  readonly inputs?: Readonly<Record<string, readonly (number | string)[]>>;
  readonly outputs: readonly string[];
  readonly constants?: Readonly<Record<string, { data: ArrayLike<number>; shape: readonly number[]; dtype?: string }>>;
  readonly types?: Readonly<Record<string, string>>;
}

/** `op(a, b) → y`, with attributes. */
export function node(
  op: string,
  inputs: string,
  outputs: string,
  attributes: Readonly<Record<string, WritableAttribute>> = {},
): NodeText {
  const names = (text: string) => (text === '' ? [] : text.split(' ').map((name) => (name === '-' ? '' : name)));
  return { op, inputs: names(inputs), outputs: names(outputs), attributes };
}

export const ints = (...data: number[]) => ({ data, shape: [data.length], dtype: 'I64' });
export const floats = (shape: readonly number[], data?: readonly number[]) => {
  const size = shape.reduce((product, length) => product * length, 1);
  return { data: Float32Array.from({ length: size }, (_, i) => data?.[i] ?? Math.sin(3 * i + 1)), shape, dtype: 'F32' };
};

function fieldsOf({ nodes, inputs = {}, outputs, constants = {}, types = {} }: ModelText): Uint8Array[] {
  return [
    ...nodes.map(({ op, inputs: from, outputs: to, attributes, graphs = {}, domain }) => {
      const field = nodeField(op, `${op}_${to[0]}`, from, to, attributes);
      const more = Object.entries(graphs).map(([name, graph]) =>
        lengthField(5, [lengthField(1, name), lengthField(6, fieldsOf(graph))]),
      );
      if (domain) more.push(lengthField(7, domain));
      if (more.length === 0) return field;
      // the field of the node, with more behind what it has
      let at = 1;
      while (field[at] & 128) at++;
      return lengthField(1, concat([field.subarray(at + 1), ...more]));
    }),
    ...Object.entries(constants).map(([name, { data, shape, dtype }]) => tensorField(5, name, data, shape, dtype)),
    ...Object.entries(inputs).map(([name, shape]) => valueField(11, name, shape, types[name])),
    ...outputs.map((name) => valueField(12, name, [])),
  ];
}

export const onnxModel = (text: ModelText, opset = 17) => writeModel(fieldsOf(text), opset);
