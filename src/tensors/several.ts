// Several tensors at once: micro-batches and their gradients, checked before the first is worked
// on.

import { show, wrongKind, wrongMoment, wrongValue } from '../errors.ts';
import { backend } from '../kernels/backend.ts';
import { Call, locate, makeLike, type Product } from './call.ts';
import { checkShape, shapeOf } from './shape.ts';
import { Tensor, type TensorLike } from './tensor.ts';

/** Throws ERR_OPTION for anything but an array with something in it. */
export function checkBatches(subject: string, given: readonly unknown[], argument = 'micro-batch'): void {
  const expected = 'an array of at least 1';
  if (!Array.isArray(given)) throw wrongKind('ERR_OPTION', subject, `${argument}es`, expected, show(given));
  if (given.length === 0) throw wrongValue('ERR_OPTION', subject, `${argument}es`, expected, '0');
}

/** The tensors of such an array, checked and located. */
export function locateAll(subject: string, argument: string, given: readonly TensorLike[]): TensorLike[] {
  checkBatches(subject, given, argument);
  return Array.from(given, (x, i) => locate(subject, `${argument} ${i}`, x));
}

/** Checks that there is a gradient for each of so many micro-batches. */
export function checkCount(subject: string, dys: readonly unknown[], count: number): void {
  if (Array.isArray(dys) && dys.length === count) return;
  const got = Array.isArray(dys) ? `${dys.length}` : show(dys);
  throw wrongMoment('ERR_MODE', subject, 'backward of micro-batches', `${count} gradients`, got);
}

/** A gradient of this shape, located. */
export function checkGradient(subject: string, name: string, dy: TensorLike, shape: readonly number[]): TensorLike {
  const located = locate(subject, name, dy);
  checkShape(subject, name, shapeOf(located), shape, 'shape');
  return located;
}

/** The gradients of micro-batches whose outputs have these shapes, located. */
export function checkGradients(
  subject: string,
  dys: readonly TensorLike[],
  shapes: readonly (readonly number[])[],
): TensorLike[] {
  checkCount(subject, dys, shapes.length);
  return Array.from(dys, (dy, i) => checkGradient(subject, `dy ${i}`, dy, shapes[i]));
}

/** The error for gradients of micro-batches that never were. */
export function noMicroBatches(subject: string): Error {
  const expected = 'a forward of micro-batches before it';
  return wrongMoment('ERR_MODE', subject, 'backward of micro-batches', expected, 'none');
}

/** Gives back what was made before an error. */
export function disposeAll(made: readonly (TensorLike | undefined)[]): void {
  for (const one of made) if (one instanceof Tensor) one.dispose();
}

/**
 * `produce` for several results, which must lie apart: each like the first input, unless it was
 * found as one of `targets`.
 */
export function produceAll(
  products: readonly Product[],
  targets: readonly (TensorLike | undefined)[],
  work: (call: Call, results: readonly TensorLike[]) => void,
): TensorLike[] {
  const made: TensorLike[] = [];
  const call = new Call(backend());
  try {
    const results = products.map(({ like, shape }, i) => targets[i] ?? made[made.push(makeLike(like, shape)) - 1]);
    work(call, results);
    call.finish();
    return products.map(({ out }, i) => out ?? results[i]);
  } catch (error) {
    disposeAll(made);
    throw error;
  } finally {
    call.end();
  }
}
