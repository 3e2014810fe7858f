import { malformed, show, wrongKind } from '../errors.ts';
import { bytesOfBuffer, viewOf } from '../typed-arrays.ts';

/** Bytes as files come. */
export type Bytes = Uint8Array | ArrayBuffer;

/** The same as a Uint8Array, without a copy. */
export function bytesFrom(format: string, given: Bytes): Uint8Array {
  // a plain one: the slice of a Buffer is no copy
  const bytes = viewOf(given) ?? bytesOfBuffer(given);
  if (bytes instanceof Uint8Array) return bytes;
  throw wrongKind('ERR_TYPE', format, 'file', 'a Uint8Array or an ArrayBuffer', show(given));
}

/**
 * Reads bytes from front to back, and never past the end. Offsets in errors are those of the file.
 */
export class ByteReader {
  readonly format: string;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  /** Where `bytes` begins in the file. */
  readonly #base: number;
  #at = 0;

  constructor(format: string, bytes: Uint8Array, base = 0) {
    this.format = format;
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#base = base;
  }

  /** Where the next byte lies in the file. */
  get offset(): number {
    return this.#base + this.#at;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  /** The next bytes, as a view. */
  take(count: number, part: string): Uint8Array {
    if (!(count >= 0 && count <= this.left)) throw this.error(part, `${count} bytes`, `${this.left} before the end`);
    this.#at += count;
    return this.#bytes.subarray(this.#at - count, this.#at);
  }

  u8(part: string): number {
    return this.take(1, part)[0];
  }

  u16(part: string): number {
    this.take(2, part);
    return this.#view.getUint16(this.#at - 2, true);
  }

  u32(part: string): number {
    this.take(4, part);
    return this.#view.getUint32(this.#at - 4, true);
  }

  /** As a number: no file is beyond 2^53. */
  u64(part: string): number {
    this.take(8, part);
    const value = this.#view.getBigUint64(this.#at - 8, true);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
      this.#at -= 8;
      throw this.error(part, 'a number below 2^53', `${value}`);
    }
    return Number(value);
  }

  error(part: string, expected: string, got: string): Error {
    return malformed(this.format, part, expected, got, this.offset);
  }
}

/** Bytes one after another. */
export function concat(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Fewer bytes than this are not worth a buffer of their own. */
const SMALL = 1 << 12;
const CHUNK = 1 << 16;

/**
 * Bytes of many things, which are kept under numbers. Small ones share chunks: a buffer for each
 * costs some 300 bytes, whatever is in it.
 */
export class Pool {
  readonly #chunks: Uint8Array[] = [];
  #used = CHUNK;

  keep(bytes: Uint8Array): number {
    const { length } = bytes;
    if (length > SMALL) {
      this.#chunks.push(bytes);
      this.#used = CHUNK;
      return (this.#chunks.length - 1) * CHUNK;
    }
    if (this.#used + length > CHUNK) {
      this.#chunks.push(new Uint8Array(CHUNK));
      this.#used = 0;
    }
    const chunk = this.#chunks.length - 1;
    this.#chunks[chunk].set(bytes, this.#used);
    this.#used += length;
    return chunk * CHUNK + this.#used - length;
  }

  /** What was kept under a number. */
  view(place: number, length: number): Uint8Array {
    const at = place % CHUNK;
    return this.#chunks[Math.floor(place / CHUNK)].subarray(at, at + length);
  }
}

/**
 * Things with names in a file: each takes so many bytes of it, with what belongs to it; a few are
 * there in any case.
 */
const LEAST_BYTES = 256;
const FEW_THINGS = 1 << 14;

/**
 * As many tensors, nodes or files as a file of some length may name, of which some are there in any
 * case.
 */
export function mostNamed(length: number, few = FEW_THINGS): number {
  return Math.max(few, Math.floor(length / LEAST_BYTES));
}

/**
 * Layers that any network may have, and bytes of a file for each of more: a layer here takes some
 * 30 kB, however small its weights are.
 */
const FEW_LAYERS = 1500;
const LAYER_BYTES = 4500;

/** As many layers as the network of a file of some length may have. */
export function mostLayers(length: number): number {
  return Math.max(FEW_LAYERS, Math.floor(length / LAYER_BYTES));
}

/** A name or a text of a file for an error message. */
export function quote(text: string): string {
  return `'${text.slice(0, 80)}${text.length > 80 ? '…' : ''}'`;
}

/** Some names for an error message, and how many there are where that is more. */
export function quoteSome(names: readonly string[], otherwise = 'none'): string {
  const some = names.slice(0, 8).map(quote).join(', ');
  return names.length > 8 ? `${some}, … (${names.length})` : some || otherwise;
}
