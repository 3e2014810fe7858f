// y = W·x + b on the last axis.

import { NO_ACTIVATION } from '../../kernels/activations.ts';
import { activate } from '../../kernels/inference/calls.ts';
import { linear, pack } from '../../kernels/linear/calls.ts';
import { countOf, linearShape } from '../../tensors/shape.ts';
import { allOf, held } from '../../tensors/stored.ts';
import { store } from '../../wasm/views.ts';
import { gamma, U, type Valued } from '../error-analysis.ts';
import { type Description, inPieces, type Operation, padded, type Runner } from '../operation.ts';
import {
  fitsF32,
  foldedBefore,
  foldedBehind,
  type RoundedWeights,
  roundedOf,
  roundingOf,
  valuesOf,
  type WeightAxes,
  type Weights,
} from '../weights.ts';

/** Weights `[outFeatures, inFeatures]`. */
export interface LinearOperation extends Operation, Weights {
  readonly kind: 'linear';
  readonly inFeatures: number;
  readonly outFeatures: number;
}

type Rounded = LinearOperation & RoundedWeights;
type Exact = LinearOperation;

const biasAt = ({ inFeatures, outFeatures }: Rounded, at: number) => at + padded(outFeatures) * inFeatures;

export const runLinear: Runner<Rounded> = {
  kind: 'linear',
  arity: 1,
  fuses: true,
  // the kernel adds onto what is there, but must not read where it writes
  overwrites: [1],
  name: ({ inFeatures, outFeatures }) => `linear ${inFeatures} → ${outFeatures}`,
  shape: (subject, { inFeatures, outFeatures }, [x]) => linearShape(subject, x, inFeatures, outFeatures),
  takes: ({ inFeatures }, rank) => [...new Array<number>(rank - 1).fill(Number.NaN), inFeatures],
  bytes: ({ inFeatures, outFeatures, bias }) => padded(outFeatures) * inFeatures + (bias ? padded(outFeatures) : 0),
  fill(backend, operation, at) {
    const { weight, bias, inFeatures, outFeatures } = operation;
    if (weight.writeAcross) {
      inPieces(backend, inFeatures, outFeatures, weight.writeAcross, (from, row, count) =>
        pack(backend, from, at + row * 32, count, outFeatures, outFeatures, 1, 8 * inFeatures),
      );
    } else {
      const write = (out: Float32Array, o: number) => weight.write(out, o * inFeatures);
      inPieces(backend, outFeatures, inFeatures, write, (from, o, count) =>
        pack(backend, from, at + o * inFeatures * 4, inFeatures, count, 1, inFeatures),
      );
    }
    if (bias) store(backend.heap, biasAt(operation, at), bias);
  },
  call({ backend, operation, weights, shapes, inputs: [from], residual, output, activation }) {
    const { inFeatures, outFeatures } = operation;
    const rows = countOf(shapes[0]) / inFeatures;
    const bias = operation.bias ? biasAt(operation, weights) : 0;
    const onto = shapes.length > 1 ? 1 : 0;
    return () => {
      const result = output();
      if (onto && residual() !== result) activate(backend, residual(), result, NO_ACTIVATION, rows * outFeatures);
      linear(backend, from(), weights, bias, result, activation, rows, inFeatures, outFeatures, inFeatures, 1, onto);
    };
  },
  read(fields) {
    const [inFeatures, outFeatures] = [fields.json.in, fields.json.out].map((n) => fields.whole(n, 1, 2 ** 24));
    const weight = held(fields.weight('weight', [outFeatures, inFeatures]));
    return { kind: 'linear', inFeatures, outFeatures, weight, bias: fields.optional('bias', [outFeatures]) };
  },
};

/** The operation with weights that are read by index. */
const plain = (exact: Exact) => ({ ...exact, weight: valuesOf(exact.weight) });

const axesOf = ({ inFeatures, outFeatures }: Exact): WeightAxes => ({
  outChannels: outFeatures,
  outOf: (i) => Math.floor(i / inFeatures),
  inOf: (i) => i % inFeatures,
});

/**
 * The operation with other weights, unless they are beyond f32 where the operations by themselves
 * are not.
 */
function withWeights(exact: Exact, { weight, bias }: { weight: Float64Array; bias: Float64Array }): Exact | string {
  return fitsF32(weight) && fitsF32(bias) ? { ...exact, weight, bias } : 'folded weights beyond f32';
}

export const describeLinear: Description<Exact, Rounded> = {
  runner: runLinear,
  noun: 'a linear layer',
  exact: (given) => given,
  rounded: (exact) => ({ ...exact, ...roundedOf(exact) }),
  rounding(exact, { weight }) {
    const most = roundingOf(valuesOf(exact.weight), allOf(weight), axesOf(exact)).reduce((a, b) => Math.max(a, b), 0);
    return most > 0 ? most : null;
  },
  json: ({ inFeatures, outFeatures, weight, bias }, store) => ({
    in: inFeatures,
    out: outFeatures,
    weight: store(allOf(weight), [outFeatures, inFeatures], 'weight'),
    bias: store(bias, [outFeatures], 'bias'),
  }),
  bytes: ({ weight, bias }) => 4 * (weight.length + (bias?.length ?? 0)),
  work: ({ weight }) => weight.length,
  multiplyAdds: ({ weight, outFeatures }, _shapes, y) => (weight.length / outFeatures) * countOf(y),
  analyse: ([x], exact, used) => analyseLinear(x, plain(exact), plain(used)),
  input: ({ inFeatures }) => ({ axis: -1, count: inFeatures }),
  output: ({ outFeatures }) => ({ axis: -1, count: outFeatures }),
  foldBack: (exact, map) => withWeights(exact, foldedBehind(plain(exact), axesOf(exact), map)),
  foldForward: (exact, map) => withWeights(exact, foldedBefore(plain(exact), axesOf(exact), map)),
};

type Plain = ReturnType<typeof plain>;

/** W·x + b, worked out in f32 with other weights than the exact ones. */
function analyseLinear({ shape, value, error }: Valued, exact: Plain, used: Plain): Valued {
  const { inFeatures, outFeatures } = exact;
  const rows = value.length / inFeatures;
  const out = { value: new Float64Array(rows * outFeatures), error: new Float64Array(rows * outFeatures) };
  for (let r = 0; r < rows; r++) {
    for (let o = 0; o < outFeatures; o++) {
      const b = exact.bias ? exact.bias[o] : 0;
      const usedBias = used.bias ? used.bias[o] : 0;
      let total = b;
      let inherited = Math.abs(b - usedBias);
      // running error: each product rounds, and each sum on the way, in the order in which kernels
      // add
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
