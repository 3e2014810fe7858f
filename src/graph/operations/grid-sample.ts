// Values at places between others that a second value names, as ONNX' GridSample: x [N, C, …in],
// places [N, …out, D] from −1 to 1, the last axis first; the result is [N, C, …out].

import { wrongValue } from '../../errors.ts';
import { countOf, differs, showSymbolic } from '../../tensors/shape.ts';
import type { Operation, Shape } from '../operation.ts';
import { type Plain, plainDescription, plainRunner, type Values } from '../plain.ts';

export interface GridSampleOperation extends Operation {
  readonly kind: 'grid-sample';
  readonly mode: 'nearest' | 'linear' | 'cubic';
  /** What lies outside. */
  readonly outside: 'zeros' | 'border' | 'reflection';
  /** Are −1 and 1 the middles of the outermost values, or their outer edges? */
  readonly alignCorners: boolean;
}

const MODES = ['nearest', 'linear', 'cubic'] as const;
const OUTSIDE = ['zeros', 'border', 'reflection'] as const;
const TAPS = { nearest: 1, linear: 2, cubic: 4 } as const;

/** To the nearest whole number, and between two to the even one. */
function roundEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}

/** A place beyond the edges, as a mirror shows it. */
export function reflected(x: number, low: number, high: number): number {
  const range = high - low;
  if (!(range > 0)) return low;
  const beyond = x < low ? low - x : x > high ? x - high : 0;
  if (beyond === 0) return x;
  const times = Math.floor(beyond / range);
  const rest = beyond - times * range;
  return x < low === (times % 2 === 0) ? low + rest : high - rest;
}

const CUBIC = -0.75;

/** Weights of the values around a place: `t` behind the second of four, or the first of two. */
function weigh(mode: GridSampleOperation['mode'], t: number, weights: Float64Array, at: number): void {
  if (mode === 'nearest') weights[at] = 1;
  else if (mode === 'linear') {
    weights[at] = 1 - t;
    weights[at + 1] = t;
  } else {
    const near = (d: number) => ((CUBIC + 2) * d - (CUBIC + 3)) * d * d + 1;
    const far = (d: number) => ((CUBIC * d - 5 * CUBIC) * d + 8 * CUBIC) * d - 4 * CUBIC;
    weights[at] = far(t + 1);
    weights[at + 1] = near(t);
    weights[at + 2] = near(1 - t);
    weights[at + 3] = far(2 - t);
  }
}

/** Finds the values around a place, and their weights. */
export function samplerOf({ mode, outside, alignCorners }: GridSampleOperation, shape: Shape, grid: Shape) {
  const [samples, channels, ...lengths] = shape;
  const depth = lengths.length;
  const size = countOf(lengths);
  const points = countOf(grid.slice(1, -1));
  const taps = TAPS[mode];
  const all = taps ** depth;
  const [places, weights] = [new Int32Array(depth * taps), new Float64Array(depth * taps)];
  const [froms, factors] = [new Int32Array(all), new Float64Array(all)];
  /** Index along an axis; −1 where there is nothing. */
  const inside = (index: number, length: number): number => {
    if (index >= 0 && index < length) return index;
    if (outside === 'zeros') return -1;
    if (outside === 'border') return Math.min(Math.max(index, 0), length - 1);
    const [low, high] = alignCorners ? [0, length - 1] : [-0.5, length - 0.5];
    return Math.min(Math.max(Math.trunc(reflected(index, low, high)), 0), length - 1);
  };
  /** Fills `froms` and `factors` for the place that begins there; is it one of numbers? */
  const aim = (g: Values, at: number): boolean => {
    let isNumber = true;
    for (let d = 0; d < depth; d++) {
      const length = lengths[d];
      const place = g[at + depth - 1 - d];
      let exact = alignCorners ? ((place + 1) / 2) * (length - 1) : ((place + 1) * length - 1) / 2;
      if (mode === 'nearest') exact = roundEven(exact);
      const [low, high] = alignCorners ? [0, length - 1] : [-0.5, length - 0.5];
      // cubic curves go on beyond the edges, and each of their values is looked for by itself
      if (mode !== 'cubic' && (exact < low || exact > high)) {
        if (outside === 'border') exact = Math.min(Math.max(exact, 0), length - 1);
        else if (outside === 'reflection') exact = reflected(exact, low, high);
      }
      isNumber &&= !Number.isNaN(exact);
      const first = Math.floor(exact);
      weigh(mode, exact - first, weights, d * taps);
      for (let k = 0; k < taps; k++) {
        places[d * taps + k] = inside(first + k - (mode === 'cubic' ? 1 : 0), length);
      }
    }
    for (let k = 0; k < all; k++) {
      let [place, factor, rest] = [0, 1, k];
      for (let d = 0; d < depth; d++) {
        const tap = d * taps + (rest % taps);
        rest = Math.floor(rest / taps);
        if (places[tap] < 0) factor = 0;
        else factor *= weights[tap];
        place = place * lengths[d] + Math.max(places[tap], 0);
      }
      froms[k] = place;
      factors[k] = factor;
    }
    return isNumber;
  };
  return { samples, channels, lengths, depth, size, points, taps, all, places, weights, froms, factors, aim };
}

const plain: Plain<GridSampleOperation> = {
  kind: 'grid-sample',
  arity: 2,
  name: ({ mode }) => `${mode} grid sample`,
  shape(subject, _operation, [x, places]) {
    const depth = x.length - 2;
    const isRight =
      depth >= 1 &&
      places.length === x.length &&
      !differs(places[places.length - 1], depth) &&
      !differs(places[0], x[0]);
    if (isRight) return [x[0], x[1], ...places.slice(1, -1)];
    const expected = `places [N, …, ${depth}] beside x [N, C, …]`;
    throw wrongValue('ERR_SHAPE', subject, 'the inputs', expected, `${showSymbolic(x)} and ${showSymbolic(places)}`);
  },
  prepare(operation, [shape, grid]) {
    const { samples, channels, size, points, depth, all, froms, factors, aim } = samplerOf(operation, shape, grid);
    return ([x, g], [from, at], y, to) => {
      for (let n = 0; n < samples; n++) {
        for (let p = 0; p < points; p++) {
          const isNumber = aim(g, at + (n * points + p) * depth);
          for (let c = 0; c < channels; c++) {
            const first = from + (n * channels + c) * size;
            let sum = isNumber ? 0 : Number.NaN;
            for (let k = 0; k < all; k++) if (factors[k] !== 0) sum += factors[k] * x[first + froms[k]];
            y[to + (n * channels + c) * points + p] = sum;
          }
        }
      }
    };
  },
  read({ json: { mode, outside, alignCorners }, fail }) {
    if (!MODES.includes(mode as 'linear')) throw fail('a way to interpolate', mode);
    if (!OUTSIDE.includes(outside as 'zeros')) throw fail('what lies outside', outside);
    if (typeof alignCorners !== 'boolean') throw fail('true or false', alignCorners);
    return { kind: 'grid-sample', mode, outside, alignCorners } as GridSampleOperation;
  },
};

export const runGridSample = /* @__PURE__ */ plainRunner(plain);

export const describeGridSample = /* @__PURE__ */ plainDescription(plain, runGridSample, {
  group: 'indexing',
  noun: 'a grid sample',
  json: ({ mode, outside, alignCorners }) => ({ mode, outside, alignCorners }),
});
