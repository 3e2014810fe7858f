import { show, showChoices, wrongKind } from './errors.ts';

/** Checks that something is an object. */
export function checkRecord(subject: string, given: unknown): void {
  if (typeof given !== 'object' || given === null) {
    throw wrongKind('ERR_OPTION', subject, 'options', 'an object', show(given));
  }
}

/** Checks that options are an object, and every one of those known: a misspelt one would be ignored in silence. */
export function checkNames(subject: string, given: object, known: readonly string[]): void {
  checkRecord(subject, given);
  for (const name in given) {
    if (!known.includes(name)) {
      throw wrongKind('ERR_OPTION', subject, 'options', showChoices(known), show(name));
    }
  }
}
