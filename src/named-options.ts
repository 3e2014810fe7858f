import { isList, show, showChoices, wrongKind, wrongValue } from './errors.ts';

/** Checks that something is an object, and no list. */
export function checkRecord(subject: string, given: unknown): void {
  if (typeof given !== 'object' || !given || isList(given)) {
    throw wrongKind('ERR_OPTION', subject, 'options', 'an object', show(given));
  }
}

/**
 * Checks that options are an object, and every one of those known: a misspelt one would be ignored
 * in silence.
 */
export function checkNames(subject: string, given: object, known: readonly string[]): void {
  checkRecord(subject, given);
  for (const name in given) {
    if (!known.includes(name)) {
      throw wrongKind('ERR_OPTION', subject, 'options', showChoices(known), show(name));
    }
  }
}

/**
 * Options as a record of our own, after the same checks: read once each, inherited ones as well,
 * without those that are undefined.
 */
export function takeOptions<O extends object>(subject: string, given: O, known: readonly string[]): O {
  checkNames(subject, given, known);
  const taken: Record<string, unknown> = {};
  for (const name of known) {
    const value = given[name as keyof O];
    if (value !== undefined) taken[name] = value;
  }
  return taken as O;
}

/** Checks that an option is a finite number: `fits` says of which. */
export function checkNumber(
  subject: string,
  argument: string,
  value: unknown,
  expected = 'a finite number',
  fits: (value: number) => boolean = Number.isFinite,
): void {
  if (typeof value !== 'number') throw wrongKind('ERR_OPTION', subject, argument, expected, show(value));
  if (!fits(value)) throw wrongValue('ERR_OPTION', subject, argument, expected, show(value));
}
