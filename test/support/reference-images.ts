// Layers over images as plain sums in f64, one value at a time: what the library is held against.

type Values = ArrayLike<number>;
type Layout = 'channels-first' | 'channels-last';

/** All tuples of so many lengths, in row-major order. */
export function tuples(lengths: readonly number[]): number[][] {
  return lengths.reduce<number[][]>(
    (all, length) => all.flatMap((head) => Array.from({ length }, (_, i) => [...head, i])),
    [[]],
  );
}

/** Where a value lies in a tensor of a logical shape [N, C, ...]. */
function placer(shape: readonly number[], layout: Layout) {
  const [batch, channels, ...spatial] = shape;
  const stored = layout === 'channels-first' ? shape : [batch, ...spatial, channels];
  return ([n, c, ...at]: readonly number[]) => {
    const index = layout === 'channels-first' ? [n, c, ...at] : [n, ...at, c];
    return index.reduce((sum, i, axis) => sum * stored[axis] + i, 0);
  };
}

export const stored = ([n, c, ...spatial]: readonly number[], layout: Layout) =>
  layout === 'channels-first' ? [n, c, ...spatial] : [n, ...spatial, c];

/** Each output from the values at some places of its own plane. */
function overPlanes(
  x: Values,
  shape: readonly number[],
  outputs: readonly number[],
  layout: Layout,
  value: (at: readonly number[], read: (place: readonly number[]) => number) => number,
): Float64Array {
  const [n, c] = shape;
  const from = placer(shape, layout);
  const outShape = [n, c, ...outputs];
  const to = placer(outShape, layout);
  const y = new Float64Array(outShape.reduce((a, b) => a * b, 1));
  for (const at of tuples(outShape)) {
    const [sample, channel, ...rest] = at;
    y[to(at)] = value(rest, (place) => x[from([sample, channel, ...place])]);
  }
  return y;
}

export interface Windows {
  kernel: number[];
  stride: number[];
  padding: number[];
  /** Places behind, where they are not as many. */
  behind?: number[];
  dilation: number[];
  include?: boolean;
}

export function pooled(
  of: 'max' | 'avg',
  x: Values,
  shape: readonly number[],
  outputs: readonly number[],
  layout: Layout,
  windows: Windows | undefined,
): Float64Array {
  const lengths = shape.slice(2);
  return overPlanes(x, shape, outputs, layout, (at, read) => {
    const ranges = lengths.map((length, i) => {
      if (!windows) {
        const first = Math.floor((at[i] * length) / outputs[i]);
        const end = Math.ceil(((at[i] + 1) * length) / outputs[i]);
        return { places: Array.from({ length: end - first }, (_, k) => first + k), full: end - first };
      }
      const start = at[i] * windows.stride[i] - windows.padding[i];
      const places = Array.from({ length: windows.kernel[i] }, (_, k) => start + k * windows.dilation[i]);
      const full = Math.min(start + windows.kernel[i], length + (windows.behind ?? windows.padding)[i]) - start;
      return { places: places.filter((place) => place >= 0 && place < length), full };
    });
    const cells = ranges.reduce<number[][]>(
      (all, { places }) => all.flatMap((head) => places.map((place) => [...head, place])),
      [[]],
    );
    const values = cells.map(read);
    if (of === 'max') return values.some(Number.isNaN) ? Number.NaN : Math.max(...values);
    const full = ranges.reduce((product, range) => product * range.full, 1);
    return values.reduce((sum, value) => sum + value, 0) / (windows?.include ? full : cells.length);
  });
}

export function paddedBy(
  x: Values,
  shape: readonly number[],
  pads: readonly (readonly number[])[],
  layout: Layout,
  mode: string,
  constant: number,
): Float64Array {
  const lengths = shape.slice(2);
  const outputs = lengths.map((length, i) => pads[i][0] + length + pads[i][1]);
  return overPlanes(x, shape, outputs, layout, (at, read) => {
    const places = at.map((i, axis) => {
      const [length, place] = [lengths[axis], i - pads[axis][0]];
      if (place >= 0 && place < length) return place;
      if (mode === 'constant') return Number.NaN;
      if (mode === 'replicate') return place < 0 ? 0 : length - 1;
      return place < 0 ? -place : length - 1 - (place - (length - 1));
    });
    return places.some(Number.isNaN) ? constant : read(places);
  });
}

/**
 * Sums of all places of an image, weighed by a product of hats: bilinear interpolation written
 * another way.
 */
export function upsampled(
  x: Values,
  shape: readonly number[],
  scales: readonly number[],
  layout: Layout,
  mode: string,
  alignCorners: boolean,
): Float64Array {
  const lengths = shape.slice(2);
  const outputs = lengths.map((length, i) => Math.floor(length * scales[i]));
  return overPlanes(x, shape, outputs, layout, (at, read) => {
    if (mode === 'nearest') return read(at.map((i, axis) => Math.floor(i / scales[axis])));
    const middle = at.map((i, axis) => {
      const [length, output] = [lengths[axis], outputs[axis]];
      const place = alignCorners
        ? output > 1
          ? (i * (length - 1)) / (output - 1)
          : 0
        : (i + 0.5) / scales[axis] - 0.5;
      return Math.min(Math.max(place, 0), length - 1);
    });
    return tuples(lengths).reduce((sum, place) => {
      const weight = place.reduce((product, k, axis) => product * Math.max(0, 1 - Math.abs(k - middle[axis])), 1);
      return weight ? sum + weight * read(place) : sum;
    }, 0);
  });
}
