// A graph of layers that trains: forward with a buffer for each value, and back with the gradients
// of each added up. Sequential, Residual and Graph are such networks, and differ in how they are
// written down.

import { inPart, show, wrongKind, wrongValue } from '../errors.ts';
import type { OperationGraph, Value } from '../graph/graph.ts';
import { backend } from '../kernels/backend.ts';
import { IDENTITY } from '../kernels/inference/calls.ts';
import { Layer } from '../layers/layer.ts';
import { copyGradients, gradientsOf, restoreGradients } from '../layers/parameter.ts';
import type { StateSlots } from '../layers/state.ts';
import { Region } from '../tensors/block.ts';
import { checkCallOptions, copyLike, locate, makeLike, plainCopy, sameMemory, targetOf } from '../tensors/call.ts';
import { noForward } from '../tensors/kept.ts';
import { checkBatches, checkCount, checkGradient, disposeAll, noMicroBatches } from '../tensors/several.ts';
import { countOf, sameShape, shapeOf, symbolically } from '../tensors/shape.ts';
import { type Result, Tensor, type TensorLike } from '../tensors/tensor.ts';
import type { Parameter } from '../types.ts';
import { store } from '../wasm/views.ts';
import { type GradientPlan, type NetworkNode, planGradients, type Wiring } from './gradient-plan.ts';
import { total } from './operations.ts';

type Shape = readonly number[];
type Some<T> = readonly (T | undefined)[];

/** What `forward` of a network takes besides its input. */
export interface NetworkOptions<O = TensorLike> {
  /** Where to write the output: memory apart from x. */
  out?: O;
  /** How many steps of each sequence count, `[N]`: for the layers that take it. */
  lengths?: ArrayLike<number>;
  /** Which places count (`MaskOptions.mask`): for the layers that take it. */
  mask?: object;
}

/** A layer in its place. */
interface NamedLayer {
  readonly name: string;
  readonly layer: Layer;
}

/** A node, and what a network needs to know of its layer. */
interface Node extends NetworkNode {
  /** Options of `forward` that it takes. */
  readonly passed: readonly string[];
  /** Its parameters, which a layer may not have before its first forward. */
  parameters?: readonly Parameter[];
  /** Copies of their gradients, in a backward. */
  readonly gradients: Float32Array[];
}

/**
 * The network's own memory, and its tensors by input shapes. Two regions for each input, where it
 * is copied if it has to be: by turns, so that a forward that fails leaves what the one before it
 * was given; then IDENTITY, the values of nodes, and slots of gradients.
 */
interface Memory {
  readonly regions: readonly Region[];
  readonly buffers: Map<string, Buffers>;
}

/** The tensors for inputs of some shapes, over the network's memory. */
interface Buffers {
  readonly memory: Memory;
  /** Shapes of all values. */
  readonly shapes: readonly Shape[];
  readonly plan: GradientPlan;
  /** Where IDENTITY lies. */
  readonly identity: number;
  /** Of each value; none of an input. */
  readonly values: Some<Tensor>;
  /** Of inputs that had to be copied. */
  readonly copies: (Tensor | undefined)[];
  readonly gradients: readonly Tensor[];
  /** Those that a caller may have seen. */
  readonly seen: Some<Tensor>;
}

const NONE: readonly undefined[] = [];

/** Shapes whose tensors are remembered. */
const MOST_SHAPES = 8;

/** What the last forward left for backward. */
interface Current {
  readonly buffers: Buffers;
  /** Inputs, as the nodes were given them, and the values of nodes. */
  readonly values: readonly TensorLike[];
  readonly options: object;
  /** How statistics and generators were before it: for doing it again. */
  readonly before: () => void;
  /** The modes in which the layers were. */
  readonly modes: readonly boolean[];
}

/** Of a forward of a micro-batch: its values, and their shapes. */
interface MicroBatch {
  readonly values: TensorLike[];
  readonly shapes: readonly Shape[];
}

/**
 * Layers wired together: the base of `Sequential`, `Residual` and `Graph`.
 *
 *     function train(net: Network, x: TensorLike, labels: number[]) {
 *       net.backward(crossEntropy(net.forward(x), labels).grad, { inputGradient: false });
 *     }
 *
 * Memory is planned at the first forward of a shape and reused: later steps take none, but for
 * scratch that they give back. If the input is a Tensor, so is the output, and it belongs to the
 * network: the next forward, of whatever shape, writes over it. It is disposed when a larger batch
 * moves the network's memory, or when its shape has not been seen for a while. If the input is a
 * plain array, the output is a plain array of its own.
 */
export abstract class Network extends Layer {
  #inputs = 1;
  #outputs: readonly number[] = [0];
  #nodes: readonly Node[] = [];
  /** The nodes that are layers, and those that layers are made of. */
  #layers: readonly (Node & NamedLayer)[] = [];
  #leaves: readonly NamedLayer[] = [];
  /** Names of all options that a forward may have. */
  #known: readonly string[] = [];
  /**
   * Which outputs may be written to the caller's memory at once: nobody in the network reads them.
   */
  #direct: readonly boolean[] = [];
  #memory: Memory | undefined;
  #current: Current | undefined;
  #micro: readonly MicroBatch[] | undefined;
  #isBusy = false;

  /** @internal What it is made of. */
  get wiring(): Wiring {
    return { inputs: this.#inputs, nodes: this.#nodes, outputs: this.#outputs };
  }

  /** @internal Traces its nodes into a graph of operations; returns its outputs. */
  traceAll(graph: OperationGraph, inputs: readonly Value[]): Value[] {
    const values = [...inputs];
    for (const { name, layer, operation, inputs: own } of this.#nodes) {
      const given = pick(values, own);
      values.push(
        ...(layer instanceof Network
          ? graph.within(name, layer.subject, () => layer.traceAll(graph, given))
          : [
              layer
                ? graph.trace(name, layer, given[0])
                : // what has no name of its own is the network's
                  graph.within(name, name ? '' : this.subject, () => operation!.trace(graph, given)),
            ]),
      );
    }
    return pick(values, this.#outputs);
  }

  override trace(graph: OperationGraph, x: Value): Value {
    return this.traceAll(graph, [x])[0];
  }

  /** @internal Wires it: once, by its constructor. */
  protected wire({ inputs: count, nodes, outputs }: Wiring): void {
    const { subject } = this;
    this.#inputs = count;
    this.#outputs = outputs;
    this.#nodes = nodes.map((node) => {
      const { layer, inputs, outputs: made } = node;
      if (layer instanceof Network) {
        const takes = layer.#inputs;
        const gives = layer.#outputs.length;
        if (takes !== inputs.length || gives !== made.length) {
          const expected = `${inputs.length} input and ${made.length} output`;
          throw wrongValue('ERR_OPTION', subject, 'a layer', expected, `${layer.subject} with ${takes} and ${gives}`);
        }
      }
      return {
        ...node,
        passed: layer?.passedOptions ?? [],
        gradients: [],
      };
    });
    this.#layers = this.#nodes.filter(({ layer }) => layer) as (Node & NamedLayer)[];
    this.#leaves = this.named().map(([name, layer]) => ({ name, layer }));
    const seen = new Set<Layer>();
    for (const { layer } of this.#leaves) {
      if (seen.size !== seen.add(layer).size) continue;
      const expected = 'a place of its own, since it keeps what its backward needs';
      throw wrongValue('ERR_OPTION', subject, 'each layer', expected, `${layer.subject} twice`);
    }
    this.#known = ['out', ...new Set(this.#nodes.flatMap(({ passed }) => passed))];
    const read = [...nodes.flatMap((node) => node.inputs), ...outputs];
    this.#direct = outputs.map((value) => read.indexOf(value) === read.lastIndexOf(value));
  }

  /** @internal Do its results belong to it, where inputs are tensors? */
  protected get keepsResults(): boolean {
    return true;
  }

  /** @internal What errors call an input or an output: `x`, `dy`. */
  protected argument(kind: 'x' | 'dy', _index: number): string {
    return kind;
  }

  /** @internal */
  override get passedOptions(): readonly string[] {
    return this.#known.slice(1);
  }

  override train(on = true): this {
    super.train(on);
    for (const { layer } of this.#layers) layer.train(on);
    return this;
  }

  override build(shape: readonly (number | null)[]): this {
    symbolically(() => this.buildAll([shape.map((length) => length ?? Number.NaN)]));
    return this;
  }

  /** @internal Builds its layers for inputs of these shapes; the shapes of its outputs. */
  buildAll(inputs: readonly Shape[]): Shape[] {
    this.checkInputs(inputs);
    const shapes = [...inputs];
    this.#each(({ layer, operation, name, inputs: own }) => {
      const given = pick(shapes, own);
      if (!layer) shapes.push(operation!.shape(this.subject, name, given));
      else if (layer instanceof Network) shapes.push(...layer.buildAll(given));
      else shapes.push(layer.build(given[0]).outputShape(given[0]));
    }, this.#nodes);
    return pick(shapes, this.#outputs);
  }

  /** @throws ERR_SHAPE, by the layer's place */
  outputShape(shape: readonly number[]): readonly number[] {
    return this.shapesOf([shape])[0];
  }

  /** @internal */
  override checkForward(shape: Shape): Shape {
    return this.shapesOf([shape], true)[0];
  }

  /** @internal The shapes of its outputs; `isForward`: throws what a forward throws. */
  shapesOf(shapes: readonly Shape[], isForward = false): Shape[] {
    return pick(this.#shapesFrom(shapes, isForward), this.#outputs);
  }

  /** @internal Throws for inputs of shapes that it does not take. */
  protected checkInputs(_shapes: readonly Shape[]): void {}

  /** The shapes of all values, after checking that every layer takes its input. */
  #shapesFrom(inputs: readonly Shape[], isForward: boolean): Shape[] {
    this.checkInputs(inputs);
    const shapes = [...inputs];
    this.#each(({ layer, operation, name, inputs: own }) => {
      if (layer && !(layer instanceof Network)) {
        const shape = shapes[own[0]];
        shapes.push(isForward ? layer.checkForward(shape) : layer.outputShape(shape));
        return;
      }
      const given = pick(shapes, own);
      if (layer) shapes.push(...layer.shapesOf(given, isForward));
      else shapes.push(operation!.shape(this.subject, name, given));
    }, this.#nodes);
    return shapes;
  }

  /** Work on nodes, which may not lead back here; errors of a layer say where it stands. */
  #each<N extends Pick<NetworkNode, 'name' | 'layer'>>(work: (node: N) => void, nodes: readonly N[]): void {
    const { subject } = this;
    if (this.#isBusy) throw wrongValue('ERR_OPTION', subject, 'a layer', 'another network', 'itself', 'a cycle');
    this.#isBusy = true;
    let at: N | undefined;
    try {
      for (at of nodes) work(at);
    } catch (error) {
      throw at!.layer ? inPart(subject, at!.name, error) : error;
    } finally {
      this.#isBusy = false;
    }
  }

  override parameters(): Parameter[] {
    return this.#layers.flatMap(({ layer }) => layer.parameters());
  }

  /**
   * Runs all layers.
   *
   * Everything that the shape decides is checked through the whole network before the first layer
   * runs. If a layer throws later, the network is as it was before the call: layers have the
   * statistics that they had, and `backward` still belongs to the forward before.
   *
   * @param x of the shape that the first layer takes
   * @param options.out where to write the output: memory apart from x
   * @param options.lengths how many steps of each sequence count, `[N]`, for the layers that take
   *   it: those whose input has rank 3 or more
   * @param options.mask which places count, for the layers that take it
   * @throws what the layers throw, by the layer's place
   */
  forward<X extends TensorLike, O extends TensorLike = Result<X>>(x: X, options: NetworkOptions<O> = {}): O {
    const { subject } = this;
    checkCallOptions(subject, options, this.#known);
    const xs = this.listOf('x', 'x', x);
    const outs = this.listOf('y', 'out', options.out);
    const inputs: Record<string, TensorLike> = {};
    const given = xs.map((one, i) => {
      const name = this.argument('x', i);
      inputs[name] = locate(subject, name, one);
      return inputs[name];
    });
    const shapes = this.#shapesFrom(given.map(shapeOf), true);
    const results = this.#resultsOf(xs[0], outs, pick(shapes, this.#outputs), inputs);
    const last = this.#current;
    let buffers: Buffers | undefined;
    let before: (() => void) | undefined;
    try {
      buffers =
        last && given.every((one, i) => sameShape(shapeOf(one), last.buffers.shapes[i])) && isWhole(last.buffers)
          ? last.buffers
          : this.#buffersFor(shapes);
      const { memory } = buffers;
      const entered = given.map((one, i) => this.#enter(buffers!, one, i));
      before = this.checkpoint();
      const values = this.#run(entered, buffers, results, options);
      const modes = this.#modes();
      this.#current = { buffers, values, options, before, modes };
      if (memory !== this.#memory) releaseMemory(this.#memory);
      this.#memory = memory;
      const ys = this.#outputs.map((value, i) => deliver(values[value], outs[i], results[i]));
      return this.formOf('y', ys, x) as O;
    } catch (error) {
      if (before) {
        before();
        this.#redo(last);
      }
      if (buffers && buffers.memory !== this.#memory) releaseMemory(buffers.memory);
      disposeAll(results.filter((_, i) => !outs[i]));
      throw error;
    }
  }

  /** @internal Inputs (x) or outputs (y) in a list; undefined for an output that was not given. */
  listOf(_kind: 'x' | 'y', _argument: string, given: TensorLike | undefined): TensorLike[] {
    return [given!];
  }

  /**
   * @internal A list of inputs or outputs in the form in which a call returns it: one that was
   *   given `x`, or a gradient of such a one.
   */
  formOf(_kind: 'x' | 'y', list: Some<TensorLike>, _x?: unknown): TensorLike {
    return list[0]!;
  }

  /**
   * Where results of these values go, if not to the network's memory: where that is asked for, each
   * apart from the inputs and from the others, or in new memory.
   */
  #resultsOf(
    like: TensorLike,
    outs: Some<TensorLike>,
    shapes: readonly Shape[],
    inputs: Record<string, TensorLike>,
    wants = true,
  ): Some<TensorLike> {
    const { subject } = this;
    const isKept = !wants || (like instanceof Tensor && this.keepsResults);
    if (isKept && !outs.some((out) => out !== undefined)) return NONE;
    const targets: (TensorLike | undefined)[] = [];
    outs.forEach((out, i) => {
      const target = targetOf({ subject, like, shape: shapes[i], out, inputs, aliasing: 'apart' });
      targets.push(target);
      if (!target || outs.length === 1) return;
      // plain arrays may lie where an input does, which is copied before they are written, but not
      // where another result does
      const other = targets.findIndex((one) => one && sameMemory(one, target));
      if (other < i) {
        const expected = `memory apart from output ${other}`;
        throw wrongValue('ERR_ALIAS', subject, 'out', expected, `output ${other} itself`);
      }
      inputs[`output ${i}`] = target;
    });
    return isKept ? targets : targets.map((target, i) => target ?? makeLike(like, shapes[i]));
  }

  /** A tensor that is not the network's own. */
  #foreign(x: TensorLike | undefined): x is Tensor {
    return x instanceof Tensor && !this.#memory?.regions.some((region) => region.atLeast(0) === x.ptr);
  }

  /** An input where nodes find it: as it is, or copied. */
  #enter({ memory: { regions }, copies }: Buffers, x: TensorLike, index: number): TensorLike {
    if (this.#foreign(x)) return x;
    const last = this.#current?.values[index];
    const turn = 2 * index + (last instanceof Tensor && last.ptr === regions[2 * index].atLeast(0) ? 1 : 0);
    const bytes = bytesOf(x.data.length);
    const at = regions[turn].atLeast(bytes);
    const other = regions[turn ^ 1];
    if (other.bytes === 0) other.atLeast(bytes);
    if (copies[turn]?.ptr !== at) copies[turn] = new Tensor(shapeOf(x), at);
    copies[turn]!.data.set(x.data);
    return copies[turn]!;
  }

  /** All values, from those of the inputs on. */
  #run(
    inputs: readonly TensorLike[],
    { values: own, identity }: Buffers,
    results: Some<TensorLike>,
    given: object,
  ): TensorLike[] {
    const places = [...own];
    results.forEach((one, i) => {
      if (this.#direct[i] && this.#foreign(one)) places[this.#outputs[i]] = one;
    });
    const values = [...inputs];
    this.#each(({ layer, operation, passed, inputs: from, outputs: to }) => {
      if (!layer) {
        const y = (values[to[0]] = places[to[0]]!);
        operation!.forward(pick(values, from), y, identity);
        return;
      }
      const x = take(layer, 'x', from, values);
      const options: Record<string, unknown> = { out: take(layer, 'y', to, places) };
      for (const name of passed) {
        const value = given[name as keyof typeof given];
        // lengths only where there are steps
        const hasSteps = name !== 'lengths' || layer instanceof Network || shapeOf(x).length > 2;
        if (value !== undefined && hasSteps) options[name] = value;
      }
      put(layer, 'y', to, values, layer.forward(x, options));
    }, this.#nodes);
    return values;
  }

  /** The modes of layers. */
  #modes(): boolean[] {
    return this.#leaves.map(({ layer }) => layer.training);
  }

  #setModes(to: readonly boolean[]): void {
    this.#leaves.forEach(({ layer }, i) => {
      layer.train(to[i]);
    });
  }

  /**
   * Runs a forward once more, after a later one has failed in the middle: backward then finds what
   * it left.
   */
  #redo(last: Current | undefined): void {
    if (!last) return;
    const modes = this.#modes();
    // in training, where layers remember what a forward may change
    this.#setModes(modes.map(() => true));
    const after = this.checkpoint();
    try {
      last.before();
      this.#setModes(last.modes);
      const values = this.#run(last.values.slice(0, this.#inputs), last.buffers, NONE, last.options);
      this.#current = { ...last, values };
    } catch {
      this.#current = undefined;
    } finally {
      after();
      this.#setModes(modes);
    }
  }

  /**
   * Gradient of the last forward through all layers; adds to the gradients of all parameters.
   *
   * @param options.inputGradient `false`: the gradient with respect to the network's input is not
   *   worked out, and nothing is returned, which saves the first layer a matrix product. Default
   *   `true`
   * @throws ERR_MODE before a forward; what the layers throw
   */
  backward<D extends TensorLike, O extends TensorLike = Result<D>>(
    dy: D,
    options: { out?: O; inputGradient?: true },
  ): O;
  backward<D extends TensorLike>(dy: D, options: { inputGradient: false }): undefined;
  backward<D extends TensorLike, O extends TensorLike = Result<D>>(dy: D, options?: { out?: O }): O;
  backward(dy: TensorLike, options: { out?: TensorLike; inputGradient?: boolean } = {}): TensorLike | undefined {
    const { subject } = this;
    checkCallOptions(subject, options, ['out', 'inputGradient']);
    const wants = options.inputGradient !== false;
    const dys: Some<TensorLike> = this.listOf('y', 'dy', dy);
    const outs = this.listOf('x', 'out', options.out);
    const { buffers, values } = this.checkSaved();
    const { plan, shapes, identity } = buffers;
    const inputs: Record<string, TensorLike> = {};
    const given = dys.map((one, i) => {
      if (isMissing(one, dys)) return undefined;
      const name = this.argument('dy', i);
      const located = checkGradient(subject, name, one!, shapes[this.#outputs[i]]);
      // a gradient in the network's own buffers would be written over while it is read
      inputs[name] = located instanceof Tensor && !this.#foreign(located) ? plainCopy(located) : located;
      return inputs[name];
    });
    for (let i = 0; i < this.#inputs; i++) {
      const name = this.argument('x', i);
      inputs[name in inputs ? `input ${name}` : name] = values[i];
    }
    const like = dys.find((one) => one)!;
    const results = this.#resultsOf(like, outs, shapes.slice(0, this.#inputs), inputs, wants);
    const gradients: TensorLike[] = [...buffers.gradients];
    given.forEach((one, i) => {
      const id = plan.ofOutputs[i];
      if (one instanceof Tensor) gradients[id] = one;
      else if (one) gradients[id].data.set(one.data);
      else gradients[id].data.fill(0);
    });
    plan.ofInputs.forEach((id, i) => {
      const one = results[i];
      if (this.#foreign(one)) gradients[id] = one;
    });
    const done: Node[] = [];
    // after an error the last one has added nothing
    const most = this.#layers.length - 1;
    let node: Node | undefined;
    try {
      for (const { node: n, from, to, isNeeded } of plan.steps) {
        node = this.#nodes[n];
        if (node?.layer) {
          const { layer } = node;
          if (done.length < most) copyGradients((node.parameters ??= layer.parameters()), node.gradients);
          done.push(node);
          const own = take(layer, 'y', from, gradients);
          if (!wants && !isNeeded) layer.backwardParameters(own);
          else put(layer, 'x', to, gradients, layer.backward(own, { out: take(layer, 'x', to, gradients) }));
        } else if (wants || isNeeded) {
          const [own, more] = pick(gradients, from);
          const dxs = pick(gradients, to);
          if (node) node.operation!.backward(own, pick(values, node.inputs), dxs);
          else if (more) total(own, more, dxs[0], identity);
          else if (own) dxs[0].data.set(own.data);
          else dxs[0].data.fill(0);
        }
      }
    } catch (error) {
      for (const one of done.slice(0, most)) restoreGradients(one.parameters!, one.gradients);
      disposeAll(results.filter((_, i) => !outs[i]));
      throw node?.layer ? inPart(subject, node.name, error) : error;
    }
    if (!wants) return undefined;
    return this.formOf(
      'x',
      plan.ofInputs.map((id, i) => deliver(gradients[id], outs[i], results[i])),
    );
  }

  override backwardParameters(dy: TensorLike): void {
    this.backward(dy, { inputGradient: false });
  }

  /**
   * Runs each layer over all micro-batches before the next layer. Values between layers are plain
   * arrays and are kept until backward.
   *
   * @param xs at least one micro-batch
   * @throws what the layers throw
   */
  override forwardMicroBatches<X extends TensorLike>(xs: readonly X[]): Result<X>[] {
    const { subject } = this;
    checkBatches(subject, xs);
    const lists = xs.map((x, b) => this.listOf('x', `micro-batch ${b}`, x));
    const located = lists.map((list, b) => list.map((x) => locate(subject, `micro-batch ${b}`, x)));
    const made = located.map((list) => {
      const values: TensorLike[] = list.map(plainCopy);
      return { values, shapes: this.#shapesFrom(values.map(shapeOf), false) };
    });
    const end = this.holdMicroBatches();
    const restore = this.checkpoint();
    try {
      this.#each(({ layer, operation, inputs, outputs }) => {
        if (layer) {
          const ys = layer.forwardMicroBatches(made.map(({ values }) => take(layer, 'x', inputs, values)));
          ys.forEach((y, b) => {
            put(layer, 'y', outputs, made[b].values, y);
          });
          return;
        }
        for (const { values, shapes } of made) {
          const y = makeLike(values[0], shapes[outputs[0]]);
          operation!.forward(pick(values, inputs), y, 0);
          values.push(y);
        }
      }, this.#nodes);
      end(false);
      this.forget();
      this.#micro = made;
    } catch (error) {
      end(true);
      restore();
      this.#redo(this.#current);
      throw error;
    }
    return made.map(({ values }, b) => {
      const ys = this.#outputs.map((value) => copyLike(values[value], lists[b][0]));
      return this.formOf('y', ys, xs[b]) as Result<X>;
    });
  }

  /**
   * Gradients with respect to the inputs of the last `forwardMicroBatches`; adds to the gradients
   * of all parameters.
   *
   * @param dys a gradient for each micro-batch, of its output's shape
   * @throws ERR_MODE before such a forward; what the layers throw. Nothing has changed then
   */
  override backwardMicroBatches<D extends TensorLike>(dys: readonly D[]): Result<D>[] {
    const { subject } = this;
    const micro = this.#micro;
    if (!micro) throw noMicroBatches(subject);
    checkCount(subject, dys, micro.length);
    const lists: Some<TensorLike>[] = dys.map((dy, b) => this.listOf('y', `dy ${b}`, dy));
    const gradients = micro.map(({ shapes }) => shapes.map((): TensorLike | undefined => undefined));
    const zeros = (b: number, value: number) => makeLike(micro[b].values[value], micro[b].shapes[value]);
    const contribute = (b: number, value: number, gradient: TensorLike) => {
      const held = gradients[b][value];
      gradients[b][value] = held ? zeros(b, value) : gradient;
      if (held) total(gradient, held, gradients[b][value]!, 0);
    };
    lists.forEach((list, b) => {
      list.forEach((dy, i) => {
        const value = this.#outputs[i];
        if (isMissing(dy, list)) return;
        contribute(b, value, plainCopy(checkGradient(subject, `dy ${b}`, dy!, micro[b].shapes[value])));
      });
    });
    const restore = gradientsOf(this.parameters());
    try {
      this.#each(({ layer, operation, inputs, outputs }) => {
        gradients.forEach((list, b) => {
          for (const value of outputs) list[value] ??= zeros(b, value);
        });
        const dxs = layer
          ? layer
              .backwardMicroBatches(gradients.map((list) => take(layer, 'y', outputs, list)))
              .map((dx) => (layer instanceof Network ? layer.listOf('x', 'dx', dx) : [dx]))
          : micro.map(({ values, shapes }, b) => {
              const dy = gradients[b][outputs[0]]!;
              const own = inputs.map((value) =>
                operation!.handsOn(shapes[value], shapes[outputs[0]]) ? undefined : zeros(b, value),
              );
              operation!.backward(dy, pick(values, inputs), own);
              return own.map((dx) => dx ?? dy);
            });
        dxs.forEach((list, b) => {
          list.forEach((dx, i) => {
            contribute(b, inputs[i], dx);
          });
        });
      }, this.#nodes.toReversed());
    } catch (error) {
      restore();
      throw error;
    }
    return lists.map((list, b) => {
      const like = list.find((dy) => dy)!;
      const dxs = Array.from({ length: this.#inputs }, (_, i) => copyLike(gradients[b][i] ?? zeros(b, i), like));
      return this.formOf('x', dxs) as Result<D>;
    });
  }

  /** @internal */
  override holdMicroBatches(): (restore: boolean) => void {
    const ends = this.#layers.map(({ layer }) => layer.holdMicroBatches());
    const held = this.#micro;
    return (restore) => {
      for (const end of ends) end(restore);
      if (restore) this.#micro = held;
    };
  }

  /** @internal */
  override forget(): void {
    this.#current = undefined;
    for (const { layer } of this.#layers) layer.forget();
  }

  /** @internal Throws before the first gradient has been added to. */
  override checkSaved(): Current {
    const { subject } = this;
    const current = this.#current;
    if (!current) throw noForward(subject);
    this.#each(({ layer, operation, name, inputs }) => {
      layer?.checkSaved();
      if (!operation?.readsInputs) return;
      const argument = `backward: an input of ${name} in the last forward`;
      for (const value of inputs) locate(subject, argument, current.values[value]);
    }, this.#nodes);
    return current;
  }

  /**
   * Freezes all layers: parameters get no gradient, and norms normalise by their running
   * statistics, which nothing moves.
   *
   * @throws ERR_MODE for a norm without running statistics, by its place
   */
  freeze(): this {
    return this.#setFrozen(true);
  }

  /** Ends `freeze()` for all layers. */
  unfreeze(): this {
    return this.#setFrozen(false);
  }

  #setFrozen(on: boolean): this {
    const turned: Freezable[] = [];
    const parameters = this.parameters();
    const frozen = parameters.map((parameter) => parameter.frozen);
    try {
      this.#each(({ layer: norm }: { readonly layer: Freezable }) => {
        if (norm.frozen === on || !norm.freeze) return;
        turn(norm, on);
        turned.push(norm);
      }, this.#leaves);
    } catch (error) {
      for (const norm of turned) turn(norm, !on);
      parameters.forEach((parameter, i) => {
        parameter.frozen = frozen[i];
      });
      throw error;
    }
    for (const parameter of parameters) parameter.frozen = on;
    return this;
  }

  override named(prefix = ''): readonly (readonly [name: string, layer: Layer])[] {
    const found: (readonly [string, Layer])[] = [];
    this.#each(({ name, layer }) => {
      found.push(...layer.named(prefix === '' ? name : `${prefix}.${name}`));
    }, this.#layers);
    return found;
  }

  override stateSlots(): StateSlots {
    const slots: StateSlots = {};
    for (const { name, layer } of this.#layers) {
      for (const [leaf, slot] of Object.entries(layer.stateSlots())) slots[`${name}.${leaf}`] = slot;
    }
    return slots;
  }

  override checkpoint(): () => void {
    const back = this.#layers.map(({ layer }) => layer.checkpoint());
    return () => {
      for (const restore of back) restore?.();
    };
  }

  /**
   * Gives back the linear memory of the network and of all its layers. Tensors that it returned
   * end.
   */
  override dispose(): void {
    for (const { layer } of this.#layers) layer.dispose();
    releaseMemory(this.#memory);
    this.#memory = this.#current = this.#micro = undefined;
  }

  /** The tensors for values of these shapes. */
  #buffersFor(shapes: readonly Shape[]): Buffers {
    const inputs = shapes.slice(0, this.#inputs);
    const key = inputs.map((shape) => shape.join('x')).join();
    let buffers = this.#memory?.buffers.get(key);
    // a caller may have disposed of what an earlier call returned: the memory is still the
    // network's, the tensor is not
    if (!buffers || !isWhole(buffers)) {
      buffers = this.#newBuffers(shapes, buffers?.plan ?? planGradients(this.wiring, shapes));
    }
    const all = buffers.memory.buffers;
    all.delete(key); // to be put behind the others, as the one used last
    all.set(key, buffers);
    if (all.size > MOST_SHAPES) {
      const [oldest, left] = all.entries().next().value!;
      disposeBuffers(left);
      all.delete(oldest);
    }
    return buffers;
  }

  /** Tensors over what memory there is, or over more of it, while the other is still there. */
  #newBuffers(shapes: readonly Shape[], plan: GradientPlan): Buffers {
    const inputs = this.#inputs;
    const held = this.#memory;
    const sizes = [...shapes.slice(inputs).map(countOf), ...plan.slots];
    const first = 2 * inputs;
    const least = [...new Array<number>(first).fill(0), 64, ...sizes.map(bytesOf)];
    let memory = held;
    try {
      if (!memory || !least.every((bytes, i) => held!.regions[i]?.bytes >= bytes)) {
        const { heap } = backend();
        const length = Math.max(least.length, held?.regions.length ?? 0);
        memory = { regions: Array.from({ length }, () => new Region(heap)), buffers: new Map() };
        memory.regions.forEach((region, i) => {
          region.atLeast(Math.max(least[i] ?? 0, held?.regions[i]?.bytes ?? 0));
        });
        store(heap, memory.regions[first].atLeast(0), IDENTITY);
      }
      const [identity, ...places] = memory.regions.slice(first).map((region) => region.atLeast(0));
      const ofNodes = shapes.length - inputs;
      const values = shapes.map((shape, i) => (i < inputs ? undefined : new Tensor(shape, places[i - inputs])));
      const gradients = plan.gradients.map(({ shape, slot }) => new Tensor(shape, places[ofNodes + slot]));
      const seen = [...pick(values, this.#outputs), ...pick(gradients, plan.ofInputs)];
      return { memory, shapes, plan, identity, copies: [], values, gradients, seen };
    } catch (error) {
      if (memory !== held) releaseMemory(memory);
      throw error;
    }
  }
}

/** A norm that may be frozen. */
type Freezable = Layer & Partial<Record<'freeze' | 'unfreeze', () => void>> & { readonly frozen?: boolean };

function turn(norm: Freezable, on: boolean): void {
  if (on) norm.freeze!();
  else norm.unfreeze!();
}

/** Some of a list; undefined for what is not in it. */
function pick<T>(list: readonly T[], indices: Some<number>): T[] {
  return indices.map((i) => list[i!]);
}

/** Some of a list as a layer's call takes them: one alone, several in the layer's form. */
function take(layer: Layer, kind: 'x' | 'y', indices: Some<number>, list: Some<TensorLike>): TensorLike {
  return indices.length === 1 ? list[indices[0]!]! : (layer as Network).formOf(kind, pick(list, indices));
}

/** Puts what a layer's call returned into a list. */
function put(layer: Layer, kind: 'x' | 'y', indices: Some<number>, list: TensorLike[], given: TensorLike): void {
  if (!(layer instanceof Network)) list[indices[0]!] = given;
  else {
    layer.listOf(kind, kind, given).forEach((one, i) => {
      list[indices[i]!] = one;
    });
  }
}

/** Is a gradient one of those that are left out? */
function isMissing(dy: TensorLike | undefined, { length }: Some<TensorLike>): boolean {
  return dy === undefined && length > 1;
}

/** Does each tensor live that a caller has seen? */
function isWhole({ seen }: Buffers): boolean {
  return !seen.some((one) => one?.disposed);
}

function bytesOf(size: number): number {
  return Math.max(4 * size, 4);
}

function disposeBuffers({ values, gradients }: Buffers): void {
  disposeAll([...values, ...gradients]);
}

function releaseMemory(memory: Memory | undefined): void {
  if (!memory) return;
  memory.buffers.forEach(disposeBuffers);
  for (const region of memory.regions) region.release();
}

/** Checks that these are layers. */
export function checkLayers(subject: string, layers: readonly unknown[]): void {
  for (const layer of layers) {
    if (!(layer instanceof Layer)) throw wrongKind('ERR_TYPE', subject, 'a layer', 'a Layer', showLayer(layer));
  }
}

/** What is no layer here, but may be one elsewhere. */
function showLayer(value: unknown): string {
  const { subject, forward } = (value ?? {}) as Partial<Layer>;
  if (typeof subject !== 'string' || typeof forward !== 'function') return show(value);
  return `${subject} of another copy of evenkeel`;
}

/** Hands a result over: where it was asked for, in memory of the caller's, or as it is. */
function deliver(result: TensorLike, out: TensorLike | undefined, to: TensorLike | undefined): TensorLike {
  if (to && to !== result) to.data.set(result.data);
  return out ?? to ?? result;
}
