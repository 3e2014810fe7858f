import { foldF64, highF64, loadTail, lowF64, madd, sumF64, tailMask } from '../lanes';
import { isTrusted, pivotNear, varianceOf } from '../moments';

/** Elements summed in f32 before they join the f64 sums: 16 additions in each of 16 lanes. */
// @ts-ignore: decorator
@inline const BLOCK: u32 = 256;
/** Additions after which the lanes that gather short planes join the f64 sums. */
// @ts-ignore: decorator
@inline const MAX_PENDING: u32 = 16;

/**
 * stats_ncx — mean and variance of each channel, channel planes.
 *
 *   mean[c] = Σ x[n,c,i] / m     variance[c] = Σ (x[n,c,i] − mean[c])² / m     m = outer·inner
 *
 * layout      x [outer, channels, inner] f32, inner contiguous, samples `stride` elements apart; mean, variance [channels] f64
 * sizes       all ≥ 1; inner need not be a multiple of 4
 * alias       none
 * align       x 4 bytes, mean and variance 8
 * accumulate  differences from h ≈ mean in f32: four pairs of accumulators over 256 elements, short planes in two pairs over 16
 *             additions; blocks in f64, in order. Again in f64 around the mean where moments.ts says so.
 *             The order depends on outer and inner alone.
 * numerics    within the strict tolerance of test/fixtures/golden for |mean|/σ up to 1e7 and magnitudes 1e-30 … 1e30
 * traffic     4 bytes per element
 */
export function stats_ncx_f32(
  x: usize, mean: usize, variance: usize, outer: u32, channels: u32, inner: u32, stride: u32,
): void {
  const count = <f64>outer * <f64>inner;
  const row = (<usize>stride) << 2;
  // h is looked for in up to 4 planes, in up to 4 vectors of each
  const planes: u32 = outer >= 4 ? 4 : outer;
  const planeStep = <usize>(outer / planes) * row;
  const spots: u32 = inner >= 16 ? 4 : inner >= 8 ? 2 : 1;
  const spotStep = (<usize>(inner / spots)) << 2;
  const lanes = min(inner, 4);

  for (let c: u32 = 0; c < channels; c++) {
    const base = x + (((<usize>c) * inner) << 2);
    const h = central(base, planes, planeStep, spots, spotStep, lanes);
    const pivot = f32x4.splat(h);

    let sum = f64x2.splat(0);
    let square = f64x2.splat(0);
    let s0 = f32x4.splat(0);
    let q0 = f32x4.splat(0);
    let s1 = f32x4.splat(0);
    let q1 = f32x4.splat(0);
    let pending: u32 = 0;
    for (let n: u32 = 0; n < outer; n++) {
      let p = base + (<usize>n) * row;
      let left = inner;
      for (; left >= BLOCK; left -= BLOCK) {
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
        sum = f64x2.add(sum, foldF64(f32x4.add(f32x4.add(a0, a1), f32x4.add(a2, a3))));
        square = f64x2.add(square, foldF64(f32x4.add(f32x4.add(b0, b1), f32x4.add(b2, b3))));
      }
      for (; left >= 8; left -= 8, p += 32) {
        const d0 = f32x4.sub(v128.load(p, 0), pivot);
        const d1 = f32x4.sub(v128.load(p, 16), pivot);
        s0 = f32x4.add(s0, d0);
        s1 = f32x4.add(s1, d1);
        q0 = madd(d0, d0, q0);
        q1 = madd(d1, d1, q1);
        if (++pending == MAX_PENDING) {
          sum = f64x2.add(sum, foldF64(f32x4.add(s0, s1)));
          square = f64x2.add(square, foldF64(f32x4.add(q0, q1)));
          s0 = s1 = q0 = q1 = f32x4.splat(0);
          pending = 0;
        }
      }
      if (left) {
        if (left >= 4) {
          const d = f32x4.sub(v128.load(p), pivot);
          s0 = f32x4.add(s0, d);
          q0 = madd(d, d, q0);
          p += 16;
          left -= 4;
        }
        if (left) {
          const d = v128.and(f32x4.sub(loadTail(p, left), pivot), tailMask(left));
          s1 = f32x4.add(s1, d);
          q1 = madd(d, d, q1);
        }
        if (++pending == MAX_PENDING) {
          sum = f64x2.add(sum, foldF64(f32x4.add(s0, s1)));
          square = f64x2.add(square, foldF64(f32x4.add(q0, q1)));
          s0 = s1 = q0 = q1 = f32x4.splat(0);
          pending = 0;
        }
      }
    }
    sum = f64x2.add(sum, foldF64(f32x4.add(s0, s1)));
    square = f64x2.add(square, foldF64(f32x4.add(q0, q1)));

    const at = (<usize>c) << 3;
    const shift = sumF64(sum) / count;
    const meanSquare = sumF64(square) / count;
    if (isTrusted(shift, meanSquare)) {
      store<f64>(mean + at, <f64>h + shift);
      store<f64>(variance + at, varianceOf(shift, meanSquare));
    } else {
      exact(base, pivotNear(h, shift), mean + at, variance + at, outer, inner, row);
    }
  }
}

/**
 * The sampled value nearest to the samples' mean: near the mean, unmoved by an outlier, and with no more digits than the data, so that
 * differences from it are exact when those of the data are.
 */
function central(base: usize, planes: u32, planeStep: usize, spots: u32, spotStep: usize, lanes: u32): f32 {
  let sum = f64x2.splat(0);
  for (let n: u32 = 0; n < planes; n++) {
    let p = base + (<usize>n) * planeStep;
    for (let s: u32 = 0; s < spots; s++, p += spotStep) sum = f64x2.add(sum, foldF64(sample(p, lanes)));
  }
  const mean = f32x4.splat(<f32>(sumF64(sum) / <f64>(planes * spots * lanes)));
  const first = v128.load32_splat(base);
  const absent = v128.not(tailMask(lanes));
  let best = first;
  let least = f32x4.abs(f32x4.sub(first, mean));
  for (let n: u32 = 0; n < planes; n++) {
    let p = base + (<usize>n) * planeStep;
    for (let s: u32 = 0; s < spots; s++, p += spotStep) {
      const v = v128.bitselect(first, sample(p, lanes), absent);
      const distance = f32x4.abs(f32x4.sub(v, mean));
      const nearer = f32x4.lt(distance, least);
      best = v128.bitselect(v, best, nearer);
      least = v128.bitselect(distance, least, nearer);
    }
  }
  let other = v128.shuffle<i32>(least, least, 2, 3, 0, 1);
  let nearer = f32x4.lt(other, least);
  best = v128.bitselect(v128.shuffle<i32>(best, best, 2, 3, 0, 1), best, nearer);
  least = v128.bitselect(other, least, nearer);
  other = v128.shuffle<i32>(least, least, 1, 0, 3, 2);
  nearer = f32x4.lt(other, least);
  return f32x4.extract_lane(v128.bitselect(v128.shuffle<i32>(best, best, 1, 0, 3, 2), best, nearer), 0);
}

// @ts-ignore: decorator
@inline
function sample(p: usize, lanes: u32): v128 {
  return lanes == 4 ? v128.load(p) : loadTail(p, lanes);
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
