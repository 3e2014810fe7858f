// The plain loops of pooling; see ../inference/js.ts.

type F32 = Float32Array;

/**
 * Every value of every window: where it lies, where its output lies, and what an average divides
 * by. Windows in order, values in order.
 */
export function eachPlace(
  windows: F32,
  outer: number,
  channels: number,
  [inDepth, inHeight, inWidth]: readonly number[],
  [outDepth, outHeight, outWidth]: readonly number[],
  [dilationDepth, dilationHeight, dilationWidth]: readonly number[],
  visit: (place: number, output: number, divisor: number) => void,
): void {
  let output = 0;
  for (let n = 0; n < outer; n++) {
    for (let a = 0; a < outDepth; a++) {
      for (let b = 0; b < outHeight; b++) {
        for (let c = 0; c < outWidth; c++) {
          const [d, h, w] = [a, outDepth + b, outDepth + outHeight + c].map((i) => i * 4);
          const divisor = windows[d + 2] * windows[h + 2] * windows[w + 2];
          for (let k = 0; k < channels; k++, output++) {
            for (let i = 0; i < windows[d + 1]; i++) {
              const plane = n * inDepth + windows[d] + i * dilationDepth;
              for (let j = 0; j < windows[h + 1]; j++) {
                const line = plane * inHeight + windows[h] + j * dilationHeight;
                const first = (line * inWidth + windows[w]) * channels + k;
                for (let l = 0; l < windows[w + 1]; l++) visit(first + l * dilationWidth * channels, output, divisor);
              }
            }
          }
        }
      }
    }
  }
}

export const NO_DILATION = [1, 1, 1];

/** Where the first largest value of each window lies, or its first NaN; −1 where it has none. */
export function largest(
  x: F32,
  windows: F32,
  outer: number,
  channels: number,
  input: readonly number[],
  output: readonly number[],
  dilation: readonly number[],
): Int32Array {
  const count = output.reduce((product, length) => product * length, outer * channels);
  const places = new Int32Array(count).fill(-1);
  eachPlace(windows, outer, channels, input, output, dilation, (place, o) => {
    const best = places[o];
    if (best < 0 || x[place] > x[best] || (Number.isNaN(x[place]) && !Number.isNaN(x[best]))) places[o] = place;
  });
  return places;
}

export function max_pool_f32(x: F32, windows: F32, y: F32, outer: number, channels: number, ...sizes: number[]): void {
  const places = largest(x, windows, outer, channels, sizes.slice(0, 3), sizes.slice(3, 6), sizes.slice(6));
  for (let o = 0; o < places.length; o++) y[o] = places[o] < 0 ? Number.NEGATIVE_INFINITY : x[places[o]];
}

export function avg_pool_f32(x: F32, windows: F32, y: F32, outer: number, channels: number, ...sizes: number[]): void {
  const output = sizes.slice(3, 6);
  const count = output.reduce((product, length) => product * length, outer * channels);
  const sums = new Float64Array(count);
  const divisors = new Float64Array(count);
  eachPlace(windows, outer, channels, sizes.slice(0, 3), output, NO_DILATION, (place, o, divisor) => {
    sums[o] += x[place];
    divisors[o] = divisor;
  });
  for (let o = 0; o < count; o++) y[o] = sums[o] / divisors[o];
}
