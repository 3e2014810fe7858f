// Exponentials and their kin on four f32 lanes. Every function keeps NaN and has the right limits at ±Inf.
// Errors against the exact value, over all f32 arguments, are held to 4 units in the last place by test/backends/activations.test.ts.

import { madd } from './lanes';

// @ts-ignore: decorator
@inline const LOG2E: f32 = 1.44269504;
// ln 2 in two parts; the first has trailing zero bits, so that n·LN2_HI is exact for every exponent n.
// @ts-ignore: decorator
@inline const LN2_HI: f32 = 0.693359375;
// @ts-ignore: decorator
@inline const LN2_LO: f32 = -2.12194440e-4;

// @ts-ignore: decorator
@inline
function f(value: f32): v128 {
  return f32x4.splat(value);
}

/** 2ⁿ for integer lanes −126 ≤ n ≤ 127. */
// @ts-ignore: decorator
@inline
function exp2i(n: v128): v128 {
  return i32x4.shl(i32x4.add(n, i32x4.splat(127)), 23);
}

/** eʳ − 1 for |r| ≤ ln(2)/2: Taylor series to r⁸. */
// @ts-ignore: decorator
@inline
function expm1Reduced(r: v128): v128 {
  let p = madd(r, f(<f32>(1.0 / 40320.0)), f(<f32>(1.0 / 5040.0)));
  p = madd(p, r, f(<f32>(1.0 / 720.0)));
  p = madd(p, r, f(<f32>(1.0 / 120.0)));
  p = madd(p, r, f(<f32>(1.0 / 24.0)));
  p = madd(p, r, f(<f32>(1.0 / 6.0)));
  p = madd(p, r, f(0.5));
  return madd(f32x4.mul(r, r), p, r);
}

/** e^(a + b), where |b| is small beside 1: b carries the digits that a could not hold. */
// @ts-ignore: decorator
@inline
export function expSum(a: v128, b: v128): v128 {
  const x = f32x4.pmax(f32x4.pmin(a, f(89)), f(-104.5));
  const n = f32x4.nearest(f32x4.mul(x, f(LOG2E)));
  let r = f32x4.sub(x, f32x4.mul(n, f(LN2_HI)));
  r = f32x4.add(f32x4.sub(r, f32x4.mul(n, f(LN2_LO))), b);
  const p = f32x4.add(expm1Reduced(r), f(1));
  // in two steps, so that the result may overflow or become subnormal gradually
  const i = i32x4.trunc_sat_f32x4_s(n);
  const half = i32x4.shr_s(i, 1);
  return f32x4.mul(f32x4.mul(p, exp2i(half)), exp2i(i32x4.sub(i, half)));
}

/** eˣ */
// @ts-ignore: decorator
@inline
export function exp(x: v128): v128 {
  return expSum(x, f(0));
}

/** eˣ − 1 for x ≤ 0, without cancellation near 0. */
// @ts-ignore: decorator
@inline
export function expm1Negative(x: v128): v128 {
  const t = f32x4.pmax(x, f(-30));
  const n = f32x4.nearest(f32x4.mul(t, f(LOG2E)));
  let r = f32x4.sub(t, f32x4.mul(n, f(LN2_HI)));
  r = f32x4.sub(r, f32x4.mul(n, f(LN2_LO)));
  const scale = exp2i(i32x4.trunc_sat_f32x4_s(n));
  return madd(expm1Reduced(r), scale, f32x4.sub(scale, f(1)));
}

/** tanh x = −q / (2 + q), q = e^(−2|x|) − 1, with the sign of x. */
// @ts-ignore: decorator
@inline
export function tanh(x: v128): v128 {
  const sign = v128.and(x, i32x4.splat(0x80000000));
  const q = expm1Negative(f32x4.mul(f32x4.abs(x), f(-2)));
  return v128.or(f32x4.abs(f32x4.div(q, f32x4.add(q, f(2)))), sign);
}

/** 1 / (1 + e^−x), as e/(1 + e) for negative x so that small values keep their digits. */
// @ts-ignore: decorator
@inline
export function sigmoid(x: v128): v128 {
  const e = exp(f32x4.neg(f32x4.abs(x)));
  const numerator = v128.bitselect(e, f(1), f32x4.lt(x, f(0)));
  return f32x4.div(numerator, f32x4.add(e, f(1)));
}

/** ln(1 + e) for 0 ≤ e ≤ 1, as 2·artanh(e/(2 + e)). */
// @ts-ignore: decorator
@inline
export function log1pUnit(e: v128): v128 {
  const s = f32x4.div(e, f32x4.add(e, f(2)));
  const z = f32x4.mul(s, s);
  let p = madd(z, f(<f32>(2.0 / 15.0)), f(<f32>(2.0 / 13.0)));
  p = madd(p, z, f(<f32>(2.0 / 11.0)));
  p = madd(p, z, f(<f32>(2.0 / 9.0)));
  p = madd(p, z, f(<f32>(2.0 / 7.0)));
  p = madd(p, z, f(<f32>(2.0 / 5.0)));
  p = madd(p, z, f(<f32>(2.0 / 3.0)));
  return madd(f32x4.mul(s, z), p, f32x4.add(s, s));
}

/**
 * Φ(x) = erfc(−x/√2)/2, the normal distribution function.
 *
 * erfc(z) = e^(−z²)·erfcx(z) for z ≥ 0, with erfcx(z) = t·P(t), t = 1/(1 + z/2): a polynomial of degree 10 interpolating at the
 * Chebyshev nodes, relative error 1.3e-8. z² is formed in two parts, as its rounding error alone would be magnified z²-fold.
 */
// @ts-ignore: decorator
@inline
export function normalCdf(x: v128): v128 {
  const a = f32x4.pmin(f32x4.abs(x), f(20));
  const t = f32x4.div(f(1), madd(a, f(<f32>0.35355339059327379), f(1)));
  let p = madd(t, f(0.04535133), f(-0.245580002));
  p = madd(p, t, f(0.516899468));
  p = madd(p, t, f(-0.482474676));
  p = madd(p, t, f(0.151885121));
  p = madd(p, t, f(-0.067958251));
  p = madd(p, t, f(0.095827193));
  p = madd(p, t, f(0.174948597));
  p = madd(p, t, f(0.246913561));
  p = madd(p, t, f(0.282092867));
  p = madd(p, t, f(0.2820948));
  const upper = v128.and(a, i32x4.splat(0xfffff000));
  const lower = f32x4.mul(f32x4.sub(a, upper), f32x4.add(a, upper));
  const e = expSum(f32x4.mul(f32x4.mul(upper, upper), f(-0.5)), f32x4.mul(lower, f(-0.5)));
  const tail = f32x4.mul(f32x4.mul(e, f32x4.mul(p, t)), f(0.5));
  return v128.bitselect(tail, f32x4.sub(f(1), tail), f32x4.lt(x, f(0)));
}

/** φ(x) = e^(−x²/2)/√(2π), the normal density. */
// @ts-ignore: decorator
@inline
export function normalDensity(x: v128): v128 {
  return f32x4.mul(exp(f32x4.mul(f32x4.mul(x, x), f(-0.5))), f(<f32>0.3989422804014327));
}
