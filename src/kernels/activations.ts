import { show, showChoices, wrongKind, wrongValue } from '../errors.ts';

/** The names, in the order of their numbers in assembly/activations.ts. */
export const NAMES = [
  'none',
  'relu',
  'relu6',
  'leaky-relu',
  'elu',
  'silu',
  'sigmoid',
  'tanh',
  'gelu',
  'gelu-tanh',
  'hard-swish',
  'hard-sigmoid',
  'softplus',
  'mish',
] as const;

export type ActivationName = Exclude<(typeof NAMES)[number], 'none'>;

/**
 * An activation by name, or with its parameter: the slope of `'leaky-relu'` below 0 (default 0.01), the scale of `'elu'` below 0
 * (default 1). `'gelu'` is the exact one (erf), `'gelu-tanh'` the usual approximation.
 */
export type Activation =
  | ActivationName
  | { name: 'leaky-relu'; slope?: number }
  | { name: 'elu'; alpha?: number }
  | { name: Exclude<ActivationName, 'leaky-relu' | 'elu'> };

/** An activation as kernels take it. */
export interface ActivationCode {
  readonly kind: number;
  readonly alpha: number;
}

export const NO_ACTIVATION: ActivationCode = { kind: 0, alpha: 0 };

const PARAMETERS: Record<string, { key: 'slope' | 'alpha'; standard: number }> = {
  'leaky-relu': { key: 'slope', standard: 0.01 },
  elu: { key: 'alpha', standard: 1 },
};

export function activationName(code: ActivationCode): string {
  return NAMES[code.kind];
}

/** The activation that the numbers stand for; undefined for none. */
export function activationOf({ kind, alpha }: ActivationCode): Activation | undefined {
  if (!kind) return undefined;
  const parameter = PARAMETERS[NAMES[kind]];
  if (!parameter || alpha === parameter.standard) return NAMES[kind] as ActivationName;
  return { name: NAMES[kind], [parameter.key]: alpha } as Activation;
}

/** Checks an activation and turns it into numbers. */
export function activationCode(subject: string, activation: Activation | undefined): ActivationCode {
  if (activation === undefined) return NO_ACTIVATION;
  const given = typeof activation === 'string' ? { name: activation } : (activation as Record<string, unknown>);
  if (typeof given !== 'object' || given === null) {
    throw wrongKind('ERR_OPTION', subject, 'activation', 'a name or { name }', show(activation));
  }
  const kind = NAMES.indexOf(given.name as ActivationName);
  if (kind < 1) {
    throw wrongValue('ERR_OPTION', subject, 'activation', showChoices(NAMES.slice(1)), show(given.name));
  }
  const parameter = PARAMETERS[NAMES[kind]];
  for (const key in given) {
    if (key === 'name' || key === parameter?.key) continue;
    const known = parameter ? showChoices(['name', parameter.key]) : "'name'";
    throw wrongKind('ERR_OPTION', subject, `activation '${NAMES[kind]}'`, `the options ${known}`, show(key));
  }
  if (!parameter) return { kind, alpha: 0 };
  const { [parameter.key]: value = parameter.standard } = given as Record<string, unknown>;
  if (typeof value !== 'number' || !Number.isFinite(value)) {
    throw wrongValue('ERR_OPTION', subject, `activation '${NAMES[kind]}'`, `a finite ${parameter.key}`, show(value));
  }
  return { kind, alpha: value };
}

// ---- the formulas, in double precision: what the plain loops compute and the vector code is held against

const sigmoid = (x: number) => (x < 0 ? Math.exp(x) / (1 + Math.exp(x)) : 1 / (1 + Math.exp(-x)));
const softplus = (x: number) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const density = (x: number) => Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);
const clamp = (x: number, low: number, high: number) => Math.min(Math.max(x, low), high);
const geluArgument = (x: number) => Math.sqrt(8 / Math.PI) * (x + 0.044715 * x ** 3);

/** Φ(x): by its series near 0, by a continued fraction in the tails. */
export function normalCdf(x: number): number {
  const a = Math.abs(x);
  if (!(a < 40)) return Number.isNaN(x) ? x : x < 0 ? 0 : 1;
  if (a < 3) {
    let term = x;
    let sum = x;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= (x * x) / (2 * n + 1);
      sum += term;
    }
    return 0.5 + sum * density(x);
  }
  let fraction = a;
  for (let k = 60; k >= 1; k--) fraction = a + k / fraction;
  const tail = density(a) / fraction;
  return x < 0 ? tail : 1 - tail;
}

/** The activation's value. */
export function activate(kind: number, x: number, alpha: number): number {
  switch (NAMES[kind]) {
    case 'relu':
      return Math.max(x, 0);
    case 'relu6':
      return clamp(x, 0, 6);
    case 'leaky-relu':
      return x < 0 ? x * alpha : x;
    case 'elu':
      return x < 0 ? alpha * Math.expm1(x) : x;
    case 'silu':
      return x * sigmoid(x);
    case 'sigmoid':
      return sigmoid(x);
    case 'tanh':
      return Math.tanh(x);
    case 'gelu':
      return x * normalCdf(x);
    case 'gelu-tanh':
      return x * sigmoid(geluArgument(x));
    case 'hard-swish':
      return (x * clamp(x + 3, 0, 6)) / 6;
    case 'hard-sigmoid':
      return clamp(x + 3, 0, 6) / 6;
    case 'softplus':
      return softplus(x);
    case 'mish':
      return x * Math.tanh(softplus(x));
    default:
      return x;
  }
}

/** The activation's derivative; at corners what PyTorch takes. */
export function derivative(kind: number, x: number, alpha: number): number {
  switch (NAMES[kind]) {
    case 'relu':
      return x <= 0 ? 0 : 1;
    case 'relu6':
      return x <= 0 || x >= 6 ? 0 : 1;
    case 'leaky-relu':
      return x <= 0 ? alpha : 1;
    case 'elu':
      return x <= 0 ? alpha * Math.exp(x) : 1;
    case 'silu': {
      const s = sigmoid(x);
      return s * (1 + x * (1 - s));
    }
    case 'sigmoid': {
      const e = Math.exp(-Math.abs(x));
      return e / (1 + e) ** 2;
    }
    case 'tanh': {
      const e = Math.exp(-2 * Math.abs(x));
      return (4 * e) / (1 + e) ** 2;
    }
    case 'gelu':
      return normalCdf(x) + x * density(x);
    case 'gelu-tanh': {
      const z = clamp(x, -30, 30); // beyond, 0 or 1
      const s = sigmoid(geluArgument(z));
      return s * (1 + z * (1 - s) * Math.sqrt(8 / Math.PI) * (1 + 3 * 0.044715 * z * z));
    }
    case 'hard-swish':
      return x < -3 ? 0 : x >= 3 ? 1 : (2 * x + 3) / 6;
    case 'hard-sigmoid':
      return x <= -3 || x >= 3 ? 0 : 1 / 6;
    case 'softplus':
      return sigmoid(x);
    case 'mish': {
      const t = Math.tanh(softplus(x));
      return t + x * sigmoid(x) * (1 - t * t);
    }
    default:
      return 1;
  }
}
