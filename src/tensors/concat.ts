// Arrays one behind the other along an axis, which may be counted from the end. A length that is
// not known is NaN.

import { wrongValue } from '../errors.ts';
import { countOf, showSymbolic } from './shape.ts';

type Shape = readonly number[];

const placeOf = (axis: number, rank: number) => (axis < 0 ? axis + rank : axis);

/** The shape of all of them together. Throws ERR_SHAPE, by `where`. */
export function concatShape(subject: string, where: string, shapes: readonly Shape[], axis: number): Shape {
  const [first] = shapes;
  const at = placeOf(axis, first.length);
  const context = `axis ${axis}`;
  if (!(at >= 0 && at < first.length)) {
    const expected = `an axis of ${showSymbolic(first)}`;
    throw wrongValue('ERR_SHAPE', subject, where, expected, `${axis}`);
  }
  const result = [...first];
  result[at] = 0;
  for (const shape of shapes) {
    const fits = shape.length === first.length;
    for (let i = 0; i < first.length && fits; i++) {
      if (i === at) result[i] += shape[i];
      else if (Number.isNaN(result[i])) result[i] = shape[i];
      else if (shape[i] !== result[i] && !Number.isNaN(shape[i])) result[i] = -1;
    }
    if (fits && !result.includes(-1)) continue;
    const some = shapes.slice(0, 8).map(showSymbolic).join(' and ');
    const got = shapes.length > 8 ? `${some} and others` : some;
    throw wrongValue('ERR_SHAPE', subject, where, 'shapes that agree along the other axes', got, context);
  }
  return result;
}

/**
 * Calls `visit` for each piece: which array, where it begins there and in the whole, and its
 * length.
 */
export function eachPiece(
  shapes: readonly Shape[],
  whole: Shape,
  axis: number,
  visit: (i: number, from: number, to: number, length: number) => void,
): void {
  const at = placeOf(axis, whole.length);
  const inner = countOf(whole.slice(at + 1));
  const outer = countOf(whole.slice(0, at));
  let before = 0;
  shapes.forEach((shape, i) => {
    const length = shape[at] * inner;
    for (let n = 0; n < outer; n++) visit(i, n * length, n * whole[at] * inner + before, length);
    before += length;
  });
}
