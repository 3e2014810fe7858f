import type { OperationGraph, Value } from '../graph/graph.ts';
import type { LinearOperation } from '../graph/operations/linear.ts';
import { NO_ACTIVATION } from '../kernels/activations.ts';
import { backend } from '../kernels/backend.ts';
import { linear } from '../kernels/linear/calls.ts';
import { training } from '../kernels/training/part.ts';
import { LeafLayer, type Pass } from '../layers/leaf-layer.ts';
import { checkFeatures } from '../layers/options.ts';
import { addToGradient, type LearnedParameter } from '../layers/parameter.ts';
import type { StateSlots } from '../layers/state.ts';
import { notBuilt } from '../layers/unbuilt.ts';
import { flag, readSchema, type Schema, seed } from '../named-options.ts';
import { Region } from '../tensors/block.ts';
import { type Call, within } from '../tensors/call.ts';
import type { ResolvedInputs } from '../tensors/route.ts';
import { countOf, linearShape, sizeOf } from '../tensors/shape.ts';
import type { TensorLike } from '../tensors/tensor.ts';
import type { Parameter } from '../types.ts';
import { doubles, floats, store } from '../wasm/views.ts';
import { type Initializer, initializer } from './initializers.ts';
import { type Learned, type LearnedSettings, learn } from './learned.ts';
import { packBackward, packedLength, packForward, weightSums } from './products.ts';

/** Options of `Linear`. */
export interface LinearOptions {
  /** Add a learned bias. Default `true`. */
  bias?: boolean;
  /**
   * How the weight begins. Default `torchUniform()`, PyTorch's: uniform in ±1/√inFeatures. With an
   * initializer of your own the bias begins at 0, else like the weight.
   */
  init?: Initializer;
  /** Seed of the initial values. Default: a different one every time. */
  seed?: number;
}

interface LinearPass extends Pass {
  /** @internal */
  readonly rows: number;
}

const linearSchema = (): Schema<LearnedSettings> => ({ bias: flag(true), init: initializer(), seed: seed() });

/**
 * Fully connected layer:
 *
 *   y = x·Wᵀ + b
 *
 * with x `[N, ..., inFeatures]` and y `[N, ..., outFeatures]`; `out` must lie apart from x.
 * Backward returns dx = dy·W, and adds dyᵀ·x to `weight.grad` and Σdy to `bias.grad`. Names and
 * layout are PyTorch's: `weight` `[outFeatures, inFeatures]`, `bias` `[outFeatures]`.
 *
 *     const fc = new Linear(784, 100);
 *     const y = fc.forward({ data, shape: [32, 784] });   // [32, 100]
 */
export class Linear extends LeafLayer<LinearPass> {
  static override readonly name: string = 'Linear';
  /** Length of the last axis of the output. */
  readonly outFeatures: number;
  #inFeatures: number | null;
  readonly #settings: LearnedSettings;
  #learned: Learned | undefined;
  /** The weight in panels, for forward. */
  #packed: Region | undefined;
  #packedStamp = Number.NaN;

  /**
   * @param inFeatures length of the input's last axis; `null`: that of the first input, or of
   *   `build(shape)`, until which there are no parameters
   * @param outFeatures length of the output's last axis
   * @throws ERR_OPTION for sizes that are not positive integers, or an unknown option; ERR_MEMORY
   */
  constructor(inFeatures: number | null, outFeatures: number, options: LinearOptions = {}) {
    super();
    if (inFeatures !== null) checkFeatures('Linear', 'inFeatures', inFeatures);
    checkFeatures('Linear', 'outFeatures', outFeatures);
    this.outFeatures = outFeatures;
    this.#inFeatures = inFeatures;
    this.#settings = readSchema(this.subject, options, linearSchema());
    if (inFeatures !== null) this.#make(inFeatures);
  }

  get subject(): string {
    return `Linear(${this.#inFeatures}, ${this.outFeatures})`;
  }

  /**
   * Length of the last axis of the input.
   *
   * @throws ERR_MODE where it is not known yet
   */
  get inFeatures(): number {
    return this.#inFeatures ?? notBuilt(this.subject, 'inFeatures');
  }

  get #weight(): LearnedParameter {
    return (this.#learned ?? notBuilt(this.subject, 'parameters')).weight;
  }

  get #bias(): LearnedParameter | undefined {
    return (this.#learned ?? notBuilt(this.subject, 'parameters')).bias;
  }

  override build(shape: readonly (number | null)[]): this {
    super.build(shape);
    const features = shape[shape.length - 1];
    // in a graph a length that is not known is NaN
    if (!this.#learned && features) {
      checkFeatures(this.subject, 'inFeatures', features);
      this.#make(features);
    }
    return this;
  }

  #make(inFeatures: number): void {
    const { outFeatures } = this;
    sizeOf(this.subject, 'weight', [outFeatures, inFeatures]);
    this.#learned = learn([outFeatures, inFeatures], outFeatures, inFeatures, outFeatures, this.#settings);
    this.#inFeatures = inFeatures;
  }

  /** `[outFeatures, inFeatures]`. */
  get weight(): Parameter {
    return this.#weight;
  }

  /** `[outFeatures]`; `null` without one. */
  get bias(): Parameter | null {
    return this.#bias ?? null;
  }

  override parameters(): Parameter[] {
    return this.#bias ? [this.#weight, this.#bias] : [this.#weight];
  }

  outputShape(shape: readonly number[]): readonly number[] {
    return linearShape(this.subject, shape, this.#inFeatures ?? Number.NaN, this.outFeatures);
  }

  /** @internal */
  protected override begin(shape: readonly number[]): LinearPass {
    if (!this.#learned) this.build(shape);
    const outShape = this.outputShape(shape);
    const size = countOf(shape);
    return { plan: { shape, size }, outShape, rows: size / this.inFeatures };
  }

  /** @internal The kernel reads its inputs more than once. */
  protected override get aliasing(): 'apart' {
    return 'apart';
  }

  /** @internal */
  protected override write(call: Call, { rows }: LinearPass, { x }: ResolvedInputs, out: TensorLike): void {
    const current = backend();
    const { inFeatures: depth, outFeatures: cols } = this;
    const packed = this.#pack(call);
    const at = call.input(x);
    const bias = this.#bias ? call.scratch(cols * 4) : 0;
    if (this.#bias) store(current.heap, bias, this.#bias.values.now);
    linear(current, at, packed, bias, call.output(out), NO_ACTIVATION, rows, depth, cols);
  }

  /** @internal */
  protected override writeBack(
    call: Call,
    pass: LinearPass,
    { x }: ResolvedInputs,
    dy: TensorLike,
    dx: TensorLike,
  ): void {
    const { rows } = pass;
    if (rows === 0) return;
    const { inFeatures: depth, outFeatures: cols } = this;
    const from = call.input(dy);
    const sums = this.#sumGradients(call, x, from, rows);
    const packed = packBackward(call, this.#weight.values.now, depth, cols);
    linear(backend(), from, packed, 0, call.output(dx), NO_ACTIVATION, rows, cols, depth);
    this.#addGradients(sums);
  }

  override backwardParameters(dy: TensorLike): void {
    const { saved, given } = this.checkBackward(dy);
    within((call) => {
      this.#addGradients(this.#sumGradients(call, saved.inputs.x!, call.input(given), saved.pass.rows));
    });
  }

  override stateSlots(): StateSlots {
    return { weight: this.#weight.slot(), ...(this.#bias && { bias: this.#bias.slot() }) };
  }

  /** @internal */
  override channelAxis(rank: number): number {
    return rank - 1;
  }

  override trace(graph: OperationGraph, x: Value): Value {
    const { inFeatures, outFeatures } = this;
    const [weight, bias] = [this.#weight.values.kept, this.#bias?.values.now.slice() ?? null];
    const operation: LinearOperation = { kind: 'linear', inFeatures, outFeatures, weight, bias };
    return graph.append(operation, [x]);
  }

  /** Gives back the linear memory that the layer works in: the packed weight. */
  override dispose(): void {
    super.dispose();
    this.#packed?.release();
    this.#packed = undefined;
    this.#packedStamp = Number.NaN;
  }

  /** The weight as the kernel reads it, packed again only if it may have changed. */
  #pack(call: Call): number {
    const { inFeatures, outFeatures } = this;
    const { values } = this.#weight;
    this.#packed ??= new Region(backend().heap);
    const packed = this.#packed.atLeast(packedLength(inFeatures, outFeatures) * 4);
    if (this.#packedStamp !== values.stamp) {
      packForward(call, values.now, packed, inFeatures, outFeatures);
      this.#packedStamp = values.stamp;
    }
    return packed;
  }

  /** dyᵀ·x and Σdy in scratch memory, nothing added yet. */
  #sumGradients(call: Call, x: TensorLike, dy: number, rows: number): { weight: number; bias: number } {
    if (rows === 0 || (this.#weight.frozen && (this.#bias?.frozen ?? true))) return { weight: 0, bias: 0 };
    const current = backend();
    const { inFeatures: depth, outFeatures: cols } = this;
    const weight = weightSums(call, call.input(x), dy, rows, depth, cols);
    const bias = this.#bias ? call.scratch(cols * 8) : 0;
    if (bias) training(current).kernels.column_sums_f32(dy, bias, rows, cols);
    return { weight, bias };
  }

  #addGradients({ weight, bias }: { weight: number; bias: number }): void {
    const { heap } = backend();
    const { inFeatures, outFeatures } = this;
    if (weight) addToGradient(this.#weight, floats(heap, weight, inFeatures * outFeatures));
    if (bias) addToGradient(this.#bias, doubles(heap, bias, outFeatures));
  }
}
