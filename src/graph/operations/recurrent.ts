// Recurrent layers over sequences, as ONNX has them: LSTM, GRU and RNN, forward, backward or both
// ways
// (https://onnx.ai/onnx/operators/onnx__LSTM.html, …GRU, …RNN). Sums are in f64.

import { wrongValue } from '../../errors.ts';
import { countOf, differs, showSymbolic } from '../../tensors/shape.ts';
import { type Fields, MANY, type Operation, type Shape } from '../operation.ts';
import { type Plain, plainDescription, plainRunner, type Values } from '../plain.ts';

export const CURVES = {
  relu: (x) => Math.max(0, x),
  tanh: (x) => Math.tanh(x),
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  affine: (x, a, b) => a * x + b,
  leakyrelu: (x, a) => (x < 0 ? a * x : x),
  thresholdedrelu: (x, a) => (x > a ? x : 0),
  scaledtanh: (x, a, b) => a * Math.tanh(b * x),
  hardsigmoid: (x, a, b) => Math.min(Math.max(a * x + b, 0), 1),
  elu: (x, a) => (x < 0 ? a * Math.expm1(x) : x),
  softsign: (x) => x / (1 + Math.abs(x)),
  softplus: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
} as const satisfies Record<string, (x: number, a: number, b: number) => number>;

export type GateCurve = keyof typeof CURVES;
export const GATE_CURVES = /* @__PURE__ */ Object.keys(CURVES) as readonly GateCurve[];

/** The activation of a gate, and its parameters. */
export interface Gate {
  readonly curve: GateCurve;
  readonly a: number;
  readonly b: number;
}

export const CELLS = {
  lstm: { gates: 4, curves: 3 },
  gru: { gates: 3, curves: 2 },
  rnn: { gates: 1, curves: 1 },
} as const;

/** Inputs behind x, W and R, in their order. */
const OPTIONAL = ['bias', 'lengths', 'h', 'c', 'peepholes', 'mask'] as const;

export interface RecurrentOperation extends Operation {
  readonly kind: 'recurrent';
  readonly cell: keyof typeof CELLS;
  readonly direction: 'forward' | 'reverse' | 'bidirectional';
  readonly hidden: number;
  /** Does the batch come before time? */
  readonly batchFirst: boolean;
  /** For each direction those of the cell, one after another. */
  readonly gates: readonly Gate[];
  /** Sums are kept within ±clip; 0: as they are. */
  readonly clip: number;
  /** Of a GRU: is the reset gate applied behind the product? */
  readonly linearBeforeReset: boolean;
  /** Of an LSTM: is the forget gate 1 − the input gate? */
  readonly coupled: boolean;
  /** Which of the optional inputs there are. */
  readonly has: readonly (typeof OPTIONAL)[number][];
  /**
   * Of a mask, which is 0 at steps that leave the states as they are: are outputs of such steps 0?
   * Else they are those of the step before, 0 at the first one.
   */
  readonly zeros?: boolean;
  /**
   * All outputs of all steps, the last of each direction, the last cell states, or these three one
   * after another.
   */
  readonly gives: 'y' | 'h' | 'c' | 'all';
}

interface Sizes {
  readonly steps: number;
  readonly samples: number;
  readonly inputs: number;
  readonly ways: number;
}

export function sizesOf(subject: string, operation: RecurrentOperation, shapes: readonly Shape[]): Sizes {
  const { cell, direction, hidden, batchFirst, has } = operation;
  const [x, w, r, ...others] = shapes;
  if (x.length !== 3) throw wrongValue('ERR_SHAPE', subject, 'x', 'rank 3', `shape ${showSymbolic(x)}`);
  const [steps, samples] = batchFirst ? [x[1], x[0]] : [x[0], x[1]];
  const ways = direction === 'bidirectional' ? 2 : 1;
  const { gates } = CELLS[cell];
  const state = batchFirst ? [samples, ways, hidden] : [ways, samples, hidden];
  const wanted: Record<string, Shape> = {
    bias: [ways, 2 * gates * hidden],
    lengths: [samples],
    h: state,
    c: state,
    peepholes: [ways, 3 * hidden],
    mask: [samples, steps],
  };
  const check = (name: string, shape: Shape | undefined, expected: Shape) => {
    if (shape?.length === expected.length && !shape.some((n, i) => differs(n, expected[i]))) return;
    const got = shape ? showSymbolic(shape) : 'none';
    throw wrongValue('ERR_SHAPE', subject, name, `shape ${showSymbolic(expected)}`, got);
  };
  check('W', w, [ways, gates * hidden, x[2]]);
  check('R', r, [ways, gates * hidden, hidden]);
  for (const [i, name] of has.entries()) check(name, others[i], wanted[name]);
  return { steps, samples, inputs: x[2], ways };
}

export function shapeOf({ gives, hidden, batchFirst }: RecurrentOperation, { steps, samples, ways }: Sizes): Shape {
  if (gives === 'all') return [(steps + 2) * ways * samples * hidden];
  if (gives === 'y') return batchFirst ? [samples, steps, ways, hidden] : [steps, ways, samples, hidden];
  return batchFirst ? [samples, ways, hidden] : [ways, samples, hidden];
}

/** The output of a step that a mask leaves out: that of the step before, or 0. */
export function skipOutput(y: Values, at: number, before: number, size: number, isZero: boolean): void {
  if (isZero) y.fill(0, at, at + size);
  else y.copyWithin(at, before, before + size);
}

export const plainRecurrent: Plain<RecurrentOperation> = {
  kind: 'recurrent',
  arity: MANY,
  name: ({ cell, direction, hidden }) => `${cell} ${hidden}${direction === 'forward' ? '' : `, ${direction}`}`,
  shape: (subject, operation, shapes) => shapeOf(operation, sizesOf(subject, operation, shapes)),
  prepare(operation, shapes) {
    const { cell, direction, hidden: H, batchFirst, clip, linearBeforeReset, coupled, has, gives } = operation;
    const zeros = operation.zeros ?? false;
    const { steps, samples, inputs, ways } = sizesOf(cell, operation, shapes);
    const { gates: G, curves } = CELLS[cell];
    if (countOf(shapeOf(operation, { steps, samples, inputs, ways })) === 0) return () => {};
    const place = Object.fromEntries(has.map((name, i) => [name, 3 + i]));
    const kept = (value: number) => (clip > 0 ? Math.min(Math.max(value, -clip), clip) : value);
    const gate = (way: number, k: number) => {
      const { curve, a, b } = operation.gates[way * curves + k];
      const value: (x: number, a: number, b: number) => number = CURVES[curve];
      return (x: number) => value(kept(x), a, b);
    };
    const ySize = steps * ways * samples * H;
    const stateSize = ways * samples * H;
    const yAt = (t: number, way: number, n: number) =>
      (batchFirst ? (n * steps + t) * ways + way : (t * ways + way) * samples + n) * H;
    const stateAt = (way: number, n: number) => (batchFirst ? n * ways + way : way * samples + n) * H;
    const [sums, h, c, next, made] = [G * H, H, H, H, H].map((size) => new Float64Array(size));
    const dot = (x: Values, i: number, w: Values, j: number, count: number) => {
      let [even, odd] = [0, 0];
      let k = 0;
      for (; k + 1 < count; k += 2) {
        even += x[i + k] * w[j + k];
        odd += x[i + k + 1] * w[j + k + 1];
      }
      return k < count ? even + odd + x[i + k] * w[j + k] : even + odd;
    };
    const givesY = gives === 'y' || gives === 'all';
    return (xs, from, y, to) => {
      const [x, w, r] = xs;
      const read = (name: string, at: number) => (name in place ? xs[place[name]][from[place[name]] + at] : 0);
      const [outH, outC] = gives === 'all' ? [to + ySize, to + ySize + stateSize] : [to, to];
      for (let way = 0; way < ways; way++) {
        const isBack = direction === 'reverse' || way === 1;
        const act = Array.from({ length: curves }, (_, k) => gate(way, k));
        const bias = (k: number) => read('bias', way * 2 * G * H + k);
        for (let n = 0; n < samples; n++) {
          const given = 'lengths' in place ? read('lengths', n) : steps;
          const length = Math.min(Math.max(Math.trunc(given) || 0, 0), steps);
          for (let k = 0; k < H; k++) {
            h[k] = read('h', stateAt(way, n) + k);
            c[k] = read('c', stateAt(way, n) + k);
          }
          for (let s = 0; s < length; s++) {
            const t = isBack ? length - 1 - s : s;
            if ('mask' in place && read('mask', n * steps + t) === 0) {
              if (givesY)
                skipOutput(y, to + yAt(t, way, n), to + yAt(isBack ? t + 1 : t - 1, way, n), H, s === 0 || zeros);
              continue;
            }
            const row = from[0] + (batchFirst ? n * steps + t : t * samples + n) * inputs;
            for (let g = 0; g < G * H; g++) {
              sums[g] = dot(x, row, w, from[1] + (way * G * H + g) * inputs, inputs) + bias(g);
            }
            const product = (g: number, state: Values) => dot(state, 0, r, from[2] + (way * G * H + g) * H, H);
            if (cell === 'rnn') {
              for (let k = 0; k < H; k++) next[k] = act[0](sums[k] + product(k, h) + bias(H + k));
            } else if (cell === 'lstm') {
              for (let g = 0; g < 4 * H; g++) sums[g] += product(g, h) + bias(4 * H + g);
              const peephole = (part: number, k: number) => read('peepholes', (way * 3 + part) * H + k);
              for (let k = 0; k < H; k++) {
                const i = act[0](sums[k] + peephole(0, k) * c[k]);
                const f = coupled ? 1 - i : act[0](sums[2 * H + k] + peephole(2, k) * c[k]);
                c[k] = f * c[k] + i * act[1](sums[3 * H + k]);
                const o = act[0](sums[H + k] + peephole(1, k) * c[k]);
                next[k] = o * act[2](c[k]);
              }
            } else {
              for (let g = 0; g < 2 * H; g++) sums[g] = act[0](sums[g] + product(g, h) + bias(3 * H + g));
              // z, then r; r·h where the reset comes first
              if (!linearBeforeReset) for (let k = 0; k < H; k++) next[k] = sums[H + k] * h[k];
              for (let k = 0; k < H; k++) {
                const g = 2 * H + k;
                const recurrent = linearBeforeReset
                  ? sums[H + k] * (product(g, h) + bias(3 * H + g))
                  : product(g, next) + bias(3 * H + g);
                made[k] = act[1](sums[g] + recurrent);
              }
              for (let k = 0; k < H; k++) next[k] = (1 - sums[k]) * made[k] + sums[k] * h[k];
            }
            h.set(next);
            if (givesY) y.set(h, to + yAt(t, way, n));
          }
          if (givesY) {
            for (let t = length; t < steps; t++) y.fill(0, to + yAt(t, way, n), to + yAt(t, way, n) + H);
          }
          if (gives === 'h' || gives === 'all') y.set(h, outH + stateAt(way, n));
          if (gives === 'c' || gives === 'all') y.set(c, outC + stateAt(way, n));
        }
      }
    };
  },
  read: readOperation,
};

export function readOperation({ json, fail, whole }: Pick<Fields, 'json' | 'fail' | 'whole'>): RecurrentOperation {
  const { cell, direction, hidden, batchFirst, gates, clip, linearBeforeReset, coupled, has, gives, zeros } = json;
  if (typeof cell !== 'string' || !Object.hasOwn(CELLS, cell)) throw fail('a cell', cell);
  if (direction !== 'forward' && direction !== 'reverse' && direction !== 'bidirectional')
    throw fail('a direction', direction);
  if (![batchFirst, linearBeforeReset, coupled].every((flag) => typeof flag === 'boolean'))
    throw fail('true or false', coupled);
  if (zeros !== undefined && typeof zeros !== 'boolean') throw fail('true or false', zeros);
  if (typeof clip !== 'number') throw fail('a clip', clip);
  if (gives !== 'y' && gives !== 'h' && gives !== 'c' && gives !== 'all') throw fail('what it gives', gives);
  const count = CELLS[cell as 'lstm'].curves * (direction === 'bidirectional' ? 2 : 1);
  if (!Array.isArray(gates) || gates.length !== count) throw fail(`${count} activations`, gates);
  const read = gates.map((gate) => {
    const { curve, a, b } = (gate ?? {}) as Record<string, unknown>;
    if (typeof curve !== 'string' || !Object.hasOwn(CURVES, curve)) throw fail('an activation', curve);
    if (typeof a !== 'number' || typeof b !== 'number') throw fail('its parameters', gate);
    return { curve: curve as GateCurve, a, b };
  });
  const isKnown = (name: unknown): name is (typeof OPTIONAL)[number] => OPTIONAL.includes(name as 'h');
  if (!Array.isArray(has) || !has.every(isKnown) || new Set(has).size !== has.length) throw fail('inputs', has);
  return {
    kind: 'recurrent',
    cell: cell as 'lstm',
    direction,
    hidden: whole(hidden, 1, 2 ** 24),
    batchFirst: batchFirst as boolean,
    gates: read,
    clip,
    linearBeforeReset: linearBeforeReset as boolean,
    coupled: coupled as boolean,
    has,
    ...(zeros !== undefined && { zeros }),
    gives,
  };
}

export const runRecurrent = /* @__PURE__ */ plainRunner(plainRecurrent);

export const describeRecurrent = /* @__PURE__ */ plainDescription(plainRecurrent, runRecurrent, {
  group: 'recurrent',
  noun: 'a recurrent layer',
  json: ({ kind: _, ...rest }) => rest,
  // every step of every sample
  multiplyAdds: (_operation, [x, w, r]) => x[0] * x[1] * (countOf(w) + countOf(r)),
});
