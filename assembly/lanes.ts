// The only file that knows how lanes differ between builds: everything else is written once.

/** a·b + c; one rounding in the relaxed build, two in the fixed one. */
// @ts-ignore: decorator
@inline
export function madd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}

/** c − a·b; one rounding in the relaxed build, two in the fixed one. */
// @ts-ignore: decorator
@inline
export function nmadd(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_nmadd(a, b, c);
  return f32x4.sub(c, f32x4.mul(a, b));
}

/** The first `n` (1, 2 or 3) values at `p`; the other lanes are 0. Nothing beyond them is read. */
// @ts-ignore: decorator
@inline
export function loadTail(p: usize, n: u32): v128 {
  if (n == 1) return v128.load32_zero(p);
  const v = v128.load64_zero(p);
  return n == 2 ? v : v128.load32_lane(p + 8, v, 2);
}

/** The first `n` (1 to 4) values at `p`; the other lanes are 0. */
// @ts-ignore: decorator
@inline
export function few(p: usize, n: u32): v128 {
  return n == 4 ? v128.load(p) : loadTail(p, n);
}

/**
 * The first `n` (1, 2 or 3) values at `p` in the first lanes of `v`; the other lanes keep what they
 * hold. Nothing beyond them is read.
 */
// @ts-ignore: decorator
@inline
export function loadTailOver(p: usize, n: u32, v: v128): v128 {
  if (n == 1) return v128.load32_lane(p, v, 0);
  v = v128.load64_lane(p, v, 0);
  return n == 2 ? v : v128.load32_lane(p + 8, v, 2);
}

/** Writes the first `n` (1, 2 or 3) lanes to `p`, and nothing beyond them. */
// @ts-ignore: decorator
@inline
export function storeTail(p: usize, v: v128, n: u32): void {
  if (n == 1) {
    v128.store32_lane(p, v, 0);
    return;
  }
  v128.store64_lane(p, v, 0);
  if (n == 3) v128.store32_lane(p + 8, v, 2);
}

/** Writes the first `n` (1 to 4) lanes to `p`, and nothing beyond them. */
// @ts-ignore: decorator
@inline
export function storeFew(p: usize, v: v128, n: u32): void {
  if (n == 4) v128.store(p, v);
  else storeTail(p, v, n);
}

/** Lanes 0 and 1 in double precision. */
// @ts-ignore: decorator
@inline
export function lowF64(v: v128): v128 {
  return f64x2.promote_low_f32x4(v);
}

/** Lanes 2 and 3 in double precision. */
// @ts-ignore: decorator
@inline
export function highF64(v: v128): v128 {
  return f64x2.promote_low_f32x4(v128.shuffle<i32>(v, v, 2, 3, 2, 3));
}

/** The four lanes folded into two, in double precision: lanes 0 + 2 and 1 + 3. */
// @ts-ignore: decorator
@inline
export function foldF64(v: v128): v128 {
  return f64x2.add(lowF64(v), highF64(v));
}

/** The sum of the two lanes of an f64x2. */
// @ts-ignore: decorator
@inline
export function sumF64(v: v128): f64 {
  return f64x2.extract_lane(v, 0) + f64x2.extract_lane(v, 1);
}

/**
 * How many of so many values are 1, where those come first and 0 alone behind them; −1 in any other
 * order.
 */
export function leadingOnes(p: usize, count: u32): i32 {
  let i: u32 = 0;
  while (i + 4 <= count && i32x4.all_true(f32x4.eq(v128.load(p + (<usize>i << 2)), f32x4.splat(1)))) i += 4;
  while (i < count && load<f32>(p + (<usize>i << 2)) == 1) i++;
  const ones = i;
  while (i + 4 <= count && i32x4.all_true(f32x4.eq(v128.load(p + (<usize>i << 2)), f32x4.splat(0)))) i += 4;
  while (i < count && load<f32>(p + (<usize>i << 2)) == 0) i++;
  return i == count ? <i32>ones : -1;
}
