// Scripts in which packages ship models: an object literal in the place of model.json, and base64
// in the place of a shard. They are read as text; nothing in them runs.

import { malformed } from '../errors.ts';
import { quote } from './bytes.ts';

/** Keys of a model.json, one of which its object has. */
const ROOTS = ['weightsManifest', 'modelTopology'];
/** Objects around a key that may be the model's. */
const MOST_ROOTS = 64;
/** No base64 of a shard is shorter. */
const LEAST_LITERAL = 16;

const DOUBLE = 0x22;
const SINGLE = 0x27;
const TICK = 0x60;
const BACKSLASH = 0x5c;
const NEWLINE = 0x0a;

/** Does a file begin as a script does, and no JSON? */
export function isScript(bytes: Uint8Array): boolean {
  const head = new TextDecoder().decode(bytes.subarray(0, 512));
  return /^(?:\ufeff)?\s*(?:[!(;/]|["']use strict|(?:var|let|const|export|module|exports|window|define)\b)/.test(head);
}

/**
 * The object of a script that is a model.json, as JSON; undefined where there is none. Keys may be
 * bare words, texts in any quotes; `!0`, `!1` and `void 0` are what minifiers write.
 */
export function modelInScript(bytes: Uint8Array): Uint8Array | undefined {
  const text = new TextDecoder().decode(bytes);
  for (const root of ROOTS) {
    const key = new RegExp(`["']?\\b${root}\\b["']?\\s*:`).exec(text);
    if (!key) continue;
    let start = key.index;
    for (let i = 0; i < MOST_ROOTS; i++) {
      start = text.lastIndexOf('{', start - 1);
      if (start < 0) break;
      const json = literalAt(text, start);
      if (json && json.end > key.index) return new TextEncoder().encode(json.text);
      if (start === 0) break;
    }
  }
  return undefined;
}

const TOKEN =
  /\s+|\/\/[^\n]*|\/\*[\s\S]*?\*\/|[{}[\]:,]|![01]|void 0|"(?:[^"\\\n]|\\[\s\S])*"|'(?:[^'\\\n]|\\[\s\S])*'|`(?:[^`\\$]|\\[\s\S])*`|[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[A-Za-z_$][\w$]*/y;
const WORDS: Readonly<Record<string, string>> = {
  '!0': 'true',
  '!1': 'false',
  'void 0': 'null',
  undefined: 'null',
};

/** A literal of objects, lists, texts and numbers as JSON, and where it ends. */
function literalAt(text: string, start: number): { text: string; end: number } | undefined {
  const parts: string[] = [];
  let depth = 0;
  TOKEN.lastIndex = start;
  for (let at = start; at < text.length; at = TOKEN.lastIndex) {
    TOKEN.lastIndex = at;
    const token = TOKEN.exec(text)?.[0];
    if (token === undefined) return undefined;
    const [first] = token;
    if (first === '/' || first.trim() === '') continue;
    if (!MARKS.includes(first)) {
      parts.push(asJson(token));
      if (depth === 0) return undefined;
      continue;
    }
    if (first === '{' || first === '[') depth++;
    if (first === '}' || first === ']') {
      depth--;
      // a comma before the end is none of JSON
      if (parts.at(-1) === ',') parts.pop();
    }
    parts.push(token);
    if (depth === 0) return { text: parts.join(''), end: TOKEN.lastIndex };
  }
  return undefined;
}

const MARKS = '{}[]:,';

/** A text in double quotes that is one in JSON as well. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON has none
const PLAIN = /^"[^\\\u0000-\u001f]*"$/;

function asJson(token: string): string {
  if (PLAIN.test(token)) return token;
  if (Object.hasOwn(WORDS, token)) return WORDS[token];
  if (/^["'`]/.test(token)) return JSON.stringify(unescaped(token.slice(1, -1)));
  if (/^[-+.\d]/.test(token)) return `${Number(token)}`;
  return /^(?:true|false|null)$/.test(token) ? token : JSON.stringify(token);
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
