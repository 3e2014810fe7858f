// The frame of every call of a layer that computes: what was given is located and checked, `out` is
// found, what backward needs is kept, and memory is given back. What is left to each layer is its
// arithmetic.

import { type Aliasing, type Call, checkCallOptions, locate, produce, targetOf, within } from '../tensors/call.ts';
import { Kept, noForward } from '../tensors/kept.ts';
import { type Destinations, type ResolvedInputs, Route } from '../tensors/route.ts';
import { checkShape, countOf, shapeOf } from '../tensors/shape.ts';
import type { OfRank, Result, TensorLike } from '../tensors/tensor.ts';
import { Layer } from './layer.ts';

/** What a forward has found out before it touches memory. */
export interface Pass {
  /** Of the input. */
  readonly plan: { readonly shape: readonly number[]; readonly size: number };
  /** Shape of the output; that of the input, if left out. */
  readonly outShape?: readonly number[];
}

/** A call that may come again, and the inputs of it that backward needs. */
interface Known<P extends Pass> {
  readonly size: number;
  readonly outSize: number;
  pass: P;
  readonly needed: Partial<ResolvedInputs>;
  /**
   * The call itself: made once, since a function made at every call costs 15 ns of 115 (evaluation
   * of 1x64; Node 20, AMD EPYC).
   */
  readonly work: (call: Call, out: TensorLike) => void;
}

/** Options of every call. */
const OUT: readonly string[] = ['out'];

/**
 * A layer with arithmetic of its own. `P` is what a forward finds out, `R` the ranks it takes, `M`
 * the options that a forward takes besides `out`.
 */
export abstract class LeafLayer<P extends Pass, R extends number = number, M extends object = object> extends Layer {
  #saved: Kept<P> | undefined;
  /** The last forward, for the next one on the same tensors. */
  #route: Route<Known<P>> | undefined;

  /**
   * The layer's output.
   *
   * @param x of the shape that the layer takes
   * @param options.out where to write the output: a tensor of its shape, which may be `x` where the
   *   layer works in place
   * @returns `out`, or new memory of x's kind
   * @throws ERR_SHAPE, ERR_TYPE, ERR_OPTION for `options`, ERR_ALIAS for an `out` that overlaps an
   *   input, ERR_DISPOSED, ERR_MEMORY, and what the class says. After an error nothing has changed
   */
  forward<const X extends TensorLike, O extends TensorLike = Result<X>>(
    x: X & OfRank<X, R>,
    options: { out?: O } & M = {} as { out?: O } & M,
  ): O {
    const route = this.#route;
    if (route?.takes(x, options)) {
      const { plan: known, out } = route;
      known.pass = this.renew(known.pass);
      const saved = new Kept(this.subject, known.pass, known.needed);
      within(known.work, out);
      saved.noteOutput(out, 'forward');
      this.#saved = saved;
      this.observer?.(x, out);
      return options.out as O;
    }
    const { subject } = this;
    checkCallOptions(subject, options, this.callOptions());
    const located = locate(subject, 'x', x);
    const pass = this.begin(shapeOf(located), options);
    const { plan, outShape = plan.shape } = pass;
    const { out, residual: added }: Destinations = options;
    const residual = added === undefined ? undefined : locate(subject, 'residual', added);
    if (residual) checkShape(subject, 'residual', shapeOf(residual), outShape, 'shape');
    const inputs = { x: located, residual };
    const product = { subject, like: x, shape: outShape, out, inputs, aliasing: this.aliasing };
    const target = targetOf(product);
    const needed = this.needsInputs ? inputs : {};
    const saved = new Kept(subject, pass, needed);
    const y = produce<O>(product, target, (call, result) => {
      if (plan.size === 0) this.empty(pass, call, inputs, result);
      else this.write(call, pass, inputs, result);
      saved.noteOutput(result, 'forward');
    });
    this.#saved = saved;
    this.#route = target && this.#routeOf(x, { out, residual: added }, pass, inputs, needed, target);
    this.observer?.(x, y);
    return y;
  }

  /**
   * The gradient with respect to the input of the last forward; those of parameters are added to
   * their `grad`.
   *
   * @param dy gradient with respect to the output, of its shape
   * @param options.out where to write dx: a tensor of the input's shape, which may be `dy` where
   *   the layer works in place
   * @returns `out`, or new memory of dy's kind
   * @throws ERR_MODE before a forward, or if an input was written over since; ERR_SHAPE, ERR_TYPE,
   *   ERR_OPTION for `options`, ERR_ALIAS for an `out` that overlaps what is read, ERR_DISPOSED,
   *   ERR_MEMORY. After an error nothing has changed
   */
  backward<D extends TensorLike, O extends TensorLike = Result<D>>(dy: D, options: { out?: O } = {}): O {
    const { subject, aliasing } = this;
    checkCallOptions(subject, options, OUT);
    const { saved, given } = this.checkBackward(dy);
    const { pass, inputs } = saved;
    const { shape } = pass.plan;
    const { x, residual } = inputs;
    const product = { subject, like: dy, shape, out: options.out, inputs: { dy: given, x, residual }, aliasing };
    return produce<O>(product, targetOf(product), (call, result) => {
      this.writeBack(call, pass, inputs as ResolvedInputs, given, result, dy);
      saved.noteOutput(result, 'backward');
    });
  }

  /** @internal */
  override checkSaved(): Kept<P> {
    if (!this.#saved) throw noForward(this.subject);
    this.#saved.check();
    return this.#saved;
  }

  /** @internal */
  override forget(): void {
    this.#saved = undefined;
  }

  /** Gives back the linear memory that the layer works in, and forgets the last forward. */
  override dispose(): void {
    this.#route = undefined;
    this.forget();
  }

  #routeOf(
    x: TensorLike,
    destinations: Destinations,
    pass: P,
    inputs: ResolvedInputs,
    needed: Partial<ResolvedInputs>,
    target: TensorLike,
  ): Route<Known<P>> | undefined {
    const { plan, outShape = plan.shape } = pass;
    const known: Known<P> = {
      size: plan.size,
      outSize: countOf(outShape),
      pass,
      needed,
      work: (call, out) => this.write(call, known.pass, inputs, out),
    };
    return Route.of(x, destinations, known, inputs, target);
  }

  /** @internal What the last forward left, and the gradient with respect to its output, located. */
  protected checkBackward(dy: TensorLike): { saved: Kept<P>; given: TensorLike } {
    const saved = this.checkSaved();
    const { plan, outShape = plan.shape } = saved.pass;
    const given = locate(this.subject, 'dy', dy);
    checkShape(this.subject, 'dy', shapeOf(given), outShape, 'shape');
    return { saved, given };
  }

  /** @internal What the last forward found out. */
  protected get lastPass(): P | undefined {
    return this.#saved?.pass;
  }

  /** @internal May the output lie where an input does? */
  protected get aliasing(): Aliasing {
    return 'in-place';
  }

  /** @internal */
  override get isInPlace(): boolean {
    return this.aliasing === 'in-place';
  }

  /** @internal Does backward read the inputs of the forward? */
  protected get needsInputs(): boolean {
    return true;
  }

  /** @internal Names of options that a forward takes. */
  protected callOptions(): readonly string[] {
    return OUT;
  }

  /**
   * @internal Reads a shape and decides what a forward does. Throws before anything has changed.
   */
  protected abstract begin(shape: readonly number[], options: M): P;

  /** @internal The same for a call that has been checked before. */
  protected renew(pass: P): P {
    return pass;
  }

  /** @internal The output, from wherever its inputs lie to wherever it belongs. */
  protected abstract write(call: Call, pass: P, inputs: ResolvedInputs, out: TensorLike): void;

  /** @internal What a forward without values does. */
  protected empty(_pass: P, _call: Call, _inputs: ResolvedInputs, _out: TensorLike): void {}

  /**
   * @internal dx, and what is added to gradients, which comes last. `like` is the gradient as it
   *   was given; inputs are there if they are needed.
   */
  protected abstract writeBack(
    call: Call,
    pass: P,
    inputs: ResolvedInputs,
    dy: TensorLike,
    dx: TensorLike,
    like: TensorLike,
  ): void;
}
