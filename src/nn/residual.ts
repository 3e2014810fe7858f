import { NO_ACTIVATION } from '../kernels/activations.ts';
import { backend } from '../kernels/backend.ts';
import { IDENTITY, sum } from '../kernels/inference/calls.ts';
import { Layer, type Stage } from '../layers/layer.ts';
import { gradientsOf } from '../layers/parameter.ts';
import type { StateSlots } from '../layers/state.ts';
import { Region } from '../tensors/block.ts';
import { checkCallOptions, copyLike, locate, plainCopy, produce, targetOf } from '../tensors/call.ts';
import { locateAll } from '../tensors/several.ts';
import { checkShape, shapeOf } from '../tensors/shape.ts';
import type { Result, TensorLike } from '../tensors/tensor.ts';
import type { Parameter } from '../types.ts';
import { store } from '../wasm/views.ts';
import { Sequential } from './sequential.ts';

/** The layers of a Residual, which complain in its name. */
class Branch extends Sequential {
  override get subject(): string {
    return 'Residual';
  }
}

/**
 * Layers with a way around them (He et al. 2015): y = x + layers(x). What they give must have the shape of what they take.
 *
 *     new Residual(new Linear(64, 64), new BatchNorm1d(64))
 */
export class Residual extends Layer {
  static override readonly name: string = 'Residual';
  readonly subject = 'Residual';
  readonly branch: Sequential;
  /** Where IDENTITY lies. */
  #identity: Region | undefined;

  constructor(...layers: Layer[]) {
    super();
    this.branch = new Branch(...layers);
  }

  override train(on = true): this {
    super.train(on);
    this.branch.train(on);
    return this;
  }

  outputShape(shape: readonly number[]): readonly number[] {
    checkShape(this.subject, 'the output of the branch', this.branch.outputShape(shape), shape, 'shape');
    return shape;
  }

  override parameters(): Parameter[] {
    return this.branch.parameters();
  }

  /** @throws what the layers throw; ERR_SHAPE where they change the shape */
  forward<X extends TensorLike, O extends TensorLike = Result<X>>(x: X, options: { out?: O } = {}): O {
    checkCallOptions(this.subject, options, ['out']);
    const input = this.branch.detached(locate(this.subject, 'x', x));
    this.outputShape(shapeOf(input));
    const restore = this.branch.checkpoint();
    try {
      return this.#sum(x, 'x', input, options.out, () => this.branch.forward(input));
    } catch (error) {
      restore();
      throw error;
    }
  }

  /** dx = dy + the branch's. @throws what the layers throw */
  backward<D extends TensorLike, O extends TensorLike = Result<D>>(dy: D, options: { out?: O } = {}): O {
    checkCallOptions(this.subject, options, ['out']);
    const { shape } = this.branch.checkSaved();
    const given = this.branch.detached(locate(this.subject, 'dy', dy));
    checkShape(this.subject, 'dy', shapeOf(given), shape, 'shape');
    const restore = gradientsOf(this.parameters());
    try {
      return this.#sum(dy, 'dy', given, options.out, () => this.branch.backward(given));
    } catch (error) {
      restore();
      throw error;
    }
  }

  /** @throws what the layers throw */
  override forwardMicroBatches<X extends TensorLike>(xs: readonly X[]): Result<X>[] {
    const plain = locateAll(this.subject, 'micro-batch', xs).map(plainCopy);
    for (const { shape } of plain) this.outputShape(shape);
    return added(this.branch.forwardMicroBatches(plain), plain, xs);
  }

  /** @throws ERR_MODE before such a forward; what the layers throw */
  override backwardMicroBatches<D extends TensorLike>(dys: readonly D[]): Result<D>[] {
    const plain = locateAll(this.subject, 'dy of micro-batch', dys).map(plainCopy);
    return added(this.branch.backwardMicroBatches(plain), plain, dys);
  }

  /** @internal */
  override holdMicroBatches(): (restore: boolean) => void {
    return this.branch.holdMicroBatches();
  }

  /** @internal */
  override forget(): void {
    this.branch.forget();
  }

  /** @internal */
  override checkForward(shape: readonly number[]): readonly number[] {
    this.branch.checkForward(shape);
    return this.outputShape(shape);
  }

  /** @internal */
  override checkSaved(): unknown {
    return this.branch.checkSaved();
  }

  override stages(): Stage[] {
    return [{ kind: 'residual', branch: this.branch.stages() }];
  }

  override named(prefix = ''): readonly (readonly [name: string, layer: Layer])[] {
    return this.branch.named(prefix);
  }

  override stateSlots(): StateSlots {
    return this.branch.stateSlots();
  }

  override checkpoint(): () => void {
    return this.branch.checkpoint();
  }

  override dispose(): void {
    this.branch.dispose();
    this.#identity?.release();
    this.#identity = undefined;
  }

  /** a + b(), where b is a tensor of the branch's own or a plain array. */
  #sum<O extends TensorLike>(
    like: TensorLike,
    name: string,
    a: TensorLike,
    out: O | undefined,
    b: () => TensorLike,
  ): O {
    const product = {
      subject: this.subject,
      like,
      shape: shapeOf(a),
      out,
      inputs: { [name]: a },
      aliasing: 'apart',
    } as const;
    return produce<O>(product, targetOf(product), (call, result) => {
      const branch = b();
      const size = a.data.length;
      if (size === 0) return;
      const current = backend();
      this.#identity ??= new Region(current.heap);
      const identity = this.#identity.atLeast(64);
      store(current.heap, identity, IDENTITY);
      sum(current, call.input(branch), identity, call.input(a), call.output(result), NO_ACTIVATION, size);
    });
  }
}

/** Sums of plain arrays, in memory of the kind of what was given. */
function added<X extends TensorLike>(
  branch: readonly TensorLike[],
  plain: readonly { readonly data: Float32Array }[],
  given: readonly X[],
): Result<X>[] {
  return branch.map((y, i) => {
    const { data } = plain[i];
    return copyLike({ data: y.data.map((value, k) => value + data[k]), shape: shapeOf(y) }, given[i]);
  });
}
