import type { Experiment } from './experiment.ts';
import { BOTH, compared } from './grid.ts';
import { acrossSeeds, buildNet, evaluate, median, percent, pointsOf, trainOn } from './training.ts';

const STEPS = 600;

/** Accuracy over steps, and over seconds. */
export const speed: Experiment = {
  name: 'speed',
  title: 'Speed',
  question: 'Does batch norm make training faster, counted in steps and in seconds?',
  setup: `784-64-64-64-10, sigmoid, weights of 1/√inputs, ${STEPS} steps of 60 at a rate of 0.5 falling to 0; time is that of the steps alone.`,
  controls: ['scale', 'rate', 'activation', 'depth', 'batch'],
  async run({ digits: { train, test }, seeds, share, controls, show }) {
    const steps = Math.ceil(STEPS * share);
    const { every, points: x } = pointsOf(steps, 25);
    const accuracy: Record<string, number[][]> = { batch: [], none: [] };
    const perStep: Record<string, number[]> = { batch: [], none: [] };
    const { activation = 'sigmoid', scale, depth } = controls;
    for (const seed of seeds) {
      for (const { norm } of BOTH) {
        await show(`${norm}, seed ${seed}`);
        const net = buildNet({ seed, norm, activation, scale, depth });
        const seen: number[] = [];
        let spent = 0;
        let start = performance.now();
        await trainOn(net, train, { steps, size: controls.batch ?? 60, lr: controls.rate ?? 0.5, seed }, (step) => {
          if (step % every) return;
          spent += performance.now() - start;
          seen.push(evaluate(net, test).accuracy);
          start = performance.now();
        });
        accuracy[norm].push(seen);
        perStep[norm].push(spent / (every * seen.length));
        net.dispose();
      }
    }
    const cost = (norm: string) => median(perStep[norm]);
    const curves = (unit: (norm: string) => number) =>
      compared((norm) =>
        acrossSeeds(
          x.map((step) => step * unit(norm)),
          accuracy[norm],
        ),
      );
    const end = median(accuracy.none.map((run) => run.at(-1)!));
    const reached = median(
      accuracy.batch.map((run) => x[run.findIndex((value) => value >= end)] ?? Number.POSITIVE_INFINITY),
    );
    const inSteps = steps / reached;
    const inTime = inSteps / (cost('batch') / cost('none'));
    return {
      figures: [
        {
          title: 'Accuracy over steps',
          series: curves(() => 1),
          xLabel: 'training steps',
          yLabel: 'test accuracy',
          yRange: [0, 1],
        },
        {
          title: 'Accuracy over time',
          series: curves((norm) => cost(norm) / 1000),
          xLabel: 'seconds of training',
          yLabel: 'test accuracy',
          yRange: [0, 1],
        },
      ],
      verdict: `With batch norm ${reached} steps reach the ${percent(end)} that ${steps} without it end with: 1/${inSteps.toFixed(1)} of the steps; a step takes ${(cost('batch') / cost('none')).toFixed(2)} times as long (${cost('batch').toFixed(2)} and ${cost('none').toFixed(2)} ms), so 1/${inTime.toFixed(1)} of the time.`,
      holds: inSteps > 1.5 && inTime > 1,
    };
  },
};
