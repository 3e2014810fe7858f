import { BatchNorm1d, GroupNorm, type Layer, LayerNorm, Linear, normal, Sequential, Tanh } from 'evenkeel';
import { PIXELS } from '../digits/digits.ts';
import type { Experiment } from './experiment.ts';
import { acrossSeeds, evaluate, median, percent, pointsOf, trainOn } from './training.ts';
import { type Text, t } from './words.ts';

const STEPS = 3000;
const UNITS = 32;

const WAYS: readonly { label: Text; norm: (units: number) => Layer }[] = [
  {
    label: t`batch norm, which gives beta`,
    norm: (units) => new BatchNorm1d(units, { onSingleValue: 'skip-update' }),
  },
  {
    label: t`batch norm that learns online`,
    norm: (units) => new BatchNorm1d(units, { onSingleValue: 'use-running', momentum: 0.01 }),
  },
  { label: t`layer norm`, norm: (units) => new LayerNorm(units) },
  { label: t`group norm, ${4} groups`, norm: (units) => new GroupNorm(4, units) },
];
const LINES = [
  { tone: 'b', stroke: 'dashed' },
  { tone: 'a' },
  { tone: 'c', stroke: 'dotted' },
  { tone: 'd', stroke: 'mixed' },
] as const;

/** Online learning: batches of one. */
export const oneAtATime: Experiment = {
  name: 'one-at-a-time',
  title: t`One at a time`,
  question: t`What if samples come one by one?`,
  claim: t`On batches of one plain batch norm learns nothing, and norms without a batch do.`,
  async run({ digits: { train, test }, seeds, share, show }) {
    const one = new BatchNorm1d(3, { onSingleValue: 'skip-update' });
    one.beta!.data.set([1, -2, 0.5]);
    const y = one.forward({ data: Float32Array.of(7, -300, 0.1), shape: [1, 3] }).data;
    const exact = y.every((value, c) => value === one.beta!.data[c]);
    const steps = Math.ceil(STEPS * share);
    const { every, points: x } = pointsOf(steps, 10);
    const curves: number[][][] = [];
    for (const { label, norm } of WAYS) {
      const bySeed: number[][] = [];
      for (const seed of seeds) {
        await show(t`${label}, seed ${seed}`);
        const net = new Sequential(
          new Linear(PIXELS, UNITS, { init: normal(0.05), seed }),
          norm(UNITS),
          new Tanh(),
          new Linear(UNITS, UNITS, { init: normal(0.15), seed: seed + 100 }),
          norm(UNITS),
          new Tanh(),
          new Linear(UNITS, 10, { init: normal(0.15), seed: seed + 200 }),
        );
        const found: number[] = [];
        await trainOn(net, train, { steps, size: 1, lr: 0.02, seed }, (step) => {
          if (step % every === 0) found.push(evaluate(net, test).accuracy);
        });
        bySeed.push(found);
        net.dispose();
      }
      curves.push(bySeed);
    }
    const ends = curves.map((bySeed) => median(bySeed.map((run) => run.at(-1)!)));
    return {
      setup: t`784-${UNITS}-${UNITS}-10, tanh, ${steps} digits one by one, learning rate 0.02 falling to 0. A batch of one has no variance: batch norm gives beta, whatever came in.`,
      figures: [
        {
          title: t`Accuracy over digits seen one by one`,
          series: WAYS.map(({ label }, i) => ({ label, ...LINES[i], ...acrossSeeds(x, curves[i]) })),
          xLabel: t`digits seen`,
          yLabel: t`test accuracy`,
          yRange: [0, 1],
        },
      ],
      verdict: t`A batch of one gives ${exact ? t`exactly beta` : t`something other than beta`}, and a net of such layers ends at ${percent(ends[0])} (a tenth is chance); batch norm that learns online ends at ${percent(ends[1])}, layer norm at ${percent(ends[2])}, group norm at ${percent(ends[3])}.`,
      holds: exact && ends[0] < 0.2 && ends.slice(1).every((end) => end > 0.5),
    };
  },
};
