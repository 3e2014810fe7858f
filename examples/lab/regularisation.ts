import { PIXELS } from '../digits/digits.ts';
import type { Experiment } from './experiment.ts';
import { BOTH } from './grid.ts';
import { acrossSeeds, batchesOf, buildNet, evaluate, firstOf, median, percent, trainOn } from './training.ts';

const SIZES = [2, 4, 8, 16, 32, 64, 128];
const TRIALS = 200;
const FEW = 300;
const STEPS = 300;

/** The noise of batch mates, and what it does to the gap between training and test. */
export const regularisation: Experiment = {
  name: 'regularisation',
  title: 'A little noise',
  question: 'Why does batch norm regularise?',
  setup: `One digit in ${TRIALS} batches of 2 to 128 others, through an untrained net with one hidden layer of 64 tanh units and batch norm: deviation of its outputs over the batches. And 784-64-64-64-10, tanh, trained on ${FEW} digits for ${STEPS} steps of 60 at a rate of 0.2.`,
  controls: ['rate', 'activation', 'depth'],
  async run({ digits: { train, test }, seeds, share, controls, show }) {
    const trials = Math.max(50, Math.ceil(TRIALS * share));
    const noise: number[][] = [];
    for (const seed of seeds) {
      const net = buildNet({ seed, norm: 'batch', depth: 1 });
      const one = train.images.subarray(0, PIXELS);
      const deviations: number[] = [];
      for (const size of SIZES) {
        await show(`batches of ${size}, seed ${seed}`);
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
    for (const { norm } of BOTH) {
      for (const seed of seeds) {
        await show(`${norm}, ${FEW} digits, seed ${seed}`);
        const net = buildNet({ seed, norm, activation: controls.activation, depth: controls.depth });
        await trainOn(net, few, { steps, size: 60, lr: controls.rate ?? 0.2, seed });
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
      figures: [
        {
          title: "Deviation of one digit's outputs over its batches",
          series: [
            { label: 'measured', tone: 'a', ...acrossSeeds(x, noise) },
            { label: 'with 1/√batch', tone: 'b', stroke: 'dashed', x, y: law },
          ],
          xLabel: 'samples in a batch',
          yLabel: 'deviation',
          xTicks: SIZES.map((size) => [Math.log2(size), `${size}`] as const),
        },
      ],
      tables: [
        {
          title: `Trained on ${FEW} digits (medians)`,
          heads: ['', 'test accuracy', 'training accuracy less test accuracy'],
          rows: BOTH.map(({ norm, label }) => [label, percent(median(tested[norm])), percent(median(gaps[norm]))]),
        },
      ],
      verdict: `One digit's output wavers with its batch mates, by (batch size) to the power of ${slope.toFixed(2)} (1/√batch is −0.50): noise that training has and evaluation has not. On ${FEW} digits the gap between training and test accuracy is ${percent(median(gaps.batch))} with batch norm and ${percent(median(gaps.none))} without.`,
      holds: Math.abs(slope + 0.5) < 0.12,
    };
  },
};
