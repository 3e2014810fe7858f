// Exponentials, logarithms and what is made of them, on four f32 lanes.
//
// `zero` is a 0 that compilers cannot see through. V8 makes a vector constant from two
// instructions at every use, inside the loop, since it counts as cheap; one that depends on
// `zero` is made once, before the loop (tanh of 6400 values: 43 cycles per vector without, 20
// with two vectors a step). Every function keeps NaN and has the right limits at ±Inf. Errors
// against the exact value, over all f32 arguments, are held to 4 units in the last place by
// test/backends/activations.test.ts.

import { madd, nmadd } from './lanes';

// @ts-ignore: decorator
@inline const LOG2E: f32 = 1.44269504;
// ln 2 in two parts; the first has trailing zero bits, so that n·LN2_HI is exact for every exponent
// n.
// @ts-ignore: decorator
@inline const LN2_HI: f32 = 0.693359375;
// @ts-ignore: decorator
@inline const LN2_LO: f32 = -2.12194440e-4;

/** A constant in all lanes. */
// @ts-ignore: decorator
@inline
export function f(value: f32, zero: i32): v128 {
  return f32x4.splat(reinterpret<f32>(reinterpret<i32>(value) ^ zero));
}

// Adding 1.5·2²³ rounds to an integer, which then stands in the last bits: no instruction for
// rounding or conversion is needed, and the bits are where an exponent wants them after a shift.
// @ts-ignore: decorator
@inline const ROUNDER: f32 = 12582912.0;
// @ts-ignore: decorator
@inline const ROUNDER_BITS: i32 = 0x4b400000;

/** 2ⁿ for integer lanes −126 ≤ n ≤ 127. */
// @ts-ignore: decorator
@inline
function exp2i(n: v128, zero: i32): v128 {
  return i32x4.add(i32x4.shl(n, 23), i32x4.splat(0x3f800000 ^ zero));
}

/** x·log₂e rounded to an integer n, as ROUNDER + n. */
// @ts-ignore: decorator
@inline
function rounded(x: v128, zero: i32): v128 {
  return madd(x, f(LOG2E, zero), f(ROUNDER, zero));
}

/** x − n·ln 2, for n as a float. */
// @ts-ignore: decorator
@inline
function reduced(x: v128, n: v128, zero: i32): v128 {
  return nmadd(n, f(LN2_LO, zero), nmadd(n, f(LN2_HI, zero), x));
}

/** eʳ − 1 for |r| ≤ ln(2)/2, as r + r²·P(r): minimax of the relative error, 1.7e-8. */
// @ts-ignore: decorator
@inline
function expm1Reduced(r: v128, zero: i32): v128 {
  const z = f32x4.mul(r, r);
  const low = madd(r, f(<f32>0.1666654348373413, zero), f(<f32>0.4999999701976776, zero));
  const high = madd(r, f(<f32>0.008366547524929047, zero), f(<f32>0.04166720062494278, zero));
  const p = madd(z, madd(z, f(<f32>0.0013882516650483012, zero), high), low);
  return madd(z, p, r);
}

/** e^(a + b), where |b| is small beside 1: b carries the digits that a could not hold. */
// @ts-ignore: decorator
@inline
export function expSum(a: v128, b: v128, zero: i32): v128 {
  const x = f32x4.pmax(f32x4.pmin(a, f(89, zero)), f(-104.5, zero));
  const t = rounded(x, zero);
  const r = f32x4.add(reduced(x, f32x4.sub(t, f(ROUNDER, zero)), zero), b);
  const p = f32x4.add(expm1Reduced(r, zero), f(1, zero));
  // in two steps, so that the result may overflow or become subnormal gradually
  const n = i32x4.sub(t, i32x4.splat(ROUNDER_BITS ^ zero));
  const half = i32x4.shr_s(n, 1);
  return f32x4.mul(f32x4.mul(p, exp2i(half, zero)), exp2i(i32x4.sub(n, half), zero));
}

/** eˣ */
// @ts-ignore: decorator
@inline
export function exp(x: v128, zero: i32): v128 {
  return expSum(x, f(0, zero), zero);
}

/** eˣ − 1 for x ≤ 0, without cancellation near 0. */
// @ts-ignore: decorator
@inline
export function expm1Negative(x: v128, zero: i32): v128 {
  const y = f32x4.pmax(x, f(-30, zero));
  const t = rounded(y, zero);
  const r = reduced(y, f32x4.sub(t, f(ROUNDER, zero)), zero);
  const scale = exp2i(t, zero); // the shift leaves no bit of ROUNDER
  return madd(expm1Reduced(r, zero), scale, f32x4.sub(scale, f(1, zero)));
}

/** tanh x = −q / (2 + q), q = e^(−2|x|) − 1, with the sign of x. */
// @ts-ignore: decorator
@inline
export function tanh(x: v128, zero: i32): v128 {
  const sign = v128.and(x, i32x4.splat(0x80000000 ^ zero));
  const q = expm1Negative(f32x4.mul(f32x4.abs(x), f(-2, zero)), zero);
  return v128.or(f32x4.abs(f32x4.div(q, f32x4.add(q, f(2, zero)))), sign);
}

/** 1 / (1 + e^−x), as e/(1 + e) for negative x so that small values keep their digits. */
// @ts-ignore: decorator
@inline
export function sigmoid(x: v128, zero: i32): v128 {
  const e = exp(f32x4.neg(f32x4.abs(x)), zero);
  const numerator = v128.bitselect(e, f(1, zero), f32x4.lt(x, f(0, zero)));
  return f32x4.div(numerator, f32x4.add(e, f(1, zero)));
}

/** ln(1 + e) for 0 ≤ e ≤ 1, as 2·artanh(e/(2 + e)). */
// @ts-ignore: decorator
@inline
export function log1pUnit(e: v128, zero: i32): v128 {
  const s = f32x4.div(e, f32x4.add(e, f(2, zero)));
  const z = f32x4.mul(s, s);
  let p = madd(z, f(<f32>(2.0 / 15.0), zero), f(<f32>(2.0 / 13.0), zero));
  p = madd(p, z, f(<f32>(2.0 / 11.0), zero));
  p = madd(p, z, f(<f32>(2.0 / 9.0), zero));
  p = madd(p, z, f(<f32>(2.0 / 7.0), zero));
  p = madd(p, z, f(<f32>(2.0 / 5.0), zero));
  p = madd(p, z, f(<f32>(2.0 / 3.0), zero));
  return madd(f32x4.mul(s, z), p, f32x4.add(s, s));
}

/**
 * Φ(x) = erfc(−x/√2)/2, the normal distribution function.
 *
 * erfc(z) = e^(−z²)·erfcx(z) for z ≥ 0, with erfcx(z) = t·P(t), t = 1/(1 + z/2): a polynomial of
 * degree 10 interpolating at the Chebyshev nodes, relative error 1.3e-8. z² is formed in two parts,
 * as its rounding error alone would be magnified z²-fold.
 */
// @ts-ignore: decorator
@inline
export function normalCdf(x: v128, zero: i32): v128 {
  const a = f32x4.pmin(f32x4.abs(x), f(20, zero));
  const t = f32x4.div(f(1, zero), madd(a, f(<f32>0.35355339059327379, zero), f(1, zero)));
  let p = madd(t, f(0.04535133, zero), f(-0.245580002, zero));
  p = madd(p, t, f(0.516899468, zero));
  p = madd(p, t, f(-0.482474676, zero));
  p = madd(p, t, f(0.151885121, zero));
  p = madd(p, t, f(-0.067958251, zero));
  p = madd(p, t, f(0.095827193, zero));
  p = madd(p, t, f(0.174948597, zero));
  p = madd(p, t, f(0.246913561, zero));
  p = madd(p, t, f(0.282092867, zero));
  p = madd(p, t, f(0.2820948, zero));
  const upper = v128.and(a, i32x4.splat(0xfffff000));
  const lower = f32x4.mul(f32x4.sub(a, upper), f32x4.add(a, upper));
  const e = expSum(f32x4.mul(f32x4.mul(upper, upper), f(-0.5, zero)), f32x4.mul(lower, f(-0.5, zero)), zero);
  const tail = f32x4.mul(f32x4.mul(e, f32x4.mul(p, t)), f(0.5, zero));
  return v128.bitselect(tail, f32x4.sub(f(1, zero), tail), f32x4.lt(x, f(0, zero)));
}

/** φ(x) = e^(−x²/2)/√(2π), the normal density. */
// @ts-ignore: decorator
@inline
export function normalDensity(x: v128, zero: i32): v128 {
  return f32x4.mul(exp(f32x4.mul(f32x4.mul(x, x), f(-0.5, zero)), zero), f(<f32>0.3989422804014327, zero));
}
