// Gradients of images at other sizes, of values between others, and of pooling windows.

import { type GridSampleOperation, reflected, samplerOf } from '../../graph/operations/grid-sample.ts';
import { passesOf, type ResizeOperation } from '../../graph/operations/resize.ts';
import { type WindowOperation, windowsIn } from '../../graph/operations/window.ts';
import { shapeOf } from '../../tensors/shape.ts';
import { type Backward, clear, flat, put, shapesOf, sumsFor } from './backward.ts';

/** Each input gets the gradients of the outputs that it is part of, with the same weights. */
export const resizeGradient =
  (operation: ResizeOperation): Backward =>
  ({ data }, xs, dxs) => {
    clear(dxs);
    const [dx] = dxs;
    if (!dx || data.length === 0) return;
    const { shape, passes, changed } = passesOf(operation, shapesOf(xs));
    let g = Float64Array.from(data);
    const place = shape.map(() => 0);
    for (let i = 0; i < g.length; i++) {
      if (changed.some(({ axis, weights }) => weights.outside?.[place[axis]])) g[i] = 0;
      for (let a = shape.length - 1; a >= 0 && ++place[a] === shape[a]; a--) place[a] = 0;
    }
    for (const { outer, input, output, inner, weights } of [...passes].reverse()) {
      const { taps, places, weights: factors } = weights;
      const before = new Float64Array(outer * input * inner);
      for (let n = 0; n < outer; n++) {
        for (let i = 0; i < output; i++) {
          const row = (n * output + i) * inner;
          for (let k = i * taps; k < (i + 1) * taps; k++) {
            if (factors[k] === 0) continue;
            const to = (n * input + places[k]) * inner;
            for (let j = 0; j < inner; j++) before[to + j] += factors[k] * g[row + j];
          }
        }
      }
      g = before;
    }
    dx.data.set(g);
  };

/**
 * Of the largest value of a window that one gets the gradient, the first of equal ones; of a mean
 * each a share; of (Σ|x|^p)^(1/p) each x gets sign(x)·(|x|/y)^(p − 1).
 */
export function windowGradient(operation: WindowOperation): Backward {
  if (operation.places) return flat;
  return ({ data: g }, [x], dxs) => {
    const sums = sumsFor(dxs);
    const [dx] = sums;
    if (!dx) return;
    const { of, p } = operation;
    const { planes, size, count, begin, list, counted } = windowsIn(operation, shapeOf(x));
    const from = x.data;
    for (let n = 0, out = 0; n < planes; n++) {
      const first = n * size;
      for (let o = 0; o < count; o++, out++) {
        const within = list.subarray(begin[o], begin[o + 1]);
        if (of === 'max') {
          const best = within.reduce((most, at) => (from[first + at] > from[first + most] ? at : most), within[0]);
          if (within.length) dx[first + best] += g[out];
        } else if (of === 'avg') {
          for (const at of within) dx[first + at] += g[out] / counted[o];
        } else {
          const total = within.reduce((sum, at) => sum + Math.abs(from[first + at]) ** p, 0) ** (1 / p);
          for (const at of within) {
            const value = from[first + at];
            if (total > 0) dx[first + at] += g[out] * Math.sign(value) * (Math.abs(value) / total) ** (p - 1);
          }
        }
      }
    }
    put(sums, dxs);
  };
}

/** Slopes of the weights of values around a place, by how far it moves along an axis. */
const slopesAt: Readonly<Record<GridSampleOperation['mode'], (t: number) => readonly number[]>> = {
  nearest: () => [0],
  linear: () => [-1, 1],
  cubic(t) {
    // of ((a + 2)·d − (a + 3))·d² + 1 near by, and a·(d³ − 5d² + 8d − 4) beyond, with a = −3/4
    const near = (d: number) => (3 * 1.25 * d - 2 * 2.25) * d;
    const far = (d: number) => -0.75 * ((3 * d - 10) * d + 8);
    return [far(t + 1), near(t), -near(1 - t), -far(2 - t)];
  },
};

/**
 * A value gets the gradients of the places that it is part of, with its weights; a place the slopes
 * of these weights: 0 where it was moved to the border, and the other way where a mirror shows it.
 */
export const gridSampleGradient =
  (operation: GridSampleOperation): Backward =>
  ({ data: g }, xs, dxs) => {
    const [shape, grid] = shapesOf(xs);
    const sampler = samplerOf(operation, shape, grid);
    const { samples, channels, lengths, size, points, depth, taps, all, places, weights, froms, factors, aim } =
      sampler;
    const { mode, outside, alignCorners } = operation;
    const [x, at] = xs.map(({ data }) => data);
    const sums = sumsFor(dxs);
    const [dx, dPlaces] = sums;
    /** Where a place lies along an axis, as it was given, and how far that moves with it. */
    const along = (place: number, length: number): [exact: number, pace: number] => {
      const scale = alignCorners ? (length - 1) / 2 : length / 2;
      const exact = alignCorners ? (place + 1) * scale : (place + 1) * scale - 0.5;
      const [low, high] = alignCorners ? [0, length - 1] : [-0.5, length - 0.5];
      if (mode === 'cubic' || outside === 'zeros' || (exact >= low && exact <= high)) return [exact, scale];
      if (outside === 'border') return [Math.min(Math.max(exact, 0), length - 1), 0];
      const beyond = exact < low ? low - exact : exact - high;
      const isEven = Math.floor(beyond / (high - low)) % 2 === 0;
      return [reflected(exact, low, high), high > low ? (isEven ? -scale : scale) : 0];
    };
    for (let n = 0; n < samples; n++) {
      for (let p = 0; p < points; p++) {
        const place = (n * points + p) * depth;
        if (!aim(at, place)) continue;
        const slopes = lengths.map((length, d) => {
          const [exact, pace] = along(at[place + depth - 1 - d], length);
          return slopesAt[mode](exact - Math.floor(exact)).map((slope) => slope * pace);
        });
        for (let c = 0; c < channels; c++) {
          const dy = g[(n * channels + c) * points + p];
          const first = (n * channels + c) * size;
          for (let k = 0; k < all; k++) {
            if (dx && factors[k] !== 0) dx[first + froms[k]] += factors[k] * dy;
            if (!dPlaces) continue;
            for (let d = 0; d < depth; d++) {
              let [slope, rest] = [dy * x[first + froms[k]], k];
              for (let axis = 0; axis < depth; axis++) {
                const tap = rest % taps;
                rest = Math.floor(rest / taps);
                if (places[axis * taps + tap] < 0) slope = 0;
                else slope *= axis === d ? slopes[d][tap] : weights[axis * taps + tap];
              }
              dPlaces[place + depth - 1 - d] += slope;
            }
          }
        }
      }
    }
    put(sums, dxs);
  };
