// Seeded, lopsided data: each channel has its own mean and spread, parameters are never all equal.

import { Random } from '../../src/nn/random.ts';

/** Normal values. */
export function normals(seed: number, length: number, mean = 0, std = 1): Float32Array {
  const random = new Random(seed);
  return Float32Array.from({ length }, () => mean + std * random.normal());
}

/** Channel `c` of a batch has mean 3c − 2 and standard deviation 0.5 + c. */
export function lopsided(
  seed: number,
  shape: readonly number[],
  layout: 'channels-first' | 'channels-last' = 'channels-first',
): Float32Array {
  const random = new Random(seed);
  const last = layout === 'channels-last';
  const channels = last ? shape[shape.length - 1] : shape[1];
  const inner = last ? 1 : shape.slice(2).reduce((size, length) => size * length, 1);
  const size = shape.reduce((product, length) => product * length, 1);
  return Float32Array.from({ length: size }, (_, i) => {
    const c = Math.floor(i / inner) % channels;
    return 3 * c - 2 + (0.5 + c) * random.normal();
  });
}

/** Largest absolute difference; Infinity where one is NaN and the other is not. */
export function worstDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let worst = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Object.is(a[i], b[i]) || a[i] === b[i] ? 0 : Math.abs(a[i] - b[i]);
    if (!(difference <= worst)) worst = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
  }
  return worst;
}

/** The bits of f32 values, for exact comparison; every NaN alike. */
export function bitsOf(values: Float32Array): number[] {
  const bits = new Uint32Array(values.slice().buffer);
  return Array.from(bits, (word, i) => (Number.isNaN(values[i]) ? 0x7fc00000 : word));
}
