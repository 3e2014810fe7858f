import { kindOf, show, showShape, wrongKind, wrongValue } from '../errors.ts';
import type { PlainTensor } from '../types.ts';

/** Largest number of f32 values that 4 GiB hold. */
const MOST_VALUES = 2 ** 30;

/** The number of values of a shape, after checking that it is one. */
export function sizeOf(subject: string, argument: string, shape: readonly number[]): number {
  if (!Array.isArray(shape) && !(ArrayBuffer.isView(shape) && 'length' in shape)) {
    throw wrongKind('ERR_TYPE', subject, `${argument}.shape`, 'an array of sizes', show(shape));
  }
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

/** Checks that something is a tensor of some kind, with as many values as its shape says. */
export function checkTensorLike(subject: string, argument: string, x: unknown): asserts x is PlainTensor {
  const data = (x as { data?: unknown } | null | undefined)?.data;
  if (typeof x !== 'object' || x === null || !('shape' in x || 'dims' in x)) {
    throw wrongKind('ERR_TYPE', subject, argument, 'a Tensor or { data, shape }', show(x));
  }
  if (!(data instanceof Float32Array)) {
    throw wrongKind(
      'ERR_TYPE',
      subject,
      `${argument}.data`,
      'a Float32Array',
      data === null || typeof data !== 'object' ? show(data) : kindOf(data),
    );
  }
  const shape = shapeOf(x as PlainTensor);
  const size = sizeOf(subject, argument, shape);
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
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
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

/** The output shape of a linear map: `[N, ..., inFeatures]` → `[N, ..., outFeatures]`. Throws ERR_SHAPE. */
export function linearShape(
  subject: string,
  shape: readonly number[],
  inFeatures: number,
  outFeatures: number,
): readonly number[] {
  const last = shape.length - 1;
  if (last >= 1 && shape[last] === inFeatures) return [...shape.slice(0, last), outFeatures];
  const context = `shape ${showShape(shape)}`;
  if (last < 1) {
    throw wrongValue('ERR_SHAPE', subject, 'x', 'rank 2 or more', `rank ${shape.length}`, context);
  }
  const expected = `${inFeatures} features on axis ${last}`;
  throw wrongValue('ERR_SHAPE', subject, 'x', expected, `${shape[last]}`, context);
}
