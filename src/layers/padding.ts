// What padding means for a shape.

import type { AxisMaps } from '../tensors/axis-maps.ts';
import type { Layout } from '../types.ts';
import { checkLengths, type Image, imageOf, withLengths } from './per-axis.ts';

export const PAD_MODES = ['constant', 'reflect', 'replicate'] as const;

/** A padding as data. */
export interface Padding {
  readonly layout: Layout;
  readonly mode: (typeof PAD_MODES)[number];
  /** What is there in mode `'constant'`, as f32. */
  readonly value: number;
  /** Places before and behind: of every axis, or of each. */
  readonly pads: number | readonly (readonly [before: number, after: number])[];
}

export function paddedAxes({ pads }: Padding): number | undefined {
  return typeof pads === 'number' ? undefined : pads.length;
}

function padsOf({ pads }: Padding, { lengths }: Image): readonly (readonly [number, number])[] {
  return typeof pads === 'number' ? lengths.map(() => [pads, pads] as const) : pads;
}

/**
 * The shape of the output; lengths may be NaN.
 *
 * @throws ERR_SHAPE for another rank, and for axes shorter than what is reflected
 */
export function paddedShape(subject: string, padding: Padding, shape: readonly number[]): readonly number[] {
  const image = imageOf(subject, shape, paddedAxes(padding), padding.layout);
  const pads = padsOf(padding, image);
  const isReflected = padding.mode === 'reflect';
  const least = pads.map(([before, after]) => (isReflected ? Math.max(before, after) + 1 : 1));
  checkLengths(subject, shape, image, padding.layout, least);
  return withLengths(
    shape,
    image,
    image.lengths.map((length, i) => pads[i][0] + length + pads[i][1]),
  );
}

/** Where each value comes from, for a shape that has been checked. */
export function paddingMaps(subject: string, padding: Padding, shape: readonly number[]): AxisMaps {
  const image = imageOf(subject, shape, paddedAxes(padding), padding.layout);
  const maps = padsOf(padding, image).map(([before, after], i) => {
    const length = image.lengths[i];
    return Int32Array.from({ length: before + length + after }, (_, k) => {
      const at = k - before;
      if (at >= 0 && at < length) return at;
      if (padding.mode === 'constant') return -1;
      if (padding.mode === 'replicate') return at < 0 ? 0 : length - 1;
      return at < 0 ? -at : 2 * (length - 1) - at;
    });
  });
  return { ...image, maps };
}
