// What the gradient of an operation is, and of those that have none.

import { shapeOf } from '../../tensors/shape.ts';
import type { TensorLike } from '../../tensors/tensor.ts';

/** Sets the gradients of the inputs that have a place for them. */
export type Backward = (dy: TensorLike, xs: readonly TensorLike[], dxs: readonly (TensorLike | undefined)[]) => void;

/** The gradient of what jumps, or counts: 0 everywhere, as in PyTorch. */
export const flat: Backward = (_dy, _xs, dxs) => clear(dxs);

export function clear(dxs: readonly (TensorLike | undefined)[]): void {
  for (const dx of dxs) dx?.data.fill(0);
}

/** A place for sums in f64, for each input that wants its gradient. */
export function sumsFor(dxs: readonly (TensorLike | undefined)[]): (Float64Array | undefined)[] {
  return dxs.map((dx) => dx && new Float64Array(dx.data.length));
}

/** Rounds sums to gradients. */
export function put(sums: readonly (Float64Array | undefined)[], dxs: readonly (TensorLike | undefined)[]): void {
  sums.forEach((sum, i) => {
    if (sum) dxs[i]!.data.set(sum);
  });
}

export const shapesOf = (xs: readonly TensorLike[]) => xs.map(shapeOf);
