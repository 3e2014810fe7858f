// Activations beyond those that kernels apply (src/kernels/activations.ts): formulas in f64, value
// by value.

import { type ActivationCode, activationCode } from '../kernels/activations.ts';

/** One of them as data. */
export type Curve =
  /** min(max(slope·x + shift, low), high) */
  | {
      readonly curve: 'clamp';
      readonly slope: number;
      readonly shift: number;
      readonly low: number;
      readonly high: number;
    }
  | { readonly curve: 'selu' | 'softsign' };

interface Formula {
  readonly value: (x: number) => number;
  /** f′(x); at corners what PyTorch takes. */
  readonly slope: (x: number) => number;
  /** The largest |f′|. */
  readonly steepest: number;
}

// Klambauer, Unterthiner, Mayr & Hochreiter 2017
const SELU_SCALE = 1.0507009873554805;
const SELU_ALPHA = 1.6732632423543772;

const SELU: Formula = {
  value: (x) => SELU_SCALE * (x > 0 ? x : SELU_ALPHA * Math.expm1(x)),
  slope: (x) => SELU_SCALE * (x > 0 ? 1 : SELU_ALPHA * Math.exp(x)),
  steepest: 1.7580993408473766,
};

const SOFTSIGN: Formula = {
  value: (x) => x / (1 + Math.abs(x)),
  slope: (x) => 1 / (1 + Math.abs(x)) ** 2,
  steepest: 1,
};

export function formulaOf(given: Curve): Formula {
  if (given.curve !== 'clamp') return given.curve === 'selu' ? SELU : SOFTSIGN;
  const { slope, shift, low, high } = given;
  return {
    value(x) {
      const v = slope * x + shift;
      return v < low ? low : v > high ? high : v;
    },
    slope(x) {
      const v = slope * x + shift;
      return v <= low || v >= high ? 0 : slope;
    },
    steepest: Math.abs(slope),
  };
}

/** The activation of kernels that does the same, if there is one: it can be fused. */
export function codeOf(given: Curve): ActivationCode | undefined {
  if (given.curve !== 'clamp') return undefined;
  const { slope, shift, low, high } = given;
  if (slope === 1 && shift === 0 && low === 0 && high === 6) return activationCode('activation', 'relu6');
  const isHard = slope === 1 / 6 && shift === 0.5 && low === 0 && high === 1;
  return isHard ? activationCode('activation', 'hard-sigmoid') : undefined;
}
