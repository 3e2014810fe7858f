import { BatchNorm1d, BatchRenorm, GroupNorm, type Layer, Linear, normal, Sequential, Tanh } from 'evenkeel';
import { PIXELS } from '../digits/data.ts';
import { acrossSeeds, type Experiment, evaluate, median, percent, trainOn } from './experiment.ts';

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
export const smallBatches: Experiment = async ({ train, test }, { seeds, share }, show) => {
  const seen = SEEN * share;
  const found = Object.entries(NORMS).map(([name, norm]) => ({
    name,
    bySeed: seeds.map((seed) =>
      SIZES.map((size) => {
        show(`${name}, batches of ${size}, seed ${seed}`);
        const net = new Sequential(
          new Linear(PIXELS, UNITS, { init: normal(0.05), seed }),
          norm(UNITS),
          new Tanh(),
          new Linear(UNITS, UNITS, { init: normal(0.1), seed: seed + 100 }),
          norm(UNITS),
          new Tanh(),
          new Linear(UNITS, 10, { init: normal(0.1), seed: seed + 200 }),
        );
        trainOn(net, train, { steps: Math.ceil(seen / size), size, lr: 0.02 * Math.sqrt(size), seed });
        const { accuracy } = evaluate(net, test);
        net.dispose();
        return accuracy;
      }),
    ),
  }));
  const x = SIZES.map((size) => Math.log2(size));
  const at = (name: string, size: number) => {
    const { bySeed } = found.find((one) => one.name === name)!;
    return median(bySeed.map((run) => run[SIZES.indexOf(size)]));
  };
  const lost = (name: string) => `${percent(at(name, 64))} to ${percent(at(name, 2))}`;
  return {
    title: 'Small batches',
    sentence: `From batches of 64 to batches of 2 batch norm goes from ${lost('batch norm')}, batch renorm from ${lost('batch renorm')}, group norm from ${lost('group norm, 8 groups')}.`,
    method: `784-${UNITS}-${UNITS}-10, tanh, ${seen} digits seen in batches of every size, learning rate 0.02·√batch falling to 0; ghost batch norm is batch norm from 8 down.`,
    series: found.map(({ name, bySeed }, i) => ({ label: name, ...TONES[i], ...acrossSeeds(x, bySeed) })),
    xLabel: 'samples in a batch',
    yLabel: 'test accuracy',
    xTicks: SIZES.map((size) => [Math.log2(size), `${size}`] as const),
  };
};
