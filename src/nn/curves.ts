// Activations as layers of their own whose values are worked out one by one, in f64.

import { show, wrongValue } from '../errors.ts';
import type { OperationGraph, Value } from '../graph/graph.ts';
import type { CurveOperation } from '../graph/operations/curve.ts';
import type { ActivationCode } from '../kernels/activations.ts';
import { backend } from '../kernels/backend.ts';
import { activate } from '../kernels/inference/calls.ts';
import { activateGrad } from '../kernels/training/calls.ts';
import { type Curve, codeOf, formulaOf } from '../layers/curves.ts';
import { LeafLayer, type Pass } from '../layers/leaf-layer.ts';
import { checkNumber, number, readSchema } from '../named-options.ts';
import type { Call } from '../tensors/call.ts';
import type { ResolvedInputs } from '../tensors/route.ts';
import { countOf } from '../tensors/shape.ts';
import type { TensorLike } from '../tensors/tensor.ts';
import { floats } from '../wasm/views.ts';

/** y = f(x), dx = dy·f′(x), for inputs of any shape. */
abstract class CurveLayer extends LeafLayer<Pass> {
  readonly subject: string;
  readonly #curve: Curve;
  readonly #code: ActivationCode | undefined;

  constructor(subject: string, curve: Curve) {
    super();
    this.subject = subject;
    this.#curve = curve;
    this.#code = codeOf(curve);
  }

  /** @internal */
  get curve(): Curve {
    return this.#curve;
  }

  outputShape(shape: readonly number[]): readonly number[] {
    return shape;
  }

  override trace(graph: OperationGraph, x: Value): Value {
    if (this.#code) return graph.append({ kind: 'elementwise' }, [x], this.#code);
    const operation: CurveOperation = { kind: 'curve', ...this.#curve };
    return graph.append(operation, [x]);
  }

  /** @internal */
  protected override begin(shape: readonly number[]): Pass {
    return { plan: { shape, size: countOf(shape) } };
  }

  /** @internal */
  protected override write(call: Call, { plan }: Pass, { x }: ResolvedInputs, out: TensorLike): void {
    const at = call.input(x!);
    const to = call.output(out, { x: x!, at });
    if (this.#code) {
      activate(backend(), at, to, this.#code, plan.size);
      return;
    }
    const { value } = formulaOf(this.#curve);
    const { heap } = backend();
    const [from, y] = [floats(heap, at, plan.size), floats(heap, to, plan.size)];
    for (let i = 0; i < from.length; i++) y[i] = value(from[i]);
  }

  /** @internal */
  protected override writeBack(
    call: Call,
    { plan }: Pass,
    { x }: ResolvedInputs,
    dy: TensorLike,
    dx: TensorLike,
  ): void {
    const at = call.input(x!);
    const given = call.input(dy);
    const to = call.output(dx, { x: dy, at: given });
    if (this.#code) {
      activateGrad(backend(), at, given, to, this.#code, plan.size);
      return;
    }
    const { slope } = formulaOf(this.#curve);
    const { heap } = backend();
    const [from, g, d] = [at, given, to].map((place) => floats(heap, place, plan.size));
    for (let i = 0; i < from.length; i++) {
      const by = slope(from[i]);
      // selected, not multiplied: a gradient of NaN is dropped where f is flat
      d[i] = by === 0 ? 0 : g[i] * by;
    }
  }
}

/** Options of `HardSigmoid`. */
export interface HardSigmoidOptions {
  /** Slope at 0. Default 1/6, PyTorch's; Keras 2 and ONNX have 0.2. */
  slope?: number;
}

/**
 * y = min(max(slope·x + ½, 0), 1), for inputs of any shape. With the default slope the compiler
 * fuses it into the layer before it.
 *
 *     new Sequential(new Linear(784, 100), new HardSigmoid());
 */
export class HardSigmoid extends CurveLayer {
  static override readonly name: string = 'HardSigmoid';
  /**
   * @param options `{ slope }`. Default 1/6
   * @throws ERR_OPTION for a slope that is not a finite number, or an unknown option
   */
  constructor(options: HardSigmoidOptions = {}) {
    const { slope } = readSchema('HardSigmoid', options, { slope: number(1 / 6) });
    super('HardSigmoid', { curve: 'clamp', slope, shift: 0.5, low: 0, high: 1 });
  }
}

/**
 * y = min(max(x, low), high), for inputs of any shape.
 *
 *     new Sequential(new Linear(784, 100), new HardTanh(-2, 2));
 */
export class HardTanh extends CurveLayer {
  static override readonly name: string = 'HardTanh';
  /**
   * @param low Default −1
   * @param high Default 1
   * @throws ERR_OPTION unless both are finite numbers, low below high
   */
  constructor(low = -1, high = 1) {
    checkNumber('HardTanh', 'low', low);
    checkNumber('HardTanh', 'high', high);
    if (!(low < high)) throw wrongValue('ERR_OPTION', 'HardTanh', 'high', `a number above ${low}`, show(high));
    super('HardTanh', { curve: 'clamp', slope: 1, shift: 0, low, high });
  }
}

/**
 * y = λ·x where x > 0, λ·α·(eˣ − 1) below, with λ = 1.0507 and α = 1.6733 (Klambauer et al. 2017),
 * for inputs of any shape.
 *
 *     new Sequential(new Linear(784, 100), new SELU());
 */
export class SELU extends CurveLayer {
  static override readonly name: string = 'SELU';
  constructor() {
    super('SELU', { curve: 'selu' });
  }
}

/**
 * y = x/(1 + |x|), for inputs of any shape.
 *
 *     new Sequential(new Linear(784, 100), new Softsign());
 */
export class Softsign extends CurveLayer {
  static override readonly name: string = 'Softsign';
  constructor() {
    super('Softsign', { curve: 'softsign' });
  }
}
