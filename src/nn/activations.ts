import type { OperationGraph, Value } from '../graph/graph.ts';
import { type Activation, type ActivationCode, activationCode, activationOf } from '../kernels/activations.ts';
import { backend } from '../kernels/backend.ts';
import { activate } from '../kernels/inference/calls.ts';
import { activateGrad } from '../kernels/training/calls.ts';
import { LeafLayer, type Pass } from '../layers/leaf-layer.ts';
import { choice, readSchema } from '../named-options.ts';
import type { Call } from '../tensors/call.ts';
import type { ResolvedInputs } from '../tensors/route.ts';
import { countOf } from '../tensors/shape.ts';
import type { TensorLike } from '../tensors/tensor.ts';

/**
 * An activation as a layer of its own, for inputs of any shape: y = f(x), dx = dy·f′(x). After a
 * normalization, that layer's `activation` option saves a pass over memory.
 *
 *     const layer = new ActivationLayer({ name: 'elu', alpha: 0.5 });
 */
export class ActivationLayer extends LeafLayer<Pass> {
  static override readonly name: string = 'ActivationLayer';
  readonly subject: string;
  readonly #code: ActivationCode;

  constructor(activation: Activation, subject = 'ActivationLayer') {
    super();
    this.#code = activationCode(subject, activation);
    this.subject = subject;
  }

  outputShape(shape: readonly number[]): readonly number[] {
    return shape;
  }

  /** @internal */
  protected override begin(shape: readonly number[]): Pass {
    return { plan: { shape, size: countOf(shape) } };
  }

  /** @internal */
  protected override write(call: Call, { plan }: Pass, { x }: ResolvedInputs, out: TensorLike): void {
    const at = call.input(x);
    activate(backend(), at, call.output(out, { x, at }), this.#code, plan.size);
  }

  /** @internal dx = dy·f′(x) */
  protected override writeBack(
    call: Call,
    { plan }: Pass,
    { x }: ResolvedInputs,
    dy: TensorLike,
    dx: TensorLike,
  ): void {
    const at = call.input(x);
    const from = call.input(dy);
    activateGrad(backend(), at, from, call.output(dx, { x: dy, at: from }), this.#code, plan.size);
  }

  override trace(graph: OperationGraph, x: Value): Value {
    return graph.append({ kind: 'elementwise' }, [x], this.#code);
  }

  /**
   * The activation: its name, or `{ name, slope }` and the like where a parameter is not the usual
   * one.
   */
  get activation(): Activation {
    return activationOf(this.#code)!;
  }
}

/**
 * Hyperbolic tangent, y = (eˣ − e⁻ˣ)/(eˣ + e⁻ˣ), for inputs of any shape.
 *
 *     new Sequential(new Linear(784, 100), new Tanh());
 */
export class Tanh extends ActivationLayer {
  static override readonly name: string = 'Tanh';
  constructor() {
    super('tanh', 'Tanh');
  }
}

/**
 * y = 1/(1 + e⁻ˣ), for inputs of any shape.
 *
 *     new Sequential(new Linear(784, 100), new Sigmoid());
 */
export class Sigmoid extends ActivationLayer {
  static override readonly name: string = 'Sigmoid';
  constructor() {
    super('sigmoid', 'Sigmoid');
  }
}

/**
 * y = max(x, 0), for inputs of any shape; NaN stays NaN. The derivative at 0 is 0.
 *
 *     new Sequential(new Linear(784, 100), new ReLU());
 */
export class ReLU extends ActivationLayer {
  static override readonly name: string = 'ReLU';
  constructor() {
    super('relu', 'ReLU');
  }
}

/**
 * y = min(max(x, 0), 6), for inputs of any shape; NaN stays NaN.
 *
 *     new Sequential(new Conv2d(3, 32, 3), new ReLU6());
 */
export class ReLU6 extends ActivationLayer {
  static override readonly name: string = 'ReLU6';
  constructor() {
    super('relu6', 'ReLU6');
  }
}

/**
 * y = x where x ≥ 0, slope·x below, for inputs of any shape.
 *
 *     new Sequential(new Conv2d(3, 32, 3), new LeakyReLU(0.1));
 */
export class LeakyReLU extends ActivationLayer {
  static override readonly name: string = 'LeakyReLU';
  /**
   * @param slope Default 0.01
   * @throws ERR_OPTION for a slope that is not a finite number
   */
  constructor(slope = 0.01) {
    super({ name: 'leaky-relu', slope }, 'LeakyReLU');
  }
}

/**
 * y = x/(1 + e⁻ˣ), also called swish, for inputs of any shape.
 *
 *     new Sequential(new Conv2d(3, 32, 3), new SiLU());
 */
export class SiLU extends ActivationLayer {
  static override readonly name: string = 'SiLU';
  constructor() {
    super('silu', 'SiLU');
  }
}

/**
 * y = x·min(max(x + 3, 0), 6)/6, for inputs of any shape.
 *
 *     new Sequential(new Conv2d(3, 32, 3), new HardSwish());
 */
export class HardSwish extends ActivationLayer {
  static override readonly name: string = 'HardSwish';
  constructor() {
    super('hard-swish', 'HardSwish');
  }
}

/** Options of `GELU`. */
export interface GELUOptions {
  /** `'none'` (default): x·Φ(x). `'tanh'`: x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2. */
  approximate?: 'none' | 'tanh';
}

/**
 * y = x·Φ(x), Φ the normal distribution function, for inputs of any shape.
 *
 *     new Sequential(new Linear(768, 3072), new GELU({ approximate: 'tanh' }));
 */
export class GELU extends ActivationLayer {
  static override readonly name: string = 'GELU';
  /**
   * @param options `{ approximate }`: `'none'` (default) or `'tanh'`
   * @throws ERR_OPTION for another approximation, or an unknown option
   */
  constructor(options: GELUOptions = {}) {
    const { approximate } = readSchema('GELU', options, { approximate: choice('none', ['none', 'tanh']) });
    super(approximate === 'tanh' ? 'gelu-tanh' : 'gelu', 'GELU');
  }
}
