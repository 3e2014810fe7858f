// What all normalizations share: how a call is checked and remembered, the activation and the residual behind the map, learned scale and shift.
// What is left to each of them is its statistics.

import { wrongMoment } from '../errors.ts';
import { type Activation, type ActivationCode, activationOf, NO_ACTIVATION } from '../kernels/activations.ts';
import { backend } from '../kernels/backend.ts';
import { activate } from '../kernels/inference/calls.ts';
import { activateGrad } from '../kernels/training/calls.ts';
import { Call, checkCallOptions, locate, makeLike, produce, sameMemory, targetOf } from '../tensors/call.ts';
import { Kept, noForward } from '../tensors/kept.ts';
import { type Located, Route } from '../tensors/route.ts';
import { checkShape, countOf, sameShape, shapeOf } from '../tensors/shape.ts';
import { type OfRank, type Result, Tensor, type TensorLike } from '../tensors/tensor.ts';
import type { Parameter } from '../types.ts';
import { Layer } from './layer.ts';
import { LearnedParameter } from './parameter.ts';
import type { StateSlots } from './state.ts';

export interface ForwardOptions<O extends TensorLike = TensorLike> {
  /** Where to write the output: a tensor of the input's shape, or `x` itself for in-place work. */
  out?: O;
  /** Added before the activation: a tensor of the input's shape. */
  residual?: TensorLike;
}

/** Names of options that every call takes. */
export const CALL_OPTIONS: readonly string[] = ['out', 'residual'];

/** What a forward has found out before it touches memory: what the shape means, and which statistics are used. */
export interface Pass {
  readonly plan: { readonly shape: readonly number[]; readonly size: number };
}

/** Learned scale and shift of a shape, as the option `affine` says. */
export function learned(
  affine: boolean | 'gamma' | 'beta',
  shape: readonly number[],
): Readonly<Partial<Record<'gamma' | 'beta', LearnedParameter>>> {
  const filled = (value: number) => new LearnedParameter(shape, new Float32Array(countOf(shape)).fill(value));
  return {
    ...((affine === true || affine === 'gamma') && { gamma: filled(1) }),
    ...((affine === true || affine === 'beta') && { beta: filled(0) }),
  };
}

/** A normalization: y = f(x̂·gamma + beta + residual), x̂ being x by statistics of some of its values. `M` are the options that its calls take besides. */
export abstract class Norm<P extends Pass, R extends number = number, M extends object = object> extends Layer {
  /** @internal */
  protected abstract readonly learned: ReturnType<typeof learned>;
  /** @internal */
  protected abstract readonly activation: ActivationCode;
  #saved: { readonly pass: P; readonly kept: Kept<{ x: TensorLike; residual: TensorLike | undefined }> } | undefined;
  /** The last forward, for the next one on the same tensors. */
  #route: Route<{ readonly size: number; readonly pass: P }> | undefined;
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
   * Gradient with respect to `residual`, from the last `backward` after a forward that had one; else `null`. Where `dy` was a Tensor it
   * is one that belongs to the layer and is written again by the next backward.
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

  /**
   * Normalises `x`, adds `residual`, applies the activation.
   *
   * @param x of the shape that the layer takes; a batch with no values is returned as it is
   * @returns the output, of x's shape: `out`, or new memory of x's kind
   * @throws ERR_SHAPE, ERR_TYPE, ERR_ALIAS, ERR_DISPOSED, ERR_MEMORY, and what the layer's options say. After an error nothing has changed
   */
  forward<const X extends TensorLike, O extends TensorLike = Result<X>>(
    x: X & OfRank<X, R>,
    options: ForwardOptions<O> & M = {} as ForwardOptions<O> & M,
  ): O {
    if (this.#route?.takes(x, options)) {
      const { plan, inputs, out } = this.#route;
      const pass = this.again(plan.pass);
      const kept = new Kept(this.subject, inputs);
      const call = new Call(backend());
      try {
        this.write(call, pass, inputs, out);
        call.finish();
      } finally {
        call.end();
      }
      kept.noteOutput(out, 'forward');
      this.#saved = { pass, kept };
      return options.out as O;
    }
    checkCallOptions(this.subject, options, this.callOptions());
    const input = locate(this.subject, 'x', x);
    const pass = this.begin(shapeOf(input), options);
    const { plan } = pass;
    const { out, residual: added } = options;
    const residual = added === undefined ? undefined : locate(this.subject, 'residual', added);
    if (residual) checkShape(this.subject, 'residual', shapeOf(residual), plan.shape, 'shape');
    const inputs = { x: input, residual };
    const product = {
      subject: this.subject,
      like: x,
      shape: plan.shape,
      out,
      inputs,
      aliasing: 'in-place',
    } as const;
    const target = targetOf(product);
    const kept = new Kept(this.subject, inputs);
    const y = produce<O>(product, target, (call, result) => {
      if (plan.size === 0) {
        this.empty(pass);
        return;
      }
      this.write(call, pass, inputs, result);
      kept.noteOutput(result, 'forward');
    });
    this.#saved = { pass, kept };
    this.#route = Route.of(x, { out, residual: added }, { size: plan.size, pass }, inputs, target);
    return y;
  }

  /**
   * Gradient of the last forward: returns dx and adds to `gamma.grad` and `beta.grad`. After a forward by statistics of x these depend on x; after one by
   * running statistics (evaluation, frozen) they are constants.
   *
   * @param dy gradient with respect to the output, of its shape
   * @param options.out where to write dx: a tensor of that shape, or `dy` itself
   * @throws ERR_MODE before a forward, or if the forward wrote over its input; ERR_SHAPE, ERR_TYPE, ERR_ALIAS, ERR_DISPOSED, ERR_MEMORY.
   *   After an error nothing has changed
   */
  backward<D extends TensorLike, O extends TensorLike = Result<D>>(dy: D, options: { out?: O } = {}): O {
    checkCallOptions(this.subject, options, ['out']);
    const { pass, kept } = this.checkSaved();
    const { plan } = pass;
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
    let made: TensorLike | undefined;
    try {
      return produce<O>(product, targetOf(product), (call, result) => {
        const residualGrad = residual && this.#residualGradLike(dy, plan.shape, [x, residual, given, result]);
        const held = this.#residualGrad;
        if (residualGrad !== held) made = residualGrad;
        if (plan.size > 0) {
          const at = call.input(x);
          const from = call.input(given);
          const to = call.output(result, { x: given, at: from });
          const dz = residualGrad ? call.output(residualGrad) : 0;
          const g = this.#throughActivation(pass, call, at, residual ? call.input(residual) : 0, from, dz, to);
          if (dz) this.unmask(call, pass, dz);
          this.gradients(call, pass, at, g, to);
        }
        // one of another kind or shape is no longer needed; one that the caller has put to use is the caller's
        if (held instanceof Tensor && held !== residualGrad && !isAmong(held, [x, given, result])) held.dispose();
        this.#residualGrad = residualGrad;
        kept.noteOutput(result, 'backward');
      });
    } catch (error) {
      if (made instanceof Tensor) made.dispose();
      throw error;
    }
  }

  /** @internal */
  override checkSaved(): NonNullable<Norm<P, R, M>['lastForward']> {
    if (!this.#saved) throw noForward(this.subject);
    this.#saved.kept.check();
    return this.#saved;
  }

  override stateSlots(): StateSlots {
    const { gamma, beta } = this.learned;
    return { ...(gamma && { gamma: gamma.slot() }), ...(beta && { beta: beta.slot() }) };
  }

  override dispose(): void {
    if (this.#residualGrad instanceof Tensor) this.#residualGrad.dispose();
    this.#route = this.#residualGrad = undefined;
    this.forget();
  }

  /** @internal What the last forward left. */
  protected get lastForward() {
    return this.#saved;
  }

  /** @internal */
  override forget(): void {
    this.#saved = undefined;
  }

  /** @internal Names of options that a call takes. */
  protected callOptions(): readonly string[] {
    return CALL_OPTIONS;
  }

  /** @internal Reads a shape and decides what a forward does. Throws before anything has changed. */
  protected abstract begin(shape: readonly number[], options: M): P;

  /** @internal The same for a call that has been checked before. */
  protected again(pass: P): P {
    return pass;
  }

  /** @internal The forward map, from wherever its inputs lie to wherever its output belongs. */
  protected abstract write(call: Call, pass: P, inputs: Located, out: TensorLike): void;

  /** @internal What a forward without values does. */
  protected empty(_pass: P): void {}

  /** @internal Bytes of scratch for `preActivations`. */
  protected abstract scratchFor(pass: P): number;

  /**
   * @internal What the activation was applied to, worked out again piece by piece just as forward did, so that corners fall the same way. `visit` is
   * told where each piece begins and how many values it has; they lie in `scratch` then.
   */
  protected abstract preActivations(
    pass: P,
    x: number,
    residual: number,
    scratch: number,
    visit: (from: number, size: number) => void,
  ): void;

  /** @internal dx and the gradients of gamma and beta, from dy behind the activation. `dx` may be `dy` or `x`. */
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

  /** Memory for the residual's gradient, of dy's kind; that of the last one, unless it is an input or the output of this backward. */
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
