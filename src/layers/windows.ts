// What pooling means for a shape: the windows along its spatial axes.

import { showShape, wrongValue } from '../errors.ts';
import { type PoolExtent, poolExtent } from '../kernels/pool/calls.ts';
import type { WindowAxis } from '../kernels/pool/windows.ts';
import { countOf } from '../tensors/shape.ts';
import type { Layout } from '../types.ts';
import { checkLengths, type Image, imageOf, withLengths } from './per-axis.ts';

/**
 * Places of an axis, or of all where there is one window: the table of windows counts them in f32.
 */
const MOST_PLACES = 16_777_216;

/** A pooling as data. */
export interface Pooling {
  readonly of: 'max' | 'avg';
  readonly layout: Layout;
  /** By axis; null where the windows follow from the number of outputs. */
  readonly windows: {
    readonly kernel: readonly number[];
    readonly stride: readonly number[];
    /** `'same'`: ceil(input/stride) outputs, as many places as that takes, the odd one last. */
    readonly padding: readonly number[] | 'same';
    readonly dilation: readonly number[];
    readonly ceilMode: boolean;
    readonly countIncludePad: boolean;
  } | null;
  /**
   * Outputs by axis where there are no `windows`: null as many as inputs. A null list: one output
   * for all axes there are.
   */
  readonly outputs: readonly (number | null)[] | null;
}

/** How many spatial axes it takes; undefined: any. */
export function axesOf({ windows, outputs }: Pooling): number | undefined {
  return (windows?.kernel ?? outputs)?.length;
}

/** The windows of each axis; of all axes together, where there is one output for them. */
function windowAxes({ windows, outputs }: Pooling, { lengths }: Image): WindowAxis[] {
  if (!windows) {
    const adaptive = { kernel: 0, stride: 1, padding: 0, dilation: 1 };
    if (!outputs) {
      const input = lengths.reduce((product, length) => product * length, 1);
      return [{ input, output: 1, ...adaptive }];
    }
    return lengths.map((input, i) => ({ input, output: outputs[i] ?? input, ...adaptive }));
  }
  return lengths.map((input, i) => {
    const [kernel, stride] = [windows.kernel[i], windows.stride[i]];
    const dilation = windows.dilation[i];
    if (windows.padding === 'same') {
      const output = Math.ceil(input / stride);
      const total = Math.max((output - 1) * stride + dilation * (kernel - 1) + 1 - input, 0);
      const padding = Math.floor(total / 2);
      return { input, output, kernel, stride, padding, behind: total - padding, dilation };
    }
    const padding = windows.padding[i];
    const room = input + 2 * padding - dilation * (kernel - 1) - 1 + (windows.ceilMode ? stride - 1 : 0);
    const output = Math.floor(room / stride) + 1;
    // a window that would begin behind the input is none
    const isBehind = windows.ceilMode && (output - 1) * stride >= input + padding;
    return { input, output: isBehind ? output - 1 : output, kernel, stride, padding, dilation };
  });
}

/** The least length of each axis: that of one window, without its padding. */
function leastLengths({ windows }: Pooling, { lengths }: Image): number[] {
  return lengths.map((_, i) => {
    if (!windows || windows.padding === 'same') return 1;
    const window = windows.dilation[i] * (windows.kernel[i] - 1) + 1;
    const more = windows.ceilMode ? windows.stride[i] - 1 : 0;
    return Math.max(1, window - 2 * windows.padding[i] - more);
  });
}

/**
 * The shape of the output; lengths may be NaN.
 *
 * @throws ERR_SHAPE for another rank, and for an axis shorter than one window
 */
export function pooledShape(subject: string, pooling: Pooling, shape: readonly number[]): readonly number[] {
  const image = imageOf(subject, shape, axesOf(pooling), pooling.layout);
  checkLengths(subject, shape, image, pooling.layout, leastLengths(pooling, image));
  const outputs = pooling.windows || pooling.outputs ? windowAxes(pooling, image).map(({ output }) => output) : null;
  return withLengths(shape, image, outputs ?? image.lengths.map(() => 1));
}

/** What kernels need to know, of a shape that has been checked. */
export function extentOf(subject: string, pooling: Pooling, shape: readonly number[]): PoolExtent {
  const image = imageOf(subject, shape, axesOf(pooling), pooling.layout);
  const long = image.lengths.find((length) => length > MOST_PLACES);
  const size = pooling.windows || pooling.outputs ? long : countOf(image.lengths);
  if (size !== undefined && size > MOST_PLACES) {
    const context = `shape ${showShape(shape)}, ${pooling.layout}`;
    throw wrongValue('ERR_SHAPE', subject, 'x', `${MOST_PLACES} places at most`, `${size}`, context);
  }
  return poolExtent(image.outer, image.channels, windowAxes(pooling, image), pooling.windows?.countIncludePad);
}
