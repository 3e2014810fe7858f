import { show, wrongValue } from '../errors.ts';
import type { OperationGraph, Value } from '../graph/graph.ts';
import { NO_ACTIVATION } from '../kernels/activations.ts';
import { backend } from '../kernels/backend.ts';
import { activate } from '../kernels/inference/calls.ts';
import { training } from '../kernels/training/part.ts';
import { LeafLayer, type Pass } from '../layers/leaf-layer.ts';
import { checkNumber, takeOptions } from '../named-options.ts';
import type { Call } from '../tensors/call.ts';
import type { ResolvedInputs } from '../tensors/route.ts';
import { countOf } from '../tensors/shape.ts';
import type { TensorLike } from '../tensors/tensor.ts';
import { Random } from './random.ts';

/** Options of `Dropout`. */
export interface DropoutOptions {
  /** Seed of the masks. Default: a different one every time. */
  seed?: number;
}

interface DropoutPass extends Pass {
  /** @internal Of the mask; undefined where nothing is dropped. */
  readonly seed: number | undefined;
  /** @internal The generator behind that seed. */
  readonly random: Random;
}

/**
 * Inverted dropout (Srivastava et al. 2014), for inputs of any shape. In training
 *
 *   y = 0 with probability p, else x/(1 − p)
 *
 * for each value by itself; in evaluation y = x. The same seed gives the same masks on every
 * machine and backend.
 *
 *     const dropout = new Dropout(0.2, { seed: 1 });
 */
export class Dropout extends LeafLayer<DropoutPass> {
  static override readonly name: string = 'Dropout';
  readonly subject: string;
  /** Probability of dropping a value. */
  readonly p: number;
  #random: Random;

  /**
   * @param p probability of dropping a value, 0 to 1. Default 0.5
   * @throws ERR_OPTION for a `p` outside that range, or an unknown option
   */
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

  /** @internal What the next masks are drawn from: part of a checkpoint, not of the state dict. */
  get generator(): Random {
    return this.#random;
  }

  outputShape(shape: readonly number[]): readonly number[] {
    return shape;
  }

  /** @internal Draws the seed of the mask; the generator moves when nothing can fail any more. */
  protected override begin(shape: readonly number[]): DropoutPass {
    const random = this.#random.clone();
    const seed = this.training && this.p > 0 ? random.bits() : undefined;
    return { plan: { shape: [...shape], size: countOf(shape) }, seed, random };
  }

  /** @internal */
  protected override renew({ plan }: DropoutPass): DropoutPass {
    return this.begin(plan.shape);
  }

  /** @internal */
  protected override get needsInputs(): boolean {
    return false;
  }

  /** @internal */
  protected override write(call: Call, pass: DropoutPass, { x }: ResolvedInputs, out: TensorLike): void {
    this.#apply(call, pass, x, out);
    this.#random = pass.random;
  }

  /** @internal */
  protected override empty({ random }: DropoutPass): void {
    this.#random = random;
  }

  /** @internal */
  protected override writeBack(call: Call, pass: DropoutPass, _: ResolvedInputs, dy: TensorLike, dx: TensorLike): void {
    this.#apply(call, pass, dy, dx);
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

  #apply(call: Call, { plan, seed }: DropoutPass, x: TensorLike, y: TensorLike): void {
    const current = backend();
    const at = call.input(x);
    const to = call.output(y, { x, at });
    const { size } = plan;
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
  }
}
