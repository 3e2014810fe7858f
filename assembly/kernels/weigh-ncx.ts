import { leadingOnes, loadTail, storeTail } from '../lanes';

/**
 * weigh_ncx — values by their weights, channel planes, in place.
 *
 *   y[n,c,i] = w ≠ 0 ? y[n,c,i]·w : 0
 *
 * layout    y [outer, channels, inner] f32, inner contiguous, samples `stride` elements apart;
 *           weights as in masked_sums_ncx
 * sizes     all ≥ 1 (steps ≥ 0); inner need not be a multiple of 4
 * alias     none
 * align     4 bytes required, 16 preferred
 * numerics  a weight of 0 selects: NaN and Inf become 0; a weight of 1 changes nothing
 * traffic   8 bytes per element and the weights; 4 bytes per element behind the end of a sample
 *           that counts up to there, and none before it
 */
export function weigh_ncx_f32(
  y: usize, weights: usize, outer: u32, channels: u32, inner: u32, stride: u32, sampleStep: u32, channelStep: u32,
): void {
  for (let n: u32 = 0; n < outer; n++) {
    // of weights that all channels share
    const ones = channelStep == 0 ? leadingOnes(weights + (((<usize>n) * sampleStep) << 2), inner) : -1;
    if (ones == <i32>inner) continue;
    for (let c: u32 = 0; c < channels; c++) {
      let p = y + (((<usize>n) * stride + (<usize>c) * inner) << 2);
      if (ones >= 0) {
        memory.fill(p + ((<usize>ones) << 2), 0, (<usize>(inner - ones)) << 2);
        continue;
      }
      let w = weights + (((<usize>n) * sampleStep + (<usize>c) * channelStep) << 2);
      for (const end = p + ((<usize>inner & ~3) << 2); p < end; p += 16, w += 16) v128.store(p, weighed(v128.load(p), v128.load(w)));
      const rest = inner & 3;
      if (rest) storeTail(p, weighed(loadTail(p, rest), loadTail(w, rest)), rest);
    }
  }
}

// @ts-ignore: decorator
@inline
function weighed(v: v128, w: v128): v128 {
  return v128.and(f32x4.mul(v, w), f32x4.ne(w, f32x4.splat(0)));
}
