// Digits that stand, and digits that lie: MNIST's, some of them turned by 90°.

import { type Digits, PIXELS } from '../digits/digits.ts';
import type { Picture } from './pixels.ts';

export const SIDE = 28;

/** One digit, as it stands or turned by 90° to the left, from 0 to 1. */
export function digitAt({ images }: Digits, i: number, isTurned: boolean): Float32Array {
  const image = images.subarray(i * PIXELS, (i + 1) * PIXELS);
  if (!isTurned) return image;
  return Float32Array.from(image, (_, at) => image[(at % SIDE) * SIDE + SIDE - 1 - Math.floor(at / SIDE)]);
}

/** A digit as a picture. */
export function pictureOf(values: Float32Array): Picture {
  const data = new Uint8Array(4 * values.length).fill(255);
  values.forEach((value, i) => {
    data.fill(Math.round(255 * value), 4 * i, 4 * i + 3);
  });
  return { data, width: SIDE, height: SIDE };
}
