// The wire format of protocol buffers (protobuf.dev/programming-guides/encoding), as far as ONNX
// uses it. Messages are read one level at a time, by who knows what a field means: nothing here
// recurses.

import { malformed } from '../errors.ts';
import { concat, quote } from './bytes.ts';

const MOST_FIELD = 0x1fff_ffff;

/**
 * A field of a protocol buffer message. Its content stays where it lies in the file until it is
 * read.
 */
export class Field {
  /** The field's number in its message. */
  readonly number: number;
  /**
   * The message's bytes, or those of a message around it; `start`, `begin` and `end` count in them.
   */
  readonly bytes: Uint8Array;
  /** Where the field begins in `bytes`, its tag included. */
  readonly start: number;
  /** Where the field's value begins in `bytes`. */
  readonly begin: number;
  /** Where the field ends in `bytes`. */
  readonly end: number;
  readonly #scalar: number | undefined;
  readonly #base: number;

  constructor(
    number: number,
    bytes: Uint8Array,
    base: number,
    [start, begin, end]: readonly [number, number, number],
    scalar: number | undefined,
  ) {
    this.number = number;
    this.bytes = bytes;
    this.#base = base;
    this.start = start;
    this.begin = begin;
    this.end = end;
    this.#scalar = scalar;
  }

  /**
   * Varints and fixed 32-bit words as a number; fixed 64-bit words and everything that has a length
   * as bytes.
   */
  get value(): number | Uint8Array {
    return this.#scalar ?? this.bytes.subarray(this.begin, this.end);
  }

  /** Is the value a number? */
  get isNumber(): boolean {
    return this.#scalar !== undefined;
  }

  /** Where the value begins in the file. */
  get offset(): number {
    return this.#base + this.begin;
  }

  /** Where `bytes` begins in the file. */
  get base(): number {
    return this.#base;
  }

  /** The whole field, tag and all, as it stands in the file. */
  get raw(): Uint8Array {
    return this.bytes.subarray(this.start, this.end);
  }
}

/** Reads numbers of variable length, one after another. */
class VarintReader {
  readonly #format: string;
  readonly #part: string;
  readonly #bytes: Uint8Array;
  readonly #end: number;
  readonly #base: number;
  at: number;

  constructor(format: string, part: string, bytes: Uint8Array, at: number, end: number, base: number) {
    this.#format = format;
    this.#part = part;
    this.#bytes = bytes;
    this.#end = end;
    this.#base = base;
    this.at = at;
  }

  /** The next number. A negative int64 comes as ten bytes, its two's complement. */
  next(): number {
    const bytes = this.#bytes;
    const start = this.at;
    let low = 0;
    let high = 0;
    for (let i = 0; i < 10; i++) {
      if (this.at >= this.#end) throw this.#error('the end of a number', 'the end', this.at);
      const byte = bytes[this.at++];
      if (i < 4) low += (byte & 127) * 2 ** (7 * i);
      else high += (byte & 127) * 2 ** (7 * (i - 4));
      if (byte >= 128) continue;
      return i < 9 ? low + high * 2 ** 28 : Number(BigInt.asIntN(64, BigInt(low) + BigInt(high) * BigInt(2 ** 28)));
    }
    throw this.#error('a number of at most 10 bytes', 'more', start);
  }

  #error(expected: string, got: string, at: number): Error {
    return malformed(this.#format, this.#part, expected, got, this.#base + at);
  }
}

/** The fields of a message, one after another. Throws ERR_FORMAT where it is none. */
export function* fieldsOf(
  format: string,
  part: string,
  bytes: Uint8Array,
  base = 0,
  from = 0,
  end = bytes.length,
): Generator<Field> {
  const reader = new VarintReader(format, part, bytes, from, end, base);
  while (reader.at < end) {
    const start = reader.at;
    const tag = reader.next();
    const number = Math.floor(tag / 8);
    if (number < 1 || number > MOST_FIELD) throw malformed(format, part, 'a field', `field ${number}`, base + start);
    const wire = tag % 8;
    if (wire === 0) {
      const begin = reader.at;
      const value = reader.next();
      yield new Field(number, bytes, base, [start, begin, reader.at], value);
      continue;
    }
    const length = wire === 1 ? 8 : wire === 5 ? 4 : wire === 2 ? reader.next() : -1;
    if (wire !== 2 && length < 0) throw malformed(format, part, 'a known wire type', `${wire}`, base + start);
    const left = end - reader.at;
    if (!(length >= 0 && length <= left)) {
      throw malformed(format, part, `at most ${left} bytes in field ${number}`, `${length}`, base + start);
    }
    const begin = reader.at;
    reader.at += length;
    const word = wire === 5 ? wordAt(bytes, begin) : undefined;
    yield new Field(number, bytes, base, [start, begin, reader.at], word);
  }
}

function wordAt(bytes: Uint8Array, at: number): number {
  return (bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)) >>> 0;
}

/** The fields of the message that a field holds. */
export function innerFields(format: string, part: string, field: Field): Generator<Field> {
  if (field.isNumber) throw notBytes(format, part, field);
  return fieldsOf(format, part, field.bytes, field.base, field.begin, field.end);
}

export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The value of a field that must be a number. */
export function numberIn(format: string, part: string, { value, number, offset }: Field): number {
  if (typeof value === 'number') return value;
  throw malformed(format, part, `a number in field ${number}`, `${value.length} bytes`, offset);
}

/** The value of a field that must be bytes. */
export function bytesIn(format: string, part: string, field: Field): Uint8Array {
  if (typeof field.value !== 'number') return field.value;
  throw notBytes(format, part, field);
}

function notBytes(format: string, part: string, { value, number, offset }: Field): Error {
  return malformed(format, part, `bytes in field ${number}`, `${value}`, offset);
}

const utf8 = /* @__PURE__ */ new TextDecoder('utf-8', { fatal: true });

/** The value of a field that must be a text. */
export function textIn(format: string, part: string, field: Field): string {
  const { bytes, begin, end } = field;
  if (field.isNumber) throw notBytes(format, part, field);
  // names are short and plain: a third of the time of the decoder
  if (end - begin <= 48) {
    let at = begin;
    while (at < end && bytes[at] < 128) at++;
    // at once: a text put together from letters is kept as letters
    if (at === end) return String.fromCharCode.apply(null, bytes.subarray(begin, end) as unknown as number[]);
  }
  try {
    return utf8.decode(bytes.subarray(begin, end));
  } catch {
    const shown = String.fromCharCode(...bytes.subarray(begin, Math.min(end, begin + 20)));
    throw malformed(format, part, 'UTF-8', quote(shown), field.offset);
  }
}

/** A 32-bit word as the float that it is. */
export function floatOf(word: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, word);
  return view.getFloat32(0);
}

/** Numbers of a repeated field, which may come one by one or packed. */
export function* numbersIn(format: string, part: string, field: Field): Generator<number> {
  const { value, bytes, begin, end, base } = field;
  if (typeof value === 'number') {
    yield value;
    return;
  }
  const reader = new VarintReader(format, part, bytes, begin, end, base);
  while (reader.at < end) yield reader.next();
}

// ---- writing

function varintBytes(value: number): number[] {
  const out: number[] = [];
  let rest = value < 0 ? BigInt.asUintN(64, BigInt(value)) : BigInt(value);
  for (; rest > 127n; rest >>= 7n) out.push(Number(rest & 127n) | 128);
  out.push(Number(rest));
  return out;
}

/** A field with an integer. */
export function integerField(number: number, value: number): Uint8Array {
  return Uint8Array.from([...varintBytes(number * 8), ...varintBytes(value)]);
}

/** A field with a float of 32 bits. */
export function floatField(number: number, value: number): Uint8Array {
  return concat([Uint8Array.from(varintBytes(number * 8 + 5)), new Uint8Array(Float32Array.of(value).buffer)]);
}

/** What stands before the bytes of a field that has some. */
export function lengthHeader(number: number, length: number): Uint8Array {
  return Uint8Array.from([...varintBytes(number * 8 + 2), ...varintBytes(length)]);
}

/** A field with bytes, a text, or a message as the fields it is made of. */
export function lengthField(number: number, value: Uint8Array | string | readonly Uint8Array[]): Uint8Array {
  const bytes =
    typeof value === 'string' ? new TextEncoder().encode(value) : value instanceof Uint8Array ? value : concat(value);
  return concat([lengthHeader(number, bytes.length), bytes]);
}
