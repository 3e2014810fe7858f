// Graph models of TF.js written in a few lines.

import { encode } from '../../src/formats/dtypes.ts';

type Attribute = number | string | boolean | readonly (number | string)[] | object;

export interface TfNodeText {
  readonly name: string;
  readonly op: string;
  readonly input: readonly string[];
  readonly attr: object;
}

const TYPES: Readonly<Record<string, string>> = { float32: 'DT_FLOAT', int32: 'DT_INT32', bool: 'DT_BOOL' };
const STORED: Readonly<Record<string, string>> = { float32: 'F32', int32: 'I32', bool: 'BOOL' };

function attributeOf(value: Attribute): object {
  if (typeof value === 'boolean') return { b: value };
  if (typeof value === 'string') return value.startsWith('DT_') ? { type: value } : { s: btoa(value) };
  if (typeof value === 'number') return Number.isInteger(value) ? { i: `${value}` } : { f: value };
  if (!Array.isArray(value)) return value;
  return { list: typeof value[0] === 'string' ? { s: value.map((one) => btoa(one)) } : { i: value.map(String) } };
}

/** `op(a, b)` under a name, with attributes: whole numbers, texts, lists, or as they are. */
export function tfNode(
  op: string,
  input: string,
  name: string,
  attributes: Readonly<Record<string, Attribute>> = {},
): TfNodeText {
  const attr = Object.fromEntries(Object.entries(attributes).map(([key, value]) => [key, attributeOf(value)]));
  return { name, op, input: input === '' ? [] : input.split(' '), attr };
}

export interface TfConstant {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
  readonly dtype: string;
}

export const tfFloats = (shape: readonly number[], data?: readonly number[]): TfConstant => {
  const size = shape.reduce((product, length) => product * length, 1);
  return {
    shape,
    dtype: 'float32',
    data: Float32Array.from({ length: size }, (_, i) => data?.[i] ?? Math.sin(3 * i + 1)),
  };
};
export const tfInts = (...data: number[]): TfConstant => ({ shape: [data.length], dtype: 'int32', data });
export const tfInt = (value: number): TfConstant => ({ shape: [], dtype: 'int32', data: [value] });

export interface GraphText {
  readonly inputs?: Readonly<Record<string, readonly (number | null)[] | undefined>>;
  readonly constants?: Readonly<Record<string, TfConstant>>;
  readonly nodes: readonly TfNodeText[];
  readonly signature?: object;
}

export const tfShape = (shape: readonly (number | null)[]) => ({
  dim: shape.map((length) => ({ size: `${length ?? -1}` })),
});

/** The files of a model: `model.json` and `weights.bin`. */
export function graphModel({ inputs = {}, constants = {}, nodes, signature }: GraphText): Record<string, Uint8Array> {
  const placeholders = Object.entries(inputs).map(([name, shape]) => {
    const attr = { dtype: { type: 'DT_FLOAT' }, ...(shape && { shape: { shape: tfShape(shape) } }) };
    return { name, op: 'Placeholder', attr };
  });
  const consts = Object.entries(constants).map(([name, { dtype }]) => ({
    name,
    op: 'Const',
    attr: { dtype: { type: TYPES[dtype] } },
  }));
  const parts = Object.values(constants).map(({ data, dtype }) => encode(data, STORED[dtype]));
  const bytes = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  const weights = Object.entries(constants).map(([name, { shape, dtype }]) => ({ name, shape, dtype }));
  const model = {
    format: 'graph-model',
    ...(signature && { signature }),
    modelTopology: { node: [...placeholders, ...consts, ...nodes] },
    weightsManifest: [{ paths: ['weights.bin'], weights }],
  };
  return { 'model.json': new TextEncoder().encode(JSON.stringify(model)), 'weights.bin': bytes };
}
