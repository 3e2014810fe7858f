import { BatchNorm1d, GroupNorm, type Layer, LayerNorm, Linear, normal, Sequential, Tanh } from 'evenkeel';
import { PIXELS } from '../digits/digits.ts';
import type { Experiment } from './experiment.ts';
import { acrossSeeds, evaluate, median, percent, pointsOf, trainOn } from './training.ts';

const STEPS = 3000;
const UNITS = 32;

const WAYS: Record<string, (units: number) => Layer> = {
  'batch norm, which gives beta': (units) => new BatchNorm1d(units, { onSingleValue: 'skip-update' }),
  'batch norm that learns online': (units) => new BatchNorm1d(units, { onSingleValue: 'use-running', momentum: 0.01 }),
  'layer norm': (units) => new LayerNorm(units),
  'group norm, 4 groups': (units) => new GroupNorm(4, units),
};
const LINES = [
  { tone: 'b', stroke: 'dashed' },
  { tone: 'a' },
  { tone: 'c', stroke: 'dotted' },
  { tone: 'd', stroke: 'mixed' },
] as const;

/** Online learning: batches of one. */
export const oneAtATime: Experiment = {
  name: 'one-at-a-time',
  title: 'One at a time',
  question: 'What if samples come one by one?',
  setup: `784-${UNITS}-${UNITS}-10, tanh, ${STEPS} digits one by one, learning rate 0.02 falling to 0. A batch of one has no variance: batch norm gives beta, whatever came in.`,
  async run({ digits: { train, test }, seeds, share, show }) {
    const one = new BatchNorm1d(3, { onSingleValue: 'skip-update' });
    one.beta!.data.set([1, -2, 0.5]);
    const y = one.forward({ data: Float32Array.of(7, -300, 0.1), shape: [1, 3] }).data;
    const exact = y.every((value, c) => value === one.beta!.data[c]);
    const steps = Math.ceil(STEPS * share);
    const { every, points: x } = pointsOf(steps, 10);
    const curves: Record<string, number[][]> = {};
    for (const [name, norm] of Object.entries(WAYS)) {
      curves[name] = [];
      for (const seed of seeds) {
        await show(`${name}, seed ${seed}`);
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
        curves[name].push(found);
        net.dispose();
      }
    }
    const end = (name: string) => median(curves[name].map((run) => run.at(-1)!));
    const names = Object.keys(WAYS);
    return {
      figures: [
        {
          title: 'Accuracy over digits seen one by one',
          series: names.map((name, i) => ({ label: name, ...LINES[i], ...acrossSeeds(x, curves[name]) })),
          xLabel: 'digits seen',
          yLabel: 'test accuracy',
          yRange: [0, 1],
        },
      ],
      verdict: `A batch of one gives ${exact ? 'exactly beta' : 'something other than beta'}, and a net of such layers learns nothing (${percent(end(names[0]))}); batch norm that learns online ends at ${percent(end(names[1]))}, layer norm at ${percent(end(names[2]))}, group norm at ${percent(end(names[3]))}.`,
      holds: exact && end(names[0]) < 0.2 && names.slice(1).every((name) => end(name) > 0.5),
    };
  },
};
