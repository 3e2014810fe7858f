// Batch norm of sequences: the rows of each time step lie together while the engine of batch norm
// works on them, and are a run.

import { showShape, wrongValue } from '../../errors.ts';
import type { OperationGraph, Value } from '../../graph/graph.ts';
import { type ActivationCode, NO_ACTIVATION } from '../../kernels/activations.ts';
import { backend } from '../../kernels/backend.ts';
import { affine } from '../../kernels/inference/calls.ts';
import { type Mask, type MaskOptions, maskOf } from '../../passes/mask.ts';
import { type Plan, planOf } from '../../passes/plan.ts';
import { nothingCounts, runOf, type Source, type SourcedRun } from '../../passes/runs.ts';
import { gather, type Steps, scatter, stepsOf } from '../../passes/steps.ts';
import type { Call } from '../../tensors/call.ts';
import type { ResolvedInputs } from '../../tensors/route.ts';
import { Tensor, type TensorLike } from '../../tensors/tensor.ts';
import type { StepRule, StepStats } from '../statistics/step-stats.ts';
import type { BatchPolicy } from './batch-policy.ts';
import type { ChannelEngine, ChannelPass, RunByRun } from './channel-engine.ts';
import type { NormEngine } from './norm-engine.ts';

/** A pass whose runs are time steps; their rows lie in memory one after the other. */
export interface StepPass extends ChannelPass {
  readonly steps: Steps;
}

export class SequenceEngine implements NormEngine<StepPass> {
  readonly observable: ChannelEngine;
  readonly #policy: BatchPolicy;
  readonly #stats: StepStats;
  readonly #beyond: StepRule['beyond'];

  /** @param engine works on the rows of steps */
  constructor(engine: ChannelEngine, policy: BatchPolicy, stats: StepStats, beyond: StepRule['beyond']) {
    this.observable = engine;
    this.#policy = policy;
    this.#stats = stats;
    this.#beyond = beyond;
  }

  get subject(): string {
    return this.observable.subject;
  }

  get learned(): ChannelEngine['learned'] {
    return this.observable.learned;
  }

  get activation(): ActivationCode {
    return this.observable.activation;
  }

  get #channels(): number {
    return this.observable.description.channels;
  }

  checkShape(shape: readonly number[]): void {
    this.observable.planOf(shape);
  }

  checkForward(shape: readonly number[], training: boolean): void {
    const plan = this.observable.planOf(shape);
    // one value of a channel in each sample; a step may be reached by one of them
    if (plan.count === shape[0]) this.#passFor(plan, undefined, training);
  }

  channelAxis(rank: number): number {
    return this.observable.channelAxis(rank);
  }

  begin(shape: readonly number[], options: MaskOptions, training: boolean): StepPass {
    const plan = this.observable.planOf(shape);
    return this.#passFor(plan, this.observable.maskOf(plan, options), training);
  }

  reuse(pass: StepPass, training: boolean): StepPass {
    return this.#passFor(pass.plan, undefined, training);
  }

  /** A pass over steps that a cell has sorted, from the time step `first` on. */
  beginSteps(steps: Steps, [samples, length]: readonly number[], first: number, training: boolean): StepPass {
    const plan = this.observable.planOf([samples, length, this.#channels]);
    return this.#passOver(plan, undefined, steps, first, training);
  }

  /** The pass run by run, for cells. */
  runByRun(pass: StepPass): RunByRun {
    return this.observable.runByRun(pass);
  }

  #passFor(plan: Plan, mask: Mask | undefined, training: boolean): StepPass {
    const [samples, length] = plan.shape;
    const width = mask ? (mask.channelStep ? this.#channels : 1) : 0;
    const counts = (n: number, t: number) => {
      const at = (n * length + t) * width;
      for (let i = at; i < at + width; i++) if (mask!.places[i]) return true;
      return width === 0;
    };
    const steps = stepsOf(samples, length, counts);
    if (plan.size > 0 && steps.rows.length === 0 && training && !this.#policy.isFrozen) {
      throw nothingCounts(this.subject, `shape ${showShape(plan.shape)}`);
    }
    return this.#passOver(plan, mask, steps, 0, training);
  }

  #passOver(plan: Plan, mask: Mask | undefined, steps: Steps, first: number, training: boolean): StepPass {
    const channels = this.#channels;
    const { starts, rows } = steps;
    const values = mask?.weights ?? mask?.places;
    const width = mask?.channelStep ? channels : 1;
    const runs = starts.slice(1).map((end, t): SourcedRun => {
      const [start, many] = [starts[t], end - starts[t]];
      const part = planOf(this.subject, [many, channels], channels, 'channels-last', [2, 2]);
      const weights = values && new Float32Array(many * width);
      for (let i = 0; weights && i < many; i++) {
        weights.set(values.subarray(rows[start + i] * width, (rows[start + i] + 1) * width), i * width);
      }
      const own = weights?.some((w) => w !== 1) ? maskOf(part, weights, width > 1) : undefined;
      const step = first + t;
      const run = { ...runOf(part, start * channels, own), step, mapIndex: this.#stats.alike(step) };
      // a step that no sequence reaches, in a mask with gaps
      if (many === 0) return { ...run, source: 'running' };
      const source = this.#policy.sourceOf(run, plan, training);
      this.checkStep(step, source);
      return { ...run, source };
    });
    return { plan, runs, steps, training };
  }

  /** Throws ERR_SHAPE where there are no statistics for a step. */
  checkStep(step: number, source: Source): void {
    const stats = this.#stats;
    const limit = this.#beyond === 'throw' ? stats.trained : Number.POSITIVE_INFINITY;
    const most = source === 'running' ? limit : stats.counts.length;
    if (step < most) return;
    const context = source === 'running' ? "the longest trained, beyond: 'throw'" : 'maxSteps, in training';
    throw wrongValue('ERR_SHAPE', this.subject, 'x', `at most ${most} time steps`, `step ${step}`, context);
  }

  forward(call: Call, pass: StepPass, { x, residual }: ResolvedInputs, out: TensorLike): void {
    const channels = this.#channels;
    const { steps } = pass;
    const many = steps.rows.length;
    const rows = (given: TensorLike) => new Tensor([many, channels], gather(call, steps, call.input(given), channels));
    const to = call.output(out);
    const from = rows(x);
    this.observable.forward(call, pass, { x: from, residual: residual && rows(residual) }, from);
    scatter(steps, from.ptr, to, channels);
  }

  forwardEmpty(pass: StepPass): void {
    this.observable.forwardEmpty(pass);
  }

  /** Room for a row. */
  scratchFor(): number {
    return this.#channels * 4;
  }

  preActivations(
    { runs, steps }: StepPass,
    x: number,
    residual: number,
    scratch: number,
    visit: (from: number, size: number) => void,
  ): void {
    const channels = this.#channels;
    const row = { kernel: 'nxc', outer: 1, channels, inner: 1 } as const;
    runs.forEach((run, t) => {
      if (run.plan.size === 0) return;
      const map = this.observable.mapOf(run, t);
      for (let i = steps.starts[t]; i < steps.starts[t + 1]; i++) {
        const from = steps.rows[i] * channels;
        affine(backend(), row, x + from * 4, map, residual && residual + from * 4, scratch, NO_ACTIVATION);
        visit(from, channels);
      }
    });
  }

  clearMasked(call: Call, pass: StepPass, dy: number): void {
    const { steps } = pass;
    const kept = gather(call, steps, dy, this.#channels);
    this.observable.clearMasked(call, pass, kept);
    scatter(steps, kept, dy, this.#channels);
  }

  backward(call: Call, pass: StepPass, x: number, dy: number, dx: number): void {
    const { steps } = pass;
    const from = gather(call, steps, x, this.#channels);
    const g = gather(call, steps, dy, this.#channels);
    this.observable.backward(call, pass, from, g, g);
    scatter(steps, g, dx, this.#channels);
  }

  saved(pass: StepPass | undefined, name: 'mean' | 'invStd'): Float32Array | null {
    return this.observable.saved(pass, name);
  }

  trace(graph: OperationGraph, x: Value): Value {
    return this.observable.trace(graph, x);
  }

  release(): void {
    this.observable.release();
  }
}
