// Sizes for the kernels of pooling, and the windows that go with them.

import { type WindowAxis, windowsOf } from '../../src/kernels/pool/windows.ts';
import type { Sizes } from '../../src/kernels/row.ts';

type Axis = readonly [input: number, kernel: number, stride: number, padding: number, dilation: number];

const ONE: Axis = [1, 1, 1, 0, 1];
const NAMES = ['Depth', 'Height', 'Width'];

/** Sizes of a call; a kernel of 0 is adaptive, to `stride` outputs. */
export function poolSizes(outer: number, channels: number, ...given: Axis[]): Sizes {
  const sizes: Sizes = { outer, channels };
  [ONE, ONE, ...given].slice(-3).forEach(([input, kernel, stride, padding, dilation], i) => {
    const name = NAMES[i];
    sizes[`in${name}`] = input;
    sizes[`kernel${name}`] = kernel;
    sizes[`stride${name}`] = stride;
    sizes[`padding${name}`] = padding;
    sizes[`dilation${name}`] = dilation;
    sizes[`out${name}`] =
      kernel === 0 ? stride : Math.floor((input + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1;
  });
  return sizes;
}

/** The table of windows for such sizes; averages know no dilation. */
export function windowsFor(sizes: Sizes, isAverage: boolean): Float32Array {
  const axes = NAMES.map(
    (name): WindowAxis => ({
      input: sizes[`in${name}`],
      output: sizes[`out${name}`],
      kernel: sizes[`kernel${name}`],
      stride: sizes[`stride${name}`],
      padding: sizes[`padding${name}`],
      dilation: isAverage ? 1 : sizes[`dilation${name}`],
    }),
  );
  return windowsOf(axes, true);
}

/**
 * Around the lane width, with and without overlap, padding and dilation, over one to three axes,
 * planes and channels innermost.
 */
export function allPoolSizes(): Sizes[] {
  const all: Sizes[] = [];
  for (const channels of [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 20, 37]) {
    all.push(poolSizes(2, channels, [9, 2, 2, 0, 1], [11, 2, 2, 0, 1]));
    all.push(poolSizes(1, channels, [7, 3, 1, 1, 1], [8, 3, 1, 1, 1]));
    all.push(poolSizes(2, channels, [7, 3, 2, 1, 1], [6, 3, 2, 1, 1]));
    all.push(poolSizes(3, channels, [13, 3, 2, 1, 2]));
    all.push(poolSizes(1, channels, [4, 2, 2, 0, 1], [5, 3, 1, 1, 1], [6, 2, 3, 0, 1]));
    all.push(poolSizes(2, channels, [5, 0, 3, 0, 1], [7, 0, 4, 0, 1]));
    all.push(poolSizes(2, channels, [5, 0, 1, 0, 1], [7, 0, 1, 0, 1]));
  }
  for (let width = 3; width <= 40; width++) {
    all.push(poolSizes(2, 1, [5, 2, 2, 0, 1], [width, 2, 2, 0, 1]));
    all.push(poolSizes(2, 1, [4, 3, 1, 1, 1], [width, 3, 1, 1, 1]));
    all.push(poolSizes(1, 1, [3, 3, 2, 1, 1], [width, 3, 2, 1, 1]));
    all.push(poolSizes(1, 1, [3, 3, 1, 1, 2], [width, 2, 2, 1, 2]));
    all.push(poolSizes(1, 1, [width, 0, 1, 0, 1]), poolSizes(1, 1, [width, 3, 3, 0, 1]));
  }
  return all.filter(({ outDepth, outHeight, outWidth }) => Math.min(outDepth, outHeight, outWidth) > 0);
}
