// JSON from a stranger: no key twice, no nesting without end, and errors that say where. `JSON.parse` keeps the last of two equal keys in
// silence, and gives objects with a prototype.

import { malformed } from '../errors.ts';
import { quote } from './bytes.ts';

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

const DEEPEST = 64;
/** Memory that lists and objects may take, as what a text becomes is larger than it: bytes in all, or for each byte of the text. */
const HARMLESS = 64 << 20;
const MOST_EXPANSION = 10;
const CONTAINER = 180;
/** What a key costs that comes for the first time, or in an object of more than a few, which is kept as a table. */
const KEY = 240;
/** A place in a list, and a text in it. */
const ITEM = 12;
const TEXT = 40;
const FEW_KEYS = 16;

/** Objects without a prototype of names: cheaper than `Object.create(null)`, which makes a table for each. */
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
  const seen = new Set<string>();
  /** Values of lists before their end: a list is no longer than it must be. */
  const waiting: Json[] = [];
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
    if (first === '"') return string();
    if (first === '[') {
      const start = waiting.length;
      list(']', () => {
        spend(text[at] === '"' ? ITEM + TEXT : ITEM);
        waiting.push(value(depth + 1));
      });
      if (waiting.length === start) return NO_ITEMS;
      spend(CONTAINER);
      const items = waiting.slice(start);
      waiting.length = start;
      return items;
    }
    if (first === '{') {
      let entries = NO_ENTRIES;
      let keys = 0;
      list('}', () => {
        if (entries === NO_ENTRIES) {
          spend(CONTAINER);
          entries = new Entries();
        }
        if (text[at] !== '"') throw fail('a key');
        const start = at;
        const key = string();
        if (++keys > FEW_KEYS || !seen.has(key)) spend(KEY);
        seen.add(key);
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
    return JSON.parse(token);
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

/** An object; undefined for anything else. */
export function asRecord(json: Json | undefined): { readonly [key: string]: Json } | undefined {
  return typeof json === 'object' && json !== null && !Array.isArray(json) ? json : undefined;
}
