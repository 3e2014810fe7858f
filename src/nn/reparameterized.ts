// Layers whose weight is worked out of a learned one at each forward: weight standardization and
// spectral normalization, around linear layers and convolutions.

import { show, wrongKind } from '../errors.ts';
import type { OperationGraph, Value } from '../graph/graph.ts';
import { Layer } from '../layers/layer.ts';
import { addToGradient, LearnedParameter } from '../layers/parameter.ts';
import type { StateSlots } from '../layers/state.ts';
import { integer, number, readSchema, seed as seedOption } from '../named-options.ts';
import { countOf } from '../tensors/shape.ts';
import { held } from '../tensors/stored.ts';
import type { Result, TensorLike } from '../tensors/tensor.ts';
import type { Snapshot } from '../tensors/values.ts';
import type { Parameter } from '../types.ts';
import { Random } from './random.ts';

/** A layer with a weight: `Linear`, a convolution or a transposed one. */
export type WeightedLayer = Layer & {
  /** The learned weight; `Linear` and convolutions say its shape. */
  readonly weight: Parameter;
  /** The learned bias; `null` without one. */
  readonly bias: Parameter | null;
};

/**
 * A weight as a matrix: `order[r·cols + c]` is where row r has its value c; undefined where they
 * lie in order.
 */
interface Matrix {
  readonly rows: number;
  readonly cols: number;
  readonly order: Int32Array | undefined;
}

/** What a weight was worked out with, for backward. */
interface Made {
  /** The gradient of the learned weight, from that of the one worked out, and its values. */
  gradient(given: Float32Array, weight: Float32Array): Float64Array;
  /** Takes over what the forward has changed, at its end. */
  commit?(): void;
}

/**
 * Where the rows of a weight, one for each output, lie in it; `byGroup`: the groups of a transposed
 * convolution have rows of their own.
 */
function matrixOf({ shape }: Parameter, transposed: boolean, groups: number, byGroup: boolean): Matrix {
  const size = shape.reduce((product, length) => product * length, 1);
  if (!transposed) return { rows: shape[0], cols: size / shape[0], order: undefined };
  // [in, out/groups, ...kernel]
  const [inputs, outputs] = shape;
  const taps = size / (inputs * outputs);
  const sets = byGroup ? groups : 1;
  const own = inputs / sets;
  const cols = own * taps;
  const order = new Int32Array(size);
  for (let i = 0, at = 0; i < inputs; i++) {
    for (let o = 0; o < outputs; o++) {
      const row = Math.floor(i / own) * outputs + o;
      for (let k = 0; k < taps; k++) order[row * cols + (i % own) * taps + k] = at++;
    }
  }
  return { rows: sets * outputs, cols, order };
}

/**
 * What both share: the learned weight, the layer that runs with another, and the way of the
 * gradient back.
 */
abstract class Reparameterized extends Layer {
  readonly subject: string;
  /** The layer that runs; it belongs to this one, and its own weight is the one worked out last. */
  readonly layer: WeightedLayer;
  /** @internal */
  protected readonly matrix: Matrix;
  readonly #weight: LearnedParameter;
  readonly #inner: LearnedParameter;
  /** The weight that the inner layer had before the last one. */
  readonly #spare: Float32Array;
  /** What the inner layer's weight was made of last, if that may stay. */
  #source: { readonly basis: object; readonly weight: Snapshot } | undefined;
  #made: Made | undefined;
  /** Of the last forward that succeeded. */
  #last: Made | undefined;

  constructor(name: string, layer: WeightedLayer, byGroup: boolean) {
    super();
    const weight = layer instanceof Layer ? layer.weight : undefined;
    if (!(weight instanceof LearnedParameter) || weight.shape.length < 2) {
      const got = layer instanceof Layer ? layer.subject : show(layer);
      throw wrongKind('ERR_TYPE', name, 'layer', 'a linear layer or a convolution', got);
    }
    this.subject = `${name}(${layer.subject})`;
    this.layer = layer;
    const { transposed = false, groups = 1 } =
      (layer as { plain?(): { transposed: boolean; groups: number } }).plain?.() ?? {};
    this.matrix = matrixOf(weight, transposed, groups, byGroup);
    this.#inner = weight;
    this.#weight = new LearnedParameter(weight.shape, weight.read());
    this.#spare = new Float32Array(countOf(weight.shape));
  }

  /** The learned weight, of the layer's shape. */
  get weight(): Parameter {
    return this.#weight;
  }

  /** The layer's; `null` without one. */
  get bias(): Parameter | null {
    return this.layer.bias;
  }

  /** @internal The learned weight's values, for reading. */
  protected get learned(): Float32Array {
    return this.#weight.values.now;
  }

  /**
   * @internal Works the weight out of the learned one, into `to`, as in training or in evaluation.
   */
  protected abstract make(from: Float32Array, to: Float32Array, training: boolean): Made;

  /**
   * @internal What it is worked out with besides, an object as long as that stays the same;
   * undefined where it never does.
   */
  protected abstract get basis(): object | undefined;

  override train(on = true): this {
    this.layer.train(on);
    return super.train(on);
  }

  override parameters(): Parameter[] {
    return this.bias ? [this.#weight, this.bias] : [this.#weight];
  }

  outputShape(shape: readonly number[]): readonly number[] {
    return this.layer.outputShape(shape);
  }

  /** @throws what the layer throws, in its name. After an error nothing has changed */
  forward<X extends TensorLike, O extends TensorLike = Result<X>>(x: X, options: { out?: O } = {}): O {
    const undo = this.#renew();
    try {
      const y = this.layer.forward<X, O>(x, options);
      this.#made?.commit?.();
      this.#last = this.#made;
      return y;
    } catch (error) {
      undo();
      throw error;
    }
  }

  backward<D extends TensorLike, O extends TensorLike = Result<D>>(dy: D, options: { out?: O } = {}): O {
    return this.#backward(() => this.layer.backward<D, O>(dy, options));
  }

  override backwardParameters(dy: TensorLike): void {
    this.#backward(() => this.layer.backwardParameters(dy));
  }

  /** Runs the layer's backward with an empty gradient of its weight, and hands that gradient on. */
  #backward<T>(work: () => T): T {
    const made = this.#last;
    this.checkSaved();
    const inner = this.#inner;
    inner.grad.fill(0);
    inner.frozen = this.#weight.frozen;
    const result = work();
    if (!inner.frozen) addToGradient(this.#weight, made!.gradient(inner.grad, inner.values.now));
    return result;
  }

  override get isInPlace(): boolean {
    return this.layer.isInPlace;
  }

  override checkSaved(): unknown {
    return this.layer.checkSaved();
  }

  override forget(): void {
    this.layer.forget();
  }

  override checkForward(shape: readonly number[]): readonly number[] {
    return this.layer.checkForward(shape);
  }

  override channelAxis(rank: number): number | undefined {
    return this.layer.channelAxis(rank);
  }

  override stateSlots(): StateSlots {
    const { bias } = this.layer.stateSlots();
    return { weight: this.#weight.slot(), ...(bias && { bias }) };
  }

  override trace(graph: OperationGraph, x: Value): Value {
    const weight = new Float32Array(this.learned.length);
    this.make(this.learned, weight, false);
    // what the layer appends, with this weight in the place of the one that its last forward had
    const append: OperationGraph['append'] = (operation, ...more) =>
      graph.append(Object.assign({ ...operation }, { weight: held(weight) }), ...more);
    return this.layer.trace({ append } as OperationGraph, x);
  }

  override dispose(): void {
    this.layer.dispose();
  }

  /** Brings the inner layer's weight up to date; the function returned takes that back. */
  #renew(): () => void {
    const { basis } = this;
    const [made, source] = [this.#made, this.#source];
    const isSame = source && basis === source.basis && this.#weight.values.isSame(source.weight);
    if (isSame) return () => {};
    const inner = this.#inner.values;
    const before = this.#spare;
    before.set(inner.now);
    this.#made = this.make(this.learned, inner.writable, this.training);
    this.#source = basis && { basis, weight: this.#weight.values.snapshot() };
    return () => {
      inner.writable.set(before);
      this.#made = made;
      this.#source = source;
    };
  }
}

const positive = (standard: number) =>
  number(standard, 'a finite number above 0', (value) => value > 0 && Number.isFinite(value));

/** Options of `WeightStandardization`. */
export interface WeightStandardizationOptions {
  /** Added to the variance of each row, above 0. Default 1e-5. */
  eps?: number;
}

/**
 * Weight standardization (Qiao et al. 2019, arXiv 1903.10520) of a linear layer or a convolution:
 * the weights behind each output have mean 0 and variance 1,
 *
 *     ŵ[o] = (w[o] − mean(w[o])) / √(var(w[o]) + eps)
 *
 * with the biased variance over inputs and kernel. Backward goes through mean and variance.
 * Compiled, it is the layer with these weights.
 *
 *     new WeightStandardization(new Conv2d(64, 64, 3, { padding: 1, bias: false }))
 *
 * The state has the layer's names: `weight`, the learned one, and `bias`.
 */
export class WeightStandardization extends Reparameterized {
  static override readonly name: string = 'WeightStandardization';
  /** Added to the variance of each row. */
  readonly eps: number;

  /**
   * @param layer belongs to this one from now on
   * @throws ERR_TYPE for a layer without such a weight, ERR_OPTION for eps of 0 or less, or an
   *   unknown option
   */
  constructor(layer: WeightedLayer, options: WeightStandardizationOptions = {}) {
    super('WeightStandardization', layer, true);
    this.eps = readSchema(this.subject, options, { eps: positive(1e-5) }).eps;
  }

  /** @internal */
  protected override get basis(): object {
    return this;
  }

  /** @internal */
  protected override make(from: Float32Array, to: Float32Array, _training: boolean): Made {
    const { rows, cols, order } = this.matrix;
    const inverse = new Float64Array(rows);
    const at = (i: number) => (order ? order[i] : i);
    for (let r = 0; r < rows; r++) {
      const [first, end] = [r * cols, (r + 1) * cols];
      let sum = 0;
      for (let i = first; i < end; i++) sum += from[at(i)];
      const mean = sum / cols;
      let squares = 0;
      for (let i = first; i < end; i++) squares += (from[at(i)] - mean) ** 2;
      inverse[r] = 1 / Math.sqrt(squares / cols + this.eps);
      for (let i = first; i < end; i++) to[at(i)] = (from[at(i)] - mean) * inverse[r];
    }
    return {
      gradient: (given, weight) => {
        const sums = new Float64Array(given.length);
        for (let r = 0; r < rows; r++) {
          const [first, end] = [r * cols, (r + 1) * cols];
          let [plain, along] = [0, 0];
          for (let i = first; i < end; i++) {
            plain += given[at(i)];
            along += given[at(i)] * weight[at(i)];
          }
          for (let i = first; i < end; i++) {
            sums[at(i)] = inverse[r] * (given[at(i)] - plain / cols - (weight[at(i)] * along) / cols);
          }
        }
        return sums;
      },
    };
  }
}

/** Options of `SpectralNorm`. */
export interface SpectralNormOptions {
  /** Power iterations of each training forward, 1 or more. Default 1. */
  iterations?: number;
  /** Least length that a vector is divided by, above 0. Default 1e-12. */
  eps?: number;
  /** Seed of the first vectors. Default: a different one every time. */
  seed?: number;
}

/** Estimates of singular vectors. */
interface Vectors {
  readonly u: Float32Array;
  readonly v: Float32Array;
}

/** Power iterations at the beginning, as PyTorch's. */
const FIRST_ITERATIONS = 15;

/**
 * Spectral normalization (Miyato et al. 2018, arXiv 1802.05957) of a linear layer or a convolution:
 * its weight, as a matrix of one row for each output, is divided by its largest singular value,
 *
 *     ŵ = w / σ,  σ = uᵀ·w·v
 *
 * u and v are estimated by power iteration, `iterations` at each training forward: u = wv/‖wv‖, v =
 * wᵀu/‖wᵀu‖; evaluation leaves them. Backward takes u and v for constants. All of it is PyTorch's
 * `torch.nn.utils.parametrizations.spectral_norm`, with its first 15 iterations, and with NaN for a
 * weight of zeros. Compiled, it is the layer with these weights.
 *
 *     new SpectralNorm(new Conv2d(64, 64, 3, { padding: 1 }))
 *
 * The state has the layer's names, `weight`, the learned one, and `bias`, and beside them `u`
 * `[rows]` and `v` `[cols]`. Rows of a transposed convolution are its second axis.
 */
export class SpectralNorm extends Reparameterized {
  static override readonly name: string = 'SpectralNorm';
  /** Power iterations of each training forward. */
  readonly iterations: number;
  /** Least length that a vector is divided by. */
  readonly eps: number;
  #vectors: Vectors;

  /**
   * @param layer belongs to this one from now on
   * @throws ERR_TYPE for a layer without such a weight, ERR_OPTION for iterations that are no
   *   positive integer, eps of 0 or less, an unknown option
   */
  constructor(layer: WeightedLayer, options: SpectralNormOptions = {}) {
    super('SpectralNorm', layer, false);
    const schema = { iterations: integer(1, 1), eps: positive(1e-12), seed: seedOption() };
    const { iterations, eps, seed } = readSchema(this.subject, options, schema);
    this.iterations = iterations;
    this.eps = eps;
    const random = new Random(seed);
    const { rows, cols } = this.matrix;
    const u = this.#normalized(Float64Array.from({ length: rows }, () => random.normal()));
    const v = this.#normalized(Float64Array.from({ length: cols }, () => random.normal()));
    this.#vectors = this.#iterate(this.learned, { u, v }, FIRST_ITERATIONS);
  }

  /** Estimate of the left singular vector, `[rows]`: a copy. */
  get u(): Float32Array {
    return this.#vectors.u.slice();
  }

  /** Estimate of the right singular vector, `[cols]`: a copy. */
  get v(): Float32Array {
    return this.#vectors.v.slice();
  }

  /** @internal */
  protected override get basis(): object | undefined {
    return this.training ? undefined : this.#vectors;
  }

  /** @internal */
  protected override make(from: Float32Array, to: Float32Array, training: boolean): Made {
    const { rows, cols, order } = this.matrix;
    const at = (i: number) => (order ? order[i] : i);
    const vectors = training ? this.#iterate(from, this.#vectors, this.iterations) : this.#vectors;
    const { u, v } = vectors;
    let sigma = 0;
    for (let r = 0, i = 0; r < rows; r++) {
      let sum = 0;
      for (let c = 0; c < cols; c++, i++) sum += from[at(i)] * v[c];
      sigma += u[r] * sum;
    }
    for (let i = 0; i < from.length; i++) to[i] = from[i] / sigma;
    return {
      gradient: (given, weight) => {
        // ∂σ/∂w = u·vᵀ
        let along = 0;
        for (let i = 0; i < given.length; i++) along += given[i] * weight[i];
        const sums = new Float64Array(given.length);
        for (let r = 0, i = 0; r < rows; r++) {
          for (let c = 0; c < cols; c++, i++) sums[at(i)] = (given[at(i)] - along * u[r] * v[c]) / sigma;
        }
        return sums;
      },
      commit: () => {
        this.#vectors = vectors;
      },
    };
  }

  override stateSlots(): StateSlots {
    return {
      ...super.stateSlots(),
      u: {
        shape: [this.matrix.rows],
        read: () => this.u,
        write: (u) => {
          this.#vectors = { ...this.#vectors, u: Float32Array.from(u) };
        },
      },
      v: {
        shape: [this.matrix.cols],
        read: () => this.v,
        write: (v) => {
          this.#vectors = { ...this.#vectors, v: Float32Array.from(v) };
        },
      },
    };
  }

  override checkpoint(): (() => void) | undefined {
    if (!this.training) return undefined;
    const vectors = this.#vectors;
    return () => {
      this.#vectors = vectors;
    };
  }

  /** So many power iterations; new vectors. */
  #iterate(w: Float32Array, { u, v }: Vectors, many: number): Vectors {
    const { rows, cols, order } = this.matrix;
    const at = (i: number) => (order ? order[i] : i);
    for (let n = 0; n < many; n++) {
      const left = new Float64Array(rows);
      for (let r = 0, i = 0; r < rows; r++) for (let c = 0; c < cols; c++, i++) left[r] += w[at(i)] * v[c];
      u = this.#normalized(left);
      const right = new Float64Array(cols);
      for (let r = 0, i = 0; r < rows; r++) for (let c = 0; c < cols; c++, i++) right[c] += w[at(i)] * u[r];
      v = this.#normalized(right);
    }
    return { u, v };
  }

  #normalized(values: Float64Array): Float32Array {
    const length = Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
    return Float32Array.from(values, (value) => value / Math.max(length, this.eps));
  }
}
