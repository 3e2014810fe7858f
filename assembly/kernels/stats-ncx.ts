import { foldF64, highF64, loadTail, lowF64, madd, sumF64, tailMask } from '../lanes';
import { BLOCK, clear, gather, MOST_ADDITIONS } from '../plane-sums';
import { isTrusted, median, pivotNear, varianceOf } from '../moments';

/**
 * stats_ncx — mean and variance of each channel, channel planes.
 *
 *   mean[c] = Σ x[n,c,i] / m     variance[c] = Σ (x[n,c,i] − mean[c])² / m     m = outer·inner
 *
 * layout      x [outer, channels, inner] f32, inner contiguous, samples `stride` elements apart; mean, variance [channels] f64;
 *             pivot [channels] f32 and lanes [channels, 8] f32, overwritten
 * sizes       all ≥ 1; inner need not be a multiple of 4
 * alias       none
 * align       x, pivot, lanes 4 bytes, mean and variance 8
 * accumulate  differences from pivot ≈ mean in f32: four pairs of accumulators over 256 elements, then f64; what is left of a plane in
 *             one pair of the channel's own, which joins the f64 sums after 16 additions. Samples in order, all their channels before
 *             the next, so that memory is read in the order in which it lies. Again in f64 around the mean where moments.ts says so.
 *             The order of additions depends on outer and inner alone.
 * numerics    within the strict tolerance of test/fixtures/golden for |mean|/σ up to 1e7 and magnitudes 1e-30 … 1e30
 * traffic     4 bytes per element
 */
export function stats_ncx_f32(
  x: usize, pivot: usize, lanes: usize, mean: usize, variance: usize, outer: u32, channels: u32, inner: u32, stride: u32,
): void {
  const row = (<usize>stride) << 2;
  const plane = (<usize>inner) << 2;
  const end = (<usize>channels) << 2;
  setPivots(x, pivot, outer, channels, inner, row);
  clear(lanes, mean, variance, channels);

  const rest = inner % BLOCK;
  const additions = (rest + 3) >> 2;
  const mostPlanes = additions ? max(MOST_ADDITIONS / additions, 1) : outer;
  let pending: u32 = 0;
  for (let n: u32 = 0; n < outer; n++) {
    let p = x + (<usize>n) * row;
    for (let c: usize = 0; c < end; c += 4) {
      const h = v128.load32_splat(pivot + c);
      if (inner >= BLOCK) p = sumBlocks(p, h, inner, mean + (c << 1), variance + (c << 1));
      if (rest) {
        sumRest(p, h, rest, lanes + (c << 3));
        p += (<usize>rest) << 2;
      }
    }
    if (++pending == mostPlanes || n + 1 == outer) {
      if (rest) gather(lanes, mean, variance, channels);
      pending = 0;
    }
  }

  const share = 1 / (<f64>outer * <f64>inner);
  for (let c: usize = 0, p = x; c < end; c += 4, p += plane) {
    const h = <f64>load<f32>(pivot + c);
    const m = mean + (c << 1);
    const v = variance + (c << 1);
    const shift = load<f64>(m) * share;
    const square = load<f64>(v) * share;
    if (isTrusted(shift, square)) {
      store<f64>(m, h + shift);
      store<f64>(v, varianceOf(shift, square));
    } else {
      exact(p, pivotNear(h, shift), m, v, outer, inner, row);
    }
  }
}

/** Adds the whole blocks of a plane to the f64 sums; returns where they end. */
function sumBlocks(p: usize, pivot: v128, inner: u32, sum: usize, square: usize): usize {
  let s = f64x2.splat(0);
  let q = f64x2.splat(0);
  for (let left = inner; left >= BLOCK; left -= BLOCK) {
    let a0 = f32x4.splat(0);
    let a1 = f32x4.splat(0);
    let a2 = f32x4.splat(0);
    let a3 = f32x4.splat(0);
    let b0 = f32x4.splat(0);
    let b1 = f32x4.splat(0);
    let b2 = f32x4.splat(0);
    let b3 = f32x4.splat(0);
    const end = p + (BLOCK << 2);
    for (; p < end; p += 64) {
      const d0 = f32x4.sub(v128.load(p, 0), pivot);
      const d1 = f32x4.sub(v128.load(p, 16), pivot);
      const d2 = f32x4.sub(v128.load(p, 32), pivot);
      const d3 = f32x4.sub(v128.load(p, 48), pivot);
      a0 = f32x4.add(a0, d0);
      a1 = f32x4.add(a1, d1);
      a2 = f32x4.add(a2, d2);
      a3 = f32x4.add(a3, d3);
      b0 = madd(d0, d0, b0);
      b1 = madd(d1, d1, b1);
      b2 = madd(d2, d2, b2);
      b3 = madd(d3, d3, b3);
    }
    s = f64x2.add(s, foldF64(f32x4.add(f32x4.add(a0, a1), f32x4.add(a2, a3))));
    q = f64x2.add(q, foldF64(f32x4.add(f32x4.add(b0, b1), f32x4.add(b2, b3))));
  }
  store<f64>(sum, load<f64>(sum) + sumF64(s));
  store<f64>(square, load<f64>(square) + sumF64(q));
  return p;
}

/** Adds fewer elements than a block to a channel's lanes: to two pairs of accumulators, which become one. */
function sumRest(p: usize, pivot: v128, left: u32, lanes: usize): void {
  let a0 = v128.load(lanes, 0);
  let b0 = v128.load(lanes, 16);
  let a1 = f32x4.splat(0);
  let b1 = f32x4.splat(0);
  for (; left >= 16; left -= 16, p += 64) {
    const d0 = f32x4.sub(v128.load(p, 0), pivot);
    const d1 = f32x4.sub(v128.load(p, 16), pivot);
    const d2 = f32x4.sub(v128.load(p, 32), pivot);
    const d3 = f32x4.sub(v128.load(p, 48), pivot);
    a0 = f32x4.add(a0, f32x4.add(d0, d2));
    a1 = f32x4.add(a1, f32x4.add(d1, d3));
    b0 = madd(d0, d0, b0);
    b1 = madd(d1, d1, b1);
    b0 = madd(d2, d2, b0);
    b1 = madd(d3, d3, b1);
  }
  if (left >= 8) {
    const d0 = f32x4.sub(v128.load(p, 0), pivot);
    const d1 = f32x4.sub(v128.load(p, 16), pivot);
    a0 = f32x4.add(a0, d0);
    a1 = f32x4.add(a1, d1);
    b0 = madd(d0, d0, b0);
    b1 = madd(d1, d1, b1);
    p += 32;
    left -= 8;
  }
  if (left >= 4) {
    const d = f32x4.sub(v128.load(p), pivot);
    a0 = f32x4.add(a0, d);
    b0 = madd(d, d, b0);
    p += 16;
    left -= 4;
  }
  if (left) {
    const d = v128.and(f32x4.sub(loadTail(p, left), pivot), tailMask(left));
    a1 = f32x4.add(a1, d);
    b1 = madd(d, d, b1);
  }
  v128.store(lanes, f32x4.add(a0, a1), 0);
  v128.store(lanes, f32x4.add(b0, b1), 16);
}

/** A middle value of each channel: of three places in its planes lane by lane, then of the lanes. */
function setPivots(x: usize, pivot: usize, outer: u32, channels: u32, inner: u32, row: usize): void {
  const wide = inner >= 4;
  const span = wide ? inner - 4 : inner;
  const x1 = x + <usize>(outer / 3) * row + ((<usize>(span / 3)) << 2);
  const x2 = x + <usize>((2 * outer) / 3) * row + ((<usize>((2 * span) / 3)) << 2);
  const plane = (<usize>inner) << 2;
  let at: usize = 0;
  for (const end = pivot + ((<usize>channels) << 2); pivot < end; pivot += 4, at += plane) {
    const v = wide
      ? median(v128.load(x + at), v128.load(x1 + at), v128.load(x2 + at))
      : median(v128.load32_splat(x + at), v128.load32_splat(x1 + at), v128.load32_splat(x2 + at));
    const high = f32x4.pmax(v, v128.shuffle<i32>(v, v, 2, 3, 0, 1));
    v128.store32_lane(pivot, f32x4.pmin(high, v128.shuffle<i32>(high, high, 1, 0, 3, 2)), 0);
  }
}

/** One channel in f64, around `pivot`. */
function exact(base: usize, pivot: f64, mean: usize, variance: usize, outer: u32, inner: u32, row: usize): void {
  const h = f64x2.splat(pivot);
  let s0 = f64x2.splat(0);
  let s1 = f64x2.splat(0);
  let q0 = f64x2.splat(0);
  let q1 = f64x2.splat(0);
  const whole = (<usize>inner & ~3) << 2;
  const rest = inner & 3;
  for (let n: u32 = 0; n < outer; n++) {
    let p = base + (<usize>n) * row;
    const end = p + whole;
    for (; p < end; p += 16) {
      const v = v128.load(p);
      const d0 = f64x2.sub(lowF64(v), h);
      const d1 = f64x2.sub(highF64(v), h);
      s0 = f64x2.add(s0, d0);
      s1 = f64x2.add(s1, d1);
      q0 = f64x2.add(q0, f64x2.mul(d0, d0));
      q1 = f64x2.add(q1, f64x2.mul(d1, d1));
    }
    for (let i: u32 = 0; i < rest; i++, p += 4) {
      const d = f64x2.replace_lane(f64x2.splat(0), 0, <f64>load<f32>(p) - pivot);
      s0 = f64x2.add(s0, d);
      q0 = f64x2.add(q0, f64x2.mul(d, d));
    }
  }
  const count = <f64>outer * <f64>inner;
  const shift = sumF64(f64x2.add(s0, s1)) / count;
  store<f64>(mean, pivot + shift);
  store<f64>(variance, varianceOf(shift, sumF64(f64x2.add(q0, q1)) / count));
}
