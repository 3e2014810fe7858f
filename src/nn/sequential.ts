import { inPart, show, wrongKind, wrongValue } from '../errors.ts';
import type { OperationGraph, Value } from '../graph/graph.ts';
import { type CompiledNetwork, type CompileOptions, compile } from '../infer/compile.ts';
import { backend } from '../kernels/backend.ts';
import { Layer } from '../layers/layer.ts';
import { copyGradients, gradientsOf, restoreGradients } from '../layers/parameter.ts';
import type { StateSlots } from '../layers/state.ts';
import { Region } from '../tensors/block.ts';
import { checkCallOptions, copyLike, locate, makeLike, plainCopy, targetOf } from '../tensors/call.ts';
import { noForward } from '../tensors/kept.ts';
import { checkGradients, disposeAll, locateAll, noMicroBatches } from '../tensors/several.ts';
import { checkShape, countOf, sameShape, shapeOf } from '../tensors/shape.ts';
import { type Result, Tensor, type TensorLike } from '../tensors/tensor.ts';
import type { Parameter } from '../types.ts';
import type { Heap } from '../wasm/memory.ts';

/** The tensors of one input shape, over the network's memory. */
interface Stations {
  /** Where a plain input is copied: in two buffers by turns, so that a forward that fails leaves what the one before it was given. */
  readonly inputs: readonly [Tensor, Tensor];
  /** The output of each layer. */
  readonly outputs: readonly Tensor[];
  /** The gradient with respect to the input of each layer, in two buffers by turns. */
  readonly gradients: readonly Tensor[];
}

/** The network's own memory: `all` is its regions, those of inputs first, then of outputs, then of gradients; and its tensors by input shape. */
interface Memory {
  readonly inputs: readonly [Region, Region];
  readonly outputs: readonly Region[];
  readonly gradients: readonly [Region, Region];
  readonly all: readonly Region[];
  readonly stations: Map<string, Stations>;
}

/** Shapes whose tensors are remembered. */
const MOST_SHAPES = 8;

function memoryFor(heap: Heap, layers: number): Memory {
  const pair = () => [new Region(heap), new Region(heap)] as const;
  const inputs = pair();
  const outputs = Array.from({ length: layers }, () => new Region(heap));
  const gradients = pair();
  return { inputs, outputs, gradients, all: [...inputs, ...outputs, ...gradients], stations: new Map() };
}

function releaseMemory(memory: Memory | undefined): void {
  for (const stations of memory?.stations.values() ?? []) disposeAll(tensorsOf(stations));
  for (const region of memory?.all ?? []) region.release();
}

/** What the last forward left for backward. */
interface Current {
  readonly stations: Stations;
  /** What the first layer was given. */
  readonly input: TensorLike;
  readonly shape: readonly number[];
  /** How statistics and generators were before it: for doing it again. */
  readonly before: () => void;
  /** The modes in which the layers were. */
  readonly modes: readonly boolean[];
}

/**
 * Layers in a row.
 *
 * Memory is planned at the first forward of a shape and reused: later steps take none, but for scratch that they give back. Where the input is a Tensor, so
 * is the output, and it belongs to the network: the next forward, of whatever shape, writes over it, and it is disposed when a larger batch moves the
 * network's memory or its shape has not been seen for a while. Where the input is a plain array, the output is a plain array of its own.
 */
export class Sequential extends Layer {
  static override readonly name: string = 'Sequential';
  readonly layers: readonly Layer[];
  /** The layers, and those they are made of. */
  readonly #leaves: readonly Layer[];
  /** Parameters of each layer, and copies of their gradients in a backward. */
  readonly #parameters: readonly (readonly Parameter[])[];
  readonly #gradients: readonly Float32Array[][];
  #memory: Memory | undefined;
  #current: Current | undefined;
  /** Shapes of the outputs of the last forward of micro-batches. */
  #microShapes: readonly (readonly number[])[] | undefined;

  get subject(): string {
    return 'Sequential';
  }

  constructor(...layers: Layer[]) {
    super();
    for (const layer of layers) {
      if (!(layer instanceof Layer)) throw wrongKind('ERR_TYPE', this.subject, 'a layer', 'a Layer', showLayer(layer));
    }
    const leaves = layers.flatMap((layer) => layer.named().map(([, leaf]) => leaf));
    const seen = new Set<Layer>();
    const twice = leaves.find((layer) => seen.size === seen.add(layer).size);
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
    this.#leaves = leaves;
    this.#parameters = layers.map((layer) => layer.parameters());
    this.#gradients = layers.map(() => []);
  }

  override train(on = true): this {
    super.train(on);
    for (const layer of this.layers) layer.train(on);
    return this;
  }

  /** @throws ERR_SHAPE, by the layer's place */
  outputShape(shape: readonly number[]): readonly number[] {
    return this.layers.reduce((current, layer, i) => this.#at(i, () => layer.outputShape(current)), shape);
  }

  /** @internal */
  override checkForward(shape: readonly number[]): readonly number[] {
    return this.#shapesFrom(shape).at(-1)!;
  }

  /** The shapes of all values, after checking that every layer takes its input. */
  #shapesFrom(shape: readonly number[]): (readonly number[])[] {
    const { layers } = this;
    const shapes = [shape];
    let i = 0;
    try {
      for (; i < layers.length; i++) shapes.push(layers[i].checkForward(shapes[i]));
    } catch (error) {
      throw inPart(this.subject, i, error);
    }
    return shapes;
  }

  /** Work of a layer; its errors say where it stands. */
  #at<T>(index: number, work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw inPart(this.subject, index, error);
    }
  }

  override parameters(): Parameter[] {
    return this.layers.flatMap((layer) => layer.parameters());
  }

  /**
   * Runs all layers. What can be told from the shape is checked through the whole network first; if a layer throws all the same, the network is as it was
   * before: layers have the statistics they had, and backward still finds what the forward before left.
   *
   * @throws what the layers throw, by the layer's place
   */
  forward<X extends TensorLike, O extends TensorLike = Result<X>>(x: X, options: { out?: O } = {}): O {
    checkCallOptions(this.subject, options, ['out']);
    const given = locate(this.subject, 'x', x);
    const shapes = this.#shapesFrom(shapeOf(given));
    const shape = shapes[shapes.length - 1];
    const product = {
      subject: this.subject,
      like: x,
      shape,
      out: options.out,
      inputs: { x: given },
      aliasing: 'apart',
    } as const;
    const target = targetOf(product);
    const own = target || x instanceof Tensor ? undefined : makeLike(x, shape);

    const last = this.#current;
    const isSame = last && this.#memory && sameShape(last.shape, shapes[0]) && isWhole(last.stations);
    const memory = isSame ? this.#memory! : this.#memoryFor(shapes);
    try {
      const stations = isSame ? last.stations : stationsIn(memory, shapes);
      const before = this.checkpoint();
      try {
        let input: TensorLike = given;
        if (!(given instanceof Tensor) || this.#owns(given)) {
          const [first, second] = stations.inputs;
          input = last?.input instanceof Tensor && last.input.ptr === first.ptr ? second : first;
          input.data.set(given.data);
        }
        const into = target instanceof Tensor && !this.#owns(target) ? target : stations.outputs.at(-1);
        const result = this.#run(input, stations, into);
        this.#current = {
          stations,
          input,
          shape: shapes[0],
          before,
          modes: this.#leaves.map(({ training }) => training),
        };
        if (memory !== this.#memory) releaseMemory(this.#memory);
        this.#memory = memory;
        return deliver(result, options.out, target, own) as O;
      } catch (error) {
        before();
        this.#redo(last);
        throw error;
      }
    } catch (error) {
      if (memory !== this.#memory) releaseMemory(memory);
      throw error;
    }
  }

  #run(input: TensorLike, { outputs }: Stations, into: Tensor | undefined): TensorLike {
    const { layers } = this;
    const last = layers.length - 1;
    let current = input;
    let i = 0;
    try {
      for (; i <= last; i++) current = layers[i].forward(current, { out: i === last ? into : outputs[i] });
    } catch (error) {
      throw inPart(this.subject, i, error);
    }
    return current;
  }

  /** Runs a forward once more, after a later one has failed in the middle: backward then finds what it left. */
  #redo(last: Current | undefined): void {
    if (!last) return;
    const modes = this.#leaves.map(({ training }) => training);
    const set = (to: readonly boolean[]) => {
      this.#leaves.forEach((leaf, i) => {
        leaf.train(to[i]);
      });
    };
    // in training, where layers remember what a forward may change
    set(modes.map(() => true));
    const after = this.checkpoint();
    try {
      last.before();
      set(last.modes);
      this.#run(last.input, last.stations, last.stations.outputs.at(-1));
    } catch {
      this.#current = undefined;
    } finally {
      after();
      set(modes);
    }
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
    const target = targetOf(product);
    const wants = options.inputGradient !== false;
    const own = target || dy instanceof Tensor || !wants ? undefined : makeLike(dy, shape);
    const first = target instanceof Tensor && !this.#owns(target) ? target : stations.gradients[0];
    const { layers } = this;
    let current: TensorLike = given;
    let i = layers.length - 1;
    try {
      for (; i > 0; i--) {
        copyGradients(this.#parameters[i], this.#gradients[i]);
        current = layers[i].backward(current, { out: stations.gradients[i] });
      }
      // after an error the first layer has added nothing
      if (i === 0 && wants) current = layers[0].backward(current, { out: first });
      else if (i === 0) layers[0].backwardParameters(current);
    } catch (error) {
      for (let k = Math.max(i, 1); k < layers.length; k++) restoreGradients(this.#parameters[k], this.#gradients[k]);
      throw inPart(this.subject, i, error);
    }
    return wants ? deliver(current, options.out, target, own) : undefined;
  }

  /** Layer by layer over all micro-batches. Values between layers are plain arrays: they are held until backward. @throws what the layers throw */
  override forwardMicroBatches<X extends TensorLike>(xs: readonly X[]): Result<X>[] {
    const first = locateAll(this.subject, 'micro-batch', xs).map(plainCopy);
    const shapes = first.map(({ shape }) => this.outputShape(shape));
    const end = this.holdMicroBatches();
    const restore = this.checkpoint();
    try {
      const last = this.layers.reduce<TensorLike[]>(
        (current, layer, i) => this.#at(i, () => layer.forwardMicroBatches(current)),
        first,
      );
      const ys = last.map((y, i) => copyLike(y, xs[i]));
      end(false);
      this.forget();
      this.#microShapes = shapes;
      return ys;
    } catch (error) {
      end(true);
      restore();
      this.#redo(this.#current);
      throw error;
    }
  }

  /** @throws ERR_MODE before such a forward; what the layers throw. Nothing has changed then */
  override backwardMicroBatches<D extends TensorLike>(dys: readonly D[]): Result<D>[] {
    if (!this.#microShapes) throw noMicroBatches(this.subject);
    const last = checkGradients(this.subject, dys, this.#microShapes).map(plainCopy);
    const restore = gradientsOf(this.parameters());
    try {
      const first = this.layers.reduceRight<TensorLike[]>(
        (current, layer, i) => this.#at(i, () => layer.backwardMicroBatches(current)),
        last,
      );
      return first.map((dx, i) => copyLike(dx, dys[i]));
    } catch (error) {
      restore();
      throw error;
    }
  }

  /** @internal */
  override holdMicroBatches(): (restore: boolean) => void {
    const ends = this.layers.map((layer) => layer.holdMicroBatches());
    const shapes = this.#microShapes;
    return (restore) => {
      for (const end of ends) end(restore);
      if (restore) this.#microShapes = shapes;
    };
  }

  /** @internal */
  override forget(): void {
    this.#current = undefined;
    for (const layer of this.layers) layer.forget();
  }

  /** @internal Throws before the first gradient has been added to. */
  override checkSaved(): Current {
    if (!this.#current) throw noForward(this.subject);
    this.layers.forEach((layer, i) => {
      this.#at(i, () => layer.checkSaved());
    });
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
   * @throws ERR_MODE for a recurrent cell or norm; ERR_OPTION, ERR_MEMORY
   */
  compile(options: CompileOptions = {}): CompiledNetwork {
    const network = {
      inputs: [{ name: 'x', shape: null }],
      outputNames: ['output'],
      trace: (graph: OperationGraph, [x]: readonly Value[]) => [this.trace(graph, x)],
    };
    return compile(network, options);
  }

  override trace(graph: OperationGraph, x: Value): Value {
    return this.layers.reduce((value, layer, i) => graph.trace(`${i}`, layer, value), x);
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
    releaseMemory(this.#memory);
    this.#memory = this.#current = this.#microShapes = undefined;
  }

  /** Does a tensor lie in the network's own memory? */
  #owns(x: Tensor): boolean {
    return !!this.#memory?.all.some((region) => region.atLeast(0) === x.ptr);
  }

  /** Memory for values of these shapes: what there is, or more of it, while the other is still there. */
  #memoryFor(shapes: readonly (readonly number[])[]): Memory {
    const bytes = shapes.map((shape) => Math.max(4 * countOf(shape), 4));
    const most = Math.max(...bytes);
    const least = [bytes[0], bytes[0], ...bytes.slice(1), most, most];
    const held = this.#memory;
    if (held?.all.every((region, i) => region.bytes >= least[i])) return held;
    const memory = memoryFor(backend().heap, this.layers.length);
    try {
      memory.all.forEach((region, i) => {
        region.atLeast(Math.max(least[i], held?.all[i].bytes ?? 0));
      });
    } catch (error) {
      releaseMemory(memory);
      throw error;
    }
    return memory;
  }
}

/** The tensors for a batch of these shapes, over memory that is large enough. */
function stationsIn(
  { inputs, outputs, gradients, stations }: Memory,
  shapes: readonly (readonly number[])[],
): Stations {
  const key = shapes[0].join('x');
  const known = stations.get(key);
  stations.delete(key); // to be put behind the others, as the one used last
  // a caller may have disposed of what an earlier call returned: the memory is still the network's, the tensor is not
  const found: Stations =
    known && isWhole(known)
      ? known
      : {
          inputs: [new Tensor(shapes[0], inputs[0].atLeast(0)), new Tensor(shapes[0], inputs[1].atLeast(0))],
          outputs: outputs.map((region, i) => new Tensor(shapes[i + 1], region.atLeast(0))),
          gradients: outputs.map((_, i) => new Tensor(shapes[i], gradients[i % 2].atLeast(0))),
        };
  stations.set(key, found);
  if (stations.size > MOST_SHAPES) {
    const [oldest, left] = stations.entries().next().value!;
    disposeAll(tensorsOf(left));
    stations.delete(oldest);
  }
  return found;
}

/** Does each of its tensors live, of those that a caller has seen? */
function isWhole({ outputs, gradients }: Stations): boolean {
  return !outputs.at(-1)?.disposed && !gradients[0]?.disposed;
}

function tensorsOf({ inputs, outputs, gradients }: Stations): Tensor[] {
  return [...inputs, ...outputs, ...gradients];
}

/** What is no layer here, but may be one elsewhere. */
function showLayer(value: unknown): string {
  const { subject, forward } = (value ?? {}) as Partial<Layer>;
  if (typeof subject !== 'string' || typeof forward !== 'function') return show(value);
  return `${subject} of another copy of evenkeel`;
}

/** Hands the last result over: where it was asked for, in a plain array of the caller's, or as it is. */
function deliver(
  result: TensorLike,
  out: TensorLike | undefined,
  target: TensorLike | undefined,
  own: TensorLike | undefined,
): TensorLike {
  const to = target ?? own;
  if (to && to !== result) to.data.set(result.data);
  return out ?? own ?? result;
}
