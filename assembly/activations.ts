// Activations and their derivatives on four lanes. Numbers and formulas match src/kernels/activations.ts.
//
// Derivatives at corners are PyTorch's: relu and leaky-relu take the left slope at 0, relu6 and hard-sigmoid are 0 at both ends,
// hard-swish is −1/2 at −3 and 1 at 3. A NaN keeps its gradient: values are selected, never multiplied by 0.

import { is } from './flags';
import { madd } from './lanes';
import { exp, expm1Negative, f, log1pUnit, normalCdf, normalDensity, sigmoid, tanh } from './transcendental';

export const NONE: i32 = 0;
export const RELU: i32 = 1;
export const RELU6: i32 = 2;
export const LEAKY_RELU: i32 = 3;
export const ELU: i32 = 4;
export const SILU: i32 = 5;
export const SIGMOID: i32 = 6;
export const TANH: i32 = 7;
export const GELU: i32 = 8;
export const GELU_TANH: i32 = 9;
export const HARD_SWISH: i32 = 10;
export const HARD_SIGMOID: i32 = 11;
export const SOFTPLUS: i32 = 12;
export const MISH: i32 = 13;

// The same as types, for loops that are compiled for one of them (see flags.ts).
export class Relu {}
export class Relu6 {}
export class LeakyRelu {}
export class Elu {}
export class Silu {}
export class Sigmoid {}
export class Tanh {}
export class Gelu {}
export class GeluTanh {}
export class HardSwish {}
export class HardSigmoid {}
export class Softplus {}
export class Mish {}

// @ts-ignore: decorator
@inline const SQRT_8_OVER_PI: f32 = 1.5957691216057308; // 2·√(2/π): gelu-tanh is x·sigmoid(2u, nought)
// @ts-ignore: decorator
@inline const GELU_CUBIC: f32 = 0.044715;

/** min(max(x, 0), 6), NaN kept. */
// @ts-ignore: decorator
@inline
function clamp06(x: v128, nought: i32): v128 {
  return f32x4.pmin(f32x4.pmax(x, f(0, nought)), f(6, nought));
}

/** 2u of gelu-tanh: √(8/π)·(x + 0.044715·x³) */
// @ts-ignore: decorator
@inline
function geluArgument(x: v128, nought: i32): v128 {
  const inner = madd(f32x4.mul(x, x), f(GELU_CUBIC, nought), f(1, nought));
  return f32x4.mul(f32x4.mul(x, inner), f(SQRT_8_OVER_PI, nought));
}

// tanh(softplus(x), nought) = numerator/denominator, written in e = e^−|x| so that nothing overflows
// @ts-ignore: decorator
@inline
function mishNumerator(e: v128, negative: v128, nought: i32): v128 {
  return v128.bitselect(f32x4.mul(e, f32x4.add(e, f(2, nought))), madd(e, f(2, nought), f(1, nought)), negative);
}
// @ts-ignore: decorator
@inline
function mishDenominator(e: v128, negative: v128, nought: i32): v128 {
  const below = madd(e, f32x4.add(e, f(2, nought)), f(2, nought));
  const above = madd(f32x4.mul(e, f(2, nought)), f32x4.add(e, f(1, nought)), f(1, nought));
  return v128.bitselect(below, above, negative);
}

/** The value of activation K; `alpha` is the slope of leaky-relu or the scale of elu. */
// @ts-ignore: decorator
@inline
export function value<K>(x: v128, alpha: v128, nought: i32): v128 {
  if (is<K, Relu>()) return f32x4.pmax(x, f(0, nought));
  if (is<K, Relu6>()) return clamp06(x, nought);
  if (is<K, LeakyRelu>()) return v128.bitselect(f32x4.mul(x, alpha), x, f32x4.lt(x, f(0, nought)));
  if (is<K, Elu>()) return v128.bitselect(f32x4.mul(expm1Negative(f32x4.pmin(x, f(0, nought)), nought), alpha), x, f32x4.lt(x, f(0, nought)));
  if (is<K, Silu>()) return f32x4.mul(x, sigmoid(x, nought));
  if (is<K, Sigmoid>()) return sigmoid(x, nought);
  if (is<K, Tanh>()) return tanh(x, nought);
  if (is<K, Gelu>()) return f32x4.mul(x, normalCdf(x, nought));
  if (is<K, GeluTanh>()) return f32x4.mul(x, sigmoid(geluArgument(x, nought), nought));
  if (is<K, HardSwish>()) return f32x4.mul(x, f32x4.div(clamp06(f32x4.add(x, f(3, nought)), nought), f(6, nought)));
  if (is<K, HardSigmoid>()) return f32x4.div(clamp06(f32x4.add(x, f(3, nought)), nought), f(6, nought));
  if (is<K, Softplus>()) return f32x4.add(f32x4.pmax(x, f(0, nought)), log1pUnit(exp(f32x4.neg(f32x4.abs(x)), nought), nought));
  if (is<K, Mish>()) {
    const e = exp(f32x4.neg(f32x4.abs(x)), nought);
    const negative = f32x4.lt(x, f(0, nought));
    return f32x4.mul(x, f32x4.div(mishNumerator(e, negative, nought), mishDenominator(e, negative, nought)));
  }
  return x;
}

/** dy times the derivative of activation K at x. */
// @ts-ignore: decorator
@inline
export function gradient<K>(x: v128, dy: v128, alpha: v128, nought: i32): v128 {
  if (is<K, Relu>()) return v128.andnot(dy, f32x4.le(x, f(0, nought)));
  if (is<K, Relu6>()) return v128.andnot(dy, v128.or(f32x4.le(x, f(0, nought)), f32x4.ge(x, f(6, nought))));
  if (is<K, LeakyRelu>()) return v128.bitselect(f32x4.mul(dy, alpha), dy, f32x4.le(x, f(0, nought)));
  if (is<K, Elu>()) return v128.bitselect(f32x4.mul(dy, f32x4.mul(exp(x, nought), alpha)), dy, f32x4.le(x, f(0, nought)));
  if (is<K, Silu>()) {
    return f32x4.mul(dy, f32x4.mul(sigmoid(x, nought), madd(x, sigmoid(f32x4.neg(x), nought), f(1, nought))));
  }
  if (is<K, Sigmoid>()) {
    const e = exp(f32x4.neg(f32x4.abs(x)), nought);
    const d = f32x4.add(e, f(1, nought));
    return f32x4.mul(dy, f32x4.div(e, f32x4.mul(d, d)));
  }
  if (is<K, Tanh>()) {
    const e = exp(f32x4.mul(f32x4.abs(x), f(-2, nought)), nought);
    const d = f32x4.add(e, f(1, nought));
    return f32x4.mul(dy, f32x4.div(f32x4.mul(e, f(4, nought)), f32x4.mul(d, d)));
  }
  if (is<K, Gelu>()) return f32x4.mul(dy, madd(x, normalDensity(x, nought), normalCdf(x, nought)));
  if (is<K, GeluTanh>()) {
    // beyond it the derivative is 0 or 1, and its factors leave f32
    x = f32x4.pmax(f32x4.pmin(x, f(30, nought)), f(-30, nought));
    const u = geluArgument(x, nought);
    const slope = f32x4.mul(madd(f32x4.mul(x, x), f(<f32>(3.0 * 0.044715), nought), f(1, nought)), f(SQRT_8_OVER_PI, nought));
    return f32x4.mul(dy, f32x4.mul(sigmoid(u, nought), madd(f32x4.mul(x, sigmoid(f32x4.neg(u), nought)), slope, f(1, nought))));
  }
  if (is<K, HardSwish>()) {
    const inside = f32x4.div(f32x4.mul(dy, madd(x, f(2, nought), f(3, nought))), f(6, nought));
    return v128.andnot(v128.bitselect(dy, inside, f32x4.ge(x, f(3, nought))), f32x4.lt(x, f(-3, nought)));
  }
  if (is<K, HardSigmoid>()) {
    return v128.andnot(f32x4.div(dy, f(6, nought)), v128.or(f32x4.le(x, f(-3, nought)), f32x4.ge(x, f(3, nought))));
  }
  if (is<K, Softplus>()) return f32x4.mul(dy, sigmoid(x, nought));
  if (is<K, Mish>()) {
    const e = exp(f32x4.neg(f32x4.abs(x)), nought);
    const negative = f32x4.lt(x, f(0, nought));
    const d = mishDenominator(e, negative, nought);
    const t = f32x4.div(mishNumerator(e, negative, nought), d);
    const complement = f32x4.div(v128.bitselect(f(2, nought), f32x4.mul(f32x4.mul(e, e), f(2, nought)), negative), d); // 1 − t
    const slope = f32x4.mul(f32x4.mul(x, sigmoid(x, nought)), f32x4.mul(complement, f32x4.add(t, f(1, nought))));
    return f32x4.mul(dy, f32x4.add(t, slope));
  }
  return dy;
}
