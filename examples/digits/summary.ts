import type { ConvnetSummary } from './convnet.ts';
import type { ActivationKind } from './network.ts';
import type { Run } from './train.ts';

export interface Side {
  accuracy: number;
  loss: number;
  saturatedUnits: number;
  millisecondsPerStep: number;
  /**
   * Steps until the accuracy that the net without batch norm ends with is reached for the first
   * time.
   */
  stepsToTarget: number | undefined;
}

export interface Comparison {
  activation: ActivationKind;
  with: Side;
  without: Side;
  /**
   * Steps that the net without batch norm took for what the net with it reached in
   * `with.stepsToTarget`.
   */
  speedup: number | undefined;
  sentence: string;
}

export interface Summary {
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

/**
 * Medians over the seeds, each net with batch norm held against the net without it that began from
 * the same weights.
 */
export function compare(activation: ActivationKind, runs: readonly Run[]): Comparison {
  const mine = runs.filter((run) => run.setting.activation === activation);
  const seeds = [...new Set(mine.map((run) => run.seed))];
  const pairs = seeds.map((seed) => {
    const find = (batchNorm: boolean) => mine.find((run) => run.seed === seed && run.batchNorm === batchNorm)!;
    const [on, off] = [find(true), find(false)];
    const target = off.accuracy.at(-1)!;
    return { on: sideOf(on, target), off: sideOf(off, target), last: off.steps.at(-1)! };
  });
  const on = medianSide(pairs.map((pair) => pair.on));
  const off = medianSide(pairs.map((pair) => pair.off));
  const speedups = pairs.map((pair) => (pair.on.stepsToTarget === undefined ? 0 : pair.last / pair.on.stepsToTarget));
  const speedup = median(speedups) || undefined;
  const sentence = speedup
    ? `With batch norm the net reaches what the net without it ends with (${(off.accuracy * 100).toFixed(1)} % after ${pairs[0].last} steps) in 1/${speedup.toFixed(1)} of the steps: ${on.stepsToTarget} (medians of ${seeds.length} ${seeds.length === 1 ? 'seed' : 'seeds'}).`
    : `With batch norm the net does not reach what the net without it ends with (${(off.accuracy * 100).toFixed(1)} %): it ends with ${(on.accuracy * 100).toFixed(1)} %.`;
  return { activation, with: on, without: off, speedup, sentence };
}

function sideOf(run: Run, target: number): Side {
  const reached = run.accuracy.findIndex((accuracy) => accuracy >= target);
  return {
    accuracy: run.accuracy.at(-1)!,
    loss: run.loss.at(-1)!,
    saturatedUnits: run.saturatedUnits.at(-1)!,
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
    millisecondsPerStep: of((side) => side.millisecondsPerStep),
    stepsToTarget: Number.isFinite(steps) ? steps : undefined,
  };
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1];
}
