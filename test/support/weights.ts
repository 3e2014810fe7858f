// The files of other tools in test/fixtures/weights, and what those tools gave.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../fixtures/weights/', import.meta.url));

export const fixturePath = (name: string) => folder + name;

/** A plain Uint8Array: no Buffer, whose slices are views. */
export const fixture = (name: string) => Uint8Array.from(readFileSync(folder + name));

// biome-ignore lint/suspicious/noExplicitAny: differs from file to file
export const answers = (name: string): any => JSON.parse(readFileSync(folder + name, 'utf8'));

/** The largest difference, over the largest value. */
export function relative(got: ArrayLike<number>, want: ArrayLike<number>): number {
  let worst = got.length === want.length ? 0 : Number.POSITIVE_INFINITY;
  let largest = 1e-30;
  for (let i = 0; i < want.length; i++) {
    const difference = Math.abs(got[i] - want[i]);
    if (!(difference <= worst)) worst = difference;
    largest = Math.max(largest, Math.abs(want[i]));
  }
  return worst / largest;
}
