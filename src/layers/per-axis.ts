// Options of layers over spatial axes: numbers for all axes or one for each, and where those axes
// lie.

import { isList, show, wrongKind, wrongValue } from '../errors.ts';
import type { Option } from '../named-options.ts';
import { showSymbolic } from '../tensors/shape.ts';
import type { Layout } from '../types.ts';

/** A number for every spatial axis, or one for each. */
export type PerAxis = number | readonly number[];

/** How many numbers a message asks for. */
function expectedOf(axes: number, one: string): string {
  return axes === 1 ? one : `${one}, or ${axes} of them`;
}

/**
 * A number for each of so many axes, from one for all or a list.
 *
 * @param fits which numbers are taken, and `one` what they are
 * @throws ERR_OPTION
 */
export function readPerAxis(
  subject: string,
  argument: string,
  value: unknown,
  axes: number,
  one: string,
  fits: (value: number) => boolean,
): number[] {
  const expected = expectedOf(axes, one);
  const isOne = typeof value === 'number';
  if (!isOne && !isList(value)) throw wrongKind('ERR_OPTION', subject, argument, expected, show(value));
  const all: unknown[] = isOne ? Array.from({ length: axes }, () => value) : Array.from(value as ArrayLike<unknown>);
  if (all.length !== axes || !all.every((entry) => typeof entry === 'number' && fits(entry))) {
    throw wrongValue('ERR_OPTION', subject, argument, expected, show(value));
  }
  return all as number[];
}

/** Beyond, sizes of what is made of them would not be exact. */
const MOST = 1 << 24;

const isWhole = (least: number) => (value: number) => Number.isInteger(value) && value >= least && value < MOST;

/** The same for integers of `least` or more. */
export function readIntegers(subject: string, argument: string, value: unknown, axes: number, least: number): number[] {
  return readPerAxis(subject, argument, value, axes, `an integer of ${least} or more`, isWhole(least));
}

/** An option of such integers: `standard` is one for each axis. */
export const integersOption = (standard: readonly number[], least: number): Option<readonly number[]> => ({
  standard,
  read: (subject, name, value) => readIntegers(subject, name, value, standard.length, least),
});

/** Where the values of an image lie. */
export interface Image {
  /** Samples; planes, where channels come first. */
  readonly outer: number;
  /** 1 where channels come first. */
  readonly channels: number;
  /** Lengths of the spatial axes, and the number of the first of them. */
  readonly lengths: readonly number[];
  readonly first: number;
}

/**
 * Reads the shape of an image.
 *
 * @param axes its spatial axes; undefined: one or more
 * @throws ERR_SHAPE for another rank
 */
export function imageOf(subject: string, shape: readonly number[], axes: number | undefined, layout: Layout): Image {
  const rank = shape.length;
  if (axes === undefined ? rank < 3 : rank !== axes + 2) {
    const expected = axes === undefined ? 'rank 3 or more' : `rank ${axes + 2}`;
    throw wrongValue('ERR_SHAPE', subject, 'x', expected, `rank ${rank}`, `shape ${showSymbolic(shape)}`);
  }
  const isFirst = layout === 'channels-first';
  const first = isFirst ? 2 : 1;
  return {
    outer: isFirst ? shape[0] * shape[1] : shape[0],
    channels: isFirst ? 1 : shape[rank - 1],
    lengths: shape.slice(first, first + rank - 2),
    first,
  };
}

/** The shape with other lengths of its spatial axes. */
export function withLengths(shape: readonly number[], { first }: Image, lengths: readonly number[]): readonly number[] {
  return [...shape.slice(0, first), ...lengths, ...shape.slice(first + lengths.length)];
}

/**
 * Checks that spatial axes are long enough; lengths that are not known are.
 *
 * @throws ERR_SHAPE
 */
export function checkLengths(
  subject: string,
  shape: readonly number[],
  { lengths, first }: Image,
  layout: Layout,
  least: readonly number[],
): void {
  lengths.forEach((length, i) => {
    if (!(length < least[i])) return;
    const expected = `${least[i]} or more values on axis ${first + i}`;
    const context = `shape ${showSymbolic(shape)}, ${layout}`;
    throw wrongValue('ERR_SHAPE', subject, 'x', expected, `${length}`, context);
  });
}

/** Lengths by axis of an image of so many axes, none of them known. */
export const unknownShape = (rank: number): number[] => Array.from({ length: rank }, () => Number.NaN);
