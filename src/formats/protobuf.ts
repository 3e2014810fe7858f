// The wire format of protocol buffers (protobuf.dev/programming-guides/encoding), as far as ONNX uses it. Messages are read one level at a
// time, by who knows what a field means: nothing here recurses.

import { malformed } from '../errors.ts';
import { concat, quote } from './bytes.ts';

/** A field of a message. */
export interface Field {
  readonly number: number;
  /** Varints and fixed 32-bit words as a number; fixed 64-bit words and everything that has a length as bytes. */
  readonly value: number | Uint8Array;
  /** Where the value begins in the file. */
  readonly offset: number;
  /** The whole field, tag and all, as it stands in the file. */
  readonly raw: Uint8Array;
}

const MOST_FIELD = 2 ** 29 - 1;

/** The number at `at`, and where the next byte is. A negative int64 comes as ten bytes, its two's complement. */
function varintAt(
  format: string,
  part: string,
  bytes: Uint8Array,
  at: number,
  base: number,
): [value: number, next: number] {
  let low = 0;
  let high = 0;
  for (let i = 0; i < 10; i++) {
    if (at + i >= bytes.length) throw malformed(format, part, 'the end of a number', 'the end', base + at + i);
    const byte = bytes[at + i];
    if (i < 4) low += (byte & 127) * 2 ** (7 * i);
    else high += (byte & 127) * 2 ** (7 * (i - 4));
    if (byte >= 128) continue;
    const value =
      i < 9 ? low + high * 2 ** 28 : Number(BigInt.asIntN(64, BigInt(low) + BigInt(high) * BigInt(2 ** 28)));
    return [value, at + i + 1];
  }
  throw malformed(format, part, 'a number of at most 10 bytes', 'more', base + at);
}

/** The fields of a message, one after another. Throws ERR_FORMAT where it is none. */
export function* fieldsOf(format: string, part: string, bytes: Uint8Array, base: number): Generator<Field> {
  let at = 0;
  const varint = (): number => {
    const [value, next] = varintAt(format, part, bytes, at, base);
    at = next;
    return value;
  };
  while (at < bytes.length) {
    const start = at;
    const tag = varint();
    const number = Math.floor(tag / 8);
    if (number < 1 || number > MOST_FIELD) throw malformed(format, part, 'a field', `field ${number}`, base + start);
    const wire = tag % 8;
    let offset = base + at;
    let value: number | Uint8Array;
    if (wire === 0) value = varint();
    else {
      const length = wire === 1 ? 8 : wire === 5 ? 4 : wire === 2 ? varint() : -1;
      if (wire !== 2 && length < 0) throw malformed(format, part, 'a known wire type', `${wire}`, base + start);
      if (!(length >= 0 && length <= bytes.length - at)) {
        throw malformed(
          format,
          part,
          `at most ${bytes.length - at} bytes in field ${number}`,
          `${length}`,
          base + start,
        );
      }
      offset = base + at;
      value = bytes.subarray(at, at + length);
      at += length;
      if (wire === 5) value = viewOf(value).getUint32(0, true);
    }
    yield { number, value, offset, raw: bytes.subarray(start, at) };
  }
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
export function bytesIn(format: string, part: string, { value, number, offset }: Field): Uint8Array {
  if (typeof value !== 'number') return value;
  throw malformed(format, part, `bytes in field ${number}`, `${value}`, offset);
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** The value of a field that must be a text. */
export function textIn(format: string, part: string, field: Field): string {
  const bytes = bytesIn(format, part, field);
  try {
    return utf8.decode(bytes);
  } catch {
    throw malformed(format, part, 'UTF-8', quote(String.fromCharCode(...bytes.subarray(0, 20))), field.offset);
  }
}

/** A 32-bit word as the float that it is. */
export function floatOf(word: number): number {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, word);
  return view.getFloat32(0);
}

/** Numbers of a repeated field, which may come one by one or packed. */
export function numbersIn(format: string, part: string, field: Field): number[] {
  const { value, offset } = field;
  if (typeof value === 'number') return [value];
  const out: number[] = [];
  for (let at = 0; at < value.length; ) {
    const [item, next] = varintAt(format, part, value, at, offset);
    out.push(item);
    at = next;
  }
  return out;
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

/** A field with bytes, a text, or a message as the fields it is made of. */
export function lengthField(number: number, value: Uint8Array | string | readonly Uint8Array[]): Uint8Array {
  const bytes =
    typeof value === 'string' ? new TextEncoder().encode(value) : value instanceof Uint8Array ? value : concat(value);
  return concat([Uint8Array.from([...varintBytes(number * 8 + 2), ...varintBytes(bytes.length)]), bytes]);
}
