// Norms whose statistics are those of channels: over all samples of a batch, or over some of them
// at a time. One run follows the other. Which samples make a run, what becomes of their statistics
// and when others are used is the policy's.

import { showShape, wrongValue } from '../../errors.ts';
import type { OperationGraph, Value } from '../../graph/graph.ts';
import type { AffineOperation } from '../../graph/operations/affine.ts';
import type { ChannelNormOperation } from '../../graph/operations/channel-norm.ts';
import type { TurnOperation } from '../../graph/operations/turn.ts';
import type { ActivationCode } from '../../kernels/activations.ts';
import { backend } from '../../kernels/backend.ts';
import { affine } from '../../kernels/inference/calls.ts';
import type { Pass } from '../../layers/leaf-layer.ts';
import { addToGradient } from '../../layers/parameter.ts';
import { type ChannelPlace, channelAxisOf, planAt } from '../../passes/channel-axis.ts';
import { evaluationMap, inverseStd, type Training } from '../../passes/coefficients.ts';
import { type Mask, type MaskOptions, readMask } from '../../passes/mask.ts';
import { clearMasked, type MaskInMemory, placeMask, spareFor } from '../../passes/masked-passes.ts';
import { activationScratch, preActivations, stagedAffine, stagedScratch } from '../../passes/passes.ts';
import type { Plan, Ranks } from '../../passes/plan.ts';
import { RunBlocks } from '../../passes/run-blocks.ts';
import type { SourcedRun } from '../../passes/runs.ts';
import type { Call } from '../../tensors/call.ts';
import type { ResolvedInputs } from '../../tensors/route.ts';
import { Tensor, type TensorLike } from '../../tensors/tensor.ts';
import type { Layout } from '../../types.ts';
import type { SingleValue } from '../statistics/running-stats.ts';
import type { NormEngine } from './norm-engine.ts';
import type { MomentsOf, NormalizedRun } from './policy.ts';
import { type ChannelNormParts, RunArithmetic } from './run-arithmetic.ts';

/** What a norm by channel is. */
export interface ChannelNormDescription extends ChannelNormParts {
  readonly subject: string;
  /** Where the channels lie. */
  readonly place: ChannelPlace;
  readonly ranks: Ranks;
}

/** What a forward does: one run over the batch, or one over some of its samples after the other. */
export interface ChannelPass extends Pass {
  readonly plan: Plan;
  readonly runs: readonly SourcedRun[];
  /** Made in training mode? */
  readonly training: boolean;
}

/**
 * Is told of a forward's runs, whichever statistics they were normalised by; `moments` finds those
 * of what came in.
 */
export type StatisticsObserver = (runs: readonly NormalizedRun[], moments: MomentsOf) => void;

/**
 * A pass under way, and what it has found out about its runs: nothing moves running statistics
 * before every run is through.
 */
interface Work {
  readonly pass: Pick<ChannelPass, 'runs' | 'training'>;
  readonly masks: readonly (MaskInMemory | undefined)[];
  /** Statistics and coefficients of each run. */
  readonly blocks: RunBlocks;
  /** May statistics be refused? Then they are there before a run is mapped. */
  readonly refuses: boolean;
  /** Of an observed norm all runs, whatever they were normalised by. */
  readonly normalized: NormalizedRun[];
  readonly singles: SingleValue[];
}

/** A pass run by run, from memory to memory. */
export interface RunByRun {
  forward(index: number, x: number, residual: number, y: number): void;
  backward(index: number, x: number, dy: number, dx: number): void;
  /** Moves the running statistics, behind all runs. */
  commit(): void;
  /** Forgets the pass, after an error. */
  abandon(): void;
}

/** Σdy·x̂ and Σdy, by channel. */
type Sums = Readonly<Record<'dgamma' | 'dbeta', Float64Array>>;

export class ChannelEngine implements NormEngine<ChannelPass> {
  readonly description: ChannelNormDescription;
  readonly #arithmetic: RunArithmetic;
  /** Statistics and coefficients of each run. */
  #blocks: RunBlocks | undefined;
  /** Those of the forward before it, where statistics may be refused: the two take turns. */
  #spare: RunBlocks | undefined;
  /** Room for sums over several runs. */
  #sums: Sums | undefined;
  #observer: StatisticsObserver | undefined;

  constructor(description: ChannelNormDescription) {
    this.description = description;
    this.#arithmetic = new RunArithmetic(description);
  }

  get subject(): string {
    return this.description.subject;
  }

  get learned(): ChannelNormParts['learned'] {
    return this.description.learned;
  }

  get activation(): ActivationCode {
    return this.description.activation;
  }

  get observable(): ChannelEngine | undefined {
    return this.description.transform?.pool ? undefined : this;
  }

  /**
   * Is told of every forward from now on. While a norm is observed nothing moves its running
   * statistics.
   */
  observe(observer: StatisticsObserver | undefined): void {
    this.#observer = observer;
  }

  get isObserved(): boolean {
    return this.#observer !== undefined;
  }

  planOf(shape: readonly number[]): Plan {
    const { subject, channels, place, ranks } = this.description;
    return planAt(subject, shape, channels, place, ranks);
  }

  checkShape(shape: readonly number[]): void {
    this.planOf(shape);
  }

  checkForward(shape: readonly number[], training: boolean): void {
    const plan = this.planOf(shape);
    // one value of a channel in each sample, and one sample in a run
    if (plan.count === shape[0] && this.description.policy.smallestRun(shape[0]) === 1) {
      this.#passOver(plan, undefined, training);
    }
  }

  channelAxis(rank: number): number {
    return channelAxisOf(this.description.place, rank);
  }

  /** The mask of a call, checked. */
  maskOf(plan: Plan, options: MaskOptions): Mask | undefined {
    const { subject } = this.description;
    const mask = readMask(subject, plan, this.channelAxis(plan.shape.length), options);
    if (this.#observer && mask && mask.channelStep > 0) {
      const context = `shape ${showShape(plan.shape)}`;
      throw wrongValue('ERR_MASK', subject, 'mask', 'one that all channels share', 'one by channel', context);
    }
    return mask;
  }

  begin(shape: readonly number[], options: MaskOptions, training: boolean): ChannelPass {
    const { transform, policy } = this.description;
    transform?.begin?.(policy.running);
    const plan = this.planOf(shape);
    return this.#passOver(plan, this.maskOf(plan, options), training);
  }

  reuse(pass: ChannelPass, training: boolean): ChannelPass {
    const { transform, policy } = this.description;
    transform?.begin?.(policy.running);
    const [run] = pass.runs;
    const isSame = pass.runs.length === 1 && !run.mask && pass.training === training;
    if (isSame && run.source === policy.sourceOf(run, pass.plan, training)) return pass;
    return this.#passOver(pass.plan, undefined, training);
  }

  #passOver(plan: Plan, mask: Mask | undefined, training: boolean): ChannelPass {
    const { policy } = this.description;
    // in its place: a copy of each would cost as much as evaluation of a row
    const runs = policy
      .split(plan, mask, training)
      .map((run) => Object.assign(run, { source: policy.sourceOf(run, plan, training) }));
    return { plan, runs, training };
  }

  forward(call: Call, pass: ChannelPass, { x, residual }: ResolvedInputs, out: TensorLike): void {
    const { runs } = pass;
    const current = backend();
    const evaluates = runs.length === 1 && runs[0].source === 'running' && !runs[0].mask && !this.#observer;
    const { plan } = evaluates ? runs[0] : pass;
    const { activation } = this.description;
    if (evaluates && !(x instanceof Tensor || residual instanceof Tensor || out instanceof Tensor)) {
      const map = this.#arithmetic.evaluationMap(runs[0]);
      const scratch = call.scratch(stagedScratch(plan));
      stagedAffine(current, plan, x.data, map, residual?.data, out.data, activation, scratch);
      return;
    }
    const at = call.input(x);
    const added = residual ? call.input(residual) : 0;
    const to = call.output(out, { x, at });
    if (evaluates) {
      affine(current, plan, at, this.#arithmetic.evaluationMap(runs[0]), added, to, activation);
      return;
    }
    const work = this.#open(
      pass,
      runs.map(({ mask }) => mask && placeMask(current, call, mask)),
    );
    try {
      if (this.#observer || runs.some(({ source }) => source !== 'running')) this.#reserve(work);
      if (work.refuses) {
        runs.forEach(({ plan, from }, i) => {
          this.#check(work, i, at + from * 4, `shape ${showShape(plan.shape)}`);
        });
      }
      runs.forEach(({ from }, i) => {
        const bytes = from * 4;
        this.#forwardRun(work, i, at + bytes, added && added + bytes, to + bytes);
      });
      this.#close(work);
    } catch (error) {
      this.#abandon(work);
      throw error;
    }
  }

  forwardEmpty({ runs, training }: ChannelPass): void {
    if (training && runs[0]?.source === 'batch' && !this.#observer) this.description.policy.commitEmpty();
  }

  /**
   * A pass for cells in which what a run normalises depends on the output of the one before. Where
   * statistics may be refused, what an earlier forward left stays until `commit`.
   */
  runByRun(pass: ChannelPass): RunByRun {
    const work = this.#open(pass, []);
    try {
      this.#reserve(work);
    } catch (error) {
      this.#abandon(work);
      throw error;
    }
    return {
      forward: (index, x, residual, y) => {
        if (work.refuses) this.#check(work, index, x, `time step ${index}`);
        this.#forwardRun(work, index, x, residual, y);
      },
      commit: () => this.#close(work),
      abandon: () => this.#abandon(work),
      backward: (index, x, dy, dx) => {
        const { blocks } = work;
        const run = pass.runs[index];
        this.#arithmetic.backward(run, index, this.#blocks!, x, dy, dx, undefined, 0, this.#learns);
        if (run.plan.size > 0) this.#addToGradients(blocks.at(index).views());
      },
    };
  }

  get #learns(): boolean {
    const { gamma, beta } = this.description.learned;
    return [gamma, beta].some((parameter) => parameter && !parameter.frozen);
  }

  #open(pass: Work['pass'], masks: Work['masks']): Work {
    // who observes is told what may not be finite
    const refuses = pass.training && this.description.policy.refuses && !this.#observer;
    // statistics that may yet be refused must not write over those that an earlier forward left for
    // backward
    const blocks = refuses
      ? (this.#spare ??= new RunBlocks(backend().heap, this.description.channels))
      : this.#currentBlocks();
    return { pass, masks, blocks, refuses, normalized: [], singles: [] };
  }

  /** The blocks of the last forward, and of the next one. */
  #currentBlocks(): RunBlocks {
    this.#blocks ??= new RunBlocks(backend().heap, this.description.channels);
    return this.#blocks;
  }

  #reserve({ pass, blocks }: Work): void {
    blocks.reserve(pass.runs.length, this.#arithmetic.scaling);
  }

  /** Throws where the statistics of a run are refused. */
  #check({ pass: { runs }, masks, blocks }: Work, index: number, x: number, context: string): void {
    if (runs[index].source !== 'batch') return;
    const v = blocks.at(index);
    this.#arithmetic.statistics(runs[index], x, v, masks[index]);
    blocks.keep(index);
    const refusal = this.description.policy.refusal(v, context);
    if (refusal) throw refusal;
  }

  #forwardRun(work: Work, index: number, x: number, residual: number, y: number): void {
    const { blocks, normalized, singles } = work;
    const run = work.pass.runs[index];
    const mask = work.masks[index];
    if (run.plan.size === 0) return;
    const v = blocks.at(index);
    if (run.source === 'batch') {
      if (work.refuses) blocks.recall(index);
      const finite = this.#arithmetic.normalize(run, index, x, residual, y, v, mask, work.refuses);
      blocks.keep(index);
      normalized.push({ run, index, finite });
      return;
    }
    // before y is written, which may be where x is
    if (this.#observer || run.source === 'online') this.#arithmetic.statistics(run, x, v, mask);
    if (this.#observer) {
      blocks.keep(index);
      normalized.push({ run, index, finite: true });
    } else if (run.source === 'online') {
      // a single value is its own mean
      singles.push({ step: run.step, values: Float32Array.from(v.views().mean) });
    }
    this.#arithmetic.evaluate(run, x, residual, y, mask);
  }

  #close({ pass, normalized, singles, blocks }: Work): void {
    const moments = (index: number) => blocks.moments(index);
    if (this.#observer) this.#observer(normalized, moments);
    else if (pass.training && normalized.length + singles.length > 0) {
      this.description.policy.commit(normalized, moments, singles);
    }
    if (blocks !== this.#spare) return;
    this.#spare = this.#blocks;
    this.#blocks = blocks;
  }

  #abandon({ blocks }: Work): void {
    if (blocks === this.#spare) blocks.release();
  }

  scratchFor({ plan }: ChannelPass): number {
    return activationScratch(plan);
  }

  preActivations(
    { runs }: ChannelPass,
    x: number,
    residual: number,
    scratch: number,
    visit: (from: number, size: number) => void,
  ): void {
    runs.forEach((run, i) => {
      const { plan, from } = run;
      const added = residual && residual + from * 4;
      const map = this.mapOf(run, i);
      preActivations(backend(), plan, x + from * 4, added, map, scratch, (at, size) => visit(from + at, size));
    });
  }

  /** The map by which the last forward mapped a run. */
  mapOf(run: SourcedRun, index: number) {
    return this.#arithmetic.mapOf(run, index, this.#currentBlocks());
  }

  /** Lets the transform change a training map that was worked out elsewhere. */
  adjust(v: Training, run: number): void {
    this.#arithmetic.adjust(v, run, 0, this.description.channels);
  }

  clearMasked(call: Call, { runs }: ChannelPass, dy: number): void {
    for (const { plan, from, mask } of runs) {
      if (mask) clearMasked(backend(), plan, dy + from * 4, placeMask(backend(), call, mask));
    }
  }

  backward(call: Call, { runs }: ChannelPass, x: number, dy: number, dx: number): void {
    const current = backend();
    const blocks = this.#currentBlocks();
    // runs by running statistics left none, and need no more than room for one at a time
    const constant = runs.every(({ source }) => source === 'running');
    if (constant) blocks.reserve(1);
    const masks = runs.map(({ mask }) => mask && placeMask(current, call, mask));
    const spare = masks.some((placed) => placed?.mask.weights) ? call.scratch(spareFor(runs[0].plan) * 4) : 0;
    const learns = this.#learns;
    const totals = runs.length > 1 && learns ? this.#totals : undefined;
    totals?.dgamma.fill(0);
    totals?.dbeta.fill(0);
    runs.forEach((run, i) => {
      const bytes = run.from * 4;
      const index = constant ? 0 : i;
      this.#arithmetic.backward(run, index, blocks, x + bytes, dy + bytes, dx + bytes, masks[i], spare, learns);
      if (totals && run.plan.size > 0) addSums(totals, blocks.at(index));
    });
    // behind everything that can fail
    if (totals) {
      this.#addToGradients(totals);
    } else if (learns && runs.length > 0 && runs[0].plan.size > 0) this.#addToGradients(blocks.at(0).views());
  }

  /**
   * Sums over several runs: made once, since arrays made at every call cost as much as a kernel
   * (GroupNorm of 4x32x8x8).
   */
  get #totals(): Sums {
    const sums = () => new Float64Array(this.description.channels);
    this.#sums ??= { dgamma: sums(), dbeta: sums() };
    return this.#sums;
  }

  #addToGradients({ dgamma, dbeta }: Sums): void {
    const { gamma, beta } = this.description.learned;
    addToGradient(gamma, dgamma);
    addToGradient(beta, dbeta);
  }

  saved(pass: ChannelPass | undefined, name: 'mean' | 'invStd'): Float32Array | null {
    const { runs, plan } = pass ?? {};
    if (!runs || plan!.size === 0 || runs.some(({ source }) => source !== 'batch')) return null;
    const { eps } = this.description;
    const values = runs.flatMap((_, i) => {
      const { mean, variance } = this.#blocks!.moments(i);
      return name === 'mean' ? Array.from(mean) : Array.from(variance, (value) => inverseStd(value, eps));
    });
    return Float32Array.from(values);
  }

  /** What evaluation uses in a time step. */
  evaluationAt(step: number): {
    mean: Float32Array;
    variance: Float32Array;
    gamma: Float32Array | undefined;
    eps: number;
  } {
    const { policy, learned, eps } = this.description;
    const { mean, variance } = policy.running!.at(step);
    return { mean: mean.now, variance: variance.now, gamma: learned.gamma?.values.now, eps };
  }

  trace(graph: OperationGraph, x: Value): Value {
    const { place } = this.description;
    return typeof place === 'number' ? this.#traceAlong(graph, x, place) : this.#traceBy(graph, x, place);
  }

  #traceBy(graph: OperationGraph, x: Value, layout: Layout): Value {
    const { channels, ranks, eps, policy } = this.description;
    const { gamma, beta } = this.#arithmetic.scaling;
    const { running } = policy;
    if (!running) {
      const common = { channels, eps, layout, ranks, gamma: gamma ?? null, beta: beta ?? null };
      const operation: ChannelNormOperation = { kind: 'channel-norm', ...common, ...policy.ownStatistics };
      return graph.append(operation, [x]);
    }
    const scale = new Float64Array(channels);
    const shift = new Float64Array(channels);
    const center = new Float32Array(channels);
    evaluationMap(running.mean.now, running.variance.now, eps, gamma, beta, scale, shift, center);
    const operation: AffineOperation = { kind: 'affine', center, scale, shift, layout, ranks };
    return graph.append(operation, [x]);
  }

  /** Channels along another axis than layouts have: brought to the end, and back. */
  #traceAlong(graph: OperationGraph, x: Value, axis: number): Value {
    const turned = (value: Value, to: Layout) => {
      const operation: TurnOperation = { kind: 'turn', to, axis };
      return graph.append(operation, [value]);
    };
    return turned(this.#traceBy(graph, turned(x, 'channels-last'), 'channels-last'), 'channels-first');
  }

  release(): void {
    this.#blocks?.release();
    this.#spare?.release();
    this.#arithmetic.release();
  }
}

/** Adds the sums of a run to those of the runs before it. */
function addSums(totals: Sums, v: Training): void {
  const { dgamma, dbeta } = v.views();
  for (let c = 0; c < dgamma.length; c++) {
    totals.dgamma[c] += dgamma[c];
    totals.dbeta[c] += dbeta[c];
  }
}
