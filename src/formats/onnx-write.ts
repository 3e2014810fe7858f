// Pieces of ONNX models, as fields of the messages they stand in.

import { concat } from './bytes.ts';
import { encode, naturalType } from './dtypes.ts';
import { TYPES } from './onnx-tensor.ts';
import { floatField, integerField, lengthField, lengthHeader } from './protobuf.ts';

/** An attribute as it is written: whole numbers as integers, unless they stand in `{ float }`. */
export type WritableAttribute = number | string | readonly number[] | { readonly float: number };

function typeNumber(dtype: string): number {
  return Number(Object.keys(TYPES).find((key) => TYPES[Number(key)] === dtype));
}

/** A tensor as a field of a message: initializer of a graph (5). */
export function tensorField(
  number: number,
  name: string,
  data: ArrayLike<number>,
  shape: readonly number[],
  dtype: string = naturalType(data),
): Uint8Array {
  const bytes = data instanceof Uint8Array ? data : encode(data, dtype);
  return concat([tensorHeader(number, name, shape, dtype, bytes.length), bytes]);
}

/** What stands before the values of a tensor, of so many bytes; `notes` are more fields of it. */
export function tensorHeader(
  number: number,
  name: string,
  shape: readonly number[],
  dtype: string,
  byteLength: number,
  notes: readonly Uint8Array[] = [],
): Uint8Array {
  const inner = concat([
    ...shape.map((length) => integerField(1, length)),
    integerField(2, typeNumber(dtype)),
    lengthField(8, name),
    ...notes,
    lengthHeader(9, byteLength),
  ]);
  return concat([lengthHeader(number, inner.length + byteLength), inner]);
}

/** A node as a field of a graph. */
export function nodeField(
  op: string,
  name: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attributes: Readonly<Record<string, WritableAttribute>> = {},
): Uint8Array {
  return lengthField(1, [
    ...inputs.map((input) => lengthField(1, input)),
    ...outputs.map((output) => lengthField(2, output)),
    lengthField(3, name),
    lengthField(4, op),
    ...Object.entries(attributes).map(([key, value]) =>
      lengthField(5, [lengthField(1, key), ...attributeFields(value)]),
    ),
  ]);
}

function attributeFields(value: WritableAttribute): Uint8Array[] {
  if (typeof value === 'number') return [integerField(3, value), integerField(20, 2)];
  if (typeof value === 'string') return [lengthField(4, value), integerField(20, 3)];
  if ('float' in value) return [floatField(2, value.float), integerField(20, 1)];
  return [...value.map((item) => integerField(8, item)), integerField(20, 7)];
}

/** An input (11) or output (12) of a graph: lengths by number or by name. */
export function valueField(
  number: 11 | 12,
  name: string,
  shape: readonly (number | string)[],
  dtype = 'F32',
): Uint8Array {
  const dims = shape.map((length) =>
    lengthField(1, [typeof length === 'number' ? integerField(1, length) : lengthField(2, length)]),
  );
  const type = lengthField(1, [integerField(1, typeNumber(dtype)), lengthField(2, dims)]);
  return lengthField(number, [lengthField(1, name), lengthField(2, [type])]);
}

/** A model around a graph's fields. */
export function writeModel(graph: readonly Uint8Array[], opset: number): Uint8Array<ArrayBuffer> {
  return concat([
    integerField(1, 8),
    lengthField(2, 'evenkeel'),
    lengthField(7, graph),
    lengthField(8, [lengthField(1, ''), integerField(2, opset)]),
  ]);
}
