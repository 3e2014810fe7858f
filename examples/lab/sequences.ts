import { BNLSTMCell, crossEntropy, Linear, SGD } from 'evenkeel';
import { PIXELS } from '../digits/digits.ts';
import type { Experiment } from './experiment.ts';
import { acrossSeeds, batchesOf, median, percent, pointsOf, restNow, score } from './training.ts';
import { t } from './words.ts';

const SIDE = 28;
const HIDDEN = 32;
const STEPS = 400;
const SIZE = 60;
const LR = 0.1;
/** Held-out digits that are looked at on the way. */
const LOOKED_AT = 1000;

/**
 * The rows of digits from the first with ink to the last: sequences of 10 to 20 steps, [N, 28, 28]
 * with rows of padding behind.
 */
function asSequences(
  images: Float32Array,
  rows: readonly number[],
): { data: Float32Array; shape: number[]; lengths: number[] } {
  const data = new Float32Array(rows.length * PIXELS);
  const lengths = rows.map((row, i) => {
    const image = images.subarray(row * PIXELS, (row + 1) * PIXELS);
    const first = Math.floor(image.findIndex((ink) => ink > 0) / SIDE);
    const last = Math.floor(image.findLastIndex((ink) => ink > 0) / SIDE);
    data.set(image.subarray(first * SIDE, (last + 1) * SIDE), i * PIXELS);
    return last + 1 - first;
  });
  return { data, shape: [rows.length, SIDE, SIDE], lengths };
}

/** Rows of digits as sequences of unequal length, read by an LSTM. */
export const sequences: Experiment = {
  name: 'sequences',
  title: t`Sequences of unequal length`,
  question: t`Does each time step need statistics of its own?`,
  claim: t`In an LSTM each time step needs statistics of its own.`,
  async run({ digits: { train, test }, seeds, share, show }) {
    const steps = Math.ceil(STEPS * share);
    const { every, points: x } = pointsOf(steps, 10);
    const curves: Record<'per step' | 'shared' | 'none', number[][]> = { 'per step': [], shared: [], none: [] };
    const held = asSequences(
      test.images,
      Array.from({ length: LOOKED_AT }, (_, i) => i),
    );
    const labels = test.labels.subarray(0, LOOKED_AT);
    const accuracyOf = (cell: BNLSTMCell, head: Linear) =>
      score(head.forward(cell.eval().forward(held, { lengths: held.lengths })).data, labels).accuracy;
    for (const seed of seeds) {
      for (const norm of [true, false]) {
        await show(t`LSTM ${norm ? t`with batch norm` : t`without`}, seed ${seed}`);
        const options = { output: 'last', seed } as const;
        const cell = new BNLSTMCell(SIDE, HIDDEN, norm ? { ...options, maxSteps: SIDE } : { ...options, norm: false });
        const shared =
          norm && new BNLSTMCell(SIDE, HIDDEN, { ...options, maxSteps: SIDE, shrinkage: Number.POSITIVE_INFINITY });
        const head = new Linear(HIDDEN, 10, { seed });
        const found: Record<string, number[]> = norm ? { 'per step': [], shared: [] } : { none: [] };
        const optimizer = new SGD([...cell.parameters(), ...head.parameters()], { lr: LR, momentum: 0.9 });
        const batches = batchesOf(train, SIZE, seed);
        for (let step = 1; step <= steps; step++) {
          const batch = batches.next().value!;
          const given = asSequences(train.images, batch.rows);
          const h = cell.train().forward(given, { lengths: given.lengths });
          const { grad } = crossEntropy(head.forward(h), batch.labels);
          for (const layer of [cell, head]) layer.zeroGrad();
          cell.backward(head.backward(grad));
          optimizer.lr = LR * (1 - (step - 1) / steps);
          optimizer.step();
          await restNow();
          if (step % every) continue;
          found[norm ? 'per step' : 'none'].push(accuracyOf(cell, head));
          if (!shared) continue;
          shared.loadStateDict(cell.stateDict());
          found.shared.push(accuracyOf(shared, head));
        }
        for (const [name, curve] of Object.entries(found)) curves[name as keyof typeof curves].push(curve);
        for (const layer of [cell, head, shared]) if (layer) layer.dispose();
      }
    }
    const end = (name: keyof typeof curves) => median(curves[name].map((run) => run.at(-1)!));
    const last = (name: keyof typeof curves) => percent(end(name));
    return {
      setup: t`The rows of a digit from the first with ink to the last, ${SIDE} pixels a step; LSTM with ${HIDDEN} hidden units, momentum 0.9, learning rate ${LR} falling to 0, ${steps} steps of ${SIZE}; the two with batch norm are the same nets, evaluated in two ways; ${LOOKED_AT} held-out digits.`,
      figures: [
        {
          title: t`Sequences of unequal length`,
          series: [
            { label: t`batch norm, statistics for each step`, tone: 'a', ...acrossSeeds(x, curves['per step']) },
            { label: t`batch norm, shared statistics`, tone: 'c', stroke: 'dotted', ...acrossSeeds(x, curves.shared) },
            { label: t`no batch norm`, tone: 'b', stroke: 'dashed', ...acrossSeeds(x, curves.none) },
          ],
          xLabel: t`training steps`,
          yLabel: t`test accuracy`,
          yRange: [0, 1],
        },
      ],
      verdict: t`After ${steps} steps the LSTM reads ${last('per step')} of the held-out digits with statistics for each time step, ${last('shared')} with statistics that all steps share, and ${last('none')} without batch norm.`,
      holds: end('per step') > end('shared') + 0.01,
    };
  },
};
