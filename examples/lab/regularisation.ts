import { PIXELS } from '../digits/digits.ts';
import type { Experiment } from './experiment.ts';
import { BOTH } from './grid.ts';
import { acrossSeeds, batchesOf, buildNet, evaluate, firstOf, median, percent, trainOn } from './training.ts';
import { t } from './words.ts';

const SIZES = [2, 4, 8, 16, 32, 64, 128];
const TRIALS = 200;
const FEW = 300;
const STEPS = 300;
const DEFAULTS = { rate: 0.2, activation: 'tanh', depth: 3 } as const;
/** A smaller difference of gaps is noise. */
const NOISE = 0.01;

/** The noise of batch mates, and what it does to the gap between training and test. */
export const regularisation: Experiment = {
  name: 'regularisation',
  title: t`A little noise`,
  question: t`Does batch norm regularise?`,
  claim: t`Batch norm narrows the gap between training and test accuracy.`,
  controls: DEFAULTS,
  async run({ digits: { train, test }, seeds, share, controls, show }) {
    const { rate, activation, depth } = { ...DEFAULTS, ...controls };
    const trials = Math.max(50, Math.ceil(TRIALS * share));
    const noise: number[][] = [];
    for (const seed of seeds) {
      const net = buildNet({ seed, norm: 'batch', depth: 1 });
      const one = train.images.subarray(0, PIXELS);
      const deviations: number[] = [];
      for (const size of SIZES) {
        await show(t`batches of ${size}, seed ${seed}`);
        const batches = batchesOf(train, size, seed);
        const outputs: Float32Array[] = [];
        for (let i = 0; i < trials; i++) {
          const { x } = batches.next().value!;
          x.data.set(one, 0);
          outputs.push(net.forward(x).data.slice(0, 10));
        }
        const variance = Array.from({ length: 10 }, (_, k) => {
          const mean = outputs.reduce((sum, y) => sum + y[k], 0) / trials;
          return outputs.reduce((sum, y) => sum + (y[k] - mean) ** 2, 0) / trials;
        });
        deviations.push(Math.sqrt(variance.reduce((a, b) => a + b, 0) / 10));
      }
      noise.push(deviations);
      net.dispose();
    }
    const gaps: Record<string, number[]> = { batch: [], none: [] };
    const tested: Record<string, number[]> = { batch: [], none: [] };
    const few = firstOf(train, FEW);
    const steps = Math.max(100, Math.ceil(STEPS * share));
    for (const { norm, label } of BOTH) {
      for (const seed of seeds) {
        await show(t`${label}, ${FEW} digits, seed ${seed}`);
        const net = buildNet({ seed, norm, activation, depth });
        await trainOn(net, few, { steps, size: 60, lr: rate, seed });
        const [own, held] = [evaluate(net, few).accuracy, evaluate(net, test).accuracy];
        gaps[norm].push(own - held);
        tested[norm].push(held);
        net.dispose();
      }
    }
    const x = SIZES.map(Math.log2);
    const middle = SIZES.map((_, i) => median(noise.map((run) => run[i])));
    // the slope of the logarithms from batches of 8 on: −1/2 where the deviation goes with 1/√batch
    const slope = Math.log2(middle.at(-1)! / middle[2]) / (x.at(-1)! - x[2]);
    const law = SIZES.map((size) => middle[4] * Math.sqrt(32 / size));
    return {
      setup: t`One digit in ${trials} batches of 2 to 128 others, through an untrained net with one hidden layer of 64 tanh units and batch norm: deviation of its outputs over the batches. And 784, ${depth} hidden layers of 64, 10; ${activation}, trained on ${FEW} digits for ${steps} steps of 60 at a rate of ${rate} falling to 0.`,
      figures: [
        {
          title: t`Deviation of one digit's outputs over its batches`,
          series: [
            { label: t`measured`, tone: 'a', ...acrossSeeds(x, noise) },
            { label: t`with 1/√batch`, tone: 'b', stroke: 'dashed', x, y: law },
          ],
          xLabel: t`samples in a batch`,
          yLabel: t`deviation`,
          xTicks: SIZES.map((size) => [Math.log2(size), `${size}`] as const),
        },
      ],
      tables: [
        {
          title: t`Trained on ${FEW} digits (medians)`,
          heads: ['', t`test accuracy`, t`training accuracy less test accuracy`],
          rows: BOTH.map(({ norm, label }) => [label, percent(median(tested[norm])), percent(median(gaps[norm]))]),
        },
      ],
      verdict: t`On ${FEW} digits the gap between training and test accuracy is ${percent(median(gaps.batch))} with batch norm and ${percent(median(gaps.none))} without. The noise that is said to narrow it is there: one digit's output wavers with its batch mates, by (batch size) to the power of ${slope.toFixed(2)} (1/√batch is −0.50).`,
      holds: median(tested.none) > 0.5 && median(gaps.batch) < median(gaps.none) - NOISE,
    };
  },
};
