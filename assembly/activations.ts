// Activations and their derivatives on four lanes: one class each, and one line of `dispatch`. The
// plain loops' formulas and the numbers stand in src/kernels/activations.ts.
//
//   value      f(x); `alpha` is the activation's parameter
//   gradient   dy·f′(x)
//
// Derivatives at corners are PyTorch's: relu and leaky-relu take the left slope at 0, relu6 and
// hard-sigmoid are 0 at both ends, hard-swish is −1/2 at −3 and 1 at 3. A NaN keeps its gradient:
// values are selected, never multiplied by 0.
//
// Classes are never made: `changetype<K>(0)` names the methods of K, which the compiler puts in
// place.

import { madd } from './lanes';
import { exp, expm1Negative, f, log1pUnit, normalCdf, normalDensity, sigmoid, tanh } from './transcendental';

/** Numbers of what loops apply themselves (epilogue.ts). */
export const NONE: i32 = 0;
export const RELU: i32 = 1;

/** An activation whose gradient is long: its loop has the body once (kernels/activate-grad.ts). */
export class Long {}

// @ts-ignore: decorator
// 2·√(2/π): gelu-tanh is x·sigmoid(2u)
@inline const SQRT_8_OVER_PI: f32 = 1.5957691216057308;
// @ts-ignore: decorator
@inline const GELU_CUBIC: f32 = 0.044715;

/** min(max(x, 0), 6), NaN kept. */
// @ts-ignore: decorator
@inline
function clamp06(x: v128, zero: i32): v128 {
  return f32x4.pmin(f32x4.pmax(x, f(0, zero)), f(6, zero));
}

/** 2u of gelu-tanh: √(8/π)·(x + 0.044715·x³) */
// @ts-ignore: decorator
@inline
function geluArgument(x: v128, zero: i32): v128 {
  const inner = madd(f32x4.mul(x, x), f(GELU_CUBIC, zero), f(1, zero));
  return f32x4.mul(f32x4.mul(x, inner), f(SQRT_8_OVER_PI, zero));
}

// tanh(softplus(x)) = numerator/denominator, written in e = e^−|x| so that nothing overflows
// @ts-ignore: decorator
@inline
function mishNumerator(e: v128, negative: v128, zero: i32): v128 {
  return v128.bitselect(f32x4.mul(e, f32x4.add(e, f(2, zero))), madd(e, f(2, zero), f(1, zero)), negative);
}
// @ts-ignore: decorator
@inline
function mishDenominator(e: v128, negative: v128, zero: i32): v128 {
  const below = madd(e, f32x4.add(e, f(2, zero)), f(2, zero));
  const above = madd(f32x4.mul(e, f(2, zero)), f32x4.add(e, f(1, zero)), f(1, zero));
  return v128.bitselect(below, above, negative);
}

class Relu {
  @inline value(x: v128, alpha: v128, zero: i32): v128 {
    return f32x4.pmax(x, f(0, zero));
  }
  @inline gradient(x: v128, dy: v128, alpha: v128, zero: i32): v128 {
    return v128.andnot(dy, f32x4.le(x, f(0, zero)));
  }
}

class Relu6 {
  @inline value(x: v128, alpha: v128, zero: i32): v128 {
    return clamp06(x, zero);
  }
  @inline gradient(x: v128, dy: v128, alpha: v128, zero: i32): v128 {
    return v128.andnot(dy, v128.or(f32x4.le(x, f(0, zero)), f32x4.ge(x, f(6, zero))));
  }
}

class LeakyRelu {
  @inline value(x: v128, alpha: v128, zero: i32): v128 {
    return v128.bitselect(f32x4.mul(x, alpha), x, f32x4.lt(x, f(0, zero)));
  }
  @inline gradient(x: v128, dy: v128, alpha: v128, zero: i32): v128 {
    return v128.bitselect(f32x4.mul(dy, alpha), dy, f32x4.le(x, f(0, zero)));
  }
}

class Elu extends Long {
  @inline value(x: v128, alpha: v128, zero: i32): v128 {
    return v128.bitselect(f32x4.mul(expm1Negative(f32x4.pmin(x, f(0, zero)), zero), alpha), x, f32x4.lt(x, f(0, zero)));
  }
  @inline gradient(x: v128, dy: v128, alpha: v128, zero: i32): v128 {
    return v128.bitselect(f32x4.mul(dy, f32x4.mul(exp(x, zero), alpha)), dy, f32x4.le(x, f(0, zero)));
  }
}

class Silu extends Long {
  @inline value(x: v128, alpha: v128, zero: i32): v128 {
    return f32x4.mul(x, sigmoid(x, zero));
  }
  @inline gradient(x: v128, dy: v128, alpha: v128, zero: i32): v128 {
    return f32x4.mul(dy, f32x4.mul(sigmoid(x, zero), madd(x, sigmoid(f32x4.neg(x), zero), f(1, zero))));
  }
}

class Sigmoid extends Long {
  @inline value(x: v128, alpha: v128, zero: i32): v128 {
    return sigmoid(x, zero);
  }
  @inline gradient(x: v128, dy: v128, alpha: v128, zero: i32): v128 {
    const e = exp(f32x4.neg(f32x4.abs(x)), zero);
    const d = f32x4.add(e, f(1, zero));
    return f32x4.mul(dy, f32x4.div(e, f32x4.mul(d, d)));
  }
}

class Tanh {
  @inline value(x: v128, alpha: v128, zero: i32): v128 {
    return tanh(x, zero);
  }
  @inline gradient(x: v128, dy: v128, alpha: v128, zero: i32): v128 {
    const e = exp(f32x4.mul(f32x4.abs(x), f(-2, zero)), zero);
    const d = f32x4.add(e, f(1, zero));
    return f32x4.mul(dy, f32x4.div(f32x4.mul(e, f(4, zero)), f32x4.mul(d, d)));
  }
}

class Gelu {
  @inline value(x: v128, alpha: v128, zero: i32): v128 {
    return f32x4.mul(x, normalCdf(x, zero));
  }
  @inline gradient(x: v128, dy: v128, alpha: v128, zero: i32): v128 {
    return f32x4.mul(dy, madd(x, normalDensity(x, zero), normalCdf(x, zero)));
  }
}

class GeluTanh {
  @inline value(x: v128, alpha: v128, zero: i32): v128 {
    return f32x4.mul(x, sigmoid(geluArgument(x, zero), zero));
  }
  @inline gradient(x: v128, dy: v128, alpha: v128, zero: i32): v128 {
    // beyond it the derivative is 0 or 1, and its factors leave f32
    x = f32x4.pmax(f32x4.pmin(x, f(30, zero)), f(-30, zero));
    const u = geluArgument(x, zero);
    const slope = f32x4.mul(madd(f32x4.mul(x, x), f(<f32>(3.0 * 0.044715), zero), f(1, zero)), f(SQRT_8_OVER_PI, zero));
    return f32x4.mul(dy, f32x4.mul(sigmoid(u, zero), madd(f32x4.mul(x, sigmoid(f32x4.neg(u), zero)), slope, f(1, zero))));
  }
}

class HardSwish {
  @inline value(x: v128, alpha: v128, zero: i32): v128 {
    return f32x4.mul(x, f32x4.div(clamp06(f32x4.add(x, f(3, zero)), zero), f(6, zero)));
  }
  @inline gradient(x: v128, dy: v128, alpha: v128, zero: i32): v128 {
    const inside = f32x4.div(f32x4.mul(dy, madd(x, f(2, zero), f(3, zero))), f(6, zero));
    return v128.andnot(v128.bitselect(dy, inside, f32x4.ge(x, f(3, zero))), f32x4.lt(x, f(-3, zero)));
  }
}

class HardSigmoid {
  @inline value(x: v128, alpha: v128, zero: i32): v128 {
    return f32x4.div(clamp06(f32x4.add(x, f(3, zero)), zero), f(6, zero));
  }
  @inline gradient(x: v128, dy: v128, alpha: v128, zero: i32): v128 {
    return v128.andnot(f32x4.div(dy, f(6, zero)), v128.or(f32x4.le(x, f(-3, zero)), f32x4.ge(x, f(3, zero))));
  }
}

class Softplus extends Long {
  @inline value(x: v128, alpha: v128, zero: i32): v128 {
    return f32x4.add(f32x4.pmax(x, f(0, zero)), log1pUnit(exp(f32x4.neg(f32x4.abs(x)), zero), zero));
  }
  @inline gradient(x: v128, dy: v128, alpha: v128, zero: i32): v128 {
    return f32x4.mul(dy, sigmoid(x, zero));
  }
}

class Mish extends Long {
  @inline value(x: v128, alpha: v128, zero: i32): v128 {
    const e = exp(f32x4.neg(f32x4.abs(x)), zero);
    const negative = f32x4.lt(x, f(0, zero));
    return f32x4.mul(x, f32x4.div(mishNumerator(e, negative, zero), mishDenominator(e, negative, zero)));
  }
  @inline gradient(x: v128, dy: v128, alpha: v128, zero: i32): v128 {
    const e = exp(f32x4.neg(f32x4.abs(x)), zero);
    const negative = f32x4.lt(x, f(0, zero));
    const d = mishDenominator(e, negative, zero);
    const t = f32x4.div(mishNumerator(e, negative, zero), d);
    // 1 − t
    const complement = f32x4.div(v128.bitselect(f(2, zero), f32x4.mul(f32x4.mul(e, e), f(2, zero)), negative), d);
    const slope = f32x4.mul(f32x4.mul(x, sigmoid(x, zero)), f32x4.mul(complement, f32x4.add(t, f(1, zero))));
    return f32x4.mul(dy, f32x4.add(t, slope));
  }
}

/**
 * Runs sweep S with the activation of a number: its place in the table of
 * src/kernels/activations.ts.
 */
// @ts-ignore: decorator
@inline
export function dispatch<S>(kind: i32, x: usize, dy: usize, y: usize, alpha: f32, size: u32): void {
  switch (kind) {
    case NONE: { changetype<S>(0).none(x, dy, y, size); break; }
    case RELU: { changetype<S>(0).run<Relu>(x, dy, y, alpha, size); break; }
    case 2: { changetype<S>(0).run<Relu6>(x, dy, y, alpha, size); break; }
    case 3: { changetype<S>(0).run<LeakyRelu>(x, dy, y, alpha, size); break; }
    case 4: { changetype<S>(0).run<Elu>(x, dy, y, alpha, size); break; }
    case 5: { changetype<S>(0).run<Silu>(x, dy, y, alpha, size); break; }
    case 6: { changetype<S>(0).run<Sigmoid>(x, dy, y, alpha, size); break; }
    case 7: { changetype<S>(0).run<Tanh>(x, dy, y, alpha, size); break; }
    case 8: { changetype<S>(0).run<Gelu>(x, dy, y, alpha, size); break; }
    case 9: { changetype<S>(0).run<GeluTanh>(x, dy, y, alpha, size); break; }
    case 10: { changetype<S>(0).run<HardSwish>(x, dy, y, alpha, size); break; }
    case 11: { changetype<S>(0).run<HardSigmoid>(x, dy, y, alpha, size); break; }
    case 12: { changetype<S>(0).run<Softplus>(x, dy, y, alpha, size); break; }
    case 13: { changetype<S>(0).run<Mish>(x, dy, y, alpha, size); break; }
  }
}
