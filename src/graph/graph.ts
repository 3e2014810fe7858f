// A graph of operations over values: what layers trace themselves into, and what the compiler
// rewrites.

import { type ActivationCode, NO_ACTIVATION } from '../kernels/activations.ts';
import type { ChannelAxis, Description, Operation, Shape } from './operation.ts';
import { Lengths } from './same-shape.ts';

/** What flows between operations. */
export interface Value {
  readonly graph: OperationGraph;
  /** Lengths by axis, NaN where they are not known; undefined where not even the rank is. */
  readonly shape: Shape | undefined;
  /**
   * The axis of its channels: that of the operation that made it, or of the value that one was made
   * from.
   */
  readonly axis: ChannelAxis | undefined;
  /** The node that makes it; undefined for an input. */
  readonly node: Node | undefined;
}

/** One operation in a graph. */
export interface Node {
  readonly description: Description;
  /** With weights in f64: folding rounds once, at the end. */
  operation: Operation;
  /** The operation's own inputs, then a residual, if any. */
  inputs: Value[];
  activation: ActivationCode;
  readonly output: Value;
  /** The layers in it: `3 BatchNorm1d(100)`. */
  readonly sources: string[];
  /** Why a map was not folded. */
  kept?: string;
}

/** What a layer needs to trace itself. */
export interface Traced {
  readonly subject: string;
  trace(graph: OperationGraph, x: Value): Value;
}

const SUBJECT = 'compile';

export class OperationGraph {
  readonly inputs: Value[] = [];
  outputs: Value[] = [];
  /** In an order in which they can be run. */
  readonly nodes: Node[] = [];
  /** Layers that do nothing in evaluation. */
  readonly dropped: string[] = [];
  /** Was something done that holds for inputs of rank 2 alone? */
  needsRank2 = false;
  /** What unknown ranks are taken for: 2, or any other. */
  readonly #rank: number | undefined;
  readonly #descriptions: readonly Description[];
  readonly #lengths = new Lengths(this);
  /** Where the layer that is being traced stands, and who it is. */
  #path: readonly string[] = [];
  #subject = '';

  /** @param rank of values whose rank is not known: 2, or undefined for any other */
  constructor(descriptions: readonly Description[], rank: number | undefined) {
    this.#descriptions = descriptions;
    this.#rank = rank;
  }

  /** An input of the whole graph. */
  input(shape: Shape | undefined): Value {
    const value = { graph: this, shape, axis: undefined, node: undefined };
    this.inputs.push(value);
    return value;
  }

  /**
   * The output of an operation on values of this graph.
   *
   * @param description of an operation that no layer has
   * @throws ERR_SHAPE where the shapes do not fit, as far as they are known
   */
  append(
    operation: Operation,
    inputs: readonly Value[],
    activation: ActivationCode = NO_ACTIVATION,
    description: Description = this.#descriptions.find(({ runner }) => runner.kind === operation.kind)!,
  ): Value {
    const shapes = inputs.map(({ shape }) => shape);
    const known = shapes.every((shape) => shape !== undefined);
    const output = {
      graph: this,
      shape: known ? description.runner.shape(`${SUBJECT}: ${this.#source}`, operation, shapes) : undefined,
      axis: description.output?.(operation).axis ?? inputs[0]?.axis,
      node: undefined as Node | undefined,
    };
    output.node = {
      description,
      operation: description.exact(operation),
      inputs: [...inputs],
      activation,
      output,
      sources: this.#source ? [this.#source] : [],
    };
    this.nodes.push(output.node);
    return output;
  }

  /** Traces a layer that has a name in the one being traced. */
  trace(name: string, layer: Traced, x: Value): Value {
    return this.within(name, layer.subject, () => layer.trace(this, x));
  }

  /** What happens under a name belongs to a part of a network. */
  within<T>(name: string, subject: string, work: () => T): T {
    const [path, outer] = [this.#path, this.#subject];
    this.#path = name === '' ? path : [...path, name];
    this.#subject = subject;
    try {
      return work();
    } finally {
      this.#path = path;
      this.#subject = outer;
    }
  }

  get #source(): string {
    return [this.#path.join('.'), this.#subject].filter(Boolean).join(' ');
  }

  /** How often a value is used, as an input and as an output of the whole. */
  usesOf(value: Value): number {
    let count = 0;
    const add = (other: Value) => {
      if (other === value) count++;
    };
    this.outputs.forEach(add);
    // no iterator for each node: passes ask this of every node
    for (let i = 0; i < this.nodes.length; i++) this.nodes[i].inputs.forEach(add);
    return count;
  }

  /** Takes a node away: whatever used its output uses another value. */
  replace(node: Node, by: Value): void {
    const instead = (value: Value) => (value === node.output ? by : value);
    for (const other of this.nodes) if (other.inputs.includes(node.output)) other.inputs = other.inputs.map(instead);
    this.outputs = this.outputs.map(instead);
    this.nodes.splice(this.nodes.indexOf(node), 1);
  }

  /** Have values the same shape, whatever the inputs are? */
  areAlike(values: readonly Value[]): boolean {
    // nothing is known of chains, whose only sums are residuals
    return values.some(({ shape }) => shape === undefined) || this.#lengths.areAlike(values);
  }

  /** Do two axes of a value mean the same one? */
  isSameAxis({ shape }: Value, a: ChannelAxis, b: ChannelAxis): boolean {
    if (a === b) return true;
    if (shape) return shape.length === 2;
    if (this.#rank === 2) this.needsRank2 = true;
    return this.#rank === 2;
  }

  /** The same graph to rewrite. Weights are shared: rewrites make new ones. */
  copy(rank: number | undefined): OperationGraph {
    const graph = new OperationGraph(this.#descriptions, rank);
    const copies = new Map<Value, Value>();
    for (const input of this.inputs) copies.set(input, graph.input(input.shape));
    for (const node of this.nodes) {
      const output = { ...node.output, graph, node: undefined as Node | undefined };
      output.node = {
        ...node,
        inputs: node.inputs.map((value) => copies.get(value)!),
        output,
        sources: [...node.sources],
      };
      copies.set(node.output, output);
      graph.nodes.push(output.node);
    }
    graph.outputs = this.outputs.map((value) => copies.get(value)!);
    return graph;
  }
}
