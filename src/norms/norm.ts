// What all normalizations share: the activation and the residual behind the map, learned arrays and
// their state. The engine of each computes.

import type { OperationGraph, Value } from '../graph/graph.ts';
import { type Activation, activationOf, NO_ACTIVATION } from '../kernels/activations.ts';
import { backend } from '../kernels/backend.ts';
import { activate } from '../kernels/inference/calls.ts';
import { activateGrad } from '../kernels/training/calls.ts';
import { LeafLayer, type Pass } from '../layers/leaf-layer.ts';
import { LearnedParameter } from '../layers/parameter.ts';
import type { StateSlots } from '../layers/state.ts';
import { notBuilt } from '../layers/unbuilt.ts';
import { MASK_OPTIONS } from '../passes/mask.ts';
import { type Call, makeLike, sameMemory } from '../tensors/call.ts';
import type { ResolvedInputs } from '../tensors/route.ts';
import { countOf, sameShape } from '../tensors/shape.ts';
import { Tensor, type TensorLike } from '../tensors/tensor.ts';
import type { Parameter } from '../types.ts';
import type { NormEngine } from './engine/norm-engine.ts';
import type { LearnedScale } from './engine/run-arithmetic.ts';

/** What `forward` of a norm takes besides its input. */
export interface ForwardOptions<O extends TensorLike = TensorLike> {
  /** Where to write the output: a tensor of the input's shape, or `x` itself for in-place work. */
  out?: O;
  /** Added before the activation: a tensor of the input's shape. */
  residual?: TensorLike;
}

/** Names of options that every call takes. */
const CALL_OPTIONS: readonly string[] = ['out', 'residual', ...MASK_OPTIONS];

/** Of these, what a network hands on. */
const PASSED: readonly string[] = ['mask', 'lengths'];

/** A norm whose features the first input says. */
export interface Unbuilt {
  /** Its name in errors. */
  readonly subject: string;
  /** Throws ERR_SHAPE for a shape that it does not take, whatever its features. */
  check(shape: readonly number[]): void;
  /**
   * The engine for inputs of this shape; undefined while their features are not known.
   *
   * @throws ERR_OPTION for features that it does not take
   */
  make(shape: readonly number[]): NormEngine | undefined;
}

/** Learned scale (1 at first) and shift (0 at first) of a shape, as the option `affine` says. */
export function learnedScale(affine: boolean | 'gamma' | 'beta', shape: readonly number[]): LearnedScale {
  const filled = (kind: 'gamma' | 'beta', value: number) =>
    (affine === true || affine === kind) && {
      [kind]: new LearnedParameter(shape, new Float32Array(countOf(shape)).fill(value), kind),
    };
  return { ...filled('gamma', 1), ...filled('beta', 0) };
}

/**
 * A normalization: y = f(x̂·gamma + beta + residual), x̂ being x by statistics of some of its
 * values; a batch without values is returned as it is. After a forward by statistics of x gradients
 * go through them; after one by running statistics (evaluation, frozen) these are constants. `M`
 * are the options that its calls take besides.
 */
export abstract class Norm<R extends number = number, M extends object = object> extends LeafLayer<
  Pass,
  R,
  Omit<ForwardOptions, 'out'> & M
> {
  #engine: NormEngine | undefined;
  readonly #unbuilt: Unbuilt | undefined;
  #residualGrad: TensorLike | undefined;

  /** @internal */
  constructor(engine: NormEngine | Unbuilt) {
    super();
    if ('make' in engine) this.#unbuilt = engine;
    else this.#engine = engine;
  }

  get subject(): string {
    return (this.#engine ?? this.#unbuilt!).subject;
  }

  /** @internal Computes what the layer checks and remembers. */
  get engine(): NormEngine {
    return this.#engine ?? notBuilt(this.subject, 'parameters');
  }

  /** @internal Does it know how many features its inputs have? */
  protected get isBuilt(): boolean {
    return this.#engine !== undefined;
  }

  override build(shape: readonly (number | null)[]): this {
    super.build(shape);
    this.#engine ??= this.#unbuilt!.make(shape.map((length) => length ?? Number.NaN));
    return this;
  }

  /** Learned scale, 1 at first; `null` without one. */
  get gamma(): Parameter | null {
    return this.engine.learned.gamma ?? null;
  }

  /** Learned shift, 0 at first; `null` without one. */
  get beta(): Parameter | null {
    return this.engine.learned.beta ?? null;
  }

  /**
   * Gradient with respect to `residual`, from the last `backward` after a forward that had one;
   * else `null`. Where `dy` was a Tensor it is one that belongs to the layer and is written again
   * by the next backward.
   */
  get residualGrad(): TensorLike | null {
    return this.#residualGrad ?? null;
  }

  /**
   * Mean of what the last forward normalised by its own statistics, a copy; `null` if it did not,
   * or before one.
   */
  get savedMean(): Float32Array | null {
    return this.engine.saved(this.lastPass, 'mean');
  }

  /** 1/√(variance + eps) of the same, a copy; `null` likewise. */
  get savedInvStd(): Float32Array | null {
    return this.engine.saved(this.lastPass, 'invStd');
  }

  /** @internal What is applied to the output in the same pass. */
  get fused(): Activation | undefined {
    return activationOf(this.engine.activation);
  }

  outputShape(shape: readonly number[]): readonly number[] {
    if (this.#engine) this.#engine.checkShape(shape);
    else this.#unbuilt!.check(shape);
    return shape;
  }

  /** @internal */
  override checkForward(shape: readonly number[]): readonly number[] {
    this.build(shape);
    this.engine.checkForward(shape, this.training);
    return shape;
  }

  /** @internal */
  override channelAxis(rank: number): number {
    return this.engine.channelAxis(rank);
  }

  override trace(graph: OperationGraph, x: Value): Value {
    const { engine } = this;
    const y = engine.trace(graph, x);
    return engine.activation.kind ? graph.append({ kind: 'elementwise' }, [y], engine.activation) : y;
  }

  /** @internal */
  protected override begin(shape: readonly number[], options: M): Pass {
    const before = this.#engine;
    this.build(shape);
    try {
      return this.engine.begin(shape, options, this.training);
    } catch (error) {
      this.#engine = before;
      throw error;
    }
  }

  /** @internal */
  protected override renew(pass: Pass): Pass {
    return this.engine.reuse(pass, this.training);
  }

  /** @internal */
  protected override write(call: Call, pass: Pass, inputs: ResolvedInputs, out: TensorLike): void {
    this.engine.forward(call, pass, inputs, out);
  }

  /** @internal */
  protected override empty(pass: Pass): void {
    this.engine.forwardEmpty(pass);
  }

  override parameters(): Parameter[] {
    return Object.values(this.engine.learned).filter((parameter) => parameter !== undefined);
  }

  /** @internal */
  protected override writeBack(
    call: Call,
    pass: Pass,
    { x, residual }: ResolvedInputs,
    dy: TensorLike,
    dx: TensorLike,
    like: TensorLike,
  ): void {
    const { shape, size } = pass.plan;
    const held = this.#residualGrad;
    const residualGrad = residual && this.#residualGradLike(like, shape, [x, residual, dy, dx]);
    try {
      if (size > 0) {
        const at = call.input(x);
        const from = call.input(dy);
        const to = call.output(dx, { x: dy, at: from });
        const dz = residualGrad ? call.output(residualGrad) : 0;
        const g = this.#throughActivation(pass, call, at, residual ? call.input(residual) : 0, from, dz, to);
        if (dz) this.engine.clearMasked(call, pass, dz);
        this.engine.backward(call, pass, at, g, to);
      }
    } catch (error) {
      if (residualGrad instanceof Tensor && residualGrad !== held) residualGrad.dispose();
      throw error;
    }
    // one of another kind or shape is no longer needed; one that the caller has put to use is the
    // caller's
    if (held instanceof Tensor && held !== residualGrad && !isAmong(held, [x, dy, dx])) held.dispose();
    this.#residualGrad = residualGrad;
  }

  override stateSlots(): StateSlots {
    return this.learnedSlots();
  }

  /** @internal Learned arrays by their names. */
  protected learnedSlots(): StateSlots {
    const slots: StateSlots = {};
    for (const [name, parameter] of Object.entries(this.engine.learned)) if (parameter) slots[name] = parameter.slot();
    return slots;
  }

  /** Gives back the linear memory that the norm works in, and disposes `residualGrad`. */
  override dispose(): void {
    if (this.#residualGrad instanceof Tensor) this.#residualGrad.dispose();
    this.#residualGrad = undefined;
    super.dispose();
    this.#engine?.release();
  }

  /** @internal */
  override get passedOptions(): readonly string[] {
    return PASSED;
  }

  /** @internal Names of options that a call takes. */
  protected override callOptions(): readonly string[] {
    return CALL_OPTIONS;
  }

  /** Where dy·f′(pre) lies: dy itself without an activation. */
  #throughActivation(
    pass: Pass,
    call: Call,
    x: number,
    residual: number,
    dy: number,
    residualGrad: number,
    dx: number,
  ): number {
    const { engine } = this;
    const { activation } = engine;
    const { size } = pass.plan;
    if (!activation.kind) {
      if (residualGrad) activate(backend(), dy, residualGrad, NO_ACTIVATION, size);
      return dy;
    }
    // not where x or the residual still have to be read from
    const g = residualGrad || (dx === x || dx === residual ? call.scratch(size * 4) : dx);
    const scratch = call.scratch(engine.scratchFor(pass));
    engine.preActivations(pass, x, residual, scratch, (from, many) => {
      activateGrad(backend(), scratch, dy + from * 4, g + from * 4, activation, many);
    });
    return g;
  }

  /**
   * Memory for the residual's gradient, of dy's kind; that of the last one, unless it is an input
   * or the output of this backward.
   */
  #residualGradLike(dy: TensorLike, shape: readonly number[], used: readonly (TensorLike | undefined)[]): TensorLike {
    if (!(dy instanceof Tensor)) return makeLike(dy, shape);
    const held = this.#residualGrad;
    const isFree = held instanceof Tensor && !held.disposed && sameShape(held.shape, shape) && !isAmong(held, used);
    return isFree ? held : Tensor.unscoped(shape);
  }
}

/** Does a tensor lie where one of these does? */
function isAmong(tensor: Tensor, others: readonly (TensorLike | undefined)[]): boolean {
  return others.some((other) => other && sameMemory(tensor, other));
}
