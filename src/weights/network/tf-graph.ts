// A graph of TensorFlow in ONNX' words: operators that mean the same are named as there, others
// keep their names, in the domain `tf`, and have converters of their own (tf-layers.ts,
// tf-shapes.ts).

import { quote } from '../../formats/bytes.ts';
import type { StoredTensor } from '../../formats/dtypes.ts';
import type { OnnxAttribute, OnnxInitializer, OnnxModel } from '../../formats/onnx.ts';
import type { DraftNode } from './onnx-call.ts';
import { nodeOf, type TfNode } from './tf-nodes.ts';

/** Adds to a model what a node is there. */
export type Rule = (to: TfGraph, node: TfNode) => void;

interface Emitted {
  readonly inputs?: readonly string[];
  readonly outputs?: readonly string[];
  readonly attributes?: Readonly<Record<string, OnnxAttribute>>;
}

const NO_BYTES = /* @__PURE__ */ new Uint8Array(0);
/** Rows of nodes that pass a value on. */
const MOST_STEPS = 32;

export class TfGraph {
  readonly nodes: DraftNode[] = [];
  readonly initializers = new Map<string, OnnxInitializer>();
  readonly inputs = new Map<string, readonly (number | undefined)[]>();
  readonly types = new Map<string, string>();
  readonly folded: string[] = [];
  readonly assumed = new Set<string>();
  /** Nodes that have become part of another. */
  readonly taken = new Set<TfNode>();
  readonly #nodes: ReadonlyMap<string, TfNode>;
  readonly #takers = new Map<string, TfNode[]>();
  readonly #weights: ReadonlyMap<string, StoredTensor>;
  readonly #outputs: ReadonlySet<string>;
  readonly #usedWeights = new Set<string>();

  /**
   * @param needed nodes that some output needs
   * @param outputs their values
   */
  constructor(
    nodes: ReadonlyMap<string, TfNode>,
    needed: readonly TfNode[],
    outputs: readonly string[],
    weights: ReadonlyMap<string, StoredTensor>,
  ) {
    this.#nodes = nodes;
    this.#weights = weights;
    this.#outputs = new Set(outputs);
    for (const node of needed) {
      for (const value of new Set(node.inputs)) {
        const known = this.#takers.get(value);
        if (known) known.push(node);
        else this.#takers.set(value, [node]);
      }
    }
  }

  /** Weights that no node has asked for. */
  get unusedWeights(): string[] {
    return [...this.#weights.keys()].filter((name) => !this.#usedWeights.has(name));
  }

  /** A node in ONNX' words. */
  emit(node: TfNode, op: string, { inputs = node.inputs, outputs = [node.name], attributes = {} }: Emitted = {}): void {
    this.#push(node, op, '', inputs, outputs, attributes);
  }

  /** A node with a converter of its own. */
  own(node: TfNode, op: string, { inputs = node.inputs, outputs = [node.name], attributes = {} }: Emitted = {}): void {
    this.#push(node, op, 'tf', inputs, outputs, attributes);
  }

  #push(
    { name, op: written }: TfNode,
    op: string,
    domain: string,
    inputs: readonly string[],
    outputs: readonly string[],
    attributes: Readonly<Record<string, OnnxAttribute>>,
  ): void {
    const rest = { texts: new Map(), references: new Map(), graphs: [], captured: [], offset: 0, raw: NO_BYTES };
    this.nodes.push({
      op,
      domain,
      name,
      written,
      inputs,
      outputs,
      attributes: new Map(Object.entries(attributes)),
      ...rest,
    });
  }

  /** A name for a value inside what one node becomes. */
  inner(node: TfNode): string {
    return `${node.name}:~${this.nodes.length}`;
  }

  /** A constant that a node becomes. */
  give(node: TfNode, dtype: string, shape: readonly number[], values: readonly number[]): string {
    const name = `${node.name}:=${this.initializers.size}`;
    const data = dtype === 'F32' ? Float32Array.from(values) : Float64Array.from(values);
    this.initializers.set(name, { dtype, shape, data, raw: NO_BYTES, bytes: undefined });
    return name;
  }

  /** A weight by the name of its node; where the file has none, what stands in the node itself. */
  weight(node: TfNode): StoredTensor {
    this.#usedWeights.add(node.name);
    const found = this.#weights.get(node.name) ?? node.tensor('value');
    if (!found) throw node.fail('a value among the weights', 'none');
    if (found.dtype === 'STRING' || found.dtype === 'C64') throw node.fail('numbers', `type ${found.dtype}`);
    return found;
  }

  /** A weight as a constant of the graph, of the type that its node says. */
  constant(node: TfNode): void {
    const stored = this.weight(node);
    const dtype = node.type('dtype') ?? stored.dtype;
    this.initializers.set(node.name, {
      dtype: dtype === 'STRING' || dtype === 'C64' ? stored.dtype : dtype,
      shape: stored.shape,
      get data() {
        return stored.data;
      },
      get coded() {
        return stored.coded;
      },
      raw: NO_BYTES,
      bytes: undefined,
    });
  }

  /** The tensor that a value is, behind nodes that pass it on; undefined where it is none. */
  known(value: string | undefined): StoredTensor | undefined {
    let name = value;
    for (let steps = 0; name !== undefined && steps < MOST_STEPS; steps++) {
      const node = this.#nodes.get(name);
      if (!node) return undefined;
      if (node.op === 'Const') return this.weight(node);
      if (!/^(?:Identity|StopGradient|Snapshot)$/.test(node.op)) return undefined;
      name = node.inputs[0];
    }
    return undefined;
  }

  /** Whole numbers that a constant input holds. */
  wholes(node: TfNode, input: number, what: string): number[] {
    const value = node.inputs[input];
    if (value === undefined) throw node.fail(`${what} (input ${input})`, 'none');
    const found = this.known(value);
    if (!found) throw node.fail(`a constant as ${what} (input ${input})`, `${quote(value)}, which is worked out`);
    const numbers = found.shape.length <= 1 ? Array.from(found.data as ArrayLike<number>, Number) : [];
    if (found.shape.length > 1 || !numbers.every(Number.isSafeInteger)) {
      throw node.fail(`whole numbers as ${what} (input ${input})`, `shape [${found.shape.join(', ')}]`);
    }
    return numbers;
  }

  whole(node: TfNode, input: number, what: string): number {
    const found = this.wholes(node, input, what);
    if (found.length !== 1) throw node.fail(`one number as ${what} (input ${input})`, `${found.length}`);
    return found[0];
  }

  /** The node that gives a value. */
  producer(value: string): TfNode | undefined {
    return this.#nodes.get(nodeOf(value));
  }

  /** The nodes that take a value. */
  takersOf(value: string): readonly TfNode[] {
    return this.#takers.get(value) ?? [];
  }

  /** The only node that takes a value, which is no output. */
  onlyTaker(value: string): TfNode | undefined {
    const takers = this.#takers.get(value);
    return takers?.length === 1 &&
      !this.#outputs.has(value) &&
      takers[0].inputs.filter((one) => one === value).length === 1
      ? takers[0]
      : undefined;
  }

  /** What has been gathered, as a model. */
  model(outputs: readonly string[], size: number): OnnxModel {
    return {
      nodes: this.nodes,
      initializers: this.initializers,
      inputs: this.inputs,
      defaults: new Set(),
      outputs,
      shapes: new Map(this.inputs),
      types: this.types,
      opset: 13,
      irVersion: 8,
      producer: 'TF.js',
      functions: [],
      files: [],
      size,
      fields: [],
      graphFields: [],
    };
  }
}
