import type { OperationGraph, Value } from '../graph/graph.ts';
import { checkGradients, disposeAll, locateAll, noMicroBatches } from '../tensors/several.ts';
import { shapeOf } from '../tensors/shape.ts';
import { type Result, Tensor, type TensorLike } from '../tensors/tensor.ts';
import type { Parameter, StateDict } from '../types.ts';
import { gradientsOf } from './parameter.ts';
import { type LoadOptions, type LoadReport, readState, type StateSlots, writeState } from './state.ts';

/** An input of the last forward of several, and how to be as before it. */
interface MicroBatch {
  readonly x: TensorLike;
  readonly restore: (() => void) | undefined;
  readonly training: boolean;
}

/** Is told the input and the output of each forward of a layer. */
export type OutputObserver = (x: TensorLike, y: TensorLike) => void;

/**
 * The base of every layer: `forward`, `backward`, parameters, state, and training or evaluation
 * mode. A new layer is in training mode.
 *
 *     const y = layer.forward(x);    // x: Tensor, { data, shape } or { data, dims }
 *     const dx = layer.backward(dy); // adds to every parameter's grad
 *
 * Programs may use this type for their own functions over layers. Extending the class is not
 * supported: its abstract members include internal ones.
 */
export abstract class Layer {
  /** The class's name, also where the library was minified. */
  static readonly name: string = 'Layer';
  /** What errors call the layer: `BatchNorm(64)`. */
  abstract readonly subject: string;
  #training = true;
  #microBatches: readonly MicroBatch[] | undefined;
  /** @internal */
  protected observer: OutputObserver | undefined;

  /** `true` in training mode, `false` in evaluation mode. */
  get training(): boolean {
    return this.#training;
  }

  /** Sets training mode, or with `false` evaluation mode. Returns the layer. */
  train(on = true): this {
    this.#training = on;
    return this;
  }

  /** Sets evaluation mode. Returns the layer. */
  eval(): this {
    return this.train(false);
  }

  /**
   * The output for `x`. The result lives where the input lives.
   *
   * @param x of a shape that the layer takes
   * @param options.out where to write the output; `x` itself for in-place work, where the layer
   *   works in place
   * @throws ERR_SHAPE, ERR_TYPE, ERR_OPTION, ERR_ALIAS, ERR_DISPOSED, ERR_MEMORY; after an error
   *   nothing has changed
   */
  abstract forward<X extends TensorLike, O extends TensorLike = Result<X>>(x: X, options?: { out?: O }): O;

  /**
   * The gradient with respect to the input of the last `forward`; adds to the gradients of
   * parameters.
   *
   * @param dy gradient with respect to the output, of its shape
   * @param options.out where to write the gradient
   * @throws ERR_MODE before a forward; ERR_SHAPE, ERR_TYPE, ERR_OPTION, ERR_ALIAS, ERR_DISPOSED,
   *   ERR_MEMORY
   */
  abstract backward<D extends TensorLike, O extends TensorLike = Result<D>>(dy: D, options?: { out?: O }): O;

  /**
   * @internal Who is told of every forward from now on: of a layer that is made of others, of none.
   */
  observe(observer: OutputObserver | undefined): void {
    this.observer = observer;
  }

  /** @internal Options of `forward` that a network hands on to it: `lengths`, `mask`. */
  get passedOptions(): readonly string[] {
    return [];
  }

  /** @internal May `backward` write dx where dy lies? */
  get isInPlace(): boolean {
    return false;
  }

  /** @internal Throws if backward could not work: before a forward, or if its inputs are gone. */
  abstract checkSaved(): unknown;

  /**
   * `backward` for the first layer of a network, whose input needs no gradient: adds to the
   * gradients of parameters alone.
   *
   * @throws what `backward` throws
   */
  backwardParameters(dy: TensorLike): void {
    const dx = this.backward(dy);
    if (dx instanceof Tensor) dx.dispose();
  }

  /**
   * Forward of several micro-batches as if they were one batch, however large they are: layers
   * whose statistics are those of the batch take them over all (`BatchNorm`), the others treat
   * samples one by one anyway. Keeps the inputs, for `backwardMicroBatches`; `backward` then needs
   * a `forward` of its own.
   *
   * @param xs at least one micro-batch
   * @throws ERR_OPTION for anything but an array with something in it; what `forward` throws.
   *   Nothing has changed then
   */
  forwardMicroBatches<X extends TensorLike>(xs: readonly X[]): Result<X>[] {
    const given = locateAll(this.subject, 'micro-batch', xs);
    for (const x of given) this.checkForward(shapeOf(x));
    const restore = this.checkpoint();
    const batches: MicroBatch[] = [];
    const ys: Result<X>[] = [];
    try {
      given.forEach((x, i) => {
        batches.push({ x, restore: this.checkpoint(), training: this.#training });
        ys.push(this.forward<X, Result<X>>(xs[i]));
      });
    } catch (error) {
      disposeAll(ys);
      restore?.();
      throw error;
    } finally {
      this.forget();
    }
    this.#microBatches = batches;
    return ys;
  }

  /**
   * Gradients with respect to the inputs of the last `forwardMicroBatches`; parameters' gradients
   * are added to. Each forward is run again before its backward, since a layer keeps what one
   * backward needs.
   *
   * @param dys a gradient for each micro-batch, of its output's shape
   * @throws ERR_MODE before such a forward; what `backward` throws. Nothing has changed then
   */
  backwardMicroBatches<D extends TensorLike>(dys: readonly D[]): Result<D>[] {
    const batches = this.#microBatches;
    if (!batches) throw noMicroBatches(this.subject);
    checkGradients(
      this.subject,
      dys,
      batches.map(({ x }) => this.outputShape(shapeOf(x))),
    );
    const restore = this.checkpoint();
    const restoreGradients = gradientsOf(this.parameters());
    const training = this.#training;
    const dxs: Result<D>[] = [];
    try {
      dys.forEach((dy, i) => {
        this.train(batches[i].training);
        batches[i].restore?.();
        const y = this.forward(batches[i].x);
        if (y instanceof Tensor) y.dispose();
        dxs.push(this.backward<D, Result<D>>(dy));
      });
    } catch (error) {
      disposeAll(dxs);
      restoreGradients();
      throw error;
    } finally {
      this.train(training);
      restore?.();
      this.forget();
    }
    return dxs;
  }

  /**
   * @internal Holds on to the micro-batches of the last forward of several, while another is tried.
   *   The function returned ends that: with `true` they
   * take the place of later ones.
   */
  holdMicroBatches(): (restore: boolean) => void {
    const held = this.#microBatches;
    return (restore) => {
      if (restore) this.#microBatches = held;
    };
  }

  /** @internal Forgets the last forward of micro-batches. */
  forgetMicroBatches(): void {
    this.#microBatches = undefined;
  }

  /** @internal Forgets the last forward: backward needs another. */
  abstract forget(): void;

  /** @internal Throws what `forward` throws for an input of this shape; the shape of its output. */
  checkForward(shape: readonly number[]): readonly number[] {
    return this.outputShape(shape);
  }

  /**
   * The shape of the output for an input of this shape.
   *
   * @throws ERR_SHAPE for a shape that the layer does not take
   */
  abstract outputShape(shape: readonly number[]): readonly number[];

  /**
   * Makes the parameters of layers whose input features were given as `null`, for inputs of this
   * shape; a forward does so too. A length that is not known is `null`.
   *
   *     const net = new Sequential(new Linear(null, 64), new ReLU(), new Linear(null, 10));
   *     net.build([null, 784]);
   *
   * @returns the layer
   * @throws ERR_SHAPE for a shape that the layer does not take; ERR_MEMORY
   */
  build(shape: readonly (number | null)[]): this {
    this.outputShape(shape.map((length) => length ?? Number.NaN));
    return this;
  }

  /**
   * @internal Along which axis of an output of this rank its channels lie; undefined: where they
   *   lie in the input.
   */
  channelAxis(_rank: number): number | undefined {
    return undefined;
  }

  /** @internal The layer, or the layers it is made of, by their names in a state dict. */
  named(prefix = ''): readonly (readonly [name: string, layer: Layer])[] {
    return [[prefix, this]];
  }

  /** Learned parameters, in a fixed order: those of `stateDict`, without statistics. */
  parameters(): Parameter[] {
    return [];
  }

  /** Sets the gradients of all parameters to 0. */
  zeroGrad(): void {
    for (const parameter of this.parameters()) parameter.grad.fill(0);
  }

  /** Copies of everything that `loadStateDict` takes. */
  stateDict(): StateDict {
    return readState(this.stateSlots());
  }

  /**
   * Takes values from a state dict: all of it, or after an error nothing.
   *
   *     const { missing, unexpected } = net.loadStateDict(pretrained, { strict: false });
   *
   * @param options.strict `false`: takes what there is, and reports the rest. Default `true`
   * @returns names of entries that were missing, and of those that nothing took
   * @throws ERR_STATE for a missing or unknown entry, unless `strict` is `false`, and for one of
   *   another shape or kind, by name; ERR_OPTION
   */
  loadStateDict(state: StateDict, options: LoadOptions = {}): LoadReport {
    return writeState(this.subject, this.stateSlots(), state, options);
  }

  /** @internal */
  stateSlots(): StateSlots {
    return {};
  }

  /**
   * @internal Remembers what a training forward may change; the function returned brings it back.
   */
  checkpoint(): (() => void) | undefined {
    return undefined;
  }

  /**
   * @internal Appends what the layer does in evaluation to a graph of operations; returns the
   *   output.
   *
   * @throws ERR_MODE for a layer that cannot be compiled; ERR_SHAPE
   */
  abstract trace(graph: OperationGraph, x: Value): Value;

  /**
   * Gives back the linear memory that the layer works in. The layer takes it again at its next use.
   */
  dispose(): void {}
}
