// A graph of layers that trains: forward with a buffer for each value, and back with the gradients of each added up. Sequential, Residual and Graph are
// such networks, and differ in how they are written down.

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
import { checkShape, countOf, sameShape, shapeOf } from '../tensors/shape.ts';
import { type Result, Tensor, type TensorLike } from '../tensors/tensor.ts';
import type { Parameter } from '../types.ts';
import { store } from '../wasm/views.ts';
import { type GradientPlan, type NetworkNode, planGradients, type Wiring } from './gradient-plan.ts';
import { total } from './operations.ts';

type Shape = readonly number[];
type Some<T> = readonly (T | undefined)[];

/** What `forward` of a network takes besides: `lengths` and `mask` go to the layers that take them. */
export interface NetworkOptions<O = TensorLike> {
  out?: O;
  lengths?: ArrayLike<number>;
  mask?: object;
}

/** The tensors for inputs of some shapes, over the network's memory. */
interface Stations {
  /** Shapes of all values. */
  readonly shapes: readonly Shape[];
  readonly plan: GradientPlan;
  /** Where IDENTITY lies. */
  readonly identity: number;
  /** Of each value; none of an input. */
  readonly values: Some<Tensor>;
  /** Of inputs that had to be copied: in two buffers by turns, so that a forward that fails leaves what the one before it was given. */
  readonly copies: (Tensor | undefined)[];
  readonly gradients: readonly Tensor[];
}

/** The network's own memory, and its tensors by input shapes. */
interface Memory {
  readonly identity: Region;
  readonly inputs: readonly Region[];
  /** Values of nodes, then slots of gradients. */
  readonly regions: readonly Region[];
  readonly stations: Map<string, Stations>;
}

const NONE: readonly undefined[] = [];

/** Shapes whose tensors are remembered. */
const MOST_SHAPES = 8;

/** What the last forward left for backward. */
interface Current {
  readonly stations: Stations;
  /** Inputs, as the nodes were given them, and the values of nodes. */
  readonly values: readonly TensorLike[];
  readonly options: object;
  /** How statistics and generators were before it: for doing it again. */
  readonly before: () => void;
  /** The modes in which the layers were. */
  readonly modes: readonly boolean[];
}

/**
 * Layers wired together.
 *
 * Memory is planned at the first forward of a shape and reused: later steps take none, but for scratch that they give back. Where the input is a Tensor, so
 * is the output, and it belongs to the network: the next forward, of whatever shape, writes over it, and it is disposed when a larger batch moves the
 * network's memory or its shape has not been seen for a while. Where the input is a plain array, the output is a plain array of its own.
 */
export abstract class Network extends Layer {
  #wiring: Wiring = { inputs: 1, nodes: [], outputs: [0] };
  /** The layers, and those they are made of. */
  #leaves: readonly Layer[] = [];
  /** Parameters of each node, and copies of their gradients in a backward. */
  #parameters: readonly (readonly Parameter[])[] = [];
  #gradients: readonly Float32Array[][] = [];
  /** Options that each node takes, and names of all that a call may have. */
  #passed: readonly (readonly string[])[] = [];
  #known: readonly string[] = [];
  /** Which output a value is, where it may be written to the caller's memory at once: nobody in the network reads it. */
  #direct: readonly (number | undefined)[] = [];
  /** How many layers come before the one that is last in a backward. */
  #last = 0;
  #memory: Memory | undefined;
  #current: Current | undefined;
  /** Of the last forward of micro-batches: the shapes of their values, and the values where operations read them. */
  #micro: readonly { readonly shapes: readonly Shape[]; readonly values: readonly TensorLike[] }[] | undefined;
  #isBusy = false;

  /** @internal What it is made of. */
  get wiring(): Wiring {
    return this.#wiring;
  }

  /** @internal Traces its nodes into a graph of operations; returns its outputs. */
  traceAll(graph: OperationGraph, inputs: readonly Value[]): Value[] {
    const values = [...inputs];
    for (const { name, layer, operation, ...node } of this.#wiring.nodes) {
      const given = node.inputs.map((value) => values[value]);
      const made =
        layer instanceof Network
          ? graph.within(name, layer.subject, () => layer.traceAll(graph, given))
          : layer
            ? [graph.trace(name, layer, given[0])]
            : // what has no name of its own is the network's
              [graph.within(name, name ? '' : this.subject, () => operation!.trace(graph, given))];
      node.outputs.forEach((value, i) => {
        values[value] = made[i];
      });
    }
    return this.#wiring.outputs.map((value) => values[value]);
  }

  override trace(graph: OperationGraph, x: Value): Value {
    return this.traceAll(graph, [x])[0];
  }

  /** @internal Wires it: once, by its constructor. */
  protected wire(wiring: Wiring): void {
    const { nodes } = wiring;
    this.#wiring = wiring;
    for (const { layer, inputs, outputs } of nodes) {
      if (!(layer instanceof Network)) continue;
      const { inputs: takes, outputs: gives } = layer.#wiring;
      if (takes === inputs.length && gives.length === outputs.length) continue;
      const expected = `${inputs.length} input and ${outputs.length} output`;
      const got = `${layer.subject} with ${takes} and ${gives.length}`;
      throw wrongValue('ERR_OPTION', this.subject, 'a layer', expected, got);
    }
    this.#leaves = this.named().map(([, leaf]) => leaf);
    const seen = new Set<Layer>();
    const twice = this.#leaves.find((layer) => seen.size === seen.add(layer).size);
    if (twice) {
      throw wrongValue(
        'ERR_OPTION',
        this.subject,
        'each layer',
        'a place of its own, since it keeps what its backward needs',
        `${twice.subject} twice`,
      );
    }
    this.#parameters = nodes.map(({ layer }) => layer?.parameters() ?? []);
    this.#gradients = nodes.map(() => []);
    this.#last = nodes.filter(({ layer }) => layer).length - 1;
    this.#passed = nodes.map(({ layer }) => layer?.passedOptions ?? []);
    this.#known = ['out', ...new Set(this.#passed.flat())];
    const read = [...nodes.flatMap((node) => node.inputs), ...wiring.outputs];
    const isOutput = (value: number) =>
      wiring.outputs.includes(value) && read.indexOf(value) === read.lastIndexOf(value);
    const values = [...wiring.outputs, ...nodes.flatMap((node) => node.outputs)];
    this.#direct = Array.from({ length: Math.max(...values) + 1 }, (_, value) =>
      isOutput(value) ? wiring.outputs.indexOf(value) : undefined,
    );
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
    for (const { layer } of this.#wiring.nodes) layer?.train(on);
    return this;
  }

  /** @throws ERR_SHAPE, by the layer's place */
  outputShape(shape: Shape): Shape {
    return this.shapesOf([shape])[0];
  }

  /** @internal */
  override checkForward(shape: Shape): Shape {
    return this.shapesOf([shape], true)[0];
  }

  /** @internal The shapes of its outputs; `isForward`: throws what a forward throws. */
  shapesOf(shapes: readonly Shape[], isForward = false): Shape[] {
    const all = this.#shapesFrom(shapes, isForward);
    return this.#wiring.outputs.map((value) => all[value]);
  }

  /** @internal Throws for inputs of shapes that it does not take. */
  protected checkInputs(_shapes: readonly Shape[]): void {}

  /** The shapes of all values, after checking that every layer takes its input. */
  #shapesFrom(inputs: readonly Shape[], isForward: boolean): Shape[] {
    this.checkInputs(inputs);
    const shapes = [...inputs];
    this.#once(() => {
      for (const node of this.#wiring.nodes) {
        const { layer, inputs: own, outputs: made } = node;
        try {
          if (!layer || own.length + made.length > 2)
            shapes.push(...shapesBehind(this.subject, node, shapes, isForward));
          else if (isForward) shapes.push(layer.checkForward(shapes[own[0]]));
          else shapes.push(layer.outputShape(shapes[own[0]]));
        } catch (error) {
          throw layer ? inPart(this.subject, node.name, error) : error;
        }
      }
    });
    return shapes;
  }

  /** Work on all layers, which may not lead back here. */
  #once<T>(work: () => T): T {
    if (this.#isBusy) throw wrongValue('ERR_OPTION', this.subject, 'a layer', 'another network', 'itself', 'a cycle');
    this.#isBusy = true;
    try {
      return work();
    } finally {
      this.#isBusy = false;
    }
  }

  /** Work of a node; errors of its layer say where it stands. */
  #at<T>({ name, layer }: NetworkNode, work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw layer ? inPart(this.subject, name, error) : error;
    }
  }

  override parameters(): Parameter[] {
    return this.#wiring.nodes.flatMap(({ layer }) => layer?.parameters() ?? []);
  }

  /**
   * Runs all layers. What can be told from the shape is checked through the whole network first; if a layer throws all the same, the network is as it was
   * before: layers have the statistics they had, and backward still finds what the forward before left.
   *
   * @param options.lengths how many steps of each sequence count, `[N]`, for the layers that take them: those whose input has rank 3 or more
   * @param options.mask which places count, for the layers that take it
   * @throws what the layers throw, by the layer's place
   */
  forward<X extends TensorLike, O extends TensorLike = Result<X>>(x: X, options: NetworkOptions<O> = {}): O {
    checkCallOptions(this.subject, options, this.#known);
    const ys = this.forwardAll(this.listOf('x', 'x', x), this.listOf('y', 'out', options.out), options);
    return this.formOf('y', ys, x) as O;
  }

  /** @internal Inputs (x) or outputs (y) in a list; undefined for an output that was not given. */
  protected listOf(_kind: 'x' | 'y', _argument: string, given: TensorLike | undefined): TensorLike[] {
    return [given!];
  }

  /** @internal A list of inputs or outputs in the form in which a call returns it: one that was given `x`, or a gradient of such a one. */
  protected formOf(_kind: 'x' | 'y', list: readonly TensorLike[], _x?: unknown): TensorLike {
    return list[0];
  }

  /** @internal The same with inputs and outputs in lists. */
  forwardAll(xs: readonly TensorLike[], outs: Some<TensorLike>, options: object): TensorLike[] {
    const { subject } = this;
    const { outputs } = this.#wiring;
    const inputs: Record<string, TensorLike> = {};
    const given = xs.map((x, i) => {
      const name = this.argument('x', i);
      inputs[name] = locate(subject, name, x);
      return inputs[name];
    });
    const shapes = this.#shapesFrom(given.map(shapeOf), true);
    const wanted = outputs.map((value) => shapes[value]);
    const targets = this.#targets(xs[0], outs, wanted, inputs);
    const own = this.#makeResults(xs[0], wanted, targets);
    const last = this.#current;
    let memory: Memory | undefined;
    try {
      const isSame = last && this.#memory && given.every((x, i) => sameShape(shapeOf(x), last.stations.shapes[i]));
      let stations: Stations;
      [memory, stations] =
        isSame && this.#isWhole(last.stations) ? [this.#memory!, last.stations] : this.#stationsFor(shapes);
      const entered = given.map((x, i) => this.#enter(memory!, stations, x, i));
      const before = this.checkpoint();
      try {
        const isGiven = targets.length + own.length > 0;
        const into = isGiven ? outputs.map((_, i) => this.#foreign(targets[i] ?? own[i])) : NONE;
        const values = this.#once(() => this.#run(entered, stations, into, options));
        const modes = this.#leaves.map(({ training }) => training);
        this.#current = { stations, values, options, before, modes };
        if (memory !== this.#memory) releaseMemory(this.#memory);
        this.#memory = memory;
        return outputs.map((value, i) => deliver(values[value], outs[i], targets[i], own[i]));
      } catch (error) {
        before();
        this.#redo(last);
        throw error;
      }
    } catch (error) {
      if (memory !== this.#memory) releaseMemory(memory);
      disposeAll(own.filter((one) => one) as TensorLike[]);
      throw error;
    }
  }

  /** Where results are asked for, each apart from the inputs and from the others. */
  #targets(
    like: TensorLike,
    outs: Some<TensorLike>,
    shapes: readonly Shape[],
    inputs: Record<string, TensorLike>,
  ): Some<TensorLike> {
    if (!outs.some((out) => out)) return NONE;
    const apart = { ...inputs };
    const targets: (TensorLike | undefined)[] = [];
    outs.forEach((out, i) => {
      const target = targetOf({ subject: this.subject, like, shape: shapes[i], out, inputs: apart, aliasing: 'apart' });
      // plain arrays may lie where an input does, which is copied before they are written, but not where another result does
      const other = targets.findIndex((one) => one && target && sameMemory(one, target));
      if (other >= 0) {
        throw wrongValue(
          'ERR_ALIAS',
          this.subject,
          'out',
          `memory apart from output ${other}`,
          `output ${other} itself`,
        );
      }
      if (target) apart[`output ${i}`] = target;
      targets.push(target);
    });
    return targets;
  }

  /** Results that will not belong to the network, where nobody said where to put them. */
  #makeResults(like: TensorLike, shapes: readonly Shape[], targets: Some<TensorLike>): Some<TensorLike> {
    if (like instanceof Tensor && this.keepsResults) return NONE;
    return shapes.map((shape, i) => (targets[i] ? undefined : makeLike(like, shape)));
  }

  /** A tensor that is not the network's own. */
  #foreign(target: TensorLike | undefined): Tensor | undefined {
    return target instanceof Tensor && !this.#owns(target) ? target : undefined;
  }

  /** An input where nodes find it: as it is, or copied. */
  #enter({ inputs }: Memory, { copies }: Stations, x: TensorLike, index: number): TensorLike {
    if (x instanceof Tensor && !this.#owns(x)) return x;
    const last = this.#current?.values[index];
    const turn = 2 * index + (last instanceof Tensor && last.ptr === inputs[2 * index].atLeast(0) ? 1 : 0);
    const bytes = Math.max(4 * x.data.length, 4);
    const at = inputs[turn].atLeast(bytes);
    const other = inputs[turn ^ 1];
    if (other.bytes === 0) other.atLeast(bytes);
    if (copies[turn]?.ptr !== at) copies[turn] = new Tensor(shapeOf(x), at);
    copies[turn]!.data.set(x.data);
    return copies[turn]!;
  }

  /** All values, from those of the inputs on. */
  #run(
    inputs: readonly TensorLike[],
    { values: places, identity }: Stations,
    into: Some<Tensor>,
    options: object,
  ): TensorLike[] {
    const { nodes } = this.#wiring;
    const direct = this.#direct;
    const to = (value: number) => into[direct[value]!] ?? places[value];
    const values = [...inputs];
    for (let n = 0; n < nodes.length; n++) {
      const { layer, operation, name, inputs: own, outputs: made } = nodes[n];
      if (!layer) {
        const y = to(made[0])!;
        const xs = own.map((value) => values[value]);
        operation!.forward(xs, y, identity);
        values.push(y);
        continue;
      }
      try {
        const x = values[own[0]];
        const names = this.#passed[n];
        if (own.length + made.length > 2) {
          const xs = own.map((value) => values[value]);
          values.push(
            ...(layer as Network).forwardAll(xs, made.map(to), optionsFor(names, layer, x, undefined, options)),
          );
        } else {
          const out = to(made[0]);
          values.push(layer.forward(x, names.length ? optionsFor(names, layer, x, out, options) : { out }));
        }
      } catch (error) {
        throw inPart(this.subject, name, error);
      }
    }
    return values;
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
      const values = this.#run(last.values.slice(0, this.#wiring.inputs), last.stations, [], last.options);
      this.#current = { ...last, values };
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
    const wants = options.inputGradient !== false;
    const dxs = this.backwardAll(this.listOf('y', 'dy', dy), this.listOf('x', 'out', options.out), wants);
    return dxs && this.formOf('x', dxs);
  }

  /** @internal The same with gradients in lists: undefined stands for a gradient of zeros, and at least one is there. */
  backwardAll(dys: Some<TensorLike>, outs: Some<TensorLike>, wants: true): TensorLike[];
  backwardAll(dys: Some<TensorLike>, outs: Some<TensorLike>, wants: boolean): TensorLike[] | undefined;
  backwardAll(dys: Some<TensorLike>, outs: Some<TensorLike>, wants: boolean): TensorLike[] | undefined {
    const { subject } = this;
    const { stations, values } = this.checkSaved();
    const { plan, shapes } = stations;
    const { inputs: count, outputs, nodes } = this.#wiring;
    const inputs: Record<string, TensorLike> = {};
    const given = dys.map((dy, i) => {
      if (!dy) return undefined;
      const name = this.argument('dy', i);
      const located = locate(subject, name, dy);
      checkShape(subject, name, shapeOf(located), shapes[outputs[i]], 'shape');
      // a gradient in the network's own buffers would be written over while it is read
      inputs[name] = this.detached(located);
      return inputs[name];
    });
    for (let i = 0; i < count; i++) {
      const name = this.argument('x', i);
      inputs[name in inputs ? `input ${name}` : name] = values[i];
    }
    const like = dys.find((dy) => dy !== undefined)!;
    const wanted = shapes.slice(0, count);
    const targets = this.#targets(like, outs, wanted, inputs);
    const own = wants ? this.#makeResults(like, wanted, targets) : [];
    const gradients: TensorLike[] = [...stations.gradients];
    given.forEach((dy, i) => {
      const id = plan.ofOutputs[i];
      if (dy instanceof Tensor) gradients[id] = dy;
      else if (dy) gradients[id].data.set(dy.data);
      else gradients[id].data.fill(0);
    });
    plan.ofInputs.forEach((id, i) => {
      gradients[id] = this.#foreign(targets[i] ?? own[i]) ?? gradients[id];
    });
    const done: number[] = [];
    let node: NetworkNode | undefined;
    try {
      for (const { node: n, from, to, isNeeded } of plan.steps) {
        node = nodes[n];
        const dy = from[0] === undefined ? undefined : gradients[from[0]];
        if (node?.layer) {
          // after an error the last one has added nothing
          if (done.length < this.#last) copyGradients(this.#parameters[n], this.#gradients[n]);
          done.push(n);
          this.#backLayer(node.layer, from, to, gradients, wants || isNeeded);
        } else if (!wants && !isNeeded) {
        } else if (node) {
          const dxs = to.map((id) => (id === undefined ? undefined : gradients[id]));
          node.operation!.backward(
            dy!,
            node.inputs.map((value) => values[value]),
            dxs,
          );
        } else {
          const [a, b] = from;
          const { data } = gradients[to[0]!];
          if (b !== undefined) total(dy!, gradients[b], gradients[to[0]!], stations.identity);
          else if (a !== undefined) data.set(dy!.data);
          else data.fill(0);
        }
      }
    } catch (error) {
      done.slice(0, this.#last).forEach((n) => {
        restoreGradients(this.#parameters[n], this.#gradients[n]);
      });
      disposeAll(own.filter((one) => one) as TensorLike[]);
      throw node?.layer ? inPart(subject, node.name, error) : error;
    }
    return wants ? plan.ofInputs.map((id, i) => deliver(gradients[id], outs[i], targets[i], own[i])) : undefined;
  }

  #backLayer(layer: Layer, from: Some<number>, to: Some<number>, gradients: TensorLike[], isNeeded: boolean): void {
    if (from.length + to.length === 2) {
      const dy = gradients[from[0]!];
      if (isNeeded) gradients[to[0]!] = layer.backward(dy, { out: gradients[to[0]!] });
      else layer.backwardParameters(dy);
      return;
    }
    const many = layer as Network;
    const dys = from.map((id) => (id === undefined ? undefined : gradients[id]));
    const dxs = isNeeded ? to.map((id) => gradients[id!]) : to.map(() => undefined);
    many.backwardAll(dys, dxs, isNeeded)?.forEach((dx, i) => {
      gradients[to[i]!] = dx;
    });
  }

  /** Layer by layer over all micro-batches. Values between layers are plain arrays: they are held until backward. @throws what the layers throw */
  override forwardMicroBatches<X extends TensorLike>(xs: readonly X[]): Result<X>[] {
    checkBatches(this.subject, xs);
    const lists = xs.map((x, b) => this.listOf('x', `micro-batch ${b}`, x));
    const located = lists.map((list, b) => list.map((x) => locate(this.subject, `micro-batch ${b}`, x)));
    const ys = this.forwardAllMicroBatches(located);
    return ys.map(
      (list, b) =>
        this.formOf(
          'y',
          list.map((y) => copyLike(y, lists[b][0])),
          xs[b],
        ) as Result<X>,
    );
  }

  /** @internal The same with the inputs and outputs of each in lists. */
  forwardAllMicroBatches(batches: readonly (readonly TensorLike[])[]): TensorLike[][] {
    const { nodes, outputs } = this.#wiring;
    const made = batches.map((xs) => {
      const values: TensorLike[] = xs.map(plainCopy);
      return { values, shapes: this.#shapesFrom(values.map(shapeOf), false) };
    });
    const end = this.holdMicroBatches();
    const restore = this.checkpoint();
    try {
      for (const node of nodes) this.#at(node, () => runMicroBatches(node, made));
      end(false);
      this.forget();
      this.#micro = made;
      return made.map(({ values }) => outputs.map((value) => values[value]));
    } catch (error) {
      end(true);
      restore();
      this.#redo(this.#current);
      throw error;
    }
  }

  /** @throws ERR_MODE before such a forward; what the layers throw. Nothing has changed then */
  override backwardMicroBatches<D extends TensorLike>(dys: readonly D[]): Result<D>[] {
    const { subject } = this;
    if (!this.#micro) throw noMicroBatches(subject);
    checkCount(subject, dys, this.#micro.length);
    const lists = dys.map((dy, b) => this.listOf('y', `dy ${b}`, dy));
    const { outputs } = this.#wiring;
    const given = lists.map((list, b) =>
      list.map((dy, i) => dy && checkGradient(subject, `dy ${b}`, dy, this.#micro![b].shapes[outputs[i]])),
    );
    const likes = lists.map((list) => list.find((dy) => dy)!);
    return this.backwardAllMicroBatches(given).map(
      (list, b) =>
        this.formOf(
          'x',
          list.map((dx) => copyLike(dx, likes[b])),
        ) as Result<D>,
    );
  }

  /** @internal The same with the gradients of each in lists. */
  backwardAllMicroBatches(batches: readonly Some<TensorLike>[]): TensorLike[][] {
    const { nodes, inputs, outputs } = this.#wiring;
    const micro = this.#micro!;
    const restore = gradientsOf(this.parameters());
    const gradients = micro.map(({ shapes }) => shapes.map((): TensorLike | undefined => undefined));
    const zeros = (b: number, value: number) => makeLike(micro[b].values[value], micro[b].shapes[value]);
    const contribute = (b: number, value: number, gradient: TensorLike) => {
      const held = gradients[b][value];
      gradients[b][value] = gradient;
      if (!held) return;
      gradients[b][value] = zeros(b, value);
      total(gradient, held, gradients[b][value], 0);
    };
    batches.forEach((dys, b) => {
      dys.forEach((dy, i) => {
        if (dy) contribute(b, outputs[i], plainCopy(dy));
      });
    });
    try {
      for (const node of nodes.toReversed()) {
        const { layer, operation, inputs: own, outputs: made } = node;
        const dys = micro.map((_, b) => made.map((value) => gradients[b][value] ?? zeros(b, value)));
        const dxs = layer
          ? this.#at(node, () =>
              own.length + made.length === 2
                ? layer.backwardMicroBatches(dys.map(([dy]) => dy)).map((dx) => [dx])
                : (layer as Network).backwardAllMicroBatches(dys),
            )
          : micro.map(({ values, shapes }, b) => {
              const isHandedOn = own.map((value) => operation!.handsOn(shapes[value], shapes[made[0]]));
              const found = own.map((value, i) => (isHandedOn[i] ? undefined : zeros(b, value)));
              operation!.backward(
                dys[b][0],
                own.map((value) => values[value]),
                found,
              );
              return found.map((dx) => dx ?? dys[b][0]);
            });
        dxs.forEach((list, b) => {
          list.forEach((dx, i) => {
            contribute(b, own[i], dx);
          });
        });
      }
    } catch (error) {
      restore();
      throw error;
    }
    return gradients.map((list, b) => Array.from({ length: inputs }, (_, i) => list[i] ?? zeros(b, i)));
  }

  /** @internal */
  override holdMicroBatches(): (restore: boolean) => void {
    const ends = this.#wiring.nodes.map(({ layer }) => layer?.holdMicroBatches());
    const held = this.#micro;
    return (restore) => {
      for (const end of ends) end?.(restore);
      if (restore) this.#micro = held;
    };
  }

  /** @internal */
  override forget(): void {
    this.#current = undefined;
    for (const { layer } of this.#wiring.nodes) layer?.forget();
  }

  /** @internal Throws before the first gradient has been added to. */
  override checkSaved(): Current {
    const current = this.#current;
    if (!current) throw noForward(this.subject);
    for (const { layer, operation, name, inputs } of this.#wiring.nodes) {
      try {
        layer?.checkSaved();
      } catch (error) {
        throw inPart(this.subject, name, error);
      }
      if (!operation?.readsInputs) continue;
      for (const value of inputs) {
        locate(this.subject, `backward: an input of ${name} in the last forward`, current.values[value]);
      }
    }
    return current;
  }

  override backwardParameters(dy: TensorLike): void {
    this.backwardAll([dy], [undefined], false);
  }

  /**
   * Freezes all layers: no parameter gets a gradient, and norms with running statistics normalise by them, which nothing moves.
   *
   * @throws ERR_MODE for a norm that has no running statistics to go by, by its place
   */
  freeze(): this {
    return this.#setFrozen(true);
  }

  unfreeze(): this {
    return this.#setFrozen(false);
  }

  #setFrozen(on: boolean): this {
    const undo: (() => void)[] = [];
    const parameters = this.parameters();
    const frozen = parameters.map((parameter) => parameter.frozen);
    try {
      for (const [name, leaf] of this.named()) {
        const norm = leaf as Layer & Partial<Record<'freeze' | 'unfreeze', () => void>> & { readonly frozen?: boolean };
        if (norm.frozen === on || !norm.freeze) continue;
        try {
          if (on) norm.freeze();
          else norm.unfreeze!();
        } catch (error) {
          throw inPart(this.subject, name, error);
        }
        undo.push(() => (on ? norm.unfreeze!() : norm.freeze!()));
      }
    } catch (error) {
      for (const back of undo) back();
      parameters.forEach((parameter, i) => {
        parameter.frozen = frozen[i];
      });
      throw error;
    }
    for (const parameter of parameters) parameter.frozen = on;
    return this;
  }

  override named(prefix = ''): readonly (readonly [name: string, layer: Layer])[] {
    return this.#once(() =>
      this.#wiring.nodes.flatMap(({ name, layer }) => layer?.named(prefix === '' ? name : `${prefix}.${name}`) ?? []),
    );
  }

  override stateSlots(): StateSlots {
    const slots: StateSlots = {};
    for (const { name, layer } of this.#wiring.nodes) {
      for (const [leaf, slot] of Object.entries(layer?.stateSlots() ?? {})) slots[`${name}.${leaf}`] = slot;
    }
    return slots;
  }

  override checkpoint(): () => void {
    const back = this.#wiring.nodes.map(({ layer }) => layer?.checkpoint());
    return () => {
      for (const restore of back) restore?.();
    };
  }

  /** @internal A tensor that the next call writes over, as a copy. */
  detached(x: TensorLike): TensorLike {
    return x instanceof Tensor && this.#owns(x) ? plainCopy(x) : x;
  }

  override dispose(): void {
    for (const { layer } of this.#wiring.nodes) layer?.dispose();
    releaseMemory(this.#memory);
    this.#memory = this.#current = this.#micro = undefined;
  }

  /** Does a tensor lie in the network's own memory? */
  #owns(x: Tensor): boolean {
    const { regions = [], inputs = [] } = this.#memory ?? {};
    for (const region of regions) if (region.atLeast(0) === x.ptr) return true;
    for (const region of inputs) if (region.atLeast(0) === x.ptr) return true;
    return false;
  }

  /** Does each of its tensors live, of those that a caller has seen? */
  #isWhole({ values, gradients, plan }: Stations): boolean {
    for (const value of this.#wiring.outputs) if (values[value]?.disposed) return false;
    for (const id of plan.ofInputs) if (gradients[id].disposed) return false;
    return true;
  }

  /** Memory for values of these shapes: what there is, or more of it, while the other is still there; and the tensors over it. */
  #stationsFor(shapes: readonly Shape[]): [Memory, Stations] {
    const { inputs } = this.#wiring;
    const key = shapes
      .slice(0, inputs)
      .map((shape) => shape.join('x'))
      .join();
    const held = this.#memory;
    const known = held?.stations.get(key);
    const plan = known?.plan ?? planGradients(this.#wiring, shapes);
    const least = [...shapes.slice(inputs).map(countOf), ...plan.slots].map((size) => Math.max(4 * size, 4));
    const memory =
      held && least.every((bytes, i) => held.regions[i]?.bytes >= bytes) ? held : memoryFor(least, inputs, held);
    try {
      memory.stations.delete(key); // to be put behind the others, as the one used last
      // a caller may have disposed of what an earlier call returned: the memory is still the network's, the tensor is not
      const stations =
        known && memory === held && this.#isWhole(known) ? known : stationsIn(memory, inputs, shapes, plan);
      memory.stations.set(key, stations);
      if (memory.stations.size > MOST_SHAPES) {
        const [oldest, left] = memory.stations.entries().next().value!;
        disposeAll(tensorsOf(left));
        memory.stations.delete(oldest);
      }
      return [memory, stations];
    } catch (error) {
      if (memory !== held) releaseMemory(memory);
      throw error;
    }
  }
}

function memoryFor(least: readonly number[], inputs: number, held: Memory | undefined): Memory {
  const { heap } = backend();
  const identity = new Region(heap);
  const regions = Array.from({ length: Math.max(least.length, held?.regions.length ?? 0) }, () => new Region(heap));
  const memory = {
    identity,
    inputs: Array.from({ length: 2 * inputs }, () => new Region(heap)),
    regions,
    stations: new Map<string, Stations>(),
  };
  try {
    store(heap, identity.atLeast(64), IDENTITY);
    regions.forEach((region, i) => {
      region.atLeast(Math.max(least[i] ?? 0, held?.regions[i]?.bytes ?? 0));
    });
  } catch (error) {
    releaseMemory(memory);
    throw error;
  }
  return memory;
}

function releaseMemory(memory: Memory | undefined): void {
  if (!memory) return;
  for (const stations of memory.stations.values()) disposeAll(tensorsOf(stations));
  for (const region of [memory.identity, ...memory.inputs, ...memory.regions]) region.release();
}

/** The tensors for values of these shapes, over memory that is large enough. */
function stationsIn(
  { identity, regions }: Memory,
  inputs: number,
  shapes: readonly Shape[],
  plan: GradientPlan,
): Stations {
  const at = (index: number) => regions[index].atLeast(0);
  const first = shapes.length - inputs;
  return {
    shapes,
    plan,
    identity: identity.atLeast(64),
    copies: [],
    values: shapes.map((shape, value) => (value < inputs ? undefined : new Tensor(shape, at(value - inputs)))),
    gradients: plan.gradients.map(({ shape, slot }) => new Tensor(shape, at(first + slot))),
  };
}

function tensorsOf({ values, gradients }: Stations): Tensor[] {
  return [...values.filter((value) => value !== undefined), ...gradients];
}

/** The shapes of a node's values. */
function shapesBehind(subject: string, node: NetworkNode, shapes: readonly Shape[], isForward: boolean): Shape[] {
  const { name, layer, operation, inputs } = node;
  const given = inputs.map((value) => shapes[value]);
  if (operation) return [operation.shape(subject, name, given)];
  return (layer as Network).shapesOf(given, isForward);
}

/** What a layer takes of a network's options: lengths only where there are steps. */
function optionsFor(
  names: readonly string[],
  layer: Layer,
  x: TensorLike,
  out: TensorLike | undefined,
  given: object,
): { out?: TensorLike } {
  const options: Record<string, unknown> & { out?: TensorLike } = { out };
  for (const name of names) {
    const value = given[name as keyof typeof given];
    const hasSteps = name !== 'lengths' || layer instanceof Network || shapeOf(x).length > 2;
    if (value !== undefined && hasSteps) options[name] = value;
  }
  return options;
}

/** Runs a node over all micro-batches. */
function runMicroBatches(
  { layer, operation, inputs, outputs }: NetworkNode,
  batches: readonly { readonly values: TensorLike[]; readonly shapes: readonly Shape[] }[],
): void {
  if (operation) {
    for (const { values, shapes } of batches) {
      const y = makeLike(values[0], shapes[outputs[0]]);
      operation.forward(
        inputs.map((value) => values[value]),
        y,
        0,
      );
      values.push(y);
    }
    return;
  }
  const given = batches.map(({ values }) => inputs.map((value) => values[value]));
  const ys =
    inputs.length + outputs.length === 2
      ? layer!.forwardMicroBatches(given.map(([x]) => x)).map((y) => [y])
      : (layer as Network).forwardAllMicroBatches(given);
  ys.forEach((list, b) => {
    batches[b].values.push(...list);
  });
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
