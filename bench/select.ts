// Cases by name: as the bench prints them (`eval | ncx | row 1x1024`), or as the README writes them
// (`1×1024`, `group norm, 32×256×28×28; channels last`).

import type { CaseName } from './cases.ts';
import { nameOf } from './figures.ts';
import { refuse } from './options.ts';

/** Without capitals and spaces; × is x. */
function normal(text: string): string {
  return text.toLowerCase().replaceAll('×', 'x').replace(/\s+/g, '');
}

const SHAPE = /^\d+(x\d+)+$/;

/** Is `part` in `text`, neither behind nor before a further digit or dimension? */
function holdsShape(text: string, part: string): boolean {
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + 1)) {
    if (!/[\dx]/.test(text[at - 1] ?? '') && !/[\dx]/.test(text[at + part.length] ?? '')) return true;
  }
  return false;
}

/** A space before a shape stays a border: `conv2 32x64` is not `conv232x64`. */
const textOf = (name: CaseName) =>
  normal(
    [
      nameOf(name)
        .replaceAll('|', ',')
        .replace(/ (?=\d+x\d)/g, ','),
      name.also,
    ]
      .filter(Boolean)
      .join(','),
  );

/**
 * The shape as it is stored. Its dims with channels first count only in a filter that asks for
 * channels last.
 */
const withoutLogical = (text: string) => text.replace(/,logical[\dx]+/, '');

/** Parts behind a semicolon join those before it: `a, b; c` is `a, b` or `a, b, c`. */
function alternatives(filter: string): string[][] {
  const [first, ...rest] = filter.split(';').map((half) => half.split(',').map(normal).filter(Boolean));
  return [first, ...rest.filter((parts) => parts.length > 0).map((parts) => [...first, ...parts])];
}

/**
 * Which of the names a filter takes, by index. A filter with `|` is a piece of a name as it is
 * printed. Any other is a list of parts, with commas between, all of which a case must have; a
 * shape is a whole one, unless no case has it as such. Capitals and spaces do not count.
 */
export function selected(names: readonly CaseName[], filter: string): Set<number> {
  const all = names.map((_, i) => i);
  if (normal(filter) === '') return new Set(all);
  const printed = names.map((name) => normal(nameOf(name)));
  if (filter.includes('|')) return new Set(all.filter((i) => printed[i].includes(normal(filter))));
  const texts = names.map(textOf);
  const taken = (wholeShapes: boolean) =>
    alternatives(filter).flatMap((parts) => {
      const isLast = parts.includes('channelslast');
      return all.filter((i) => {
        const text = isLast ? texts[i].replace('logical', '') : withoutLogical(texts[i]);
        return parts.every((part) =>
          wholeShapes && SHAPE.test(part) ? holdsShape(text, part) : text.includes(part) || printed[i].includes(part),
        );
      });
    });
  const whole = taken(true);
  return new Set(whole.length ? whole : taken(false));
}

/** The names that are most like a filter which takes none, the nearest first. */
export function nearest(names: readonly CaseName[], filter: string, count = 5): string[] {
  const wanted = normal(filter).replaceAll('|', ',');
  const scores = names.map((name) => {
    const texts = [normal(nameOf(name)).replaceAll('|', ','), ...textOf(name).split(',')];
    return { name: nameOf(name), score: Math.max(...texts.map((text) => likeness(wanted, text))) };
  });
  return scores
    .sort((a, b) => b.score - a.score)
    .slice(0, count)
    .map(({ name }) => name);
}

/** Dice's coefficient of the pairs of letters: 0 where no pair is shared, 1 where all are. */
function likeness(a: string, b: string): number {
  const pairs = (text: string) => Array.from({ length: Math.max(0, text.length - 1) }, (_, i) => text.slice(i, i + 2));
  const left = pairs(b);
  const total = pairs(a).length + left.length;
  if (total === 0) return Number(a === b);
  let shared = 0;
  for (const pair of pairs(a)) {
    const at = left.indexOf(pair);
    if (at < 0) continue;
    left.splice(at, 1);
    shared++;
  }
  return (2 * shared) / total;
}

/** The names that --filter takes; where there are none, the nearest ones end the program. */
export function chosenBy<T extends CaseName>(filter: string, all: readonly T[]): Set<T> {
  const taken = selected(all, filter);
  if (taken.size === 0) {
    const near = nearest(all, filter).map((name) => `\n  ${name}`);
    refuse('--filter', 'part of the name of a case', `'${filter}'; the nearest names are${near.join('')}`);
  }
  return new Set([...taken].map((i) => all[i]));
}
