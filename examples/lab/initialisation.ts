import type { Experiment } from './experiment.ts';
import { BOTH, compared, outcomeOf } from './grid.ts';
import { acrossSeeds, median } from './training.ts';
import { listed, t } from './words.ts';

const SCALES = [0.01, 0.1, 0.5, 1, 2, 5, 10];
const STEPS = 200;
const DEFAULTS = { rate: 0.1, activation: 'tanh', depth: 3, batch: 60 } as const;

/** Loss over the scale of the first weights. */
export const initialisation: Experiment = {
  name: 'initialisation',
  title: t`Initialisation`,
  question: t`How much does it matter how the weights begin?`,
  claim: t`With batch norm the scale of the initial weights matters less.`,
  controls: DEFAULTS,
  async run({ digits, seeds, share, controls, show }) {
    const steps = Math.max(50, Math.ceil(STEPS * share));
    const set = { ...DEFAULTS, ...controls };
    const found: Record<string, number[][]> = { batch: [], none: [] };
    for (const { norm, label } of BOTH) {
      for (const seed of seeds) {
        const losses: number[] = [];
        for (const scale of SCALES) {
          await show(t`${label}, scale ${scale}, seed ${seed}`);
          const { loss } = await outcomeOf(digits, {
            seed,
            norm,
            scale,
            steps,
            ...set,
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
      setup: t`784, ${set.depth} hidden layers of 64, 10; ${set.activation}, weights of ${listed(SCALES)} times 1/√inputs, ${steps} steps of ${set.batch} at a rate of ${set.rate}.`,
      figures: [
        {
          title: t`Training loss at the end`,
          series: compared((norm) => acrossSeeds(x, found[norm])),
          xLabel: t`initial scale`,
          yLabel: t`loss (10: that or more)`,
          xTicks: SCALES.map((scale) => [Math.log10(scale), `${scale}`] as const),
        },
      ],
      verdict: t`Over scales of 0.01 to 10 the loss after ${steps} steps differs by ${spread('batch').toFixed(2)} with batch norm and by ${spread('none').toFixed(2)} without.`,
      holds: spread('batch') < spread('none'),
    };
  },
};
