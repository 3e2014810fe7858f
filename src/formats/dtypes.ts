// Number types of files, and what becomes of them here: floats up to 32 bits are Float32Array,
// doubles and integers Float64Array. Nothing is rounded on the way in: an integer that a double
// cannot hold is refused.

import { malformed, wrongValue } from '../errors.ts';
import { quote } from './bytes.ts';

/** Values as the library takes them. */
export type Values = Float32Array<ArrayBuffer> | Float64Array<ArrayBuffer>;

/** Whole numbers that stand for values. */
export type Codes = Uint8Array | Uint16Array | Float32Array | Float64Array;

/** Values by such numbers. */
export interface Coded {
  readonly codes: Uint8Array | Uint16Array;
  /** Where values are code·scale + min in f64: these two. */
  readonly line: { readonly scale: number; readonly min: number } | undefined;
  /** What no absolute value exceeds. */
  readonly most: number;
  /** Writes the value of each code; codes may lie where their values go. */
  decode(codes: Codes, values: Float32Array): void;
}

/** A tensor of a file. Its values are converted, and copied, when `data` is read. */
export interface StoredTensor {
  /** The type in the file, in the words of safetensors: `'F32'`, `'BF16'`, `'I64'` … */
  readonly dtype: string;
  /** Length of each axis, outermost first; `[]` for a single number. */
  readonly shape: readonly number[];
  /** Throws ERR_FORMAT, by the tensor's name, where there is no such type of number here. */
  readonly data: Values;
  /**
   * @internal What `data` is made of, where that is shorter: to be put in another order first.
   */
  readonly coded?: Coded | undefined;
}

/**
 * The tensors of a file by name, in the order of the file. A Map: names such as `__proto__` are
 * names like any other.
 */
export type StoredTensors = ReadonlyMap<string, StoredTensor>;

interface DType {
  readonly bytes: number;
  /** Where the library converts it; else it is carried, but not read. */
  readonly get?: (view: DataView, at: number) => number | bigint;
  readonly set?: (view: DataView, at: number, value: number) => void;
  readonly single?: boolean;
}

const TYPES: Readonly<Record<string, DType>> = {
  F64: { bytes: 8, get: (v, i) => v.getFloat64(i, true), set: (v, i, x) => v.setFloat64(i, x, true) },
  F32: { bytes: 4, get: (v, i) => v.getFloat32(i, true), set: (v, i, x) => v.setFloat32(i, x, true), single: true },
  F16: {
    bytes: 2,
    get: (v, i) => halfToNumber(v.getUint16(i, true)),
    set: (v, i, x) => v.setUint16(i, numberToHalf(x), true),
    single: true,
  },
  BF16: {
    bytes: 2,
    get: (v, i) => bits(v.getUint16(i, true) << 16),
    set: (v, i, x) => v.setUint16(i, numberToBfloat(x), true),
    single: true,
  },
  I64: { bytes: 8, get: (v, i) => v.getBigInt64(i, true), set: (v, i, x) => v.setBigInt64(i, BigInt(x), true) },
  U64: { bytes: 8, get: (v, i) => v.getBigUint64(i, true), set: (v, i, x) => v.setBigUint64(i, BigInt(x), true) },
  I32: { bytes: 4, get: (v, i) => v.getInt32(i, true), set: (v, i, x) => v.setInt32(i, x, true) },
  U32: { bytes: 4, get: (v, i) => v.getUint32(i, true), set: (v, i, x) => v.setUint32(i, x, true) },
  I16: { bytes: 2, get: (v, i) => v.getInt16(i, true), set: (v, i, x) => v.setInt16(i, x, true) },
  U16: { bytes: 2, get: (v, i) => v.getUint16(i, true), set: (v, i, x) => v.setUint16(i, x, true) },
  I8: { bytes: 1, get: (v, i) => v.getInt8(i), set: (v, i, x) => v.setInt8(i, x) },
  U8: { bytes: 1, get: (v, i) => v.getUint8(i), set: (v, i, x) => v.setUint8(i, x) },
  BOOL: { bytes: 1, get: (v, i) => (v.getUint8(i) ? 1 : 0), set: (v, i, x) => v.setUint8(i, x ? 1 : 0) },
  F8_E5M2: { bytes: 1 },
  F8_E4M3: { bytes: 1 },
  C64: { bytes: 8 },
  C128: { bytes: 16 },
};

const readable = () => Object.keys(TYPES).filter((name) => TYPES[name].get);

/** Is it what the largest or the least integer of 64 bits rounds to? */
export const isEnd = (value: number) => Math.abs(value) === 2 ** 63;

/** Bytes of one value; undefined for a type nobody knows. */
export function bytesPerValue(dtype: string): number | undefined {
  return Object.hasOwn(TYPES, dtype) ? TYPES[dtype].bytes : undefined;
}

export const littleEndian = () => new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/**
 * Converts values; `offset` is where they lie in the file.
 *
 * @param hasEnds do the largest and the least integer of 64 bits stand for the end of an axis? They
 * become ±2^63 then
 */
export function decode(
  format: string,
  name: string,
  dtype: string,
  bytes: Uint8Array,
  offset: number,
  hasEnds = false,
): Values {
  const { get, bytes: size, single } = TYPES[dtype] ?? { bytes: 1 };
  if (!get)
    throw malformed(format, `tensor ${quote(name)}`, `a type among ${readable().join(', ')}`, quote(dtype), offset);
  const count = Math.floor(bytes.length / size);
  if (littleEndian() && dtype === 'F32') return new Float32Array(bytes.slice().buffer);
  if (littleEndian() && dtype === 'F64') return new Float64Array(bytes.slice().buffer);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const values = single ? new Float32Array(count) : new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const value = get(view, i * size);
    const number = Number(value);
    if (typeof value === 'bigint' && !Number.isSafeInteger(number) && !(hasEnds && isEnd(number))) {
      throw malformed(format, `tensor ${quote(name)}`, 'integers below 2^53', `${value}`, offset + i * size);
    }
    values[i] = number;
  }
  return values;
}

/**
 * The bytes of values in a type of a file. Throws ERR_OPTION for an integer that it does not hold.
 */
export function encode(values: ArrayLike<number>, dtype: string): Uint8Array<ArrayBuffer> {
  const { get, set, bytes: size } = TYPES[dtype];
  if (littleEndian() && dtype === 'F32') return new Uint8Array(Float32Array.from(values).buffer);
  if (littleEndian() && dtype === 'F64') return new Uint8Array(Float64Array.from(values).buffer);
  const bytes = new Uint8Array(values.length * size);
  const view = new DataView(bytes.buffer);
  const whole = !/^B?F/.test(dtype);
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (whole && !Number.isSafeInteger(value)) throw unheld(dtype, value);
    set!(view, i * size, value);
    if (whole && dtype !== 'BOOL' && Number(get!(view, i * size)) !== value) throw unheld(dtype, value);
  }
  return bytes;
}

function unheld(dtype: string, value: number): Error {
  return wrongValue('ERR_OPTION', 'a file', `dtype ${dtype}`, 'values that it holds', `${value}`);
}

/** Are values of this type numbers here? */
export function isReadable(dtype: string): boolean {
  return Object.hasOwn(TYPES, dtype) && TYPES[dtype].get !== undefined;
}

/** Types of quantised weights, whose scale lies elsewhere, and those that are no numbers here. */
export function isQuantised(dtype: string | undefined): boolean {
  if (dtype === undefined) return false;
  return ['I8', 'U8', 'BOOL'].includes(dtype) || !isReadable(dtype);
}

/** May values be written as this type? */
export function isWritable(dtype: unknown): dtype is string {
  return typeof dtype === 'string' && Object.hasOwn(TYPES, dtype) && TYPES[dtype].set !== undefined;
}

/** The type that holds values without loss. */
export function naturalType(values: ArrayLike<number>): 'F32' | 'F64' {
  return values instanceof Float32Array ? 'F32' : 'F64';
}

const scratch = /* @__PURE__ */ new DataView(/* @__PURE__ */ new ArrayBuffer(4));

function bits(value: number): number {
  scratch.setInt32(0, value);
  return scratch.getFloat32(0);
}

function bitsOf(value: number): number {
  scratch.setFloat32(0, value);
  return scratch.getUint32(0);
}

/** IEEE 754 binary16. */
export function halfToNumber(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** The nearest binary16, ties to even. */
export function numberToHalf(value: number): number {
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size >= 65520) return sign | 0x7c00;
  const exponent = size < 2 ** -14 ? -14 : Math.floor(Math.log2(size));
  // exact: a power of two, and fewer than 53 bits
  const scaled = size * 2 ** (10 - exponent);
  const floor = Math.floor(scaled);
  const rest = scaled - floor;
  const rounded = floor + (rest > 0.5 || (rest === 0.5 && floor & 1) ? 1 : 0);
  return sign | (size < 2 ** -14 ? rounded : ((exponent + 14) << 10) + rounded);
}

/** The nearest bfloat16, ties to even. */
function numberToBfloat(value: number): number {
  if (Number.isNaN(value)) return 0x7fc0;
  const word = bitsOf(value);
  return ((word + 0x7fff + ((word >>> 16) & 1)) >>> 16) & 0xffff;
}
