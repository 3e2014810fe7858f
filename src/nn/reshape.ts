// Layers that give the same values another shape.

import { show, wrongKind, wrongValue } from '../errors.ts';
import type { OperationGraph, Value } from '../graph/graph.ts';
import type { FlattenOperation, ReshapeOperation } from '../graph/operations/reshape.ts';
import { backend } from '../kernels/backend.ts';
import { LeafLayer, type Pass } from '../layers/leaf-layer.ts';
import { axis } from '../layers/options.ts';
import { flattenedShape, reshapedShape } from '../layers/reshaping.ts';
import { readSchema } from '../named-options.ts';
import type { Call } from '../tensors/call.ts';
import type { ResolvedInputs } from '../tensors/route.ts';
import { countOf } from '../tensors/shape.ts';
import type { TensorLike } from '../tensors/tensor.ts';
import { move } from '../wasm/views.ts';

/** What layers that move no value share: forward and backward copy. */
abstract class ShapeLayer extends LeafLayer<Pass> {
  /** @internal */
  protected override begin(shape: readonly number[]): Pass {
    return { plan: { shape, size: countOf(shape) }, outShape: this.outputShape(shape) };
  }

  /** @internal */
  protected override get needsInputs(): boolean {
    return false;
  }

  /** @internal */
  protected override write(call: Call, pass: Pass, { x }: ResolvedInputs, out: TensorLike): void {
    this.#copy(call, pass, x!, out);
  }

  /** @internal */
  protected override writeBack(call: Call, pass: Pass, _: ResolvedInputs, dy: TensorLike, dx: TensorLike): void {
    this.#copy(call, pass, dy, dx);
  }

  #copy(call: Call, { plan }: Pass, from: TensorLike, to: TensorLike): void {
    const at = call.input(from);
    const target = call.output(to, { x: from, at });
    if (target !== at) move(backend().heap, at, target, plan.size);
  }
}

/** Options of `Flatten`. */
export interface FlattenOptions {
  /**
   * The first axis to become part of one; it counts the batch, and from the end where it is
   * negative. Default 1.
   */
  startAxis?: number;
  /** The last of them. Default −1. */
  endAxis?: number;
}

/**
 * Several axes as one: `[N, C, H, W]` → `[N, C·H·W]`, or those from `startAxis` to `endAxis`. As
 * PyTorch's Flatten.
 *
 *     new Flatten().outputShape([8, 16, 7, 7]);   // [8, 784]
 */
export class Flatten extends ShapeLayer {
  static override readonly name: string = 'Flatten';
  readonly subject = 'Flatten';
  /** The first axis that becomes part of one. */
  readonly startAxis: number;
  /** The last axis that becomes part of one. */
  readonly endAxis: number;

  /**
   * @param options the first and the last axis. Defaults 1 and −1
   * @throws ERR_OPTION for axes that are not integers, or an unknown option
   */
  constructor(options: FlattenOptions = {}) {
    super();
    const { startAxis, endAxis } = readSchema('Flatten', options, { startAxis: axis(1), endAxis: axis(-1) });
    this.startAxis = startAxis;
    this.endAxis = endAxis;
  }

  /** @throws ERR_SHAPE for a rank without these axes, or where the first lies behind the last */
  outputShape(shape: readonly number[]): readonly number[] {
    return flattenedShape('Flatten', this.startAxis, this.endAxis, shape);
  }

  override trace(graph: OperationGraph, x: Value): Value {
    const { startAxis, endAxis } = this;
    const operation: FlattenOperation = { kind: 'flatten', startAxis, endAxis };
    return graph.append(operation, [x]);
  }
}

/**
 * Each sample in another shape: `[N, ...]` → `[N, ...shape]`, in row-major order.
 *
 *     new Reshape([16, -1]).outputShape([8, 16, 7, 7]);   // [8, 16, 49]
 */
export class Reshape extends ShapeLayer {
  static override readonly name: string = 'Reshape';
  readonly subject: string;
  /** The shape of one sample, as it was given: one length may be −1. */
  readonly shape: readonly number[];

  /**
   * @param shape of one sample, without the batch; one length may be −1: what is left for it
   * @throws ERR_OPTION for lengths that are not integers of 1 or more
   */
  constructor(shape: readonly number[]) {
    super();
    const expected = 'lengths of 1 or more, one of which may be -1';
    if (!Array.isArray(shape)) throw wrongKind('ERR_OPTION', 'Reshape', 'shape', expected, show(shape));
    const isLength = (length: unknown) => Number.isInteger(length) && ((length as number) >= 1 || length === -1);
    if (!shape.every(isLength) || shape.filter((length) => length === -1).length > 1) {
      throw wrongValue('ERR_OPTION', 'Reshape', 'shape', expected, show(shape));
    }
    this.shape = Object.freeze([...shape]);
    this.subject = `Reshape(${show(shape)})`;
  }

  /** @throws ERR_SHAPE where the values of a sample do not fill the shape */
  outputShape(shape: readonly number[]): readonly number[] {
    return reshapedShape(this.subject, this.shape, shape);
  }

  override trace(graph: OperationGraph, x: Value): Value {
    const operation: ReshapeOperation = { kind: 'reshape', shape: this.shape };
    return graph.append(operation, [x]);
  }
}
