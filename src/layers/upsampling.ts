// What upsampling means for a shape.

import type { AxisMaps } from '../tensors/axis-maps.ts';
import type { Layout } from '../types.ts';
import { checkLengths, type Image, imageOf, withLengths } from './per-axis.ts';

export const UPSAMPLE_MODES = ['nearest', 'bilinear'] as const;

/** An upsampling as data. */
export interface Upsampling {
  readonly layout: Layout;
  readonly mode: (typeof UPSAMPLE_MODES)[number];
  readonly alignCorners: boolean;
  /** Of every axis, or of each. */
  readonly scale: number | readonly number[];
}

export function upsampledAxes({ scale, mode }: Upsampling): number | undefined {
  return mode === 'bilinear' ? 2 : typeof scale === 'number' ? undefined : scale.length;
}

function scalesOf({ scale }: Upsampling, { lengths }: Image): readonly number[] {
  return typeof scale === 'number' ? lengths.map(() => scale) : scale;
}

const outputsOf = (lengths: readonly number[], scales: readonly number[]) =>
  lengths.map((length, i) => Math.floor(length * scales[i]));

/**
 * The shape of the output; lengths may be NaN.
 *
 * @throws ERR_SHAPE for another rank, and for axes of which nothing would be left
 */
export function upsampledShape(subject: string, upsampling: Upsampling, shape: readonly number[]): readonly number[] {
  const image = imageOf(subject, shape, upsampledAxes(upsampling), upsampling.layout);
  const scales = scalesOf(upsampling, image);
  const least = scales.map((scale) => Math.max(1, Math.ceil(1 / scale)));
  checkLengths(subject, shape, image, upsampling.layout, least);
  return withLengths(shape, image, outputsOf(image.lengths, scales));
}

/** The nearest place of each value: ⌊i/scale⌋. */
export function nearestMaps(subject: string, upsampling: Upsampling, shape: readonly number[]): AxisMaps {
  const image = imageOf(subject, shape, upsampledAxes(upsampling), upsampling.layout);
  const scales = scalesOf(upsampling, image);
  const maps = outputsOf(image.lengths, scales).map((length, axis) =>
    Int32Array.from({ length }, (_, i) => Math.min(Math.floor(i / scales[axis]), image.lengths[axis] - 1)),
  );
  return { ...image, maps };
}

type Values = Float32Array | Float64Array;

/** The two places that a value lies between, and how far it is towards the second. */
interface Between {
  readonly low: Int32Array;
  readonly high: Int32Array;
  readonly share: Float64Array;
}

/**
 * PyTorch's: with aligned corners i·(input − 1)/(output − 1), else (i + ½)/scale − ½, not below 0.
 */
function betweenOf(input: number, output: number, scale: number, alignCorners: boolean): Between {
  const [low, high] = [new Int32Array(output), new Int32Array(output)];
  const share = new Float64Array(output);
  const step = output > 1 ? (input - 1) / (output - 1) : 0;
  for (let i = 0; i < output; i++) {
    const at = Math.min(alignCorners ? i * step : Math.max((i + 0.5) / scale - 0.5, 0), input - 1);
    low[i] = Math.floor(at);
    high[i] = Math.min(low[i] + 1, input - 1);
    share[i] = at - low[i];
  }
  return { low, high, share };
}

/** Bilinear interpolation of one shape: forward, and its gradient. */
export interface Bilinear {
  forward(x: Values, from: number, y: Values, to: number): void;
  backward(dy: Values, from: number, dx: Values, to: number): void;
}

/** Each output is a mean of four values, weighed in f64. */
export function bilinear(subject: string, upsampling: Upsampling, shape: readonly number[]): Bilinear {
  const image = imageOf(subject, shape, upsampledAxes(upsampling), upsampling.layout);
  const { outer, channels, lengths } = image;
  const scales = scalesOf(upsampling, image);
  const outputs = outputsOf(lengths, scales);
  const [rows, columns] = lengths.map((length, i) => betweenOf(length, outputs[i], scales[i], upsampling.alignCorners));
  const [height, width] = lengths;
  const sample = height * width * channels;
  /** The four places of each output of a sample, relative to its first, and their weights. */
  const eachOutput = (
    visit: (output: number, a: number, b: number, c: number, d: number, down: number, right: number) => void,
  ) => {
    for (let i = 0, output = 0; i < outputs[0]; i++) {
      const [top, bottom] = [rows.low[i] * width, rows.high[i] * width];
      for (let j = 0; j < outputs[1]; j++, output += channels) {
        const [left, right] = [columns.low[j], columns.high[j]];
        visit(
          output,
          (top + left) * channels,
          (top + right) * channels,
          (bottom + left) * channels,
          (bottom + right) * channels,
          rows.share[i],
          columns.share[j],
        );
      }
    }
  };
  const outSample = outputs[0] * outputs[1] * channels;
  return {
    forward(x, from, y, to) {
      for (let n = 0; n < outer; n++) {
        const [first, out] = [from + n * sample, to + n * outSample];
        eachOutput((o, a, b, c, d, down, right) => {
          for (let k = 0; k < channels; k++) {
            const at = first + k;
            const above = x[at + a] * (1 - right) + x[at + b] * right;
            const below = x[at + c] * (1 - right) + x[at + d] * right;
            // a value that has no weight does not count, whatever it is
            const up = right === 0 ? x[at + a] : above;
            const low = right === 0 ? x[at + c] : below;
            y[out + o + k] = down === 0 ? up : up * (1 - down) + low * down;
          }
        });
      }
    },
    backward(dy, from, dx, to) {
      const sums = new Float64Array(sample);
      for (let n = 0; n < outer; n++) {
        const out = from + n * outSample;
        sums.fill(0);
        eachOutput((o, a, b, c, d, down, right) => {
          for (let k = 0; k < channels; k++) {
            const g = dy[out + o + k];
            sums[a + k] += g * (1 - down) * (1 - right);
            if (right) sums[b + k] += g * (1 - down) * right;
            if (down) sums[c + k] += g * down * (1 - right);
            if (right && down) sums[d + k] += g * down * right;
          }
        });
        dx.set(sums, to + n * sample);
      }
    },
  };
}
