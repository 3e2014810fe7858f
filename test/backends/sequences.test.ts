// Sequences of unequal length: statistics for each time step, and cells that use them, against the
// same in f64.

import { describe, expect, test } from 'vitest';
import { BNGRUCell, BNLSTMCell, RecurrentBatchNorm1d, Sequential, tensor } from '../../src/index.ts';
import { normals, worstDifference } from '../support/data.ts';
import { errorOf } from '../support/errors.ts';
import { centralDifferences, dot, expectClose } from '../support/gradients.ts';
import { normalized, statisticsOf } from '../support/reference.ts';

const [N, T, I, H] = [6, 4, 3, 5];
const LENGTHS = [4, 2, 3, 4, 0, 2];

type Rows = number[][];
type Normalize = (name: 'ih' | 'hh' | 'c', t: number, rows: Rows, scale: number[], shift: number[]) => Rows;

const sigmoid = (v: number) => 1 / (1 + Math.exp(-v));

/** By mean and variance of these rows. */
const byBatch: Normalize = (_name, _t, rows, scale, shift) => {
  const batch = statisticsOf(rows.flat(), scale.length, (i) => i % scale.length);
  return rows.map((row) => row.map((v, c) => normalized(v, c, batch, { gamma: scale, beta: shift })));
};

const withoutNorm: Normalize = (_name, _t, rows, _scale, shift) => rows.map((row) => row.map((v, c) => v + shift[c]));

interface Weights {
  ih: ArrayLike<number>;
  hh: ArrayLike<number>;
  norms: Record<'ih' | 'hh' | 'c', { gamma: number[]; beta: number[] }>;
}

/** A cell over sequences, one number after the other in f64: states of all steps, 0 in padding. */
function cell(kind: 'lstm' | 'gru', x: ArrayLike<number>, w: Weights, normalize: Normalize): Float64Array {
  const y = new Float64Array(N * T * H);
  const h = Array.from({ length: N }, () => new Array<number>(H).fill(0));
  const c = Array.from({ length: N }, () => new Array<number>(H).fill(0));
  const wide = (kind === 'lstm' ? 4 : 3) * H;
  const product = (weight: ArrayLike<number>, row: ArrayLike<number>, depth: number) =>
    Array.from({ length: wide }, (_, o) => {
      let sum = 0;
      for (let i = 0; i < depth; i++) sum += weight[o * depth + i] * row[i];
      return sum;
    });
  for (let t = 0; t < T; t++) {
    const live = LENGTHS.flatMap((length, n) => (t < length ? [n] : []));
    if (live.length === 0) break;
    const { ih, hh, c: own } = w.norms;
    const input = normalize(
      'ih',
      t,
      live.map((n) =>
        product(
          w.ih,
          Array.from({ length: I }, (_, i) => x[(n * T + t) * I + i]),
          I,
        ),
      ),
      ih.gamma,
      ih.beta,
    );
    const state = normalize(
      'hh',
      t,
      live.map((n) => product(w.hh, h[n], H)),
      hh.gamma,
      hh.beta,
    );
    const gate = (r: number, k: number, j: number) => input[r][k * H + j] + state[r][k * H + j];
    if (kind === 'lstm') {
      live.forEach((n, r) => {
        for (let j = 0; j < H; j++) {
          c[n][j] = sigmoid(gate(r, 1, j)) * c[n][j] + sigmoid(gate(r, 0, j)) * Math.tanh(gate(r, 2, j));
        }
      });
      const values = normalize(
        'c',
        t,
        live.map((n) => c[n]),
        own.gamma,
        own.beta,
      );
      live.forEach((n, r) => {
        for (let j = 0; j < H; j++) h[n][j] = sigmoid(gate(r, 3, j)) * Math.tanh(values[r][j]);
      });
    } else {
      live.forEach((n, r) => {
        for (let j = 0; j < H; j++) {
          const z = sigmoid(gate(r, 1, j));
          const candidate = Math.tanh(input[r][2 * H + j] + sigmoid(gate(r, 0, j)) * state[r][2 * H + j]);
          h[n][j] = (1 - z) * candidate + z * h[n][j];
        }
      });
    }
    for (const n of live) y.set(h[n], (n * T + t) * H);
  }
  return y;
}

const CELLS = { lstm: BNLSTMCell, gru: BNGRUCell };
/** In padding what must not matter: NaN in inputs. */
const input = () => {
  const data = normals(1, N * T * I);
  LENGTHS.forEach((length, n) => {
    data.fill(Number.NaN, (n * T + length) * I, (n + 1) * T * I);
  });
  return { data, shape: [N, T, I] };
};

/** A cell whose every parameter is its own, and the same for the formula. */
function build(kind: 'lstm' | 'gru', norm: boolean, output: 'sequence' | 'last' = 'sequence') {
  const made = new CELLS[kind](I, H, norm ? { maxSteps: T, seed: 3, output } : { norm: false, seed: 3, output });
  made.parameters().forEach(({ data }, i) => {
    if (data.length !== made.weightIh.data.length && data.length !== made.weightHh.data.length) {
      data.set(normals(10 + i, data.length, 0.3, 0.4));
    }
  });
  const own = (name: 'ih' | 'hh' | 'c', bias?: Float32Array) => ({
    gamma: [...(made.norms[name]?.gamma?.data ?? [])],
    beta: [...(made.norms[name]?.beta?.data ?? bias ?? [])],
  });
  const plain = new Array<number>(H).fill(0);
  const weights: Weights = {
    ih: Float64Array.from(made.weightIh.data),
    hh: Float64Array.from(made.weightHh.data),
    norms: {
      ih: own('ih', made.biasIh.data),
      hh: own('hh', made.biasHh.data),
      c: norm && kind === 'lstm' ? own('c') : { gamma: plain, beta: plain },
    },
  };
  const wide = (kind === 'lstm' ? 4 : 3) * H;
  for (const name of ['ih', 'hh'] as const) if (!norm) weights.norms[name].gamma = new Array(wide).fill(1);
  return { made, weights };
}

describe.each(['lstm', 'gru'] as const)('%s', (kind) => {
  describe.each([
    ['with batch norm', true],
    ['plain', false],
  ])('%s', (_, norm) => {
    const formula = norm ? byBatch : withoutNorm;

    test('outputs and gradients through time are those of the formula', () => {
      const { made, weights } = build(kind, norm);
      const x = input();
      const dy = normals(2, N * T * H);
      const run = (values: ArrayLike<number>, w: Weights) => cell(kind, values, w, formula);
      const y = made.forward(x, { lengths: LENGTHS }).data;
      expectClose(y, run(x.data, weights), 2e-6);
      const dx = made.backward({ data: dy, shape: [N, T, H] }).data;
      const differences = centralDifferences(x.data, (values) => dot(run(values, weights), dy));
      expectClose(dx, differences, 2e-4);
      for (const name of ['ih', 'hh'] as const) {
        const { grad } = name === 'ih' ? made.weightIh : made.weightHh;
        const loss = (values: Float64Array) => dot(run(x.data, { ...weights, [name]: values }), dy);
        expectClose(grad, centralDifferences(weights[name], loss), 2e-4);
      }
      const vectors = [
        ['ih', 'beta', made.biasIh],
        ['hh', 'beta', made.biasHh],
        ['ih', 'gamma', made.norms.ih?.gamma],
        ['hh', 'gamma', made.norms.hh?.gamma],
        ['c', 'gamma', made.norms.c?.gamma],
        ['c', 'beta', made.norms.c?.beta],
      ] as const;
      for (const [name, which, parameter] of vectors) {
        if (!parameter) continue;
        const loss = (values: Float64Array) => {
          const norms = { ...weights.norms, [name]: { ...weights.norms[name], [which]: [...values] } };
          return dot(run(x.data, { ...weights, norms }), dy);
        };
        expectClose(parameter.grad, centralDifferences(weights.norms[name][which], loss), 2e-4);
      }
    });

    test('the last state of each sequence is what it says, forward and backward', () => {
      const [all, last] = [build(kind, norm).made, build(kind, norm, 'last').made];
      const x = input();
      const y = all.forward(x, { lengths: LENGTHS }).data;
      const end = last.forward(x, { lengths: LENGTHS });
      expect(end.shape).toEqual([N, H]);
      const dy = normals(4, N * H);
      const spread = new Float32Array(N * T * H);
      LENGTHS.forEach((length, n) => {
        const at = (n * T + length - 1) * H;
        if (length > 0) spread.set(dy.slice(n * H, (n + 1) * H), at);
        expect(end.data.slice(n * H, (n + 1) * H)).toEqual(length > 0 ? y.slice(at, at + H) : new Float32Array(H));
      });
      expect(last.state!.h).toEqual(end.data);
      const dx = last.backward({ data: dy, shape: [N, H] }).data;
      expect(dx).toEqual(all.backward({ data: spread, shape: [N, T, H] }).data);
      expect(last.weightHh.grad).toEqual(all.weightHh.grad);
    });

    test('goes on from where a piece ended', () => {
      const { made } = build(kind, norm);
      const x = { data: normals(5, N * T * I), shape: [N, T, I] };
      made.forward(x);
      made.eval();
      const whole = made.forward(x).data;
      let state: typeof made.state = null;
      for (const [from, many] of [
        [0, 1],
        [1, 3],
      ]) {
        const data = new Float32Array(N * many * I);
        for (let n = 0; n < N; n++)
          data.set(x.data.subarray((n * T + from) * I, (n * T + from + many) * I), n * many * I);
        const y = made.forward({ data, shape: [N, many, I] }, state ? { state } : {}).data;
        state = made.state;
        for (let n = 0; n < N; n++) {
          const expected = whole.slice((n * T + from) * H, (n * T + from + many) * H);
          expect(worstDifference(y.slice(n * many * H, (n + 1) * many * H), expected)).toBeLessThan(1e-6);
        }
      }
      expect(state!.step).toBe(T);
    });
  });

  test('padding never enters statistics, and they are those of each step', () => {
    const { made } = build(kind, true);
    const x = input();
    made.forward(x, { lengths: LENGTHS });
    expect([...made.norms.ih!.stepCounts]).toEqual([5, 5, 3, 2]);
    // what a sum of the products of each step gives
    const wide = made.weightIh.shape[0];
    for (let t = 0; t < T; t++) {
      const live = LENGTHS.flatMap((length, n) => (t < length ? [n] : []));
      const rows = live.map((n) => {
        let sum = 0;
        for (let i = 0; i < I; i++) sum += made.weightIh.data[i] * x.data[(n * T + t) * I + i];
        return sum;
      });
      const mean = rows.reduce((a, b) => a + b, 0) / rows.length;
      expect(made.norms.ih!.runningMean![t * wide]).toBeCloseTo(0.1 * mean, 6);
    }
  });

  test('evaluation of one sequence does not depend on the others', () => {
    const { made } = build(kind, true);
    made.forward(input(), { lengths: LENGTHS });
    made.eval();
    const x = { data: normals(7, N * T * I), shape: [N, T, I] };
    const all = made.forward(x).data;
    const one = made.forward({ data: x.data.slice(2 * T * I, 3 * T * I), shape: [1, T, I] }).data;
    expect(worstDifference(one, all.slice(2 * T * H, 3 * T * H))).toBeLessThan(1e-6);
  });

  test('works on tensors, and gives its memory back', () => {
    const { made } = build(kind, true);
    const [x, plain] = [input(), build(kind, true).made];
    const there = tensor(x.data, x.shape);
    const y = made.forward(there, { lengths: LENGTHS });
    expect(y.data).toEqual(plain.forward(x, { lengths: LENGTHS }).data);
    y.dispose();
    there.dispose();
    made.dispose();
    expect(errorOf(() => made.backward({ data: new Float32Array(N * T * H), shape: [N, T, H] }))).toEqual([
      'Error',
      'ERR_MODE',
      `${made.subject}: backward expected a forward before it, got none`,
    ]);
  });

  test('a state dict holds everything', () => {
    const { made } = build(kind, true);
    made.forward(input(), { lengths: LENGTHS });
    const other = new CELLS[kind](I, H, { maxSteps: T });
    other.loadStateDict(made.stateDict());
    const x = input();
    expect(other.eval().forward(x, { lengths: LENGTHS }).data).toEqual(
      made.eval().forward(x, { lengths: LENGTHS }).data,
    );
  });

  test('a batch that is refused halfway changes nothing', () => {
    const made = new CELLS[kind](I, H, { maxSteps: T, onNonFinite: 'throw', seed: 1 });
    const net = new Sequential(made);
    const x = { data: normals(8, N * T * I), shape: [N, T, I] };
    net.forward(x);
    const before = net.stateDict();
    x.data[2 * I] = Number.NaN;
    expect(errorOf(() => net.forward(x))?.[1]).toBe('ERR_NON_FINITE');
    expect(net.stateDict()).toEqual(before);
  });
});

test('gradients are right where memory grows under way', () => {
  // larger and larger: somewhere a product of the backward pass needs memory that is not there yet
  for (const [samples, steps, inputs, hidden] of [
    [32, 28, 28, 64],
    [64, 28, 28, 128],
  ]) {
    const x = { data: normals(1, samples * steps * inputs), shape: [samples, steps, inputs] };
    const dy = { data: normals(2, samples * hidden), shape: [samples, hidden] };
    const cell = new BNLSTMCell(inputs, hidden, { maxSteps: steps, output: 'last', seed: 1 });
    const run = () => {
      cell.zeroGrad();
      cell.forward(x);
      cell.backward(dy);
      return cell.parameters().map(({ grad }) => grad.slice());
    };
    const first = run();
    expect(first.every((grad) => grad.every(Number.isFinite))).toBe(true);
    expect(run()).toEqual(first);
    cell.dispose();
  }
});

test('a call that is refused leaves what backward needs', () => {
  const cell = new BNLSTMCell(I, H, { maxSteps: 8, seed: 1 });
  const x = { data: normals(1, N * T * I), shape: [N, T, I] };
  const dy = { data: normals(2, N * T * H), shape: [N, T, H] };
  cell.forward(x);
  cell.eval().forward(x);
  const dx = cell.backward(dy).data;
  const out = { data: new Float32Array(3), shape: [3] };
  expect(errorOf(() => cell.forward(x, { state: { ...cell.state!, step: 3 }, out }))?.[1]).toBe('ERR_SHAPE');
  expect(cell.backward(dy).data).toEqual(dx);
  cell.forward(x, { state: { ...cell.state!, step: 3 } });
  cell.dispose(); // steps 4 and on have maps, those between may not
});

test('micro-batches of a cell in training', () => {
  const cell = new BNGRUCell(I, H, { maxSteps: T });
  expect(errorOf(() => cell.forwardMicroBatches([input()]))).toEqual([
    'Error',
    'ERR_MODE',
    'BNGRUCell(3, 5): forward of micro-batches expected a cell without statistics for each time step, got this one',
  ]);
});

describe('RecurrentBatchNorm1d', () => {
  const C = 3;
  const sequences = (seed: number, samples: number, steps: number) => {
    const data = normals(seed, samples * steps * C);
    // each step has a mean and a spread of its own
    for (let i = 0; i < data.length; i++) {
      const t = Math.floor(i / C) % steps;
      data[i] = data[i] * (1 + t) + 10 * t;
    }
    return { data, shape: [samples, steps, C] };
  };

  test('gamma begins at 0.1', () => {
    expect([...new RecurrentBatchNorm1d(2, { maxSteps: 3 }).gamma!.data]).toEqual([0.1, 0.1].map(Math.fround));
    expect([...new RecurrentBatchNorm1d(2, { maxSteps: 3, gamma: 1 }).gamma!.data]).toEqual([1, 1]);
  });

  test('past the longest step trained: the last, all pooled, or none', () => {
    const x = sequences(1, 50, 4);
    const train = (beyond: 'last' | 'pooled' | 'throw') => {
      const norm = new RecurrentBatchNorm1d(C, { maxSteps: 8, beyond, momentum: null });
      norm.forward(x);
      return norm.eval();
    };
    const last = train('last');
    expect(last.stepsTrained).toBe(4);
    expect(last.statisticsAt(7)).toEqual(last.statisticsAt(3));
    const { mean, variance } = train('pooled').statisticsAt(4);
    // over all rows of all steps: what lies between steps counts as well
    for (let c = 0; c < C; c++) {
      const values = Array.from({ length: 200 }, (_, i) => x.data[i * C + c]);
      const m = values.reduce((a, b) => a + b, 0) / 200;
      const v = values.reduce((sum, value) => sum + (value - m) ** 2, 0) / 200;
      expect(Math.abs(mean[c] / m - 1)).toBeLessThan(1e-5);
      expect(Math.abs(variance[c] / v - 1)).toBeLessThan(0.005); // unbiased within steps
    }
    expect(train('pooled').statisticsAt(3)).toEqual(last.statisticsAt(3));
    expect(errorOf(() => train('throw').forward(sequences(2, 2, 5)))).toEqual([
      'RangeError',
      'ERR_SHAPE',
      "RecurrentBatchNorm1d(3): x expected at most 4 time steps, got step 4 (the longest trained, beyond: 'throw')",
    ]);
  });

  test('steps with few rows are drawn towards the pooled statistics', () => {
    const lengths = Array.from({ length: 40 }, (_, n) => (n < 4 ? 3 : 2));
    const make = (shrinkage: number) => {
      const norm = new RecurrentBatchNorm1d(C, { maxSteps: 3, shrinkage, momentum: null });
      norm.forward(sequences(3, 40, 3), { lengths });
      return norm;
    };
    const [own, drawn, pooled] = [0, 4, Number.POSITIVE_INFINITY].map((k) => make(k).statisticsAt(2));
    expect([...make(4).stepCounts]).toEqual([40, 40, 4]);
    drawn.mean.forEach((mean, c) => {
      expect(mean).toBeCloseTo((own.mean[c] + pooled.mean[c]) / 2, 4);
      expect(drawn.variance[c]).toBeCloseTo((own.variance[c] + pooled.variance[c]) / 2, 3);
    });
    expect(make(Number.POSITIVE_INFINITY).statisticsAt(0)).toEqual(pooled);
  });

  test('a step that one sequence reaches learns from it, and does not fail', () => {
    const norm = new RecurrentBatchNorm1d(C, { maxSteps: 3 });
    const x = sequences(4, 3, 3);
    const y = norm.forward(x, { lengths: [3, 2, 2] }).data;
    // running mean 0 and variance 1: as it is, times gamma
    for (let c = 0; c < C; c++) expect(y[2 * C + c]).toBeCloseTo(0.1 * x.data[2 * C + c], 4);
    expect(norm.runningMean![2 * C]).toBeCloseTo(0.1 * x.data[2 * C], 5);
    expect([...norm.stepCounts]).toEqual([3, 3, 1]);
    const strict = new RecurrentBatchNorm1d(C, { maxSteps: 3, onSingleValue: 'throw' });
    expect(errorOf(() => strict.forward(x, { lengths: [3, 2, 2] }))).toEqual([
      'RangeError',
      'ERR_SINGLE_VALUE',
      'RecurrentBatchNorm1d(3): training expected at least 2 values per channel, got 1 (shape [3, 3, 3], time step 2; eval() takes single values; training does with onSingleValue)',
    ]);
  });

  test('steps that nobody reaches, in masks with gaps', () => {
    const norm = new RecurrentBatchNorm1d(C, { maxSteps: 3, beyond: 'throw' });
    const data = [1, 0, 1, 1, 0, 1, 1, 0, 1];
    const y = norm.forward(sequences(1, 3, 3), { mask: { data, shape: [3, 3] } }).data;
    expect([...norm.stepCounts]).toEqual([3, 0, 3]);
    expect([...y.slice(C, 2 * C)]).toEqual([0, 0, 0]);
    norm.dispose();
  });

  test('a batch counts once, however many steps it has', () => {
    const norm = new RecurrentBatchNorm1d(C, { maxSteps: 3, onNonFinite: 'skip-update' });
    const x = sequences(1, 4, 3);
    norm.forward(x);
    x.data.fill(Number.NaN);
    norm.forward(x);
    expect([norm.nonFiniteBatches, norm.batchesTracked]).toEqual([1, 1]);
  });

  test('activation and residual, masks and weights: as batch norm of the rows of each step', () => {
    const x = sequences(5, 6, 3);
    const residual = { data: normals(6, 6 * 3 * C), shape: x.shape };
    const places = Array.from({ length: 18 }, (_, i) => (i % 5 === 3 ? 0 : 1));
    const norm = new RecurrentBatchNorm1d(C, { maxSteps: 3, activation: 'tanh', gamma: 1 });
    const y = norm.forward(x, { residual, mask: { data: places, shape: [6, 3] } }).data;
    const dy = { data: normals(7, 6 * 3 * C), shape: x.shape };
    const dx = norm.backward(dy).data;
    const full = (values: ArrayLike<number>, added: ArrayLike<number>) =>
      Float64Array.from({ length: 54 }, (_, i) => {
        const [row, c] = [Math.floor(i / C), i % C];
        if (!places[row]) return 0;
        const live = Array.from({ length: 6 }, (_, n) => n * 3 + (row % 3)).filter((r) => places[r]);
        const step = live.map((r) => values[r * C + c]);
        return Math.tanh(
          normalized(
            values[i],
            0,
            statisticsOf(step, 1, () => 0),
          ) + added[i],
        );
      });
    expectClose(y, full(x.data, residual.data), 1e-5);
    expectClose(
      dx,
      centralDifferences(x.data, (v) => dot(full(v, residual.data), dy.data)),
      2e-4,
    );
    expectClose(
      norm.residualGrad!.data,
      centralDifferences(residual.data, (v) => dot(full(x.data, v), dy.data)),
      2e-4,
    );
    const weighted = new RecurrentBatchNorm1d(C, { maxSteps: 3 });
    weighted.forward(x, { weights: { data: Array.from({ length: 18 }, (_, i) => (i < 9 ? 2 : 1)), shape: [6, 3] } });
    const [a, b] = [0, 1].map((half) => [0, 1, 2].reduce((sum, n) => sum + x.data[(half * 3 + n) * 3 * C], 0));
    expect(weighted.savedMean![0]).toBeCloseTo((2 * a + b) / 9, 5);
  });

  test.each([
    [
      'no count of steps',
      () => new RecurrentBatchNorm1d(2, {} as never),
      [
        'RangeError',
        'ERR_OPTION',
        'RecurrentBatchNorm1d(2): maxSteps expected an integer from 1 to 16777216, got undefined',
      ],
    ],
    [
      'more steps than memory',
      () => new RecurrentBatchNorm1d(4096, { maxSteps: 2 ** 24 }),
      ['RangeError', 'ERR_OPTION', 'RecurrentBatchNorm1d(4096): maxSteps expected at most 65536, got 16777216'],
    ],
    [
      'a layout',
      () => new RecurrentBatchNorm1d(2, { maxSteps: 2, layout: 'channels-first' } as never),
      [
        'TypeError',
        'ERR_OPTION',
        "RecurrentBatchNorm1d(2): options expected 'maxSteps', 'gamma', 'beyond', 'shrinkage', 'eps', 'momentum', 'affine', 'runningVariance', 'onSingleValue', 'onNonFinite' or 'activation', got 'layout'",
      ],
    ],
    [
      'another policy',
      () => new RecurrentBatchNorm1d(2, { maxSteps: 2, beyond: 'first' as never }),
      ['RangeError', 'ERR_OPTION', "RecurrentBatchNorm1d(2): beyond expected 'last', 'pooled' or 'throw', got 'first'"],
    ],
    [
      'a shrinkage below 0',
      () => new RecurrentBatchNorm1d(2, { maxSteps: 2, shrinkage: -1 }),
      ['RangeError', 'ERR_OPTION', 'RecurrentBatchNorm1d(2): shrinkage expected a number of 0 or more, got -1'],
    ],
    [
      'more steps than there are statistics',
      () => new RecurrentBatchNorm1d(3, { maxSteps: 2 }).forward(sequences(1, 2, 3)),
      [
        'RangeError',
        'ERR_SHAPE',
        'RecurrentBatchNorm1d(3): x expected at most 2 time steps, got step 2 (maxSteps, in training)',
      ],
    ],
    [
      'nothing but padding',
      () => new RecurrentBatchNorm1d(3, { maxSteps: 3 }).forward(sequences(1, 2, 3), { lengths: [0, 0] }),
      [
        'RangeError',
        'ERR_MASK',
        'RecurrentBatchNorm1d(3): mask expected a place that counts, got none (shape [2, 3, 3])',
      ],
    ],
    [
      'micro-batches',
      () => new RecurrentBatchNorm1d(3, { maxSteps: 3 }).forwardMicroBatches(),
      [
        'Error',
        'ERR_MODE',
        'RecurrentBatchNorm1d(3): forward of micro-batches expected a layer without statistics for each time step, got this one',
      ],
    ],
    [
      'a cell without a count of steps',
      () => new BNLSTMCell(2, 3),
      ['RangeError', 'ERR_OPTION', 'BNLSTMCell(2, 3): maxSteps expected an integer from 1 to 16777216, got undefined'],
    ],
    [
      'options of norms that are not there',
      () => new BNGRUCell(2, 3, { norm: false, momentum: 0.1 }),
      [
        'TypeError',
        'ERR_OPTION',
        "BNGRUCell(2, 3): options without norm expected 'norm', 'output', 'init' or 'seed', got 'momentum'",
      ],
    ],
    [
      'inputs of another width',
      () => new BNGRUCell(2, 3, { maxSteps: 3 }).forward(sequences(1, 2, 3)),
      ['RangeError', 'ERR_SHAPE', 'BNGRUCell(2, 3): x expected shape [N, T, 2], got [2, 3, 3]'],
    ],
    [
      'lengths beyond the sequence',
      () => new BNGRUCell(3, 3, { maxSteps: 3 }).forward(sequences(1, 2, 3), { lengths: [1, 4] }),
      ['RangeError', 'ERR_MASK', 'BNGRUCell(3, 3): lengths expected integers from 0 to 3, got 4 (sequence 1)'],
    ],
    [
      'a state of other sequences',
      () => {
        const state = { h: new Float32Array(3), c: new Float32Array(3), step: 0 };
        new BNLSTMCell(3, 3, { maxSteps: 3 }).forward(sequences(1, 2, 3), { state });
      },
      ['RangeError', 'ERR_SHAPE', 'BNLSTMCell(3, 3): state expected 6 values in a Float32Array, [2, 3], got 3 values'],
    ],
  ])('%s', (_, work, expected) => {
    expect(errorOf(work)).toEqual(expected);
  });
});
