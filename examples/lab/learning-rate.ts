import type { Experiment } from './experiment.ts';
import { BOTH, compared, type Outcome, outcomeOf } from './grid.ts';
import { acrossSeeds, median } from './training.ts';

const RATES = [0.01, 0.03, 0.1, 0.3, 1, 3, 10];
const STEPS = 500;

/** Steps to nine of ten over the learning rate. */
export const learningRate: Experiment = {
  name: 'learning-rate',
  title: 'Learning rate',
  question: 'Does batch norm allow higher learning rates?',
  setup: `784-64-64-64-10, tanh, weights of 1/√inputs, batches of 60; steps until 90 % of 500 held-out digits are recognised, ${STEPS} at most; where the loss stops being finite, or that is never reached, ${STEPS}.`,
  controls: ['scale', 'activation', 'depth', 'batch'],
  async run({ digits, seeds, share, controls, show }) {
    const steps = Math.max(150, Math.ceil(STEPS * share));
    const found: Record<string, Outcome[][]> = { batch: [], none: [] };
    for (const { norm } of BOTH) {
      for (const seed of seeds) {
        const outcomes: Outcome[] = [];
        for (const rate of RATES) {
          await show(`${norm}, rate ${rate}, seed ${seed}`);
          outcomes.push(await outcomeOf(digits, { seed, norm, steps, ...controls, rate }));
        }
        found[norm].push(outcomes);
      }
    }
    const x = RATES.map(Math.log10);
    const taken = (norm: string) => found[norm].map((run) => run.map(({ reached }) => reached ?? steps));
    const at = (norm: string, i: number) => median(taken(norm).map((run) => run[i]));
    const best = (norm: string) => Math.min(...RATES.map((_, i) => at(norm, i)));
    const works = (norm: string) => RATES.filter((_, i) => at(norm, i) < steps);
    const highest = (norm: string) => works(norm).at(-1) ?? 0;
    const list = (norm: string) => works(norm).join(', ') || 'none';
    const diverged = (norm: string) =>
      RATES.filter((_, i) => found[norm].some((run) => run[i].loss === Number.POSITIVE_INFINITY));
    return {
      figures: [
        {
          title: 'Steps to nine of ten held-out digits',
          series: compared((norm) => acrossSeeds(x, taken(norm))),
          xLabel: 'learning rate',
          yLabel: `steps (${steps}: never)`,
          xTicks: RATES.map((rate) => [Math.log10(rate), `${rate}`] as const),
        },
      ],
      tables: [
        {
          title: 'Loss at the end (medians)',
          heads: ['rate', ...BOTH.map(({ label }) => label)],
          rows: RATES.map((rate, i) => [
            rate,
            ...BOTH.map(({ norm }) => {
              const loss = median(found[norm].map((run) => run[i].loss));
              return Number.isFinite(loss) ? Number(loss.toFixed(3)) : 'diverged';
            }),
          ]),
        },
      ],
      verdict: `With batch norm nine of ten are reached at rates of ${list('batch')}, at best in ${best('batch')} steps; without at ${list('none')}, at best in ${best('none')}${diverged('none').length ? `; without it the loss stopped being finite at ${diverged('none').join(', ')}` : ''}.`,
      holds: highest('batch') > highest('none'),
    };
  },
};
