import { show, wrongKind, wrongMoment, wrongValue } from '../errors.ts';
import { type CompiledNetwork, type CompileOptions, compile } from '../infer/compile.ts';
import { backend } from '../kernels/backend.ts';
import { Layer, type Stage } from '../layers/layer.ts';
import type { StateSlots } from '../layers/state.ts';
import { Region } from '../tensors/block.ts';
import { checkCallOptions, checkOut, copyLike, locate, plainCopy } from '../tensors/call.ts';
import { checkShape, countOf, shapeOf } from '../tensors/shape.ts';
import { type Result, Tensor, type TensorLike } from '../tensors/tensor.ts';
import type { Parameter } from '../types.ts';
import type { Heap } from '../wasm/memory.ts';

/** The tensors of one input shape, over the network's memory. */
interface Stations {
  /** Where a plain input is copied. */
  readonly input: Tensor;
  /** The output of each layer. */
  readonly outputs: readonly Tensor[];
  /** The gradient with respect to the input of each layer, in two buffers by turns. */
  readonly gradients: readonly Tensor[];
}

/** The network's own memory; `all` is its regions in the order of `input`, `outputs`, `gradients`. */
interface Memory {
  readonly input: Region;
  readonly outputs: readonly Region[];
  readonly gradients: readonly [Region, Region];
  readonly all: readonly Region[];
}

function reserveMemory(heap: Heap, layers: number): Memory {
  const input = new Region(heap);
  const outputs = Array.from({ length: layers }, () => new Region(heap));
  const gradients = [new Region(heap), new Region(heap)] as const;
  return { input, outputs, gradients, all: [input, ...outputs, ...gradients] };
}

/** What the last forward left for backward. */
interface Current {
  readonly stations: Stations;
  /** What the first layer was given. */
  readonly input: TensorLike;
  readonly shape: readonly number[];
}

/**
 * Layers in a row.
 *
 * Memory is planned at the first forward of a shape and reused: later steps take none, but for scratch that they give back. Where the input is a Tensor, so
 * is the output, and it belongs to the network: the next forward of that shape writes over it. Where the input is a plain array, the
 * output is a plain array of its own.
 */
export class Sequential extends Layer {
  static override readonly name: string = 'Sequential';
  readonly subject = 'Sequential';
  readonly layers: readonly Layer[];
  #memory: Memory | undefined;
  /** By input shape. Forgotten when a larger shape moves the memory. */
  #stations = new Map<string, Stations>();
  #current: Current | undefined;

  constructor(...layers: Layer[]) {
    super();
    for (const layer of layers) {
      if (!(layer instanceof Layer)) throw wrongKind('ERR_TYPE', this.subject, 'a layer', 'a Layer', showLayer(layer));
    }
    const leaves = layers.flatMap((layer) => layer.named().map(([, leaf]) => leaf));
    const twice = leaves.find((layer, i) => leaves.indexOf(layer) !== i);
    if (twice) {
      throw wrongValue(
        'ERR_OPTION',
        this.subject,
        'each layer',
        'a place of its own, since it keeps what its backward needs',
        `${twice.subject} twice`,
      );
    }
    this.layers = layers;
  }

  override train(on = true): this {
    super.train(on);
    for (const layer of this.layers) layer.train(on);
    return this;
  }

  outputShape(shape: readonly number[]): readonly number[] {
    return this.layers.reduce((current, layer) => layer.outputShape(current), shape);
  }

  override parameters(): Parameter[] {
    return this.layers.flatMap((layer) => layer.parameters());
  }

  /**
   * Runs all layers. Shapes are checked through the whole network first; if a layer throws all the same, layers before it get back the
   * statistics they had.
   *
   * @throws what the layers throw
   */
  forward<X extends TensorLike, O extends TensorLike = Result<X>>(x: X, options: { out?: O } = {}): O {
    checkCallOptions(this.subject, options, ['out']);
    const given = locate(this.subject, 'x', x);
    const shapes = [shapeOf(given)];
    for (const layer of this.layers) shapes.push(layer.outputShape(shapes[shapes.length - 1]));
    const product = {
      subject: this.subject,
      like: x,
      shape: shapes[shapes.length - 1],
      out: options.out,
      inputs: { x: given },
      aliasing: 'apart',
    } as const;
    const target = options.out === undefined ? undefined : checkOut(product);

    const stations = this.#stationsFor(shapes);
    const restore = this.checkpoint();
    this.#current = undefined; // what an earlier forward left is written over from here on
    let current: TensorLike = given;
    if (!(given instanceof Tensor) || this.#owns(given)) {
      stations.input.data.set(given.data);
      current = stations.input;
    }
    const first = current;
    const last = target instanceof Tensor && !this.#owns(target) ? target : stations.outputs.at(-1);
    try {
      this.layers.forEach((layer, i) => {
        current = layer.forward(current, { out: i === this.layers.length - 1 ? last : stations.outputs[i] });
      });
    } catch (error) {
      restore();
      throw error;
    }
    this.#current = { stations, input: first, shape: shapes[0] };
    return deliver(current, x, options.out, target) as O;
  }

  /**
   * Gradient of the last forward through all layers; adds to the gradients of all parameters.
   *
   * @param options.inputGradient `false`: the gradient with respect to the network's input is not worked out, and nothing is returned,
   *   which saves the first layer a matrix product. Default `true`
   * @throws ERR_MODE before a forward; what the layers throw
   */
  backward<D extends TensorLike, O extends TensorLike = Result<D>>(
    dy: D,
    options: { out?: O; inputGradient?: true },
  ): O;
  backward<D extends TensorLike>(dy: D, options: { inputGradient: false }): undefined;
  backward<D extends TensorLike, O extends TensorLike = Result<D>>(dy: D, options?: { out?: O }): O;
  backward(dy: TensorLike, options: { out?: TensorLike; inputGradient?: boolean } = {}): TensorLike | undefined {
    checkCallOptions(this.subject, options, ['out', 'inputGradient']);
    const { stations, input, shape } = this.checkSaved();
    const located = locate(this.subject, 'dy', dy);
    checkShape(this.subject, 'dy', shapeOf(located), this.outputShape(shape), 'shape');
    // a gradient in the network's own buffers would be written over while it is read
    const given = this.detached(located);
    const product = {
      subject: this.subject,
      like: dy,
      shape,
      out: options.out,
      inputs: { dy: given, x: input },
      aliasing: 'apart',
    } as const;
    const target = options.out === undefined ? undefined : checkOut(product);
    const first = target instanceof Tensor && !this.#owns(target) ? target : stations.gradients[0];
    let current: TensorLike = given;
    for (let i = this.layers.length - 1; i >= 0; i--) {
      if (i === 0 && options.inputGradient === false) {
        this.layers[0].backwardParameters(current);
        return undefined;
      }
      current = this.layers[i].backward(current, { out: i === 0 ? first : stations.gradients[i] });
    }
    return options.inputGradient === false ? undefined : deliver(current, dy, options.out, target);
  }

  /** Layer by layer over all micro-batches. Values between layers are plain arrays: they are held until backward. @throws what the layers throw */
  override forwardMicroBatches<X extends TensorLike>(xs: readonly X[]): Result<X>[] {
    const restore = this.checkpoint();
    try {
      const first: TensorLike[] = xs.map((x) => plainCopy(locate(this.subject, 'x', x)));
      const last = this.layers.reduce((current, layer) => layer.forwardMicroBatches(current), first);
      return last.map((y, i) => copyLike(y, xs[i]));
    } catch (error) {
      restore();
      throw error;
    }
  }

  /** @throws ERR_MODE before such a forward; what the layers throw */
  override backwardMicroBatches<D extends TensorLike>(dys: readonly D[]): Result<D>[] {
    const last: TensorLike[] = dys.map((dy) => plainCopy(locate(this.subject, 'dy', dy)));
    const first = this.layers.reduceRight((current, layer) => layer.backwardMicroBatches(current), last);
    return first.map((dx, i) => copyLike(dx, dys[i]));
  }

  /** @internal Throws before the first gradient has been added to. */
  override checkSaved(): Current {
    if (!this.#current) {
      throw wrongMoment('ERR_MODE', this.subject, 'backward', 'a forward before it', 'none');
    }
    for (const layer of this.layers) layer.checkSaved();
    return this.#current;
  }

  override backwardParameters(dy: TensorLike): void {
    this.backward(dy, { inputGradient: false });
  }

  /**
   * The network in evaluation form as one function: batch norm folded into the linear layer before or behind it, activations and residual
   * additions fused, dropout gone, weights packed, buffers planned. It gives what `net.eval().forward(x)` gives, within rounding, and later
   * changes of the network do not reach it.
   *
   * @throws ERR_MODE for a normalization without running statistics; ERR_OPTION, ERR_MEMORY
   */
  compile(options: CompileOptions = {}): CompiledNetwork {
    return compile(this.stages(), options);
  }

  override stages(): Stage[] {
    return this.layers.flatMap((layer, i) => layer.stages().map((stage) => placed(stage, i, layer.subject)));
  }

  override named(prefix = ''): readonly (readonly [name: string, layer: Layer])[] {
    return this.layers.flatMap((layer, i) => layer.named(prefix === '' ? `${i}` : `${prefix}.${i}`));
  }

  override stateSlots(): StateSlots {
    const slots: StateSlots = {};
    this.layers.forEach((layer, i) => {
      for (const [name, slot] of Object.entries(layer.stateSlots())) slots[`${i}.${name}`] = slot;
    });
    return slots;
  }

  override checkpoint(): () => void {
    const back = this.layers.map((layer) => layer.checkpoint());
    return () => {
      for (const restore of back) restore?.();
    };
  }

  /** @internal A tensor that the next call writes over, as a copy. */
  detached(x: TensorLike): TensorLike {
    return x instanceof Tensor && this.#owns(x) ? plainCopy(x) : x;
  }

  override dispose(): void {
    for (const layer of this.layers) layer.dispose();
    this.#forget();
    for (const region of this.#memory?.all ?? []) region.release();
    this.#memory = undefined;
  }

  /** Does a tensor lie in the network's own memory? */
  #owns(x: Tensor): boolean {
    return !!this.#memory?.all.some((region) => region.atLeast(0) === x.ptr);
  }

  #forget(): void {
    for (const stations of this.#stations.values()) for (const tensor of tensorsOf(stations)) tensor.dispose();
    this.#stations.clear();
    this.#current = undefined;
  }

  /** Finds the tensors for a batch of these shapes, making memory larger if it must be. */
  #stationsFor(shapes: readonly (readonly number[])[]): Stations {
    const key = shapes[0].join('x');
    const known = this.#stations.get(key);
    // a caller may have disposed of what an earlier call returned: the memory is still the network's, the tensor is not
    if (known && !tensorsOf(known).some((tensor) => tensor.disposed)) return known;
    this.#memory ??= reserveMemory(backend().heap, this.layers.length);
    const { input, outputs, gradients, all } = this.#memory;
    const bytes = shapes.map((shape) => 4 * countOf(shape));
    const least = [...bytes, Math.max(...bytes), Math.max(...bytes)].map((size) => Math.max(size, 4));
    if (all.some((region, i) => region.bytes < least[i])) this.#forget();
    all.forEach((region, i) => {
      region.atLeast(least[i]);
    });
    const stations = {
      input: new Tensor(shapes[0], input.atLeast(0)),
      outputs: outputs.map((region, i) => new Tensor(shapes[i + 1], region.atLeast(0))),
      gradients: outputs.map((_, i) => new Tensor(shapes[i], gradients[i % 2].atLeast(0))),
    };
    this.#stations.set(key, stations);
    return stations;
  }
}

function tensorsOf({ input, outputs, gradients }: Stations): Tensor[] {
  return [input, ...outputs, ...gradients];
}

/** What is no layer here, but may be one elsewhere. */
function showLayer(value: unknown): string {
  const { subject, forward } = (value ?? {}) as Partial<Layer>;
  if (typeof subject !== 'string' || typeof forward !== 'function') return show(value);
  return `${subject} of another copy of evenkeel`;
}

/** A stage with its place in the network before what it is: `1.0 Linear(4, 3)`. */
function placed(stage: Stage, index: number, subject: string): Stage {
  const source = stage.source ? `${index}.${stage.source}` : `${index} ${subject}`;
  if (stage.kind !== 'residual') return { ...stage, source };
  return { ...stage, source, branch: stage.branch.map((inner) => placed(inner, index, subject)) };
}

/** Hands the last result over: where it was asked for, or in memory of the input's kind. */
function deliver(
  result: TensorLike,
  like: TensorLike,
  out: TensorLike | undefined,
  target: TensorLike | undefined,
): TensorLike {
  if (out) {
    if (target && target !== result) target.data.set(result.data);
    return out;
  }
  if (like instanceof Tensor) return result;
  return copyLike(result, like);
}
