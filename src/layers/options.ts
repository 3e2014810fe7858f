// Checks of arguments and options that many layers have.

import { show, wrongKind, wrongValue } from '../errors.ts';
import { checkChoice, choice, type Option, option } from '../named-options.ts';
import type { Layout } from '../types.ts';

const MOST_FEATURES = 16_777_216;

/** Checks that a constructor was given a whole number of features. */
export function checkFeatures(subject: string, argument: string, value: unknown): void {
  if (!Number.isInteger(value) || (value as number) < 1 || (value as number) > MOST_FEATURES) {
    throw wrongValue('ERR_OPTION', subject, argument, `an integer from 1 to ${MOST_FEATURES}`, show(value));
  }
}

export function checkEps(subject: string, eps: unknown): void {
  if (typeof eps !== 'number' || !(eps >= 0) || eps === Number.POSITIVE_INFINITY) {
    throw wrongValue('ERR_OPTION', subject, 'eps', 'a finite number of 0 or more', show(eps));
  }
}

export function checkLayout(subject: string, layout: unknown): void {
  checkChoice(subject, 'layout', layout, ['channels-first', 'channels-last']);
}

/** Where the channels lie. */
export const layout = (): Option<Layout> => choice('channels-first', ['channels-first', 'channels-last']);

/** An axis, which counts the batch; from the end where it is negative. */
export const axis = (standard: number): Option<number> =>
  option(standard, (subject, name, value) => {
    if (!Number.isInteger(value)) throw wrongKind('ERR_OPTION', subject, name, 'an integer', show(value));
  });
