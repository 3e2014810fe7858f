// What the lab says, in more than one language. An experiment writes English with `t`; the
// catalogue of another language holds the same sentences under their English keys.

import type { Figure, Result, Table } from './experiment.ts';
import { ZH } from './zh.ts';

export const LANGUAGES = ['en', 'zh'] as const;
export type Language = (typeof LANGUAGES)[number];

/** A sentence with places for values; `key` is the English one, `{0}` its first place. */
export interface Text {
  readonly key: string;
  readonly values: readonly Value[];
}
export type Value = Text | string | number;

/** The key of a template whose parts stand between its places. */
export const keyOf = (parts: readonly string[]): string =>
  parts.map((part, i) => (i ? `{${i - 1}}${part}` : part)).join('');

/** A sentence: `` t`${many} steps` ``. */
export const t = (parts: TemplateStringsArray, ...values: Value[]): Text => ({ key: keyOf(parts), values });

/** Items in a row, as the language writes them. */
export const listed = (items: readonly Value[]): Value => items.reduce((all, item) => t`${all}, ${item}`);

const CATALOGUES: Record<Exclude<Language, 'en'>, Readonly<Record<string, string>>> = { zh: ZH };

/** A text in words. A sentence that a catalogue lacks stays English. */
export function say(text: Value, language: Language = 'en'): string {
  if (typeof text !== 'object') return String(text);
  const pattern = language === 'en' ? text.key : (CATALOGUES[language][text.key] ?? text.key);
  return pattern.replace(/\{(\d+)\}/g, (_, at) => say(text.values[Number(at)], language));
}

/** A result with its texts in words. */
export function spoken(result: Result, language: Language = 'en'): Result<string> {
  const words = (text: Value) => say(text, language);
  const figure = (one: Figure): Figure<string> => ({
    ...one,
    title: words(one.title),
    xLabel: words(one.xLabel),
    yLabel: words(one.yLabel),
    xTicks: one.xTicks?.map(([at, label]) => [at, words(label)] as const),
    series: one.series.map((series) => ({ ...series, label: words(series.label) })),
  });
  const table = ({ title, heads, rows }: Table): Table<string> => ({
    title: words(title),
    heads: heads.map(words),
    rows: rows.map((row) => row.map(words)),
  });
  return {
    setup: words(result.setup),
    verdict: words(result.verdict),
    holds: result.holds,
    figures: result.figures.map(figure),
    tables: result.tables?.map(table),
  };
}
