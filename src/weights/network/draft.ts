// A network while a file is read: values, and what makes them. Nodes that no output needs are left
// out in the end. What a
// format has is brought here by converters, one for each operator; nothing here knows a format.

import { wrongValue } from '../../errors.ts';
import type { Coded } from '../../formats/dtypes.ts';
import type { Length } from '../../graph/lengths.ts';
import type { Description, Operation as GraphOperation } from '../../graph/operation.ts';
import { describeAdd, describeMultiply } from '../../graph/operations/broadcast.ts';
import { descriptionOf } from '../../graph/operations/every.ts';
import type { Layer } from '../../layers/layer.ts';
import { evaluated } from '../../nn/evaluated.ts';
import type { GraphBuilder, Value } from '../../nn/graph.ts';
import { ADD, concatAlong, MULTIPLY, type Operation } from '../../nn/operations.ts';
import { broadcastShape } from '../../tensors/broadcast.ts';
import { countOf, showSymbolic } from '../../tensors/shape.ts';
import { isSame, type Sym, sizeOf, work } from './terms.ts';

type Shape = readonly number[];
/** Lengths as terms; undefined for one that only the value itself says. */
type Dims = readonly (Sym | undefined)[];

/** A tensor whose values are known. */
export interface Known {
  /** In the words of safetensors. */
  readonly dtype: string;
  readonly shape: Shape;
  readonly data: ArrayLike<number>;
  /** What `data` is made of, where that is shorter. */
  readonly coded?: Coded | undefined;
}

/** A constant of a file, decoded when its values are asked for, and once. */
export class StoredConstant implements Known {
  readonly dtype: string;
  readonly shape: Shape;
  readonly #stored: Known;
  #data: ArrayLike<number> | undefined;

  constructor(stored: Known) {
    this.dtype = stored.dtype;
    this.shape = stored.shape;
    this.#stored = stored;
  }

  get data(): ArrayLike<number> {
    this.#data ??= this.#stored.data;
    return this.#data;
  }

  get coded(): Coded | undefined {
    return this.#stored.coded;
  }
}

/** A value that comes at run time, or a constant that is one of its operands. */
export interface Flow {
  readonly id: number;
  /** NaN for lengths that are not known. */
  readonly shape: Shape;
  /** The same lengths as terms. */
  readonly dims: readonly Sym[];
  readonly dtype: string;
  /** Its values, where they are known. */
  readonly known: Known | undefined;
  /** The value that this is, under another type. */
  readonly real?: Flow;
}

const realOf = (flow: Flow) => flow.real ?? flow;

/** Numbers that follow from shapes. */
export interface Symbols {
  readonly terms: readonly Sym[];
  readonly shape: Shape;
  readonly dtype: string;
}

/** What makes a value. */
export interface DraftNode {
  readonly name: string;
  readonly layer?: Layer;
  readonly operation?: Operation;
  /** The operation of compiled networks that `operation` runs, where it is one. */
  readonly compiled?: GraphOperation;
  readonly inputs: readonly Flow[];
  readonly output: Flow;
}

const SUBJECT = 'loadNetwork';
/** Longer terms are asked for by the value that has them. */
const LONGEST_TERM = 60;

export class Draft {
  readonly inputs: { readonly name: string; readonly flow: Flow }[] = [];
  readonly #nodes: DraftNode[] = [];
  readonly #makers = new Map<Flow, DraftNode>();
  readonly #names = new Set<string>();
  readonly #constants = new WeakMap<object, Flow>();
  #count = 0;
  /** How many values may still be worked out from constants. */
  #room: number;
  /** How many values layers may still have as weights. */
  #weights: number;
  /** How many values one of known size may have, whatever it is made of. */
  readonly #most: number;
  #label = '';

  /** @param room how many values may be worked out from constants */
  constructor(room: number) {
    this.#room = room;
    this.#weights = 16 * room;
    this.#most = Math.max(room, 2 ** 24);
  }

  /** What the node is called that is being read, on one line: a file may say anything. */
  get label(): string {
    return this.#label;
  }

  set label(name: string) {
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is meant
    this.#label = name.slice(0, 200).replace(/[\u0000-\u001f\u007f]/g, '?');
  }

  #flow(shape: Shape, dtype: string, dims?: Dims, known?: Known): Flow {
    const flow = { id: this.#count++, shape, dtype, known, dims: [] as Sym[] };
    flow.dims = shape.map((length, axis) => {
      if (!Number.isNaN(length)) return length;
      const given = dims?.[axis];
      return given === undefined || sizeOf(given) > LONGEST_TERM ? { of: flow, axis } : given;
    });
    return flow;
  }

  input(name: string, shape: Shape, dtype: string): Flow {
    const flow = this.#flow(shape, dtype);
    this.inputs.push({ name, flow });
    return flow;
  }

  #append(node: Omit<DraftNode, 'output' | 'name'>, name: string, shape: Shape, dtype: string, dims?: Dims): Flow {
    this.#checkGrowth(node.inputs, shape);
    const output = this.#flow(shape, dtype, dims);
    const made = { ...node, inputs: node.inputs.map(realOf), name, output };
    this.#nodes.push(made);
    this.#makers.set(output, made);
    return output;
  }

  /**
   * A value of known size is no larger than some thousand times what it is made of, and the file.
   */
  #checkGrowth(inputs: readonly Flow[], shape: Shape): void {
    // lengths that are not known count as 1 on either side
    const sizeOf = (lengths: Shape) => countOf(lengths.map((length) => length || 1));
    const size = sizeOf(shape);
    const from = inputs.reduce((sum, one) => sum + sizeOf(one.shape), 0);
    const most = Math.max(this.#most, 4096 * from);
    if (size <= most) return;
    const expected = `at most ${most} values, as the file and its inputs justify`;
    throw wrongValue('ERR_FORMAT', SUBJECT, this.label, expected, `shape ${showSymbolic(shape)}`);
  }

  /** A name that no other layer has. */
  #unique(name: string): string {
    let free = name || 'layer';
    for (let i = 2; this.#names.has(free); i++) free = `${name}.${i}`;
    this.#names.add(free);
    return free;
  }

  /**
   * @param dims of the output, where its lengths are not known; default: that of the batch, and no
   * others
   */
  apply(layer: Layer, x: Flow, name = this.label, dims: Dims = [x.dims[0]]): Flow {
    const shape = layer.outputShape(x.shape);
    for (const slot of Object.values(layer.stateSlots())) this.#weights -= countOf(slot.shape);
    if (this.#weights < 0) {
      const got = `more: '${this.label}' takes some time after time`;
      throw wrongValue('ERR_FORMAT', SUBJECT, this.label, 'weights of few times the size of the file', got);
    }
    return this.#append({ layer, inputs: [x] }, this.#unique(name), shape, 'F32', dims);
  }

  /** The same value under another type. */
  retyped(flow: Flow, dtype: string): Flow {
    return { ...flow, dtype, real: realOf(flow) };
  }

  /** A layer whose output has the shape of its input. */
  keep(layer: Layer, x: Flow, name = this.label): Flow {
    return this.apply(layer, x, name, x.dims);
  }

  /** Values one behind the other. */
  concat(flows: readonly Flow[], axis: number): Flow {
    if (flows.length === 1) return flows[0];
    const operation = concatAlong(SUBJECT, axis);
    const shape = operation.shape(
      SUBJECT,
      this.label,
      flows.map((one) => one.shape),
    );
    const at = axis < 0 ? axis + shape.length : axis;
    const folded = this.#folded({ kind: 'concat', axis } as GraphOperation, flows, shape, flows[0].dtype);
    if (folded) return folded;
    const dims = shape.map((_, i) => {
      if (i !== at) return flows.map((one) => one.dims[i]).find((dim) => typeof dim === 'number') ?? flows[0].dims[i];
      return flows.map((one) => one.dims[i]).reduce((a, b) => work('add', a, b), 0);
    });
    return this.#append({ operation, inputs: flows }, this.label, shape, flows[0].dtype, dims);
  }

  add(a: Flow, b: Flow): Flow {
    return this.#join(ADD, describeAdd, a, b);
  }

  multiply(a: Flow, b: Flow): Flow {
    return this.#join(MULTIPLY, describeMultiply, a, b);
  }

  #join(operation: Operation, { runner }: Description, a: Flow, b: Flow): Flow {
    const inputs = [a, b];
    const shape = broadcastShape(SUBJECT, this.label, [a.shape, b.shape]);
    const folded = this.#folded({ kind: runner.kind }, inputs, shape, a.dtype);
    return folded ?? this.#append({ operation, inputs }, this.label, shape, a.dtype, broadcastDims(inputs));
  }

  /** An operation of compiled networks. */
  operate(given: GraphOperation, inputs: readonly Flow[], dims?: Dims, dtype = inputs[0]?.dtype ?? 'F32'): Flow {
    const operation = evaluated(given);
    const shape = operation.shape(
      SUBJECT,
      this.label,
      inputs.map((one) => one.shape),
    );
    const folded = this.#folded(given, inputs, shape, dtype);
    return folded ?? this.#append({ operation, compiled: given, inputs }, this.label, shape, dtype, dims);
  }

  /** Worked out at once, where all inputs are constants. */
  #folded(operation: GraphOperation, inputs: readonly Flow[], shape: Shape, dtype: string): Flow | undefined {
    if (inputs.some((one) => !one.known) || shape.some(Number.isNaN)) return undefined;
    const size = countOf(shape);
    if (size > this.#room) return undefined;
    this.#room -= size;
    const description = descriptionOf(operation.kind);
    const given = inputs.map((one) => {
      const value = Float64Array.from(one.known!.data);
      return { shape: one.shape, value, error: new Float64Array(value.length) };
    });
    const { value } = description.analyse(given, operation, description.rounded(operation));
    return this.constant({ dtype, shape, data: /^B?F/.test(dtype) ? Float32Array.from(value) : value });
  }

  /** A constant as an operand. */
  constant(known: Known): Flow {
    const found = this.#constants.get(known);
    if (found) return found;
    const flow = this.#flow(known.shape, known.dtype, undefined, known);
    this.#constants.set(known, flow);
    return flow;
  }

  /** Numbers that follow from shapes, as a value. */
  numbers({ terms, shape, dtype }: Symbols): Flow {
    if (terms.every((term) => typeof term === 'number')) {
      return this.constant({ dtype, shape, data: Float64Array.from(terms as number[]) });
    }
    const { lengths, inputs } = lengthsFor(terms, []);
    return this.operate(
      { kind: 'numbers', as: 'list', numbers: lengths, value: 0, shape } as GraphOperation,
      inputs,
      undefined,
      dtype,
    );
  }

  /** Is it the value of this draft's input? */
  isInput(flow: Flow): boolean {
    return this.inputs.some((one) => one.flow === realOf(flow));
  }

  /** The nodes that these values need, in their order. */
  needed(outputs: readonly Flow[]): DraftNode[] {
    const needed = new Set<DraftNode>();
    const open = outputs.map(realOf);
    for (let flow = open.pop(); flow; flow = open.pop()) {
      const node = this.#makers.get(flow);
      if (!node || needed.has(node)) continue;
      needed.add(node);
      open.push(...node.inputs);
    }
    return this.#nodes.filter((node) => needed.has(node));
  }

  /** Nodes whose weights are no layer's, so that training leaves them as they are. */
  untrained(outputs: readonly Flow[]): string[] {
    return this.needed(outputs)
      .filter(({ compiled }) => {
        const { kind, by } = (compiled ?? {}) as { kind?: string; by?: string };
        return kind === 'recurrent-layer' || (kind === 'gather' && by === 'rows');
      })
      .map(({ name }) => name);
  }

  /** Which inputs these values need. */
  neededInputs(outputs: readonly Flow[]): Set<Flow> {
    return new Set([...this.needed(outputs).flatMap(({ inputs }) => inputs), ...outputs.map(realOf)]);
  }

  /** Builds the network's graph; returns the outputs. */
  build(g: GraphBuilder, inputs: readonly Value[], outputs: readonly Flow[]): Value[] {
    const values = new Map<Flow, Value>();
    this.inputs.forEach(({ flow }, i) => {
      values.set(flow, inputs[i]);
    });
    const placed = (flow: Flow): Value => {
      const known = values.get(flow);
      if (known) return known;
      const { shape, data } = flow.known!;
      const single = data instanceof Float32Array ? data : Float32Array.from(data);
      const operation = evaluated({ kind: 'constant', shape, values: single } as GraphOperation);
      const value = g.operate(`constant ${flow.id}`, operation, []);
      values.set(flow, value);
      return value;
    };
    for (const { layer, operation, name, inputs: from, output } of this.needed(outputs)) {
      const given = from.map(placed);
      values.set(output, layer ? g.apply(name, layer, given[0]) : g.operate(name, operation!, given));
    }
    return outputs.map((flow) => placed(realOf(flow)));
  }
}

/** The length that lengths broadcast to; undefined where open ones differ: any may be 1. */
export function broadcastDim(lengths: readonly Sym[]): Sym | undefined {
  const [first, ...others] = lengths.filter((dim) => dim !== 1);
  if (first === undefined) return 1;
  const known = [first, ...others].find((dim) => typeof dim === 'number');
  return known ?? (others.every((dim) => isSame(dim, first)) ? first : undefined);
}

/** Lengths of values that broadcast together. */
export function broadcastDims(flows: readonly Pick<Flow, 'dims'>[]): (Sym | undefined)[] {
  const rank = Math.max(...flows.map(({ dims }) => dims.length));
  return Array.from({ length: rank }, (_, axis) =>
    broadcastDim(flows.map(({ dims }) => dims[axis - rank + dims.length] ?? 1)),
  );
}

/**
 * Terms over the inputs of an operation: the values they ask for become inputs behind those there
 * are.
 */
export function lengthsFor(terms: readonly Sym[], given: readonly Flow[]): { lengths: Length[]; inputs: Flow[] } {
  const inputs = [...given];
  const lengthOf = (term: Sym): Length => {
    if (typeof term === 'number') return term;
    if ('op' in term) return { op: term.op, terms: term.terms.map(lengthOf) };
    let at = inputs.findIndex((one) => realOf(one) === term.of);
    if (at < 0) {
      // a value of the same length may be there already
      const same = inputs.findIndex(({ dims }) => dims.some((dim) => isSame(dim, term)));
      if (same >= 0) return { of: same, axis: inputs[same].dims.findIndex((dim) => isSame(dim, term)) };
      at = inputs.push(term.of) - 1;
    }
    return { of: at, axis: term.axis };
  };
  return { lengths: terms.map(lengthOf), inputs };
}
