// Values with their axes in another order, by plain loops.

import { countOf } from '../tensors/shape.ts';

/** How to walk over values in the order they are to have: neighbours that stay so are one axis. */
export interface Permutation {
  readonly lengths: readonly number[];
  /** Along each axis, from one value to the next where they come from. */
  readonly steps: readonly number[];
}

/** @param order axis i of the result is axis `order[i]` of what there is */
export function permutationOf(shape: readonly number[], order: readonly number[]): Permutation {
  const lengths: number[] = [];
  const steps: number[] = [];
  for (let i = order.length - 1; i >= 0; i--) {
    const length = shape[order[i]];
    const step = countOf(shape.slice(order[i] + 1));
    if (length === 1) continue;
    if (lengths.length && step === steps[0] * lengths[0]) lengths[0] *= length;
    else {
      lengths.unshift(length);
      steps.unshift(step);
    }
  }
  return { lengths, steps };
}

/**
 * Brings values from `from` to `to` in the order of a permutation, or with `back` from that order
 * to the one they had. Both are indices, into `f32` and into `into`, and lie apart.
 */
export function permute(
  f32: Float32Array,
  from: number,
  to: number,
  { lengths, steps }: Permutation,
  back = false,
  into = f32,
): void {
  if (lengths.includes(0)) return;
  const last = lengths.length - 1;
  const length = lengths[last] ?? 1;
  const step = steps[last] ?? 1;
  const place = lengths.map(() => 0);
  let [row, line] = back ? [from, to] : [to, from];
  for (;;) {
    if (back) for (let i = 0, at = line; i < length; i++, at += step) into[at] = f32[row + i];
    else for (let i = 0, at = line; i < length; i++, at += step) into[row + i] = f32[at];
    row += length;
    let axis = last - 1;
    for (; axis >= 0; axis--) {
      line += steps[axis];
      if (++place[axis] < lengths[axis]) break;
      line -= steps[axis] * lengths[axis];
      place[axis] = 0;
    }
    if (axis < 0) return;
  }
}
