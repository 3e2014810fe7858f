// Gradients of products of two values: of matrices, and of convolutions whose weights come at run
// time.

import { beginnings, matricesOf } from '../../graph/operations/matmul.ts';
import { type WeightedOperation, wiringOf } from '../../graph/operations/weighted.ts';
import { type Backward, put, shapesOf, sumsFor } from './backward.ts';

/** y = a·b: da = dy·bᵀ, db = aᵀ·dy, summed over what was broadcast. */
export const matmulGradient: Backward = ({ data: g }, xs, dxs) => {
  const { a, b, outer } = matricesOf('matrix product', shapesOf(xs));
  const [n, k, m] = [a[a.length - 2], a[a.length - 1], b[b.length - 1]];
  const [lefts, rights] = [beginnings(a, outer), beginnings(b, outer)];
  const [x, w] = [xs[0].data, xs[1].data];
  const sums = sumsFor(dxs);
  const [dx, dw] = sums;
  for (let o = 0; o < lefts.length; o++) {
    for (let i = 0; i < n; i++) {
      const out = (o * n + i) * m;
      for (let p = 0; p < k; p++) {
        const [left, right] = [lefts[o] + i * k + p, rights[o] + p * m];
        const factor = x[left];
        let sum = 0;
        for (let j = 0; j < m; j++) sum += g[out + j] * w[right + j];
        if (dx) dx[left] += sum;
        if (dw) for (let j = 0; j < m; j++) dw[right + j] += factor * g[out + j];
      }
    }
  }
  put(sums, dxs);
};

export const weightedGradient =
  (operation: WeightedOperation): Backward =>
  ({ data: g }, xs, dxs) => {
    const { shape, source, places, outPlaces, taps, own, whole, inChannels, outChannels } = wiringOf(
      operation,
      shapesOf(xs),
    );
    const [x, w] = [xs[0].data, xs[1].data];
    const sums = sumsFor(dxs);
    const [dx, dw, db] = sums;
    for (let n = 0; n < shape[0]; n++) {
      for (let o = 0; o < outChannels; o++) {
        const group = Math.floor(o / whole);
        for (let p = 0; p < outPlaces; p++) {
          const dy = g[(n * outChannels + o) * outPlaces + p];
          if (db) db[o] += dy;
          for (let k = 0; k < taps; k++) {
            const place = source[p * taps + k];
            if (place < 0) continue;
            for (let j = 0; j < own; j++) {
              const c = group * own + j;
              const weight = (operation.transposed ? c * whole + (o - group * whole) : o * own + j) * taps + k;
              const from = (n * inChannels + c) * places + place;
              if (dx) dx[from] += dy * w[weight];
              if (dw) dw[weight] += dy * x[from];
            }
          }
        }
      }
    }
    put(sums, dxs);
  };
