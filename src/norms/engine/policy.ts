// What tells norms by channel apart. A policy says which samples are normalised together, by whose
// statistics, what becomes of those and when they are refused; a transform changes statistics,
// coefficients or gradients on their way.

import type { OwnStatistics } from '../../graph/operations/channel-norm.ts';
import type { Training } from '../../passes/coefficients.ts';
import type { Mask } from '../../passes/mask.ts';
import type { MaskInMemory } from '../../passes/masked-passes.ts';
import type { Plan } from '../../passes/plan.ts';
import type { RunMoments, Scaling } from '../../passes/run-blocks.ts';
import type { Run, Source } from '../../passes/runs.ts';
import type { Observation, RunningStats, SingleValue } from '../statistics/running-stats.ts';

/** A run that was normalised by its own statistics; of an observed norm any run. */
export interface NormalizedRun {
  readonly run: Run;
  /** Which of the pass' runs it is. */
  readonly index: number;
  /** Are all statistics finite in f32? */
  readonly finite: boolean;
}

/** Mean and variance of a run of a pass, by its index. */
export type MomentsOf = (index: number) => RunMoments;

/** What running statistics are told of runs that have a variance. */
export function observationsOf(
  runs: readonly NormalizedRun[],
  moments: MomentsOf,
  estimator: 'unbiased' | 'biased',
): Observation[] {
  const observations: Observation[] = [];
  for (const { run, index } of runs) {
    const { count, correction, step } = run;
    if (count <= 1) continue;
    const { mean, variance } = moments(index);
    observations.push({ mean, variance, correction: estimator === 'unbiased' ? correction : 1, count, step });
  }
  return observations;
}

/** What a norm does with the samples of a batch and with their statistics. */
export interface NormPolicy {
  /**
   * The running statistics that evaluation uses; undefined: it uses those of what it normalises.
   */
  running: RunningStats | undefined;
  /** The running statistics that training moves; undefined: it moves none. */
  readonly tracked: RunningStats | undefined;
  /** Which estimator of the variance is tracked: divided by m − 1 or by m. */
  readonly estimator: 'unbiased' | 'biased';
  /** Whose statistics evaluation uses where there are no running ones. */
  readonly ownStatistics: OwnStatistics;
  /** Are statistics refused before anything is written? */
  readonly refuses: boolean;
  /** Which samples are normalised together. */
  split(plan: Plan, mask: Mask | undefined, training: boolean): readonly Run[];
  /** Samples of the smallest run of a batch of so many. */
  smallestRun(samples: number): number;
  /**
   * Whose statistics a run of a batch is normalised by; throws where it has none that it may use.
   */
  sourceOf(run: Run, batch: Plan, training: boolean): Source;
  /**
   * Takes in the statistics of a forward in training, after its last run. `moments` finds those of
   * a run.
   */
  commit(runs: readonly NormalizedRun[], moments: MomentsOf, singles: readonly SingleValue[]): void;
  /** Takes in a training batch without values. */
  commitEmpty(): void;
  /** The error for statistics that are refused. */
  refusal(v: Training, context: string): Error | undefined;
}

/** The training map of some channels of a run, as a transform is shown it. */
export interface TrainingMap {
  readonly v: Training;
  /** The number of the run, in the pass. */
  readonly run: number;
  /** Channels `from` to `to`. */
  readonly from: number;
  readonly to: number;
  /** Scale and shift of the forward. */
  readonly scaling: Scaling;
  /** The running statistics, as they were before this forward. */
  readonly running: RunningStats | undefined;
  /** Is this the map of an earlier forward, which has to become what it was? */
  readonly isRecalled: boolean;
}

/** What a norm changes of what every norm by channel works out. */
export interface NormTransform {
  /** A forward begins: settings that change with time are read now. */
  begin?(running: RunningStats | undefined): void;
  /** Makes statistics of groups out of those of channels. */
  pool?(v: Training, mask: Mask | undefined): void;
  /** Changes the training map, once it has been worked out. */
  adjust?(map: TrainingMap): void;
  /** Changes the sums of a run, of which the gradients of gamma and beta are made. */
  adjustGradient?(v: Training, run: number): void;
  /**
   * dx of a run by its own statistics, and its sums in v.dbeta and v.dgamma. `spare` is memory for
   * `maskedGradInput`.
   */
  gradient?(
    run: Run,
    x: number,
    dy: number,
    dx: number,
    v: Training,
    scaling: Scaling,
    mask: MaskInMemory | undefined,
    spare: number,
  ): void;
}
