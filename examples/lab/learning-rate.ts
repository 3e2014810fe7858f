import type { Experiment } from './experiment.ts';
import { BOTH, compared, type Outcome, outcomeOf } from './grid.ts';
import { acrossSeeds, median } from './training.ts';
import { listed, t } from './words.ts';

const RATES = [0.01, 0.03, 0.1, 0.3, 1, 3, 10];
const STEPS = 500;
const DEFAULTS = { scale: 1, activation: 'tanh', depth: 3, batch: 60 } as const;

/** Steps to nine of ten over the learning rate. */
export const learningRate: Experiment = {
  name: 'learning-rate',
  title: t`Learning rate`,
  question: t`Does batch norm allow higher learning rates?`,
  claim: t`Batch norm allows higher learning rates.`,
  controls: DEFAULTS,
  async run({ digits, seeds, share, controls, show }) {
    const steps = Math.max(150, Math.ceil(STEPS * share));
    const set = { ...DEFAULTS, ...controls };
    const found: Record<string, Outcome[][]> = { batch: [], none: [] };
    for (const { norm, label } of BOTH) {
      for (const seed of seeds) {
        const outcomes: Outcome[] = [];
        for (const rate of RATES) {
          await show(t`${label}, rate ${rate}, seed ${seed}`);
          outcomes.push(await outcomeOf(digits, { seed, norm, steps, ...set, rate }));
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
    const where = (norm: string) =>
      works(norm).length
        ? t`at rates of ${listed(works(norm))} (at best in ${best(norm)} steps)`
        : t`at no rate that was tried`;
    const diverged = (norm: string) =>
      RATES.filter((_, i) => found[norm].some((run) => run[i].loss === Number.POSITIVE_INFINITY));
    return {
      setup: t`784, ${set.depth} hidden layers of 64, 10; ${set.activation}, weights of ${set.scale}/√inputs, batches of ${set.batch}; steps until 90 % of 500 held-out digits are recognised, ${steps} at most; where the loss stops being finite, or that is never reached, ${steps}.`,
      figures: [
        {
          title: t`Steps to nine of ten held-out digits`,
          series: compared((norm) => acrossSeeds(x, taken(norm))),
          xLabel: t`learning rate`,
          yLabel: t`steps (${steps}: never)`,
          xTicks: RATES.map((rate) => [Math.log10(rate), `${rate}`] as const),
        },
      ],
      tables: [
        {
          title: t`Loss at the end (medians)`,
          heads: [t`rate`, ...BOTH.map(({ label }) => label)],
          rows: RATES.map((rate, i) => [
            rate,
            ...BOTH.map(({ norm }) => {
              const loss = median(found[norm].map((run) => run[i].loss));
              return Number.isFinite(loss) ? Number(loss.toFixed(3)) : t`diverged`;
            }),
          ]),
        },
      ],
      verdict: t`With batch norm nine of ten are reached ${where('batch')}; without ${where('none')}${diverged('none').length ? t`; without it the loss stopped being finite at ${listed(diverged('none'))}` : ''}.`,
      holds: highest('batch') > highest('none'),
    };
  },
};
