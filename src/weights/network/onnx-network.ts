// An ONNX graph as a network: its nodes in an order in which they can run, each brought into a
// draft by its converter.

import { malformed, wrongValue } from '../../errors.ts';
import { type Bytes, quote } from '../../formats/bytes.ts';
import type { Values } from '../../formats/dtypes.ts';
import { type OnnxGraph, type OnnxModel, type OnnxNode, readOnnx } from '../../formats/onnx.ts';
import type { TensorFiles } from '../../formats/onnx-tensor.ts';
import type { Layer } from '../../layers/layer.ts';
import { ActivationLayer } from '../../nn/activations.ts';
import { GroupNorm } from '../../norms/group-norm.ts';
import { InstanceNorm1d, InstanceNorm2d, InstanceNorm3d } from '../../norms/instance-norm.ts';
import { sizeOf } from '../onnx-constants.ts';
import { checkOpset, type Graph, graphFor } from '../onnx-graph.ts';
import { labelOf } from '../onnx-names.ts';
import { type OnnxStatelessNorm, spreadWeights, statelessNormsOf } from '../onnx-stateless-norms.ts';
import { Draft, type Flow, type Known, StoredConstant } from './draft.ts';
import type { Read } from './loaded-network.ts';
import { Call, type Converter, type Entry, isFlow, isSymbols, nodeLabel, type Surroundings } from './onnx-call.ts';
import { control } from './onnx-control.ts';
import { elementwise } from './onnx-elementwise.ts';
import { withoutFunctions } from './onnx-functions.ts';
import { floats, layers, loaded, rowLayer, scalar } from './onnx-layers.ts';
import { recurrents } from './onnx-recurrent.ts';
import { type Region, regionsOf } from './onnx-regions.ts';
import { shapes } from './onnx-shapes.ts';
import { asTerms } from './onnx-terms.ts';

let table: Readonly<Record<string, Converter>> | undefined;

/**
 * Operators that there are here. Made when they are asked for, so that a bundle without networks
 * has none of them.
 */
export function converters(): Readonly<Record<string, Converter>> {
  table ??= { ...layers(), ...elementwise(), ...shapes(), ...recurrents(), ...control() };
  return table;
}

export interface OnnxNetworkOptions {
  readonly outputs?: readonly string[] | undefined;
  readonly constants?: ReadonlyMap<string, Known> | undefined;
  readonly files?: TensorFiles | undefined;
}

/** Reads the network. Throws ERR_FORMAT. */
export function networkFromOnnx(file: Bytes, options: OnnxNetworkOptions): Read {
  const read = readOnnx(file, { files: options.files });
  checkOpset(read);
  return networkOf(withoutFunctions(read), options);
}

/** What a graph of another format brings along that comes here in ONNX' words. */
export interface Dialect {
  /** What messages call the file. */
  readonly format: string;
  /** Its own operators, those of the domain `tf` among the nodes. */
  readonly converters: Readonly<Record<string, Converter>>;
  /** What became of the file before: what became one, what nobody needs, what was decided. */
  readonly folded: readonly string[];
  readonly unused: readonly string[];
  readonly assumed: readonly string[];
}

/** Reads the network of a graph whose operators are there. Throws ERR_FORMAT. */
export function networkOf(model: OnnxModel, options: OnnxNetworkOptions, dialect?: Dialect): Read {
  return new Reading(model, options, dialect).network();
}

/** Operators that a model needs and that there are not here: how often, and where first. */
export function missingOperators(model: OnnxModel, outputs: readonly string[] = model.outputs): MissingOperator[] {
  const graph = graphFor(withoutFunctions(model));
  const missing = new Map<string, { count: number; first: string }>();
  const visit = (nodes: readonly OnnxNode[]) => {
    for (const node of nodes) {
      for (const { graph: inner } of node.graphs) visit(inner.nodes);
      if (node.domain === '' && Object.hasOwn(converters(), node.op)) continue;
      const op = node.domain === '' ? node.op : `${node.domain}.${node.op}`;
      const found = missing.get(op);
      if (found) found.count++;
      else missing.set(op, { count: 1, first: labelOf(node) });
    }
  };
  visit(ordered(graph, outputs));
  return [...missing].map(([op, { count, first }]) => ({ op, count, first }));
}

export interface MissingOperator {
  readonly op: string;
  readonly count: number;
  /** What the first such node is called. */
  readonly first: string;
}

function checkOperators(model: OnnxModel, outputs: readonly string[]): void {
  const missing = missingOperators(model, outputs);
  if (missing.length === 0) return;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a file may say anything
  const clean = (text: string) => text.slice(0, 80).replace(/[\u0000-\u001f\u007f]/g, '?');
  const got = missing.slice(0, 64).map(({ op, count, first }) => {
    const nodes = `${count} node${count === 1 ? '' : 's'}`;
    return `${clean(op)} (${nodes}, the first '${clean(first)}')`;
  });
  const more = missing.length > 64 ? ` and ${missing.length - 64} more` : '';
  const way = 'foldOnnx folds the file for onnxruntime; outputs: [name of a value] cuts the graph before them';
  throw wrongValue('ERR_FORMAT', 'ONNX', 'graph', 'operators that there are here', got.join(', ') + more, way);
}

/**
 * The nodes that some values need, each behind those whose values it takes. Throws ERR_FORMAT for a
 * cycle.
 */
function ordered({ model, producers }: Graph, outputs: readonly string[]): OnnxNode[] {
  const done = new Set<OnnxNode>();
  const open = new Set<OnnxNode>();
  const order: OnnxNode[] = [];
  const places = new Map(model.nodes.map((node, i) => [node, i]));
  const stack: { node: OnnxNode; names: readonly string[]; at: number }[] = [];
  const enter = (name: string) => {
    const node = producers.get(name);
    if (!node || done.has(node)) return;
    if (open.has(node)) {
      const label = `node ${node.op} ${quote(labelOf(node))}`;
      throw malformed('ONNX', label, 'inputs that do not come of it', `a cycle through ${quote(name)}`, node.offset);
    }
    open.add(node);
    stack.push({ node, names: [...node.inputs, ...node.captured], at: 0 });
  };
  for (const output of outputs) {
    enter(output);
    while (stack.length) {
      const top = stack[stack.length - 1];
      if (top.at < top.names.length) enter(top.names[top.at++]);
      else {
        stack.pop();
        open.delete(top.node);
        done.add(top.node);
        order.push(top.node);
      }
    }
  }
  // the file's own order, where it is one
  const sorted = [...order].sort((a, b) => places.get(a)! - places.get(b)!);
  const isSorted = sorted.every((node) =>
    [...node.inputs, ...node.captured].every((name) => {
      const maker = producers.get(name);
      return !maker || places.get(maker)! < places.get(node)!;
    }),
  );
  return isSorted ? sorted : order;
}

/** Kinds of norms that are layers whose axes are the last ones. */
const ROWS = { LayerNorm: 'layer', RMSNorm: 'rms' } as const;

/** A norm of channels that is written as several nodes. */
function channelLayer(
  call: Call,
  x: Flow,
  stateless: OnnxStatelessNorm,
  [gamma, beta]: readonly [Known | undefined, Known | undefined],
): Flow {
  const { kind, eps, numGroups = 1, name } = stateless;
  const channels = stateless.channels!;
  const Instance = [InstanceNorm1d, InstanceNorm2d, InstanceNorm3d][x.shape.length - 3];
  const layer =
    kind === 'GroupNorm' ? new GroupNorm(numGroups, channels, { eps }) : new Instance(channels, { eps, affine: true });
  const own = (one: Known) => {
    const { data } = spreadWeights(stateless, one.data as Values, one.shape);
    return { data: floats(data), shape: [channels] };
  };
  const state = { ...(gamma && { gamma: own(gamma) }), ...(beta && { beta: own(beta) }) };
  return call.draft.keep(loaded(layer as Layer, state), x, name);
}

class Reading {
  readonly #model: OnnxModel;
  readonly #graph: Graph;
  readonly #draft: Draft;
  readonly #outputs: readonly string[];
  readonly #order: readonly OnnxNode[];
  /** What names stand for: of the graph, and of graphs inside nodes. */
  #scope = new Map<string, Entry>();
  readonly #used = new Set<string>();
  readonly #folded: string[] = [];
  readonly #assumed = new Set<string>();
  readonly #constants: ReadonlyMap<string, Known>;
  readonly #around: Surroundings;
  readonly #dialect: Dialect | undefined;
  readonly #format: string;

  constructor(model: OnnxModel, { outputs, constants = new Map() }: OnnxNetworkOptions, dialect?: Dialect) {
    this.#model = model;
    this.#dialect = dialect;
    this.#format = dialect?.format ?? 'ONNX';
    this.#graph = graphFor(model);
    this.#outputs = outputs ?? model.outputs;
    this.#constants = constants;
    this.#checkNames();
    this.#order = ordered(this.#graph, this.#outputs);
    // another format's operators are told apart before they come here
    if (!dialect) checkOperators(model, this.#outputs);
    const stored = [...this.#graph.constants.values()].reduce((sum, { shape }) => sum + sizeOf(shape), 0);
    this.#draft = new Draft(Math.max(4 * stored, 1 << 20));
    const around: Surroundings = {
      format: this.#format,
      draft: this.#draft,
      opset: model.opset,
      names: this.#graph.names,
      isUsed: (name) =>
        this.#graph.takers.get(name) !== undefined || this.#outputs.includes(name) || this.#inner.has(name),
      takersOf: (name) => this.#graph.takers.get(name) ?? [],
      entryOf: (name) => this.#entryOf(name),
      inline: (node, branch) => this.#inline(node, branch),
      assume: (what) => void this.#assumed.add(what),
    };
    this.#around = around;
  }

  /** Names that graphs inside nodes use. */
  readonly #inner = new Set<string>();

  #checkNames(): void {
    const { producers, model } = this.#graph;
    const isValue = (name: string) => producers.has(name) || model.inputs.has(name) || this.#graph.constants.has(name);
    for (const name of this.#outputs) {
      if (isValue(name)) continue;
      if (name.length === 0 || this.#model.outputs.includes(name))
        throw malformed(this.#format, `output ${quote(name)}`, 'a node that gives it', 'none', 0);
      throw wrongValue('ERR_OPTION', 'loadNetwork', 'outputs', 'names of values of the graph', quote(name));
    }
    if (this.#outputs.length === 0) throw malformed(this.#format, 'graph', 'an output', 'none', 0);
    for (const name of this.#constants.keys()) {
      if (model.inputs.has(name)) continue;
      throw wrongValue('ERR_OPTION', 'loadNetwork', 'constants', 'names of inputs', quote(name));
    }
  }

  #entryOf(name: string): Entry | undefined {
    const found = this.#scope.get(name);
    if (found) return found;
    const constant = this.#graph.constants.get(name);
    if (!constant) return undefined;
    this.#used.add(name);
    if (!/^(?:B?F|[IU]|BOOL)/.test(constant.dtype)) {
      throw malformed(this.#format, `constant ${quote(name)}`, 'numbers', `type ${constant.dtype}`, 0);
    }
    const known = new StoredConstant(constant);
    this.#scope.set(name, known);
    return known;
  }

  network(): Read {
    this.#readInputs();
    const norms = this.#norms();
    const regions = regionsOf(
      this.#graph,
      this.#order.filter((node) => !norms.inside.has(node)),
    );
    const skipped = new Set<OnnxNode>(norms.inside);
    for (const { nodes } of regions.values()) for (const node of nodes.slice(0, -1)) skipped.add(node);
    for (const node of this.#order) {
      if (skipped.has(node)) continue;
      const stateless = norms.last.get(node);
      const region = regions.get(node);
      this.#guarded(node, () => {
        const call = new Call(node, this.#around);
        if (stateless && this.#normLayer(call, stateless)) return;
        if (region) this.#activation(call, region);
        else this.#convert(node);
      });
    }
    const outputs = this.#outputs.map((name) => this.#output(name));
    const { folded = [], unused, assumed = [] } = this.#dialect ?? {};
    return {
      format: this.#format,
      draft: this.#draft,
      names: this.#outputs,
      outputs,
      report: {
        folded: [...folded, ...this.#folded],
        unused: this.#unused(outputs, unused),
        assumed: [...assumed, ...this.#assumed],
      },
      reasons: [],
    };
  }

  #readInputs(): void {
    const { inputs, shapes: known, types } = this.#model;
    for (const name of inputs.keys()) {
      const fixed = this.#constants.get(name);
      if (fixed) {
        this.#scope.set(name, { ...fixed, dtype: types.get(name) ?? fixed.dtype });
        continue;
      }
      const shape = known.get(name);
      const dtype = types.get(name) ?? 'F32';
      const isTaken = this.#graph.takers.get(name) !== undefined || this.#outputs.includes(name);
      if (!/^(?:B?F\d|[IU]\d|BOOL)/.test(dtype)) {
        throw malformed(this.#format, `input ${quote(name)}`, 'a tensor of numbers', `type ${dtype}`, 0);
      }
      if (!shape) {
        if (!isTaken) continue;
        throw malformed(this.#format, `input ${quote(name)}`, 'a shape', 'none', 0);
      }
      if (dtype === 'F16' || dtype === 'BF16' || dtype === 'F64')
        this.#assumed.add(`input '${name}' of type ${dtype} is taken as float32`);
      const lengths = shape.map((length) => length ?? Number.NaN);
      this.#scope.set(name, this.#draft.input(name, lengths, dtype));
    }
  }

  /** Norms that are written as several nodes: those inside, and the last ones. */
  #norms(): { inside: Set<OnnxNode>; last: Map<OnnxNode, OnnxStatelessNorm> } {
    const inside = new Set<OnnxNode>();
    const last = new Map<OnnxNode, OnnxStatelessNorm>();
    const needed = new Set(this.#order);
    for (const stateless of statelessNormsOf(this.#model)) {
      const { nodes, problem, kind } = stateless;
      const rank = this.#graph.shapes.get(stateless.input)?.length ?? 0;
      const isLayer =
        kind === 'LayerNorm' || kind === 'RMSNorm'
          ? stateless.shape !== undefined
          : stateless.channels !== undefined && rank >= 3 && rank <= 5;
      if (!nodes || problem || !isLayer || !nodes.every((node) => needed.has(node) && !inside.has(node))) continue;
      const lastNode = nodes.find((node) => node.outputs[0] === stateless.output);
      if (
        !lastNode ||
        nodes.some((node) => node !== lastNode && node.outputs.some((name) => this.#outputs.includes(name)))
      )
        continue;
      for (const node of nodes) if (node !== lastNode) inside.add(node);
      last.set(lastNode, stateless);
    }
    return { inside, last };
  }

  /** What several nodes that are one take. */
  #flowBefore(call: Call, name: string): Flow {
    const entry = this.#entryOf(name);
    if (entry) return call.flowOf(entry);
    throw call.fail(`a value ${quote(name)}`, 'none');
  }

  #normLayer(call: Call, stateless: OnnxStatelessNorm): boolean {
    const x = this.#flowBefore(call, stateless.input);
    const own = stateless.shape;
    const known = (name: string | undefined): Known | undefined => {
      const entry = name ? this.#entryOf(name) : undefined;
      if (!entry) return undefined;
      // one that a node before has made
      if (isFlow(entry) || isSymbols(entry)) return this.#graph.constants.get(name!);
      return entry;
    };
    const weights = [known(stateless.inputs.gamma), known(stateless.inputs.beta)] as const;
    this.#draft.label = stateless.name;
    const isRow = stateless.kind === 'LayerNorm' || stateless.kind === 'RMSNorm';
    const flow = isRow
      ? rowLayer(call, x, own!, stateless.eps, ROWS[stateless.kind as keyof typeof ROWS], ...weights, stateless.name)
      : channelLayer(call, x, stateless, weights);
    this.#folded.push(`${stateless.kind} '${stateless.name}': of ${stateless.nodes!.length} nodes`);
    this.#scope.set(stateless.output, flow);
    return true;
  }

  #activation(call: Call, { input, nodes, activation, factor }: Region): void {
    const x = this.#flowBefore(call, input);
    this.#draft.label = call.name;
    const y = this.#draft.keep(new ActivationLayer(activation), x, call.name);
    this.#folded.push(`${activation} '${call.name}': of ${nodes.length} nodes`);
    this.#scope.set(call.node.outputs[0], factor === 1 ? y : this.#draft.multiply(y, scalar(call, factor)));
  }

  #convert(node: OnnxNode): void {
    const table = node.domain === '' ? converters() : node.domain === 'tf' ? this.#dialect?.converters : undefined;
    const convert = table && Object.hasOwn(table, node.op) ? table[node.op] : undefined;
    const call = new Call(node, this.#around);
    if (!convert)
      throw call.fail('an operator that there is here', node.domain ? `${node.domain}.${node.op}` : node.op);
    this.#draft.label = call.name;
    const entries = asTerms(call, convert) ?? [convert(call)].flat();
    node.outputs.forEach((name, i) => {
      const entry = entries[i];
      if (name === '') return;
      if (entry) this.#scope.set(name, entry);
      else if (this.#around.isUsed(name)) throw call.fail(`${entries.length} outputs`, `the use of ${quote(name)}`);
    });
  }

  /** What goes wrong in a node is said with its name. */
  #guarded(node: OnnxNode, work: () => void): void {
    try {
      work();
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      if (code === undefined || code === 'ERR_FORMAT' || code === 'ERR_MEMORY') throw error;
      const got = message.replaceAll('NaN', '?');
      throw malformed(this.#format, nodeLabel(node), 'what the operator takes', got, node.offset);
    }
  }

  #inline(node: OnnxNode, branch: string): readonly (Entry | undefined)[] {
    const graph = node.graphs.find(({ name }) => name === branch)?.graph;
    if (!graph) throw malformed(this.#format, nodeLabel(node), branch, 'none', node.offset);
    const outer = this.#scope;
    this.#scope = new Map(outer);
    try {
      this.#readInner(graph);
      return graph.outputs.map((name) => this.#entryOf(name));
    } finally {
      const inner = this.#scope;
      this.#scope = outer;
      // what was decoded on the way stays
      for (const [name, entry] of inner) if (this.#graph.constants.has(name)) outer.set(name, entry);
    }
  }

  #readInner(graph: OnnxGraph): void {
    for (const name of graph.outputs) this.#inner.add(name);
    for (const { inputs, captured } of graph.nodes) for (const name of [...inputs, ...captured]) this.#inner.add(name);
    for (const [name, tensor] of graph.initializers) this.#scope.set(name, tensor);
    for (const node of graph.nodes) this.#guarded(node, () => this.#convert(node));
  }

  #output(name: string): Flow {
    const entry = this.#entryOf(name);
    if (!entry) throw malformed(this.#format, `output ${quote(name)}`, 'a node that gives it', 'none', 0);
    const flow = isFlow(entry) ? entry : isSymbols(entry) ? this.#draft.numbers(entry) : this.#draft.constant(entry);
    return flow;
  }

  /** What of the file nobody needs. */
  #unused(outputs: readonly Flow[], others?: readonly string[]): string[] {
    const needed = this.#draft.neededInputs(outputs);
    const inputs = this.#draft.inputs.filter(({ flow }) => !needed.has(flow)).map(({ name }) => `input '${name}'`);
    if (others) return [...inputs, ...others];
    const initializers = [...this.#model.initializers.keys()].filter(
      (name) => !this.#used.has(name) && !this.#isDerived(name),
    );
    const nodes = this.#model.nodes.length - this.#order.length;
    return [
      ...inputs,
      ...initializers.map((name) => `initializer '${name}'`),
      ...(nodes > 0 ? [`${nodes} node${nodes === 1 ? '' : 's'} that no output needs`] : []),
    ];
  }

  /** Was a constant used by way of others that are made of it? */
  #isDerived(name: string): boolean {
    const open = [name];
    const seen = new Set<string>();
    for (let at = open.pop(); at !== undefined; at = open.pop()) {
      if (seen.has(at)) continue;
      seen.add(at);
      if (this.#used.has(at)) return true;
      for (const node of this.#graph.takers.get(at) ?? []) {
        if (node.graphs.length) return true;
        for (const output of node.outputs) if (this.#graph.constants.has(output)) open.push(output);
      }
    }
    return false;
  }
}
