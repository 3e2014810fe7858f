// The order of axes in kernels.

import type { Values } from '../formats/dtypes.ts';

/** Moves axes: the result's axis i is the given one's axis `order[i]`. */
export function permute(
  values: Values,
  shape: readonly number[],
  order: readonly number[],
): { data: Values; shape: number[] } {
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((product, length) => product * length, 1));
  const to = order.map((axis) => shape[axis]);
  const data = values.slice() as Values;
  const index = to.map(() => 0);
  for (let i = 0; i < data.length; i++) {
    let from = 0;
    for (let axis = 0; axis < index.length; axis++) from += index[axis] * strides[order[axis]];
    data[i] = values[from];
    for (let axis = index.length - 1; axis >= 0 && ++index[axis] === to[axis]; axis--) index[axis] = 0;
  }
  return { data, shape: to };
}

/** `[...window, in, out]` → `[out, in, ...window]`, as Keras and Flax have kernels and we have weights. */
export function fromKernel(values: Values, shape: readonly number[]): { data: Values; shape: number[] } {
  const axes = shape.map((_, axis) => axis);
  return permute(values, shape, [axes.length - 1, axes.length - 2, ...axes.slice(0, -2)]);
}

/** The way back: `[out, in, ...window]` → `[...window, in, out]`. */
export function toKernel(values: Values, shape: readonly number[]): { data: Values; shape: number[] } {
  const axes = shape.map((_, axis) => axis);
  return permute(values, shape, [...axes.slice(2), 1, 0]);
}
