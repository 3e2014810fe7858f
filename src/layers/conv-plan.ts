// Convolutions as products: which values of a padded source make which pixels. Forward reads inputs
// and makes outputs; the gradient with respect to the input reads outputs' gradients and makes
// inputs', in as many phases as strides have remainders: inputs of one remainder see the same
// places of the window.

import { type RowSizes, type WindowSizes, windowBlocks } from '../kernels/conv/windows.ts';
import type { ConvGrid, Three, WindowGrid } from './conv-geometry.ts';

/**
 * From which side to which: `'output'` is forward, `'input'` the gradient with respect to the
 * input.
 */
export type Towards = 'output' | 'input';

/**
 * One place of the window along an axis: its number, and how many cells of the source behind the
 * pixel it lies.
 */
interface Place {
  readonly k: number;
  readonly offset: number;
}

/**
 * Places of the window that pixels of one remainder see, along each axis, those that lie first in
 * the source first.
 */
interface PhaseTaps {
  readonly start: Three;
  readonly lists: readonly [readonly Place[], readonly Place[], readonly Place[]];
}

const AXES = [0, 1, 2] as const;
const each = (work: (axis: 0 | 1 | 2) => number) => AXES.map(work) as unknown as Three;
const product = (values: readonly number[]) => values.reduce((result, value) => result * value, 1);

/** Places by remainder along one axis: the only remainder forward is 0. */
function placesAlong({ kernel, stride, dilation, before }: WindowGrid, axis: 0 | 1 | 2, towards: Towards): Place[][] {
  const all = Array.from({ length: kernel[axis] }, (_, k) => k);
  if (towards === 'output') return [all.map((k) => ({ k, offset: k * dilation[axis] }))];
  return Array.from({ length: stride[axis] }, (_, start) =>
    all
      .map((k) => ({ k, offset: (start + before[axis] - k * dilation[axis]) / stride[axis] }))
      .filter(({ offset }) => Number.isInteger(offset))
      .reverse(),
  );
}

/** The phases of a product. They depend on no input. */
function phaseTaps(grid: WindowGrid, towards: Towards): PhaseTaps[] {
  const [d, h, w] = AXES.map((axis) => placesAlong(grid, axis, towards));
  return d.flatMap((first, i) =>
    h.flatMap((second, j) =>
      w.map((third, k) => ({ start: [i, j, k] as const, lists: [first, second, third] as const })),
    ),
  );
}

/** Places of the window by phase, in the order in which weights are packed. */
export function placesOf(grid: WindowGrid, towards: Towards): number[][] {
  const [, height, width] = grid.kernel;
  return phaseTaps(grid, towards).map(({ lists: [d, h, w] }) =>
    d.flatMap((first) => h.flatMap((second) => w.map((third) => (first.k * height + second.k) * width + third.k))),
  );
}

/** Pixels with channels innermost, and zeros around them. */
export interface Source {
  readonly samples: number;
  readonly channels: number;
  /** How often each channel stands beside itself: a depthwise convolution's multiplier. */
  readonly repeat: number;
  readonly lengths: Three;
  /** With the zeros around. */
  readonly padded: Three;
  readonly before: Three;
  /** Values with zeros. */
  readonly size: number;
  /** Is it what is given, where that has its channels last? */
  readonly isGiven: boolean;
}

/** Where the pixels of a phase begin: the first one, and how far the next along each axis is. */
export interface Pixels {
  readonly first: number;
  readonly sampleStep: number;
  readonly steps: Three;
}

/** One call of a kernel for each group. */
export interface Phase {
  /** How many pixels there are along each axis, of each sample. */
  readonly counts: Three;
  /** Windows in the source. */
  readonly at: Pixels;
  readonly to: Pixels;
  /** Of u32, as f32: what memory holds of them. */
  readonly taps: Float32Array;
  readonly count: number;
  readonly runs: number;
  readonly run: number;
  /** Places of the window. */
  readonly places: number;
}

/** A product on memory. */
export interface ConvPlan {
  readonly source: Source;
  readonly phases: readonly Phase[];
  /** Does every channel go by itself? */
  readonly isDepthwise: boolean;
  readonly groups: number;
  /** Channels of source and result in one group; all of them where isDepthwise. */
  readonly depth: number;
  readonly cols: number;
  /** Values of the result. */
  readonly size: number;
  /** Windows on whole images, which need no tables and no zeros around. */
  readonly windows?: WindowSizes;
  /** The same of a depthwise convolution, and how many rows there are. */
  readonly rows?: RowSizes & { readonly counts: Three };
}

/** Pixels at `start + i·step` along each axis of an array of these lengths. */
function pixels(start: Three, step: Three, [depth, height, width]: Three, channels: number): Pixels {
  const row = width * channels;
  return {
    first: (start[0] * height + start[1]) * row + start[2] * channels,
    sampleStep: depth * height * row,
    steps: [step[0] * height * row, step[1] * row, step[2] * channels],
  };
}

export const isDepthwise = ({ groups, inChannels }: Pick<ConvGrid, 'groups' | 'inChannels'>) =>
  groups > 1 && groups === inChannels;

/**
 * The product on whole images, where there is a kernel for it that is faster: windows of 3 × 3, one
 * after the other, of so many channels that the transforms cost little beside the products.
 */
function windowsFor(
  { samples, kernel, stride, dilation, before, groups, inLengths, outLengths }: ConvGrid,
  towards: Towards,
  depth: number,
  cols: number,
): WindowSizes | undefined {
  const isPlain = groups === 1 && kernel.join() === '1,3,3' && [...stride, ...dilation].every((step) => step === 1);
  if (!isPlain || inLengths[0] !== 1 || before[0] !== 0) return undefined;
  if (depth < LEAST_CHANNELS || cols < LEAST_CHANNELS || depth % 4 !== 0 || cols % 8 !== 0) return undefined;
  const [from, into] = towards === 'output' ? [inLengths, outLengths] : [outLengths, inLengths];
  const [top, left] = [before[1], before[2]].map((zeros) => (towards === 'output' ? zeros : 2 - zeros));
  if (top < 0 || left < 0 || top > 2 || left > 2) return undefined;
  const [, height, width] = from;
  const [, outHeight, outWidth] = into;
  const tiles = Math.ceil(outHeight / 2) * Math.ceil(outWidth / 2);
  if (tiles * 16 > outHeight * outWidth * 8) return undefined;
  const sizes = { samples, height, width, depth, outHeight, outWidth, cols, top, left };
  return { ...sizes, ...windowBlocks(sizes) };
}

/**
 * A depthwise product on whole images: two axes, no dilation, as many channels out as in; backward
 * at stride 1 alone.
 */
function rowsFor(
  { samples, kernel, stride, dilation, before, inChannels, outChannels, inLengths, outLengths }: ConvGrid,
  towards: Towards,
): ConvPlan['rows'] {
  const isFlat = inLengths[0] === 1 && outLengths[0] === 1 && kernel[0] === 1 && before[0] === 0;
  if (!isFlat || inChannels !== outChannels || dilation.some((step) => step !== 1)) return undefined;
  const forward = towards === 'output';
  if (!forward && stride.some((step) => step !== 1)) return undefined;
  const [[, height, width], [, outHeight, outWidth]] = forward ? [inLengths, outLengths] : [outLengths, inLengths];
  const [, kernelHeight, kernelWidth] = kernel;
  const [top, left] = [1, 2].map((axis) => (forward ? before[axis] : kernel[axis] - 1 - before[axis]));
  if (top < 0 || left < 0) return undefined;
  const [, strideHeight, strideWidth] = stride;
  return {
    counts: [1, 1, samples * outHeight],
    ...{ samples, height, width, outHeight, outWidth, cols: inChannels },
    ...{ kernelHeight, kernelWidth, strideHeight, strideWidth, top, left },
  };
}

/** Fewer channels on either side, and the transforms cost as much as they spare. */
const LEAST_CHANNELS = 32;

/**
 * The product that makes outputs, or the gradient with respect to inputs. `isPadded`: by tables,
 * with the zeros there.
 */
export function planOf(grid: ConvGrid, towards: Towards, isPadded = false): ConvPlan {
  const { samples, inLengths, outLengths, stride, inChannels, outChannels, groups } = grid;
  const forward = towards === 'output';
  const depthwise = isDepthwise(grid);
  const [given, made] = forward ? [inChannels, outChannels] : [outChannels, inChannels];
  // a depthwise convolution goes over as many channels as the larger side has
  const [channels, result] = depthwise ? [outChannels, outChannels] : [given, made];
  const [from, into] = forward ? [inLengths, outLengths] : [outLengths, inLengths];
  const windows = isPadded || depthwise ? undefined : windowsFor(grid, towards, given, made);
  const rows = isPadded || !depthwise ? undefined : rowsFor(grid, towards);
  if (windows || rows) {
    const [none, size] = [[0, 0, 0] as const, samples * product(from) * given];
    return {
      source: { samples, channels: given, repeat: 1, lengths: from, padded: from, before: none, size, isGiven: true },
      ...{ isDepthwise: depthwise, groups: 1, depth: given, cols: made, size: samples * product(into) * made },
      ...{ phases: [], windows, rows },
    };
  }
  const phases = phaseTaps(grid, towards);
  const offsets = (axis: 0 | 1 | 2) => phases.flatMap(({ lists }) => lists[axis].map(({ offset }) => offset));
  const least = each((axis) => offsets(axis).reduce((low, offset) => Math.min(low, offset), 0));
  const step = forward ? stride : ([1, 1, 1] as const);
  const before = forward ? grid.before : each((axis) => -least[axis]);
  const countsOf = (start: Three) =>
    forward ? outLengths : each((axis) => Math.max(0, Math.ceil((inLengths[axis] - start[axis]) / stride[axis])));
  const padded = each((axis) => {
    const ends = phases.flatMap(({ start, lists }) =>
      lists[axis].map(
        ({ offset }) => (countsOf(start)[axis] - 1) * step[axis] + offset + (forward ? 0 : before[axis]) + 1,
      ),
    );
    return ends.reduce((most, end) => Math.max(most, end), before[axis] + from[axis]);
  });
  const isGiven = AXES.every((axis) => padded[axis] === from[axis]) && channels === given;
  return {
    source: {
      samples,
      channels: given,
      repeat: channels / given,
      lengths: from,
      padded,
      before,
      size: samples * channels * product(padded),
      isGiven,
    },
    isDepthwise: depthwise,
    groups: depthwise ? 1 : groups,
    depth: depthwise ? channels : channels / groups,
    cols: depthwise ? channels : result / groups,
    size: samples * result * product(into),
    phases: phases.map(({ start, lists: [d, h, w] }) => {
      const counts = countsOf(start);
      const places = d.length * h.length * w.length;
      // neighbours along the last axis are one run, where all of their channels are read
      const isRun = groups === 1 && w.every(({ offset }, i) => i === 0 || offset === w[i - 1].offset + 1);
      const shift = forward ? ([0, 0, 0] as const) : before;
      const taps = d.flatMap((first) =>
        h.flatMap((second) =>
          (isRun ? w.slice(0, 1) : w).map(
            (third) =>
              (((first.offset + shift[0]) * padded[1] + second.offset + shift[1]) * padded[2] +
                third.offset +
                shift[2]) *
              channels,
          ),
        ),
      );
      const depth = depthwise ? 1 : channels / groups;
      return {
        counts,
        at: pixels([0, 0, 0], step, padded, channels),
        to: pixels(forward ? [0, 0, 0] : start, forward ? [1, 1, 1] : stride, into, result),
        taps: new Float32Array(Uint32Array.from(taps).buffer),
        count: samples * product(counts),
        runs: taps.length,
        run: isRun ? w.length * depth : depth,
        places,
      };
    }),
  };
}
