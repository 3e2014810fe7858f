// Shapes that meet as in numpy: axes are matched from the last one on, and a length of 1 stands for
// any other. A length that is not known is NaN.

import { wrongValue } from '../errors.ts';
import { showSymbolic } from './shape.ts';

type Shape = readonly number[];

/** The shape of all of them together. Throws ERR_SHAPE, by `where`. */
export function broadcastShape(subject: string, where: string, shapes: readonly Shape[]): number[] {
  const rank = Math.max(...shapes.map(({ length }) => length));
  return Array.from({ length: rank }, (_, axis) => {
    let length = 1;
    for (const shape of shapes) {
      const own = shape[axis - rank + shape.length] ?? 1;
      if (own === 1 || own === length) continue;
      if (length === 1 || Number.isNaN(length)) length = own;
      else if (!Number.isNaN(own)) {
        const got = shapes.map(showSymbolic).join(' and ');
        throw wrongValue('ERR_SHAPE', subject, where, 'shapes that agree, or lengths of 1', got, `axis ${axis}`);
      }
    }
    return length;
  });
}

/**
 * A walk over values of a shape: lengths of its axes, and for each array the step along each;
 * neighbours that are one axis to all are one.
 */
interface Walk {
  readonly lengths: readonly number[];
  readonly steps: readonly (readonly number[])[];
}

/** How to walk over `shape` and over arrays of these shapes, which are repeated along it. */
export function walkOver(shape: Shape, shapes: readonly Shape[]): Walk {
  const lengths: number[] = [];
  const steps: number[][] = shapes.map(() => []);
  const inner = shapes.map(() => 1);
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const length = shape[axis];
    const own = shapes.map((one) => one[axis - shape.length + one.length] ?? 1);
    if (length !== 1) {
      const now = own.map((n, i) => (n === 1 ? 0 : inner[i]));
      const isOne = lengths.length > 0 && now.every((step, i) => step === steps[i][0] * lengths[0]);
      if (isOne) lengths[0] *= length;
      else {
        lengths.unshift(length);
        for (let i = 0; i < shapes.length; i++) steps[i].unshift(now[i]);
      }
    }
    for (let i = 0; i < shapes.length; i++) inner[i] *= own[i];
  }
  return { lengths, steps };
}

/**
 * Calls `visit` for every row of the last axis: where each array is at its beginning, its length,
 * and the steps of arrays within it.
 */
export function eachRow(
  { lengths, steps }: Walk,
  visit: (at: readonly number[], length: number, steps: readonly number[]) => void,
): void {
  const last = lengths.length - 1;
  const at = steps.map(() => 0);
  const within = steps.map((own) => own[last] ?? 0);
  if (lengths.includes(0)) return;
  const place = lengths.map(() => 0);
  for (;;) {
    visit(at, lengths[last] ?? 1, within);
    let axis = last - 1;
    for (; axis >= 0; axis--) {
      for (let i = 0; i < at.length; i++) at[i] += steps[i][axis];
      if (++place[axis] < lengths[axis]) break;
      for (let i = 0; i < at.length; i++) at[i] -= steps[i][axis] * lengths[axis];
      place[axis] = 0;
    }
    if (axis < 0) return;
  }
}
