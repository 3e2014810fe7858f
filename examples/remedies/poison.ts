import { BatchNorm1d, type BatchNormOptions, Linear, normal, Sequential, SGD, Tanh } from 'evenkeel';
import { PIXELS } from '../digits/data.ts';
import { acrossSeeds, batchesOf, type Experiment, evaluate, median, percent, stepOn } from './experiment.ts';

const STEPS = 300;
const UNITS = 64;
const POLICIES = ['propagate', 'skip-update', 'throw'] as const;

/** One pixel of one batch is not a number. Whoever trains takes no step whose loss is not finite; what is left is what the statistics make of it. */
export const poison: Experiment = async ({ train, test }, { seeds, share }, show) => {
  const steps = Math.ceil(STEPS * share);
  const bad = Math.ceil(steps / 3);
  const every = Math.ceil(steps / 30);
  const x = Array.from({ length: Math.floor(steps / every) }, (_, i) => (i + 1) * every);
  const counted: Record<string, number> = {};
  const runs = POLICIES.map((policy) => ({
    policy,
    bySeed: seeds.map((seed) => {
      show(`${policy}, seed ${seed}`);
      const { net, accuracies } = run(policy, seed);
      counted[policy] = (net.layers[1] as BatchNorm1d).nonFiniteBatches;
      net.dispose();
      return accuracies;
    }),
  }));
  const last = (policy: string) =>
    percent(median(runs.find((one) => one.policy === policy)!.bySeed.map((run) => run.at(-1)!)));
  return {
    title: 'One poisoned batch',
    sentence: `After one batch with a pixel that is not a number (step ${bad} of ${steps}) a net whose statistics take everything in ends at ${last('propagate')}, with 'skip-update' at ${last('skip-update')}, with 'throw' at ${last('throw')}; each counted ${counted.throw} such batch.`,
    method: `784-${UNITS}-${UNITS}-10, tanh, batches of 60, learning rate 0.2 falling to 0; the policies of onNonFinite.`,
    series: runs.map(({ policy, bySeed }, i) => ({
      label: `onNonFinite: '${policy}'`,
      ...([{ tone: 'b', stroke: 'dashed' }, { tone: 'a' }, { tone: 'c', stroke: 'dotted' }] as const)[i],
      ...acrossSeeds(x, bySeed),
    })),
    xLabel: 'training steps',
    yLabel: 'test accuracy',
    yRange: [0, 1],
  };

  function run(onNonFinite: NonNullable<BatchNormOptions['onNonFinite']>, seed: number) {
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
        stepOn(net, optimizer, net.forward(images), labels);
      } catch (error) {
        if ((error as { code?: string }).code !== 'ERR_NON_FINITE') throw error;
      }
      if (step % every === 0) accuracies.push(evaluate(net, test).accuracy);
    }
    return { net, accuracies };
  }
};
