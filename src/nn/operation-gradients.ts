// Gradients of operations that compiled networks have beside those of layers. Here are what moves
// values, sums and means, functions of one value and of two. In f64, rounded once.

import type { Operation } from '../graph/operation.ts';
import type { BinaryFunction, BinaryOperation } from '../graph/operations/binary.ts';
import { descriptionOf } from '../graph/operations/every.ts';
import { describeReduce, type ReduceOperation, type ReductionName } from '../graph/operations/reduce.ts';
import type { UnaryFunction, UnaryOperation } from '../graph/operations/unary.ts';
import { eachRow, walkOver } from '../tensors/broadcast.ts';
import { countOf, shapeOf } from '../tensors/shape.ts';
import type { TensorLike } from '../tensors/tensor.ts';
import { type Backward, flat } from './gradients/backward.ts';
import { scanGradient, scatterGradient, selectGradient, whereGradient } from './gradients/places.ts';
import { matmulGradient, weightedGradient } from './gradients/products.ts';
import { recurrentGradient, recurrentLayerGradient } from './gradients/recurrent.ts';
import { gridSampleGradient, resizeGradient, windowGradient } from './gradients/resampling.ts';

/** f′(x), at corners what PyTorch takes; what jumps, as rounding does, is not here: 0. */
const SLOPES: Readonly<Partial<Record<UnaryFunction, (x: number, a: number, b: number) => number>>> = {
  exp: Math.exp,
  log: (x) => 1 / x,
  sqrt: (x) => 0.5 / Math.sqrt(x),
  reciprocal: (x) => -1 / (x * x),
  square: (x) => 2 * x,
  abs: Math.sign,
  neg: () => -1,
  erf: (x) => (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x),
  sin: Math.cos,
  cos: (x) => -Math.sin(x),
  tan: (x) => 1 / Math.cos(x) ** 2,
  asin: (x) => 1 / Math.sqrt(1 - x * x),
  acos: (x) => -1 / Math.sqrt(1 - x * x),
  atan: (x) => 1 / (1 + x * x),
  sinh: Math.cosh,
  cosh: Math.sinh,
  asinh: (x) => 1 / Math.sqrt(x * x + 1),
  acosh: (x) => 1 / Math.sqrt(x * x - 1),
  atanh: (x) => 1 / (1 - x * x),
  clip: (x, a, b) => (x >= a && x <= b ? 1 : 0),
  celu: (x, a) => (x > 0 ? 1 : Math.exp(x / a)),
  threshold: (x, a) => (x > a ? 1 : 0),
  shrink: (x, a) => (x < -a || x > a ? 1 : 0),
  selu: (x, a, b) => (x > 0 ? b : b * a * Math.exp(x)),
  'hard-sigmoid': (x, a, b) => (a * x + b > 0 && a * x + b < 1 ? a : 0),
  swish(x, a) {
    const s = 1 / (1 + Math.exp(-a * x));
    return s + a * x * s * (1 - s);
  },
};

type Two = (a: number, b: number) => number;

/** ∂f/∂a and ∂f/∂b; of equals each gets half, as in PyTorch. */
const PARTIAL: Readonly<Partial<Record<BinaryFunction, readonly [Two, Two]>>> = {
  sub: [() => 1, () => -1],
  div: [(_, b) => 1 / b, (a, b) => -a / (b * b)],
  pow: [(a, b) => (b === 0 ? 0 : b * a ** (b - 1)), (a, b) => (a === 0 && b >= 0 ? 0 : a ** b * Math.log(a))],
  max: [(a, b) => (a > b ? 1 : a < b ? 0 : 0.5), (a, b) => (a < b ? 1 : a > b ? 0 : 0.5)],
  min: [(a, b) => (a < b ? 1 : a > b ? 0 : 0.5), (a, b) => (a > b ? 1 : a < b ? 0 : 0.5)],
  mod: [() => 1, (a, b) => -Math.floor(a / b)],
  fmod: [() => 1, (a, b) => -Math.trunc(a / b)],
  prelu: [(a, b) => (a > 0 ? 1 : b), (a) => (a > 0 ? 0 : a)],
};

/** Operations whose every output is an input, or no input's. */
const MOVES = ['transpose', 'slice', 'expand', 'shape-to', 'surround', 'reverse', 'gather'];
/** Those among them whose inputs say what goes where. */
const BY_VALUE = ['reverse', 'gather'];

/** Gradients by kinds of operations. */
const GRADIENTS: Readonly<Record<string, (operation: never) => Backward>> = {
  unary,
  binary,
  reduce: reduced,
  matmul: () => matmulGradient,
  weighted: weightedGradient,
  where: () => whereGradient,
  scan: scanGradient,
  select: selectGradient,
  scatter: scatterGradient,
  resize: resizeGradient,
  window: windowGradient,
  'grid-sample': gridSampleGradient,
  recurrent: recurrentGradient,
  'recurrent-layer': recurrentLayerGradient,
  constant: () => flat,
  numbers: () => flat,
};

/** The backward of an operation that networks from files have beside layers. */
export function gradientOf(operation: Operation): Backward {
  const { kind } = operation;
  return MOVES.includes(kind) ? moved(operation) : GRADIENTS[kind](operation as never);
}

/** dx[place] = Σ dy of the outputs that the place went to: found by moving numbers of places. */
function moved(operation: Operation): Backward {
  const description = descriptionOf(operation.kind);
  // places of the border are nobody's
  const own = operation.kind === 'surround' ? ({ ...operation, value: 0 } as Operation) : operation;
  let known = '';
  let places = new Float64Array();
  const find = (xs: readonly TensorLike[]) => {
    const shapes = xs.map(shapeOf);
    const key = JSON.stringify(shapes);
    if (key === known && !BY_VALUE.includes(operation.kind)) return;
    const given = shapes.map((shape, i) => {
      const size = countOf(shape);
      const value = i === 0 ? Float64Array.from({ length: size }, (_, k) => k + 1) : Float64Array.from(xs[i].data);
      return { shape, value, error: new Float64Array(size) };
    });
    places = Float64Array.from(description.analyse(given, own, description.rounded(own)).value);
    known = key;
  };
  return ({ data: g }, xs, [dx, ...others]) => {
    // of the others their shapes count, or whole numbers
    for (const other of others) other?.data.fill(0);
    if (!dx) return;
    const sums = new Float64Array(dx.data.length);
    if (g.length > 0) {
      find(xs);
      for (let i = 0; i < g.length; i++) if (places[i] > 0) sums[places[i] - 1] += g[i];
    }
    dx.data.set(sums);
  };
}

function unary({ of, a, b }: UnaryOperation): Backward {
  const slope = SLOPES[of];
  if (!slope) return flat;
  return ({ data: g }, [{ data: x }], [dx]) => {
    for (let i = 0; dx && i < g.length; i++) dx.data[i] = g[i] * slope(x[i], a, b);
  };
}

function binary({ of }: BinaryOperation): Backward {
  const partial = PARTIAL[of];
  if (!partial) return flat;
  return (dy, [a, b], dxs) => {
    const g = dy.data;
    const shape = shapeOf(dy);
    const walk = walkOver(shape, [shape, shapeOf(a), shapeOf(b)]);
    dxs.forEach((dx, which) => {
      if (!dx) return;
      const sums = new Float64Array(dx.data.length);
      eachRow(walk, ([i, k, l], length, [, p, q]) => {
        for (let j = 0; j < length; j++) {
          const at = which === 0 ? k + j * p : l + j * q;
          sums[at] += g[i + j] * partial[which](a.data[k + j * p], b.data[l + j * q]);
        }
      });
      dx.data.set(sums);
    });
  };
}

/** ∂y/∂x of sums that are no means, from x and y; of a root of 0 it is 0, as in PyTorch. */
const SHARES: Readonly<Partial<Record<ReductionName, (x: number, y: number) => number>>> = {
  sum: () => 1,
  l1: Math.sign,
  l2: (x, y) => (y === 0 ? 0 : x / y),
  'sum-square': (x) => 2 * x,
  'log-sum': (_, y) => Math.exp(-y),
  'log-sum-exp': (x, y) => Math.exp(x - y),
};

/** Sums and means; of a product the product of the others; of the largest or least each a share. */
function reduced(operation: ReduceOperation): Backward {
  const { of, axes } = operation;
  return ({ data: g }, [x], [dx]) => {
    if (!dx || dx.data.length === 0) return;
    const shape = shapeOf(x);
    const gone = new Set(axes?.map((axis) => (axis < 0 ? axis + shape.length : axis)) ?? shape.keys());
    const kept = shape.map((length, axis) => (gone.has(axis) ? 1 : length));
    const walk = walkOver(shape, [shape, kept]);
    const visit = (one: (i: number, at: number) => void) =>
      eachRow(walk, ([i, k], length, [step, p]) => {
        for (let j = 0; j < length; j++) one(i + j * step, k + j * p);
      });
    const from = x.data;
    const to = dx.data;
    const share = of === 'mean' ? () => g.length / from.length : SHARES[of];
    if (share) {
      const { value: y } = describeReduce.analyse([exactly(x)], operation, operation);
      visit((i, at) => {
        to[i] = g[at] * share(from[i], y[at]);
      });
      return;
    }
    if (of === 'prod') {
      const product = new Float64Array(g.length).fill(1);
      const zeros = new Float64Array(g.length);
      visit((i, at) => {
        if (from[i] === 0) zeros[at]++;
        else product[at] *= from[i];
      });
      visit((i, at) => {
        const isOther = zeros[at] > (from[i] === 0 ? 1 : 0);
        to[i] = isOther ? 0 : g[at] * (from[i] === 0 ? product[at] : product[at] / from[i]);
      });
      return;
    }
    const sign = of === 'max' ? 1 : -1;
    const best = new Float64Array(g.length).fill(Number.NEGATIVE_INFINITY);
    const count = new Float64Array(g.length);
    visit((i, at) => {
      const value = sign * from[i];
      if (value > best[at]) [best[at], count[at]] = [value, 0];
      if (value === best[at]) count[at]++;
    });
    visit((i, at) => {
      to[i] = sign * from[i] === best[at] ? g[at] / count[at] : 0;
    });
  };
}

const exactly = (x: TensorLike) => {
  const value = Float64Array.from(x.data);
  return { shape: shapeOf(x), value, error: new Float64Array(value.length) };
};
