import type { ConvnetSummary } from './convnet.ts';
import type { ActivationKind } from './network.ts';
import type { Run } from './train.ts';

export interface Side {
  accuracy: number;
  loss: number;
  saturatedUnits: number;
  /**
   * How far the inputs of a typical activation of the last hidden layer spread at the end: from the
   * 15th percentile over digits to the 85th.
   */
  spread: number;
  millisecondsPerStep: number;
  /** Steps until the target of the comparison is reached for the first time. */
  stepsToTarget: number | undefined;
}

/** A net with batch norm held against the net without it that began from the same weights. */
export interface Comparison {
  activation: ActivationKind;
  with: Side;
  without: Side;
  /** The accuracy to which the steps of both are counted: what the net without it ends with. */
  target: number;
  /** Steps without batch norm over steps with it; undefined where the target is not reached. */
  ratio: number | undefined;
  sentence: string;
  /** How many units saturate, where batch norm makes them more. */
  saturation: string | undefined;
}

export interface Summary {
  /** What the job found, in one sentence. */
  answer: string;
  convnet: ConvnetSummary;
  about: string;
  held: number;
  comparisons: Comparison[];
  best: {
    name: string;
    accuracy: number;
    difference: number;
    imagesPerSecond: number;
    evalImagesPerSecond: number;
    steps: readonly string[];
  };
}

/** Ratios of steps nearer to 1 than this are no gain: curves are measured every fortieth step. */
const NO_GAIN = 1.25;

/** Medians over the seeds. */
export function compare(activation: ActivationKind, runs: readonly Run[]): Comparison {
  const mine = runs.filter((run) => run.setting.activation === activation);
  const seeds = [...new Set(mine.map((run) => run.seed))];
  const pairs = seeds.map((seed) => {
    const find = (batchNorm: boolean) => mine.find((run) => run.seed === seed && run.batchNorm === batchNorm)!;
    const [on, off] = [find(true), find(false)];
    const target = off.accuracy.at(-1)!;
    return { on: sideOf(on, target), off: sideOf(off, target), target };
  });
  const on = medianSide(pairs.map((pair) => pair.on));
  const off = medianSide(pairs.map((pair) => pair.off));
  const target = median(pairs.map((pair) => pair.target));
  const ratio = on.stepsToTarget && off.stepsToTarget! / on.stepsToTarget;
  const comparison = { activation, with: on, without: off, target, ratio };
  return { ...comparison, sentence: sentenceOf(comparison, seeds.length), saturation: saturationOf(on, off) };
}

type Figures = Pick<Comparison, 'activation' | 'with' | 'without' | 'target' | 'ratio'>;

/** In words: how many times fewer steps or images, or more. */
export function gain(ratio: number): string {
  if (ratio >= NO_GAIN) return `${ratio.toFixed(1)} times fewer`;
  return ratio > 1 / NO_GAIN ? 'no gain' : `${(1 / ratio).toFixed(1)} times more`;
}

const words = (share: number) => `${(share * 100).toFixed(1)} %`;

function sentenceOf({ with: on, without: off, target, ratio }: Figures, seeds: number): string {
  const medians = seeds === 1 ? 'one seed' : `medians of ${seeds} seeds`;
  return ratio === undefined
    ? `What the net without batch norm ends with (${words(target)}), the net with it does not reach: it ends with ${words(on.accuracy)} (${medians}).`
    : `To ${words(target)}, which is what the net without batch norm ends with, the net without it takes ${off.stepsToTarget} steps and the net with it ${on.stepsToTarget}: ${gain(ratio)} (${medians}).`;
}

/** Sigmoid and tanh in one sentence. */
export function answerOf(comparisons: readonly Comparison[]): string {
  const parts = comparisons.map(({ activation, with: on, without: off, ratio }) => {
    const ends = `ends with ${words(on.accuracy)} instead of ${words(off.accuracy)}`;
    if (ratio === undefined) return `the ${activation} net never reaches with it what it reaches without, and ${ends}`;
    const takes = ratio > 1 / NO_GAIN && ratio < NO_GAIN ? 'about as many steps' : `${gain(ratio)} steps`;
    return `the ${activation} net takes ${takes} to the same accuracy and ${ends}`;
  });
  return `With batch norm ${parts.join('; ')}.`;
}

/** How many units saturate, where batch norm makes them more. */
function saturationOf(on: Side, off: Side): string | undefined {
  if (!(on.saturatedUnits > off.saturatedUnits && on.spread > off.spread)) return undefined;
  return `At the end ${on.saturatedUnits.toFixed(2)} of the 100 units are saturated with batch norm and ${off.saturatedUnits.toFixed(2)} without: between the 15th and the 85th percentile of the digits, inputs of activations lie ${on.spread.toFixed(1)} apart with it and ${off.spread.toFixed(1)} without.`;
}

/**
 * A unit saturates for digits whose input lies far out, so a wider spread saturates more. That is
 * not the saturation that hinders learning, of the same units for all digits.
 */
export const WHY_SATURATED =
  'Why more units saturate with batch norm: it keeps inputs of activations spread out. Inputs close to 0 use the nearly linear middle of an activation alone; inputs spread out use all of it, and its ends for the few digits that lie farthest. Saturation hinders learning where the same units saturate for all digits, as gradients then stop.';

function sideOf(run: Run, target: number): Side {
  const reached = run.accuracy.findIndex((accuracy) => accuracy >= target);
  return {
    accuracy: run.accuracy.at(-1)!,
    loss: run.loss.at(-1)!,
    saturatedUnits: run.saturatedUnits.at(-1)!,
    spread: run.percentiles.at(-1)![2] - run.percentiles.at(-1)![0],
    millisecondsPerStep: run.millisecondsPerStep,
    stepsToTarget: reached < 0 ? undefined : run.steps[reached],
  };
}

function medianSide(sides: readonly Side[]): Side {
  const of = (pick: (side: Side) => number) => median(sides.map(pick));
  const steps = of((side) => side.stepsToTarget ?? Number.POSITIVE_INFINITY);
  return {
    accuracy: of((side) => side.accuracy),
    loss: of((side) => side.loss),
    saturatedUnits: of((side) => side.saturatedUnits),
    spread: of((side) => side.spread),
    millisecondsPerStep: of((side) => side.millisecondsPerStep),
    stepsToTarget: Number.isFinite(steps) ? steps : undefined,
  };
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1];
}
