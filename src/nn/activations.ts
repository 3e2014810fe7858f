import type { OperationGraph, Value } from '../graph/graph.ts';
import { type Activation, type ActivationCode, activationCode, activationOf } from '../kernels/activations.ts';
import { backend } from '../kernels/backend.ts';
import { activate } from '../kernels/inference/calls.ts';
import { activateGrad } from '../kernels/training/calls.ts';
import { Layer } from '../layers/layer.ts';
import { checkCallOptions, locate, produce, targetOf } from '../tensors/call.ts';
import { checkKept, Kept } from '../tensors/kept.ts';
import { checkShape, shapeOf } from '../tensors/shape.ts';
import type { Result, TensorLike } from '../tensors/tensor.ts';

/** An activation as a layer of its own, for inputs of any shape. Where it follows a normalization, that layer's `activation` option saves a pass. */
export class ActivationLayer extends Layer {
  static override readonly name: string = 'ActivationLayer';
  readonly subject: string;
  readonly #code: ActivationCode;
  #kept: Kept<{ x: TensorLike }> | undefined;

  constructor(activation: Activation, subject = 'ActivationLayer') {
    super();
    this.#code = activationCode(subject, activation);
    this.subject = subject;
  }

  outputShape(shape: readonly number[]): readonly number[] {
    return shape;
  }

  /**
   * @param x any shape
   * @throws ERR_SHAPE, ERR_TYPE, ERR_ALIAS, ERR_DISPOSED, ERR_MEMORY
   */
  forward<X extends TensorLike, O extends TensorLike = Result<X>>(x: X, options: { out?: O } = {}): O {
    checkCallOptions(this.subject, options, ['out']);
    const input = locate(this.subject, 'x', x);
    const product = {
      subject: this.subject,
      like: x,
      shape: shapeOf(input),
      out: options.out,
      inputs: { x: input },
      aliasing: 'in-place',
    } as const;
    const kept = new Kept(this.subject, { x: input });
    const y = produce<O>(product, targetOf(product), (call, result) => {
      const at = call.input(input);
      const to = call.output(result, { x: input, at });
      activate(backend(), at, to, this.#code, input.data.length);
      kept.noteOutput(result, 'forward');
    });
    this.#kept = kept;
    return y;
  }

  /**
   * dx = dy·f′(x)
   *
   * @throws ERR_MODE before a forward, or if the forward wrote over its input; ERR_SHAPE, ERR_TYPE, ERR_ALIAS, ERR_DISPOSED, ERR_MEMORY
   */
  backward<D extends TensorLike, O extends TensorLike = Result<D>>(dy: D, options: { out?: O } = {}): O {
    checkCallOptions(this.subject, options, ['out']);
    const kept = this.checkSaved();
    const { x } = kept.inputs;
    const given = locate(this.subject, 'dy', dy);
    checkShape(this.subject, 'dy', shapeOf(given), shapeOf(x), 'shape');
    const product = {
      subject: this.subject,
      like: dy,
      shape: shapeOf(x),
      out: options.out,
      inputs: { dy: given, x },
      aliasing: 'in-place',
    } as const;
    return produce<O>(product, targetOf(product), (call, result) => {
      const at = call.input(x);
      const from = call.input(given);
      const to = call.output(result, { x: given, at: from });
      activateGrad(backend(), at, from, to, this.#code, given.data.length);
      kept.noteOutput(result, 'backward');
    });
  }

  /** @internal */
  override forget(): void {
    this.#kept = undefined;
  }

  /** @internal */
  override checkSaved(): Kept<{ x: TensorLike }> {
    return checkKept(this.subject, this.#kept);
  }

  override trace(graph: OperationGraph, x: Value): Value {
    return graph.append({ kind: 'elementwise' }, [x], this.#code);
  }

  override dispose(): void {
    this.#kept = undefined;
  }

  /** The activation: its name, or `{ name, slope }` and the like where a parameter is not the usual one. */
  get activation(): Activation {
    return activationOf(this.#code)!;
  }
}

/** Hyperbolic tangent. */
export class Tanh extends ActivationLayer {
  static override readonly name: string = 'Tanh';
  constructor() {
    super('tanh', 'Tanh');
  }
}

/** 1/(1 + e⁻ˣ). */
export class Sigmoid extends ActivationLayer {
  static override readonly name: string = 'Sigmoid';
  constructor() {
    super('sigmoid', 'Sigmoid');
  }
}

/** max(x, 0); NaN stays NaN. */
export class ReLU extends ActivationLayer {
  static override readonly name: string = 'ReLU';
  constructor() {
    super('relu', 'ReLU');
  }
}
