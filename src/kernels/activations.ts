// Activations: their rows, by name, in the order of their numbers. A row has its vector code in
// assembly/activations.ts, and here one line in each of four columns, whose types demand it: what
// evaluation reads, what training reads, what certificates and diagnoses read, and what files of
// others say. A bundle carries the columns it reads.

import { show, showChoices, wrongKind, wrongValue } from '../errors.ts';

// ---- the formulas in f64: the plain loops compute them, the vector code is compared with them

const sigmoid = (x: number) => (x < 0 ? Math.exp(x) / (1 + Math.exp(x)) : 1 / (1 + Math.exp(-x)));
const softplus = (x: number) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const density = (x: number) => Math.exp(-0.5 * x * x) / Math.sqrt(2 * Math.PI);
const clamp = (x: number, low: number, high: number) => Math.min(Math.max(x, low), high);
/** e/(1 + e)², the slope of the sigmoid at ±log(e). */
const hill = (e: number) => e / (1 + e) ** 2;
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

function geluTanhSlope(x: number): number {
  const z = clamp(x, -30, 30); // beyond, 0 or 1
  const s = sigmoid(geluArgument(z));
  return s * (1 + z * (1 - s) * Math.sqrt(8 / Math.PI) * (1 + 3 * 0.044715 * z * z));
}

function mishSlope(x: number): number {
  const t = Math.tanh(softplus(x));
  return t + x * sigmoid(x) * (1 - t * t);
}

/** f(x), and where it has a parameter, which formulas call alpha, that one's name and default. */
interface Value {
  readonly value: (x: number, alpha: number) => number;
  readonly parameter?: string;
  readonly standard?: number;
}

/** The activations that kernels know, by name. `Activation` gives their parameters. */
export type ActivationName =
  | 'relu'
  | 'relu6'
  | 'leaky-relu'
  | 'elu'
  | 'silu'
  | 'sigmoid'
  | 'tanh'
  | 'gelu'
  | 'gelu-tanh'
  | 'hard-swish'
  | 'hard-sigmoid'
  | 'softplus'
  | 'mish';

const VALUES = {
  none: { value: (x) => x },
  relu: { value: (x) => Math.max(x, 0) },
  relu6: { value: (x) => clamp(x, 0, 6) },
  'leaky-relu': { value: (x, alpha) => (x < 0 ? x * alpha : x), parameter: 'slope', standard: 0.01 },
  elu: { value: (x, alpha) => (x < 0 ? alpha * Math.expm1(x) : x), parameter: 'alpha', standard: 1 },
  silu: { value: (x) => x * sigmoid(x) },
  sigmoid: { value: sigmoid },
  tanh: { value: Math.tanh },
  gelu: { value: (x) => x * normalCdf(x) },
  'gelu-tanh': { value: (x) => x * sigmoid(geluArgument(x)) },
  'hard-swish': { value: (x) => (x * clamp(x + 3, 0, 6)) / 6 },
  'hard-sigmoid': { value: (x) => clamp(x + 3, 0, 6) / 6 },
  softplus: { value: softplus },
  mish: { value: (x) => x * Math.tanh(softplus(x)) },
} as const satisfies Record<ActivationName | 'none', Value>;

/** f′(x); at corners what PyTorch takes. */
const SLOPES: Readonly<Record<ActivationName, (x: number, alpha: number) => number>> = {
  relu: (x) => (x <= 0 ? 0 : 1),
  relu6: (x) => (x <= 0 || x >= 6 ? 0 : 1),
  'leaky-relu': (x, alpha) => (x <= 0 ? alpha : 1),
  elu: (x, alpha) => (x <= 0 ? alpha * Math.exp(x) : 1),
  silu: (x) => sigmoid(x) * (1 + x * (1 - sigmoid(x))),
  sigmoid: (x) => hill(Math.exp(-Math.abs(x))),
  tanh: (x) => 4 * hill(Math.exp(-2 * Math.abs(x))),
  gelu: (x) => normalCdf(x) + x * density(x),
  'gelu-tanh': geluTanhSlope,
  'hard-swish': (x) => (x < -3 ? 0 : x >= 3 ? 1 : (2 * x + 3) / 6),
  'hard-sigmoid': (x) => (x <= -3 || x >= 3 ? 0 : 1 / 6),
  softplus: sigmoid,
  mish: mishSlope,
};

/** What is known of f and f′. */
interface Bounds {
  /**
   * The largest |f′|, rounded up by no more than 5 %; with a parameter, where |alpha| is not beyond
   * it.
   */
  readonly steepest: number;
  /** The value neither rounds nor scales. */
  readonly exact?: true;
  /** Values level off at these: units beyond 97 % of the way are reported as saturated. */
  readonly saturates?: readonly [low: number, high: number];
}

export const BOUNDS: Readonly<Record<ActivationName, Bounds>> = {
  relu: { steepest: 1, exact: true },
  relu6: { steepest: 1, exact: true },
  'leaky-relu': { steepest: 1 },
  elu: { steepest: 1 },
  silu: { steepest: 1.1 },
  sigmoid: { steepest: 0.25, saturates: [0, 1] },
  tanh: { steepest: 1, saturates: [-1, 1] },
  gelu: { steepest: 1.13 },
  'gelu-tanh': { steepest: 1.13 },
  'hard-swish': { steepest: 1.5 },
  'hard-sigmoid': { steepest: 0.17, saturates: [0, 1] },
  softplus: { steepest: 1 },
  mish: { steepest: 1.09 },
};

/** One of the ONNX nodes of an activation; each takes what the one before it returns. */
interface OnnxStep {
  readonly op: string;
  /** The version of ONNX that the operator came with, where that is not old. */
  readonly opset?: number;
  readonly attributes?: Readonly<Record<string, number | string>>;
  /** The attribute that is the activation's parameter, with the same default. */
  readonly parameter?: string;
  /** Further inputs: constants by name, or `'x'`, what the activation was given. */
  readonly inputs?: Readonly<Record<string, number>> | 'x';
}

/** What the activation is called elsewhere. */
interface Foreign {
  readonly onnx: readonly [OnnxStep, ...OnnxStep[]];
  /** Names, as a layer's `activation`; none where Keras has no such activation. */
  readonly keras: readonly string[];
  /** The parameter that a name alone stands for, where it is not our default. */
  readonly kerasParameter?: number;
}

export const FOREIGN: Readonly<Record<ActivationName, Foreign>> = {
  relu: { onnx: [{ op: 'Relu' }], keras: ['relu'] },
  relu6: { onnx: [{ op: 'Clip', inputs: { min: 0, max: 6 } }], keras: ['relu6'] },
  'leaky-relu': { onnx: [{ op: 'LeakyRelu', parameter: 'alpha' }], keras: ['leaky_relu'], kerasParameter: 0.2 },
  elu: { onnx: [{ op: 'Elu', parameter: 'alpha' }], keras: ['elu'] },
  silu: { onnx: [{ op: 'Sigmoid' }, { op: 'Mul', inputs: 'x' }], keras: ['silu', 'swish'] },
  sigmoid: { onnx: [{ op: 'Sigmoid' }], keras: ['sigmoid'] },
  tanh: { onnx: [{ op: 'Tanh' }], keras: ['tanh'] },
  gelu: { onnx: [{ op: 'Gelu', opset: 20 }], keras: ['gelu'] },
  'gelu-tanh': { onnx: [{ op: 'Gelu', opset: 20, attributes: { approximate: 'tanh' } }], keras: ['gelu_new'] },
  'hard-swish': { onnx: [{ op: 'HardSwish', opset: 14 }], keras: ['hard_silu', 'hard_swish'] },
  'hard-sigmoid': {
    // 1/6; a quotient stays in bundles
    onnx: [{ op: 'HardSigmoid', attributes: { alpha: 0.16666666666666666, beta: 0.5 } }],
    keras: ['hard_sigmoid'],
  },
  softplus: { onnx: [{ op: 'Softplus' }], keras: ['softplus'] },
  mish: { onnx: [{ op: 'Mish', opset: 18 }], keras: ['mish'] },
};

// ---- activations as options and as numbers

const ROWS: readonly Value[] = /* @__PURE__ */ Object.values(VALUES);

/** The names in the order of their numbers; number 0 is none. */
export const NAMES = /* @__PURE__ */ Object.keys(VALUES) as ['none', ...ActivationName[]];
export const ACTIVATIONS = /* @__PURE__ */ NAMES.slice(1) as readonly ActivationName[];

/**
 * An activation by name, or with its parameter: the slope of `'leaky-relu'` below 0, the scale of
 * `'elu'` below 0. `'gelu'` is the exact one, x·Φ(x), and `'gelu-tanh'` its approximation by tanh.
 */
export type Activation =
  | ActivationName
  | {
      /** An activation without a parameter. */
      name: Exclude<ActivationName, 'leaky-relu' | 'elu'>;
    }
  | {
      /** x where x ≥ 0, slope·x below. */
      name: 'leaky-relu';
      /** Default 0.01. */
      slope?: number;
    }
  | {
      /** x where x ≥ 0, alpha·(eˣ − 1) below. */
      name: 'elu';
      /** Default 1. */
      alpha?: number;
    };

/** An activation as kernels take it. */
export interface ActivationCode {
  readonly kind: number;
  readonly alpha: number;
}

export const NO_ACTIVATION: ActivationCode = { kind: 0, alpha: 0 };

export function activationName(code: ActivationCode): string {
  return NAMES[code.kind];
}

/** The activation that the numbers stand for; undefined for none. */
export function activationOf({ kind, alpha }: ActivationCode): Activation | undefined {
  if (!kind) return undefined;
  const name = NAMES[kind] as ActivationName;
  const { parameter, standard } = ROWS[kind];
  return !parameter || alpha === standard ? name : ({ name, [parameter]: alpha } as Activation);
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
    throw wrongValue('ERR_OPTION', subject, 'activation', showChoices(ACTIVATIONS), show(given.name));
  }
  const { parameter, standard } = ROWS[kind];
  for (const key in given) {
    if (key === 'name' || key === parameter) continue;
    const known = parameter ? showChoices(['name', parameter]) : "'name'";
    throw wrongKind('ERR_OPTION', subject, `activation '${NAMES[kind]}'`, `the options ${known}`, show(key));
  }
  if (!parameter) return { kind, alpha: 0 };
  const { [parameter]: value = standard } = given as Record<string, unknown>;
  if (typeof value !== 'number' || !Number.isFinite(value)) {
    throw wrongValue('ERR_OPTION', subject, `activation '${NAMES[kind]}'`, `a finite ${parameter}`, show(value));
  }
  return { kind, alpha: value };
}

/** The activation's value. */
export function activate(kind: number, x: number, alpha: number): number {
  return ROWS[kind].value(x, alpha);
}

/** The activation's derivative; at corners what PyTorch takes. */
export function derivative(kind: number, x: number, alpha: number): number {
  return kind ? SLOPES[NAMES[kind] as ActivationName](x, alpha) : 1;
}
