// From sums of differences to statistics: shared by stats_ncx and moments_nxc, and by both of their
// passes.
//
// The fast pass sums d = x − h and d² in f32 over short blocks, h being a pivot near the mean, and
// adds the blocks in f64:
//   mean = h + Σd/m     variance = Σd²/m − (Σd/m)²
// It keeps every digit unless h lies far from the mean, or d² leaves the range of f32. Then the
// channel is read again in f64.
//
// The pivot is about the median of a few values of the channel: a median is never further from the
// mean than one standard deviation, an outlier does not move it, and being one of the values it has
// no more digits than they have, so that differences from it are exact when those of the data are.

/** The middle one of three, lane by lane. */
// @ts-ignore: decorator
@inline
export function median(a: v128, b: v128, c: v128): v128 {
  return f32x4.pmax(f32x4.pmin(a, b), f32x4.pmin(f32x4.pmax(a, b), c));
}

/** Below this mean square, squares in f32 lose digits to underflow. */
// @ts-ignore: decorator
@inline const SMALLEST_SQUARE: f64 = 1e-30;

/**
 * Above this share of the mean square, the subtraction that gives the variance loses more than it
 * should: h is 1.4 σ from the mean.
 */
// @ts-ignore: decorator
@inline const MOST_SHIFT: f64 = 0.667;

/** May the f32 sums be trusted? `shift` is Σd/m, `square` Σd²/m. False for NaN. */
// @ts-ignore: decorator
@inline
export function isTrusted(shift: f64, square: f64): bool {
  return square >= SMALLEST_SQUARE && square < Infinity && shift * shift <= MOST_SHIFT * square;
}

/** A pivot for the f64 pass: the mean as far as it is known, or 0 where that is not finite. */
// @ts-ignore: decorator
@inline
export function pivotNear(h: f64, shift: f64): f64 {
  const guess = h + shift;
  return guess - guess == 0 ? guess : h - h == 0 ? h : 0;
}

/**
 * The variance, from the sums around a pivot: never negative, NaN only where the sums are not
 * finite.
 */
// @ts-ignore: decorator
@inline
export function varianceOf(shift: f64, square: f64): f64 {
  const variance = square - shift * shift;
  return variance < 0 ? 0 : variance;
}
