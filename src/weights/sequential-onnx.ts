// A chain of ONNX nodes as layers.

import { malformed } from '../errors.ts';
import { type Bytes, mostLayers, quote, quoteSome } from '../formats/bytes.ts';
import type { StoredTensor, Values } from '../formats/dtypes.ts';
import { type OnnxModel, type OnnxNode, readOnnx } from '../formats/onnx.ts';
import type { TensorFiles } from '../formats/onnx-tensor.ts';
import {
  type Activation,
  type ActivationName,
  activationCode,
  activationOf,
  FOREIGN,
  NAMES,
} from '../kernels/activations.ts';
import type { Layer } from '../layers/layer.ts';
import { ActivationLayer } from '../nn/activations.ts';
import { Dropout } from '../nn/dropout.ts';
import { Linear } from '../nn/linear.ts';
import { Sequential } from '../nn/sequential.ts';
import { BatchNorm } from '../norms/batch-norm.ts';
import { BatchNorm1d } from '../norms/batch-norm-ranks.ts';
import { GroupNorm } from '../norms/group-norm.ts';
import { InstanceNorm1d, InstanceNorm2d, InstanceNorm3d } from '../norms/instance-norm.ts';
import { LayerNorm } from '../norms/layer-norm.ts';
import { RMSNorm } from '../norms/rms-norm.ts';
import { AffineRun, type Factor } from './affine-run.ts';
import { fromKernel } from './axes.ts';
import { biasRow, normsOf, type OnnxNorm } from './onnx.ts';
import { Allowance, type Shape, sizeOf } from './onnx-constants.ts';
import { activationOfNodes, ELEMENTWISE, ONNX_ACTIVATIONS, setOf } from './onnx-elementwise.ts';
import { checkOpset, type Graph, graphFor } from './onnx-graph.ts';
import { labelOf, shortest } from './onnx-names.ts';
import { type OnnxStatelessNorm, spreadWeights, statelessNormsOf } from './onnx-stateless-norms.ts';

const FORMAT = 'ONNX';

/** ONNX' number for float32. */
const FLOAT = 1;

/**
 * Builds the network. Throws ERR_FORMAT, by the nodes' names, where the graph is no chain of layers
 * that there are here.
 */
export function sequentialFromOnnx(
  file: Bytes,
  { dropSoftmax = false, files }: { dropSoftmax?: boolean; files?: TensorFiles | undefined },
): Sequential {
  const model = readOnnx(file, { files });
  checkOpset(model);
  return new Chain(graphFor(model), dropSoftmax).build();
}

/**
 * The shape of one row, as the network of a model takes it: as long as a graph that begins with
 * Flatten. undefined where it is not known.
 */
export function rowOfOnnx(model: OnnxModel): number[] | undefined {
  const [shape] = model.inputs.values();
  const row = shape?.slice(1);
  if (!row?.length || !row.every((length) => length !== undefined)) return undefined;
  const begin = neededNodes(graphFor(model)).find(({ op }) => op !== 'Identity' && op !== 'Cast');
  return begin?.op === 'Flatten' ? [sizeOf(row as number[])] : (row as number[]);
}

/** Operators that are layers, or parts of them. */
const KNOWN = /* @__PURE__ */ setOf(
  ELEMENTWISE,
  ['Cast', 'Flatten', 'Gemm', 'MatMul', 'BatchNormalization', 'LayerNormalization', 'RMSNormalization'],
  ['InstanceNormalization', 'GroupNormalization', 'ReduceMean', 'Dropout', 'Softmax', 'LogSoftmax', 'PRelu'],
  ONNX_ACTIVATIONS,
  ['Selu'],
);

/** The nodes that the output needs and constants do not replace, in their order. */
function neededNodes({ model, constants, producers }: Graph): OnnxNode[] {
  const needed = new Set<OnnxNode>();
  const open = [...model.outputs];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const node = constants.has(name) ? undefined : producers.get(name);
    if (!node || needed.has(node)) continue;
    needed.add(node);
    // one by one: a node may have more inputs than a call takes arguments
    for (const list of [node.inputs, node.captured]) for (const input of list) open.push(input);
  }
  return model.nodes.filter((node) => needed.has(node));
}

class Chain {
  readonly #graph: Graph;
  readonly #model: OnnxModel;
  readonly #nodes: readonly OnnxNode[];
  readonly #places: ReadonlyMap<OnnxNode, number>;
  readonly #norms: ReadonlyMap<OnnxNode, OnnxNorm>;
  /** Norms beside batch norm: of one node by it, of several by what they take. */
  readonly #statelessNorms = new Map<OnnxNode | string, OnnxStatelessNorm>();
  readonly #dropSoftmax: boolean;
  readonly #layers: Layer[] = [];
  /** How many of the nodes take a value, and the graph itself. */
  readonly #uses = new Map<string, number>();
  readonly #allowance: Allowance;
  #run = new AffineRun();
  #value: string;

  constructor(graph: Graph, dropSoftmax: boolean) {
    const { model } = graph;
    this.#graph = graph;
    this.#model = model;
    this.#nodes = neededNodes(graph);
    this.#places = new Map(model.nodes.map((node, i) => [node, i]));
    this.#norms = new Map(normsOf(model).map((norm) => [norm.node, norm]));
    for (const stateless of statelessNormsOf(model))
      this.#statelessNorms.set(stateless.nodes ? stateless.input : stateless.node, stateless);
    for (const node of this.#nodes) for (const name of node.inputs) this.#count(name);
    for (const name of model.outputs) this.#count(name);
    this.#dropSoftmax = dropSoftmax;
    this.#allowance = new Allowance(model.size);
    [this.#value = ''] = model.inputs.keys();
  }

  #count(name: string): void {
    this.#uses.set(name, (this.#uses.get(name) ?? 0) + 1);
  }

  build(): Sequential {
    this.#checkOperators();
    for (let i = 0; i < this.#nodes.length; ) i += this.#step(i);
    this.#flush();
    const [output] = this.#model.outputs;
    if (this.#value !== output)
      throw malformed(FORMAT, 'graph', `the output ${quote(output)} at the end of the chain`, quote(this.#value), 0);
    return new Sequential(...this.#layers).eval();
  }

  /**
   * Says all that is in the way, not only the first: inputs, outputs, operators that are no layers
   * here.
   */
  #checkOperators(): void {
    const strange = new Map<string, string>();
    const parts = new Set(
      [...this.#statelessNorms.values()].flatMap(({ nodes = [], problem }) => (problem ? [] : nodes)),
    );
    for (const node of this.#nodes) {
      if (parts.has(node)) continue;
      const isOwn = node.domain === '';
      const op = isOwn ? node.op : `${node.domain}.${node.op}`;
      if ((!isOwn || !KNOWN.has(node.op)) && !strange.has(op)) strange.set(op, this.#place(node));
    }
    const ends = [
      ['input', [...this.#model.inputs.keys()]],
      ['output', this.#model.outputs],
    ] as const;
    const many = ends.flatMap(([what, names]) =>
      names.length === 1 ? [] : [`${names.length} ${what}s${names.length ? ` (${some(names.map(quote))})` : ''}`],
    );
    const operators = [...strange].map(([op, place]) => `${op} (${place})`);
    if (many.length === 0 && operators.length === 0) return;
    const expected = `a chain of layers that there are here${many.length ? ', from one input to one output' : ''}`;
    throw malformed(FORMAT, 'graph', expected, [...many, ...(operators.length ? [some(operators)] : [])].join(', '), 0);
  }

  #place(node: OnnxNode): string {
    return `node ${this.#places.get(node)} ${quote(labelOf(node))}`;
  }

  #fail(node: OnnxNode, expected: string, got: string): Error {
    const label = `node ${this.#places.get(node)} ${node.op} ${quote(labelOf(node))}`;
    return malformed(FORMAT, label, expected, got, node.offset);
  }

  /** Takes as many nodes as make one layer, and says how many. */
  #step(i: number): number {
    const several = this.#statelessNorms.get(this.#value);
    const { nodes = [] } = several ?? {};
    if (several && nodes.length > 0) {
      const own = new Set(this.#nodes.slice(i, i + nodes.length));
      if (!several.problem && nodes.every((node) => own.has(node))) {
        this.#push(this.#statelessNormLayer(several.node, several));
        this.#value = several.output;
        return nodes.length;
      }
      const kind = `${several.kind} in ${nodes.length} nodes`;
      throw this.#fail(nodes[0], 'a norm that there is here', `${kind}: ${several.problem ?? 'used inside as well'}`);
    }
    const count = this.#meeting(i);
    if (count === 1) {
      const node = this.#nodes[i];
      this.#checkInputs(node, this.#value);
      this.#layer(node, i);
      this.#value = node.outputs[0];
      return 1;
    }
    const region = count === undefined ? [] : this.#nodes.slice(i, i + count);
    const found = region.length ? activationOfNodes(region, this.#value, this.#graph) : undefined;
    if (found) {
      this.#activate(found.activation);
      if (found.factor !== 1) this.#multiply(region[0], found.factor);
      this.#value = region.at(-1)!.outputs[0];
      return region.length;
    }
    // the first node that is not the next of a chain
    let value = this.#value;
    for (const node of this.#nodes.slice(i)) {
      this.#checkInputs(node, value);
      [value] = node.outputs;
    }
    const node = this.#nodes[i];
    throw this.#fail(node, `${quote(this.#value)} as its one input: a chain`, 'one that is used elsewhere');
  }

  #checkInputs(node: OnnxNode, value: string): void {
    const given = node.inputs.filter((name) => name !== '' && !this.#graph.constants.has(name));
    if (given.length !== 1 || given[0] !== value || node.captured.length > 0)
      throw this.#fail(node, `${quote(value)} as its one input: a chain`, quoteSome(given));
  }

  /**
   * How many nodes there are until all that comes of the value is one value; undefined where that
   * is never.
   */
  #meeting(i: number): number | undefined {
    const open = new Map<string, number>([[this.#value, this.#uses.get(this.#value) ?? 0]]);
    for (let at = i; at < this.#nodes.length; at++) {
      const { inputs, outputs } = this.#nodes[at];
      for (const name of inputs) {
        if (name === '' || this.#graph.constants.has(name)) continue;
        const left = open.get(name);
        if (left === undefined) return undefined;
        if (left === 1) open.delete(name);
        else open.set(name, left - 1);
      }
      for (const name of outputs) if (this.#uses.has(name)) open.set(name, this.#uses.get(name)!);
      if (open.size === 1 && open.has(outputs[0])) return at - i + 1;
    }
    return undefined;
  }

  get #shape(): Shape | undefined {
    return this.#graph.shapes.get(this.#value);
  }

  #push(layer: Layer): void {
    this.#flush();
    this.#append(layer);
  }

  #append(layer: Layer): void {
    const most = mostLayers(this.#model.size);
    if (this.#layers.length === most)
      throw malformed(FORMAT, 'graph', `at most ${most} layers for its size`, 'more', 0);
    this.#layers.push(layer);
  }

  #activate(activation: Activation): void {
    this.#push(new ActivationLayer(activation));
  }

  /** What constants have been added and multiplied becomes a layer. */
  #flush(): void {
    if (this.#run.isIdentity) {
      this.#run = new AffineRun();
      return;
    }
    const fail = (expected: string, got: string) => malformed(FORMAT, `value ${quote(this.#value)}`, expected, got, 0);
    if (!this.#run.isFinite) throw fail('factors and summands that f32 holds', 'a division by 0, or larger ones');
    const linear = this.#layers.findLast((layer) => layer instanceof Linear);
    const layer = this.#run.layer(this.#shape, linear?.outFeatures);
    if (!layer) throw fail('a known number of features', 'none');
    this.#run = new AffineRun();
    this.#append(layer);
  }

  #factor(node: OnnxNode, factor: number | StoredTensor): Factor {
    if (typeof factor === 'number') return factor;
    const size = sizeOf(factor.shape);
    if (size === 1) return factor.data[0];
    const fail = () => this.#fail(node, 'a constant for each place of one axis', `shape [${factor.shape.join(', ')}]`);
    const at = factor.shape.findIndex((length) => length !== 1);
    if (factor.shape[at] !== size) throw fail();
    const fromEnd = factor.shape.length - at;
    const rank = this.#shape?.length ?? (fromEnd === 1 ? 2 : undefined);
    if (rank === undefined || rank < factor.shape.length) throw fail();
    const length = this.#shape?.at(-fromEnd);
    if (length !== undefined && length !== size) throw fail();
    if (fromEnd !== 1 && rank - fromEnd !== 1) throw fail();
    return { values: factor.data, axis: rank > 2 && fromEnd === 1 ? 'last' : 'channels' };
  }

  #add(node: OnnxNode, given: number | StoredTensor, sign = 1): void {
    this.#affine(this.#factor(node, given), sign, (factor) => this.#run.add(factor));
  }

  #multiply(node: OnnxNode, given: number | StoredTensor, power = 1): void {
    this.#affine(this.#factor(node, given), power, (factor) => this.#run.multiply(factor), true);
  }

  #affine(factor: Factor, sign: number, apply: (factor: Factor) => void, isProduct = false): void {
    const change = (value: number) => (sign === 1 ? value : isProduct ? 1 / value : -value);
    if (!this.#run.takes(factor)) this.#flush();
    if (typeof factor === 'number') apply(change(factor));
    else apply({ axis: factor.axis, values: sign === 1 ? factor.values : Float64Array.from(factor.values, change) });
  }

  /** The layer that one node stands for. */
  #layer(node: OnnxNode, i: number): void {
    const { op, attributes, inputs } = node;
    const number = (name: string, standard: number) => shortest(attributes.get(name), standard);
    const constant = (name: string | undefined, what: string) => this.#constant(node, name, what);
    /** The constant beside the value, and whether it comes first. */
    const other = () => {
      const isFirst = inputs[0] !== this.#value;
      const tensor = constant(inputs[isFirst ? 0 : 1], 'its other input');
      // more axes than the value has would become the value's
      const most = this.#shape?.length ?? 1;
      if (tensor.shape.length > most)
        throw this.#fail(node, `a constant of at most ${most} axes`, `shape [${tensor.shape.join(', ')}]`);
      return { isFirst, tensor };
    };
    switch (op) {
      case 'Identity':
        return;
      case 'Cast':
        if (attributes.get('to') !== FLOAT) throw this.#fail(node, 'a cast to float32', `type ${attributes.get('to')}`);
        return;
      case 'Flatten':
        this.#flatten(node);
        return;
      case 'Gemm':
      case 'MatMul':
        this.#linear(node);
        return;
      case 'Add':
        if (this.#isBias(other().tensor)) this.#addBias(node, other().tensor);
        else this.#add(node, other().tensor);
        return;
      case 'Sub': {
        const { isFirst, tensor } = other();
        if (isFirst) this.#multiply(node, -1);
        this.#add(node, tensor, isFirst ? 1 : -1);
        return;
      }
      case 'Mul':
        this.#multiply(node, other().tensor);
        return;
      case 'Div': {
        const { isFirst, tensor } = other();
        if (isFirst) throw this.#fail(node, 'a constant as divisor', 'one that is divided');
        this.#multiply(node, tensor, -1);
        return;
      }
      case 'Neg':
        this.#multiply(node, -1);
        return;
      case 'BatchNormalization':
        this.#batchNorm(node);
        return;
      case 'Dropout':
        this.#dropout(node);
        return;
      case 'Softmax':
      case 'LogSoftmax':
        if (!this.#dropSoftmax)
          throw this.#fail(node, 'a layer that there is here (dropSoftmax: true leaves it out at the end)', op);
        if (i !== this.#nodes.length - 1)
          throw this.#fail(node, 'the end of the graph behind it', this.#nodes[i + 1].op);
        return;
      case 'Clip':
      case 'Min':
      case 'Max':
        this.#clip(node);
        return;
      case 'Selu':
        // gamma·(x, or alpha·(exp(x) − 1)): an ELU, multiplied
        this.#activate({ name: 'elu', alpha: number('alpha', 1.6732632) });
        this.#multiply(node, number('gamma', 1.050701));
        return;
      case 'HardSigmoid': {
        // ours is x/6 + 1/2 between 0 and 1: alpha·x + beta is that of 6·(alpha·x + beta − 1/2)
        const [alpha, beta] = [number('alpha', 0.2), number('beta', 0.5)];
        if (!(Math.abs(alpha - 1 / 6) < 1e-7)) this.#multiply(node, 6 * alpha);
        if (beta !== 0.5) this.#add(node, 6 * (beta - 0.5));
        this.#activate('hard-sigmoid');
        return;
      }
      case 'PRelu': {
        const { data } = constant(inputs[1], 'slope');
        if (inputs[0] !== this.#value || data.some((slope) => slope !== data[0]))
          throw this.#fail(node, 'one slope for all channels', `${data.length}`);
        this.#activate({ name: 'leaky-relu', slope: shortest(data[0], data[0]) });
        return;
      }
    }
    const stateless = this.#statelessNorms.get(node);
    if (stateless) {
      this.#push(this.#statelessNormLayer(node, stateless));
      return;
    }
    const activation = activationFor(node, number);
    if (!activation) throw this.#fail(node, 'a node that is a layer, or nodes that are one together', op);
    this.#activate(activation);
  }

  #constant(node: OnnxNode, name: string | undefined, what: string): StoredTensor {
    const found = name === undefined ? undefined : this.#graph.constants.get(name);
    if (!found) throw this.#fail(node, `a constant as ${what}`, name ? quote(name) : 'none');
    this.#allowance.take(name!, found);
    return found;
  }

  /** Of rows it does nothing; of what comes in, whoever calls the network has done it. */
  #flatten(node: OnnxNode): void {
    const axis = (node.attributes.get('axis') as number | undefined) ?? 1;
    const rank = this.#shape?.length;
    if (axis !== 1 && !(axis < 0 && rank !== undefined && axis + rank === 1))
      throw this.#fail(node, 'axis 1', `${axis}`);
    const isBegun = this.#layers.length > 0 || !this.#run.isIdentity;
    if (isBegun && (rank ?? 2) !== 2)
      throw this.#fail(node, 'rows, or the beginning of the graph', `rank ${rank} behind a layer`);
  }

  #linear(node: OnnxNode): void {
    const { op, attributes, inputs } = node;
    if (attributes.get('transA') || inputs[0] !== this.#value)
      throw this.#fail(node, 'a constant on the right', 'the input there, or transposed');
    const weight = this.#constant(node, inputs[1], 'weight');
    if (weight.shape.length !== 2) throw this.#fail(node, 'a weight of rank 2', `rank ${weight.shape.length}`);
    const { data, shape } =
      op === 'Gemm' && attributes.get('transB')
        ? { data: weight.data, shape: weight.shape }
        : fromKernel(weight.data, weight.shape);
    const number = (name: string) => (op === 'Gemm' ? shortest(attributes.get(name), 1) : 1);
    const bias = op === 'Gemm' && inputs[2] ? this.#constant(node, inputs[2], 'bias') : undefined;
    this.#push(linearOf(data, shape, bias && this.#row(node, bias, shape[0]), number('alpha'), number('beta')));
  }

  #row(node: OnnxNode, { data, shape }: StoredTensor, outFeatures: number): Values {
    const row = biasRow(data, shape, outFeatures);
    if (row) return row;
    throw this.#fail(node, `a bias of ${outFeatures} values`, `shape [${shape.join(', ')}]`);
  }

  /** Is an addition the bias of the linear layer before it? */
  #isBias({ shape }: StoredTensor): boolean {
    const last = this.#layers.at(-1);
    if (!(last instanceof Linear) || last.bias || !this.#run.isIdentity) return false;
    return sizeOf(shape) === 1 || (sizeOf(shape) === last.outFeatures && shape.at(-1) === last.outFeatures);
  }

  #addBias(node: OnnxNode, bias: StoredTensor): void {
    const last = this.#layers.pop() as Linear;
    const { weight } = last.stateDict();
    const row = this.#row(node, bias, last.outFeatures);
    this.#layers.push(linearOf(weight.data as Values, weight.shape, row, 1, 1));
  }

  #batchNorm(node: OnnxNode): void {
    const { inputs, options, training, problem } = this.#norms.get(node)!;
    if (training) throw this.#fail(node, 'inference', 'training_mode 1');
    if (problem) throw this.#fail(node, 'a batch norm that there is here', problem);
    const read = (name: keyof typeof inputs) => {
      const { data, shape } = this.#constant(node, inputs[name], name);
      return { data, shape };
    };
    const gamma = read('gamma');
    const Norm = this.#shape?.length === 2 ? BatchNorm1d : BatchNorm;
    const bn = new Norm(gamma.data.length, options);
    const [beta, runningMean, runningVar] = [read('beta'), read('runningMean'), read('runningVar')];
    bn.loadStateDict({ ...bn.stateDict(), gamma, beta, runningMean, runningVar });
    this.#push(bn);
  }

  #dropout(node: OnnxNode): void {
    const [, ratio, training] = node.inputs;
    if (training && this.#constant(node, training, 'training_mode').data[0] !== 0)
      throw this.#fail(node, 'inference', 'training_mode true');
    const p = ratio
      ? this.#constant(node, ratio, 'ratio').data[0]
      : ((node.attributes.get('ratio') as number | undefined) ?? 0.5);
    this.#push(new Dropout(shortest(p, 0.5)));
  }

  /** Bounds: relu6 and relu, moved and multiplied where they are others. */
  #clip(node: OnnxNode): void {
    const { op, inputs, attributes } = node;
    const scalar = (name: string | undefined) => {
      const { data, shape } = this.#constant(node, name, 'bound');
      if (sizeOf(shape) !== 1) throw this.#fail(node, 'one bound for all', `shape [${shape.join(', ')}]`);
      return data[0];
    };
    let [low, high] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
    if (op === 'Clip' && inputs[0] === this.#value) {
      const isOld = inputs.length === 1;
      low = inputs[1] ? scalar(inputs[1]) : isOld ? ((attributes.get('min') as number | undefined) ?? low) : low;
      high = inputs[2] ? scalar(inputs[2]) : isOld ? ((attributes.get('max') as number | undefined) ?? high) : high;
    } else if (op !== 'Clip' && inputs.length === 2) {
      const bound = scalar(inputs.find((name) => name !== this.#value));
      if (op === 'Max') low = bound;
      else high = bound;
    } else throw this.#fail(node, 'one value and its bounds', `${inputs.length} inputs`);
    const largest = (2 - 2 ** -23) * 2 ** 127;
    const [hasLow, hasHigh] = [low > -largest, high < largest];
    if (!(low <= high)) throw this.#fail(node, 'bounds in their order', `${low} and ${high}`);
    if (hasLow && hasHigh) {
      if (low === high) throw this.#fail(node, 'bounds that differ', `${low} and ${high}`);
      const scale = (high - low) / 6;
      if (low !== 0) this.#add(node, -low);
      if (scale !== 1) this.#multiply(node, 1 / scale);
      this.#activate('relu6');
      if (scale !== 1) this.#multiply(node, scale);
      if (low !== 0) this.#add(node, low);
    } else if (hasLow || hasHigh) {
      // min(x, b) is −max(−x, −b)
      if (hasHigh) this.#multiply(node, -1);
      const bound = hasLow ? low : -high;
      if (bound !== 0) this.#add(node, -bound);
      this.#activate('relu');
      if (bound !== 0) this.#add(node, bound);
      if (hasHigh) this.#multiply(node, -1);
    }
  }

  /** A norm whose statistics are those of its input, with its weights. */
  #statelessNormLayer(node: OnnxNode, stateless: OnnxStatelessNorm): Layer {
    const { kind, inputs, eps, numGroups = 1, problem } = stateless;
    if (problem) throw this.#fail(node, 'a norm that there is here', `${kind}: ${problem}`);
    const weights = (name: string | undefined, what: string) => {
      if (name === undefined) return undefined;
      const { data, shape } = this.#constant(node, name, what);
      return spreadWeights(stateless, data, shape);
    };
    const gamma = weights(inputs.gamma, 'scale');
    const beta = weights(inputs.beta, 'bias');
    const state = { ...(gamma && { gamma }), ...(beta && { beta }) };
    if (kind === 'LayerNorm' || kind === 'RMSNorm') {
      const affine = gamma && beta ? true : gamma ? 'gamma' : false;
      const norm = new { LayerNorm, RMSNorm }[kind](stateless.shape!, { eps, affine });
      norm.loadStateDict(state);
      return norm;
    }
    const { channels } = stateless;
    const shape = this.#graph.shapes.get(stateless.input);
    if (!channels) throw this.#fail(node, 'a known number of channels', 'none');
    if (kind === 'GroupNorm') {
      const norm = new GroupNorm(numGroups, channels, { eps });
      norm.loadStateDict({ ...norm.stateDict(), ...state });
      return norm;
    }
    const Norm = [InstanceNorm1d, InstanceNorm2d, InstanceNorm3d][(shape?.length ?? 0) - 3];
    if (!Norm) throw this.#fail(node, 'an input of known rank, 3 to 5', shape ? `rank ${shape.length}` : 'none');
    const norm = new Norm(channels, { eps, affine: true });
    norm.loadStateDict({ ...norm.stateDict(), ...state });
    return norm;
  }
}

/** The first of a list, and how many more there are. */
function some(list: readonly string[]): string {
  return list.slice(0, 8).join(', ') + (list.length > 8 ? ` and ${list.length - 8} more` : '');
}

function activationFor(
  { op, attributes }: OnnxNode,
  number: (name: string, standard: number) => number,
): Activation | undefined {
  let found: Activation | undefined;
  for (const [name, { onnx }] of Object.entries(FOREIGN)) {
    const [step, ...others] = onnx;
    if (others.length || step.inputs || step.op !== op) continue;
    const own = Object.entries(step.attributes ?? {});
    if (!own.every(([attribute, value]) => attributes.get(attribute) === value)) continue;
    const kind = NAMES.indexOf(name as ActivationName);
    const { alpha } = activationCode('loadSequential', name as ActivationName);
    const activation = activationOf({ kind, alpha: step.parameter ? number(step.parameter, alpha) : 0 });
    // the operator with attributes of its own, else the operator
    if (!found || own.length) found = activation;
  }
  return found;
}

function linearOf(
  weight: Values,
  shape: readonly number[],
  bias: Values | undefined,
  alpha: number,
  beta: number,
): Linear {
  const linear = new Linear(shape[1], shape[0], { bias: bias !== undefined, init: () => {} });
  const scaled = (values: Values, by: number) => (by === 1 ? values : Float64Array.from(values, (value) => value * by));
  linear.loadStateDict({
    weight: { data: scaled(weight, alpha), shape: [...shape] },
    ...(bias && { bias: { data: scaled(bias, beta), shape: [shape[0]] } }),
  });
  return linear;
}
