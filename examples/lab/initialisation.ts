import type { Experiment } from './experiment.ts';
import { BOTH, compared, outcomeOf } from './grid.ts';
import { acrossSeeds, median } from './training.ts';
import { listed, t } from './words.ts';

const SCALES = [0.01, 0.1, 0.5, 1, 2, 5, 10];
const STEPS = 200;
/** Top of the axis: a loss beyond it is not told from others. */
const MOST_LOSS = 10;
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
        const ends: number[] = [];
        for (const scale of SCALES) {
          await show(t`${label}, scale ${scale}, seed ${seed}`);
          const { loss } = await outcomeOf(digits, {
            seed,
            norm,
            scale,
            steps,
            ...set,
          });
          ends.push(Math.min(loss, MOST_LOSS));
        }
        found[norm].push(ends);
      }
    }
    const x = SCALES.map(Math.log10);
    const losses = (norm: string) => SCALES.map((_, i) => median(found[norm].map((run) => run[i])));
    const spread = (norm: string) => Math.max(...losses(norm)) - Math.min(...losses(norm));
    const lost = BOTH.filter(({ norm }) => losses(norm).every((loss) => loss >= MOST_LOSS)).map(({ label }) => label);
    const differences = t`Over scales of 0.01 to 10 the loss after ${steps} steps differs by ${spread('batch').toFixed(2)} with batch norm and by ${spread('none').toFixed(2)} without.`;
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
      verdict: lost.length
        ? t`At a rate of ${set.rate} the loss after ${steps} steps is ${MOST_LOSS} or more at every scale (${listed(lost)}): there is nothing to compare.`
        : differences,
      holds: lost.length === 0 && spread('batch') < spread('none'),
    };
  },
};
