// How maps walk over rows with channels innermost: shared by affine_nxc and grad_input_nxc. Several
// rows side by side, so that what belongs to a channel is loaded once for all of them; or one after
// the other, where data come from memory and the order of addresses counts for more.

/** Bytes of a band: x, dy and the output of it lie in L1 together. */
// @ts-ignore: decorator
@inline const BAND: u32 = 8192;
/**
 * Rows that a map takes side by side, strip of channels after strip, or one. Every way gives the
 * same values. (affine 25088x256: 1.8 ms by rows, 3.7 ms by bands; 12544x64, in L3: 2.5 cycles per
 * vector by rows, 1.5 by bands; Node 20, AMD EPYC.)
 */
// @ts-ignore: decorator
@inline
export function bandOf(bands: u32, channels: u32): u32 {
  return bands ? max(BAND / (channels << 2), 2) : 1;
}
