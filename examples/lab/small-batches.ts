import { BatchNorm1d, BatchRenorm, GroupNorm, type Layer, Linear, normal, Sequential, Tanh } from 'evenkeel';
import { PIXELS } from '../digits/digits.ts';
import type { Experiment } from './experiment.ts';
import { acrossSeeds, evaluate, median, percent, trainOn } from './training.ts';

const SIZES = [64, 32, 16, 8, 4, 2];
/** Digits that each net sees, in batches of whatever size. */
const SEEN = 8000;
const UNITS = 64;

const NORMS: Record<string, (units: number) => Layer> = {
  'batch norm': (units) => new BatchNorm1d(units),
  'batch renorm': (units) =>
    new BatchRenorm(units, {
      momentum: 0.02,
      rMax: (batches) => Math.min(3, 1 + batches / 100),
      dMax: (batches) => Math.min(5, batches / 50),
    }),
  'ghost batch norm, 8 at a time': (units) => new BatchNorm1d(units, { virtualBatchSize: 8 }),
  'group norm, 8 groups': (units) => new GroupNorm(8, units),
};

const TONES = [
  { tone: 'a' },
  { tone: 'b', stroke: 'dashed' },
  { tone: 'c', stroke: 'dotted' },
  { tone: 'd', stroke: 'mixed' },
] as const;

/** Accuracy over the batch size: statistics of few samples are noise, and evaluation has others. */
export const smallBatches: Experiment = {
  name: 'small-batches',
  title: 'Small batches',
  question: 'How small may a batch be?',
  setup: `784-${UNITS}-${UNITS}-10, tanh; ${SEEN} digits seen in batches of every size, learning rate 0.02·√batch falling to 0; ghost batch norm is batch norm from 8 down.`,
  async run({ digits: { train, test }, seeds, share, show }) {
    const seen = SEEN * share;
    const found: { name: string; bySeed: number[][] }[] = [];
    for (const [name, norm] of Object.entries(NORMS)) {
      const bySeed: number[][] = [];
      for (const seed of seeds) {
        const accuracies: number[] = [];
        for (const size of SIZES) {
          await show(`${name}, batches of ${size}, seed ${seed}`);
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
      found.push({ name, bySeed });
    }
    const x = SIZES.map((size) => Math.log2(size));
    const at = (name: string, size: number) => {
      const { bySeed } = found.find((one) => one.name === name)!;
      return median(bySeed.map((run) => run[SIZES.indexOf(size)]));
    };
    const lost = (name: string) => `${percent(at(name, 64))} to ${percent(at(name, 2))}`;
    return {
      figures: [
        {
          title: 'Small batches',
          series: found.map(({ name, bySeed }, i) => ({ label: name, ...TONES[i], ...acrossSeeds(x, bySeed) })),
          xLabel: 'samples in a batch',
          yLabel: 'test accuracy',
          xTicks: SIZES.map((size) => [Math.log2(size), `${size}`] as const),
        },
      ],
      verdict: `From batches of 64 to batches of 2 batch norm goes from ${lost('batch norm')}, batch renorm from ${lost('batch renorm')}, group norm from ${lost('group norm, 8 groups')}.`,
      holds:
        at('batch norm', 2) < at('batch norm', 8) - 0.05 &&
        at('group norm, 8 groups', 2) > at('batch norm', 2) + 0.05 &&
        at('batch renorm', 2) > at('batch norm', 2),
    };
  },
};
