// ONNX models written in a few lines.

import { concat } from '../../src/formats/bytes.ts';
import {
  nodeField,
  tensorField,
  valueField,
  type WritableAttribute,
  writeModel,
} from '../../src/formats/onnx-write.ts';
import { floatField, integerField, lengthField } from '../../src/formats/protobuf.ts';

export interface NodeText {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<Record<string, WritableAttribute>>;
  /** Graphs inside the node. */
  readonly graphs?: Readonly<Record<string, ModelText>>;
  readonly domain?: string;
  /** Attributes that are numbers of the function around the node, by their names there. */
  readonly references?: Readonly<Record<string, string>>;
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
    ...nodes.map(({ op, inputs: from, outputs: to, attributes, graphs = {}, domain, references = {} }) => {
      const field = nodeField(op, `${op}_${to[0]}`, from, to, attributes);
      const more = Object.entries(graphs).map(([name, graph]) =>
        lengthField(5, [lengthField(1, name), lengthField(6, fieldsOf(graph))]),
      );
      if (domain) more.push(lengthField(7, domain));
      for (const [key, reference] of Object.entries(references)) {
        more.push(lengthField(5, [lengthField(1, key), lengthField(21, reference), integerField(20, 1)]));
      }
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

export interface FunctionText {
  readonly name: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly nodes: readonly NodeText[];
  /** Attributes that calls may leave out: numbers. */
  readonly defaults?: Readonly<Record<string, number>>;
  readonly opset?: number;
}

/** A model with functions of the domain `own`. */
export function modelWithFunctions(text: ModelText, functions: readonly FunctionText[], opset = 18): Uint8Array {
  const written = functions.map(({ name, inputs, outputs, nodes, defaults = {}, opset: version = opset }) =>
    lengthField(25, [
      lengthField(1, name),
      lengthField(10, 'own'),
      ...inputs.map((one) => lengthField(4, one)),
      ...outputs.map((one) => lengthField(5, one)),
      lengthField(9, [lengthField(1, ''), integerField(2, version)]),
      // nodes of a function lie in its field 7, as those of a graph in its field 1
      ...fieldsOf({ nodes, outputs: [] }).map((field) => Uint8Array.from([(7 << 3) | 2, ...field.subarray(1)])),
      ...Object.entries(defaults).map(([key, value]) =>
        lengthField(11, [lengthField(1, key), floatField(2, value), integerField(20, 1)]),
      ),
    ]),
  );
  return concat([writeModel(fieldsOf(text), opset), ...written]);
}
