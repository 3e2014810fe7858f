// Recurrent cells in f64: states step by step by their formulas, and gradients by central
// differences along random directions.

import type { Layer, RecurrentState, StateDict } from '../../../src/index.ts';
import { Dice } from '../dice.ts';
import { type BackwardCall, type Call, type ForwardCall, valuesOf } from './calls.ts';
import type { Instance } from './instance.ts';
import type { Expectation, Model } from './model.ts';
import { placesOf } from './places.ts';
import { type Settings, type Subject, settingsOf } from './subjects.ts';

/** How far an output may be off: statistics of few rows make much of rounding. */
const TOLERANCE = 2e-3;
const STEP = 1e-6;

type Values = Record<string, Float64Array>;

interface Sequences {
  readonly x: Float64Array;
  readonly shape: readonly number[];
  readonly lengths: readonly number[];
  readonly state: RecurrentState | undefined;
  readonly training: boolean;
}

interface Saved {
  readonly sequences: Sequences;
  readonly values: Values;
  stale: boolean;
}

export class CellModel implements Model {
  readonly #subject: Subject;
  readonly #settings: Settings;
  #saved: Saved | 'unsure' | undefined;

  constructor(subject: Subject) {
    this.#subject = subject;
    this.#settings = settingsOf(subject);
  }

  expect(call: Call, instance: Instance): Expectation | undefined {
    switch (call.do) {
      case 'forward':
        return this.#forward(call, instance);
      case 'backward':
        return this.#backward(call, instance.layer);
      case 'load':
      case 'write':
      case 'step':
        return {
          note: () => {
            if (this.#saved && this.#saved !== 'unsure') this.#saved.stale = true;
          },
        };
      case 'dispose':
        return {
          note: () => {
            this.#saved = undefined;
          },
        };
      default:
        return {};
    }
  }

  #forward(call: ForwardCall, instance: Instance): Expectation {
    const { layer } = instance;
    if (instance.repeats(call) && 'disposed' in instance.last!.x && instance.last!.x.disposed)
      return { codes: ['ERR_DISPOSED'] };
    const { shape, values: style } = call;
    const x = Float64Array.from(valuesOf(this.#subject, shape, style, call.seed));
    const lengths = placesOf(this.#subject, call).lengths ?? Array.from({ length: shape[0] }, () => shape[1]);
    const given = call.state ? instance.state : undefined;
    const state = given && { ...given, h: given.h.slice(), ...(given.c && { c: given.c.slice() }) };
    const sequences: Sequences = { x, shape, lengths, state, training: layer.training };
    const values = valuesIn(layer.stateDict());
    if (given && given.h.length !== shape[0] * this.#hidden) return { codes: ['ERR_SHAPE'] };
    if (!['lopsided', 'constant', 'zeros'].includes(style)) {
      const note = () => {
        this.#saved = 'unsure';
      };
      return { unsure: true, note };
    }
    const code = this.#refusal(sequences, values);
    if (code) {
      // an error in the middle of the sequences leaves nothing for backward
      const note = () => {
        this.#saved = 'unsure';
      };
      return { codes: [code], note };
    }
    const y = this.#run(sequences, values);
    return {
      check: ({ outputs }) => {
        const [got] = outputs!;
        const at = got.findIndex(
          (value, i) => !(Math.abs(value - y[i]) <= TOLERANCE || (Number.isNaN(value) && Number.isNaN(y[i]))),
        );
        return at < 0 ? undefined : `y[${at}] is ${got[at]} for ${y[at]}`;
      },
      note: () => {
        // values without any spread make differences of nothing
        this.#saved = style === 'lopsided' ? { sequences, values, stale: false } : 'unsure';
      },
    };
  }

  get #hidden(): number {
    return this.#subject.args[1] as number;
  }

  #rowsAt({ lengths }: Sequences, t: number): number[] {
    return lengths.flatMap((length, n) => (t < length ? [n] : []));
  }

  #refusal(sequences: Sequences, values: Values): string | undefined {
    const { norm = true, maxSteps, beyond = 'last', onSingleValue = 'use-running' } = this.#settings;
    if (!norm) return undefined;
    const first = sequences.state?.step ?? 0;
    const counted = Object.keys(values).filter((name) => name.endsWith('stepCounts'));
    const trained = Math.min(...counted.map((name) => values[name].findLastIndex((count) => count > 0) + 1));
    for (let t = 0; t < Math.max(0, ...sequences.lengths); t++) {
      const rows = this.#rowsAt(sequences, t).length;
      if (sequences.training && rows === 1 && onSingleValue === 'throw') return 'ERR_SINGLE_VALUE';
      const most = sequences.training ? maxSteps : beyond === 'throw' ? trained : Infinity;
      if (first + t >= most) return 'ERR_SHAPE';
    }
    return undefined;
  }

  /** The output, all of it. */
  #run(sequences: Sequences, values: Values): Float64Array {
    const { kind } = this.#subject;
    const { x, shape, state } = sequences;
    const [samples, steps, width] = shape;
    const hidden = this.#hidden;
    const isLast = this.#settings.output === 'last';
    const first = state?.step ?? 0;
    const h = Float64Array.from(state?.h ?? new Float64Array(samples * hidden));
    const c = Float64Array.from(state?.c ?? new Float64Array(samples * hidden));
    const y = new Float64Array(samples * (isLast ? 1 : steps) * hidden);
    const gates = kind === 'BNLSTMCell' ? 4 : 3;
    const product = (name: string, from: Float64Array, at: number, depth: number) =>
      Float64Array.from({ length: gates * hidden }, (_, g) => {
        let sum = values[name.replace('weight', 'bias')]?.[g] ?? 0;
        for (let k = 0; k < depth; k++) sum += values[name][g * depth + k] * from[at + k];
        return sum;
      });
    for (let t = 0; t < steps; t++) {
      const rows = this.#rowsAt(sequences, t);
      if (!rows.length) continue;
      const fromX = rows.map((n) => product('weightIh', x, (n * steps + t) * width, width));
      const fromH = rows.map((n) => product('weightHh', h, n * hidden, hidden));
      this.#normalize('normIh', fromX, first + t, sequences.training, values);
      this.#normalize('normHh', fromH, first + t, sequences.training, values);
      const gate = (r: number, k: number, j: number) => fromX[r][k * hidden + j] + fromH[r][k * hidden + j];
      if (kind === 'BNLSTMCell') {
        const cells = rows.map((n, r) =>
          Float64Array.from({ length: hidden }, (_, j) => {
            const value =
              sigmoid(gate(r, 1, j)) * c[n * hidden + j] + sigmoid(gate(r, 0, j)) * Math.tanh(gate(r, 2, j));
            c[n * hidden + j] = value;
            return value;
          }),
        );
        this.#normalize('normC', cells, first + t, sequences.training, values);
        for (const [r, n] of rows.entries())
          for (let j = 0; j < hidden; j++) h[n * hidden + j] = sigmoid(gate(r, 3, j)) * Math.tanh(cells[r][j]);
      } else {
        for (const [r, n] of rows.entries()) {
          for (let j = 0; j < hidden; j++) {
            const z = sigmoid(gate(r, 1, j));
            const candidate = Math.tanh(fromX[r][2 * hidden + j] + sigmoid(gate(r, 0, j)) * fromH[r][2 * hidden + j]);
            h[n * hidden + j] = (1 - z) * candidate + z * h[n * hidden + j];
          }
        }
      }
      if (!isLast) for (const n of rows) y.set(h.subarray(n * hidden, (n + 1) * hidden), (n * steps + t) * hidden);
    }
    if (isLast) y.set(h);
    return y;
  }

  /** Rows of a step, in place. */
  #normalize(name: string, rows: readonly Float64Array[], step: number, training: boolean, values: Values): void {
    const mean = values[`${name}.runningMean`];
    if (!mean) return;
    const { eps = 1e-5, onSingleValue = 'use-running', beyond = 'last' } = this.#settings;
    const [gamma, beta] = [values[`${name}.gamma`], values[`${name}.beta`]];
    const [variance, counts] = [values[`${name}.runningVar`], values[`${name}.stepCounts`]];
    const own = training && (rows.length > 1 || onSingleValue === 'skip-update');
    for (let c = 0; c < rows[0].length; c++) {
      let [m, v] = [0, 0];
      if (own) {
        for (const row of rows) m += row[c] / rows.length;
        for (const row of rows) v += (row[c] - m) ** 2 / rows.length;
      } else [m, v] = statisticsAt(step, c, rows[0].length, mean, variance, counts, beyond);
      for (const row of rows) row[c] = ((row[c] - m) / Math.sqrt(v + eps)) * (gamma?.[c] ?? 1) + (beta?.[c] ?? 0);
    }
  }

  #backward(call: BackwardCall, layer: Layer): Expectation {
    const saved = this.#saved;
    if (!saved) return { codes: ['ERR_MODE'] };
    if (saved === 'unsure' || saved.stale) return { unsure: true };
    const { sequences, values } = saved;
    const y = this.#run(sequences, values);
    const dy = new Dice(call.seed).normals(y.length);
    const names = Object.keys(values).filter((name) => !/running|batches|stepCounts/.test(name));
    const before = layer.parameters().map(({ grad }) => grad.slice());
    return {
      check: ({ outputs }) => {
        const gradients: [string, ArrayLike<number>][] = [['x', outputs![0]]];
        for (const [p, { grad }] of layer.parameters().entries())
          gradients.push([names[p], grad.map((value, i) => value - before[p][i])]);
        for (const [name, gradient] of gradients) {
          const wrong = this.#along(name, gradient, dy, sequences, values, call.seed);
          if (wrong) return wrong;
        }
        return undefined;
      },
    };
  }

  /** A gradient along a random direction, against the difference of two runs. */
  #along(
    name: string,
    gradient: ArrayLike<number>,
    dy: Float32Array,
    sequences: Sequences,
    values: Values,
    seed: number,
  ) {
    const direction = new Dice(seed + 7).normals(gradient.length);
    const loss = (by: number) => {
      const moved = (from: Float64Array) => from.map((value, i) => value + by * direction[i]);
      const y =
        name === 'x'
          ? this.#run({ ...sequences, x: moved(sequences.x) }, values)
          : this.#run(sequences, { ...values, [name]: moved(values[name]) });
      return y.reduce((sum, value, i) => sum + value * dy[i], 0);
    };
    const difference = (loss(STEP) - loss(-STEP)) / (2 * STEP);
    let [sum, size] = [0, 0];
    for (let i = 0; i < gradient.length; i++) {
      sum += gradient[i] * direction[i];
      size += Math.abs(gradient[i] * direction[i]);
    }
    const { eps = 1e-5 } = this.#settings;
    const tolerance = TOLERANCE * (size + 1) + (1e-5 / Math.sqrt(eps)) * dy.length;
    // gradients that were NaN before stay so
    if (Math.abs(sum - difference) <= tolerance || Number.isNaN(sum)) return undefined;
    return `the gradient of ${name} along a direction is ${sum} for ${difference}`;
  }
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

function valuesIn(state: StateDict): Values {
  return Object.fromEntries(
    Object.entries(state).map(([name, { data }]) => [name, Float64Array.from(data as ArrayLike<number>)]),
  );
}

/**
 * Mean and variance of a channel by which a step is evaluated; cells are made without shrinkage.
 */
function statisticsAt(
  step: number,
  c: number,
  channels: number,
  mean: Float64Array,
  variance: Float64Array,
  counts: Float64Array,
  beyond: string,
): [number, number] {
  const trained = counts.findLastIndex((count) => count > 0) + 1;
  const isOwn = step < trained || trained === 0;
  const index = isOwn ? Math.min(step, counts.length - 1) : trained - 1;
  if (trained === 0 || (counts[index] > 0 && (isOwn || beyond !== 'pooled')))
    return [mean[index * channels + c], variance[index * channels + c]];
  const total = counts.reduce((sum, count) => sum + count, 0);
  let [m, v] = [0, 0];
  counts.forEach((count, t) => {
    if (count) m += (count / total) * mean[t * channels + c];
  });
  counts.forEach((count, t) => {
    if (count) v += (count / total) * (variance[t * channels + c] + (mean[t * channels + c] - m) ** 2);
  });
  return [m, v];
}
