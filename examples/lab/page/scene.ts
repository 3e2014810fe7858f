// The two nets of the duel as a picture.

import { BINS, type Scene, type Side, type Stage } from '../duel.ts';
import { BOTH } from '../grid.ts';
import { percent } from '../training.ts';
import { type Text, t } from '../words.ts';
import { around, chart, type Line, type Say, type Strip, strips } from './chart.ts';
import { shortly } from './inputs.ts';

/** Top of the axis of the loss; chance is 2.3. */
const MOST_LOSS = 3;
/** Top of the axis of the histogram, at most. */
const MOST_SHARE = 0.5;
/** Values that differ more in size do not share an axis. */
const APART = 50;

const STAGES: Record<Stage, Text> = { linear: t`linear layer`, 'batch norm': t`batch norm`, sigmoid: t`sigmoid` };
const CENTRES = Array.from({ length: BINS }, (_, i) => (i + 0.5) / BINS);

/** A curve of each net; its label ends with where it stands. */
function lines(
  { batch, none }: Scene,
  of: (side: Side) => readonly number[],
  shown: (value: number) => string,
  say: Say,
): Line[] {
  return BOTH.map(({ norm, label, ...line }) => {
    const side = norm === 'batch' ? batch : none;
    const y = of(side);
    return { ...line, x: side.steps, y, label: say(y.length ? t`${label}: ${shown(y.at(-1)!)}` : label) };
  });
}

const largest = (values: readonly number[]) =>
  values.reduce((most, v) => (Number.isFinite(v) ? Math.max(most, Math.abs(v)) : most), 0);

/** The neuron's values, stage by stage; what is of one size stands on one axis. */
function neuronOf({ hidden }: Side, tone: 'a' | 'b', before: readonly number[], say: Say): Strip[] {
  return (hidden?.neuron ?? []).map(({ stage, values }) => {
    const isShared = largest(before) <= APART * largest(values);
    const range = stage === 'sigmoid' ? ([0, 1] as const) : around(isShared ? before : values);
    return { label: say(STAGES[stage]), values, range, tone };
  });
}

/** Loss and accuracy of both nets; the last hidden layer and one neuron of each. */
export function drawn(scene: Scene, say: Say): string {
  const sides = [scene.batch, scene.none];
  const common = { xLabel: say(t`training steps`), xRange: [0, scene.steps] as const };
  const loss = chart(
    {
      ...common,
      title: say(t`Loss`),
      series: lines(scene, (side) => side.loss, shortly, say),
      yLabel: say(t`cross entropy (${MOST_LOSS}: that or more)`),
      yRange: [0, MOST_LOSS],
    },
    say,
  );
  const accuracy = chart(
    {
      ...common,
      title: say(t`Accuracy`),
      // a number and its unit stay on one line
      series: lines(
        scene,
        (side) => side.accuracy,
        (value) => percent(value).replace(' ', '\u00a0'),
        say,
      ),
      yLabel: say(t`held-out digits recognised`),
      yRange: [0, 1],
      yTicks: [0, 0.5, 1].map((at) => [at, `${at * 100} %`] as const),
    },
    say,
  );
  const highest = largest(sides.flatMap(({ hidden }) => hidden?.histogram ?? []));
  const top = [0.1, 0.2].find((end) => highest <= end) ?? MOST_SHARE;
  const before = sides.flatMap(({ hidden }) =>
    (hidden?.neuron ?? []).filter(({ stage }) => stage !== 'sigmoid').flatMap(({ values }) => values),
  );
  const nets = BOTH.map(({ label, tone }, i) => {
    const side = sides[i];
    const y = side.hidden?.histogram ?? [];
    const histogram = chart(
      {
        title: say(t`Last hidden layer, ${label}`),
        series: [{ label: say(label), tone, x: y.length ? CENTRES : [], y }],
        xLabel: say(t`output of a unit`),
        yLabel: say(highest > top ? t`share of outputs (${percent(top)}: that or more)` : t`share of outputs`),
        xRange: [0, 1],
        yRange: [0, top],
        xTicks: [0, 0.5, 1].map((at) => [at, `${at}`] as const),
        yTicks: [0, top].map((at) => [at, `${at * 100} %`] as const),
        isBars: true,
        isBare: true,
      },
      say,
    );
    const neuron = strips(say(t`One of its neurons, a dot for each digit`), neuronOf(side, tone, before, say), say);
    return `<div>${histogram}${neuron}</div>`;
  });
  return `<div>${loss}</div><div>${accuracy}</div>${nets.join('')}`;
}
