// Gradients of recurrent layers: backward through time, in f64. Steps are run once more, as their
// gates are needed.

import type { Shape } from '../../graph/operation.ts';
import { CELLS, CURVES, type GateCurve, type RecurrentOperation, sizesOf } from '../../graph/operations/recurrent.ts';
import { allShapes, type RecurrentLayerOperation, withBias } from '../../graph/operations/recurrent-layer.ts';
import { shapeOf } from '../../tensors/shape.ts';
import { type Backward, put, sumsFor } from './backward.ts';

type Values = Float32Array | Float64Array;

const sigmoid = (x: number) => CURVES.sigmoid(x);

/** f′(x) of the activations of gates; 0 at corners, but for leaky ones. */
const SLOPES: Readonly<Record<GateCurve, (x: number, a: number, b: number) => number>> = {
  relu: (x) => (x > 0 ? 1 : 0),
  tanh: (x) => 1 - Math.tanh(x) ** 2,
  sigmoid: (x) => sigmoid(x) * (1 - sigmoid(x)),
  affine: (_, a) => a,
  leakyrelu: (x, a) => (x < 0 ? a : 1),
  thresholdedrelu: (x, a) => (x > a ? 1 : 0),
  scaledtanh: (x, a, b) => a * b * (1 - Math.tanh(b * x) ** 2),
  hardsigmoid: (x, a, b) => (a * x + b > 0 && a * x + b < 1 ? a : 0),
  elu: (x, a) => (x < 0 ? a * Math.exp(x) : 1),
  softsign: (x) => 1 / (1 + Math.abs(x)) ** 2,
  softplus: (x) => sigmoid(x),
};

/** Adds dpre ⊗ v to the gradient of rows of a matrix, and their transpose times dpre to v's. */
function product(
  matrix: Values,
  first: number,
  rows: number,
  columns: number,
  dpre: Float64Array,
  from: number,
  v: Values,
  vAt: number,
  dMatrix: Float64Array | undefined,
  dv: Float64Array | undefined,
  dvAt: number,
): void {
  for (let row = 0; row < rows; row++) {
    const g = dpre[from + row];
    if (g === 0) continue;
    const at = first + row * columns;
    for (let k = 0; k < columns; k++) {
      if (dv) dv[dvAt + k] += g * matrix[at + k];
      if (dMatrix) dMatrix[at + k] += g * v[vAt + k];
    }
  }
}

/** The gradient of a layer whose weights are inputs; `sums` has a place for each that is wanted. */
function throughTime(
  operation: RecurrentOperation,
  shapes: readonly Shape[],
  xs: readonly Values[],
  g: Values,
  sums: readonly (Float64Array | undefined)[],
): void {
  const { cell, direction, hidden: H, batchFirst, clip, linearBeforeReset, coupled, has, gives } = operation;
  const { steps, samples, inputs: I, ways } = sizesOf(cell, operation, shapes);
  const { gates: G, curves } = CELLS[cell];
  const place: Partial<Record<string, number>> = Object.fromEntries(has.map((name, i) => [name, 3 + i]));
  const read = (name: string, at: number) => (place[name] === undefined ? 0 : xs[place[name]][at]);
  const sumOf = (name: string) => (place[name] === undefined ? undefined : sums[place[name]]);
  const [x, w, r] = xs;
  const [dx, dw, dr] = sums;
  const [dBias, dPeepholes] = [sumOf('bias'), sumOf('peepholes')];
  const ySize = steps * ways * samples * H;
  const stateSize = ways * samples * H;
  const givesY = gives === 'y' || gives === 'all';
  const yAt = (t: number, way: number, n: number) =>
    (batchFirst ? (n * steps + t) * ways + way : (t * ways + way) * samples + n) * H;
  const stateAt = (way: number, n: number) => (batchFirst ? n * ways + way : way * samples + n) * H;
  const xAt = (t: number, n: number) => (batchFirst ? n * steps + t : t * samples + n) * I;
  // of each step: sums of the gates, states before it and the cell after it, and what of a GRU the
  // reset gate is applied to
  const [pres, befores, cells, afters, resets] = [G * H, H, H, H, H].map((size) => new Float64Array(steps * size));
  const dpre = new Float64Array(G * H);
  const [dh, dc, dhBefore, pending, dv, v] = Array.from({ length: 6 }, () => new Float64Array(H));
  for (let way = 0; way < ways; way++) {
    const isBack = direction === 'reverse' || way === 1;
    const kept = (value: number) => (clip > 0 ? Math.min(Math.max(value, -clip), clip) : value);
    const gateOf = (k: number) => operation.gates[way * curves + k];
    const act = (k: number, value: number) => {
      const { curve, a, b } = gateOf(k);
      return (CURVES[curve] as (x: number, a: number, b: number) => number)(kept(value), a, b);
    };
    const slope = (k: number, value: number) => {
      const { curve, a, b } = gateOf(k);
      return clip > 0 && Math.abs(value) > clip ? 0 : SLOPES[curve](value, a, b);
    };
    const [wAt, rAt] = [way * G * H * I, way * G * H * H];
    const bias = (k: number) => read('bias', way * 2 * G * H + k);
    const peephole = (part: number, k: number) => read('peepholes', (way * 3 + part) * H + k);
    const dot = (matrix: Values, row: number, columns: number, of: Values, at: number) => {
      let sum = 0;
      for (let k = 0; k < columns; k++) sum += matrix[row + k] * of[at + k];
      return sum;
    };
    for (let n = 0; n < samples; n++) {
      const given = place.lengths === undefined ? steps : read('lengths', n);
      const length = Math.min(Math.max(Math.trunc(given) || 0, 0), steps);
      const stepOf = (s: number) => (isBack ? length - 1 - s : s);
      const isOut = (t: number) => place.mask !== undefined && read('mask', n * steps + t) === 0;
      const h = Float64Array.from({ length: H }, (_, k) => read('h', stateAt(way, n) + k));
      const c = Float64Array.from({ length: H }, (_, k) => read('c', stateAt(way, n) + k));
      for (let s = 0; s < length; s++) {
        const t = stepOf(s);
        if (isOut(t)) continue;
        const pre = pres.subarray(s * G * H, (s + 1) * G * H);
        befores.set(h, s * H);
        cells.set(c, s * H);
        for (let row = 0; row < G * H; row++) pre[row] = dot(w, wAt + row * I, I, x, xAt(t, n)) + bias(row);
        const isApart = (row: number) => cell === 'gru' && row >= 2 * H;
        for (let row = 0; row < G * H; row++) {
          if (!isApart(row)) pre[row] += dot(r, rAt + row * H, H, h, 0) + bias(G * H + row);
        }
        if (cell === 'rnn') for (let k = 0; k < H; k++) h[k] = act(0, pre[k]);
        else if (cell === 'lstm') {
          for (let k = 0; k < H; k++) {
            pre[k] += peephole(0, k) * c[k];
            pre[2 * H + k] += peephole(2, k) * c[k];
            const i = act(0, pre[k]);
            c[k] = (coupled ? 1 - i : act(0, pre[2 * H + k])) * c[k] + i * act(1, pre[3 * H + k]);
            pre[H + k] += peephole(1, k) * c[k];
            h[k] = act(0, pre[H + k]) * act(2, c[k]);
          }
          afters.set(c, s * H);
        } else {
          for (let k = 0; k < H; k++) v[k] = linearBeforeReset ? h[k] : act(0, pre[H + k]) * h[k];
          for (let k = 0; k < H; k++) {
            const row = 2 * H + k;
            const recurrent = dot(r, rAt + row * H, H, v, 0) + bias(3 * H + row);
            resets[s * H + k] = recurrent;
            pre[row] += linearBeforeReset ? act(0, pre[H + k]) * recurrent : recurrent;
          }
          for (let k = 0; k < H; k++) {
            const z = act(0, pre[k]);
            h[k] = (1 - z) * act(1, pre[2 * H + k]) + z * h[k];
          }
        }
      }
      // ---- the way back
      const outH = gives === 'all' ? ySize : 0;
      for (let k = 0; k < H; k++) {
        dh[k] = gives === 'h' || gives === 'all' ? g[outH + stateAt(way, n) + k] : 0;
        dc[k] =
          gives === 'c' ? g[stateAt(way, n) + k] : gives === 'all' ? g[ySize + stateSize + stateAt(way, n) + k] : 0;
      }
      pending.fill(0);
      for (let s = length - 1; s >= 0; s--) {
        const t = stepOf(s);
        if (givesY) for (let k = 0; k < H; k++) pending[k] += g[yAt(t, way, n) + k];
        if (isOut(t)) {
          // the output was that of the step before, or 0
          if (operation.zeros || s === 0) pending.fill(0);
          continue;
        }
        for (let k = 0; k < H; k++) dh[k] += pending[k];
        pending.fill(0);
        const pre = pres.subarray(s * G * H, (s + 1) * G * H);
        const at = s * H;
        dhBefore.fill(0);
        if (cell === 'rnn') for (let k = 0; k < H; k++) dpre[k] = dh[k] * slope(0, pre[k]);
        else if (cell === 'lstm') {
          for (let k = 0; k < H; k++) {
            const [before, now] = [cells[at + k], afters[at + k]];
            const [i, o] = [act(0, pre[k]), act(0, pre[H + k])];
            const forget = coupled ? 1 - i : act(0, pre[2 * H + k]);
            const made = act(1, pre[3 * H + k]);
            dpre[H + k] = dh[k] * act(2, now) * slope(0, pre[H + k]);
            const dNow = dc[k] + dh[k] * o * slope(2, now) + dpre[H + k] * peephole(1, k);
            dpre[k] = dNow * (coupled ? made - before : made) * slope(0, pre[k]);
            dpre[2 * H + k] = coupled ? 0 : dNow * before * slope(0, pre[2 * H + k]);
            dpre[3 * H + k] = dNow * i * slope(1, pre[3 * H + k]);
            dc[k] = dNow * forget + dpre[k] * peephole(0, k) + dpre[2 * H + k] * peephole(2, k);
            if (dPeepholes) {
              dPeepholes[way * 3 * H + k] += dpre[k] * before;
              dPeepholes[(way * 3 + 1) * H + k] += dpre[H + k] * now;
              dPeepholes[(way * 3 + 2) * H + k] += dpre[2 * H + k] * before;
            }
          }
        } else {
          for (let k = 0; k < H; k++) {
            const [z, made] = [act(0, pre[k]), act(1, pre[2 * H + k])];
            dpre[k] = dh[k] * (befores[at + k] - made) * slope(0, pre[k]);
            dpre[2 * H + k] = dh[k] * (1 - z) * slope(1, pre[2 * H + k]);
            dhBefore[k] = dh[k] * z;
          }
          const row = rAt + 2 * H * H;
          const bAt = (way * 2 + 1) * G * H + 2 * H;
          dv.fill(0);
          // what the third product gets: its sum, or that behind the reset gate
          const own = new Float64Array(H);
          for (let k = 0; k < H; k++) {
            const reset = act(0, pre[H + k]);
            own[k] = linearBeforeReset ? dpre[2 * H + k] * reset : dpre[2 * H + k];
            v[k] = linearBeforeReset ? befores[at + k] : reset * befores[at + k];
            if (dBias) dBias[bAt + k] += own[k];
          }
          product(r, row, H, H, own, 0, v, 0, dr, dv, 0);
          for (let k = 0; k < H; k++) {
            const reset = act(0, pre[H + k]);
            const dReset = linearBeforeReset ? dpre[2 * H + k] * resets[at + k] : dv[k] * befores[at + k];
            dhBefore[k] += linearBeforeReset ? dv[k] : dv[k] * reset;
            dpre[H + k] = dReset * slope(0, pre[H + k]);
          }
        }
        const shared = cell === 'gru' ? 2 * H : G * H;
        product(r, rAt, shared, H, dpre, 0, befores, at, dr, dhBefore, 0);
        product(w, wAt, G * H, I, dpre, 0, x, xAt(t, n), dw, dx, xAt(t, n));
        if (dBias) {
          for (let row = 0; row < G * H; row++) dBias[way * 2 * G * H + row] += dpre[row];
          for (let row = 0; row < shared; row++) dBias[(way * 2 + 1) * G * H + row] += dpre[row];
        }
        dh.set(dhBefore);
      }
      const [dFirst, dCell] = [sumOf('h'), sumOf('c')];
      for (let k = 0; k < H; k++) {
        if (dFirst) dFirst[stateAt(way, n) + k] += dh[k];
        if (dCell) dCell[stateAt(way, n) + k] += dc[k];
      }
    }
  }
}

export const recurrentGradient =
  (operation: RecurrentOperation): Backward =>
  ({ data: g }, xs, dxs) => {
    const sums = sumsFor(dxs);
    const values = xs.map(({ data }) => data);
    throughTime(operation, xs.map(shapeOf), values, g, sums);
    put(sums, dxs);
  };

/** The same with weights of its own, which stay as they are. */
export const recurrentLayerGradient =
  (operation: RecurrentLayerOperation): Backward =>
  ({ data: g }, xs, dxs) => {
    const sums = sumsFor(dxs);
    const { weight, recurrence, bias } = operation;
    const own = [weight, recurrence, ...(bias ? [bias] : [])];
    const [first, ...others] = xs.map(({ data }) => data);
    const [dFirst, ...dOthers] = sums;
    const all = [dFirst, ...own.map(() => undefined), ...dOthers];
    throughTime(withBias(operation), allShapes(operation, xs.map(shapeOf)), [first, ...own, ...others], g, all);
    put(sums, dxs);
  };
