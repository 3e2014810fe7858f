// The same values in another shape.

import { show, showShape, wrongValue } from '../errors.ts';
import { countOf, differs, showSymbolic } from '../tensors/shape.ts';

/**
 * Axes `startAxis` to `endAxis` as one; both count the batch, and from the end where they are
 * negative. Lengths may be NaN.
 *
 * @throws ERR_SHAPE for a rank without these axes, or where the first lies behind the last
 */
export function flattenedShape(
  subject: string,
  startAxis: number,
  endAxis: number,
  shape: readonly number[],
): readonly number[] {
  const [first, last] = [startAxis, endAxis].map((axis) => {
    const at = axis < 0 ? axis + shape.length : axis;
    if (at < 0 || at >= shape.length) {
      throw wrongValue('ERR_SHAPE', subject, 'x', `an axis ${axis}`, `shape ${showSymbolic(shape)}`);
    }
    return at;
  });
  if (first > last) {
    const expected = `an axis ${startAxis} not behind axis ${endAxis}`;
    throw wrongValue('ERR_SHAPE', subject, 'x', expected, `shape ${showSymbolic(shape)}`);
  }
  return [...shape.slice(0, first), countOf(shape.slice(first, last + 1)), ...shape.slice(last + 1)];
}

/**
 * Each sample in another shape, in which one length may be −1: what is left for it. Lengths may be
 * NaN.
 *
 * @throws ERR_SHAPE where the values of a sample do not fill it
 */
export function reshapedShape(subject: string, target: readonly number[], shape: readonly number[]): readonly number[] {
  if (shape.length < 1) throw wrongValue('ERR_SHAPE', subject, 'x', 'rank 1 or more', `rank ${shape.length}`);
  const size = countOf(shape.slice(1));
  const known = target.reduce((product, length) => (length < 0 ? product : product * length), 1);
  const isOpen = target.includes(-1);
  if (isOpen ? size % known > 0 || size === 0 : differs(size, known)) {
    const expected = `samples of ${isOpen ? `a multiple of ${known}` : known} values for ${showShape(target)}`;
    throw wrongValue('ERR_SHAPE', subject, 'x', expected, show(size), `shape ${showSymbolic(shape)}`);
  }
  return [shape[0], ...target.map((length) => (length < 0 ? size / known : length))];
}
