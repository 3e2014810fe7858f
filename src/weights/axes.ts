// The order of axes in kernels.

import { wrongValue } from '../errors.ts';
import type { Coded, Values } from '../formats/dtypes.ts';
import { gathered, gatherInto, stridesOf } from '../formats/strides.ts';
import { largestOf } from '../graph/weights.ts';
import type { Stored } from '../tensors/stored.ts';

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

/** A kernel as a layer's weight, of this shape. */
export interface StoredKernel extends Stored {
  readonly shape: readonly number[];
}

/** A kernel as a file has it. */
interface Kernel {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
  readonly coded?: Coded | undefined;
}

/**
 * A kernel as a layer's weight: `[out, in, ...window]` of `[...window, in, out]`, and
 * `[in·multiplier, 1, ...window]` of a depthwise `[...window, in, multiplier]`. Values are put in
 * this order when they are written, by whole rows of the first axis.
 */
export function storedKernel(kernel: Kernel, isDepthwise: boolean): StoredKernel {
  const { shape, coded } = kernel;
  // read now: what is wrong with a file is said while it is loaded
  const values = coded?.codes ?? typed(kernel.data);
  const count = shape.reduce((product, length) => product * length, 1);
  if (values.length !== count) {
    throw wrongValue('ERR_FORMAT', 'weights', 'kernel', `${count} values`, `${values.length}`);
  }
  const rank = shape.length;
  const [given, made] = shape.slice(-2);
  const [outer, inner] = isDepthwise ? [given * made, 1] : [made, given];
  const own = [outer, inner, ...shape.slice(0, -2)];
  const steps = stridesOf(shape);
  const strides = [steps[rank - 1], steps[rank - 2], ...steps.slice(0, -2)];
  const row = count / outer;
  return {
    length: count,
    shape: own,
    bytes: coded?.line && coded.codes instanceof Uint8Array ? { codes: coded.codes, ...coded.line } : undefined,
    get most() {
      return coded?.most ?? largestOf(values as Values);
    },
    write(out, first) {
      if (out.length === 0) return;
      gatherInto(out, values.subarray(first / row), [out.length / row, ...own.slice(1)], strides);
      coded?.decode(out, out);
    },
    writeAcross(out, firstRow) {
      const lines = values.subarray(firstRow * outer, firstRow * outer + out.length);
      if (coded) coded.decode(lines, out);
      else out.set(lines);
    },
  };
}

const typed = (data: ArrayLike<number>): Values =>
  data instanceof Float32Array || data instanceof Float64Array ? (data as Values) : Float64Array.from(data);

function outputsFirst(rank: number): number[] {
  return [rank - 2, rank - 1, ...Array.from({ length: rank - 2 }, (_, axis) => axis)];
}
