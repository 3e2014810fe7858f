// A TensorProto: its values in one block, in lists by type, or in a file beside the model.

import { malformed, show } from '../errors.ts';
import { type Bytes, quote } from './bytes.ts';
import { bytesPerValue, decode, isEnd, type StoredTensor, type Values } from './dtypes.ts';
import { bytesIn, Field, floatOf, innerFields, numberIn, numbersIn, textIn, viewOf } from './protobuf.ts';
import { isInside } from './zip.ts';

const FORMAT = 'ONNX';

/** Files beside a model, by their location in it. */
export type TensorFiles =
  | ReadonlyMap<string, Bytes>
  | Readonly<Record<string, Bytes>>
  | ((location: string) => Bytes | undefined);

/** TensorProto.DataType in the words of safetensors. */
export const TYPES: Readonly<Record<number, string>> = {
  1: 'F32',
  2: 'U8',
  3: 'I8',
  4: 'U16',
  5: 'I16',
  6: 'I32',
  7: 'I64',
  8: 'STRING',
  9: 'BOOL',
  10: 'F16',
  11: 'F64',
  12: 'U32',
  13: 'U64',
  14: 'C64',
  15: 'C128',
  16: 'BF16',
  17: 'F8_E4M3',
  19: 'F8_E5M2',
};

/** Fields of a tensor that hold its values where raw_data does not, by type. */
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

/** More axes than NumPy has. */
const MOST_AXES = 64;
const NO_ENTRIES: ReadonlyMap<string, string> = /* @__PURE__ */ new Map();

/** Bytes, and where they lie in their file. */
interface Raw {
  readonly bytes: Uint8Array;
  readonly offset: number;
}

export class OnnxTensor implements StoredTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Bytes that lie in another file. */
  readonly outside: number = 0;
  readonly #field: Field;
  readonly #part: string;
  /** Its bytes, or the field that has them. */
  readonly #raw: Raw | Field | undefined;

  constructor(part: string, field: Field, find: (location: string) => Uint8Array | undefined) {
    let name = '';
    let type = 0;
    let isOutside = false;
    let raw: Field | undefined;
    const shape: number[] = [];
    let entries: Map<string, string> | undefined;
    for (const inner of innerFields(FORMAT, part, field)) {
      if (inner.number === 1) {
        for (const length of numbersIn(FORMAT, `${part} dims`, inner)) {
          if (shape.length === MOST_AXES)
            throw malformed(FORMAT, `${part} dims`, `at most ${MOST_AXES} axes`, 'more', inner.offset);
          shape.push(length);
        }
      } else if (inner.number === 2) type = numberIn(FORMAT, `${part} data_type`, inner);
      else if (inner.number === 8) name = textIn(FORMAT, `${part} name`, inner);
      else if (inner.number === 9) {
        if (raw) throw malformed(FORMAT, part, 'raw_data once', 'it again', inner.offset);
        raw = inner;
      } else if (inner.number === 13) {
        entries ??= new Map();
        if (entries.size < 16) entries.set(...entryOf(part, inner));
      } else if (inner.number === 14) isOutside = numberIn(FORMAT, part, inner) === 1;
      else if (inner.number === 3)
        throw malformed(FORMAT, `${part} ${quote(name)}`, 'a whole tensor', 'a segment', inner.offset);
    }
    this.name = name;
    this.dtype = TYPES[type] ?? `type ${type}`;
    this.shape = shape.slice();
    this.#field = field;
    this.#part = part;
    for (const length of shape) {
      if (!(length >= 0)) throw this.#wrong('a shape of fewer than 2^53 values', show(shape));
    }
    if (!Number.isSafeInteger(this.#count * 16)) throw this.#wrong('a shape of fewer than 2^53 values', show(shape));
    if (isOutside) {
      const { bytes, offset } = this.#fromFile(entries ?? NO_ENTRIES, find);
      this.#raw = { bytes, offset };
      this.outside = bytes.length;
    } else if (raw) {
      bytesIn(FORMAT, this.#label, raw);
      this.#raw = raw;
    }
    const size = bytesPerValue(this.dtype);
    const { bytes, offset } = this.#stored ?? {};
    if (bytes && offset !== undefined && size !== undefined && bytes.length !== this.#count * size) {
      const expected = `${this.#count * size} bytes for this shape and type`;
      throw malformed(FORMAT, this.#label, expected, `${bytes.length}`, isOutside ? field.offset : offset);
    }
  }

  get #count(): number {
    return this.shape.reduce((product, length) => product * length, 1);
  }

  #wrong(expected: string, got: string): Error {
    return malformed(FORMAT, this.#label, expected, got, this.#field.offset);
  }

  get raw(): Uint8Array {
    return this.#field.raw;
  }

  get #label(): string {
    return `${this.#part} ${quote(this.name)}`;
  }

  /** A view is made when it is asked for: it costs more than most tensors. */
  get #stored(): Raw | undefined {
    const raw = this.#raw;
    return raw instanceof Field ? { bytes: raw.value as Uint8Array, offset: raw.offset } : raw;
  }

  get bytes(): Uint8Array | undefined {
    return this.#stored?.bytes;
  }

  get data(): Values {
    const stored = this.#stored;
    if (stored) return decode(FORMAT, this.name, this.dtype, stored.bytes, stored.offset, true);
    return this.#fromLists();
  }

  #fromFile(entries: ReadonlyMap<string, string>, find: (location: string) => Uint8Array | undefined): Raw {
    const location = checkLocation(this.#label, entries.get('location') ?? '', this.#field);
    const file = find(location);
    if (!file) {
      const way = `readOnnx(bytes, { files: { ${quote(location)}: its bytes } })`;
      throw this.#wrong(`the file ${quote(location)}, which holds its values: ${way}`, 'none');
    }
    const offset = this.#position(entries, 'offset') ?? 0;
    const length = this.#position(entries, 'length') ?? Math.max(file.length - offset, 0);
    if (offset + length > file.length)
      throw this.#wrong(`bytes ${offset} to ${offset + length} of ${quote(location)}`, `a file of ${file.length}`);
    return { bytes: file.subarray(offset, offset + length), offset };
  }

  #position(entries: ReadonlyMap<string, string>, key: 'offset' | 'length'): number | undefined {
    const text = entries.get(key);
    if (text === undefined) return undefined;
    if (!/^\d{1,15}$/.test(text)) throw this.#wrong(`a whole number as ${key} of its external data`, quote(text));
    return Number(text);
  }

  /** Values of lists: counted first, so that a shape that lies takes no memory. */
  #fromLists(): Values {
    const number = LISTS[this.dtype];
    const count = this.#count;
    if (number === undefined) throw this.#wrong('values of a type that there is here', `type ${this.dtype}`);
    let found = 0;
    for (const field of this.#lists(number)) found += this.#numbersIn(field, number);
    if (found !== count) throw this.#wrong(`${count} values of type ${this.dtype}`, `${found}`);
    const single = this.dtype === 'F32' || this.dtype === 'F16' || this.dtype === 'BF16';
    const values = single ? new Float32Array(count) : new Float64Array(count);
    let at = 0;
    const put = (value: number) => {
      values[at++] = value;
    };
    for (const field of this.#lists(number)) this.#numbersIn(field, number, put);
    return values;
  }

  *#lists(number: number): Generator<Field> {
    for (const field of innerFields(FORMAT, this.#label, this.#field)) if (field.number === number) yield field;
  }

  /** How many numbers a field of a list has; `put` takes them. */
  #numbersIn(field: Field, list: number, put?: (value: number) => void): number {
    const { value, offset } = field;
    if (list === 4 || list === 10) {
      if (typeof value === 'number') {
        put?.(floatOf(value));
        return 1;
      }
      const size = list === 4 ? 4 : 8;
      if (put) {
        const view = viewOf(value);
        for (let at = 0; at + size <= value.length; at += size)
          put(size === 4 ? view.getFloat32(at, true) : view.getFloat64(at, true));
      }
      return value.length / size;
    }
    // halves come as the integer of their bits
    const isHalf = this.dtype === 'F16' || this.dtype === 'BF16';
    const bits = isHalf ? new Uint8Array(2) : undefined;
    let count = 0;
    for (const item of numbersIn(FORMAT, this.#label, field)) {
      count++;
      if (!put) continue;
      if (bits) {
        bits[0] = item & 255;
        bits[1] = (item >> 8) & 255;
        put(decode(FORMAT, this.#label, this.dtype, bits, offset)[0]);
      } else if (Number.isSafeInteger(item) || isEnd(item)) put(item);
      else throw malformed(FORMAT, this.#label, 'integers below 2^53', 'larger ones', offset);
    }
    return count;
  }
}

/** A location in the model's folder, and nowhere else. */
function checkLocation(label: string, location: string, field: Field): string {
  if (location !== '' && isInside(location) && !/[\\:]/.test(location)) return location;
  const got = location ? quote(location) : 'no location';
  throw malformed(FORMAT, label, 'external data in a file beside the model', got, field.offset);
}

/** The file that a tensor's values lie in; undefined where they are in the model. */
export function locationOf(part: string, field: Field): string | undefined {
  let location = '';
  let isOutside = false;
  for (const inner of innerFields(FORMAT, part, field)) {
    if (inner.number === 14) isOutside = numberIn(FORMAT, part, inner) === 1;
    else if (inner.number === 13) {
      const [key, value] = entryOf(part, inner);
      if (key === 'location') location = value;
    }
  }
  return isOutside ? checkLocation(part, location, field) : undefined;
}

/** A StringStringEntryProto. */
function entryOf(part: string, field: Field): [string, string] {
  const entry: [string, string] = ['', ''];
  for (const inner of innerFields(FORMAT, part, field))
    if (inner.number <= 2) entry[inner.number - 1] = textIn(FORMAT, part, inner);
  return entry;
}
