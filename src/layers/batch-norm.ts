import { show, showShape, wrongMoment, wrongValue } from '../errors.ts';
import { activationOf, NO_ACTIVATION } from '../kernels/activations.ts';
import { backend } from '../kernels/backend.ts';
import { activate, affine } from '../kernels/inference/calls.ts';
import { Call, checkCallOptions, locate, makeLike, produce } from '../tensors/call.ts';
import { Kept } from '../tensors/kept.ts';
import { type Located, Route } from '../tensors/route.ts';
import { checkShape, sameShape, shapeOf } from '../tensors/shape.ts';
import { type OfRank, type Result, Tensor, type TensorLike } from '../tensors/tensor.ts';
import type { Parameter } from '../types.ts';
import {
  type Evaluation,
  EvaluationMap,
  evaluationMap,
  inverseStd,
  reserveTraining,
  setConstantGradient,
  setTraining,
  type Training,
} from './coefficients.ts';
import { Layer, type Stage } from './layer.ts';
import {
  type BatchNormOptions,
  type BatchNormSettings,
  checkFeatures,
  type Preset,
  preset,
  type ResolvedOptions,
  readOptions,
} from './options.ts';
import { LearnedParameter } from './parameter.ts';
import {
  activationBackward,
  activationScratch,
  constantBackward,
  stagedAffine,
  stagedScratch,
  trainBackward,
  trainForward,
} from './passes.ts';
import { type Plan, planOf, type Ranks } from './plan.ts';
import { RunningStats } from './running-stats.ts';
import type { StateSlots } from './state.ts';

export interface ForwardOptions<O extends TensorLike> {
  /** Where to write the output: a tensor of the input's shape, or `x` itself for in-place work. */
  out?: O;
  /** Added before the activation: a tensor of the input's shape. */
  residual?: TensorLike;
}

/** What the last forward left for backward. */
interface Saved {
  readonly plan: Plan;
  /** Normalised by the batch's statistics, or by the running ones? */
  readonly by: 'batch' | 'running';
  readonly kept: Kept<{ x: TensorLike; residual: TensorLike | undefined }>;
}

/**
 * Batch normalization (Ioffe & Szegedy 2015) of inputs of any rank ≥ 2: `[N, C, ...]`, or `[N, ..., C]` with
 * `layout: 'channels-last'`.
 *
 * Training normalises each channel by the mean and (biased) variance of the batch and moves the running statistics; evaluation uses
 * the running statistics. Both then scale by gamma and shift by beta. Options and their defaults are PyTorch's, in `BatchNormOptions`.
 *
 *     const bn = new BatchNorm2d(64);
 *     const y = bn.forward(x);     // training
 *     const dx = bn.backward(dy);  // adds to bn.gamma.grad and bn.beta.grad
 */
export class BatchNorm<R extends number = number> extends Layer {
  static override readonly name: string = 'BatchNorm';
  /** `BatchNorm.preset('keras')`: that framework's eps, momentum, variance estimator and layout as options. */
  static preset(name: Preset): ReturnType<typeof preset> {
    return preset(name);
  }

  readonly subject: string;
  readonly numFeatures: number;
  readonly #options: ResolvedOptions;
  readonly #ranks: Ranks;
  readonly #gamma: LearnedParameter | undefined;
  readonly #beta: LearnedParameter | undefined;
  readonly #running: RunningStats | undefined;
  #frozen = false;
  #nonFinite = 0;
  #training: Training | undefined;
  readonly #evaluation = new EvaluationMap();
  #saved: Saved | undefined;
  /** The last forward, for the next one on the same tensors. */
  #route: Route<Plan> | undefined;
  #residualGrad: TensorLike | undefined;

  /**
   * @param numFeatures channels, C
   * @throws ERR_OPTION for an unknown option or a value it does not take
   */
  constructor(numFeatures: number, options: BatchNormOptions = {}) {
    super();
    const { kind, ranks } = this.form();
    checkFeatures(kind, 'numFeatures', numFeatures);
    this.subject = `${kind}(${numFeatures})`;
    this.numFeatures = numFeatures;
    this.#ranks = ranks;
    this.#options = readOptions(this.subject, options);
    const { affine: learned, trackRunningStats } = this.#options;
    const filled = (value: number) => new LearnedParameter([numFeatures], new Float32Array(numFeatures).fill(value));
    if (learned === true || learned === 'gamma') this.#gamma = filled(1);
    if (learned === true || learned === 'beta') this.#beta = filled(0);
    if (trackRunningStats) this.#running = new RunningStats(numFeatures);
  }

  /** @internal The name in errors, and the ranks taken. */
  protected form(): { kind: string; ranks: Ranks } {
    return { kind: 'BatchNorm', ranks: [2, Number.POSITIVE_INFINITY] };
  }

  /** The options in force, defaults filled in: for another layer of the same kind. */
  get options(): Readonly<BatchNormSettings> {
    return { ...this.#options, activation: activationOf(this.#options.activation) };
  }

  /** Learned scale, `[C]`, 1 at first; `null` without one. */
  get gamma(): Parameter | null {
    return this.#gamma ?? null;
  }

  /** Learned shift, `[C]`, 0 at first; `null` without one. */
  get beta(): Parameter | null {
    return this.#beta ?? null;
  }

  /** Mean over the batches seen, `[C]`; `null` with `trackRunningStats: false`. */
  get runningMean(): Float32Array | null {
    return this.#running?.mean.open ?? null;
  }

  /** Variance over the batches seen, `[C]`; `null` with `trackRunningStats: false`. */
  get runningVar(): Float32Array | null {
    return this.#running?.variance.open ?? null;
  }

  /**
   * Batches that moved the running statistics. An empty batch counts as well, as in PyTorch, unless the count is the divisor of a
   * cumulative average.
   */
  get batchesTracked(): number {
    return this.#running?.batches ?? 0;
  }

  /** Training batches whose statistics were not finite, since the layer was made or reset. */
  get nonFiniteBatches(): number {
    return this.#nonFinite;
  }

  /** Mean of the last batch that was normalised by its own statistics, `[C]`, a copy; `null` if there is none. */
  get savedMean(): Float32Array | null {
    if (this.#saved?.by !== 'batch' || this.#saved.plan.size === 0 || !this.#training) return null;
    const at = this.#training.mean >>> 3;
    return Float32Array.from(backend().heap.f64.subarray(at, at + this.numFeatures));
  }

  /** 1/√(variance + eps) of that batch, `[C]`, a copy; `null` if there is none. */
  get savedInvStd(): Float32Array | null {
    if (this.#saved?.by !== 'batch' || this.#saved.plan.size === 0 || !this.#training) return null;
    const at = this.#training.variance >>> 3;
    const { eps } = this.#options;
    return Float32Array.from(backend().heap.f64.subarray(at, at + this.numFeatures), (variance) =>
      inverseStd(variance, eps),
    );
  }

  /**
   * Gradient with respect to `residual`, from the last `backward` after a forward that had one; else `null`. Where `dy` was a Tensor it
   * is one that belongs to the layer and is written again by the next backward.
   */
  get residualGrad(): TensorLike | null {
    return this.#residualGrad ?? null;
  }

  get frozen(): boolean {
    return this.#frozen;
  }

  /**
   * Freezes the layer, in either mode: it normalises by the running statistics, which nothing moves; gamma and beta get no gradient
   * and optimizers pass them by.
   *
   * @throws ERR_MODE without running statistics
   */
  freeze(): this {
    if (!this.#running)
      throw this.#wrongMoment('freeze', 'running statistics', 'a layer with trackRunningStats: false');
    return this.#setFrozen(true);
  }

  unfreeze(): this {
    return this.#setFrozen(false);
  }

  /** Running mean 0, running variance 1, no batches. */
  resetRunningStats(): void {
    this.#running?.reset();
    this.#nonFinite = 0;
    this.#saved = undefined;
  }

  override parameters(): Parameter[] {
    return [this.#gamma, this.#beta].filter((parameter) => parameter !== undefined);
  }

  outputShape(shape: readonly number[]): readonly number[] {
    planOf(this.subject, shape, this.numFeatures, this.#options.layout, this.#ranks);
    return shape;
  }

  /**
   * Normalises `x`, adds `residual`, applies the activation.
   *
   * @param x `[N, C, ...]`, or `[N, ..., C]`; a batch with no values is returned as it is
   * @returns the output, of x's shape: `out`, or new memory of x's kind
   * @throws ERR_SHAPE, ERR_TYPE, ERR_ALIAS, ERR_DISPOSED; ERR_SINGLE_VALUE and ERR_NON_FINITE as the options say; ERR_MEMORY. After an
   *   error nothing has changed
   */
  forward<const X extends TensorLike, O extends TensorLike = Result<X>>(
    x: X & OfRank<X, R>,
    options: ForwardOptions<O> = {},
  ): O {
    if (this.#route?.takes(x, options)) {
      const { plan, inputs, out } = this.#route;
      const by = this.#statisticsFor(plan);
      const kept = new Kept(this.subject, inputs);
      const call = new Call(backend());
      try {
        this.#write(call, plan, by, inputs, out);
        call.finish();
      } finally {
        call.end();
      }
      kept.noteOutput(out, 'forward');
      this.#saved = { plan, by, kept };
      return options.out as O;
    }
    checkCallOptions(this.subject, options, ['out', 'residual']);
    const input = locate(this.subject, 'x', x);
    const plan = planOf(this.subject, shapeOf(input), this.numFeatures, this.#options.layout, this.#ranks);
    const residual = options.residual === undefined ? undefined : locate(this.subject, 'residual', options.residual);
    if (residual) checkShape(this.subject, 'residual', shapeOf(residual), plan.shape, 'shape');
    const by = this.#statisticsFor(plan);
    const inputs = { x: input, residual };
    const product = {
      subject: this.subject,
      like: x,
      shape: plan.shape,
      out: options.out,
      inputs,
      aliasing: 'in-place',
    } as const;
    const kept = new Kept(this.subject, inputs);
    const y = produce<O>(product, (call, result) => {
      if (plan.size === 0) {
        this.#trackEmpty(by);
        return;
      }
      this.#write(call, plan, by, inputs, result);
      kept.noteOutput(result, 'forward');
    });
    this.#saved = { plan, by, kept };
    this.#route = Route.of(x, options, plan, inputs);
    return y;
  }

  /**
   * Gradient of the last forward: returns dx and adds to `gamma.grad` and `beta.grad`. After a forward by the batch's statistics these
   * depend on x; after one by the running statistics (evaluation, frozen) they are constants.
   *
   * @param dy gradient with respect to the output, of its shape
   * @param options.out where to write dx: a tensor of that shape, or `dy` itself
   * @throws ERR_MODE before a forward, or if the forward wrote over its input; ERR_SHAPE, ERR_TYPE, ERR_ALIAS, ERR_DISPOSED, ERR_MEMORY.
   *   After an error nothing has changed
   */
  backward<D extends TensorLike, O extends TensorLike = Result<D>>(dy: D, options: { out?: O } = {}): O {
    checkCallOptions(this.subject, options, ['out']);
    const saved = this.checkSaved();
    const { plan, kept } = saved;
    const given = locate(this.subject, 'dy', dy);
    checkShape(this.subject, 'dy', shapeOf(given), plan.shape, 'shape');
    const { x, residual } = kept.inputs;
    const product = {
      subject: this.subject,
      like: dy,
      shape: plan.shape,
      out: options.out,
      inputs: { dy: given, x, residual },
      aliasing: 'in-place',
    } as const;
    return produce<O>(product, (call, result) => {
      const residualGrad = residual && this.#residualGradLike(dy, plan.shape);
      if (plan.size > 0) {
        const at = call.input(x);
        const from = call.input(given);
        const to = call.output(result, { x: given, at: from });
        const dz = residualGrad ? call.output(residualGrad) : 0;
        const g = this.#throughActivation(saved, call, at, residual ? call.input(residual) : 0, from, dz, to);
        this.#gradients(saved, at, g, to);
      }
      this.#residualGrad = residualGrad;
      kept.noteOutput(result, 'backward');
    });
  }

  /** @internal */
  override checkSaved(): Saved {
    if (!this.#saved) throw this.#wrongMoment('backward', 'the saved statistics of a training forward', 'none');
    this.#saved.kept.check();
    return this.#saved;
  }

  override stateSlots(): StateSlots {
    return {
      ...(this.#gamma && { gamma: this.#gamma.slot() }),
      ...(this.#beta && { beta: this.#beta.slot() }),
      ...this.#running?.slots(),
    };
  }

  override checkpoint(): (() => void) | undefined {
    return this.training ? this.#running?.checkpoint() : undefined;
  }

  override stages(): Stage[] {
    const running = this.#running;
    if (!running) throw this.#wrongMoment('compile', 'running statistics', 'a layer with trackRunningStats: false');
    const scale = new Float64Array(this.numFeatures);
    const shift = new Float64Array(this.numFeatures);
    evaluationMap(
      running.mean.now,
      running.variance.now,
      this.#options.eps,
      this.#gamma?.values.now,
      this.#beta?.values.now,
      scale,
      shift,
    );
    const stages: Stage[] = [{ kind: 'affine', scale, shift, layout: this.#options.layout, ranks: this.#ranks }];
    if (this.#options.activation.kind) stages.push({ kind: 'activation', activation: this.#options.activation });
    return stages;
  }

  override dispose(): void {
    this.#training?.release();
    this.#evaluation.release();
    if (this.#residualGrad instanceof Tensor) this.#residualGrad.dispose();
    this.#training = this.#saved = this.#route = this.#residualGrad = undefined;
  }

  /** Which statistics this batch is normalised by; throws where it has none and the policy is to throw. */
  #statisticsFor(plan: Plan): 'batch' | 'running' {
    if (this.#frozen || (!this.training && this.#running)) return 'running';
    if (plan.count !== 1 || plan.size === 0) return 'batch';
    const { onSingleValue } = this.#options;
    if (onSingleValue === 'use-running') return 'running';
    if (onSingleValue === 'skip-update') return 'batch';
    throw wrongValue(
      'ERR_SINGLE_VALUE',
      this.subject,
      this.training ? 'training' : 'evaluation without running statistics',
      'at least 2 values per channel',
      '1',
      `shape ${showShape(plan.shape)}`,
    );
  }

  /** The forward map, from wherever its inputs lie to wherever its output belongs. */
  #write(call: Call, plan: Plan, by: 'batch' | 'running', { x, residual }: Located, out: TensorLike): void {
    const { activation } = this.#options;
    const plain = !(x instanceof Tensor || residual instanceof Tensor || out instanceof Tensor);
    if (by === 'running' && plain) {
      const scratch = call.scratch(stagedScratch(plan));
      stagedAffine(backend(), plan, x.data, this.#evaluationMap(), residual?.data, out.data, activation, scratch);
      return;
    }
    const at = call.input(x);
    const added = residual ? call.input(residual) : 0;
    const to = call.output(out, { x, at });
    if (by === 'batch') this.#normalizeByBatch(plan, at, added, to);
    else affine(backend(), plan, at, this.#evaluationMap(), added, to, activation);
  }

  #normalizeByBatch(plan: Plan, x: number, residual: number, y: number): void {
    const current = backend();
    const { heap } = current;
    const { eps, activation, onNonFinite } = this.#options;
    const gamma = this.#gamma?.values.now;
    const beta = this.#beta?.values.now;
    // statistics that may yet be refused must not write over those that an earlier forward left for backward
    const mayRefuse = this.training && onNonFinite === 'throw';
    const v = mayRefuse || !this.#training ? reserveTraining(heap, this.numFeatures) : this.#training;
    let finite = true;
    const derive = (from: number, to: number) => {
      if (!setTraining(heap, v, from, to, eps, gamma, beta)) finite = false;
    };
    const refuse = () => {
      const channel = this.#nonFiniteChannel(v);
      if (channel < 0) return;
      this.#nonFinite++;
      throw wrongValue(
        'ERR_NON_FINITE',
        this.subject,
        'x',
        'finite statistics',
        `a mean of ${show(heap.f64[(v.mean >>> 3) + channel])} and a variance of ${show(heap.f64[(v.variance >>> 3) + channel])}`,
        `channel ${channel}, shape ${showShape(plan.shape)}`,
      );
    };
    try {
      trainForward(current, plan, x, residual, y, activation, v, derive, mayRefuse ? refuse : undefined);
    } catch (error) {
      if (v !== this.#training) v.release();
      throw error;
    }
    if (v !== this.#training) this.#training?.release();
    this.#training = v;
    if (this.training) this.#track(plan, v, finite);
  }

  #trackEmpty(by: 'batch' | 'running'): void {
    if (by === 'batch' && this.training && this.#running && this.#options.momentum !== null) this.#running.batches++;
  }

  /** Counts the batch, and moves the running statistics unless a policy says not to. */
  #track(plan: Plan, v: Training, finite: boolean): void {
    const { momentum, runningVariance, onNonFinite } = this.#options;
    if (!finite) this.#nonFinite++;
    if (!this.#running || plan.count === 1 || (!finite && onNonFinite === 'skip-update')) return;
    const correction = runningVariance === 'unbiased' ? plan.count / (plan.count - 1) : 1;
    this.#running.update(backend().heap.f64, v.mean >>> 3, v.variance >>> 3, momentum, correction);
  }

  /** The first channel whose statistics are not finite in f32; −1 if all are. */
  #nonFiniteChannel(v: Training): number {
    const { f64 } = backend().heap;
    const mean = v.mean >>> 3;
    const variance = v.variance >>> 3;
    for (let c = 0; c < this.numFeatures; c++) {
      if (!Number.isFinite(Math.fround(f64[mean + c])) || !Number.isFinite(Math.fround(f64[variance + c]))) return c;
    }
    return -1;
  }

  #evaluationMap(): Evaluation {
    const { mean, variance } = this.#running!;
    return this.#evaluation.from(mean, variance, this.#options.eps, this.#gamma?.values, this.#beta?.values);
  }

  /** Where dy·f′(pre) lies: dy itself without an activation. */
  #throughActivation(
    saved: Saved,
    call: Call,
    x: number,
    residual: number,
    dy: number,
    residualGrad: number,
    dx: number,
  ): number {
    const { plan, by } = saved;
    const { activation } = this.#options;
    if (!activation.kind) {
      if (residualGrad) activate(backend(), dy, residualGrad, NO_ACTIVATION, plan.size);
      return dy;
    }
    // not where x or the residual still have to be read from
    const g = residualGrad || (dx === x || dx === residual ? call.scratch(plan.size * 4) : dx);
    const scratch = call.scratch(activationScratch(plan));
    const map = by === 'batch' ? this.#training! : this.#evaluation.last.block;
    activationBackward(backend(), plan, x, residual, dy, g, activation, map, scratch);
    return g;
  }

  #gradients({ plan, by }: Saved, x: number, g: number, dx: number): void {
    const current = backend();
    const { heap } = current;
    const learned = [
      { parameter: this.#gamma, sums: 'dgamma' },
      { parameter: this.#beta, sums: 'dbeta' },
    ] as const;
    const learns = learned.some(({ parameter }) => parameter && !parameter.frozen);
    this.#training ??= reserveTraining(heap, this.numFeatures);
    const v = this.#training;
    if (by === 'batch') {
      trainBackward(current, plan, x, g, dx, v);
    } else {
      setConstantGradient(heap, v, this.#evaluation.last.source, this.#options.eps);
      constantBackward(current, plan, x, g, dx, v, learns);
    }
    for (const { parameter, sums } of learned) {
      if (parameter && !parameter.frozen) add(parameter.grad, heap.f64, v[sums] >>> 3);
    }
  }

  /** Memory for the residual's gradient, of dy's kind. */
  #residualGradLike(dy: TensorLike, shape: readonly number[]): TensorLike {
    const held = this.#residualGrad;
    if (!(dy instanceof Tensor)) {
      if (held instanceof Tensor) held.dispose();
      return makeLike(dy, shape);
    }
    if (held instanceof Tensor && !held.disposed && sameShape(held.shape, shape)) return held;
    if (held instanceof Tensor) held.dispose();
    return Tensor.unscoped(shape);
  }

  #setFrozen(on: boolean): this {
    this.#frozen = on;
    for (const parameter of this.parameters()) parameter.frozen = on;
    return this;
  }

  #wrongMoment(argument: string, expected: string, got: string): Error {
    return wrongMoment('ERR_MODE', this.subject, argument, expected, got);
  }
}

function add(grad: Float32Array, sums: Float64Array, at: number): void {
  for (let c = 0; c < grad.length; c++) grad[c] += sums[at + c];
}
