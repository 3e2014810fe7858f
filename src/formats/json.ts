// JSON from a stranger: no key twice, no nesting without end, and errors that say where.
// `JSON.parse` keeps the last of two equal keys in silence, and gives objects with a prototype.

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
const MOST_KEYS = 2 ** 26;

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
/** Longer numbers are none. */
const LONGEST_TOKEN = 400;

/**
 * Parses a text. Objects inherit no names; what is empty is frozen.
 *
 * @param base where the text begins in the file
 */
export function parseJson(format: string, part: string, bytes: Uint8Array, base = 0): Json {
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
    malformed(format, part, expected, got, base + at);
  const space = () => {
    for (let code = text.charCodeAt(at); code <= 0x20; code = text.charCodeAt(++at)) {
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
    }
  };
  const string = (): string => {
    const start = at++;
    let plain = true;
    for (let code = text.charCodeAt(at); code !== 0x22; code = text.charCodeAt(++at)) {
      if (at >= text.length) throw fail('the end of a string');
      if (code === 0x5c) at++;
      if (code === 0x5c || code < 0x20) plain = false;
    }
    at++;
    if (plain) return text.slice(start + 1, at - 1);
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
      list(']', () => {
        spend(ITEM);
        waiting.push(value(depth + 1));
      });
      if (waiting.length === start) return NO_ITEMS;
      spend(CONTAINER);
      return waiting.takeFrom(start);
    }
    if (first === '{') {
      let entries = NO_ENTRIES;
      let keys = 0;
      let order = 0;
      list('}', () => {
        if (entries === NO_ENTRIES) {
          spend(CONTAINER);
          entries = new Entries();
        }
        if (text[at] !== '"') throw fail('a key');
        const start = at;
        const key = string();
        if (++keys <= FEW_KEYS) order = nextOrder(order, key, keys);
        else {
          if (keys === FEW_KEYS + 1) {
            spend(FEW_KEYS * TABLE_KEY);
            entries = Object.assign(Object.create(null), entries);
          }
          spend(TABLE_KEY);
        }
        if (key in entries) {
          at = start;
          throw fail('each key once', `${quote(key)} again`);
        }
        space();
        if (text[at] !== ':') throw fail("':'");
        at++;
        entries[key] = value(depth + 1);
      });
      return entries;
    }
    TOKEN.lastIndex = at;
    const token = TOKEN.exec(text)?.[0];
    if (!token || token.length > LONGEST_TOKEN) throw fail('a value');
    at += token.length;
    const parsed = JSON.parse(token);
    if (typeof parsed === 'number' && !Number.isInteger(parsed)) spend(FRACTION);
    return parsed;
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
  const list = (close: string, item: () => void) => {
    at++;
    space();
    if (text[at] === close) {
      at++;
      return;
    }
    for (;;) {
      space();
      item();
      space();
      const next = text[at];
      if (next !== ',' && next !== close) throw fail(`',' or '${close}'`);
      at++;
      if (next === close) return;
    }
  };
  const result = value(0);
  space();
  if (at < text.length) throw fail('the end');
  return result;
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
