import { show, wrongValue } from '../errors.ts';
import type { OperationGraph, Value } from '../graph/graph.ts';
import type { UpsampleOperation } from '../graph/operations/upsample.ts';
import { backend } from '../kernels/backend.ts';
import { LeafLayer, type Pass } from '../layers/leaf-layer.ts';
import { layout } from '../layers/options.ts';
import { type PerAxis, readPerAxis } from '../layers/per-axis.ts';
import { bilinear, nearestMaps, UPSAMPLE_MODES, type Upsampling, upsampledShape } from '../layers/upsampling.ts';
import { choice, flag, optional, readSchema, required, type Schema } from '../named-options.ts';
import { gatherer, scatter } from '../tensors/axis-maps.ts';
import type { Call } from '../tensors/call.ts';
import type { ResolvedInputs } from '../tensors/route.ts';
import { countOf } from '../tensors/shape.ts';
import type { TensorLike } from '../tensors/tensor.ts';
import type { Layout } from '../types.ts';
import { indexOf } from '../wasm/views.ts';

/** Options of `Upsample`. */
export interface UpsampleOptions {
  /** Outputs per input: a number for all axes, or one per axis. Above 0, and need not be whole. */
  scale: PerAxis;
  /**
   * `'nearest'` (default): output i is input ⌊i/scale⌋. `'bilinear'`: between the four values
   * around it, for images of two axes.
   */
  mode?: 'nearest' | 'bilinear';
  /**
   * Of `'bilinear'`: do the corners of input and output coincide, instead of the edges of their
   * corner cells? Default `false`.
   */
  alignCorners?: boolean;
  /** Where the channels lie. Default `'channels-first'`. */
  layout?: Layout;
}

const upsampleSchema = (): Schema<Required<Omit<UpsampleOptions, 'alignCorners'>> & { alignCorners?: boolean }> => ({
  scale: required(() => {}),
  mode: choice('nearest', UPSAMPLE_MODES),
  alignCorners: optional(flag(false)),
  layout: layout(),
});

/**
 * An image with more values: `[N, C, ...]`, with `layout: 'channels-last'` `[N, ..., C]`; axes of
 * length ⌊input·scale⌋. As PyTorch's Upsample with `scale_factor`; places are worked out in f64.
 *
 *     new Upsample({ scale: 2 }).outputShape([1, 8, 14, 14]);   // [1, 8, 28, 28]
 */
export class Upsample extends LeafLayer<Pass> {
  static override readonly name: string = 'Upsample';
  readonly subject: string;
  readonly #upsampling: Upsampling;

  /**
   * @param options see `UpsampleOptions`; `scale` is required
   * @throws ERR_OPTION for a scale of anything but finite numbers above 0, a mode that there is
   *   not, `alignCorners` in another mode than `'bilinear'`, or an unknown option
   */
  constructor(options: UpsampleOptions) {
    super();
    const read = readSchema('Upsample', options, upsampleSchema());
    const { scale, mode, alignCorners, layout } = read;
    const isScale = (value: number) => value > 0 && Number.isFinite(value);
    const axes = mode === 'bilinear' ? 2 : Array.isArray(scale) ? Math.max(scale.length, 1) : 1;
    const scales = readPerAxis('Upsample', 'scale', scale, axes, 'a finite number above 0', isScale);
    this.subject = `Upsample(${show(scale)})`;
    if (alignCorners !== undefined && mode !== 'bilinear') {
      throw wrongValue('ERR_OPTION', this.subject, 'alignCorners', "mode 'bilinear' with it", show(mode));
    }
    this.#upsampling = {
      layout,
      mode,
      alignCorners: alignCorners ?? false,
      scale: typeof scale === 'number' ? scale : scales,
    };
  }

  /** @throws ERR_SHAPE for another rank, and for axes of which nothing would be left */
  outputShape(shape: readonly number[]): readonly number[] {
    return upsampledShape(this.subject, this.#upsampling, shape);
  }

  override trace(graph: OperationGraph, x: Value): Value {
    const operation: UpsampleOperation = { kind: 'upsample', ...this.#upsampling };
    return graph.append(operation, [x]);
  }

  /** @internal */
  protected override begin(shape: readonly number[]): Pass {
    return { plan: { shape, size: countOf(shape) }, outShape: this.outputShape(shape) };
  }

  /** @internal */
  protected override get aliasing(): 'apart' {
    return 'apart';
  }

  /** @internal */
  protected override get needsInputs(): boolean {
    return false;
  }

  /** @internal */
  protected override write(call: Call, { plan }: Pass, { x }: ResolvedInputs, out: TensorLike): void {
    const from = indexOf(call.input(x!));
    const to = indexOf(call.output(out));
    const { f32 } = backend().heap;
    const { mode } = this.#upsampling;
    if (mode === 'bilinear') bilinear(this.subject, this.#upsampling, plan.shape).forward(f32, from, f32, to);
    else gatherer(nearestMaps(this.subject, this.#upsampling, plan.shape), 0)(f32, from, f32, to);
  }

  /** @internal */
  protected override writeBack(call: Call, { plan }: Pass, _: ResolvedInputs, dy: TensorLike, dx: TensorLike): void {
    if (plan.size === 0) return;
    const from = indexOf(call.input(dy));
    const to = indexOf(call.output(dx));
    const { f32 } = backend().heap;
    const { mode } = this.#upsampling;
    if (mode === 'bilinear') bilinear(this.subject, this.#upsampling, plan.shape).backward(f32, from, f32, to);
    else scatter(nearestMaps(this.subject, this.#upsampling, plan.shape), f32, from, f32, to);
  }
}
