import type { Controls, Experiment } from './experiment.ts';
import { buildNet, evaluate, percent, trainOn } from './training.ts';

const STEPS = 1500;
const DEFAULTS: Controls = { scale: 1, rate: 0.2, batch: 60, norm: 'batch', activation: 'tanh', depth: 3 };

/** The paper's net with everything to be turned. */
export const playground: Experiment = {
  name: 'playground',
  title: 'Train it yourself',
  question: 'What happens if …?',
  setup: `Hidden layers of 100 units, ${STEPS} steps of gradient descent, the rate falling to 0.`,
  controls: ['scale', 'rate', 'batch', 'norm', 'activation', 'depth'],
  async run({ digits: { train, test }, seeds, share, controls, show }) {
    const { scale, rate, batch, norm, activation, depth } = { ...DEFAULTS, ...controls };
    const steps = Math.ceil(STEPS * share);
    const every = Math.max(1, Math.floor(steps / 30));
    const net = buildNet({ seed: seeds[0], norm, scale, activation, depth, units: 100 });
    const found = { steps: [] as number[], loss: [] as number[], accuracy: [] as number[] };
    let recent: number[] = [];
    let broken: { step: number; loss: number } | undefined;
    await show('training');
    await trainOn(net, train, { steps, size: batch, lr: rate, seed: seeds[0] }, async (step, loss) => {
      if (!Number.isFinite(loss)) broken ??= { step, loss };
      recent.push(loss);
      if (step % every) return;
      found.steps.push(step);
      found.loss.push(recent.reduce((a, b) => a + b, 0) / recent.length);
      found.accuracy.push(evaluate(net, test).accuracy);
      recent = [];
      await show(
        `step ${step} of ${steps}: loss ${found.loss.at(-1)!.toFixed(3)}, accuracy ${percent(found.accuracy.at(-1)!)}`,
        step / steps,
      );
    });
    net.dispose();
    const figure = (title: string, y: number[], yLabel: string) => ({
      title,
      series: [
        {
          label: `${norm === 'none' ? 'no norm' : `${norm} norm`}, ${activation}`,
          tone: 'a' as const,
          x: found.steps,
          y,
        },
      ],
      xLabel: 'training steps',
      yLabel,
    });
    const end = found.accuracy.at(-1)!;
    return {
      figures: [
        figure(
          'Training loss',
          found.loss.map((loss) => (Number.isFinite(loss) ? loss : Number.NaN)),
          'loss',
        ),
        { ...figure('Accuracy', found.accuracy, 'test accuracy'), yRange: [0, 1] as const },
      ],
      verdict: broken
        ? `At step ${broken.step} the loss is ${broken.loss}: steps of a rate of ${rate} overshoot until numbers run out of range. No step is taken after that; ${percent(end)} of the held-out digits are recognised.`
        : `After ${steps} steps ${percent(end)} of the held-out digits are recognised.`,
      holds: !broken && end > 0.5,
    };
  },
};
