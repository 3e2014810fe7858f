// Norms whose statistics are those of channels: over all samples of a batch, or over some of them
// at a time. One run after the other: statistics, then the map; backward two sums, then the
// gradient's map. Which samples make a run, what becomes of their statistics and when others are
// used is left to each norm.

import { showShape, wrongValue } from '../errors.ts';
import type { OperationGraph, Value } from '../graph/graph.ts';
import type { AffineOperation } from '../graph/operations/affine.ts';
import type { ChannelNormOperation, OwnStatistics } from '../graph/operations/channel-norm.ts';
import { NO_ACTIVATION } from '../kernels/activations.ts';
import { backend } from '../kernels/backend.ts';
import { type AffineVectors, affine } from '../kernels/inference/calls.ts';
import type { Call } from '../tensors/call.ts';
import type { Located } from '../tensors/route.ts';
import { Tensor, type TensorLike } from '../tensors/tensor.ts';
import {
  EvaluationMap,
  evaluationMap,
  inverseStd,
  setConstantGradient,
  setGradient,
  setTraining,
  type Training,
} from './coefficients.ts';
import type { Pass } from './leaf-layer.ts';
import { type Mask, type MaskOptions, readMask } from './mask.ts';
import {
  clearMasked,
  maskedAffine,
  maskedGradInput,
  maskedGradStats,
  maskedStats,
  type Placed,
  placeMask,
  spareFor,
} from './masked-passes.ts';
import { Norm, traceActivation } from './norm.ts';
import type { KinSettings } from './options.ts';
import { addToGradient } from './parameter.ts';
import {
  activationScratch,
  constantBackward,
  preActivations,
  stagedAffine,
  stagedScratch,
  statistics,
  trainBackward,
  trainForward,
} from './passes.ts';
import { type Plan, planOf, type Ranks } from './plan.ts';
import { RunBlocks, type RunMoments, type Scaling } from './run-blocks.ts';
import type { RunningStats } from './running-stats.ts';
import type { Run } from './runs.ts';
import type { StateSlots } from './state.ts';

/** What a forward does: one run over the batch, or one over some of its samples after the other. */
export interface ChannelPass extends Pass {
  readonly plan: Plan;
  readonly runs: readonly Run[];
  /** Made in training mode? */
  readonly training: boolean;
}

/** A run whose statistics were taken. */
export interface Settled {
  readonly run: Run;
  /** Which of the pass' runs it is. */
  readonly index: number;
  /** Are all statistics finite in f32? */
  readonly finite: boolean;
}

/**
 * A run that was normalised by the running statistics, which then move by the one value that it has
 * in each channel.
 */
export interface Single {
  readonly run: Run;
  readonly values: Float32Array;
}

/**
 * Is told of a forward's runs, whichever statistics they were normalised by; `moments` finds those
 * of what came in.
 */
export type Watcher = (runs: readonly Settled[], moments: (index: number) => RunMoments) => void;

/**
 * A pass under way, and what it has found out about its runs: nothing moves running statistics
 * before every run is through.
 */
interface Work {
  readonly runs: readonly Run[];
  readonly masks: readonly (Placed | undefined)[];
  /** Statistics and coefficients of each run. */
  readonly blocks: RunBlocks;
  /** May statistics be refused? Then they are there before a run is mapped. */
  readonly refuses: boolean;
  /** Of a watched norm all runs, whatever they were normalised by. */
  readonly settled: Settled[];
  readonly singles: Single[];
}

export abstract class ChannelNorm<R extends number = number, M extends MaskOptions = object> extends Norm<
  ChannelPass,
  R,
  M
> {
  /** @internal */
  protected abstract readonly channels: number;
  /** @internal */
  protected abstract readonly settings: KinSettings;
  /** @internal The ranks taken. */
  protected abstract readonly ranks: Ranks;
  /** @internal The running statistics in use. */
  protected running: RunningStats | undefined;
  /** Statistics and coefficients of each run. */
  #blocks: RunBlocks | undefined;
  /** Those of the forward before it, where statistics may be refused: the two take turns. */
  #spare: RunBlocks | undefined;
  /** Room for sums over several runs. */
  #sums: Sums | undefined;
  #watcher: Watcher | undefined;
  /** Maps by running statistics: one, or one for each time step. */
  readonly #evaluations = [new EvaluationMap()];

  /**
   * Mean of the last batch that was normalised by its own statistics, `[C]`, a copy; those of all
   * runs (virtual batches, samples) one after the other, where there are several. `null` if there
   * is none.
   */
  get savedMean(): Float32Array | null {
    return this.saved('mean', (mean) => mean);
  }

  /** 1/√(variance + eps) of that batch, `[C]`, a copy; `null` if there is none. */
  get savedInvStd(): Float32Array | null {
    return this.saved('variance', (variance) => inverseStd(variance, this.settings.eps));
  }

  outputShape(shape: readonly number[]): readonly number[] {
    this.planOf(shape);
    return shape;
  }

  /** @internal */
  override checkForward(shape: readonly number[]): readonly number[] {
    const plan = this.planOf(shape);
    // one value of a channel in each sample, and one sample in a run
    if (plan.count === shape[0] && this.fewest(shape[0]) === 1) this.passFor(plan, undefined);
    return shape;
  }

  /** @internal Samples of the smallest run of so many. */
  protected fewest(_samples: number): number {
    return 1;
  }

  /**
   * @internal Who is told of every forward from now on. While a norm is watched nothing moves its
   *   running statistics.
   */
  watch(watcher: Watcher | undefined): void {
    this.#watcher = watcher;
  }

  /** @internal */
  get isWatched(): boolean {
    return this.#watcher !== undefined;
  }

  override stateSlots(): StateSlots {
    return { ...super.stateSlots(), ...this.running?.slots() };
  }

  override checkpoint(): (() => void) | undefined {
    return this.training ? this.running?.checkpoint() : undefined;
  }

  /** @internal */
  override channelAxis(rank: number): number {
    return this.settings.layout === 'channels-first' ? 1 : rank - 1;
  }

  override trace(graph: OperationGraph, x: Value): Value {
    const { running, channels, ranks, activation } = this;
    const [gamma, beta] = [this.learned.gamma?.values.now, this.learned.beta?.values.now];
    const { eps, layout } = this.settings;
    let y: Value;
    if (running) {
      const scale = new Float64Array(channels);
      const shift = new Float64Array(channels);
      const center = new Float32Array(channels);
      evaluationMap(running.mean.now, running.variance.now, eps, gamma, beta, scale, shift, center);
      const operation: AffineOperation = { kind: 'affine', center, scale, shift, layout, ranks };
      y = graph.append(operation, [x]);
    } else {
      const common = { channels, eps, layout, ranks, gamma: gamma ?? null, beta: beta ?? null };
      const operation: ChannelNormOperation = { kind: 'channel-norm', ...common, ...this.ownStatistics() };
      y = graph.append(operation, [x]);
    }
    return traceActivation(graph, y, activation);
  }

  /** Gives back the linear memory that the norm works in: saved statistics and folded maps. */
  override dispose(): void {
    super.dispose();
    this.#blocks?.release();
    this.#spare?.release();
    // time steps that were never evaluated have none
    for (const map of this.#evaluations) map?.release();
  }

  /** @internal Whose statistics evaluation uses where there are no running ones. */
  protected abstract ownStatistics(): OwnStatistics;

  /** @internal */
  protected get activation() {
    return this.settings.activation;
  }

  /** @internal Which samples are normalised together. */
  protected abstract cut(plan: Plan, mask: Mask | undefined): Omit<Run, 'by'>[];

  /**
   * @internal Which statistics a run of a batch is normalised by; throws where it has none that it
   *   may use.
   */
  protected abstract statisticsFor(run: Omit<Run, 'by'>, batch: Plan): Run['by'];

  /**
   * @internal What becomes of the statistics of a batch: one call, after its last run. `moments`
   *   finds those of a run.
   */
  protected abstract settle(runs: readonly Settled[], moments: (index: number) => RunMoments): void;

  /** @internal May statistics be refused before anything is written? */
  protected get mayRefuse(): boolean {
    return false;
  }

  /** @internal The error for statistics that are refused. */
  protected refusal(_v: Training, _context: string): Error | undefined {
    return undefined;
  }

  /** @internal For norms that pool the statistics of channels: called with those of a run. */
  protected pool: ((v: Training) => void) | undefined;

  /**
   * @internal For norms that change the training map: called when that of channels `from` to `to`
   *   has been worked out. With the scale and shift of
   * the forward it is called again in its backward, where the map has to become what it was.
   */
  protected adjust(_v: Training, _run: number, _from: number, _to: number, _again?: Scaling): void {}

  /** @internal And with the sums of a run, of which the gradients of gamma and beta are made. */
  protected adjustGradient(_v: Training, _run: number): void {}

  /** @internal */
  protected planOf(shape: readonly number[]): Plan {
    return planOf(this.subject, shape, this.channels, this.settings.layout, this.ranks);
  }

  /** @internal */
  protected override begin(shape: readonly number[], options: M): ChannelPass {
    const plan = this.planOf(shape);
    const mask = readMask(this.subject, plan, this.settings.layout, options);
    if (this.#watcher && mask && mask.channelStep > 0) {
      const context = `shape ${showShape(shape)}`;
      throw wrongValue('ERR_MASK', this.subject, 'mask', 'one that all channels share', 'one by channel', context);
    }
    return this.passFor(plan, mask);
  }

  /** @internal */
  protected override again(pass: ChannelPass): ChannelPass {
    const [run] = pass.runs;
    const isSame = pass.runs.length === 1 && !run.mask && pass.training === this.training;
    return isSame && run.by === this.statisticsFor(run, pass.plan) ? pass : this.passFor(pass.plan, undefined);
  }

  /** @internal */
  protected passFor(plan: Plan, mask: Mask | undefined): ChannelPass {
    // in its place: a copy of each would cost as much as evaluation of a row
    const runs = this.cut(plan, mask).map((run) => Object.assign(run, { by: this.statisticsFor(run, plan) }));
    return { plan, runs, training: this.training };
  }

  /** @internal Which run of which batch, for errors. */
  protected placeOf(run: Pick<Run, 'plan' | 'from' | 'step'>, batch: Plan): string {
    const { plan, from } = run;
    const isPart = plan.shape[0] < batch.shape[0];
    return `shape ${showShape(batch.shape)}${isPart ? `, sample ${(from / batch.size) * batch.shape[0]}` : ''}`;
  }

  /** @internal The error for a run in which some channel has no value that counts. */
  protected nothingCounts(place: string): Error {
    return wrongValue('ERR_MASK', this.subject, 'mask', 'a place that counts', 'none', place);
  }

  /** @internal */
  protected override write(call: Call, pass: ChannelPass, { x, residual }: Located, out: TensorLike): void {
    const { runs } = pass;
    const current = backend();
    const evaluates = runs.length === 1 && runs[0].by === 'running' && !runs[0].mask && !this.#watcher;
    const { plan } = evaluates ? runs[0] : pass;
    if (evaluates && !(x instanceof Tensor || residual instanceof Tensor || out instanceof Tensor)) {
      const scratch = call.scratch(stagedScratch(plan));
      stagedAffine(
        current,
        plan,
        x.data,
        this.#evaluationMap(runs[0]),
        residual?.data,
        out.data,
        this.activation,
        scratch,
      );
      return;
    }
    const at = call.input(x);
    const added = residual ? call.input(residual) : 0;
    const to = call.output(out, { x, at });
    if (evaluates) {
      affine(current, plan, at, this.#evaluationMap(runs[0]), added, to, this.activation);
      return;
    }
    const work = this.#open(
      runs,
      runs.map(({ mask }) => mask && placeMask(current, call, mask)),
    );
    try {
      if (this.#watcher || runs.some(({ by }) => by !== 'running')) this.#reserve(work);
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

  /**
   * @internal The same run by run, from memory to memory, for cells in which what a run normalises
   *   depends on the output of the one before. `settle` comes
   * behind all of them, or `abandon` after an error; where statistics may be refused, what an
   * earlier forward left is there until then.
   */
  runByRun({ runs }: ChannelPass) {
    const work = this.#open(runs, []);
    try {
      this.#reserve(work);
    } catch (error) {
      this.#abandon(work);
      throw error;
    }
    return {
      forward: (i: number, x: number, residual: number, y: number) => {
        if (work.refuses) this.#check(work, i, x, `time step ${i}`);
        this.#forwardRun(work, i, x, residual, y);
      },
      settle: () => this.#close(work),
      abandon: () => this.#abandon(work),
      backward: (i: number, x: number, dy: number, dx: number) => {
        this.#backwardRun(runs[i], i, x, dy, dx, undefined, 0, this.#learns);
        if (runs[i].plan.size > 0) this.#addToGradients(work.blocks.at(i).views());
      },
    };
  }

  get #learns(): boolean {
    return [this.learned.gamma, this.learned.beta].some((parameter) => parameter && !parameter.frozen);
  }

  #open(runs: readonly Run[], masks: readonly (Placed | undefined)[]): Work {
    // who watches is told what may not be finite
    const refuses = this.mayRefuse && !this.#watcher;
    // statistics that may yet be refused must not write over those that an earlier forward left for
    // backward
    const blocks = refuses ? (this.#spare ??= new RunBlocks(backend().heap, this.channels)) : this.#room();
    return { runs, masks, blocks, refuses, settled: [], singles: [] };
  }

  /** Throws where the statistics of a run are refused. */
  #check({ runs, masks, blocks }: Work, index: number, x: number, context: string): void {
    if (runs[index].by !== 'batch') return;
    const v = blocks.at(index);
    this.#statistics(runs[index], x, v, masks[index]);
    blocks.keep(index);
    const refusal = this.refusal(v, context);
    if (refusal) throw refusal;
  }

  #close({ settled, singles, blocks }: Work): void {
    const moments = (index: number) => blocks.moments(index);
    if (this.#watcher) this.#watcher(settled, moments);
    else {
      if (settled.length + singles.length) this.settle(settled, moments);
      if (singles.length) this.learn(singles);
    }
    if (blocks !== this.#spare) return;
    this.#spare = this.#blocks;
    this.#blocks = blocks;
  }

  #abandon({ blocks }: Work): void {
    if (blocks === this.#spare) blocks.release();
  }

  #forwardRun(work: Work, index: number, x: number, residual: number, y: number): void {
    const { blocks, settled } = work;
    const run = work.runs[index];
    const mask = work.masks[index];
    if (run.plan.size === 0) return;
    const v = blocks.at(index);
    if (run.by === 'batch') {
      if (work.refuses) blocks.recall(index);
      const finite = this.#normalizeByBatch(run, index, x, residual, y, v, mask, work.refuses);
      blocks.keep(index);
      settled.push({ run, index, finite });
      return;
    }
    // before y is written, which may be where x is
    if (this.#watcher || run.by === 'online') this.#statistics(run, x, v, mask);
    if (this.#watcher) {
      blocks.keep(index);
      settled.push({ run, index, finite: true });
    } else if (run.by === 'online') {
      // a single value is its own mean
      work.singles.push({ run, values: Float32Array.from(v.views().mean) });
    }
    const { activation } = this.settings;
    const map = this.#evaluationMap(run);
    if (mask) maskedAffine(backend(), run.plan, x, map, residual, y, activation, mask);
    else affine(backend(), run.plan, x, map, residual, y, activation);
  }

  /** The blocks of the last forward, and of the next one. */
  #room(): RunBlocks {
    this.#blocks ??= new RunBlocks(backend().heap, this.channels);
    return this.#blocks;
  }

  #reserve({ runs, blocks }: Work): void {
    const { gamma, beta } = this.learned;
    blocks.reserve(runs.length, { gamma: gamma?.values.now, beta: beta?.values.now });
  }

  /** The block of a run that was normalised by its statistics, as forward left it. */
  #recalled(index: number): Training {
    const blocks = this.#blocks!;
    const v = blocks.at(index);
    const scaling = blocks.recall(index);
    if (scaling) {
      setTraining(v, 0, this.channels, this.settings.eps, scaling.gamma, scaling.beta);
      this.adjust(v, index, 0, this.channels, scaling);
    }
    return v;
  }

  #statistics({ plan }: Run, x: number, v: Training, placed: Placed | undefined): void {
    if (placed) maskedStats(backend(), plan, x, placed, v);
    else statistics(backend(), plan, x, v);
    this.pool?.(v);
  }

  /** Returns whether all statistics are finite in f32. */
  #normalizeByBatch(
    run: Run,
    index: number,
    x: number,
    residual: number,
    y: number,
    v: Training,
    placed: Placed | undefined,
    known: boolean,
  ): boolean {
    const current = backend();
    const { eps, activation } = this.settings;
    const gamma = this.learned.gamma?.values.now;
    const beta = this.learned.beta?.values.now;
    let finite = true;
    const derive = (from: number, to: number) => {
      if (!setTraining(v, from, to, eps, gamma, beta)) finite = false;
      this.adjust(v, index, from, to);
    };
    // masked and pooled statistics are not to be had channel by channel
    const apart = placed !== undefined || this.pool !== undefined;
    if (apart && !known) this.#statistics(run, x, v, placed);
    if (placed) {
      derive(0, this.channels);
      maskedAffine(current, run.plan, x, v, residual, y, activation, placed);
    } else {
      trainForward(current, run.plan, x, residual, y, activation, v, derive, known || apart);
    }
    return finite;
  }

  /** @internal Takes in the runs of a batch that have one value in each channel. */
  protected learn(_singles: readonly Single[]): void {}

  /** @internal The running statistics of a time step. */
  protected runningAt(_step: number): Pick<RunningStats, 'mean' | 'variance'> {
    return this.running!;
  }

  #evaluationMap({ step, found }: Pick<Run, 'step' | 'found'>): AffineVectors {
    const { mean, variance } = this.runningAt(step);
    const { gamma, beta } = this.learned;
    this.#evaluations[found] ??= new EvaluationMap();
    return this.#evaluations[found].from(mean, variance, this.settings.eps, gamma?.values, beta?.values);
  }

  /** @internal Statistics of the last forward, every `step`-th channel. */
  protected saved(name: 'mean' | 'variance', of: (value: number) => number, step = 1): Float32Array | null {
    const { runs, plan } = this.lastPass ?? {};
    if (!runs || plan!.size === 0 || runs.some(({ by }) => by !== 'batch')) return null;
    return Float32Array.from(
      runs.flatMap((_, i) => {
        const values = Array.from(this.#blocks!.moments(i)[name]);
        return values.filter((_, c) => c % step === 0).map(of);
      }),
    );
  }

  /** @internal */
  protected override scratchFor({ plan }: ChannelPass): number {
    return activationScratch(plan);
  }

  /** @internal */
  protected override preActivations(
    { runs }: ChannelPass,
    x: number,
    residual: number,
    scratch: number,
    visit: (from: number, size: number) => void,
  ): void {
    runs.forEach(({ plan, from }, i) => {
      const map = this.mapOf(runs[i], i);
      const added = residual && residual + from * 4;
      preActivations(backend(), plan, x + from * 4, added, map, scratch, (at, size) => visit(from + at, size));
    });
  }

  /** @internal The map by which the last forward mapped a run. */
  protected mapOf({ by, found }: Run, index: number): AffineVectors {
    return by === 'batch' ? this.#recalled(index) : this.#evaluations[found].last.map;
  }

  /** @internal */
  protected override unmask(call: Call, { runs }: ChannelPass, dy: number): void {
    for (const { plan, from, mask } of runs) {
      if (mask) clearMasked(backend(), plan, dy + from * 4, placeMask(backend(), call, mask));
    }
  }

  /** @internal */
  protected override gradients(call: Call, { runs }: ChannelPass, x: number, dy: number, dx: number): void {
    const current = backend();
    const blocks = this.#room();
    // runs by running statistics left none, and need no more than room for one at a time
    const constant = runs.every(({ by }) => by === 'running');
    if (constant) blocks.reserve(1);
    const placed = runs.map(({ mask }) => mask && placeMask(current, call, mask));
    const spare = placed.some((p) => p?.mask.weights) ? call.scratch(spareFor(runs[0].plan) * 4) : 0;
    const learns = this.#learns;
    const totals = runs.length > 1 && learns ? this.#totals : undefined;
    totals?.dgamma.fill(0);
    totals?.dbeta.fill(0);
    runs.forEach((run, i) => {
      const bytes = run.from * 4;
      const index = constant ? 0 : i;
      this.#backwardRun(run, index, x + bytes, dy + bytes, dx + bytes, placed[i], spare, learns);
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
    const sums = () => new Float64Array(this.channels);
    this.#sums ??= { dgamma: sums(), dbeta: sums() };
    return this.#sums;
  }

  /** Adds sums to the gradients of gamma and beta. */
  #addToGradients({ dgamma, dbeta }: Sums): void {
    addToGradient(this.learned.gamma, dgamma);
    addToGradient(this.learned.beta, dbeta);
  }

  #backwardRun(
    run: Run,
    index: number,
    x: number,
    dy: number,
    dx: number,
    mask: Placed | undefined,
    spare: number,
    learns: boolean,
  ): void {
    const current = backend();
    const { plan } = run;
    if (plan.size === 0) return;
    const v = run.by === 'batch' ? this.#recalled(index) : this.#blocks!.at(index);
    const sum = (from = 0, to = this.channels) => mask && maskedGradStats(current, plan, x, dy, mask, v, from, to);
    if (run.by === 'batch') {
      if (mask) {
        sum();
        setGradient(v, 0, this.channels, mask.mask.total, (c) => sum(c, c + 1));
        maskedGradInput(current, plan, x, dy, v, dx, mask, spare);
      } else this.gradientOf(run, x, dy, dx, v);
      this.adjustGradient(v, index);
    } else {
      setConstantGradient(v, this.#evaluations[run.found].last.source, this.settings.eps);
      if (mask) {
        if (learns) sum();
        const map = { center: 0, scale: v.scale, shift: v.k };
        maskedAffine(current, plan, dy, map, 0, dx, NO_ACTIVATION, mask);
      } else constantBackward(current, plan, x, dy, dx, v, learns);
    }
  }

  /** @internal dx of a run by its own statistics, and its sums in v.dbeta and v.dgamma. */
  protected gradientOf({ plan }: Run, x: number, dy: number, dx: number, v: Training): void {
    trainBackward(backend(), plan, x, dy, dx, v);
  }
}

/** Σdy·x̂ and Σdy, by channel. */
type Sums = Readonly<Record<'dgamma' | 'dbeta', Float64Array>>;

/** Adds the sums of a run to those of the runs before it. */
function addSums(totals: Sums, v: Training): void {
  const { dgamma, dbeta } = v.views();
  for (let c = 0; c < dgamma.length; c++) {
    totals.dgamma[c] += dgamma[c];
    totals.dbeta[c] += dbeta[c];
  }
}
