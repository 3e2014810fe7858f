import { BatchNorm1d, type BatchNormOptions, Linear, normal, Sequential, SGD, Tanh } from 'evenkeel';
import { PIXELS } from '../digits/digits.ts';
import type { Experiment } from './experiment.ts';
import { acrossSeeds, batchesOf, evaluate, lookOn, median, percent, pointsOf, restNow, stepOn } from './training.ts';
import { t } from './words.ts';

const STEPS = 300;
const UNITS = 64;
const POLICIES = ['propagate', 'skip-update', 'throw'] as const;

/**
 * One pixel of one batch is not a number. Whoever trains takes no step whose loss is not finite;
 * what is left is what the statistics make of it.
 */
export const poison: Experiment = {
  name: 'poison',
  title: t`One poisoned batch`,
  question: t`What does one bad batch do to the running statistics?`,
  claim: t`One batch with a value that is not a number ruins running statistics that take everything in.`,
  async run({ digits: { train, test }, seeds, share, show }) {
    const steps = Math.ceil(STEPS * share);
    const bad = Math.ceil(steps / 3);
    const { every, points: x } = pointsOf(steps, 30);
    const counted: Record<string, number> = {};
    const runs: { policy: string; bySeed: number[][] }[] = [];
    for (const policy of POLICIES) {
      const bySeed: number[][] = [];
      for (const seed of seeds) {
        await show(t`${policy}, seed ${seed}`);
        const { net, accuracies } = await run(policy, seed);
        counted[policy] = (net.layers[1] as BatchNorm1d).nonFiniteBatches;
        net.dispose();
        bySeed.push(accuracies);
      }
      runs.push({ policy, bySeed });
    }
    const end = (policy: string) =>
      median(runs.find((one) => one.policy === policy)!.bySeed.map((accuracies) => accuracies.at(-1)!));
    const last = (policy: string) => percent(end(policy));
    return {
      setup: t`784-${UNITS}-${UNITS}-10, tanh, ${steps} steps of 60, learning rate 0.2 falling to 0; one pixel of one batch is not a number; no step is taken whose loss is not finite.`,
      figures: [
        {
          title: t`One poisoned batch`,
          series: runs.map(({ policy, bySeed }, i) => ({
            label: `onNonFinite: '${policy}'`,
            ...([{ tone: 'b', stroke: 'dashed' }, { tone: 'a' }, { tone: 'c', stroke: 'dotted' }] as const)[i],
            ...acrossSeeds(x, bySeed),
          })),
          xLabel: t`training steps`,
          yLabel: t`test accuracy`,
          yRange: [0, 1],
        },
      ],
      verdict: t`After one batch with a pixel that is not a number (step ${bad} of ${steps}) a net whose statistics take everything in ends at ${last('propagate')}, with 'skip-update' at ${last('skip-update')}, with 'throw' at ${last('throw')}; each counted ${counted.throw} such batch.`,
      holds: end('propagate') === 0 && end('skip-update') > 0.8 && end('throw') > 0.8,
    };

    async function run(onNonFinite: NonNullable<BatchNormOptions['onNonFinite']>, seed: number) {
      const hidden = (inputs: number, at: number) => [
        new Linear(inputs, UNITS, { init: normal(at ? 0.1 : 0.05), seed: seed + at }),
        new BatchNorm1d(UNITS, { onNonFinite }),
        new Tanh(),
      ];
      const net = new Sequential(
        ...hidden(PIXELS, 0),
        ...hidden(UNITS, 100),
        new Linear(UNITS, 10, { init: normal(0.1), seed: seed + 200 }),
      );
      const optimizer = new SGD(net.parameters(), { lr: 0.2 });
      const batches = batchesOf(train, 60, seed);
      const accuracies: number[] = [];
      for (let step = 1; step <= steps; step++) {
        const { x: images, labels } = batches.next().value!;
        if (step === bad) images.data[PIXELS * 7 + 300] = Number.NaN;
        optimizer.lr = 0.2 * (1 - (step - 1) / steps);
        try {
          lookOn(net, images, step, stepOn(net, optimizer, net.forward(images), labels));
        } catch (error) {
          if ((error as { code?: string }).code !== 'ERR_NON_FINITE') throw error;
        }
        await restNow();
        if (step % every === 0) accuracies.push(evaluate(net, test).accuracy);
      }
      return { net, accuracies };
    }
  },
};
