// Products of matrices, both of which come at run time: [..., n, k]·[..., k, m]; leading axes
// broadcast.

import { wrongValue } from '../../errors.ts';
import { NO_ACTIVATION } from '../../kernels/activations.ts';
import { linear, pack } from '../../kernels/linear/calls.ts';
import { broadcastShape } from '../../tensors/broadcast.ts';
import { countOf, differs, showSymbolic } from '../../tensors/shape.ts';
import { indexOf } from '../../wasm/views.ts';
import { gamma } from '../error-analysis.ts';
import { type Operation, padded, type Runner, type Shape } from '../operation.ts';
import { type Plain, plainDescription } from '../plain.ts';

export interface MatmulOperation extends Operation {
  readonly kind: 'matmul';
}

/** Vectors as matrices, and the shape of the product. Throws ERR_SHAPE. */
export function matricesOf(
  subject: string,
  [a, b]: readonly Shape[],
): { a: Shape; b: Shape; outer: Shape; shape: Shape } {
  const wrong = () => {
    const got = `${showSymbolic(a)} and ${showSymbolic(b)}`;
    return wrongValue('ERR_SHAPE', subject, 'the inputs', 'matrices whose inner lengths agree', got);
  };
  if (a.length < 1 || b.length < 1) throw wrong();
  const left = a.length === 1 ? [1, ...a] : a;
  const right = b.length === 1 ? [...b, 1] : b;
  if (differs(left[left.length - 1], right[right.length - 2])) throw wrong();
  const outer = broadcastShape(subject, 'the inputs', [left.slice(0, -2), right.slice(0, -2)]);
  const shape = [
    ...outer,
    ...(a.length === 1 ? [] : [left[left.length - 2]]),
    ...(b.length === 1 ? [] : [right[right.length - 1]]),
  ];
  return { a: left, b: right, outer, shape };
}

/** Where each matrix of a broadcast operand begins. */
export function beginnings(shape: Shape, outer: Shape): Int32Array {
  const own = shape.slice(0, -2);
  const size = countOf(shape.slice(-2));
  let places = Int32Array.of(0);
  outer.forEach((length, axis) => {
    const at = axis - outer.length + own.length;
    const stays = at < 0 || own[at] === 1;
    const step = stays ? 0 : countOf(own.slice(at + 1)) * size;
    const next = new Int32Array(places.length * length);
    places.forEach((place, i) => {
      for (let k = 0; k < length; k++) next[i * length + k] = place + k * step;
    });
    places = next;
  });
  return places;
}

const name = () => 'matrix product';
const shapeOf = (subject: string, _: MatmulOperation, shapes: readonly Shape[]) => matricesOf(subject, shapes).shape;
const read = (): MatmulOperation => ({ kind: 'matmul' });

/** In f64, for certificates and constants. */
const plain: Plain<MatmulOperation> = {
  kind: 'matmul',
  arity: 2,
  name,
  shape: shapeOf,
  prepare(_operation, shapes) {
    const { a, b, outer, shape } = matricesOf('matrix product', shapes);
    const [n, k, m] = [a[a.length - 2], a[a.length - 1], b[b.length - 1]];
    const [lefts, rights] = [beginnings(a, outer), beginnings(b, outer)];
    const row = new Float64Array(m);
    if (countOf(shape) === 0) return () => {};
    return ([x, w], [from, at], y, to) => {
      let out = to;
      for (let o = 0; o < lefts.length; o++) {
        for (let i = 0; i < n; i++, out += m) {
          row.fill(0);
          for (let p = 0, left = from + lefts[o] + i * k; p < k; p++) {
            const factor = x[left + p];
            for (let j = 0, right = at + rights[o] + p * m; j < m; j++) row[j] += factor * w[right + j];
          }
          for (let j = 0; j < m; j++) y[out + j] = row[j];
        }
      }
    };
  },
  read,
};

/** The right matrix is packed, and the kernel of linear layers multiplies. */
export const runMatmul: Runner<MatmulOperation> = {
  kind: 'matmul',
  arity: 2,
  fuses: false,
  overwrites: [],
  name,
  shape: shapeOf,
  scratch(_operation, shapes) {
    const { b } = matricesOf('matrix product', shapes);
    return padded(b[b.length - 1]) * b[b.length - 2];
  },
  call({ backend, shapes, inputs: [left, right], output, scratch }) {
    const { a, b, outer, shape } = matricesOf('matrix product', shapes);
    const [n, k, m] = [a[a.length - 2], a[a.length - 1], b[b.length - 1]];
    const [lefts, rights] = [beginnings(a, outer), beginnings(b, outer)];
    const size = countOf(shape);
    if (size === 0) return () => {};
    // matrices one behind the other that share the right one are one product
    const runs: { left: number; right: number; out: number; rows: number }[] = [];
    lefts.forEach((begin, o) => {
      const last = runs.at(-1);
      if (last?.right === rights[o] && begin === last.left + last.rows * k) last.rows += n;
      else runs.push({ left: begin, right: rights[o], out: o * n * m, rows: n });
    });
    return () => {
      const [x, w, y, packed] = [left(), right(), output(), scratch()];
      if (k === 0) {
        backend.heap.f32.fill(0, indexOf(y), indexOf(y) + size);
        return;
      }
      let there = -1;
      for (const { left: from, right: at, out, rows } of runs) {
        if (at !== there) pack(backend, w + 4 * at, packed, k, m, m, 1);
        there = at;
        linear(backend, x + 4 * from, packed, 0, y + 4 * out, NO_ACTIVATION, rows, k, m);
      }
    };
  },
  read,
};

export const describeMatmul = /* @__PURE__ */ plainDescription(plain, runMatmul, {
  group: 'arithmetic',
  noun: 'a product of matrices',
  json: () => ({}),
  multiplyAdds: (_operation, [a], y) => countOf(y) * (a[a.length - 1] ?? 1),
  error([a, b], operation, shape) {
    const product = (x: Float64Array, w: Float64Array) => {
      const y = new Float64Array(countOf(shape));
      plain.prepare(operation, [a.shape, b.shape])([x, w], [0, 0], y, 0);
      return y;
    };
    const [x, w] = [a.value.map(Math.abs), b.value.map(Math.abs)];
    const wide = w.map((value, i) => value + b.error[i]);
    const one = product(a.error, wide);
    const two = product(x, b.error);
    const size = product(x, w);
    const rounding = gamma((a.shape[a.shape.length - 1] ?? 1) + 2);
    return one.map((e, i) => e + two[i] + rounding * (size[i] + e + two[i]));
  },
});
