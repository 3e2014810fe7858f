import { BatchNorm1d, Dropout, diagnose, Linear, normal, Random, recalibrate, Sequential, Tanh } from 'evenkeel';
import { type Digits, PIXELS } from '../digits/digits.ts';
import type { Experiment } from './experiment.ts';
import { acrossSeeds, batchesOf, evaluate, median, pointsOf, trainOn } from './training.ts';
import { type Text, t } from './words.ts';

const STEPS = 600;
const UNITS = 64;
const P = 0.5;

type Place = 'before' | 'behind' | 'none';

const NAMES: Record<Place, Text> = {
  before: t`dropout before batch norm`,
  behind: t`dropout behind the last batch norm`,
  none: t`no dropout`,
};

function build(place: Place, seed: number): Sequential {
  const dropout = (offset: number) => new Dropout(place === 'none' ? 0 : P, { seed: seed + offset });
  const hidden = (inputs: number, offset: number) => [
    new Linear(inputs, UNITS, { init: normal(offset ? 0.1 : 0.05), seed: seed + offset }),
    ...(place === 'before' ? [dropout(offset)] : []),
    new BatchNorm1d(UNITS),
    new Tanh(),
  ];
  return new Sequential(
    ...hidden(PIXELS, 0),
    ...hidden(UNITS, 100),
    ...hidden(UNITS, 200),
    ...(place === 'behind' ? [dropout(300)] : []),
    new Linear(UNITS, 10, { init: normal(0.1), seed: seed + 400 }),
  );
}

/** Test loss with statistics of the population, dropout off; the net goes on with its own. */
async function recalibrated(net: Sequential, train: Digits, test: Digits): Promise<number> {
  const before = net.stateDict();
  const some = batchesOf(train, 200, 1);
  await recalibrate(
    net,
    Array.from({ length: 10 }, () => some.next().value!.x),
  );
  const { loss } = evaluate(net, test);
  net.loadStateDict(before);
  return loss;
}

/** The ratio of variances where the mean is 0: of normal values. */
function ratioOfNormals(seed: number): number {
  const random = new Random(seed);
  const x = { data: Float32Array.from({ length: 4000 * UNITS }, () => random.normal()), shape: [4000, UNITS] };
  const net = new Sequential(new Dropout(P, { seed }), new BatchNorm1d(UNITS));
  return diagnose(net, x).dropout[0].ratio;
}

/** Dropout before batch norm: its variance in training is not that of evaluation. */
export const dropout: Experiment = {
  name: 'dropout',
  title: t`Dropout before batch norm`,
  question: t`What does dropout before batch norm do to its statistics?`,
  claim: t`Dropout before batch norm spoils its statistics; behind the last one it does not.`,
  async run({ digits: { train, test }, seeds, share, show }) {
    const steps = Math.ceil(STEPS * share);
    const { every, points: x } = pointsOf(steps, 20);
    const curves: Record<Place | 'recalibrated', number[][]> = { before: [], recalibrated: [], behind: [], none: [] };
    const ratios: number[] = [];
    const centred: number[] = [];
    for (const seed of seeds) {
      for (const place of ['before', 'behind', 'none'] as const) {
        await show(t`${NAMES[place]}, seed ${seed}`);
        const net = build(place, seed);
        const states: ReturnType<Sequential['stateDict']>[] = [];
        const losses: number[] = [];
        await trainOn(net, train, { steps, size: 60, lr: 0.2, seed }, (step) => {
          if (step % every) return;
          losses.push(evaluate(net, test).loss);
          if (place === 'before') states.push(net.stateDict());
        });
        curves[place].push(losses);
        if (place === 'before') {
          const { dropout: shifts } = diagnose(net, batchesOf(train, Math.min(4000, train.count), 2).next().value!.x);
          ratios.push(shifts[0].ratio);
          centred.push(ratioOfNormals(seed));
          const again: number[] = [];
          for (const state of states) {
            net.loadStateDict(state);
            again.push(await recalibrated(net, train, test));
          }
          curves.recalibrated.push(again);
        }
        net.dispose();
      }
    }
    const last = (name: keyof typeof curves) => median(curves[name].map((losses) => losses.at(-1)!)).toFixed(3);
    return {
      setup: t`784-${UNITS}-${UNITS}-${UNITS}-10, tanh, dropout ${P} between each linear layer and its batch norm, or before the last layer; ${steps} steps of 60; recalibrated on 2,000 training digits.`,
      figures: [
        {
          title: t`Dropout before batch norm`,
          series: [
            { label: NAMES.before, tone: 'b', stroke: 'dashed', ...acrossSeeds(x, curves.before) },
            { label: t`the same, recalibrated`, tone: 'a', ...acrossSeeds(x, curves.recalibrated) },
            {
              label: NAMES.behind,
              tone: 'c',
              stroke: 'dotted',
              ...acrossSeeds(x, curves.behind),
            },
            { label: NAMES.none, tone: 'd', stroke: 'mixed', ...acrossSeeds(x, curves.none) },
          ],
          xLabel: t`training steps`,
          yLabel: t`test loss (cross entropy)`,
        },
      ],
      verdict: t`Dropout of values around 0 makes their variance in training ${median(centred).toFixed(2)} times that of evaluation (1/keep = ${1 / (1 - P)}), in this net ${median(ratios).toFixed(2)} times; with dropout before batch norm it ends with a test loss of ${last('before')}; recalibrated with dropout off ${last('recalibrated')}, with dropout behind the last batch norm ${last('behind')}, without dropout ${last('none')}.`,
      holds:
        Math.abs(median(centred) * (1 - P) - 1) < 0.02 &&
        median(ratios) > 1.5 &&
        Number(last('behind')) < Number(last('before')),
    };
  },
};
