// A node of a graph as its converter sees it: attributes checked, inputs as what they are. Graphs of
// other formats come here in ONNX' words (tf-graph.ts).

import { malformed, show } from '../../errors.ts';
import { quote } from '../../formats/bytes.ts';
import type { OnnxNode } from '../../formats/onnx.ts';
import { labelOf, shortest } from '../onnx-names.ts';
import type { Draft, Flow, Known, Symbols } from './draft.ts';
import type { Sym } from './terms.ts';

/** What a name of a graph stands for. */
export type Entry = Flow | Known | Symbols;

export const isFlow = (entry: Entry | undefined): entry is Flow => entry !== undefined && 'id' in entry;
export const isSymbols = (entry: Entry | undefined): entry is Symbols => entry !== undefined && 'terms' in entry;

/** Types that are whole numbers, or truth values. */
export const isWholeType = (dtype: string) => /^[IU]/.test(dtype) || dtype === 'BOOL';

/** Numbers that are worked out as terms. */
const MOST_TERMS = 4096;

/** The largest numbers of int64 mean "to the end"; doubles have none of them exactly. */
const saturated = (value: number) => Math.min(Math.max(value, Number.MIN_SAFE_INTEGER), Number.MAX_SAFE_INTEGER);

/** Makes a node's outputs of its inputs. */
export type Converter = (call: Call) => Entry | readonly (Entry | undefined)[];

/** A node, and the operator as the file has it where the node says it in other words. */
export interface DraftNode extends OnnxNode {
  readonly written?: string;
}

/** What a node is called in messages about it. */
export const nodeLabel = (node: DraftNode) => `node ${node.written ?? node.op} ${quote(labelOf(node))}`;

export interface Surroundings {
  /** What messages call the file. */
  readonly format: string;
  readonly draft: Draft;
  readonly opset: number;
  /** What layers with weights are called. */
  readonly names: ReadonlyMap<OnnxNode, string>;
  /** Is a value used by anybody? */
  isUsed(name: string): boolean;
  /** The nodes that take a value. */
  takersOf(name: string): readonly OnnxNode[];
  entryOf(name: string): Entry | undefined;
  /** Runs a graph inside of the node; returns what its outputs stand for. */
  inline(node: OnnxNode, branch: string): readonly (Entry | undefined)[];
  assume(what: string): void;
}

/** What helpers need of a call. */
export type Site = Pick<Call, 'draft' | 'name' | 'fail'>;

export class Call {
  readonly node: OnnxNode;
  readonly draft: Draft;
  readonly opset: number;
  readonly around: Surroundings;

  constructor(node: OnnxNode, around: Surroundings) {
    this.node = node;
    this.around = around;
    this.draft = around.draft;
    this.opset = around.opset;
  }

  get name(): string {
    return this.around.names.get(this.node) ?? labelOf(this.node);
  }

  fail(expected: string, got: string): Error {
    return malformed(this.around.format, nodeLabel(this.node), expected, got, this.node.offset);
  }

  // ---- attributes

  /** A number; `standard` where there is none. */
  number(name: string, standard: number): number {
    const value = this.node.attributes.get(name);
    if (value === undefined) return standard;
    if (typeof value !== 'number') throw this.fail(`a number as ${name}`, show(value));
    return shortest(value, standard);
  }

  /** A whole number from `least` to `most`. */
  whole(name: string, standard: number, least = -(2 ** 31), most = 2 ** 31): number {
    const value = this.node.attributes.get(name) ?? standard;
    if (Number.isInteger(value) && (value as number) >= least && (value as number) <= most) return value as number;
    throw this.fail(`a whole number from ${least} to ${most} as ${name}`, show(value));
  }

  flag(name: string, standard = 0): boolean {
    return this.whole(name, standard, 0, 1) === 1;
  }

  text(name: string, standard: string): string {
    const value = this.node.attributes.get(name) ?? standard;
    if (typeof value !== 'string') throw this.fail(`a text as ${name}`, show(value));
    return value;
  }

  /** One of some texts. */
  choice<const T extends readonly string[]>(name: string, standard: T[number], choices: T): T[number] {
    const value = this.text(name, standard);
    if (choices.includes(value)) return value;
    throw this.fail(`${name} among ${choices.join(', ')}`, quote(value));
  }

  /** A list of whole numbers; undefined where there is none. */
  wholes(name: string): readonly number[] | undefined {
    const value = this.node.attributes.get(name);
    if (value === undefined) return undefined;
    if (Array.isArray(value) && value.every((one) => Number.isInteger(one))) return value.map(saturated);
    throw this.fail(`whole numbers as ${name}`, show(value));
  }

  // ---- inputs

  has(index: number): boolean {
    return (this.node.inputs[index] ?? '') !== '';
  }

  get count(): number {
    return this.node.inputs.length;
  }

  entry(index: number): Entry {
    const name = this.node.inputs[index] ?? '';
    const found = name === '' ? undefined : this.around.entryOf(name);
    if (found) return found;
    throw this.fail(`input ${index}`, name === '' ? 'none' : `${quote(name)}, which nobody gives`);
  }

  /** As a value of the network. */
  flow(index: number): Flow {
    return this.flowOf(this.entry(index));
  }

  flowOf(entry: Entry): Flow {
    if (isFlow(entry)) return entry;
    return isSymbols(entry) ? this.draft.numbers(entry) : this.draft.constant(entry);
  }

  /** Its values, where they are known. */
  known(index: number): Known | undefined {
    if (!this.has(index)) return undefined;
    const entry = this.entry(index);
    if (isFlow(entry)) return entry.known;
    if (!isSymbols(entry)) return entry;
    if (!entry.terms.every((term) => typeof term === 'number')) return undefined;
    return { dtype: entry.dtype, shape: entry.shape, data: entry.terms as number[] };
  }

  /** As a constant. Throws for one that comes at run time. */
  constant(index: number, what: string): Known {
    if (!this.has(index)) throw this.fail(`${what} (input ${index})`, 'none');
    const known = this.known(index);
    if (known) return known;
    const way = `loadNetwork(source, { constants: { ${quote(this.node.inputs[index])}: … } }) gives one that is an input`;
    throw this.fail(`a constant as ${what}: ${way}`, `${quote(this.node.inputs[index])}, which comes at run time`);
  }

  /** As terms; undefined for values that come at run time, and for many. */
  terms(index: number): Symbols | undefined {
    if (!this.has(index)) return undefined;
    const entry = this.entry(index);
    if (isSymbols(entry)) return entry;
    const known = this.known(index);
    if (!known || known.shape.reduce((a, b) => a * b, 1) > MOST_TERMS) return undefined;
    return { dtype: known.dtype, shape: known.shape, terms: Array.from(known.data) };
  }

  /** The terms of a list that says a shape. Throws for one that comes at run time. */
  shape(index: number, what: string): readonly Sym[] {
    if (!this.has(index)) throw this.fail(`${what} (input ${index})`, 'none');
    const found = this.terms(index);
    if (found && found.shape.length <= 1) return found.terms;
    const name = quote(this.node.inputs[index]);
    if (found) throw this.fail(`a list as ${what}`, `rank ${found.shape.length}`);
    const way = `loadNetwork(source, { constants: { ${name}: … } }) gives one that is an input`;
    throw this.fail(`${what} that follows from shapes and constants: ${way}`, `${name}, which comes at run time`);
  }

  /**
   * Whole numbers from an attribute or, in later versions, from an input; undefined where neither
   * is there.
   */
  list(name: string, index: number): readonly number[] | undefined {
    const own = this.wholes(name);
    if (own) return own;
    if (!this.has(index)) return undefined;
    const values = Array.from(this.constant(index, name).data);
    if (values.every((one) => Number.isInteger(one))) return values.map(saturated);
    throw this.fail(`whole numbers as ${name}`, show(values));
  }

  /** Does anybody use the output? */
  uses(output: number): boolean {
    const name = this.node.outputs[output] ?? '';
    return name !== '' && this.around.isUsed(name);
  }

  /** An axis, counted from the front. */
  axis(value: number, rank: number): number {
    const axis = value < 0 ? value + rank : value;
    if (Number.isInteger(axis) && axis >= 0 && axis < rank) return axis;
    throw this.fail(`an axis of rank ${rank}`, `${value}`);
  }

  /** Axes, counted from the front, each once. */
  axes(values: readonly number[], rank: number): number[] {
    const axes = values.map((one) => this.axis(one, rank));
    if (new Set(axes).size === axes.length) return axes;
    throw this.fail('each axis once', show(values));
  }
}
