// What all normalizations share: how a call is checked and remembered, the activation and the
// residual behind the map, learned scale and shift. What is left to each of them is its statistics.

import { wrongMoment } from '../errors.ts';
import type { OperationGraph, Value } from '../graph/graph.ts';
import { type Activation, type ActivationCode, activationOf, NO_ACTIVATION } from '../kernels/activations.ts';
import { backend } from '../kernels/backend.ts';
import { activate } from '../kernels/inference/calls.ts';
import { activateGrad } from '../kernels/training/calls.ts';
import { type Call, makeLike, sameMemory } from '../tensors/call.ts';
import type { Located } from '../tensors/route.ts';
import { countOf, sameShape } from '../tensors/shape.ts';
import { Tensor, type TensorLike } from '../tensors/tensor.ts';
import type { Parameter } from '../types.ts';
import { LeafLayer, type Pass } from './leaf-layer.ts';
import { LearnedParameter } from './parameter.ts';
import type { StateSlots } from './state.ts';

/** What `forward` of a norm takes besides its input. */
export interface ForwardOptions<O extends TensorLike = TensorLike> {
  /** Where to write the output: a tensor of the input's shape, or `x` itself for in-place work. */
  out?: O;
  /** Added before the activation: a tensor of the input's shape. */
  residual?: TensorLike;
}

/** Names of options that every call takes. */
export const CALL_OPTIONS: readonly string[] = ['out', 'residual'];

/** Learned scale and shift of a shape, as the option `affine` says. */
export function learned(
  affine: boolean | 'gamma' | 'beta',
  shape: readonly number[],
): Readonly<Partial<Record<'gamma' | 'beta', LearnedParameter>>> {
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
export abstract class Norm<P extends Pass, R extends number = number, M extends object = object> extends LeafLayer<
  P,
  R,
  Omit<ForwardOptions, 'out'> & M
> {
  /** @internal */
  protected abstract readonly learned: ReturnType<typeof learned>;
  /** @internal */
  protected abstract readonly activation: ActivationCode;
  #residualGrad: TensorLike | undefined;

  /** Learned scale, 1 at first; `null` without one. */
  get gamma(): Parameter | null {
    return this.learned.gamma ?? null;
  }

  /** Learned shift, 0 at first; `null` without one. */
  get beta(): Parameter | null {
    return this.learned.beta ?? null;
  }

  /**
   * Gradient with respect to `residual`, from the last `backward` after a forward that had one;
   * else `null`. Where `dy` was a Tensor it is one that belongs to the layer and is written again
   * by the next backward.
   */
  get residualGrad(): TensorLike | null {
    return this.#residualGrad ?? null;
  }

  /** @internal What is applied to the output in the same pass. */
  get fused(): Activation | undefined {
    return activationOf(this.activation);
  }

  override parameters(): Parameter[] {
    return [this.learned.gamma, this.learned.beta].filter((parameter) => parameter !== undefined);
  }

  /** @internal */
  protected override writeBack(
    call: Call,
    pass: P,
    { x, residual }: Located,
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
        if (dz) this.unmask(call, pass, dz);
        this.gradients(call, pass, at, g, to);
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
    const { gamma, beta } = this.learned;
    return { ...(gamma && { gamma: gamma.slot() }), ...(beta && { beta: beta.slot() }) };
  }

  /** Gives back the linear memory that the norm works in, and disposes `residualGrad`. */
  override dispose(): void {
    if (this.#residualGrad instanceof Tensor) this.#residualGrad.dispose();
    this.#residualGrad = undefined;
    super.dispose();
  }

  /** @internal */
  override get passedOptions(): readonly string[] {
    return this.callOptions().filter((name) => name === 'lengths' || name === 'mask');
  }

  /** @internal Names of options that a call takes. */
  protected override callOptions(): readonly string[] {
    return CALL_OPTIONS;
  }

  /** @internal Bytes of scratch for `preActivations`. */
  protected abstract scratchFor(pass: P): number;

  /**
   * @internal What the activation was applied to, worked out again piece by piece just as forward
   *   did, so that corners fall the same way. `visit` is
   * told where each piece begins and how many values it has; they lie in `scratch` then.
   */
  protected abstract preActivations(
    pass: P,
    x: number,
    residual: number,
    scratch: number,
    visit: (from: number, size: number) => void,
  ): void;

  /**
   * @internal dx and the gradients of gamma and beta, from dy behind the activation. `dx` may be
   *   `dy` or `x`.
   */
  protected abstract gradients(call: Call, pass: P, x: number, dy: number, dx: number): void;

  /** @internal Gradients of places that do not count become 0. */
  protected unmask(_call: Call, _pass: P, _dy: number): void {}

  /** @internal */
  protected wrongMoment(argument: string, expected: string, got: string): Error {
    return wrongMoment('ERR_MODE', this.subject, argument, expected, got);
  }

  /** Where dy·f′(pre) lies: dy itself without an activation. */
  #throughActivation(
    pass: P,
    call: Call,
    x: number,
    residual: number,
    dy: number,
    residualGrad: number,
    dx: number,
  ): number {
    const { activation } = this;
    const { size } = pass.plan;
    if (!activation.kind) {
      if (residualGrad) activate(backend(), dy, residualGrad, NO_ACTIVATION, size);
      return dy;
    }
    // not where x or the residual still have to be read from
    const g = residualGrad || (dx === x || dx === residual ? call.scratch(size * 4) : dx);
    const scratch = call.scratch(this.scratchFor(pass));
    this.preActivations(pass, x, residual, scratch, (from, many) => {
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

/** What a layer applies to its output. */
export function traceActivation(graph: OperationGraph, y: Value, activation: ActivationCode): Value {
  return activation.kind ? graph.append({ kind: 'elementwise' }, [y], activation) : y;
}
