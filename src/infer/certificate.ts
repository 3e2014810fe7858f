// How far a compiled network may be from the network it was made from, on given inputs: a running error analysis in f64 (Higham, Accuracy and
// Stability of Numerical Algorithms, chapter 3) of both, side by side.

import type { ActivationCode, ActivationName } from '../kernels/activations.ts';
import { activate, activationName, SLOPES } from '../kernels/activations.ts';
import type { AffineStage, LinearStage, Stage } from '../layers/layer.ts';
import { planOf } from '../layers/plan.ts';
import { shapeOf } from '../tensors/shape.ts';
import type { PlainTensor } from '../types.ts';
import type { Node } from './optimize.ts';
import type { Step } from './program.ts';

/** What compiling a network costs in digits, per output channel, on the samples that were given. */
export interface NetworkCertificate {
  /** `run(x)` and `net.eval().forward(x)` differ by no more than this: rounded weights, and the arithmetic of both in f32. */
  readonly bound: Float64Array;
  /** The largest difference between `run(x)` and the network worked out in f64. */
  readonly measured: Float64Array;
}

/** Values, and how far the f32 ones may be from them. */
interface Valued {
  readonly shape: readonly number[];
  readonly value: Float64Array;
  readonly error: Float64Array;
}

/** Unit roundoff of f32. */
const U = 2 ** -24;
/** Rounding of activations: 4 units in the last place at the most (test/backends/activations.test.ts), and of what they are made of. */
const ACTIVATION_ROUNDING = 8 * U;
/** γ of a sum of n terms. */
const gamma = (terms: number) => (terms * U) / (1 - terms * U);

/** `stages` in f64, and the error of their evaluation in f32 layer by layer. */
function throughStages(stages: readonly Stage[], input: Valued): Valued {
  let current = input;
  for (const stage of stages) {
    if (stage.kind === 'linear') current = linear(current, stage, stage);
    else if (stage.kind === 'affine') current = affine(current, stage, stage);
    else if (stage.kind === 'activation') current = activated(current, stage.activation);
    else if (stage.kind === 'residual') current = sum(throughStages(stage.branch, current), current);
  }
  return current;
}

/** The same through steps, whose weights are known exactly and rounded. */
function throughSteps(nodes: readonly Node[], steps: readonly Step[], input: Valued): Valued {
  const values = [input];
  steps.forEach(({ operation, x, add, activation }, i) => {
    const exact = nodes[i].operation;
    let y = values[x];
    if (exact.kind === 'linear') y = linear(y, exact, operation as LinearStage);
    else if (exact.kind === 'affine') y = affine(y, exact, operation as AffineStage);
    if (add >= 0) y = sum(y, values[add]);
    values.push(activated(y, activation));
  });
  return values[values.length - 1];
}

/** W·x + b, worked out in f32 with other weights than the exact ones. */
function linear({ shape, value, error }: Valued, exact: LinearStage, used: LinearStage): Valued {
  const { inFeatures, outFeatures } = exact;
  const rows = value.length / inFeatures;
  const out = { value: new Float64Array(rows * outFeatures), error: new Float64Array(rows * outFeatures) };
  for (let r = 0; r < rows; r++) {
    for (let o = 0; o < outFeatures; o++) {
      const b = exact.bias ? exact.bias[o] : 0;
      const usedBias = used.bias ? used.bias[o] : 0;
      let total = b;
      let inherited = Math.abs(b - usedBias);
      // running error: each product rounds, and each sum on the way, in the order in which kernels add
      let partial = 0;
      let rounded = 0;
      for (let i = 0, w = o * inFeatures, k = r * inFeatures; i < inFeatures; i++, w++, k++) {
        const term = used.weight[w] * value[k];
        const lost = Math.abs(used.weight[w]) * error[k];
        total += exact.weight[w] * value[k];
        inherited += lost + Math.abs(exact.weight[w] - used.weight[w]) * Math.abs(value[k]);
        partial += term;
        rounded += Math.abs(partial) + Math.abs(term) + 2 * inherited;
      }
      rounded += Math.abs(partial + usedBias) + 2 * inherited;
      out.value[r * outFeatures + o] = total;
      // sums on the way may be off by what was rounded before: 1 + γ covers that
      out.error[r * outFeatures + o] = inherited + U * rounded * (1 + 2 * gamma(inFeatures + 2));
    }
  }
  return { shape: [...shape.slice(0, -1), outFeatures], ...out };
}

/** (x − center)·scale + shift, whose coefficients are rounded to f32. */
function affine({ shape, value, error }: Valued, exact: AffineStage, used: AffineStage): Valued {
  const { channels, inner } = planOf('certificate', shape, exact.scale.length, exact.layout, exact.ranks);
  const out = { value: new Float64Array(value.length), error: new Float64Array(value.length) };
  for (let i = 0; i < value.length; i++) {
    const c = Math.floor(i / inner) % channels;
    const [s, t] = [exact.scale[c], exact.shift[c]];
    const x = value[i] - exact.center[c];
    const reach = Math.abs(x) + error[i];
    const lost = Math.abs(s - Math.fround(used.scale[c])) * Math.abs(x) + Math.abs(t - Math.fround(used.shift[c]));
    out.value[i] = x * s + t;
    out.error[i] = Math.abs(s) * (1 + 3 * U) * error[i] + lost + gamma(4) * (Math.abs(s) * reach + Math.abs(t));
  }
  return { shape, ...out };
}

function activated(input: Valued, code: ActivationCode): Valued {
  if (code.kind === 0) return input;
  const { steepest: own, exact } = SLOPES[activationName(code) as ActivationName];
  const steepest = Math.max(own, Math.abs(code.alpha));
  const value = input.value.map((x) => activate(code.kind, x, code.alpha));
  const error = input.error.map((e, i) => {
    const rounding = exact ? 0 : ACTIVATION_ROUNDING * (Math.abs(value[i]) + Math.min(Math.abs(input.value[i]), 1));
    return steepest * e + rounding;
  });
  return { shape: input.shape, value, error };
}

function sum(a: Valued, b: Valued): Valued {
  const value = a.value.map((x, i) => x + b.value[i]);
  const error = a.error.map((e, i) => e + b.error[i] + U * (Math.abs(value[i]) + e + b.error[i]));
  return { shape: a.shape, value, error };
}

/** Runs the samples through everything. `run` is the compiled network. */
export function certify(
  stages: readonly Stage[],
  nodes: readonly Node[],
  steps: readonly Step[],
  samples: PlainTensor,
  run: (x: PlainTensor) => PlainTensor,
): NetworkCertificate {
  const shape = shapeOf(samples);
  const input = { shape, value: Float64Array.from(samples.data), error: new Float64Array(samples.data.length) };
  const forward = throughStages(stages, input);
  const compiled = throughSteps(nodes, steps, input);
  const got = run({ data: Float32Array.from(samples.data), shape }).data;
  const [channels, inner] = axisOf(stages, forward.shape);
  const bound = new Float64Array(channels);
  const measured = new Float64Array(channels);
  forward.value.forEach((truth, i) => {
    const c = Math.floor(i / inner) % channels;
    bound[c] = Math.max(bound[c], forward.error[i] + compiled.error[i]);
    measured[c] = Math.max(measured[c], Math.abs(truth - got[i]));
  });
  return { bound, measured };
}

/** Channels of an output, and the values of each that lie side by side: axis 1 where a norm has its channels first, else the last. */
function axisOf(stages: readonly Stage[], shape: readonly number[]): [channels: number, inner: number] {
  const first = stages.some((stage) => stage.kind === 'affine' && stage.layout === 'channels-first');
  if (!first || shape.length < 3) return [shape[shape.length - 1], 1];
  return [shape[1], shape.slice(2).reduce((product, length) => product * length, 1)];
}
