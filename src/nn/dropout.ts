import { show, showShape, wrongKind, wrongValue } from '../errors.ts';
import type { OperationGraph, Value } from '../graph/graph.ts';
import { NO_ACTIVATION } from '../kernels/activations.ts';
import { backend } from '../kernels/backend.ts';
import { activate } from '../kernels/inference/calls.ts';
import { training } from '../kernels/training/part.ts';
import { LeafLayer, type Pass } from '../layers/leaf-layer.ts';
import { layout as layoutOption } from '../layers/options.ts';
import { type Option, optional, readSchema, required, seed as seedOption } from '../named-options.ts';
import { eachRow, walkOver } from '../tensors/broadcast.ts';
import type { Call } from '../tensors/call.ts';
import type { ResolvedInputs } from '../tensors/route.ts';
import { countOf, differs, showSymbolic } from '../tensors/shape.ts';
import type { TensorLike } from '../tensors/tensor.ts';
import type { Layout } from '../types.ts';
import { fill, indexOf } from '../wasm/views.ts';
import { Random } from './random.ts';

interface SeedOptions {
  /** Seed of the masks. Default: a different one every time. */
  seed?: number;
}

/** Options of `Dropout`. */
export interface DropoutOptions extends SeedOptions {
  /**
   * The shape of the masks, the batch included: along an axis of 1 values are dropped together,
   * `null` or the input's own length stand for a mask of that length. `[null, 1, null]` drops
   * features of all steps of a sequence `[N, T, F]` together. Keras' `noise_shape`. Default: every
   * value by itself.
   */
  noiseShape?: readonly (number | null)[];
}

/** Options of `Dropout1d`, `Dropout2d` and `Dropout3d`. */
export interface FeatureDropoutOptions extends SeedOptions {
  /** Where the channels lie. Default `'channels-first'`. */
  layout?: Layout;
}

interface DropoutPass extends Pass {
  /** @internal Of the mask; undefined where nothing is dropped. */
  readonly seed: number | undefined;
  /** @internal The generator behind that seed. */
  readonly random: Random;
  /** @internal The shape of the mask, if it is not that of the input. */
  readonly noise: readonly number[] | undefined;
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
export class Dropout<R extends number = number> extends LeafLayer<DropoutPass, R> {
  static override readonly name: string = 'Dropout';
  readonly subject: string;
  /** Probability of dropping a value. */
  readonly p: number;
  /** Of the masks, as it was given; null: as the input. */
  readonly noiseShape: readonly (number | null)[] | null;
  #random: Random;

  /**
   * @param p probability of dropping a value, 0 to 1. Default 0.5
   * @throws ERR_OPTION for another p, a noise shape that is no list of positive integers and nulls,
   *   an unknown option
   */
  constructor(p = 0.5, options: DropoutOptions = {}) {
    super();
    const { name } = new.target;
    this.subject = `${name}(${p})`;
    if (typeof p !== 'number' || !(p >= 0 && p <= 1)) {
      throw wrongValue('ERR_OPTION', name, 'p', 'a number from 0 to 1', show(p));
    }
    const { seed, noiseShape } = readSchema(this.subject, options, { seed: seedOption(), noiseShape: noise() });
    this.p = p;
    this.noiseShape = noiseShape ? Object.freeze([...noiseShape]) : null;
    this.#random = new Random(seed);
  }

  /** @internal What the next masks are drawn from: part of a checkpoint, not of the state dict. */
  get generator(): Random {
    return this.#random;
  }

  /** @throws ERR_SHAPE for a shape that `noiseShape` does not fit */
  outputShape(shape: readonly number[]): readonly number[] {
    this.noiseOf(shape);
    return shape;
  }

  /** @internal The shape of the mask of an input; undefined: the input's. @throws ERR_SHAPE */
  protected noiseOf(shape: readonly number[]): readonly number[] | undefined {
    const { noiseShape } = this;
    if (!noiseShape) return undefined;
    const fits =
      noiseShape.length === shape.length &&
      !noiseShape.some((length, i) => length !== null && length !== 1 && differs(shape[i], length));
    if (!fits) {
      const expected = `a shape that noiseShape ${showShape(noiseShape)} fits`;
      throw wrongValue('ERR_SHAPE', this.subject, 'x', expected, showSymbolic(shape));
    }
    return noiseShape.map((length, i) => (length === 1 ? 1 : shape[i]));
  }

  /** @internal Draws the seed of the mask; the generator moves when nothing can fail any more. */
  protected override begin(shape: readonly number[]): DropoutPass {
    const noise = this.noiseOf(shape);
    const random = this.#random.clone();
    const seed = this.training && this.p > 0 ? random.bits() : undefined;
    return { plan: { shape: [...shape], size: countOf(shape) }, seed, random, noise };
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

  #apply(call: Call, { plan, seed, noise }: DropoutPass, x: TensorLike, y: TensorLike): void {
    const current = backend();
    const at = call.input(x);
    const to = call.output(y, { x, at });
    const { size, shape } = plan;
    if (size === 0) return;
    if (seed === undefined) activate(current, at, to, NO_ACTIVATION, size);
    else if (!noise) this.#drop(at, to, seed, size);
    else this.#dropTogether(call, at, to, seed, shape, noise);
  }

  #drop(x: number, y: number, seed: number, size: number): void {
    training(backend()).kernels.dropout_f32(
      x,
      y,
      seed,
      Math.min(Math.floor((1 - this.p) * 2 ** 32), 2 ** 32 - 1),
      this.p < 1 ? Math.fround(1 / (1 - this.p)) : 0,
      size,
    );
  }

  /**
   * The same mask along axes on which the noise has length 1: 0, or x times what is kept of a 1.
   */
  #dropTogether(
    call: Call,
    x: number,
    y: number,
    seed: number,
    shape: readonly number[],
    noise: readonly number[],
  ): void {
    const { heap } = backend();
    const many = countOf(noise);
    const mask = call.scratch(many * 4);
    fill(heap, mask, many, 1);
    this.#drop(mask, mask, seed, many);
    const { f32 } = heap;
    const [from, to, kept] = [x, y, mask].map(indexOf);
    eachRow(walkOver(shape, [shape, noise]), ([i, k], length, [, step]) => {
      if (step > 0) maskRow(f32, from + i, kept + k, to + i, length);
      else if (f32[kept + k]) scaleRow(f32, from + i, f32[kept + k], to + i, length);
      else f32.fill(0, to + i, to + i + length);
    });
  }
}

/** y = x·mask, and 0 where the mask is 0, whatever x is. */
function maskRow(f32: Float32Array, x: number, mask: number, y: number, length: number): void {
  for (let i = 0; i < length; i++) {
    const factor = f32[mask + i];
    f32[y + i] = factor === 0 ? 0 : f32[x + i] * factor;
  }
}

function scaleRow(f32: Float32Array, x: number, factor: number, y: number, length: number): void {
  for (let i = 0; i < length; i++) f32[y + i] = f32[x + i] * factor;
}

type NoiseShape = readonly (number | null)[];

function noise(): Option<NoiseShape | undefined> {
  return optional<NoiseShape>(
    required((subject, name, value) => {
      const fits = (length: unknown) => length === null || (Number.isSafeInteger(length) && (length as number) > 0);
      if (Array.isArray(value) && Array.from(value).every(fits)) return;
      throw wrongKind('ERR_OPTION', subject, name, 'an array of positive integers and nulls', show(value));
    }),
  );
}

/** Drops whole channels. */
abstract class FeatureDropout<R extends number> extends Dropout<R> {
  /** Where the channels lie. */
  readonly layout: Layout;

  constructor(p: number | undefined, options: FeatureDropoutOptions, name: string) {
    const schema = { seed: seedOption(), layout: layoutOption() };
    const { seed, layout } = readSchema(`${name}(${p ?? 0.5})`, options, schema);
    super(p, { seed });
    this.layout = layout;
  }

  /** @internal Number of axes beside samples and channels. */
  protected abstract get axes(): number;

  /** @internal */
  protected override noiseOf(shape: readonly number[]): readonly number[] {
    const rank = this.axes + 2;
    if (shape.length !== rank) {
      const context = `shape ${showSymbolic(shape)}`;
      throw wrongValue('ERR_SHAPE', this.subject, 'x', `rank ${rank}`, `rank ${shape.length}`, context);
    }
    const channels = this.layout === 'channels-first' ? 1 : rank - 1;
    return shape.map((length, axis) => (axis === 0 || axis === channels ? length : 1));
  }
}

/**
 * Dropout of whole channels (Tompson et al. 2015), `[N, C, L]` or with channels last `[N, L, C]`.
 * In training
 *
 *   y = 0 with probability p, else x/(1 − p)
 *
 * for each channel of each sample; in evaluation y = x. As PyTorch's Dropout1d.
 *
 *     const dropout = new Dropout1d(0.2, { seed: 1 });
 */
export class Dropout1d extends FeatureDropout<3> {
  /** The class's name, also where the library was minified. */
  static override readonly name: string = 'Dropout1d';

  /**
   * @param p probability of dropping a channel, 0 to 1. Default 0.5
   * @throws ERR_OPTION for another p or layout, or an unknown option
   */
  constructor(p?: number, options: FeatureDropoutOptions = {}) {
    super(p, options, 'Dropout1d');
  }

  /** @internal */
  protected override get axes(): number {
    return 1;
  }
}

/**
 * Dropout of whole channels, `[N, C, H, W]` or with channels last `[N, H, W, C]`. Formula and
 * options are those of `Dropout1d`.
 *
 *     const dropout = new Dropout2d(0.2, { layout: 'channels-last' });
 */
export class Dropout2d extends FeatureDropout<4> {
  /** The class's name, also where the library was minified. */
  static override readonly name: string = 'Dropout2d';

  /**
   * @param p probability of dropping a channel, 0 to 1. Default 0.5
   * @throws as `Dropout1d`
   */
  constructor(p?: number, options: FeatureDropoutOptions = {}) {
    super(p, options, 'Dropout2d');
  }

  /** @internal */
  protected override get axes(): number {
    return 2;
  }
}

/**
 * Dropout of whole channels, `[N, C, D, H, W]` or with channels last `[N, D, H, W, C]`. Formula and
 * options are those of `Dropout1d`.
 *
 *     const dropout = new Dropout3d(0.2);
 */
export class Dropout3d extends FeatureDropout<5> {
  /** The class's name, also where the library was minified. */
  static override readonly name: string = 'Dropout3d';

  /**
   * @param p probability of dropping a channel, 0 to 1. Default 0.5
   * @throws as `Dropout1d`
   */
  constructor(p?: number, options: FeatureDropoutOptions = {}) {
    super(p, options, 'Dropout3d');
  }

  /** @internal */
  protected override get axes(): number {
    return 3;
  }
}
