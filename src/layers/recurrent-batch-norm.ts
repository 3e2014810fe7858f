import { show, showShape, wrongValue } from '../errors.ts';
import { NO_ACTIVATION } from '../kernels/activations.ts';
import { backend } from '../kernels/backend.ts';
import { affine } from '../kernels/inference/calls.ts';
import { checkNumber, takeOptions } from '../named-options.ts';
import type { Call } from '../tensors/call.ts';
import type { Located } from '../tensors/route.ts';
import { type Result, Tensor, type TensorLike } from '../tensors/tensor.ts';
import { BatchNorm, type Tracked } from './batch-norm.ts';
import type { ChannelPass, Settled, Single } from './channel-norm.ts';
import { type Mask, maskOf } from './mask.ts';
import { type BatchNormOptions, batchNormOptions, checkChoice, checkFeatures } from './options.ts';
import { type Plan, planOf, type Ranks } from './plan.ts';
import type { RunMoments } from './run-blocks.ts';
import { type Run, runOf } from './runs.ts';
import { type StepPolicy, StepStats } from './step-stats.ts';
import { gather, type Steps, scatter, stepsOf } from './steps.ts';

/** Options of `RecurrentBatchNorm1d`: those of `BatchNorm`, and how time steps share statistics. */
export interface RecurrentBatchNormOptions
  extends Omit<BatchNormOptions, 'layout' | 'virtualBatchSize' | 'trackRunningStats'> {
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
const NEVER = ['layout', 'virtualBatchSize', 'trackRunningStats'];

/** The names of these options. */
export const recurrentOptions = () => [
  'maxSteps',
  'gamma',
  'beyond',
  'shrinkage',
  ...batchNormOptions().filter((name) => !NEVER.includes(name)),
];

/** Of running means, in all steps. */
const MOST_VALUES = 2 ** 28;

/** A pass whose runs are time steps; they lie in memory one after the other. */
interface StepPass extends ChannelPass {
  readonly steps: Steps;
}

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
  readonly #beyond: StepPolicy['beyond'];
  readonly #steps: StepStats;
  /** Has the forward under way moved statistics? */
  #moved = false;

  /**
   * @param numFeatures channels, C
   * @param options those of `BatchNorm` but for `layout`, `virtualBatchSize` and
   *   `trackRunningStats`, and `maxSteps`, which is required
   * @throws ERR_OPTION for an unknown option or a value that it does not take
   */
  constructor(numFeatures: number, options: RecurrentBatchNormOptions) {
    const taken = takeOptions(`RecurrentBatchNorm1d(${numFeatures})`, options, recurrentOptions());
    const { maxSteps, gamma = 0.1, beyond = 'last', shrinkage = 0, ...rest } = taken;
    super(numFeatures, { onSingleValue: 'use-running', ...rest, layout: 'channels-last' });
    checkFeatures(this.subject, 'maxSteps', maxSteps);
    checkNumber(this.subject, 'gamma', gamma);
    checkChoice(this.subject, 'beyond', beyond, ['last', 'pooled', 'throw']);
    checkNumber(this.subject, 'shrinkage', shrinkage, 'a number of 0 or more', (value) => value >= 0);
    const most = Math.floor(MOST_VALUES / numFeatures);
    if (maxSteps > most) throw wrongValue('ERR_OPTION', this.subject, 'maxSteps', `at most ${most}`, `${maxSteps}`);
    this.maxSteps = maxSteps;
    this.#beyond = beyond;
    this.learned.gamma?.values.writable.fill(gamma);
    this.#steps = new StepStats(maxSteps, numFeatures, { beyond, shrinkage });
    this.running = this.#steps;
  }

  /** @internal */
  protected override form(): { kind: string; ranks: Ranks } {
    return { kind: 'RecurrentBatchNorm1d', ranks: [3, 3] };
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
    this.#checkStep(step, 'running');
    const { mean, variance } = this.#steps.at(step);
    return { mean: mean.now.slice(), variance: variance.now.slice() };
  }

  override trace(): never {
    const got = 'a layer with statistics for each time step';
    throw this.wrongMoment('compile', 'one set of running statistics', got);
  }

  /** @throws ERR_MODE: statistics are those of time steps */
  override forwardMicroBatches<X extends TensorLike>(): Result<X>[] {
    throw this.wrongMoment('forward of micro-batches', 'a layer without statistics for each time step', 'this one');
  }

  /** @internal A pass over steps that a cell has sorted, from this time step on. */
  beginSteps(steps: Steps, shape: readonly number[], first: number): ChannelPass {
    const plan = this.planOf([shape[0], shape[1], this.numFeatures]);
    return this.#passOver(plan, undefined, steps, first);
  }

  /** @internal */
  protected override passFor(plan: Plan, mask: Mask | undefined): ChannelPass {
    const [samples, length] = plan.shape;
    const width = mask ? (mask.channelStep ? this.numFeatures : 1) : 0;
    const counts = (n: number, t: number) => {
      const at = (n * length + t) * width;
      for (let i = at; i < at + width; i++) if (mask!.places[i]) return true;
      return width === 0;
    };
    const steps = stepsOf(samples, length, counts);
    if (plan.size > 0 && steps.rows.length === 0 && this.training && !this.frozen)
      throw this.nothingCounts(`shape ${showShape(plan.shape)}`);
    return this.#passOver(plan, mask, steps, 0);
  }

  #passOver(plan: Plan, mask: Mask | undefined, steps: Steps, first: number): StepPass {
    const { numFeatures } = this;
    const { starts, rows } = steps;
    const values = mask?.weights ?? mask?.places;
    const width = mask?.channelStep ? numFeatures : 1;
    const runs = starts.slice(1).map((end, t): Run => {
      const [start, many] = [starts[t], end - starts[t]];
      const part = planOf(this.subject, [many, numFeatures], numFeatures, 'channels-last', [2, 2]);
      const weights = values && new Float32Array(many * width);
      for (let i = 0; weights && i < many; i++) {
        weights.set(values.subarray(rows[start + i] * width, (rows[start + i] + 1) * width), i * width);
      }
      const own = weights?.some((w) => w !== 1) ? maskOf(part, weights, width > 1) : undefined;
      const run = runOf(part, start * numFeatures, own);
      const step = first + t;
      // a step that no sequence reaches, in a mask with gaps
      const found = this.#steps.alike(step);
      if (many === 0) return { ...run, step, found, by: 'running' };
      const by = this.statisticsFor({ ...run, step }, plan);
      this.#checkStep(step, by);
      return { ...run, step, found, by };
    });
    return { plan, runs, steps, training: this.training };
  }

  /** Are there statistics for a step? */
  #checkStep(step: number, by: Run['by']): void {
    const beyond = this.#beyond;
    const trained = this.#steps.trained;
    const most = by !== 'running' ? this.maxSteps : beyond === 'throw' ? trained : Number.POSITIVE_INFINITY;
    if (step < most) return;
    const context = by === 'running' ? "the longest trained, beyond: 'throw'" : 'maxSteps, in training';
    throw wrongValue('ERR_SHAPE', this.subject, 'x', `at most ${most} time steps`, `step ${step}`, context);
  }

  /** @internal */
  protected override write(call: Call, pass: StepPass, { x, residual }: Located, out: TensorLike): void {
    const { numFeatures } = this;
    const { steps } = pass;
    const many = steps.rows.length;
    const rows = (given: TensorLike) =>
      new Tensor([many, numFeatures], gather(call, steps, call.input(given), numFeatures));
    const to = call.output(out);
    const from = rows(x);
    super.write(call, pass, { x: from, residual: residual && rows(residual) }, from);
    scatter(steps, from.ptr, to, numFeatures);
  }

  /** @internal */
  protected override placeOf(run: Pick<Run, 'plan' | 'from' | 'step'>, batch: Plan): string {
    return `${super.placeOf(run, batch)}, time step ${run.step}`;
  }

  /** @internal Whatever the samples: a step may be reached by one of them. */
  protected override fewest(): number {
    return 1;
  }

  /** @internal A row. */
  protected override scratchFor(): number {
    return this.numFeatures * 4;
  }

  /** @internal */
  protected override preActivations(
    { runs, steps }: StepPass,
    x: number,
    residual: number,
    scratch: number,
    visit: (from: number, size: number) => void,
  ): void {
    const { numFeatures } = this;
    const row = { kernel: 'nxc', outer: 1, channels: numFeatures, inner: 1 } as const;
    runs.forEach((run, t) => {
      if (run.plan.size === 0) return;
      const map = this.mapOf(run, t);
      for (let i = steps.starts[t]; i < steps.starts[t + 1]; i++) {
        const from = steps.rows[i] * numFeatures;
        affine(backend(), row, x + from * 4, map, residual && residual + from * 4, scratch, NO_ACTIVATION);
        visit(from, numFeatures);
      }
    });
  }

  /** @internal */
  protected override unmask(call: Call, pass: StepPass, dy: number): void {
    const { steps } = pass;
    const { numFeatures } = this;
    const kept = gather(call, steps, dy, numFeatures);
    super.unmask(call, pass, kept);
    scatter(steps, kept, dy, numFeatures);
  }

  /** @internal */
  protected override gradients(call: Call, pass: StepPass, x: number, dy: number, dx: number): void {
    const { steps } = pass;
    const { numFeatures } = this;
    const from = gather(call, steps, x, numFeatures);
    const g = gather(call, steps, dy, numFeatures);
    super.gradients(call, pass, from, g, g);
    scatter(steps, g, dx, numFeatures);
  }

  /** @internal */
  protected override runningAt(step: number) {
    return this.#steps.at(step);
  }

  /** @internal Counts the batch once, and its rows step by step. */
  protected override settle(runs: readonly Settled[], moments: (index: number) => RunMoments): void {
    this.#moved = false;
    super.settle(runs, moments);
    if (this.#moved) this.#steps.batches++;
  }

  /** @internal */
  protected override move(
    { mean, variance }: RunMoments,
    correction: number | Float64Array,
    { step, count }: Tracked,
  ): void {
    this.#steps.moveStep(step, mean, variance, this.settings.momentum, correction, count);
    this.#moved = true;
  }

  /** @internal */
  protected override learn(singles: readonly Single[]): void {
    for (const { run, values } of singles) this.#steps.learnStep(run.step, values, this.settings.momentum);
    // where rows of other steps moved nothing, these are what counts the batch
    if (!this.#moved) this.#steps.batches++;
    this.#moved = true;
  }
}
