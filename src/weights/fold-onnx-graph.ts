// A model's graph while norms are folded: nodes that change, uses that are counted. What nobody
// uses any more goes; what nobody used before stays.

import type { OnnxNode } from '../formats/onnx.ts';
import type { FoldedLayer } from './fold-onnx-layer.ts';
import { sizeOf } from './onnx-constants.ts';
import type { Graph } from './onnx-graph.ts';

/** A node as it is now. */
export interface Live {
  readonly node: OnnxNode;
  op: string;
  inputs: readonly string[];
  outputs: readonly string[];
  gone: boolean;
  changed: boolean;
  /**
   * What has been folded into it, and the addition that has its bias, if that is one of its own.
   */
  layer: FoldedLayer | undefined;
  sum: Live | undefined;
}

/** A tensor that is written anew: the weights or the bias of a layer. */
export interface Stored {
  readonly layer: FoldedLayer;
  readonly isBias: boolean;
  readonly shape: readonly number[];
}

export class FoldGraph {
  readonly base: Graph;
  readonly #lives = new Map<OnnxNode, Live>();
  /**
   * Who gives values, and how often they are taken, where that is not as in the model; who takes
   * them as well.
   */
  readonly #producers = new Map<string, Live | undefined>();
  readonly #uses = new Map<string, number>();
  readonly #newTakers = new Map<string, Set<Live>>();
  /** How often values are outputs of the model. */
  readonly #outputs = new Map<string, number>();
  /** Initializers that are no more, and those whose values are others. */
  readonly goneTensors = new Set<string>();
  readonly replaced = new Map<string, Stored>();
  /** Initializers that there were not. */
  readonly added = new Map<string, Stored>();
  /** Values that nobody gives any more. */
  readonly goneValues = new Set<string>();

  constructor(base: Graph) {
    this.base = base;
    for (const name of base.model.outputs) this.#outputs.set(name, (this.#outputs.get(name) ?? 0) + 1);
  }

  liveOf(node: OnnxNode): Live {
    const known = this.#lives.get(node);
    if (known) return known;
    const { op, inputs, outputs } = node;
    const live = { node, op, inputs, outputs, gone: false, changed: false, layer: undefined, sum: undefined };
    this.#lives.set(node, live);
    return live;
  }

  /** A node as it is now; undefined where it is as it was. */
  changeOf(node: OnnxNode): Live | undefined {
    return this.#lives.get(node);
  }

  producerOf(value: string): Live | undefined {
    if (this.#producers.has(value)) return this.#producers.get(value);
    const node = this.base.producers.get(value);
    return node && this.liveOf(node);
  }

  /** How many nodes and outputs take a value. */
  uses(value: string): number {
    const changed = this.#uses.get(value) ?? (this.goneTensors.has(value) ? 0 : undefined);
    return changed ?? (this.base.takers.get(value)?.length ?? 0) + (this.#outputs.get(value) ?? 0);
  }

  /** A node that takes a value. */
  takerOf(value: string): Live | undefined {
    const takes = ({ gone, inputs, node }: Live) => !gone && (inputs.includes(value) || node.captured.includes(value));
    for (const node of this.base.takers.get(value) ?? []) {
      const live = this.liveOf(node);
      if (takes(live)) return live;
    }
    for (const live of this.#newTakers.get(value) ?? []) if (takes(live)) return live;
    return undefined;
  }

  /** The shape of a constant. */
  shapeOf(name: string): readonly number[] | undefined {
    return (this.added.get(name) ?? this.replaced.get(name) ?? this.base.constants.get(name))?.shape;
  }

  /** Axes of a value. */
  rankOf(value: string): number | undefined {
    return this.base.shapes.get(value)?.length;
  }

  /** The nodes right before a layer and right behind it. */
  neighbours(layer: Live, sum: Live | undefined): Live[] {
    const before = this.producerOf(layer.inputs[0]);
    const behind = this.takerOf((sum ?? layer).outputs[0]);
    return [before, behind].filter((live) => live !== undefined);
  }

  #use(name: string, live: Live): void {
    if (name === '') return;
    this.#uses.set(name, this.uses(name) + 1);
    if (live.node.inputs.includes(name)) return;
    const takers = this.#newTakers.get(name);
    if (takers) takers.add(live);
    else this.#newTakers.set(name, new Set([live]));
  }

  /** Other inputs and outputs for a node. */
  rewire(live: Live, inputs: readonly string[], outputs: readonly string[]): void {
    const before = live.inputs;
    live.inputs = inputs;
    live.changed = true;
    for (const name of inputs) this.#use(name, live);
    for (const name of before) this.#release(name);
    for (const name of live.outputs) {
      if (outputs.includes(name)) continue;
      if (this.producerOf(name) === live) this.#producers.set(name, undefined);
      this.goneValues.add(name);
    }
    live.outputs = outputs;
    for (const name of outputs) {
      this.#producers.set(name, live);
      this.goneValues.delete(name);
    }
  }

  /** Takes a node out; its output is given by another one, or by none. */
  remove(live: Live): void {
    live.gone = true;
    for (const name of live.outputs) {
      if (this.producerOf(name) === live) this.#producers.set(name, undefined);
      this.goneValues.add(name);
    }
    for (const name of live.inputs) this.#release(name);
  }

  /** One use less of a value; constants that have no more go with what they were made of. */
  #release(value: string): void {
    const open = [value];
    for (let name = open.pop(); name !== undefined; name = open.pop()) {
      if (name === '') continue;
      const left = this.uses(name) - 1;
      const isGone = left === 0 && this.base.model.initializers.has(name);
      // most of what is gone was never counted
      if (isGone) this.goneTensors.add(name);
      if (isGone) this.#uses.delete(name);
      else this.#uses.set(name, left);
      if (left > 0) continue;
      this.added.delete(name);
      const maker = this.producerOf(name);
      if (!maker || maker.gone || !this.base.constants.has(name)) continue;
      maker.gone = true;
      this.goneValues.add(name);
      for (const input of maker.inputs) open.push(input);
    }
  }

  /** Bytes of tensors that go when one use of a value does. */
  freed(value: string): number {
    const open = [value];
    let bytes = 0;
    for (let name = open.pop(); name !== undefined; name = open.pop()) {
      if (name === '' || this.uses(name) > 1) continue;
      const initializer = this.base.model.initializers.get(name);
      if (initializer) bytes += initializer.bytes?.length ?? initializer.raw.length;
      const maker = this.producerOf(name);
      if (!maker || maker.gone || !this.base.constants.has(name)) continue;
      if (maker.op === 'Constant') bytes += maker.node.raw.length;
      else for (const input of maker.inputs) open.push(input);
    }
    return bytes;
  }

  /** At most so many bytes more there are when a norm is folded into a layer. */
  growth(norm: Live, biasName: string | undefined, layer: FoldedLayer): number {
    const hasBias = biasName !== undefined && this.freed(biasName) > 0;
    const name = 2 * (biasName ?? norm.inputs[1]).length + 64;
    const added = hasBias || layer.biasBytes().length === 0 ? name : layer.biasBytes().length + name;
    const params = new Set(norm.inputs.slice(1));
    const freed = [...params].reduce((sum, input) => sum + this.freed(input), 0);
    return added - freed - norm.node.raw.length;
  }

  /**
   * Where a tensor is written that takes the place of one that a layer has: under the same name, if
   * that is an initializer nobody else takes. Whoever is given another name takes it by `rewire`.
   */
  store(name: string | undefined, fresh: string, stored: Stored): string {
    const old = name === undefined ? undefined : this.base.model.initializers.get(name);
    if (name !== undefined && old && this.uses(name) === 1 && sizeOf(old.shape) === sizeOf(stored.shape)) {
      // as it was: the model may say the shape once more
      this.replaced.set(name, { layer: stored.layer, isBias: stored.isBias, shape: old.shape });
      return name;
    }
    const free = this.#unused(fresh);
    this.added.set(free, stored);
    return free;
  }

  #names: Set<string> | undefined;

  #unused(name: string): string {
    if (!this.#names) {
      this.#names = new Set([...this.#uses.keys(), ...this.base.takers.keys()]);
      for (const { inputs, outputs, initializers, nodes, shapes } of [this.base.model])
        for (const list of [
          inputs.keys(),
          outputs,
          initializers.keys(),
          shapes.keys(),
          ...nodes.map((node) => node.outputs),
        ])
          for (const taken of list) this.#names.add(taken);
    }
    let free = name;
    for (let i = 1; this.#names.has(free); i++) free = `${name}.${i}`;
    this.#names.add(free);
    return free;
  }
}
