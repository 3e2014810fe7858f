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

/** How one option is read. */
export interface Option<T> {
  /** The value where none is given; without it the option has to be given. */
  readonly standard?: T;
  /** The value as it is used. Throws ERR_OPTION for one that the option does not take. */
  read(subject: string, name: string, value: unknown): T;
}

/** Options by name: the order is that in which errors list them. */
export type Schema<S> = { readonly [K in keyof S]-?: Option<S[K]> };

/**
 * Reads options: all of them with their defaults filled in. Throws ERR_OPTION for an unknown name
 * and for a value that its option does not take.
 */
export function readSchema<S extends object>(subject: string, given: object, schema: Schema<S>): S {
  const names = Object.keys(schema) as (keyof S & string)[];
  const taken = takeOptions(subject, given as Partial<S>, names);
  const settings = {} as S;
  for (const name of names) {
    const value: unknown = taken[name];
    const one: Option<S[typeof name]> = schema[name];
    settings[name] = value === undefined && 'standard' in one ? one.standard! : one.read(subject, name, value);
  }
  return settings;
}

/** An option that has to be given. */
export function required<T>(check: (subject: string, name: string, value: unknown) => void): Option<T> {
  return {
    read(subject, name, value) {
      check(subject, name, value);
      return value as T;
    },
  };
}

/** An option that `check` looks at; it throws for a value that the option does not take. */
export function option<T>(standard: T, check: (subject: string, name: string, value: T) => void): Option<T> {
  return { standard, ...required<T>((subject, name, value) => check(subject, name, value as T)) };
}

/** `true` or `false`. */
export function flag(standard: boolean): Option<boolean> {
  return option(standard, (subject, name, value) => {
    if (typeof value !== 'boolean') throw wrongKind('ERR_OPTION', subject, name, 'true or false', show(value));
  });
}

/** An option that may be left open: `undefined` where none is given. */
export function optional<T>({ read }: Option<T>): Option<T | undefined> {
  return { standard: undefined, read };
}

/** One of some names. */
export function choice<T extends string>(standard: T, choices: readonly T[]): Option<T> {
  return option(standard, (subject, name, value) => checkChoice(subject, name, value, choices));
}

/** A number: `fits` says of which kind, in words `expected`. */
export function number(standard: number, expected?: string, fits?: (value: number) => boolean): Option<number> {
  return option(standard, (subject, name, value) => checkNumber(subject, name, value, expected, fits));
}

/** Checks that a value is one of some names. `also` is what else is taken, in words. */
export function checkChoice(
  subject: string,
  argument: string,
  value: unknown,
  choices: readonly string[],
  also = '',
): void {
  if (!choices.includes(value as string)) {
    throw wrongValue('ERR_OPTION', subject, argument, also + showChoices(choices), show(value));
  }
}

/** A number from which random values are drawn; none: a different one every time. */
export const seed = (): Option<number | undefined> => optional(number(0));

/** An integer of `least` or more. `standard` missing: it has to be given. */
export function integer(least: number, standard?: number): Option<number> {
  const expected = `a whole number of ${least} or more`;
  const check = required<number>((subject, name, value) => {
    if (!(Number.isSafeInteger(value) && (value as number) >= least)) {
      throw wrongValue('ERR_OPTION', subject, name, expected, show(value));
    }
  });
  return standard === undefined ? check : { standard, ...check };
}

/** A function, or none. */
export function callable<F>(expected = 'a function'): Option<F | undefined> {
  return optional<F>(
    required((subject, name, value) => {
      if (typeof value !== 'function') throw wrongKind('ERR_OPTION', subject, name, expected, show(value));
    }),
  );
}
