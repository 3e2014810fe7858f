// The files of other tools in test/fixtures/weights, and what those tools gave.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type LoadedNetwork, loadNetwork } from '../../src/weights/index.ts';

const folder = fileURLToPath(new URL('../fixtures/weights/', import.meta.url));

export const fixturePath = (name: string) => folder + name;

/** A plain Uint8Array: no Buffer, whose slices are views. */
export const fixture = (name: string) => Uint8Array.from(readFileSync(folder + name));

// biome-ignore lint/suspicious/noExplicitAny: differs from file to file
export const answers = (name: string): any => JSON.parse(readFileSync(folder + name, 'utf8'));

/**
 * Loads a network from bytes or files in memory, which are spoilt then: what a network has taken,
 * nobody changes behind its back, also where it takes it later.
 */
export async function loadAndSpoil(source: Uint8Array | Record<string, Uint8Array>): Promise<LoadedNetwork> {
  const network = await loadNetwork(source);
  for (const bytes of source instanceof Uint8Array ? [source] : Object.values(source)) bytes.fill(0xa5);
  return network;
}

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
