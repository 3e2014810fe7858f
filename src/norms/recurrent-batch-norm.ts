import { show, wrongMoment, wrongValue } from '../errors.ts';
import { checkFeatures } from '../layers/options.ts';
import { notBuilt } from '../layers/unbuilt.ts';
import { choice, number, required, type Schema } from '../named-options.ts';
import type { Result, TensorLike } from '../tensors/tensor.ts';
import { BatchNorm } from './batch-norm.ts';
import { SequenceEngine } from './engine/sequence-engine.ts';
import {
  type BatchNormOptions,
  type BatchNormOptionsRead,
  batchNormSchema,
  onSingleValue,
  readNormOptions,
} from './options.ts';
import { type StepRule, StepStats } from './statistics/step-stats.ts';

/** Options of `RecurrentBatchNorm1d`: those of `BatchNorm`, and how time steps share statistics. */
export interface RecurrentBatchNormOptions
  extends Omit<BatchNormOptions, 'layout' | 'axis' | 'virtualBatchSize' | 'trackRunningStats'> {
  /** Time steps that have statistics of their own, T. */
  maxSteps: number;
  /**
   * First value of gamma. Default 0.1, at which gradients through time do not vanish (Cooijmans et
   * al. 2016, section 4).
   */
  gamma?: number;
  /**
   * Which statistics evaluation uses past the longest step trained: those of that step (`'last'`,
   * default), those pooled over all steps (`'pooled'`), or none (`'throw'`).
   */
  beyond?: 'last' | 'pooled' | 'throw';
  /**
   * Evaluation takes n/(n + shrinkage) of a step's own statistics, n the rows behind them, and the
   * rest of the pooled ones: late steps are reached by few sequences. `Infinity`: all steps share
   * the pooled statistics. Default 0.
   */
  shrinkage?: number;
}

/** Options of `BatchNorm` that sequences leave no choice about. */
type Given = 'layout' | 'axis' | 'virtualBatchSize' | 'trackRunningStats';

/** Options of a recurrent batch norm as it uses them. */
export type RecurrentOptionsRead = Omit<BatchNormOptionsRead, Given> &
  StepRule & { readonly maxSteps: number; readonly gamma: number };

/** The options of a recurrent batch norm: cells take them too. */
export function recurrentSchema(): Schema<RecurrentOptionsRead> {
  const { layout, axis, virtualBatchSize, trackRunningStats, ...rest } = batchNormSchema();
  return {
    maxSteps: required(checkFeatures),
    gamma: number(0.1),
    beyond: choice('last', ['last', 'pooled', 'throw']),
    shrinkage: number(0, 'a number of 0 or more', (value) => value >= 0),
    ...rest,
    onSingleValue: { ...onSingleValue(), standard: 'use-running' },
  };
}

/** Of running means, in all steps. */
const MOST_VALUES = 1 << 28;

/**
 * Batch normalization of sequences `[N, T, C]` of unequal length, with statistics for each time
 * step (Cooijmans et al. 2016):
 *
 *   y_t = (x_t − μ_t)/√(σ_t² + eps)·gamma + beta
 *
 * with μ_t and σ_t² the mean and the (biased) variance of step t over the sequences that reach it;
 * gamma and beta are shared by all steps. `lengths` or a mask says which sequences reach a step.
 * Padding has no part in anything, and its output is 0. A step that a single sequence reaches is
 * normalised by the running statistics, which learn from it (`onSingleValue: 'use-running'`, unlike
 * in `BatchNorm`). Evaluation uses the running statistics of each step; `beyond` says which ones
 * past the longest step trained.
 *
 *     const norm = new RecurrentBatchNorm1d(64, { maxSteps: 28 });
 *     const y = norm.forward(x, { lengths: [28, 13, 20] });
 */
export class RecurrentBatchNorm1d extends BatchNorm<3> {
  static override readonly name: string = 'RecurrentBatchNorm1d';
  /** Time steps that have statistics of their own, T. */
  readonly maxSteps: number;
  readonly #made: { steps?: StepStats };

  /**
   * @param numFeatures channels, C; `null`: those of the first input, or of `build(shape)`
   * @param options those of `BatchNorm` but for `layout`, `axis`, `virtualBatchSize` and
   *   `trackRunningStats`, and `maxSteps`, which is required
   * @throws ERR_OPTION for an unknown option or a value that it does not take
   */
  constructor(numFeatures: number | null, options: RecurrentBatchNormOptions) {
    const kind = 'RecurrentBatchNorm1d';
    const read = readNormOptions(kind, numFeatures, options, recurrentSchema());
    const { maxSteps, gamma, beyond, shrinkage, ...own } = read;
    const made: { steps?: StepStats } = {};
    const running = (channels: number) => {
      const most = Math.floor(MOST_VALUES / channels);
      if (maxSteps > most) {
        throw wrongValue('ERR_OPTION', `${kind}(${channels})`, 'maxSteps', `at most ${most}`, `${maxSteps}`);
      }
      made.steps = new StepStats(maxSteps, channels, { beyond, shrinkage });
      return made.steps;
    };
    super(numFeatures, undefined, {
      kind,
      ranks: [3, 3],
      settings: { ...own, layout: 'channels-last', axis: null, virtualBatchSize: null, trackRunningStats: true },
      running,
      around: (engine, policy) => new SequenceEngine(engine, policy, made.steps!, beyond),
      gamma,
    });
    this.maxSteps = maxSteps;
    this.#made = made;
  }

  /** @internal */
  override get engine(): SequenceEngine {
    return super.engine as SequenceEngine;
  }

  get #steps(): StepStats {
    return (this.isBuilt && this.#made.steps) || notBuilt(this.subject, 'statistics');
  }

  /** Rows behind the statistics of each step, `[T]`, a copy. */
  get stepCounts(): Float64Array {
    return this.#steps.counts.slice();
  }

  /** Steps that have been trained: the longest sequence seen. */
  get stepsTrained(): number {
    return this.#steps.trained;
  }

  /**
   * The statistics that evaluation uses in a step, as the policies say. @throws ERR_SHAPE for a
   * step beyond them
   */
  statisticsAt(step: number): {
    /** `[C]`, a copy. */
    mean: Float32Array;
    /** `[C]`, a copy. */
    variance: Float32Array;
  } {
    if (!Number.isInteger(step) || step < 0) {
      throw wrongValue('ERR_SHAPE', this.subject, 'step', 'an integer of 0 or more', show(step));
    }
    this.engine.checkStep(step, 'running');
    const { mean, variance } = this.#steps.at(step);
    return { mean: mean.now.slice(), variance: variance.now.slice() };
  }

  /** @throws ERR_MODE: a network that is compiled has one set of running statistics */
  override trace(): never {
    const got = 'a layer with statistics for each time step';
    throw wrongMoment('ERR_MODE', this.subject, 'compile', 'one set of running statistics', got);
  }

  /** @throws ERR_MODE: statistics are those of time steps */
  override forwardMicroBatches<X extends TensorLike>(): Result<X>[] {
    const expected = 'a layer without statistics for each time step';
    throw wrongMoment('ERR_MODE', this.subject, 'forward of micro-batches', expected, 'this one');
  }
}
