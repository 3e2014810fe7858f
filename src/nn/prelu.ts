import type { OperationGraph, Value } from '../graph/graph.ts';
import type { PReLUOperation } from '../graph/operations/prelu.ts';
import { backend } from '../kernels/backend.ts';
import { LeafLayer, type Pass } from '../layers/leaf-layer.ts';
import { checkFeatures, layout } from '../layers/options.ts';
import { addToGradient, LearnedParameter } from '../layers/parameter.ts';
import { prelu, sloped } from '../layers/prelu.ts';
import type { StateSlots } from '../layers/state.ts';
import { number, readSchema, type Schema } from '../named-options.ts';
import { type Plan, planOf } from '../passes/plan.ts';
import type { Call } from '../tensors/call.ts';
import type { ResolvedInputs } from '../tensors/route.ts';
import { countOf } from '../tensors/shape.ts';
import type { TensorLike } from '../tensors/tensor.ts';
import type { Layout, Parameter } from '../types.ts';
import { indexOf } from '../wasm/views.ts';

/** Options of `PReLU`. */
export interface PReLUOptions {
  /** What slopes begin with. Default 0.25. */
  init?: number;
  /** Where the channels lie, if there is a slope for each. Default `'channels-first'`. */
  layout?: Layout;
}

interface PReLUPass extends Pass {
  readonly along: Pick<Plan, 'outer' | 'channels' | 'inner'>;
}

const preluSchema = (): Schema<Required<PReLUOptions>> => ({ init: number(0.25), layout: layout() });

/**
 * y = x where x ≥ 0, slope·x below (He, Zhang, Ren & Sun 2015): one learned slope for all values of
 * any shape, or one per channel of `[N, C, ...]` or, with `layout: 'channels-last'`, `[N, ..., C]`.
 * Backward adds Σ dy·x over the values below 0 to `weight.grad`. As PyTorch's PReLU. The compiler
 * fuses a single slope into the layer before it.
 *
 *     const layer = new PReLU(64, { init: 0.1 });
 */
export class PReLU extends LeafLayer<PReLUPass> {
  static override readonly name: string = 'PReLU';
  readonly subject: string;
  /** How many slopes there are: 1, or one per channel. */
  readonly channels: number;
  readonly #layout: Layout;
  readonly #weight: LearnedParameter;

  /**
   * @param channels slopes: 1 (default), or as many as there are channels
   * @throws ERR_OPTION for a number of channels that is not a positive integer, an `init` that is
   *   not finite, or an unknown option
   */
  constructor(channels = 1, options: PReLUOptions = {}) {
    super();
    checkFeatures('PReLU', 'channels', channels);
    this.subject = `PReLU(${channels})`;
    const { init, layout } = readSchema(this.subject, options, preluSchema());
    this.channels = channels;
    this.#layout = layout;
    this.#weight = new LearnedParameter([channels], new Float32Array(channels).fill(init));
  }

  /** The slopes, `[channels]`. */
  get weight(): Parameter {
    return this.#weight;
  }

  override parameters(): Parameter[] {
    return [this.#weight];
  }

  override stateSlots(): StateSlots {
    return { weight: this.#weight.slot() };
  }

  /** @throws ERR_SHAPE for another number of channels, if there is a slope for each */
  outputShape(shape: readonly number[]): readonly number[] {
    this.#along(shape);
    return shape;
  }

  override trace(graph: OperationGraph, x: Value): Value {
    const slopes = this.#weight.values.now;
    if (this.channels === 1 && Number.isFinite(slopes[0])) {
      return graph.append({ kind: 'elementwise' }, [x], sloped(slopes[0]));
    }
    const operation: PReLUOperation = { kind: 'prelu', layout: this.#layout, slopes };
    return graph.append(operation, [x]);
  }

  /** @internal */
  protected override begin(shape: readonly number[]): PReLUPass {
    return { plan: { shape, size: countOf(shape) }, along: this.#along(shape) };
  }

  /** @internal */
  protected override write(call: Call, { along }: PReLUPass, { x }: ResolvedInputs, out: TensorLike): void {
    const at = call.input(x!);
    prelu(backend(), along, at, call.output(out, { x: x!, at }), this.#weight.values.now);
  }

  /** @internal */
  protected override writeBack(
    call: Call,
    { along, plan }: PReLUPass,
    { x }: ResolvedInputs,
    dy: TensorLike,
    dx: TensorLike,
  ): void {
    const from = indexOf(call.input(x!));
    const at = call.input(dy);
    const [given, to] = [at, call.output(dx, { x: dy, at })].map(indexOf);
    if (plan.size === 0) return;
    const { f32 } = backend().heap;
    const { outer, channels, inner } = along;
    const slopes = this.#weight.values.now;
    const sums = new Float64Array(channels);
    for (let n = 0, i = 0; n < outer; n++) {
      for (let c = 0; c < channels; c++) {
        const slope = slopes[c];
        let sum = 0;
        for (let k = 0; k < inner; k++, i++) {
          const v = f32[from + i];
          const g = f32[given + i];
          if (v <= 0) sum += g * v;
          f32[to + i] = v <= 0 ? g * slope : g;
        }
        sums[c] += sum;
      }
    }
    addToGradient(this.#weight, sums);
  }

  #along(shape: readonly number[]): PReLUPass['along'] {
    if (this.channels === 1) return { outer: 1, channels: 1, inner: countOf(shape) };
    return planOf(this.subject, shape, this.channels, this.#layout, [2, Number.POSITIVE_INFINITY]);
  }
}
