import { BatchNorm1d, BatchRenorm, GroupNorm, type Layer, Linear, normal, Sequential, Tanh } from 'evenkeel';
import { PIXELS } from '../digits/digits.ts';
import type { Experiment } from './experiment.ts';
import { acrossSeeds, evaluate, median, percent, trainOn } from './training.ts';
import { type Text, t } from './words.ts';

const SIZES = [64, 32, 16, 8, 4, 2];
/** Digits that each net sees, in batches of whatever size. */
const SEEN = 8000;
const UNITS = 64;

const NORMS: readonly { label: Text; norm: (units: number) => Layer }[] = [
  { label: t`batch norm`, norm: (units) => new BatchNorm1d(units) },
  {
    label: t`batch renorm`,
    norm: (units) =>
      new BatchRenorm(units, {
        momentum: 0.02,
        rMax: (batches) => Math.min(3, 1 + batches / 100),
        dMax: (batches) => Math.min(5, batches / 50),
      }),
  },
  {
    label: t`ghost batch norm, ${8} at a time`,
    norm: (units) => new BatchNorm1d(units, { virtualBatchSize: 8 }),
  },
  { label: t`group norm, ${8} groups`, norm: (units) => new GroupNorm(8, units) },
];
const [BATCH, RENORM, , GROUP] = [0, 1, 2, 3];

const TONES = [
  { tone: 'a' },
  { tone: 'b', stroke: 'dashed' },
  { tone: 'c', stroke: 'dotted' },
  { tone: 'd', stroke: 'mixed' },
] as const;

/** Accuracy over the batch size: statistics of few samples are noise, and evaluation has others. */
export const smallBatches: Experiment = {
  name: 'small-batches',
  title: t`Small batches`,
  question: t`How small may a batch be?`,
  claim: t`Batch norm suffers from small batches; group norm does not.`,
  async run({ digits: { train, test }, seeds, share, show }) {
    const seen = SEEN * share;
    const found: number[][][] = [];
    for (const { label, norm } of NORMS) {
      const bySeed: number[][] = [];
      for (const seed of seeds) {
        const accuracies: number[] = [];
        for (const size of SIZES) {
          await show(t`${label}, batches of ${size}, seed ${seed}`);
          const net = new Sequential(
            new Linear(PIXELS, UNITS, { init: normal(0.05), seed }),
            norm(UNITS),
            new Tanh(),
            new Linear(UNITS, UNITS, { init: normal(0.1), seed: seed + 100 }),
            norm(UNITS),
            new Tanh(),
            new Linear(UNITS, 10, { init: normal(0.1), seed: seed + 200 }),
          );
          await trainOn(net, train, { steps: Math.ceil(seen / size), size, lr: 0.02 * Math.sqrt(size), seed });
          accuracies.push(evaluate(net, test).accuracy);
          net.dispose();
        }
        bySeed.push(accuracies);
      }
      found.push(bySeed);
    }
    const x = SIZES.map((size) => Math.log2(size));
    const at = (k: number, size: number) => median(found[k].map((run) => run[SIZES.indexOf(size)]));
    const lost = (k: number) => t`${percent(at(k, 64))} to ${percent(at(k, 2))}`;
    return {
      setup: t`784-${UNITS}-${UNITS}-10, tanh; ${seen} digits seen in batches of every size, learning rate 0.02·√batch falling to 0; ghost batch norm is batch norm from 8 down.`,
      figures: [
        {
          title: t`Small batches`,
          series: NORMS.map(({ label }, i) => ({ label, ...TONES[i], ...acrossSeeds(x, found[i]) })),
          xLabel: t`samples in a batch`,
          yLabel: t`test accuracy`,
          xTicks: SIZES.map((size) => [Math.log2(size), `${size}`] as const),
        },
      ],
      verdict: t`From batches of 64 to batches of 2 batch norm goes from ${lost(BATCH)}, batch renorm from ${lost(RENORM)}, group norm from ${lost(GROUP)}.`,
      holds: at(BATCH, 2) < at(BATCH, 8) - 0.05 && at(GROUP, 2) > at(BATCH, 2) + 0.05 && at(RENORM, 2) > at(BATCH, 2),
    };
  },
};
