// JSON from a stranger: no key twice, no nesting without end, and errors that say where.
// `JSON.parse` keeps the last of two equal keys without an error, and gives objects with a
// prototype.

import { malformed } from '../errors.ts';
import { quote } from './bytes.ts';

/** A value of JSON. */
export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

const DEEPEST = 64;
/**
 * Memory that values may take, as what a text becomes is larger than it: bytes in all, or for each
 * byte of the text. The text itself, and what readers make of the values, come on top. What values
 * cost was measured (V8, 64 bits), at the peak: files of models come to 3 to 6 bytes for each of
 * theirs.
 */
const HARMLESS = 36 << 20;
const MOST_EXPANSION = 6;
const CONTAINER = 80;
/**
 * A place in a list, before and after it is known how long the list is; a text; a number that is
 * not whole.
 */
const ITEM = 16;
const TEXT = 40;
const FRACTION = 24;
/**
 * A key that comes for the first time; an object's keys in an order that no object before had, for
 * each key so far; a key in a table.
 */
const KEY = 160;
const ORDER = 260;
const ORDER_BY_KEY = 24;
const TABLE_KEY = 200;
/** Objects of more keys are tables. */
const FEW_KEYS = 32;
const CHUNK = 1 << 12;
/** No text has room for more. */
const MOST_KEYS = 1 << 26;

/**
 * Objects without a prototype of names: cheaper than `Object.create(null)`, which makes a table for
 * each.
 */
const Entries = /* @__PURE__ */ (() => {
  function Entries() {}
  Entries.prototype = Object.freeze(Object.create(null));
  return Entries as unknown as new () => { [key: string]: Json };
})();
const NO_ITEMS = Object.freeze([]) as unknown as Json[];
const NO_ENTRIES = /* @__PURE__ */ Object.freeze(/* @__PURE__ */ new Entries()) as { [key: string]: Json };
const TOKEN = /true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON has none
const PLAIN = /"[^"\\\u0000-\u001f]*"/y;
const SPACE = [0x20, 0x0a, 0x0d, 0x09];
/** Parts of a text that are this long are not copied (V8). */
const SLICED = 13;
/** Longer numbers are none. */
const LONGEST_TOKEN = 400;

/**
 * Parses a text. Objects inherit no names; what is empty is frozen.
 *
 * @param base where the text begins in the file
 * @param member takes each member of the outermost object, which then keeps none: a large object
 *   never stands in memory as a whole. False for a key that came before
 */
export function parseJson(
  format: string,
  part: string,
  bytes: Uint8Array,
  base = 0,
  member?: (key: string, value: Json) => boolean,
): Json {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw malformed(format, part, 'UTF-8', 'other bytes', base);
  }
  let at = 0;
  let room = Math.max(HARMLESS, bytes.length * MOST_EXPANSION);
  /** Keys by number, and orders of keys: an order and the number of the key behind it. */
  const keyNumbers = new Map<string, number>();
  const orders = new Map<number, number>();
  const waiting = new Waiting();
  const spend = (cost: number) => {
    room -= cost;
    if (room < 0) throw fail('fewer lists, objects and keys for its length');
  };
  const fail = (expected: string, got = at < text.length ? quote(text[at]) : 'the end') =>
    malformed(format, part, expected, got, base + new TextEncoder().encode(text.slice(0, at)).length);
  const space = () => {
    for (let code = text.charCodeAt(at); code <= 0x20; code = text.charCodeAt(++at)) {
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
    }
  };
  const string = (): string => {
    const start = at;
    PLAIN.lastIndex = at;
    if (PLAIN.test(text)) {
      at = PLAIN.lastIndex;
      return text.slice(start + 1, at - 1);
    }
    for (let code = text.charCodeAt(++at); code !== 0x22; code = text.charCodeAt(++at)) {
      if (at >= text.length) throw fail('the end of a string');
      if (code === 0x5c) at++;
    }
    at++;
    try {
      return JSON.parse(text.slice(start, at));
    } catch {
      at = start;
      throw fail('a string');
    }
  };
  const value = (depth: number): Json => {
    space();
    if (depth > DEEPEST) throw fail(`at most ${DEEPEST} levels`);
    const first = text[at];
    if (first === '"') {
      spend(TEXT);
      return string();
    }
    if (first === '[') {
      const start = waiting.length;
      for (let more = opens(']'); more; more = goesOn(']')) {
        spend(ITEM);
        waiting.push(value(depth + 1));
      }
      if (waiting.length === start) return NO_ITEMS;
      spend(CONTAINER);
      return waiting.takeFrom(start);
    }
    if (first === '{') {
      let entries = NO_ENTRIES;
      let keys = 0;
      let order = 0;
      for (let more = opens('}'); more; more = goesOn('}')) {
        if (entries === NO_ENTRIES) {
          spend(CONTAINER);
          entries = new Entries();
        }
        if (text[at] !== '"') throw fail('a key');
        const start = at;
        const key = string();
        if (member && depth === 0) {
          spend(TABLE_KEY);
          // a part of the text would keep all of it in memory
          const own = key.length < SLICED ? key : JSON.parse(text.slice(start, at));
          if (!member(own, behindColon(depth))) throw again(start, key);
          continue;
        }
        if (++keys <= FEW_KEYS) order = nextOrder(order, key, keys);
        else {
          if (keys === FEW_KEYS + 1) {
            spend(FEW_KEYS * TABLE_KEY);
            entries = Object.assign(Object.create(null), entries);
          }
          spend(TABLE_KEY);
        }
        if (key in entries) throw again(start, key);
        entries[key] = behindColon(depth);
      }
      return entries;
    }
    TOKEN.lastIndex = at;
    if (!TOKEN.test(text) || TOKEN.lastIndex - at > LONGEST_TOKEN) throw fail('a value');
    const token = text.slice(at, TOKEN.lastIndex);
    at = TOKEN.lastIndex;
    if (first === 't' || first === 'f') return first === 't';
    if (first === 'n') return null;
    const number = Number(token);
    if (!Number.isInteger(number)) spend(FRACTION);
    return number;
  };
  const again = (start: number, key: string) => {
    at = start;
    return fail('each key once', `${quote(key)} again`);
  };
  const behindColon = (depth: number): Json => {
    space();
    if (text[at] !== ':') throw fail("':'");
    at++;
    return value(depth + 1);
  };
  /**
   * Objects with the same keys in the same order are kept alike, which costs little; each other
   * order costs.
   */
  const nextOrder = (before: number, key: string, keys: number): number => {
    let number = keyNumbers.get(key);
    if (number === undefined) {
      spend(KEY);
      number = keyNumbers.size;
      keyNumbers.set(key, number);
    }
    const step = before * MOST_KEYS + number;
    let order = orders.get(step);
    if (order === undefined) {
      spend(ORDER + ORDER_BY_KEY * keys);
      order = orders.size + 1;
      orders.set(step, order);
    }
    return order;
  };
  /** Whether an item stands behind the bracket that opens a list. */
  const opens = (close: string): boolean => {
    at++;
    space();
    if (text[at] !== close) return true;
    at++;
    return false;
  };
  /** Whether another one stands behind an item. */
  const goesOn = (close: string): boolean => {
    space();
    const next = text[at];
    if (next !== ',' && next !== close) throw fail(`',' or '${close}'`);
    at++;
    if (next === close) return false;
    space();
    return true;
  };
  const result = value(0);
  space();
  if (at < text.length) throw fail('the end');
  return result;
}

/** Members of a long object are parsed in pieces of about so many bytes. */
const PIECE = 1 << 14;

/**
 * Goes through the members of an object, whose text and values never stand in memory as a whole.
 *
 * @param member takes each; false for a key that came before
 * @returns an object without entries, or the value where it is another one
 */
export function parseMembers(
  format: string,
  part: string,
  bytes: Uint8Array,
  base: number,
  member: (key: string, value: Json) => boolean,
): Json {
  const open = bytes.findIndex((byte) => !SPACE.includes(byte));
  if (bytes.length <= PIECE || bytes[open] !== 0x7b) return parseJson(format, part, bytes, base, member);
  const piece = (from: number, to: number, isClosed: boolean) => {
    const text = new Uint8Array(to - from + (isClosed ? 2 : 1));
    text[0] = 0x7b;
    text.set(bytes.subarray(from, to), 1);
    if (isClosed) text[text.length - 1] = 0x7d;
    parseJson(format, part, text, base + from - 1, member);
  };
  let from = open + 1;
  let depth = 1;
  let isText = false;
  for (let at = from; at < bytes.length; at++) {
    const byte = bytes[at];
    if (isText) {
      if (byte === 0x5c) at++;
      else if (byte === 0x22) isText = false;
    } else if (byte === 0x22) isText = true;
    else if (byte === 0x7b || byte === 0x5b) depth++;
    else if ((byte === 0x7d || byte === 0x5d) && --depth === 0) {
      // what is behind the end, and a comma before it, are judged by the parser
      const isLone = from > open + 1 && bytes.subarray(from, at).every((one) => SPACE.includes(one));
      if (isLone) throw malformed(format, part, 'a key', quote(String.fromCharCode(byte)), base + at);
      if (byte === 0x5d) break;
      piece(from, at, true);
      const rest = bytes.subarray(at + 1).findIndex((one) => !SPACE.includes(one));
      if (rest < 0) return NO_ENTRIES;
      const found = String.fromCharCode(bytes[at + 1 + rest]);
      throw malformed(format, part, 'the end', quote(found), base + at + 1 + rest);
    } else if (byte === 0x2c && depth === 1 && at - from >= PIECE) {
      piece(from, at, true);
      from = at + 1;
    }
  }
  piece(from, bytes.length, false);
  return NO_ENTRIES;
}

/** Values of lists before their end. It grows without being copied. */
class Waiting {
  readonly #chunks: Json[][] = [];
  length = 0;

  push(value: Json): void {
    const chunk = Math.floor(this.length / CHUNK);
    if (chunk === this.#chunks.length) this.#chunks.push([]);
    this.#chunks[chunk][this.length++ % CHUNK] = value;
  }

  /** The last values, which then wait no longer: a list that is no longer than it must be. */
  takeFrom(start: number): Json[] {
    const items = new Array<Json>(this.length - start);
    while (this.length > start) {
      const at = --this.length % CHUNK;
      const chunk = this.#chunks[Math.floor(this.length / CHUNK)];
      items[this.length - start] = chunk[at];
      if (at === 0) this.#chunks.pop();
    }
    return items;
  }
}

/** An object; undefined for anything else. */
export function asRecord(json: Json | undefined): { readonly [key: string]: Json } | undefined {
  return typeof json === 'object' && json !== null && !Array.isArray(json) ? json : undefined;
}
