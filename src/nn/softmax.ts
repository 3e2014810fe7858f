import type { OperationGraph, Value } from '../graph/graph.ts';
import type { SoftmaxOperation } from '../graph/operations/softmax.ts';
import { backend } from '../kernels/backend.ts';
import { type Along, softmax, softmaxGrad, softmaxScratch } from '../kernels/elementwise/calls.ts';
import { LeafLayer, type Pass } from '../layers/leaf-layer.ts';
import { axis } from '../layers/options.ts';
import { readSchema } from '../named-options.ts';
import { alongOf } from '../passes/plan.ts';
import type { Call } from '../tensors/call.ts';
import type { ResolvedInputs } from '../tensors/route.ts';
import { countOf } from '../tensors/shape.ts';
import type { TensorLike } from '../tensors/tensor.ts';

/** Options of `Softmax` and `LogSoftmax`. */
export interface SoftmaxOptions {
  /**
   * The axis along which values sum to 1; it counts the batch, and from the end where it is
   * negative. Default −1, the last.
   */
  axis?: number;
}

interface SoftmaxPass extends Pass {
  readonly along: Along;
}

/** Softmax, or its logarithm. */
abstract class SoftmaxLayer extends LeafLayer<SoftmaxPass> {
  readonly subject: string;
  /** The axis along which values sum to 1, as it was given. */
  readonly axis: number;
  readonly #isLog: boolean;

  constructor(subject: string, options: SoftmaxOptions, isLog: boolean) {
    super();
    this.subject = subject;
    this.axis = readSchema(subject, options, { axis: axis(-1) }).axis;
    this.#isLog = isLog;
  }

  /** @throws ERR_SHAPE for a rank that has no such axis */
  outputShape(shape: readonly number[]): readonly number[] {
    alongOf(this.subject, shape, this.axis);
    return shape;
  }

  override trace(graph: OperationGraph, x: Value): Value {
    const operation: SoftmaxOperation = { kind: 'softmax', axis: this.axis, isLog: this.#isLog };
    return graph.append(operation, [x]);
  }

  /** @internal */
  protected override begin(shape: readonly number[]): SoftmaxPass {
    return { plan: { shape, size: countOf(shape) }, along: alongOf(this.subject, shape, this.axis) };
  }

  /** @internal */
  protected override write(call: Call, { along }: SoftmaxPass, { x }: ResolvedInputs, out: TensorLike): void {
    const at = call.input(x);
    const to = call.output(out, { x, at });
    softmax(backend(), at, to, this.#isLog, along, call.scratch(softmaxScratch(along)));
  }

  /** @internal dx = y·(dy − Σ dy·y); of the logarithm dx = dy − eʸ·Σ dy */
  protected override writeBack(
    call: Call,
    { along, plan }: SoftmaxPass,
    { x }: ResolvedInputs,
    dy: TensorLike,
    dx: TensorLike,
  ): void {
    const at = call.input(x);
    const from = call.input(dy);
    const to = call.output(dx, { x: dy, at: from });
    if (plan.size === 0) return;
    const y = call.scratch(plan.size * 4);
    softmaxGrad(backend(), at, from, to, this.#isLog, along, y, call.scratch(2 * softmaxScratch(along)));
  }
}

/**
 * y = e^x / Σ e^x along an axis: values that sum to 1. The largest value is subtracted first, so
 * none overflows. NaN where a value along the axis is NaN or +Inf.
 *
 *     new Softmax().forward({ data: Float32Array.of(0, 0), shape: [1, 2] });   // ½, ½
 */
export class Softmax extends SoftmaxLayer {
  static override readonly name: string = 'Softmax';
  /**
   * @param options `{ axis }`. Default −1, the last
   * @throws ERR_OPTION for an axis that is no integer
   */
  constructor(options: SoftmaxOptions = {}) {
    super('Softmax', options, false);
  }
}

/**
 * y = x − ln Σ e^x along an axis: the logarithm of Softmax, without what rounding takes from small
 * values.
 *
 *     new LogSoftmax().forward({ data: Float32Array.of(0, 0), shape: [1, 2] });   // −ln 2 each
 */
export class LogSoftmax extends SoftmaxLayer {
  static override readonly name: string = 'LogSoftmax';
  /**
   * @param options `{ axis }`. Default −1, the last
   * @throws ERR_OPTION for an axis that is no integer
   */
  constructor(options: SoftmaxOptions = {}) {
    super('LogSoftmax', options, true);
  }
}
