// The order of axes in kernels.

import { wrongValue } from '../errors.ts';
import type { Coded, Values } from '../formats/dtypes.ts';
import { gathered, gatherInto, stridesOf } from '../formats/strides.ts';

/** Moves axes: the result's axis i is the given one's axis `order[i]`. */
export function permute(
  values: Values,
  shape: readonly number[],
  order: readonly number[],
): { data: Values; shape: number[] } {
  const to = order.map((axis) => shape[axis]);
  const strides = stridesOf(shape);
  return {
    data: gathered(
      values,
      to,
      order.map((axis) => strides[axis]),
    ),
    shape: to,
  };
}

/**
 * `[...window, in, out]` → `[out, in, ...window]`, as Keras and Flax have kernels and we have
 * weights.
 */
export function fromKernel(values: Values, shape: readonly number[]): { data: Values; shape: number[] } {
  const axes = shape.map((_, axis) => axis);
  return permute(values, shape, [axes.length - 1, axes.length - 2, ...axes.slice(0, -2)]);
}

/** The way back: `[out, in, ...window]` → `[...window, in, out]`. */
export function toKernel(values: Values, shape: readonly number[]): { data: Values; shape: number[] } {
  const axes = shape.map((_, axis) => axis);
  return permute(values, shape, [...axes.slice(2), 1, 0]);
}

/**
 * `[...window, in, multiplier]` → `[in·multiplier, 1, ...window]`: a depthwise kernel as a
 * convolution of as many groups as inputs has it.
 */
export function fromDepthwise(values: Values, shape: readonly number[]): { data: Values; shape: number[] } {
  const { data, shape: moved } = permute(values, shape, outputsFirst(shape.length));
  return { data, shape: [moved[0] * moved[1], 1, ...moved.slice(2)] };
}

/** A kernel as a file has it. */
interface Kernel {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
  readonly coded?: Coded | undefined;
}

/** `fromKernel`, or `fromDepthwise`, into an array that is there. */
export function kernelInto(out: Float32Array, kernel: Kernel, isDepthwise: boolean): void {
  const { shape, coded } = kernel;
  const values = coded?.codes ?? (kernel.data as Values);
  if (values.length !== out.length) {
    throw wrongValue('ERR_FORMAT', 'weights', 'kernel', `${out.length} values`, `${values.length}`);
  }
  const rank = shape.length;
  const inner = Array.from({ length: rank - 2 }, (_, axis) => axis);
  const order = isDepthwise ? outputsFirst(rank) : [rank - 1, rank - 2, ...inner];
  const strides = stridesOf(shape);
  gatherInto(
    out,
    values,
    order.map((axis) => shape[axis]),
    order.map((axis) => strides[axis]),
  );
  coded?.decode(out);
}

function outputsFirst(rank: number): number[] {
  return [rank - 2, rank - 1, ...Array.from({ length: rank - 2 }, (_, axis) => axis)];
}
