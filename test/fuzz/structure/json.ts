// JSON as a tree: keys, values and texts that are JSON themselves.

import type { Dice } from '../dice.ts';
import { NUMBERS, times } from './format.ts';

// biome-ignore lint/suspicious/noExplicitAny: JSON is of any type
type Json = any;

const VALUES: readonly Json[] = [null, true, false, 0, -1, 0.5, 1e308, '', 'x', [], {}, [[]], 'constructor'];

/** A place in a tree: a record or an array, and a key of it. */
interface Place {
  readonly holder: Json;
  readonly key: string | number;
}

/** More places are not looked for: what is repeated has them again and again. */
const MOST_PLACES = 100_000;

function placesIn(tree: Json): Place[] {
  const found: Place[] = [];
  const waiting: Json[] = [tree];
  while (waiting.length && found.length < MOST_PLACES) {
    const holder = waiting.pop();
    if (typeof holder !== 'object' || holder === null) continue;
    for (const key of Array.isArray(holder) ? holder.keys() : Object.keys(holder)) {
      if (found.push({ holder, key }) === MOST_PLACES) break;
      waiting.push(holder[key]);
    }
  }
  return found;
}

/** Changes something about a tree, in place, unless it is a leaf. */
export function changeJson(tree: Json, dice: Dice, large: boolean): void {
  const places = placesIn(tree);
  if (!places.length) return;
  const { holder, key } = dice.of(places);
  const value = holder[key];
  if (typeof value === 'string' && /^[[{]/.test(value) && !dice.oneIn(4)) {
    holder[key] = changedText(value, dice, large);
    return;
  }
  switch (dice.below(11)) {
    case 0:
      if (Array.isArray(holder)) holder.splice(Number(key), 1);
      else delete holder[key];
      break;
    case 1:
      // a copy: what is changed in this file must not be there in the next
      holder[key] = structuredClone(dice.of(VALUES));
      break;
    case 2:
    case 3: {
      // a value from elsewhere
      const other = dice.of(places);
      holder[key] = structuredClone(other.holder[other.key]);
      break;
    }
    case 4:
      if (!Array.isArray(holder)) {
        const other = dice.of(places);
        const name = dice.of([`${other.key}`, '__proto__', 'x', '', `${key}_1`]);
        Object.defineProperty(holder, name, { value, enumerable: true, configurable: true, writable: true });
        if (name !== key) delete holder[key];
      } else holder.splice(Number(key), 0, structuredClone(value));
      break;
    case 5: {
      const numbers = places.filter((place) => typeof place.holder[place.key] === 'number');
      if (!numbers.length) break;
      const place = dice.of(numbers);
      place.holder[place.key] = dice.oneIn(2) ? Number(dice.of(NUMBERS)) : dice.between(-1, 9);
      break;
    }
    case 6: {
      let inner = value;
      for (let depth = dice.of([1, 3, 70, large ? 1500 : 200]); depth > 0; depth--)
        inner = dice.oneIn(2) ? [inner] : { a: inner };
      holder[key] = inner;
      break;
    }
    case 7: {
      const many = times(dice, large);
      const size = JSON.stringify(value ?? null).length;
      if (many * size > (large ? 4 << 20 : 64 << 10)) break;
      if (Array.isArray(holder))
        holder.splice(Number(key), 0, ...Array.from({ length: Math.min(many, 50_000) }, () => value));
      else for (let i = 0; i < Math.min(many, 50_000); i++) holder[`${key}_${i}`] = value;
      break;
    }
    case 8:
      if (typeof value === 'string')
        holder[key] = dice.of([`${value}x`, value.slice(1), value.toUpperCase(), `../${value}`, `${value}/${value}`]);
      else if (typeof value === 'number') holder[key] = `${value}`;
      break;
    case 9:
      if (Array.isArray(value)) value.reverse();
      else if (typeof value === 'object' && value) holder[key] = Object.fromEntries(Object.entries(value).reverse());
      break;
    default:
      if (typeof value === 'string' && large) holder[key] = value.repeat(1 << dice.between(4, 14)).slice(0, 2 << 20);
      else holder[key] = [value, value];
  }
}

function changedText(text: string, dice: Dice, large: boolean): string {
  try {
    const inner = JSON.parse(text);
    changeJson(inner, dice, large);
    return JSON.stringify(inner);
  } catch {
    return text;
  }
}

/** Now and then what JSON.stringify would not write: a key twice, numbers of other forms. */
export function writeJson(tree: Json, dice: Dice): string {
  const text = JSON.stringify(tree);
  switch (dice.below(16)) {
    case 0:
      return text.replace(/\{"([^"]*)":/, '{"$1":null,"$1":');
    case 1:
      return text.replace(/(\d+)/, dice.of(['1e999', '-0', '01', '1.', '0x1', '9'.repeat(400)]));
    case 2:
      return ` ${text}${dice.of(['\n', ',', '}', '\0', '/**/'])}`;
    default:
      return text;
  }
}
