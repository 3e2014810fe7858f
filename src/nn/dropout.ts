import { show, wrongValue } from '../errors.ts';
import type { OperationGraph, Value } from '../graph/graph.ts';
import { NO_ACTIVATION } from '../kernels/activations.ts';
import { backend } from '../kernels/backend.ts';
import { activate } from '../kernels/inference/calls.ts';
import { training } from '../kernels/training/part.ts';
import { Layer } from '../layers/layer.ts';
import { checkNumber, takeOptions } from '../named-options.ts';
import { checkCallOptions, locate, produce, targetOf } from '../tensors/call.ts';
import { noForward } from '../tensors/kept.ts';
import { checkShape, shapeOf } from '../tensors/shape.ts';
import type { Result, TensorLike } from '../tensors/tensor.ts';
import { Random } from './random.ts';

export interface DropoutOptions {
  /** Seed of the masks. Default: a different one every time. */
  seed?: number;
}

/** Of the last forward: the seed of its mask, or undefined where nothing was dropped. */
interface Mask {
  readonly shape: readonly number[];
  readonly seed: number | undefined;
}

/**
 * Inverted dropout (Srivastava et al. 2014): in training each value becomes 0 with probability `p`, and the others are divided by
 * 1 − p; in evaluation values pass as they are. The same seed gives the same masks on every machine and backend.
 */
export class Dropout extends Layer {
  static override readonly name: string = 'Dropout';
  readonly subject: string;
  /** Probability of dropping a value. */
  readonly p: number;
  #random: Random;
  #mask: Mask | undefined;

  /** @param p probability of dropping a value, 0 to 1. Default 0.5 */
  constructor(p = 0.5, options: DropoutOptions = {}) {
    super();
    this.subject = `Dropout(${p})`;
    if (typeof p !== 'number' || !(p >= 0 && p <= 1)) {
      throw wrongValue('ERR_OPTION', 'Dropout', 'p', 'a number from 0 to 1', show(p));
    }
    const { seed } = takeOptions(this.subject, options, ['seed']);
    if (seed !== undefined) checkNumber(this.subject, 'seed', seed);
    this.p = p;
    this.#random = new Random(seed);
  }

  outputShape(shape: readonly number[]): readonly number[] {
    return shape;
  }

  /** @throws ERR_SHAPE, ERR_TYPE, ERR_ALIAS, ERR_DISPOSED, ERR_MEMORY */
  forward<X extends TensorLike, O extends TensorLike = Result<X>>(x: X, options: { out?: O } = {}): O {
    checkCallOptions(this.subject, options, ['out']);
    const input = locate(this.subject, 'x', x);
    const random = this.#random.clone();
    const seed = this.training && this.p > 0 ? random.bits() : undefined;
    const y = this.#apply<O>(x, 'x', input, options.out, seed);
    this.#random = random;
    this.#mask = { shape: [...shapeOf(input)], seed };
    return y;
  }

  /** @throws ERR_MODE before a forward; ERR_SHAPE, ERR_TYPE, ERR_ALIAS, ERR_DISPOSED, ERR_MEMORY */
  backward<D extends TensorLike, O extends TensorLike = Result<D>>(dy: D, options: { out?: O } = {}): O {
    checkCallOptions(this.subject, options, ['out']);
    const mask = this.checkSaved();
    const given = locate(this.subject, 'dy', dy);
    checkShape(this.subject, 'dy', shapeOf(given), mask.shape, 'shape');
    return this.#apply<O>(dy, 'dy', given, options.out, mask.seed);
  }

  /** @internal */
  override forget(): void {
    this.#mask = undefined;
  }

  /** @internal */
  override checkSaved(): Mask {
    if (!this.#mask) throw noForward(this.subject);
    return this.#mask;
  }

  override trace(graph: OperationGraph, x: Value): Value {
    return graph.append({ kind: 'elementwise' }, [x]);
  }

  override checkpoint(): (() => void) | undefined {
    if (!this.training) return undefined;
    const random = this.#random.clone();
    return () => {
      this.#random = random;
    };
  }

  #apply<O extends TensorLike>(
    like: TensorLike,
    name: string,
    x: TensorLike,
    out: O | undefined,
    seed: number | undefined,
  ): O {
    const product = {
      subject: this.subject,
      like,
      shape: shapeOf(x),
      out,
      inputs: { [name]: x },
      aliasing: 'in-place',
    } as const;
    return produce<O>(product, targetOf(product), (call, result) => {
      const current = backend();
      const at = call.input(x);
      const to = call.output(result, { x, at });
      const size = x.data.length;
      if (seed === undefined) activate(current, at, to, NO_ACTIVATION, size);
      else
        training(current).kernels.dropout_f32(
          at,
          to,
          seed,
          Math.min(Math.floor((1 - this.p) * 2 ** 32), 2 ** 32 - 1),
          this.p < 1 ? Math.fround(1 / (1 - this.p)) : 0,
          size,
        );
    });
  }
}
