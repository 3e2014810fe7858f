import { is, No, Yes } from '../flags';
import { highF64, loadTailOver, lowF64, madd, sumF64 } from '../lanes';
import { isTrusted, median, pivotNear, varianceOf } from '../moments';
import { BLOCK, clear, firstSum, join, secondSum, SHORT } from '../plane-sums';

/**
 * stats_ncx — mean and variance of each channel, channel planes.
 *
 *   mean[c] = Σ x[n,c,i] / m     variance[c] = Σ (x[n,c,i] − mean[c])² / m     m = outer·inner
 *
 * layout      x [outer, channels, inner] f32, inner contiguous, samples `stride` elements apart;
 *             mean, variance [channels] f64; pivot [channels] f32 and sums [channels, 4] f64,
 *             overwritten
 * sizes       all ≥ 1; inner need not be a multiple of 4
 * alias       none
 * align       x, pivot 4 bytes; sums, mean and variance 8
 * accumulate  differences from pivot ≈ mean in f32: by pairs, in two pairs of accumulators over 512
 *             elements, then f64. Samples in order, all their channels before the next, so that
 *             memory is read in the order in which it lies. Again in f64 around the mean where
 *             moments.ts says so. The order of additions depends on outer and inner alone.
 * numerics    within the strict tolerance of test/fixtures/golden for |mean|/σ up to 1e7 and
 *             magnitudes 1e-30 … 1e30
 * traffic     4 bytes per element
 */
export function stats_ncx_f32(
  x: usize, pivot: usize, sums: usize, mean: usize, variance: usize, outer: u32, channels: u32, inner: u32, stride: u32,
): void {
  const row = (<usize>stride) << 2;
  const plane = (<usize>inner) << 2;
  const end = (<usize>channels) << 2;
  setPivots(x, pivot, outer, channels, inner, row);
  clear(sums, channels);

  for (let n: u32 = 0; n < outer; n++) {
    let p = x + (<usize>n) * row;
    for (let c: usize = 0; c < end; c += 4, p += plane) {
      const h = load<f32>(pivot + c);
      if (h == 0 && inner >= SHORT) sumPlane<No>(p, f32x4.splat(h), inner, sums + (c << 3));
      else sumPlane<Yes>(p, f32x4.splat(h), inner, sums + (c << 3));
    }
  }

  const share = 1 / (<f64>outer * <f64>inner);
  for (let c: usize = 0, p = x; c < end; c += 4, p += plane) {
    const h = <f64>load<f32>(pivot + c);
    const m = mean + (c << 1);
    const v = variance + (c << 1);
    const shift = firstSum(sums + (c << 3)) * share;
    const square = secondSum(sums + (c << 3)) * share;
    if (isTrusted(shift, square)) {
      store<f64>(m, h + shift);
      store<f64>(v, varianceOf(shift, square));
    } else {
      exact(p, pivotNear(h, shift), m, v, outer, inner, row);
    }
  }
}

/** Adds a plane to the sums of d = x − pivot (C; of d = x, where the pivot is 0) and of d². */
// @ts-ignore: decorator
@inline
function sumPlane<C>(p: usize, pivot: v128, inner: u32, sums: usize): void {
  let sum = v128.load(sums, 0);
  let square = v128.load(sums, 16);
  while (inner) {
    const size = min(inner, BLOCK);
    inner -= size;
    let a0 = f32x4.splat(0);
    let a1 = f32x4.splat(0);
    let b0 = f32x4.splat(0);
    let b1 = f32x4.splat(0);
    for (const end = p + ((<usize>size & ~15) << 2); p < end; p += 64) {
      const d0 = less<C>(v128.load(p, 0), pivot);
      const d1 = less<C>(v128.load(p, 16), pivot);
      a0 = f32x4.add(a0, f32x4.add(d0, d1));
      b0 = f32x4.add(b0, madd(d1, d1, f32x4.mul(d0, d0)));
      const d2 = less<C>(v128.load(p, 32), pivot);
      const d3 = less<C>(v128.load(p, 48), pivot);
      a1 = f32x4.add(a1, f32x4.add(d2, d3));
      b1 = f32x4.add(b1, madd(d3, d3, f32x4.mul(d2, d2)));
    }
    if (size & 8) {
      const d0 = less<C>(v128.load(p, 0), pivot);
      const d1 = less<C>(v128.load(p, 16), pivot);
      a0 = f32x4.add(a0, f32x4.add(d0, d1));
      b0 = f32x4.add(b0, madd(d1, d1, f32x4.mul(d0, d0)));
      p += 32;
    }
    if (size & 4) {
      const d = less<C>(v128.load(p), pivot);
      a1 = f32x4.add(a1, d);
      b1 = madd(d, d, b1);
      p += 16;
    }
    if (size & 3) {
      const d = f32x4.sub(loadTailOver(p, size & 3, pivot), pivot);
      a0 = f32x4.add(a0, d);
      b0 = madd(d, d, b0);
    }
    sum = join(sum, a0, a1);
    square = join(square, b0, b1);
  }
  v128.store(sums, sum, 0);
  v128.store(sums, square, 16);
}

// @ts-ignore: decorator
@inline
function less<C>(x: v128, pivot: v128): v128 {
  return is<C, Yes>() ? f32x4.sub(x, pivot) : x;
}

/**
 * A middle value of each channel: of three places in its planes lane by lane, then of the lanes. 0
 * where a quarter of the twelve values lies on either side of it: it is then near the mean as well,
 * and the sums are spared a subtraction.
 */
function setPivots(x: usize, pivot: usize, outer: u32, channels: u32, inner: u32, row: usize): void {
  const wide = inner >= 4;
  const span = wide ? inner - 4 : inner;
  const x1 = x + <usize>(outer / 3) * row + ((<usize>(span / 3)) << 2);
  const x2 = x + <usize>((2 * outer) / 3) * row + ((<usize>((2 * span) / 3)) << 2);
  const plane = (<usize>inner) << 2;
  let at: usize = 0;
  for (const end = pivot + ((<usize>channels) << 2); pivot < end; pivot += 4, at += plane) {
    const v0 = wide ? v128.load(x + at) : v128.load32_splat(x + at);
    const v1 = wide ? v128.load(x1 + at) : v128.load32_splat(x1 + at);
    const v2 = wide ? v128.load(x2 + at) : v128.load32_splat(x2 + at);
    const negative = popcnt(i32x4.bitmask(v0) | (i32x4.bitmask(v1) << 4) | (i32x4.bitmask(v2) << 8));
    if (negative >= 3 && negative <= 9) {
      store<f32>(pivot, 0);
      continue;
    }
    const v = median(v0, v1, v2);
    const high = f32x4.pmax(v, v128.shuffle<i32>(v, v, 2, 3, 0, 1));
    v128.store32_lane(pivot, f32x4.pmin(high, v128.shuffle<i32>(high, high, 1, 0, 3, 2)), 0);
  }
}

/** One channel in f64, around `pivot`. */
export function exact(base: usize, pivot: f64, mean: usize, variance: usize, outer: u32, inner: u32, row: usize): void {
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
