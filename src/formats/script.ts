// Scripts in which packages ship models: an object literal in the place of model.json, and base64
// in the place of a shard. They are read as text; nothing in them runs.

import { malformed } from '../errors.ts';
import { quote } from './bytes.ts';

/** Keys of a model.json, one of which its object has. */
const MANIFEST = 'weightsManifest';
const ROOTS = ['modelTopology', MANIFEST];
/** Objects around a key that may be the model's. */
const MOST_ROOTS = 64;
/** No base64 of a shard is shorter. */
const LEAST_LITERAL = 16;

const DOUBLE = 0x22;
const SINGLE = 0x27;
const TICK = 0x60;
const BACKSLASH = 0x5c;
const NEWLINE = 0x0a;
const SPACE = 0x20;
const NOT = 0x21;
const DOLLAR = 0x24;
const STAR = 0x2a;
const PLUS = 0x2b;
const COMMA = 0x2c;
const POINT = 0x2e;
const SLASH = 0x2f;
const ZERO = 0x30;
const COLON = 0x3a;
const BRACKET = 0x5b;
const BRACE = 0x7b;

/** Does a file begin as a script does, and no JSON? */
export function isScript(bytes: Uint8Array): boolean {
  const head = new TextDecoder().decode(bytes.subarray(0, 512));
  return /^(?:\ufeff)?\s*(?:[!(;/]|["']use strict|(?:var|let|const|export|module|exports|window|define)\b)/.test(head);
}

/**
 * The object of a script that is a model.json, as JSON; undefined where there is none. Keys may be
 * bare words, texts in any quotes; `!0`, `!1` and `void 0` are what minifiers write.
 */
export function modelInScript(script: Uint8Array): Uint8Array | undefined {
  // a letter for each byte, whichever it is: places are those of the bytes
  const text = new TextDecoder('latin1').decode(script);
  let first: Uint8Array | undefined;
  for (const root of ROOTS) {
    const key = keyIn(text, root);
    if (key < 0) continue;
    let start = key;
    for (let i = 0; i < MOST_ROOTS; i++) {
      start = text.lastIndexOf('{', start - 1);
      if (start < 0) break;
      const literal = literalAt(script, text, start);
      if (literal && literal.end > key) {
        // a model has its weights' names
        if (keyIn(text.slice(start, literal.end), MANIFEST) >= 0) return literal.json;
        first ??= literal.json;
        break;
      }
      if (start === 0) break;
    }
  }
  return first;
}

/** Where a name first stands as a key; -1 where it does not. */
function keyIn(text: string, name: string): number {
  // a search for the pattern itself takes ten times as long
  const key = new RegExp(`\\b${name}["']?\\s*:`, 'y');
  for (let at = text.indexOf(name); at >= 0; at = text.indexOf(name, at + 1)) {
    key.lastIndex = at;
    if (key.test(text)) return at;
  }
  return -1;
}

/** What a byte may be part of; of a number, the first one. */
const LETTER = 1;
const DIGIT = 2;
const NUMBER = 4;
const PLAIN = 8;
const PARTS: readonly (readonly [number, RegExp])[] = [
  [LETTER, /[A-Za-z_$]/],
  [DIGIT, /\d/],
  [NUMBER, /[\d.+-]/],
  // biome-ignore lint/suspicious/noControlCharactersInRegex: JSON has none
  [PLAIN, /[^\u0000-\u001f"'`\\$]/],
];
const KINDS = /* @__PURE__ */ Uint8Array.from({ length: 256 }, (_, byte) =>
  PARTS.reduce((kinds, [kind, pattern]) => (pattern.test(String.fromCharCode(byte)) ? kinds | kind : kinds), 0),
);

const NUMERAL = /[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?/y;

/** Words that are values, as JSON has them. */
const WORDS: Readonly<Record<string, string>> = { true: 'true', false: 'false', null: 'null', undefined: 'null' };

/**
 * A literal of objects, lists, texts and numbers as JSON, and where it ends; undefined where
 * anything else stands in it. It goes byte by byte: minified models have thousands of tokens, and
 * but for the quotes of keys nearly all of them are JSON.
 */
function literalAt(script: Uint8Array, text: string, start: number): { json: Uint8Array; end: number } | undefined {
  // a byte becomes three at the most, but in texts that are written anew
  let json = new Uint8Array(3 * (script.length - start));
  let size = 0;
  let depth = 0;
  let at = start;
  const write = (literal: string) => {
    const bytes = new TextEncoder().encode(literal);
    const needed = size + bytes.length + 3 * (script.length - at);
    if (needed > json.length) {
      const larger = new Uint8Array(2 * needed);
      larger.set(json.subarray(0, size));
      json = larger;
    }
    json.set(bytes, size);
    size += bytes.length;
  };
  while (at < script.length) {
    const from = behindSpace(script, at);
    const byte = script[from];
    at = from + 1;
    const last = json[size - 1];
    const isBehindValue = size > 0 && last !== COLON && last !== COMMA && last !== BRACE && last !== BRACKET;
    // one value behind another is no literal: 1 + 1, "a" + b, f[0]
    if (isBehindValue && byte !== COLON && byte !== COMMA && byte !== BRACE + 2 && byte !== BRACKET + 2)
      return undefined;
    if (KINDS[byte] & LETTER) {
      while (KINDS[script[at]] & (LETTER | DIGIT)) at++;
      const next = behindSpace(script, at);
      if (script[next] === COLON) {
        json[size++] = DOUBLE;
        for (let i = from; i < at; i++) json[size++] = script[i];
        json[size++] = DOUBLE;
        continue;
      }
      const word = text.slice(from, at);
      if (word === 'void' && script[next] === ZERO) at = next + 1;
      else if (!Object.hasOwn(WORDS, word)) return undefined;
      write(WORDS[word] ?? 'null');
    } else if (byte === DOUBLE || byte === SINGLE || byte === TICK) {
      const before = size;
      json[size++] = DOUBLE;
      while (KINDS[script[at]] & PLAIN) json[size++] = script[at++];
      json[size++] = DOUBLE;
      if (script[at++] === byte) continue;
      size = before;
      at = behindText(script, from);
      if (at === 0) return undefined;
      write(
        JSON.stringify(
          unescaped(new TextDecoder('utf-8', { ignoreBOM: true }).decode(script.subarray(from + 1, at - 1))),
        ),
      );
    } else if (KINDS[byte] & NUMBER) {
      NUMERAL.lastIndex = from;
      if (!NUMERAL.test(text)) return undefined;
      at = NUMERAL.lastIndex;
      // minifiers leave out a zero before the point, people one behind it
      for (let i = byte === PLUS ? from + 1 : from; i < at; i++) {
        const next = script[i];
        if (next === POINT && !(KINDS[json[size - 1]] & DIGIT)) json[size++] = ZERO;
        json[size++] = next;
        if (next === POINT && !(KINDS[script[i + 1]] & DIGIT)) json[size++] = ZERO;
      }
    } else if (byte === NOT) {
      const digit = script[at++] - ZERO;
      if (digit !== 0 && digit !== 1) return undefined;
      write(digit ? 'false' : 'true');
    } else {
      if (byte === BRACE || byte === BRACKET) depth++;
      else if (byte === BRACE + 2 || byte === BRACKET + 2) {
        depth--;
        // a comma before the end is none of JSON
        if (json[size - 1] === COMMA) size--;
      } else if (byte !== COLON && byte !== COMMA) return undefined;
      json[size++] = byte;
      if (depth === 0) return { json: json.subarray(0, size), end: at };
    }
  }
  return undefined;
}

/** Where a text ends that begins at some place; 0 where it does not. */
function behindText(script: Uint8Array, start: number): number {
  const mark = script[start];
  for (let at = start + 1; at < script.length; at++) {
    const byte = script[at];
    if (byte === mark) return at + 1;
    if (byte === BACKSLASH) at++;
    else if (mark === TICK ? byte === DOLLAR : byte === NEWLINE) return 0;
  }
  return 0;
}

/** The next place that neither a space nor a comment has. */
function behindSpace(script: Uint8Array, from: number): number {
  let at = from;
  for (;;) {
    while (script[at] <= SPACE) at++;
    if (script[at] !== SLASH) return at;
    let end = at + 2;
    if (script[at + 1] === SLASH) while (end < script.length && script[end] !== NEWLINE) end++;
    else if (script[at + 1] !== STAR) return at;
    else while (end < script.length && !(script[end++] === STAR && script[end] === SLASH));
    at = end + 1;
  }
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', b: '\b', f: '\f', v: '\v', '0': '\0' };

function unescaped(text: string): string {
  return text.replace(/\\(?:u([\da-fA-F]{4})|x([\da-fA-F]{2})|([\s\S]))/g, (_, wide, short, other) => {
    if (wide ?? short) return String.fromCharCode(Number.parseInt(wide ?? short, 16));
    return other === '\n' ? '' : (ESCAPES[other] ?? other);
  });
}

/** Bytes whose search is that of Node, where there is one: it takes a tenth of the time. */
function searched(bytes: Uint8Array): Uint8Array {
  const { Buffer } = globalThis as { Buffer?: { from(...bytes: [ArrayBufferLike, number, number]): unknown } };
  return (Buffer?.from(bytes.buffer, bytes.byteOffset, bytes.length) as Uint8Array | undefined) ?? bytes;
}

/**
 * The bytes that a script's longest text stands for, which is base64.
 *
 * @param isOwn whether they may be written into the script, which nobody needs any more
 * @throws ERR_FORMAT where there is no such text, or what it has is no base64
 */
export function bytesInScript(format: string, name: string, given: Uint8Array, isOwn = false): Uint8Array {
  const script = searched(given);
  let [start, end] = [0, 0];
  // places of the next such bytes, found when they are asked for
  const next = [BACKSLASH, NEWLINE].map((byte) => {
    let place = -1;
    return (from: number) => {
      if (place < from && place !== script.length) {
        place = script.indexOf(byte, from);
        if (place < 0) place = script.length;
      }
      return place;
    };
  });
  for (let at = 0; at < script.length; at++) {
    const mark = script[at];
    if (mark !== DOUBLE && mark !== SINGLE && mark !== TICK) continue;
    const from = at + 1;
    const close = script.indexOf(mark, from);
    if (close >= 0 && next.every((place) => place(from) > close)) {
      if (close - from > end - start) [start, end] = [from, close];
      at = close;
      continue;
    }
    // a text of one line; what has no end is an apostrophe somewhere
    let to = from;
    while (to < script.length && script[to] !== mark && !(script[to] === NEWLINE && mark !== TICK)) {
      to += script[to] === BACKSLASH ? 2 : 1;
    }
    if (script[to] !== mark) continue;
    if (to - from > end - start) [start, end] = [from, to];
    at = to;
  }
  if (end - start < LEAST_LITERAL) throw malformed(format, `shard ${quote(name)}`, 'a script with base64', 'none', 0);
  return fromBase64(format, name, given.subarray(start, end), start, isOwn);
}

function fromBase64(format: string, name: string, text: Uint8Array, base: number, isOwn: boolean): Uint8Array {
  let length = text.length;
  while (length > 0 && text[length - 1] === 0x3d && text.length - length < 2) length--;
  const values = new Uint8Array(256).fill(255);
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
  for (let i = 0; i < 64; i++) values[alphabet.charCodeAt(i)] = i;
  const size = Math.floor((length * 3) / 4);
  // no byte is written before the letters of its place are read
  const bytes = isOwn ? text.subarray(0, size) : new Uint8Array(size);
  let [bits, held, at] = [0, 0, 0];
  // four letters are three bytes; what is none is met again, one by one
  let begin = 0;
  for (; begin + 4 <= length; begin += 4) {
    // one by one: a list is made anew each time
    const a = values[text[begin]];
    const b = values[text[begin + 1]];
    const c = values[text[begin + 2]];
    const d = values[text[begin + 3]];
    if ((a | b | c | d) > 63) break;
    bytes[at] = (a << 2) | (b >> 4);
    bytes[at + 1] = (b << 4) | (c >> 2);
    bytes[at + 2] = (c << 6) | d;
    at += 3;
  }
  for (let i = begin; i < length; i++) {
    const value = values[text[i]];
    if (value === 255) throw malformed(format, `shard ${quote(name)}`, 'base64', `byte ${text[i]}`, base + i);
    bits = ((bits << 6) | value) & 0xffff;
    held += 6;
    if (held >= 8) {
      held -= 8;
      bytes[at++] = (bits >> held) & 0xff;
    }
  }
  if (length % 4 === 1)
    throw malformed(format, `shard ${quote(name)}`, 'base64 of whole bytes', `${length} characters`, base);
  return bytes;
}
