import { BatchNorm1d, Random, SGD } from 'evenkeel';
import type { Experiment } from './experiment.ts';
import { acrossSeeds, median } from './training.ts';
import { t } from './words.ts';

const ROWS = 64;
const UNITS = 8;
const STEPS = 400;

/** Can the network take the normalisation back? */
export const undo: Experiment = {
  name: 'undo',
  title: t`Undoing it`,
  question: t`Does batch norm take away what a layer can represent?`,
  claim: t`Gamma and beta can undo batch norm, so nothing is lost.`,
  async run({ seeds, show }) {
    const steps = Array.from({ length: STEPS / 10 + 1 }, (_, i) => i * 10);
    const given: number[] = [];
    const learned: number[][] = [];
    for (const seed of seeds) {
      await show(t`seed ${seed}`);
      const random = new Random(seed);
      const data = Float32Array.from({ length: ROWS * UNITS }, (_, i) => {
        const c = i % UNITS;
        return -3 + (6 * c) / (UNITS - 1) + (0.5 + (1.5 * c) / (UNITS - 1)) * random.normal();
      });
      const x = { data, shape: [ROWS, UNITS] };
      const most = data.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
      const norm = new BatchNorm1d(UNITS);
      norm.forward(x);
      norm.gamma!.data.set(norm.savedInvStd!.map((s) => 1 / s));
      norm.beta!.data.set(norm.savedMean!);
      const y = norm.forward(x).data;
      given.push(data.reduce((worst, value, i) => Math.max(worst, Math.abs(value - y[i])), 0) / most);

      const learner = new BatchNorm1d(UNITS);
      const optimizer = new SGD(learner.parameters(), { lr: 0.2 });
      const powers: number[] = [];
      for (let step = 0; step <= STEPS; step++) {
        const out = learner.forward(x).data;
        if (step % 10 === 0) {
          powers.push(Math.log10(data.reduce((sum, value, i) => sum + (value - out[i]) ** 2, 0) / data.length) / 2);
        }
        learner.zeroGrad();
        learner.backward({ data: out.map((value, i) => (2 * (value - data[i])) / ROWS), shape: x.shape });
        optimizer.step();
      }
      learned.push(powers);
    }
    const worst = Math.max(...given);
    const end = 10 ** median(learned.map((powers) => powers.at(-1)!));
    return {
      setup: t`${ROWS} samples of ${UNITS} features with means from −3 to 3 and deviations from 0.5 to 2. Once with gamma = √(variance + eps) and beta = mean; once learned from 1 and 0 by ${STEPS} steps of gradient descent (rate 0.2) on the squared distance from the input.`,
      figures: [
        {
          title: t`Root mean square distance from the input`,
          series: [{ label: t`learned from gamma 1, beta 0`, tone: 'a', ...acrossSeeds(steps, learned) }],
          xLabel: t`training steps`,
          yLabel: t`power of ten`,
        },
      ],
      verdict: t`With gamma = √(variance + eps) and beta = mean the input comes back within ${worst.toExponential(1)} of its largest value; learned from 1 and 0 within ${end.toExponential(1)}.`,
      holds: worst < 1e-6 && end < 1e-3,
    };
  },
};
