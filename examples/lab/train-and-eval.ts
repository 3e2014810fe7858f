import {
  BatchNorm1d,
  Linear,
  normal,
  populationStatistics,
  recalibrate,
  Sequential,
  Tanh,
  type TensorLike,
} from 'evenkeel';
import { PIXELS } from '../digits/digits.ts';
import type { Experiment } from './experiment.ts';
import { batchesOf, evaluate, median, percent, trainOn } from './training.ts';
import { t } from './words.ts';

const STEPS = 300;
const UNITS = 64;
const named = (name: string) => (name === 'cumulative' ? t`cumulative` : name === 'population' ? t`population` : name);
const WAYS = { '0.5': 0.5, '0.1': 0.1, '0.01': 0.01, cumulative: null } as const;

/** How well evaluation's statistics stand for the population, and what it matters. */
export const trainAndEval: Experiment = {
  name: 'train-and-eval',
  title: t`Training and evaluation`,
  question: t`Which mean and variance should evaluation use?`,
  claim: t`Statistics of the population are exact, and running averages are not.`,
  async run({ digits: { train, test }, seeds, share, show }) {
    const steps = Math.ceil(STEPS * share);
    const errors: Record<string, number[]> = {};
    const accuracies: Record<string, number[]> = {};
    for (const seed of seeds) {
      for (const [name, momentum] of [...Object.entries(WAYS), ['population', 0.1] as const]) {
        await show(t`${named(name)}, seed ${seed}`);
        const norm = () => new BatchNorm1d(UNITS, { momentum });
        const first = new Linear(PIXELS, UNITS, { init: normal(0.05), seed });
        const own = norm();
        const second = [new Linear(UNITS, UNITS, { init: normal(0.1), seed: seed + 100 }), norm(), new Tanh()];
        const net = new Sequential(
          first,
          own,
          new Tanh(),
          ...second,
          new Linear(UNITS, 10, { init: normal(0.1), seed: seed + 200 }),
        );
        await trainOn(net, train, { steps, size: 60, lr: 0.2, seed });
        const some = batchesOf(train, 200, 1);
        const population = Array.from({ length: 10 }, () => some.next().value!.x);
        if (name === 'population') await recalibrate(net, population);
        (errors[name] ??= []).push(errorOf(own, truthOf(first, population)));
        (accuracies[name] ??= []).push(evaluate(net, test).accuracy);
        if (name === 'population') {
          const { layers } = await populationStatistics(net, population);
          const truth = truthOf(first, population);
          const worst = truth.mean.reduce(
            (most, m, c) => Math.max(most, Math.abs(layers['1'].mean[c] - m) / Math.sqrt(truth.variance[c])),
            0,
          );
          (errors['population, f64'] ??= []).push(worst);
        }
        net.dispose();
      }
    }
    const names = [...Object.keys(WAYS), 'population'];
    const x = names.map((_, i) => i);
    const error = (name: string) => median(errors[name]);
    const worst = Math.max(...errors['population, f64']);
    return {
      setup: t`784-${UNITS}-${UNITS}-10, tanh, ${steps} steps of 60, learning rate 0.2 falling to 0; the same nets with running statistics of four kinds, and with those of the population (2,000 training digits in batches of 200) in their place. The truth is worked out in f64 for the first hidden layer.`,
      figures: [
        {
          title: t`Largest error of the first layer's running mean, in deviations of its channel (powers of ten)`,
          series: [
            {
              label: t`median of the seeds`,
              tone: 'a',
              x,
              y: names.map((name) => Math.log10(Math.max(error(name), 1e-8))),
            },
          ],
          xLabel: t`momentum of the running statistics, or what stands for them`,
          yLabel: t`log10 of the error`,
          xTicks: names.map((name, i) => [i, named(name)] as const),
        },
      ],
      tables: [
        {
          title: t`Medians`,
          heads: [t`momentum`, t`error of the mean`, t`test accuracy`],
          rows: names.map((name) => [named(name), error(name).toPrecision(2), percent(median(accuracies[name]))]),
        },
      ],
      verdict: t`The running mean is off by up to ${error('0.5').toFixed(2)} deviations with momentum 0.5, ${error('0.1').toFixed(2)} with 0.1, ${error('0.01').toFixed(2)} with 0.01 and ${error('cumulative').toFixed(2)} as a cumulative average; statistics of the population agree with the f64 truth within ${worst.toExponential(1)}.`,
      holds: worst < 1e-6 && names.slice(0, -1).every((name) => error(name) > error('population')),
    };
  },
};

/** Mean and variance of what comes into the first norm, in f64. */
function truthOf(first: Linear, batches: readonly TensorLike[]): { mean: Float64Array; variance: Float64Array } {
  const rows = batches.flatMap((x) => {
    const { data } = first.forward(x);
    return Array.from({ length: data.length / UNITS }, (_, n) => data.slice(n * UNITS, (n + 1) * UNITS));
  });
  const mean = new Float64Array(UNITS);
  const variance = new Float64Array(UNITS);
  for (const row of rows) for (let c = 0; c < UNITS; c++) mean[c] += row[c] / rows.length;
  for (const row of rows) for (let c = 0; c < UNITS; c++) variance[c] += (row[c] - mean[c]) ** 2 / rows.length;
  return { mean, variance };
}

function errorOf(norm: BatchNorm1d, { mean, variance }: ReturnType<typeof truthOf>): number {
  return mean.reduce((worst, m, c) => Math.max(worst, Math.abs(norm.runningMean![c] - m) / Math.sqrt(variance[c])), 0);
}
