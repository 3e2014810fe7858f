import { BatchNorm1d, Tanh } from 'evenkeel';
import type { Experiment, Table } from './experiment.ts';
import { listed, t } from './words.ts';

const ROWS = 4;
const UNITS = 3;
/** Columns of mean 5, 0 and 100. */
const BATCH = [2, -1, 90, 4, 0, 110, 6, 0, 80, 8, 1, 120];
const GAMMA = [1, 2, 0.5];
const BETA = [0, 1, -1];
const EPS = 1e-5;

const shown = (values: ArrayLike<number>): (string | number)[][] =>
  Array.from({ length: values.length / UNITS }, (_, n) =>
    Array.from({ length: UNITS }, (_, c) => Number(values[n * UNITS + c].toFixed(4))),
  );

/** One batch step by step, small enough for a pencil. */
export const anatomy: Experiment = {
  name: 'anatomy',
  title: t`One batch, step by step`,
  question: t`What does batch norm do to a batch?`,
  claim: t`Batch norm is arithmetic that can be done by hand.`,
  async run({ show }) {
    await show('4 × 3');
    const x = { data: Float32Array.from(BATCH), shape: [ROWS, UNITS] };
    const plain = new BatchNorm1d(UNITS, { affine: false });
    const norm = new BatchNorm1d(UNITS);
    norm.gamma!.data.set(GAMMA);
    norm.beta!.data.set(BETA);
    const hat = plain.forward(x).data;
    const y = norm.forward(x).data;
    const column = (c: number) => Array.from({ length: ROWS }, (_, n) => BATCH[n * UNITS + c]);
    const means = GAMMA.map((_, c) => column(c).reduce((a, b) => a + b, 0) / ROWS);
    const variances = means.map((mean, c) => column(c).reduce((sum, v) => sum + (v - mean) ** 2, 0) / ROWS);
    let worst = 0;
    for (let n = 0; n < ROWS; n++) {
      for (let c = 0; c < UNITS; c++) {
        const by = (BATCH[n * UNITS + c] - means[c]) / Math.sqrt(variances[c] + EPS);
        worst = Math.max(worst, Math.abs(hat[n * UNITS + c] - by));
        worst = Math.max(worst, Math.abs(y[n * UNITS + c] - (by * GAMMA[c] + BETA[c])));
      }
    }
    const tanh = new Tanh();
    const before = tanh.forward(norm.forward(x)).data;
    const behind = norm.forward(tanh.forward(x)).data;
    const heads = [t`feature ${0}`, t`feature ${1}`, t`feature ${2}`];
    const tables: Table[] = [
      { title: t`The batch`, heads, rows: shown(x.data) },
      { title: t`Mean and variance`, heads, rows: [means, variances] },
      { title: t`Normalised`, heads, rows: shown(hat) },
      { title: t`Scaled by ${listed(GAMMA)} and shifted by ${listed(BETA)}`, heads, rows: shown(y) },
      { title: t`Batch norm, then tanh`, heads, rows: shown(before) },
      {
        title: t`tanh, then batch norm: features 0 and 2 were saturated before they were normalised`,
        heads,
        rows: shown(behind),
      },
    ];
    return {
      setup: t`Four samples of three features; eps 1e-5. By hand: mean, variance (divided by 4), (x − mean)/√(variance + eps), times gamma, plus beta.`,
      figures: [],
      tables,
      verdict: t`All ${2 * ROWS * UNITS} values agree with those worked out by hand within ${worst.toExponential(1)}.`,
      holds: worst < 1e-5,
    };
  },
};
