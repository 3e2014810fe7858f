import type { Controls, Experiment } from './experiment.ts';
import { CHOICES, exactly, shortly } from './page/inputs.ts';
import { buildNet, evaluate, percent, trainOn } from './training.ts';
import { explained, type Trouble, troubleOf } from './trouble.ts';
import { type Text, t } from './words.ts';

const STEPS = 1500;
/** Share of units from which on they are spoken of. */
const DEAD = 0.5;
const DEFAULTS: Controls = { scale: 1, rate: 0.2, batch: 60, norm: 'batch', activation: 'tanh', depth: 3 };

const nameOf = (norm: Controls['norm']) => CHOICES.norm.values[norm];

const inWords = (loss: number) => (Number.isFinite(loss) ? shortly(loss) : t`not finite`);

/** The paper's net with everything to be turned. */
export const playground: Experiment = {
  name: 'playground',
  title: t`Train it yourself`,
  question: t`What happens if …?`,
  claim: t`This net learns: it recognises more than half of the held-out digits.`,
  controls: DEFAULTS,
  async run({ digits: { train, test }, seeds, share, controls, show }) {
    const { scale, rate, batch, norm, activation, depth } = { ...DEFAULTS, ...controls };
    const steps = Math.ceil(STEPS * share);
    const every = Math.max(1, Math.floor(steps / 30));
    const net = buildNet({ seed: seeds[0], norm, scale, activation, depth, units: 100 });
    const found = { steps: [] as number[], loss: [] as number[], accuracy: [] as number[] };
    let recent: number[] = [];
    let broken: { step: number; trouble: Trouble } | undefined;
    let dead = 0;
    await show(t`training`);
    await trainOn(net, train, { steps, size: batch, lr: rate, seed: seeds[0] }, async (step, loss, x) => {
      if (!Number.isFinite(loss)) broken ??= { step, trouble: troubleOf(net, x) };
      else if (step === steps) ({ dead } = troubleOf(net, x));
      recent.push(loss);
      if (step % every) return;
      found.steps.push(step);
      found.loss.push(recent.reduce((a, b) => a + b, 0) / recent.length);
      found.accuracy.push(evaluate(net, test).accuracy);
      recent = [];
      await show(
        t`step ${step} of ${steps}: loss ${inWords(found.loss.at(-1)!)}, accuracy ${percent(found.accuracy.at(-1)!)}`,
        step / steps,
      );
    });
    net.dispose();
    const figure = (title: Text, y: number[], yLabel: Text) => ({
      title,
      series: [
        {
          label: t`${nameOf(norm)}, ${activation}`,
          tone: 'a' as const,
          x: found.steps,
          y,
        },
      ],
      xLabel: t`training steps`,
      yLabel,
    });
    const end = found.accuracy.at(-1)!;
    return {
      setup: t`784, ${depth} hidden layers of 100, 10; ${nameOf(norm)}, ${activation}, weights of ${exactly(scale)}/√inputs, ${steps} steps of ${batch} at a rate of ${exactly(rate)} falling to 0.`,
      figures: [
        figure(
          t`Training loss`,
          found.loss.map((loss) => (Number.isFinite(loss) ? loss : Number.NaN)),
          t`loss`,
        ),
        { ...figure(t`Accuracy`, found.accuracy, t`test accuracy`), yRange: [0, 1] as const },
      ],
      verdict: broken
        ? t`Step ${broken.step}: ${explained(broken.trouble)} No step is taken after that; ${percent(end)} of the held-out digits are recognised.`
        : dead >= DEAD
          ? t`After ${steps} steps ${percent(dead)} of the hidden units are dead: they give one value for the whole batch. ${percent(end)} of the held-out digits are recognised.`
          : t`After ${steps} steps ${percent(end)} of the held-out digits are recognised.`,
      holds: !broken && end > 0.5,
    };
  },
};
