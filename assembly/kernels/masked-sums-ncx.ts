import { is, No, Yes } from '../flags';
import { foldF64, leadingOnes, loadTail, madd, sumF64 } from '../lanes';
import { BLOCK } from '../plane-sums';

/**
 * masked_sums_ncx — weighted sums of each channel, channel planes.
 *
 *   d = (x[n,c,i] − center[c])·invStd[c]
 *   without dy   sum[c] = Σ w·d                dot[c] = Σ w·d²          for statistics
 *   with dy      sum[c] = Σ dy[n,c,i]          dot[c] = Σ dy[n,c,i]·d   for gradients
 *   over the places whose weight w is not 0
 *
 * layout      x, dy [outer, channels, inner] f32, inner contiguous, samples `stride` elements
 *             apart; dy may be 0: none; weights: that of place (n, c, i) at n·sampleStep +
 *             c·channelStep + i; center, invStd [channels] f32; sum, dot [channels] f64
 * sizes       all ≥ 1 (steps ≥ 0); inner need not be a multiple of 4. plain: 1 where all weights
 *             are 0 or 1 and, without dy, every invStd is 1
 * alias       none
 * align       x, dy, weights, center, invStd 4 bytes; sum, dot 8
 * accumulate  f32 by pairs in two accumulators over 512 elements, then f64
 * numerics    a weight of 0 selects: what is stored there may be anything, NaN included. For
 *             statistics the caller asks again with a better center and scale where the first were
 *             poor
 * traffic     4 bytes per element, 8 with dy, and the weights
 */
export function masked_sums_ncx_f32(
  x: usize, dy: usize, weights: usize, center: usize, invStd: usize, sum: usize, dot: usize,
  plain: u32, outer: u32, channels: u32, inner: u32, stride: u32, sampleStep: u32, channelStep: u32,
): void {
  memory.fill(sum, 0, (<usize>channels) << 3);
  memory.fill(dot, 0, (<usize>channels) << 3);
  for (let n: u32 = 0; n < outer; n++) {
    // of weights that all channels share
    const ones = channelStep == 0 ? leadingOnes(weights + (((<usize>n) * sampleStep) << 2), inner) : -1;
    if (ones == 0) continue;
    for (let c: u32 = 0; c < channels; c++) {
      const at = ((<usize>n) * stride + (<usize>c) * inner) << 2;
      const w = weights + (((<usize>n) * sampleStep + (<usize>c) * channelStep) << 2);
      const v = (<usize>c) << 2;
      const h = v128.load32_splat(center + v);
      const s = plain && !dy ? f32x4.splat(1) : v128.load32_splat(invStd + v);
      // a plane that ends early is read to its end: who skips what follows loses the prefetchers
      // (half of 32x64x56x56: 2.0 ms, all of it 0.95)
      if (ones == <i32>inner) {
        if (dy) plane<Yes, No, No>(x + at, dy + at, w, h, s, sum + (v << 1), dot + (v << 1), inner);
        else plane<No, No, No>(x + at, 0, w, h, s, sum + (v << 1), dot + (v << 1), inner);
      } else if (dy) plane<Yes, Yes, Yes>(x + at, dy + at, w, h, s, sum + (v << 1), dot + (v << 1), inner);
      else if (plain) plane<No, Yes, Yes>(x + at, 0, w, h, s, sum + (v << 1), dot + (v << 1), inner);
      else plane<No, No, Yes>(x + at, 0, w, h, s, sum + (v << 1), dot + (v << 1), inner);
    }
  }
}

/**
 * With gradients (G) or statistics, of weights that are 0 or 1 and places that are not scaled (P),
 * where some do not count (M).
 */
// @ts-ignore: decorator
@inline
function plane<G, P, M>(x: usize, dy: usize, w: usize, h: v128, s: v128, sum: usize, dot: usize, inner: u32): void {
  while (inner) {
    const size = min(inner, BLOCK);
    inner -= size;
    let a0 = f32x4.splat(0);
    let a1 = f32x4.splat(0);
    let b0 = f32x4.splat(0);
    let b1 = f32x4.splat(0);
    let i = size;
    for (; i >= 16; i -= 16, x += 64, w += 64) {
      const d0 = distance<G, P, M>(v128.load(x, 0), h, s, at<M>(w, 0));
      const d1 = distance<G, P, M>(v128.load(x, 16), h, s, at<M>(w, 16));
      const g0 = is<G, Yes>() ? selected<M>(v128.load(dy, 0), at<M>(w, 0)) : weighed<P, M>(d0, at<M>(w, 0));
      const g1 = is<G, Yes>() ? selected<M>(v128.load(dy, 16), at<M>(w, 16)) : weighed<P, M>(d1, at<M>(w, 16));
      a0 = f32x4.add(a0, f32x4.add(g0, g1));
      b0 = f32x4.add(b0, madd(g1, d1, f32x4.mul(g0, d0)));
      const d2 = distance<G, P, M>(v128.load(x, 32), h, s, at<M>(w, 32));
      const d3 = distance<G, P, M>(v128.load(x, 48), h, s, at<M>(w, 48));
      const g2 = is<G, Yes>() ? selected<M>(v128.load(dy, 32), at<M>(w, 32)) : weighed<P, M>(d2, at<M>(w, 32));
      const g3 = is<G, Yes>() ? selected<M>(v128.load(dy, 48), at<M>(w, 48)) : weighed<P, M>(d3, at<M>(w, 48));
      a1 = f32x4.add(a1, f32x4.add(g2, g3));
      b1 = f32x4.add(b1, madd(g3, d3, f32x4.mul(g2, d2)));
      if (is<G, Yes>()) dy += 64;
    }
    for (; i >= 4; i -= 4, x += 16, w += 16) {
      const d0 = distance<G, P, M>(v128.load(x), h, s, at<M>(w, 0));
      const g0 = is<G, Yes>() ? selected<M>(v128.load(dy), at<M>(w, 0)) : weighed<P, M>(d0, at<M>(w, 0));
      a0 = f32x4.add(a0, g0);
      b0 = madd(g0, d0, b0);
      if (is<G, Yes>()) dy += 16;
    }
    if (i) {
      const w0 = loadTail(w, i);
      const d0 = distance<G, P, Yes>(loadTail(x, i), h, s, w0);
      const g0 = is<G, Yes>() ? selected<Yes>(loadTail(dy, i), w0) : weighed<P, Yes>(d0, w0);
      a1 = f32x4.add(a1, g0);
      b1 = madd(g0, d0, b1);
    }
    store<f64>(sum, load<f64>(sum) + sumF64(foldF64(f32x4.add(a0, a1))));
    store<f64>(dot, load<f64>(dot) + sumF64(foldF64(f32x4.add(b0, b1))));
  }
}

// @ts-ignore: decorator
@inline
function at<M>(w: usize, offset: usize): v128 {
  return is<M, Yes>() ? v128.load(w + offset) : f32x4.splat(1);
}

// @ts-ignore: decorator
@inline
function selected<M>(v: v128, w: v128): v128 {
  return is<M, No>() ? v : v128.and(v, f32x4.ne(w, f32x4.splat(0)));
}

// @ts-ignore: decorator
@inline
function weighed<P, M>(d: v128, w: v128): v128 {
  return is<P, Yes>() || is<M, No>() ? d : f32x4.mul(w, d);
}

// @ts-ignore: decorator
@inline
function distance<G, P, M>(x: v128, h: v128, s: v128, w: v128): v128 {
  const d = f32x4.sub(x, h);
  return selected<M>(is<P, Yes>() && !is<G, Yes>() ? d : f32x4.mul(d, s), w);
}
