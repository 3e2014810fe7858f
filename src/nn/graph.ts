import { inPart, isList, show, showChoices, wrongKind, wrongMoment, wrongValue } from '../errors.ts';
import { type CompiledNetwork, type CompileOptions, compile } from '../infer/compile.ts';
import type { Port } from '../infer/program.ts';
import type { Named } from '../infer/run.ts';
import type { Layer } from '../layers/layer.ts';
import { agree, nullsIn, showSymbolic, symbolically } from '../tensors/shape.ts';
import { type Result, Tensor, type TensorLike } from '../tensors/tensor.ts';
import type { NetworkNode } from './gradient-plan.ts';
import { checkLayers, Network, type NetworkOptions } from './network.ts';
import { ADD, concatAlong, MULTIPLY, type Operation } from './operations.ts';

/** A shape with lengths that are not known before a batch comes: null. */
export type SymbolicShape = readonly (number | null)[];

/**
 * An input or an output of a graph: its name, and its shape with the batch.
 *
 * @experimental
 */
export interface GraphPort extends Port {
  /** Lengths by axis, the batch first; null for a length that is not known. */
  readonly shape: SymbolicShape;
}

/** @internal The shape of an input with its batch, as a file says it. */
export class GivenShape {
  readonly shape: SymbolicShape;

  constructor(shape: SymbolicShape) {
    this.shape = shape;
  }
}

/**
 * Inputs of a graph: names, and shapes without the batch.
 *
 * @experimental
 */
export type GraphInputs = Readonly<Record<string, SymbolicShape>>;

/**
 * What the function that builds a graph returns: a value, or values by the names of its outputs.
 *
 * @experimental
 */
export type GraphOutputs = Value | Readonly<Record<string, Value>>;

type Shape = readonly number[];

/**
 * A value of a graph that is being built: an input, or what `GraphBuilder` returns.
 *
 *     new Graph({ x: [16] }, (g, { x }) => g.apply('fc', new Linear(x.shape.at(-1) ?? 16, 4), x));
 *
 * @experimental
 */
export class Value {
  /** The layer, operation or input that it comes from. */
  readonly name: string;
  readonly #shape: Shape;

  /** @internal */
  constructor(name: string, shape: Shape) {
    this.name = name;
    this.#shape = shape;
  }

  /** Its shape; null for a length that is not known, as that of the batch. */
  get shape(): SymbolicShape {
    return nullsIn(this.#shape);
  }
}

/**
 * Builds a graph: the first argument of the function that `Graph` calls.
 *
 *     new Graph({ x: [16] }, (g, { x }) => g.add(x, g.apply('fc', new Linear(16, 16), x)));
 *
 * @experimental
 */
export class GraphBuilder {
  readonly #subject: string;
  readonly #values: Value[] = [];
  readonly #shapes: Shape[] = [];
  readonly #nodes: NetworkNode[] = [];
  readonly #used = new Set<number>();
  /** Is it a network from a file, whose inputs may be idle? */
  readonly #isGiven: boolean;
  #isDone = false;

  /** @internal */
  constructor(subject: string, isGiven: boolean) {
    this.#subject = subject;
    this.#isGiven = isGiven;
  }

  /** @internal An operation of any kind, under a name that errors say. */
  operate(name: string, operation: Operation, values: readonly Value[]): Value {
    return this.#operate(operation, values, name);
  }

  /**
   * Applies a layer.
   *
   * @param name what its state and its errors are called by; it may contain dots
   * @param value what it is applied to; a record for a Graph with several inputs
   * @param layer the layer, which may be applied once
   * @returns its value; a record for a Graph with several outputs
   * @throws ERR_OPTION for a name that is empty or another layer's; ERR_SHAPE, by the name, for a
   *   value that the layer does not take
   */
  apply<G extends Named<Value>>(
    name: string,
    // biome-ignore lint/suspicious/noExplicitAny: whatever its inputs
    layer: Graph<any, G>,
    value: Value | Named<Value>,
  ): { [K in keyof G]: Value };
  apply(name: string, layer: Layer, value: Value | Named<Value>): Value;
  apply(name: string, layer: Layer, value: Value | Named<Value>): Value | Named<Value> {
    const subject = this.#subject;
    if (typeof name !== 'string') throw wrongType(subject, 'name', 'a string', name);
    checkName(subject, name);
    if (this.#nodes.some((node) => node.layer && node.name === name)) {
      throw refusal(subject, 'name', 'another for each layer', `'${name}' twice`);
    }
    checkLayers(subject, [layer]);
    const ports = layer instanceof Graph ? layer : undefined;
    const given = ports ? listOf(subject, name, portNames(ports.inputs), value, isValue) : [value as Value];
    const inputs = given.map((one) => this.#indexOf(name, one));
    const shapes = inputs.map((index) => this.#shapes[index]);
    const made = symbolically(() => {
      try {
        return layer instanceof Network ? layer.buildAll(shapes) : [layer.build(shapes[0]).outputShape(shapes[0])];
      } catch (error) {
        throw inPart(subject, name, error);
      }
    });
    const names = ports ? portNames(ports.outputs) : [];
    const values = this.#append({ name, layer, inputs }, made, names.length > 1 ? names : undefined);
    if (values.length === 1) return values[0];
    return Object.fromEntries(values.map((one, i) => [names[i], one]));
  }

  /** a + b; shapes broadcast as in numpy. @throws ERR_SHAPE */
  add(a: Value, b: Value): Value {
    return this.#operate(ADD, [a, b]);
  }

  /** a·b; shapes broadcast as in numpy. @throws ERR_SHAPE */
  multiply(a: Value, b: Value): Value {
    return this.#operate(MULTIPLY, [a, b]);
  }

  /**
   * Values one behind the other along an axis: counted with the batch, or from the end where it is
   * negative. @throws ERR_SHAPE, ERR_OPTION
   */
  concat(values: readonly Value[], axis: number): Value {
    if (!Array.isArray(values) || values.length === 0) {
      throw wrongType(this.#subject, 'concat', 'an array of values', values);
    }
    return this.#operate(concatAlong(this.#subject, axis), Array.from(values));
  }

  #operate(operation: Operation, values: readonly Value[], given?: string): Value {
    const many = given ? 0 : this.#nodes.filter((node) => node.operation?.name === operation.name).length;
    const name = given ?? (many ? `${operation.name}_${many}` : operation.name);
    const inputs = values.map((value) => this.#indexOf(name, value));
    const where = given ?? `${name}(${values.map((value) => value.name).join(', ')})`;
    const shapes = inputs.map((index) => this.#shapes[index]);
    const made = operation.shape(this.#subject, where, shapes);
    return this.#append({ name: where, operation, inputs }, [made], undefined, name)[0];
  }

  #append(
    node: Omit<NetworkNode, 'outputs'>,
    shapes: readonly Shape[],
    names?: readonly string[],
    name = node.name,
  ): Value[] {
    const values = shapes.map((shape, i) => this.#push(names ? `${name}.${names[i]}` : name, shape));
    this.#nodes.push({ ...node, outputs: values.map((value) => this.#values.indexOf(value)) });
    for (const value of node.inputs) this.#used.add(value);
    return values;
  }

  #push(name: string, shape: Shape): Value {
    const value = new Value(name, shape);
    this.#values.push(value);
    this.#shapes.push(shape);
    return value;
  }

  #indexOf(where: string, value: Value): number {
    const subject = this.#subject;
    if (this.#isDone) {
      throw wrongMoment('ERR_MODE', subject, where, 'a call in the function that builds it', 'one after it');
    }
    if (!(value instanceof Value)) throw wrongType(subject, where, 'a value of the graph', value);
    const index = this.#values.indexOf(value);
    if (index >= 0) return index;
    throw refusal(subject, where, 'a value of this graph', `'${value.name}' of another`);
  }

  /** @internal */
  input(name: string, shape: Shape): Value {
    return this.#push(name, shape);
  }

  /** @internal What was built: nodes, and the values and shapes of outputs. */
  finish(inputs: number, outputs: Named<Value>): { nodes: NetworkNode[]; outputs: number[]; ports: GraphPort[] } {
    const subject = this.#subject;
    const found = Object.entries(outputs).map(([name, value]) => {
      checkName(subject, name);
      const index = this.#indexOf(`output '${name}'`, value);
      if (index < inputs) {
        const got = `the input '${value.name}'`;
        throw refusal(subject, `output '${name}'`, 'the value of a layer or an operation', got);
      }
      return index;
    });
    if (found.length === 0) throw refusal(subject, 'outputs', 'at least 1', 'none');
    for (const index of found) this.#used.add(index);
    const unused = this.#isGiven ? undefined : this.#values.slice(0, inputs).find((_, i) => !this.#used.has(i));
    const idle = this.#nodes.find((node) => !node.outputs.some((index) => this.#used.has(index)));
    const lost = unused ? `input '${unused.name}'` : idle?.name;
    if (lost !== undefined) throw refusal(subject, lost, 'a use', 'none');
    this.#isDone = true;
    const ports = found.map((index, i) => ({ name: Object.keys(outputs)[i], shape: nullsIn(this.#shapes[index]) }));
    return { nodes: this.#nodes, outputs: found, ports };
  }
}

/**
 * Outputs of a graph of which only the class is known.
 *
 * @experimental
 */
// biome-ignore lint/suspicious/noExplicitAny: whatever its outputs
export type AnyOutputs = any;

/**
 * What a graph returns: R where the function that built it returned a value, a record of R else.
 *
 * @experimental
 */
export type Outputs<G, R> = G extends Value ? R : { [K in keyof G]: R };

/**
 * Layers wired by a function, which is called once:
 *
 *     const net = new Graph({ x: [16] }, (g, { x }) => {
 *       const h = g.apply('fc1', new Linear(16, 16), x);
 *       const n = g.apply('bn1', new BatchNorm1d(16), h);
 *       return g.apply('fc2', new Linear(16, 4), g.add(n, x));
 *     });
 *     const y = net.forward({ data, shape: [32, 16] });   // [32, 4]
 *
 * Inputs have names, and shapes without the batch; null is any length. The function returns a
 * value, which is the output `output`, or a record of named outputs.
 *
 * A single input or output is passed bare or in a record, several in a record. `forward` returns a
 * bare output where the function returned a value, or a record of one and x was bare. `backward`
 * returns a gradient in the form of x. A value that is used several times gets the sum of its
 * gradients. A Graph is a layer: its state has the names of its layers (`fc1.weight`), and names
 * nest. `Sequential` says how memory is planned.
 *
 * @experimental
 */
export class Graph<I extends GraphInputs = GraphInputs, G extends GraphOutputs = AnyOutputs> extends Network {
  static override readonly name: string = 'Graph';
  /** The layers by name. */
  readonly layers: ReadonlyMap<string, Layer>;
  /** The inputs, in the order in which they were given. */
  readonly inputs: readonly GraphPort[];
  /** The outputs, in the order in which they were returned; a bare one is called `output`. */
  readonly outputs: readonly GraphPort[];
  readonly #shapes: readonly Shape[];
  readonly #isNamed: boolean;
  /** Was x of the last forward in a record? */
  #isRecord = false;

  get subject(): string {
    return 'Graph';
  }

  /**
   * @param inputs names of inputs, and their shapes without the batch
   * @param build is given a builder and the inputs, and returns the output or a record of named
   *   outputs
   * @throws ERR_OPTION for a name given twice or empty, a layer applied twice, an input or a value
   *   that nobody uses, a value of another graph, an output that is an input, no output, two
   *   entries of one name in the state dict; ERR_SHAPE for shapes that do not agree, by the layer's
   *   name
   */
  constructor(inputs: I, build: (g: GraphBuilder, inputs: { [K in keyof I]: Value }) => G) {
    super();
    const { subject } = this;
    if (typeof inputs !== 'object' || inputs === null || isList(inputs)) {
      throw wrongType(subject, 'inputs', 'a record of names to shapes', inputs);
    }
    if (typeof build !== 'function') throw wrongType(subject, 'build', 'a function', build);
    const names = Object.keys(inputs);
    const isGiven = names.some((name) => (inputs[name] as unknown) instanceof GivenShape);
    const g = new GraphBuilder(subject, isGiven);
    if (names.length === 0) throw refusal(subject, 'inputs', 'at least 1', 'none');
    this.#shapes = names.map((name) => readInput(subject, name, inputs[name]));
    const values = names.map((name, i) => [name, g.input(name, this.#shapes[i])] as const);
    const result: unknown = build(g, Object.fromEntries(values) as { [K in keyof I]: Value });
    this.#isNamed = !(result instanceof Value);
    if (typeof result !== 'object' || result === null || isList(result)) {
      throw wrongType(subject, 'outputs', 'a value or a record of values', result);
    }
    const named = result instanceof Value ? { output: result } : (result as Named<Value>);
    const { nodes, outputs, ports } = g.finish(names.length, named);
    this.wire({ inputs: names.length, nodes, outputs });
    const seen = new Set<string>();
    for (const { name, layer } of nodes) {
      for (const leaf of Object.keys(layer?.stateSlots() ?? {})) {
        if (seen.size !== seen.add(`${name}.${leaf}`).size) continue;
        const got = `'${name}.${leaf}' twice`;
        throw refusal(subject, 'names', 'different ones in the state dict', got);
      }
    }
    this.layers = new Map(nodes.flatMap(({ name, layer }) => (layer ? [[name, layer] as const] : [])));
    this.inputs = names.map((name, i) => ({ name, shape: nullsIn(this.#shapes[i]) }));
    this.outputs = ports;
  }

  /**
   * The outputs for one input.
   *
   * @param x the input, or a record of inputs
   * @param options.out where to write the output, or a record of such
   * @throws what the layers throw, by the layer's name; ERR_TYPE for a missing input, ERR_OPTION
   *   for an unknown one
   */
  override forward<X extends TensorLike, O extends TensorLike = Result<X>>(
    x: X,
    options?: NetworkOptions<O>,
  ): O & (G extends Value ? unknown : Outputs<G, O>);
  /**
   * The outputs for several inputs.
   *
   * @param x the inputs by name
   * @param options.out where to write the outputs
   * @throws what the layers throw, by the layer's name; ERR_TYPE for a missing input, ERR_OPTION
   *   for an unknown one
   */
  override forward<X extends TensorLike>(
    x: { readonly [K in keyof I]: X },
    options?: NetworkOptions<TensorLike | Named<TensorLike>>,
  ): Outputs<G, Result<X>>;
  // biome-ignore lint/suspicious/noExplicitAny: bare or in a record
  override forward(x: any, options?: any): any {
    return super.forward(x, options);
  }

  /**
   * The gradient with respect to the input of the last forward; adds to the gradients of all
   * parameters.
   *
   * @param dy the gradient of the output
   * @param options.out where to write the gradient of the input
   * @throws ERR_MODE before a forward; what the layers throw
   */
  override backward<D extends TensorLike, O extends TensorLike = Result<D>>(
    dy: D,
    options: { out?: O; inputGradient?: true },
  ): O;
  /**
   * Adds to the gradients of parameters alone: the gradient of the input is not worked out.
   *
   * @param dy the gradient of the output, or a record of gradients; one that is missing is zero
   * @throws ERR_MODE before a forward; what the layers throw
   */
  override backward<D extends TensorLike>(dy: D | Named<D>, options: { inputGradient: false }): undefined;
  /**
   * The gradient with respect to the inputs of the last forward, in the form that the forward was
   * given.
   *
   * @param dy the gradient of the output
   * @param options.out where to write the gradient of the input
   * @throws ERR_MODE before a forward; what the layers throw
   */
  override backward<D extends TensorLike, O extends TensorLike = Result<D>>(
    dy: D,
    options?: { out?: O },
  ): O & { [K in keyof I]: O };
  /**
   * The gradients with respect to the inputs of the last forward.
   *
   * @param dy gradients of the outputs by name; one that is missing is zero
   * @param options.out where to write the gradients of the inputs
   * @throws ERR_MODE before a forward; what the layers throw
   */
  override backward<D extends TensorLike>(
    dy: Named<D>,
    options?: { out?: TensorLike | Named<TensorLike> },
  ): Result<D> & { [K in keyof I]: Result<D> };
  // biome-ignore lint/suspicious/noExplicitAny: bare or in a record
  override backward(dy: any, options?: any): any {
    return super.backward(dy, options);
  }

  /**
   * The shape of the output for an input of this shape.
   *
   * @throws ERR_SHAPE, by the layer's name
   */
  override outputShape(shape: readonly number[]): readonly number[];
  /**
   * The same where some lengths are not known: they are null in both.
   *
   * @throws ERR_SHAPE, by the layer's name
   */
  override outputShape(shape: SymbolicShape): SymbolicShape;
  /**
   * Shapes of the outputs by name, for shapes of the inputs by name.
   *
   * @throws ERR_SHAPE, by the layer's name; ERR_TYPE for a missing input, ERR_OPTION for
   *   an unknown one
   */
  override outputShape(shape: Named<SymbolicShape>): Named<SymbolicShape>;
  // biome-ignore lint/suspicious/noExplicitAny: bare or in a record
  override outputShape(shape: any): any {
    const known = this.#known(shape);
    const made = symbolically(() => this.shapesOf(known));
    const shapes = made.map((one) => (Array.isArray(shape) && shape.some(Number.isNaN) ? one : nullsIn(one)));
    return this.#form(this.outputs, shapes, this.#isNamed && !isList(shape));
  }

  /**
   * Makes the parameters of layers whose input features were given as `null`, for inputs of these
   * shapes.
   *
   * @param shape the input's shape with its batch, or a record of shapes; null for a length that is
   *   not known
   * @returns the graph
   * @throws ERR_SHAPE for a shape that a layer does not take; ERR_MEMORY
   */
  override build(shape: SymbolicShape | Named<SymbolicShape>): this {
    symbolically(() => this.buildAll(this.#known(shape)));
    return this;
  }

  /** Shapes of inputs, bare or in a record, as a list; a length that is not known is NaN. */
  #known(shape: SymbolicShape | Named<SymbolicShape>): Shape[] {
    const given = listOf(this.subject, 'shape', portNames(this.inputs), shape, isList);
    return given.map((one, i) => {
      if (!isList(one)) throw wrongType(this.subject, this.argument('x', i), 'a shape', one);
      return Array.from(one as SymbolicShape, (length) => length ?? Number.NaN);
    });
  }

  /**
   * The graph in evaluation form as one function, as `Sequential.compile` gives it: batch norm
   * folded into the layers beside it, activations and additions fused. Several inputs and outputs
   * are records, as in `forward`.
   *
   * @param options see `CompileOptions`
   * @throws ERR_MODE for a recurrent cell or norm; ERR_OPTION, ERR_MEMORY
   * @experimental
   */
  compile(options: CompileOptions = {}): CompiledNetwork {
    return compile(
      {
        inputs: this.inputs,
        outputNames: portNames(this.outputs),
        trace: (graph, inputs) => this.traceAll(graph, inputs),
      },
      options,
    );
  }

  /** @internal */
  protected override argument(kind: 'x' | 'dy', index: number): string {
    if (kind === 'x') return this.inputs[index].name;
    return this.#isNamed ? `dy.${this.outputs[index].name}` : kind;
  }

  /** @internal */
  protected override checkInputs(shapes: readonly Shape[]): void {
    shapes.forEach((shape, i) => {
      if (agree(shape, this.#shapes[i])) return;
      const expected = `shape ${showSymbolic(this.#shapes[i])}`;
      throw wrongValue('ERR_SHAPE', this.subject, this.argument('x', i), expected, showSymbolic(shape));
    });
  }

  /** @internal */
  override listOf(kind: 'x' | 'y', argument: string, given: TensorLike | undefined): TensorLike[] {
    const ports = kind === 'x' ? this.inputs : this.outputs;
    if (given === undefined && argument === 'out') return ports.map(() => undefined!);
    const list = listOf<TensorLike>(this.subject, argument, portNames(ports), given!, isBare);
    const isComplete =
      argument === 'out' || (kind === 'x' ? !list.includes(undefined!) : list.some((one) => one !== undefined));
    if (isComplete) return list;
    const missing = ports[list.indexOf(undefined!)].name;
    throw refusal(this.subject, argument, `an entry '${missing}'`, 'none');
  }

  /** @internal */
  override formOf(kind: 'x' | 'y', list: readonly (TensorLike | undefined)[], x?: unknown): TensorLike {
    const isInput = kind === 'x';
    if (x !== undefined) this.#isRecord = !isBare(x);
    const isRecord = (isInput || this.#isNamed) && this.#isRecord;
    return this.#form(isInput ? this.inputs : this.outputs, list, isRecord) as TensorLike;
  }

  #form<T>(ports: readonly GraphPort[], list: readonly T[], isRecord: boolean): T | Named<T> {
    if (list.length === 1 && !isRecord) return list[0];
    return Object.fromEntries(list.map((one, i) => [ports[i].name, one]));
  }
}

function checkName(subject: string, name: string): void {
  if (name === '') throw refusal(subject, 'name', 'a name', "''");
}

/** What a graph refuses. */
function refusal(subject: string, argument: string, expected: string, got: string): Error {
  return wrongValue('ERR_OPTION', subject, argument, expected, got);
}

/** Something that is not what it should be. */
function wrongType(subject: string, argument: string, expected: string, given: unknown): Error {
  return wrongKind('ERR_TYPE', subject, argument, expected, show(given));
}

function portNames(ports: readonly GraphPort[]): string[] {
  return ports.map(({ name }) => name);
}

/** A value in place of a record. */
function isValue(given: unknown): boolean {
  return given instanceof Value;
}

/** A tensor in place of a record, or what is neither. */
function isBare(given: unknown): boolean {
  if (typeof given !== 'object' || given === null || given instanceof Tensor || isList(given)) return true;
  const { data, shape, dims } = given as { data?: unknown; shape?: unknown; dims?: unknown };
  return isList(data) || isList(shape) || isList(dims) || ArrayBuffer.isView(data);
}

/**
 * Entries of a record in the order of these names, undefined for one that is missing; one that is
 * given bare is the only one.
 */
function listOf<T>(
  subject: string,
  argument: string,
  names: readonly string[],
  given: T | Named<T>,
  isOne: (given: unknown) => boolean,
): T[] {
  if (isOne(given) || typeof given !== 'object' || given === null) {
    if (names.length === 1) return [given as T];
    throw wrongType(subject, argument, `a record of ${names.map((name) => `'${name}'`).join(', ')}`, given);
  }
  for (const name of Object.keys(given)) {
    if (!names.includes(name)) throw refusal(subject, argument, showChoices(names), `'${name}'`);
  }
  return names.map((name) => (Object.hasOwn(given, name) ? (given as Named<T>)[name] : undefined!));
}

/** The shape of an input, with the batch; NaN for what is not known. */
function readInput(subject: string, name: string, given: unknown): Shape {
  checkName(subject, name);
  const argument = `input '${name}'`;
  if (given instanceof GivenShape) return given.shape.map((length) => length ?? Number.NaN);
  if (!isList(given)) throw wrongType(subject, argument, 'a shape without the batch', given);
  const shape = Array.from(given as ArrayLike<number | null>, (length) => {
    if (length === null) return Number.NaN;
    if (Number.isInteger(length) && length > 0) return length;
    throw wrongValue('ERR_SHAPE', subject, argument, 'positive integers, or null for any', show(given));
  });
  return [Number.NaN, ...shape];
}
