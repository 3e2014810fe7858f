import { show, wrongKind, wrongMoment, wrongValue } from '../errors.ts';
import { backend } from '../kernels/backend.ts';
import { softmaxGradRows, softmaxRows } from '../kernels/elementwise/calls.ts';
import { Layer, type Stage } from '../layers/layer.ts';
import { takeOptions } from '../named-options.ts';
import { type Call, checkCallOptions, locate, produce, targetOf } from '../tensors/call.ts';
import { checkKept, Kept } from '../tensors/kept.ts';
import { checkShape, countOf, shapeOf, showSymbolic } from '../tensors/shape.ts';
import type { Result, TensorLike } from '../tensors/tensor.ts';

export interface SoftmaxOptions {
  /** The axis along which values sum to 1; it counts the batch, and from the end where it is negative. Default −1, the last. */
  axis?: number;
}

/** Softmax, or its logarithm. */
abstract class SoftmaxLayer extends Layer {
  readonly subject: string;
  readonly axis: number;
  readonly #isLog: boolean;
  #kept: Kept<{ x: TensorLike }> | undefined;

  constructor(subject: string, options: SoftmaxOptions, isLog: boolean) {
    super();
    this.subject = subject;
    const { axis = -1 } = takeOptions(subject, options, ['axis']);
    if (!Number.isInteger(axis)) throw wrongKind('ERR_OPTION', subject, 'axis', 'an integer', show(axis));
    this.axis = axis;
    this.#isLog = isLog;
  }

  /** @throws ERR_SHAPE for a rank that has no such axis */
  outputShape(shape: readonly number[]): readonly number[] {
    const { axis } = this;
    if (axis < 0 ? axis + shape.length < 0 : axis >= shape.length) {
      throw wrongValue('ERR_SHAPE', this.subject, 'x', `an axis ${axis}`, `shape ${showSymbolic(shape)}`);
    }
    return shape;
  }

  /**
   * @param x any shape with such an axis
   * @returns the same shape: `out`, which may be `x`, or new memory of x's kind. NaN where a value along the axis is NaN or +Inf
   * @throws ERR_SHAPE, ERR_TYPE, ERR_ALIAS, ERR_DISPOSED, ERR_MEMORY
   */
  forward<X extends TensorLike, O extends TensorLike = Result<X>>(x: X, options: { out?: O } = {}): O {
    checkCallOptions(this.subject, options, ['out']);
    const { subject } = this;
    const input = locate(subject, 'x', x);
    const shape = this.outputShape(shapeOf(input));
    const product = { subject, like: x, shape, out: options.out, inputs: { x: input }, aliasing: 'in-place' } as const;
    const kept = new Kept(subject, { x: input });
    const y = produce<O>(product, targetOf(product), (call, result) => {
      const rows = new Rows(call, shape, this.axis);
      const at = call.input(input);
      const to = call.output(result, { x: input, at });
      if (rows.size > 0) {
        const [from, into] = [rows.gather(at), rows.placeFor(to)];
        softmaxRows(backend(), from, into, this.#isLog, rows.count, rows.length);
        rows.scatter(into, to);
      }
      kept.noteOutput(result, 'forward');
    });
    this.#kept = kept;
    return y;
  }

  /**
   * dx = y·(dy − Σ dy·y); of the logarithm dx = dy − eʸ·Σ dy
   *
   * @throws ERR_MODE before a forward, or if the forward wrote over its input; ERR_SHAPE, ERR_TYPE, ERR_ALIAS, ERR_DISPOSED, ERR_MEMORY
   */
  backward<D extends TensorLike, O extends TensorLike = Result<D>>(dy: D, options: { out?: O } = {}): O {
    checkCallOptions(this.subject, options, ['out']);
    const { subject } = this;
    const kept = this.checkSaved();
    const { x } = kept.inputs;
    const shape = shapeOf(x);
    const given = locate(subject, 'dy', dy);
    checkShape(subject, 'dy', shapeOf(given), shape, 'shape');
    const inputs = { dy: given, x };
    const product = { subject, like: dy, shape, out: options.out, inputs, aliasing: 'in-place' } as const;
    return produce<O>(product, targetOf(product), (call, result) => {
      const rows = new Rows(call, shape, this.axis);
      const at = call.input(x);
      const from = call.input(given);
      const to = call.output(result, { x: given, at: from });
      if (rows.size > 0) {
        const y = call.scratch(rows.size * 4);
        softmaxRows(backend(), rows.gather(at), y, this.#isLog, rows.count, rows.length);
        const [g, into] = [rows.gather(from), rows.placeFor(to)];
        softmaxGradRows(backend(), y, g, into, this.#isLog, rows.count, rows.length);
        rows.scatter(into, to);
      }
      kept.noteOutput(result, 'backward');
    });
  }

  /** @internal */
  override get isInPlace(): boolean {
    return true;
  }

  /** @internal */
  override forget(): void {
    this.#kept = undefined;
  }

  /** @internal */
  override checkSaved(): Kept<{ x: TensorLike }> {
    return checkKept(this.subject, this.#kept);
  }

  override stages(): Stage[] {
    throw wrongMoment('ERR_MODE', this.subject, 'compile', 'an activation of single values', 'one along an axis');
  }

  override dispose(): void {
    this.#kept = undefined;
  }
}

/** Values along an axis as rows: where it is not the last, in scratch memory. */
class Rows {
  readonly length: number;
  readonly count: number;
  readonly size: number;
  readonly #inner: number;
  readonly #call: Call;

  constructor(call: Call, shape: readonly number[], axis: number) {
    const at = axis < 0 ? axis + shape.length : axis;
    this.length = shape[at];
    this.#inner = countOf(shape.slice(at + 1));
    this.size = countOf(shape);
    this.count = this.size / this.length;
    this.#call = call;
  }

  placeFor(at: number): number {
    return this.#inner === 1 ? at : this.#call.scratch(this.size * 4);
  }

  gather(from: number): number {
    const to = this.placeFor(from);
    this.#move(from, to, (target, source, f32) => {
      f32[target] = f32[source];
    });
    return to;
  }

  scatter(from: number, to: number): void {
    this.#move(to, from, (source, target, f32) => {
      f32[target] = f32[source];
    });
  }

  /** Visits every value: where it lies in a row, and in the tensor. */
  #move(tensor: number, rows: number, visit: (row: number, place: number, f32: Float32Array) => void): void {
    const inner = this.#inner;
    if (inner === 1) return;
    const { length, size } = this;
    const { f32 } = backend().heap;
    const [first, own] = [tensor / 4, rows / 4];
    for (let i = 0; i < size; i++) {
      const k = i % length;
      const row = (i - k) / length;
      const outer = Math.floor(row / inner);
      visit(own + i, first + (outer * length + k) * inner + (row % inner), f32);
    }
  }
}

/** y = e^x / Σ e^x along an axis: values that sum to 1. The largest is subtracted first, so that none overflows. */
export class Softmax extends SoftmaxLayer {
  static override readonly name: string = 'Softmax';
  /** @throws ERR_OPTION for an axis that is no integer */
  constructor(options: SoftmaxOptions = {}) {
    super('Softmax', options, false);
  }
}

/** y = x − ln Σ e^x along an axis: the logarithm of Softmax, without what rounding takes from small values. */
export class LogSoftmax extends SoftmaxLayer {
  static override readonly name: string = 'LogSoftmax';
  /** @throws ERR_OPTION for an axis that is no integer */
  constructor(options: SoftmaxOptions = {}) {
    super('LogSoftmax', options, true);
  }
}
