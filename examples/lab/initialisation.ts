import type { Experiment } from './experiment.ts';
import { BOTH, compared, outcomeOf } from './grid.ts';
import { acrossSeeds, median } from './training.ts';

const SCALES = [0.01, 0.1, 0.5, 1, 2, 5, 10];
const STEPS = 200;

/** Loss over the scale of the first weights. */
export const initialisation: Experiment = {
  name: 'initialisation',
  title: 'Initialisation',
  question: 'How much does it matter how the weights begin?',
  setup: `784-64-64-64-10, tanh, weights of 0.01 to 10 times 1/√inputs, ${STEPS} steps of 60 at a rate of 0.1.`,
  controls: ['rate', 'activation', 'depth', 'batch'],
  async run({ digits, seeds, share, controls, show }) {
    const steps = Math.max(50, Math.ceil(STEPS * share));
    const found: Record<string, number[][]> = { batch: [], none: [] };
    for (const { norm } of BOTH) {
      for (const seed of seeds) {
        const losses: number[] = [];
        for (const scale of SCALES) {
          await show(`${norm}, scale ${scale}, seed ${seed}`);
          const { loss } = await outcomeOf(digits, {
            seed,
            norm,
            scale,
            steps,
            ...controls,
            rate: controls.rate ?? 0.1,
          });
          losses.push(Math.min(loss, 10));
        }
        found[norm].push(losses);
      }
    }
    const x = SCALES.map(Math.log10);
    const spread = (norm: string) => {
      const losses = SCALES.map((_, i) => median(found[norm].map((run) => run[i])));
      return Math.max(...losses) - Math.min(...losses);
    };
    return {
      figures: [
        {
          title: 'Training loss at the end',
          series: compared((norm) => acrossSeeds(x, found[norm])),
          xLabel: 'initial scale',
          yLabel: 'loss (10: that or more)',
          xTicks: SCALES.map((scale) => [Math.log10(scale), `${scale}`] as const),
        },
      ],
      verdict: `Over scales of 0.01 to 10 the loss after ${steps} steps differs by ${spread('batch').toFixed(2)} with batch norm and by ${spread('none').toFixed(2)} without.`,
      holds: spread('batch') < spread('none'),
    };
  },
};
