// Values of files in messages.

import { show } from '../errors.ts';
import type { Json } from './json.ts';

/** Characters of a value in a message. */
const LONGEST_SHOWN = 80;

/**
 * A value of a file in a message, as JSON: at most 80 characters of it. What is left out is never
 * put together.
 */
export function showJson(json: Json | undefined): string {
  const text = beginningOf(json, LONGEST_SHOWN).replace(/[\u007f-\u009f\u2028\u2029]/g, '?');
  return text.length > LONGEST_SHOWN ? `${text.slice(0, LONGEST_SHOWN - 1)}…` : text;
}

/** JSON of a value, cut short behind so many characters: each level takes one at least. */
function beginningOf(json: Json | undefined, most: number): string {
  if (typeof json === 'string') return JSON.stringify(json.slice(0, most));
  if (typeof json !== 'object' || json === null) return `${json}`;
  const isList = Array.isArray(json);
  const keys = isList ? [...json.slice(0, most).keys()] : Object.keys(json);
  let text = isList ? '[' : '{';
  for (const [i, key] of keys.entries()) {
    if (text.length > most) break;
    text += i ? ',' : '';
    if (!isList) text += `${beginningOf(`${key}`, most)}:`;
    text += beginningOf((json as { [key: string]: Json })[key], Math.max(0, most - text.length));
  }
  return text + (isList ? ']' : '}');
}

/**
 * The same in the words of other messages: texts in single quotes, lists with spaces, objects by
 * their kind.
 */
export function showPart(json: Json | undefined): string {
  const text = partOf(json, LONGEST_SHOWN);
  return text.length > LONGEST_SHOWN ? `${text.slice(0, LONGEST_SHOWN - 1)}…` : text;
}

function partOf(json: Json | undefined, most: number): string {
  if (typeof json === 'string') return show(json.slice(0, most));
  if (!Array.isArray(json)) return show(json);
  let text = '[';
  for (const [i, value] of json.slice(0, most).entries()) {
    if (text.length > most) break;
    text += `${i ? ', ' : ''}${partOf(value, Math.max(0, most - text.length))}`;
  }
  return `${text}]`;
}
