import type { Sequential } from 'evenkeel';
import type { Experiment } from './experiment.ts';
import { BOTH, compared } from './grid.ts';
import { acrossSeeds, buildNet, evaluate, median, percent, pointsOf, spread, trainOn } from './training.ts';
import { t } from './words.ts';

/** A shorter run is too short for the net without batch norm: it stays at chance. */
const STEPS = 600;
const DEFAULTS = { scale: 1, rate: 0.5, activation: 'sigmoid', depth: 3, batch: 60 } as const;
/** Times of both nets in turns: so many rounds, so many steps in each. */
const ROUNDS = 15;
const BLOCK = 10;
/** A net that recognises fewer has learned nothing to compare with: a tenth is chance. */
const LEARNED = 0.3;

/** Accuracy over steps, and what a step costs. */
export const speed: Experiment = {
  name: 'speed',
  title: t`Speed`,
  question: t`Does batch norm make training faster, counted in steps?`,
  claim: t`Batch norm saves training steps.`,
  controls: DEFAULTS,
  async run({ digits: { train, test }, seeds, controls, show }) {
    const { activation, scale, depth, batch, rate } = { ...DEFAULTS, ...controls };
    const { every, points: x } = pointsOf(STEPS, 100);
    const accuracy: Record<string, number[][]> = { batch: [], none: [] };
    const ratios: number[] = [];
    const times: Record<string, number[]> = { batch: [], none: [] };
    for (const seed of seeds) {
      const nets: Record<string, Sequential> = {};
      for (const { norm, label } of BOTH) {
        await show(t`${label}, seed ${seed}`);
        const net = (nets[norm] = buildNet({ seed, norm, activation, scale, depth }));
        const seen: number[] = [];
        await trainOn(net, train, { steps: STEPS, size: batch, lr: rate, seed }, (step) => {
          if (step % every === 0) seen.push(evaluate(net, test).accuracy);
        });
        accuracy[norm].push(seen);
      }
      for (let round = 0; round < ROUNDS; round++) {
        await show(t`timing, seed ${seed}`);
        const took: Record<string, number> = {};
        // who comes first changes from round to round
        for (const { norm } of round % 2 ? BOTH : [...BOTH].reverse()) {
          const start = performance.now();
          await trainOn(nets[norm], train, { steps: BLOCK, size: batch, lr: 0, seed: round });
          took[norm] = (performance.now() - start) / BLOCK;
          times[norm].push(took[norm]);
        }
        ratios.push(took.batch / took.none);
      }
      for (const net of Object.values(nets)) net.dispose();
    }
    const end = median(accuracy.none.map((run) => run.at(-1)!));
    const best = median(accuracy.batch.map((run) => run.at(-1)!));
    const reached = median(
      accuracy.batch.map((run) => x[run.findIndex((value) => value >= end)] ?? Number.POSITIVE_INFINITY),
    );
    const cost = t` A step takes ${spread(ratios)} times as long with batch norm (median; the middle half of ${ratios.length} rounds in turns).`;
    const steps = t`With batch norm ${reached} steps reach the ${percent(end)} that ${STEPS} steps without it end with: 1/${(STEPS / reached).toFixed(1)} of the steps.`;
    const never = t`With batch norm ${STEPS} steps end at ${percent(best)}, without it at ${percent(end)}: no step is saved.`;
    const nothing = t`Without batch norm ${STEPS} steps end at ${percent(end)}: that net has learned nothing to compare steps with (with batch norm ${percent(best)}).`;
    return {
      setup: t`784, ${depth} hidden layers of 64, 10; ${activation}, weights of ${scale}/√inputs, ${STEPS} steps of ${batch} at a rate of ${rate} falling to 0. Times of steps are taken afterwards, of both nets in turns.`,
      figures: [
        {
          title: t`Accuracy over steps`,
          series: compared((norm) => acrossSeeds(x, accuracy[norm])),
          xLabel: t`training steps`,
          yLabel: t`test accuracy`,
          yRange: [0, 1],
        },
      ],
      tables: [
        {
          title: t`Milliseconds a step (median; the middle half of the rounds)`,
          heads: ['', t`milliseconds`],
          rows: BOTH.map(({ norm, label }) => [label, spread(times[norm])]),
        },
      ],
      verdict: t`${end < LEARNED ? nothing : Number.isFinite(reached) ? steps : never}${cost}`,
      holds: end >= LEARNED && STEPS / reached > 1.5,
    };
  },
};
