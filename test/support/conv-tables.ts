// Tables for kernels of convolutions: small, lopsided, and of any size.

import type { Sizes } from '../../src/kernels/row.ts';

/** Where windows, pixels and runs begin: out of order in x, with gaps in y. */
export function tablesFor({ count, runs, run, cols }: Sizes): { at: number[]; to: number[]; taps: number[] } {
  const row = 2 * run + 3;
  const taps = Array.from({ length: runs }, (_, r) => (runs === 9 ? Math.floor(r / 3) * row + (r % 3) * run : r * row));
  const at = Array.from({ length: count }, (_, t) => ((t * 7) % count) * 5 + (t % 3));
  const to = Array.from({ length: count }, (_, t) => (count - 1 - t) * (cols + (count % 2)));
  return { at, to, taps };
}

/** How far they reach. */
export function ends({ at, to, taps }: ReturnType<typeof tablesFor>, run = 24, cols = 24): Sizes {
  return { reach: Math.max(...at) + Math.max(0, ...taps) + run, span: Math.max(...to) + cols };
}

/** A table as kernels take it: u32 in the place of f32. */
export const tableBits = (values: number[]) => new Float32Array(Uint32Array.from(values).buffer);
