// ONNX models (onnx.proto3, github.com/onnx/onnx): the graph, its nodes and its initializers. Data in other files is not read: that is a hole
// through which models have read whatever they liked (CVE-2022-25882 and its successors).

import { malformed, show } from '../errors.ts';
import { type Bytes, bytesFrom, concat, quote } from './bytes.ts';
import { bytesPerValue, decode, encode, type StoredTensor, type Values } from './dtypes.ts';
import { bytesIn, type Field, fieldsOf, floatOf, numberIn, numbersIn, textIn, viewOf } from './protobuf.ts';

const FORMAT = 'ONNX';

/** An attribute of a node, as what it is. */
export type OnnxAttribute = number | string | readonly number[] | StoredTensor | undefined;

export interface OnnxNode {
  readonly op: string;
  /** `''` is ONNX's own. */
  readonly domain: string;
  readonly name: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Numbers, texts, lists of numbers, tensors; undefined where an attribute is something else. */
  readonly attributes: ReadonlyMap<string, OnnxAttribute>;
  /** Names that graphs inside the node use: of what lies outside of them, among others. */
  readonly captured: readonly string[];
  /** Where the node lies in the file, and how: the whole field. */
  readonly offset: number;
  readonly raw: Uint8Array;
}

export interface OnnxInitializer extends StoredTensor {
  /** The whole field of the graph. */
  readonly raw: Uint8Array;
}

export interface OnnxModel {
  /** Version of the operators of ONNX's own domain. */
  readonly opset: number;
  readonly irVersion: number;
  readonly producer: string;
  readonly nodes: readonly OnnxNode[];
  readonly initializers: ReadonlyMap<string, OnnxInitializer>;
  /** Shapes of the graph's inputs by name; undefined for a length that is not given. */
  readonly inputs: ReadonlyMap<string, readonly (number | undefined)[]>;
  readonly outputs: readonly string[];
  /** Shapes of values, as far as the model says them. */
  readonly shapes: ReadonlyMap<string, readonly (number | undefined)[]>;
  /** The model's and its graph's fields in order: what a changed model is written from. */
  readonly fields: readonly Field[];
  readonly graphFields: readonly Field[];
}

const MOST_DEPTH = 16;

/** TensorProto.DataType in the words of safetensors, and which list holds its values where raw_data does not. */
export const TYPES: Readonly<Record<number, string>> = {
  1: 'F32',
  2: 'U8',
  3: 'I8',
  4: 'U16',
  5: 'I16',
  6: 'I32',
  7: 'I64',
  9: 'BOOL',
  10: 'F16',
  11: 'F64',
  12: 'U32',
  13: 'U64',
  14: 'C64',
  15: 'C128',
  16: 'BF16',
};

/**
 * Reads an ONNX model.
 *
 * @throws ERR_FORMAT for bytes that are no model, for data in other files, and for sparse initializers: which part, and at which offset
 */
export function readOnnx(file: Bytes): OnnxModel {
  const bytes = bytesFrom(FORMAT, file);
  const fields = [...fieldsOf(FORMAT, 'model', bytes, 0)];
  let opset: number | undefined;
  let irVersion = 0;
  let producer = '';
  let graph: Field | undefined;
  for (const field of fields) {
    if (field.number === 1) irVersion = numberIn(FORMAT, 'ir_version', field);
    else if (field.number === 2) producer = textIn(FORMAT, 'producer_name', field);
    else if (field.number === 7) {
      if (graph) throw malformed(FORMAT, 'graph', 'one', 'a second', field.offset);
      graph = field;
    } else if (field.number === 8) {
      const { domain, version } = opsetOf(field);
      if (domain === '' || domain === 'ai.onnx') opset = version;
    }
  }
  if (!graph) throw malformed(FORMAT, 'model', 'a graph', 'none', bytes.length);
  if (opset === undefined)
    throw malformed(FORMAT, 'opset_import', "a version of ONNX's own operators", 'none', bytes.length);
  return { opset, irVersion, producer, fields, ...graphOf(graph) };
}

function opsetOf(field: Field): { domain: string; version: number } {
  let domain = '';
  let version = 0;
  for (const inner of fieldsOf(FORMAT, 'opset_import', bytesIn(FORMAT, 'opset_import', field), field.offset)) {
    if (inner.number === 1) domain = textIn(FORMAT, 'opset_import', inner);
    else if (inner.number === 2) version = numberIn(FORMAT, 'opset_import', inner);
  }
  return { domain, version };
}

function graphOf(graph: Field) {
  const graphFields = [...fieldsOf(FORMAT, 'graph', bytesIn(FORMAT, 'graph', graph), graph.offset)];
  const nodes: OnnxNode[] = [];
  const initializers = new Map<string, OnnxInitializer>();
  const inputs = new Map<string, (number | undefined)[]>();
  const outputs: string[] = [];
  const shapes = new Map<string, (number | undefined)[]>();
  for (const field of graphFields) {
    if (field.number === 1) nodes.push(nodeOf(field, 0));
    else if (field.number === 5) {
      const { name, tensor } = tensorOf('initializer', field);
      if (initializers.has(name))
        throw malformed(FORMAT, `initializer ${quote(name)}`, 'each name once', 'it again', field.offset);
      initializers.set(name, Object.defineProperty(tensor, 'raw', { value: field.raw }) as OnnxInitializer);
    } else if (field.number === 11 || field.number === 12 || field.number === 13) {
      const { name, shape } = valueInfoOf(field);
      if (shape) shapes.set(name, shape);
      if (field.number === 11) inputs.set(name, shape ?? []);
      else if (field.number === 12) outputs.push(name);
    } else if (field.number === 15)
      throw malformed(FORMAT, 'sparse_initializer', 'dense tensors', 'a sparse one', field.offset);
  }
  for (const name of initializers.keys()) inputs.delete(name); // before version 4 of the format initializers were inputs as well
  return { nodes, initializers, inputs, outputs, shapes, graphFields };
}

function nodeOf(field: Field, depth: number): OnnxNode {
  const node = {
    op: '',
    domain: '',
    name: '',
    inputs: [] as string[],
    outputs: [] as string[],
    captured: [] as string[],
  };
  const attributes = new Map<string, OnnxAttribute>();
  for (const inner of fieldsOf(FORMAT, 'node', bytesIn(FORMAT, 'node', field), field.offset)) {
    if (inner.number === 1) node.inputs.push(textIn(FORMAT, 'node input', inner));
    else if (inner.number === 2) node.outputs.push(textIn(FORMAT, 'node output', inner));
    else if (inner.number === 3) node.name = textIn(FORMAT, 'node name', inner);
    else if (inner.number === 4) node.op = textIn(FORMAT, 'node op_type', inner);
    else if (inner.number === 5) {
      const { name, value } = attributeOf(inner, node.captured, depth);
      if (attributes.has(name))
        throw malformed(FORMAT, `attribute ${quote(name)}`, 'each name once', 'it again', inner.offset);
      attributes.set(name, value);
    } else if (inner.number === 7) node.domain = textIn(FORMAT, 'node domain', inner).replace(/^ai\.onnx$/, '');
  }
  return { ...node, attributes, offset: field.offset, raw: field.raw };
}

function attributeOf(field: Field, captured: string[], depth: number): { name: string; value: OnnxAttribute } {
  let name = '';
  let value: OnnxAttribute;
  let list: number[] | undefined;
  let type = 0;
  for (const inner of fieldsOf(FORMAT, 'attribute', bytesIn(FORMAT, 'attribute', field), field.offset)) {
    if (inner.number === 1) name = textIn(FORMAT, 'attribute name', inner);
    else if (inner.number === 20) type = numberIn(FORMAT, 'attribute type', inner);
    else if (inner.number === 2) value = floatOf(numberIn(FORMAT, 'attribute', inner));
    else if (inner.number === 3) value = numberIn(FORMAT, 'attribute', inner);
    else if (inner.number === 4) value = textOrNothing(bytesIn(FORMAT, 'attribute', inner));
    else if (inner.number === 5) value = tensorOf('attribute tensor', inner).tensor;
    else if (inner.number === 6 || inner.number === 11) capture(inner, captured, depth + 1);
    else if (inner.number === 7) {
      list ??= [];
      for (const item of floatsIn('attribute floats', inner)) list.push(item);
    } else if (inner.number === 8) {
      list ??= [];
      for (const item of numbersIn(FORMAT, 'attribute ints', inner)) list.push(item);
    }
  }
  // a list of numbers that is empty has no field
  if (list || type === 6 || type === 7) value = list ?? [];
  return { name, value };
}

/** Attributes may be bytes that are no text. */
function textOrNothing(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** Names that a graph inside a node uses. */
function capture(graph: Field, captured: string[], depth: number): void {
  if (depth > MOST_DEPTH)
    throw malformed(FORMAT, 'graph in a node', `at most ${MOST_DEPTH} levels`, 'more', graph.offset);
  for (const field of fieldsOf(FORMAT, 'graph', bytesIn(FORMAT, 'graph', graph), graph.offset)) {
    if (field.number === 1) {
      const { inputs, captured: inner } = nodeOf(field, depth);
      for (const name of [...inputs, ...inner]) captured.push(name);
    } else if (field.number === 12) captured.push(valueInfoOf(field).name);
  }
}

function valueInfoOf(field: Field): { name: string; shape: (number | undefined)[] | undefined } {
  let name = '';
  let shape: (number | undefined)[] | undefined;
  const into = function* (outer: Field, number: number): Generator<Field> {
    for (const inner of fieldsOf(FORMAT, 'value_info', bytesIn(FORMAT, 'value_info', outer), outer.offset)) {
      if (inner.number === number) yield inner;
    }
  };
  for (const inner of into(field, 1)) name = textIn(FORMAT, 'value_info name', inner);
  for (const type of into(field, 2)) {
    for (const tensor of into(type, 1)) {
      for (const dims of into(tensor, 2)) {
        shape ??= [];
        for (const dim of into(dims, 1)) {
          let length: number | undefined;
          for (const value of into(dim, 1)) length = numberIn(FORMAT, 'value_info', value);
          shape.push(length !== undefined && Number.isSafeInteger(length) && length >= 0 ? length : undefined);
        }
      }
    }
  }
  return { name, shape };
}

function floatsIn(part: string, field: Field): number[] {
  if (typeof field.value === 'number') return [floatOf(field.value)];
  const { value, offset } = field;
  if (value.length % 4) throw malformed(FORMAT, part, 'a multiple of 4 bytes', `${value.length}`, offset);
  const view = viewOf(value);
  return Array.from({ length: value.length / 4 }, (_, i) => view.getFloat32(i * 4, true));
}

/** Fields of a tensor that hold its values, for types that are not in raw_data. */
const LISTS: Readonly<Record<string, number>> = {
  F32: 4,
  F64: 10,
  U64: 11,
  U32: 11,
  I64: 7,
  I32: 5,
  I16: 5,
  I8: 5,
  U16: 5,
  U8: 5,
  BOOL: 5,
  F16: 5,
  BF16: 5,
};

function tensorOf(part: string, field: Field): { name: string; tensor: StoredTensor } {
  let name = '';
  const shape: number[] = [];
  let type = 0;
  let raw: Field | undefined;
  const lists: Field[] = [];
  for (const inner of fieldsOf(FORMAT, part, bytesIn(FORMAT, part, field), field.offset)) {
    if (inner.number === 1) for (const length of numbersIn(FORMAT, `${part} dims`, inner)) shape.push(length);
    else if (inner.number === 2) type = numberIn(FORMAT, `${part} data_type`, inner);
    else if (inner.number === 8) name = textIn(FORMAT, `${part} name`, inner);
    else if (inner.number === 9) {
      if (raw) throw malformed(FORMAT, part, 'raw_data once', 'it again', inner.offset);
      raw = inner;
    } else if (inner.number === 13 || (inner.number === 14 && numberIn(FORMAT, part, inner) !== 0)) {
      throw malformed(FORMAT, `${part} ${quote(name)}`, 'its values in this file', 'external data', inner.offset);
    } else if (inner.number === 3)
      throw malformed(FORMAT, `${part} ${quote(name)}`, 'a whole tensor', 'a segment', inner.offset);
    else if ([4, 5, 7, 10, 11].includes(inner.number)) lists.push(inner);
  }
  const label = `${part} ${quote(name)}`;
  const dtype = TYPES[type] ?? `type ${type}`;
  let count = 1;
  for (const length of shape) {
    count *= length;
    if (!(length >= 0) || !Number.isSafeInteger(count * 16)) {
      throw malformed(FORMAT, label, 'a shape of fewer than 2^53 values', show(shape), field.offset);
    }
  }
  const size = bytesPerValue(dtype);
  if (raw) {
    const { length } = bytesIn(FORMAT, label, raw);
    if (size !== undefined && length !== count * size) {
      throw malformed(FORMAT, label, `${count * size} bytes for this shape and type`, `${length}`, raw.offset);
    }
  }
  const tensor = {
    dtype,
    shape,
    get data(): Values {
      if (raw) return decode(FORMAT, name, dtype, bytesIn(FORMAT, label, raw), raw.offset);
      return fromLists(label, dtype, count, lists, field.offset);
    },
  };
  return { name, tensor };
}

function fromLists(label: string, dtype: string, count: number, lists: readonly Field[], offset: number): Values {
  const number = LISTS[dtype];
  const fail = (got: number) => malformed(FORMAT, label, `${count} values of type ${dtype}`, `${got}`, offset);
  const mine = lists.filter((field) => field.number === number);
  if (number === 4 || number === 10) {
    const bytes = concat(
      mine.map((field) => (typeof field.value === 'number' ? encode([floatOf(field.value)], 'F32') : field.value)),
    );
    if (bytes.length !== count * (number === 4 ? 4 : 8)) throw fail(Math.floor(bytes.length / (number === 4 ? 4 : 8)));
    return decode(FORMAT, label, dtype, bytes, offset);
  }
  const values = mine.flatMap((field) => numbersIn(FORMAT, label, field));
  if (values.length !== count || !number) throw fail(values.length);
  // halves come as the integer of their bits
  if (dtype === 'F16' || dtype === 'BF16') return decode(FORMAT, label, dtype, encode(values, 'U16'), offset);
  if (!values.every((value) => Number.isSafeInteger(value)))
    throw malformed(FORMAT, label, 'integers below 2^53', 'larger ones', offset);
  return Float64Array.from(values);
}
