// How kernels walk over rows with channels innermost: several rows side by side, so that what belongs to a channel is loaded once for all
// of them; or one after the other, where data come from memory and the order of addresses counts for more.

/** Bytes of a band: x, dy and the output of it lie in L1 together. */
// @ts-ignore: decorator
@inline const BAND: u32 = 8192;
/** Bytes of a tensor beyond which it will not be found in a shared last-level cache. */
// @ts-ignore: decorator
@inline export const CACHED: u32 = 1 << 23;
/** Rows shorter than this many bytes follow so closely that side by side they are still one stream. */
// @ts-ignore: decorator
@inline const CLOSE: u32 = 512;

/**
 * Rows that a map takes side by side, strip of channels after strip; one where the tensor has more than `most` bytes. Every way gives the
 * same values. (affine 25088x256: 1.8 ms by rows, 3.7 ms by bands; 12544x64, in L3: 2.5 cycles per vector by rows, 1.5 by bands;
 * Node 20, AMD EPYC.)
 */
// @ts-ignore: decorator
@inline
export function bandOf(rows: u32, channels: u32, most: u32): u32 {
  const row = channels << 2;
  return rows > most / row ? 1 : max(BAND / row, 2);
}

/**
 * May sums take four rows side by side? The order of additions depends on the answer, and so on rows and stride alone, which are the same
 * for every part of a tensor. (stats 25088x256: 5.5 cycles per vector with four, 2.7 with one; 100352x64: 2.1 with four; Node 20, AMD EPYC.)
 */
// @ts-ignore: decorator
@inline
export function sideBySide(rows: u32, stride: u32): bool {
  const row = stride << 2;
  return row < CLOSE || (row < 4096 && rows <= CACHED / row);
}
