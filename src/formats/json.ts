// JSON from a stranger: no key twice, no nesting without end, and errors that say where. `JSON.parse` keeps the last of two equal keys in
// silence, and gives objects with a prototype.

import { malformed } from '../errors.ts';
import { quote } from './bytes.ts';

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

const DEEPEST = 64;

/**
 * Parses a text. Objects have no prototype.
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
  const fail = (expected: string, got = at < text.length ? quote(text[at]) : 'the end') =>
    malformed(format, part, expected, got, base + at);
  const space = () => {
    while (at < text.length && ' \n\r\t'.includes(text[at])) at++;
  };
  const string = (): string => {
    const start = at++;
    for (; text[at] !== '"'; at++) {
      if (at >= text.length) throw fail('the end of a string');
      if (text[at] === '\\') at++;
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
    if (first === '"') return string();
    if (first === '[') {
      const items: Json[] = [];
      list(']', () => items.push(value(depth + 1)));
      return items;
    }
    if (first === '{') {
      const entries: { [key: string]: Json } = Object.create(null);
      list('}', () => {
        if (text[at] !== '"') throw fail('a key');
        const start = at;
        const key = string();
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
    const token = /^(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)/.exec(
      text.slice(at, at + 400),
    )?.[0];
    if (!token) throw fail('a value');
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
