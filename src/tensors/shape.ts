import { isList, kindOf, show, showShape, wrongKind, wrongValue } from '../errors.ts';
import { floatsOf } from '../typed-arrays.ts';
import type { PlainTensor } from '../types.ts';

/** Largest number of f32 values that 4 GiB hold. */
const MOST_VALUES = 1 << 30;

/** A copy of a shape, read once and checked. */
export function readShape(subject: string, argument: string, given: unknown): number[] {
  if (!isList(given)) throw wrongKind('ERR_TYPE', subject, `${argument}.shape`, 'an array of sizes', show(given));
  const shape = [...(given as readonly number[])];
  sizeOf(subject, argument, shape);
  return shape;
}

/** The number of values of a shape, after checking that its lengths are such. */
export function sizeOf(subject: string, argument: string, shape: readonly number[]): number {
  let size = 1;
  let empty = false;
  for (const length of shape) {
    if (!Number.isInteger(length) || length < 0) {
      throw wrongValue('ERR_SHAPE', subject, `${argument}.shape`, 'integers of 0 or more', showShape(shape));
    }
    if (length === 0) empty = true;
    else size *= length;
  }
  if (empty) return 0;
  if (size > MOST_VALUES) {
    throw wrongValue(
      'ERR_MEMORY',
      subject,
      `${argument}.shape`,
      `at most ${MOST_VALUES} values (4 GiB)`,
      `${size}`,
      `shape ${showShape(shape)}; use smaller batches`,
    );
  }
  return size;
}

/** The shape of a tensor, under either of its names. */
export function shapeOf(x: PlainTensor): readonly number[] {
  return 'shape' in x ? x.shape : x.dims;
}

/** A plain array as it was read: values and shape in a record of our own. */
export interface PlainRecord {
  /** The values, in an array of our own over the same memory. */
  readonly data: Float32Array;
  readonly shape: readonly number[];
  /** The array that was given. */
  readonly given: Float32Array;
}

/**
 * Reads a plain array, each of its properties once, and checks that it has as many values as its
 * shape says.
 */
export function readPlain(subject: string, argument: string, x: unknown): PlainRecord {
  if (typeof x !== 'object' || x === null || !('shape' in x || 'dims' in x)) {
    throw wrongKind('ERR_TYPE', subject, argument, 'a Tensor or { data, shape }', show(x));
  }
  const given = (x as { data?: unknown }).data;
  const data = floatsOf(given);
  if (!data) {
    const got = given === null || typeof given !== 'object' ? show(given) : kindOf(given);
    throw wrongKind('ERR_TYPE', subject, `${argument}.data`, 'a Float32Array', got);
  }
  const shape = readShape(subject, argument, shapeOf(x as PlainTensor));
  const size = countOf(shape);
  if (data.length !== size) {
    throw wrongValue(
      'ERR_SHAPE',
      subject,
      `${argument}.data`,
      `${size} values`,
      `${data.length}`,
      `shape ${showShape(shape)}`,
    );
  }
  return { data, shape, given: given as Float32Array };
}

export function sameShape(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Is a length another than the one expected? One that is not known, NaN, may be any. */
export function differs(length: number, expected: number): boolean {
  return length < expected || length > expected;
}

/** May two shapes be the same? Lengths that are not known, NaN, may be any. */
export function agree(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && !a.some((length, i) => differs(length, b[i]));
}

/** A shape with lengths that are not known: `[null, 16]`. */
export function showSymbolic(shape: readonly number[]): string {
  return showShape(nullsIn(shape));
}

/** The same shape as programs outside see it: a length that is not known is null. */
export function nullsIn(shape: readonly number[]): (number | null)[] {
  return shape.map((length) => (Number.isNaN(length) ? null : length));
}

/** Checks that a tensor has the shape that the call needs. */
export function checkShape(
  subject: string,
  argument: string,
  got: readonly number[],
  expected: readonly number[],
  of: string,
): void {
  if (sameShape(got, expected)) return;
  throw wrongValue('ERR_SHAPE', subject, argument, `${of} ${showShape(expected)}`, showShape(got));
}

/** The number of values of a shape that has been checked. */
export function countOf(shape: readonly number[]): number {
  return shape.reduce((size, length) => size * length, 1);
}

/** The place along each axis of a value, by its number in row-major order. */
export function unravel(index: number, lengths: readonly number[]): number[] {
  const at: number[] = [];
  let rest = index;
  for (let a = lengths.length - 1; a >= 0; a--) {
    at.unshift(rest % lengths[a]);
    rest = Math.floor(rest / lengths[a]);
  }
  return at;
}

/**
 * The output shape of a linear map: `[N, ..., inFeatures]` → `[N, ..., outFeatures]`. Throws
 * ERR_SHAPE.
 */
export function linearShape(
  subject: string,
  shape: readonly number[],
  inFeatures: number,
  outFeatures: number,
): readonly number[] {
  const last = shape.length - 1;
  if (last >= 1 && !differs(shape[last], inFeatures)) return [...shape.slice(0, last), outFeatures];
  const context = `shape ${showShape(shape)}`;
  if (last < 1) {
    throw wrongValue('ERR_SHAPE', subject, 'x', 'rank 2 or more', `rank ${shape.length}`, context);
  }
  const expected = `${inFeatures} features on axis ${last}`;
  throw wrongValue('ERR_SHAPE', subject, 'x', expected, `${shape[last]}`, context);
}

/** Work on shapes with lengths that are not known: in its errors they are null. */
export function symbolically<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof Error && 'code' in error) error.message = error.message.replaceAll('NaN', 'null');
    throw error;
  }
}
