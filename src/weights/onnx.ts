// ONNX models: https://onnx.ai/onnx/operators/onnx__BatchNormalization.html. Momentum there is the
// weight of the old value, the running variance the biased one, channels are axis 1.

import { malformed } from '../errors.ts';
import { type Bytes, quote } from '../formats/bytes.ts';
import type { StoredTensor, Values } from '../formats/dtypes.ts';
import { type OnnxGraph, type OnnxModel, type OnnxNode, readOnnx } from '../formats/onnx.ts';
import type { BatchNormOptions } from '../norms/options.ts';
import { fromKernel } from './axes.ts';
import { Collector, type Imported, type ImportOptions } from './imported.ts';
import { newWeight } from './keras.ts';
import { Allowance, literalOf, sizeOf } from './onnx-constants.ts';
import { checkOpset, type Graph, graphFor } from './onnx-graph.ts';
import { labelOf, shortest } from './onnx-names.ts';
import { spreadWeights, statelessNormsOf } from './onnx-stateless-norms.ts';

const FORMAT = 'ONNX';

/** A BatchNormalization node: which values it takes, and what it does with them. */
export interface OnnxNorm {
  /** Its name in an import. */
  readonly name: string;
  /** The node. */
  readonly node: OnnxNode;
  /** Its eps and momentum, as options of `BatchNorm`. */
  readonly options: BatchNormOptions;
  /** Does it normalise by the batch (`training_mode`)? */
  readonly training: boolean;
  /** Names of scale, bias, mean and variance. */
  readonly inputs: Readonly<Record<'gamma' | 'beta' | 'runningMean' | 'runningVar', string>>;
  /** Why it is no batch norm as they are here: `spatial` 0 has statistics of single values. */
  readonly problem?: string;
}

/**
 * The BatchNormalization nodes of a model.
 *
 *     normsOf(readOnnx(bytes)).map(({ name, options }) => [name, options.eps]);
 *
 * @param model what `readOnnx` returned
 * @throws ERR_FORMAT where inputs or outputs are missing
 */
export function normsOf(model: OnnxModel): OnnxNorm[] {
  const graph = graphFor(model);
  return model.nodes
    .filter(({ op, domain }) => op === 'BatchNormalization' && domain === '')
    .map((node) => normOf(graph, node));
}

function normOf({ model: { opset }, names }: Graph, node: OnnxNode): OnnxNorm {
  const { attributes, inputs, outputs, offset } = node;
  const label = `node ${quote(labelOf(node))}`;
  if (inputs.length < 5) throw malformed(FORMAT, label, '5 inputs', `${inputs.length}`, offset);
  if (outputs.length < 1) throw malformed(FORMAT, label, 'an output', 'none', offset);
  const [, gamma, beta, runningMean, runningVar] = inputs;
  // before version 14 training showed in the number of outputs, before version 7 in is_test
  const training =
    opset >= 14
      ? attributes.get('training_mode') === 1
      : outputs.filter((name) => name !== '').length > 1 || (opset < 7 && attributes.get('is_test') !== 1);
  const isSingle = opset < 9 && attributes.get('spatial') === 0;
  const norm = {
    name: names.get(node)!,
    node,
    options: {
      eps: shortest(attributes.get('epsilon'), 1e-5),
      momentum: newWeight(shortest(attributes.get('momentum'), 0.9)),
      runningVariance: 'biased',
      layout: 'channels-first',
    },
    training,
    inputs: { gamma, beta, runningMean, runningVar },
  } as const;
  return isSingle ? { problem: 'spatial 0: statistics of single values, not of channels', ...norm } : norm;
}

/**
 * Tensors of a model by name: initializers, Constant nodes, and those of graphs inside nodes behind
 * the path to them.
 */
export function tensorsOf(model: OnnxModel): Map<string, StoredTensor> {
  const tensors = new Map<string, StoredTensor>();
  const gather = ({ nodes, initializers }: Pick<OnnxGraph, 'nodes' | 'initializers'>, path: string) => {
    for (const [name, tensor] of initializers) tensors.set(path + name, tensor);
    for (const node of nodes) {
      const constant = node.op === 'Constant' && node.domain === '' ? literalOf(node) : undefined;
      if (constant) tensors.set(path + node.outputs[0], constant);
      for (const { name, graph } of node.graphs)
        gather(graph, `${path}${labelOf(node).slice(0, 80)}/${name.slice(0, 80)}/`);
    }
  };
  gather(model, '');
  for (const { name, nodes } of model.functions) gather({ nodes, initializers: new Map() }, `${name}/`);
  return tensors;
}

/** Nodes of graphs inside nodes and of functions, and where they are. */
function* innerNodes(model: OnnxModel): Generator<{ readonly node: OnnxNode; readonly path: string }> {
  const open: { nodes: readonly OnnxNode[]; path: string }[] = [
    { nodes: model.nodes, path: '' },
    ...model.functions.map(({ name, nodes }) => ({ nodes, path: `function ${name}` })),
  ];
  for (const { nodes, path } of open) {
    for (const node of nodes) {
      if (path) yield { node, path };
      for (const { name, graph } of node.graphs)
        open.push({
          nodes: graph.nodes,
          path: `${path && `${path}, `}${node.op.slice(0, 80)} ${labelOf(node).slice(0, 80)}: ${name.slice(0, 80)}`,
        });
    }
  }
}

/** BatchNormalization inside other nodes, and why nothing is folded there. */
export function strangeBatchNorms(model: OnnxModel): { norm: string; reason: string }[] {
  return [...innerNodes(model)]
    .filter(({ node: { op, domain } }) => op === 'BatchNormalization' && domain === '')
    .map(({ node, path }) => ({ norm: labelOf(node), reason: `it is inside another node (${path})` }));
}

/**
 * Norms that are there but not among `norms` of an import: of other kinds, in graphs inside nodes
 * and in functions.
 */
export function strangeNorms(model: OnnxModel): string[] {
  const inside = [...innerNodes(model)]
    .filter(({ node }) => /Norm(?:alization)?$/.test(node.op))
    .map(({ node, path }) => `${node.op} ${labelOf(node)} (inside ${path})`);
  const single = normsOf(model).flatMap(({ name, problem }) =>
    problem ? [`BatchNormalization ${name} (${problem})`] : [],
  );
  const stateless = statelessNormsOf(model).map(({ name, node, kind, nodes, problem }) => {
    const notes = [...(nodes ? [`in ${nodes.length} nodes`] : []), ...(problem ? [problem] : [])].join(': ');
    return `${nodes ? kind : node.op} ${name}${notes && ` (${notes})`}`;
  });
  const foreign = model.nodes.flatMap((node) =>
    node.domain !== '' && /Norm/.test(node.op) ? [`${node.op} ${labelOf(node)} (domain ${node.domain})`] : [],
  );
  return [...single, ...stateless, ...foreign, ...inside];
}

type Take = (tensor: string, layer: string, ours: string, change?: Parameters<Collector['take']>[4]) => void;

/**
 * An ONNX model's weights in our names: those of BatchNormalization and the other norms, and of
 * Gemm, MatMul, Conv, ConvTranspose and PRelu nodes. Layers have the name that their initializers
 * carry (`bn1.weight`), else that of the node. Values that a norm takes from the graph's inputs are
 * listed as missing, initializers and constants of other nodes as unused.
 *
 *     const { state } = fromOnnx(await readFile('model.onnx'), { layer: net });
 *
 * @param model bytes of the model, or what `readOnnx` returned
 * @throws ERR_FORMAT for bytes that are no model, and unless `lenient` for batch norms before
 *   version 7 of the operators; ERR_STATE as `fromTorch`
 */
export function fromOnnx(model: OnnxModel | Bytes, options: ImportOptions = {}): Imported {
  const isModel = typeof model === 'object' && model !== null && 'nodes' in model;
  const parsed = isModel ? (model as OnnxModel) : readOnnx(model as Bytes);
  const collector = new Collector('fromOnnx', options);
  const norms = normsOf(parsed);
  if (norms.length && !options.lenient) checkOpset(parsed);
  const graph = graphFor(parsed);
  const used = new Set<string>();
  const allowance = new Allowance(parsed.size);
  const take: Take = (tensor, layer, ours, change) => {
    const found = graph.constants.get(tensor);
    if (!found) return collector.missing(tensor);
    allowance.take(tensor, found);
    markUsed(graph, tensor, used);
    collector.take(tensor, found, layer, ours, change);
  };
  /** Nodes with the same name have the same weights. */
  const seen = new Set<string>();
  const isFirst = (name: string) => !seen.has(name) && seen.add(name) !== undefined;
  for (const norm of norms) {
    if (norm.problem || !isFirst(norm.name)) continue;
    const layer = collector.rename(norm.name);
    if (norm.training) collector.training(norm.name);
    collector.norm(layer, norm.options, 'all');
    for (const [ours, tensor] of Object.entries(norm.inputs)) take(tensor, layer, ours);
  }
  for (const stateless of statelessNormsOf(parsed)) {
    if (stateless.problem || !isFirst(stateless.name)) continue;
    const layer = collector.rename(stateless.name);
    for (const [ours, tensor] of Object.entries(stateless.inputs))
      take(tensor, layer, ours, (values, shape) => spreadWeights(stateless, values, shape));
    // the ones and zeros of a group norm say that there is nothing else
    for (const { op, inputs } of stateless.nodes ?? [])
      if (op === 'InstanceNormalization') for (const name of inputs.slice(1)) markUsed(graph, name, used);
  }
  for (const node of parsed.nodes) {
    if (node.op === 'Dropout' && node.inputs[2] && graph.constants.get(node.inputs[2])?.data[0]) {
      collector.training(labelOf(node));
    }
    const name = graph.names.get(node);
    if (name === undefined || !isFirst(name)) continue;
    if (node.op === 'Gemm' || node.op === 'MatMul') takeLinear(graph, node, () => collector.rename(name), take);
    else if (node.op === 'Conv' || node.op === 'ConvTranspose' || node.op === 'PRelu')
      takeOther(graph, node, () => collector.rename(name), take);
  }
  for (const name of tensorsOf(parsed).keys()) if (!used.has(name)) collector.unused(name);
  return collector.finish();
}

/** A constant and those that it was made of. */
function markUsed({ constants, producers }: Graph, tensor: string, used: Set<string>): void {
  const open = [tensor];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    if (used.has(name) || !constants.has(name)) continue;
    used.add(name);
    for (const input of producers.get(name)?.inputs ?? []) open.push(input);
  }
}

function takeOther(graph: Graph, node: OnnxNode, layerOf: () => string, take: Take): void {
  const { constants } = graph;
  const [, weight, own] = node.inputs;
  const found = constants.get(weight);
  if (!found) return;
  const layer = layerOf();
  const flat = (data: Values) => ({ data, shape: [data.length] });
  take(weight, layer, 'weight', node.op === 'PRelu' ? flat : undefined);
  if (node.op === 'PRelu') return;
  // TensorFlow's and Paddle's exporters add the bias behind the layer
  const rank = found.shape.length;
  const isBias = (name: string) => {
    const shape = constants.get(name)?.shape;
    const all = shape && [...Array<number>(Math.max(rank - shape.length, 0)).fill(1), ...shape];
    return all?.length === rank && all[1] > 1 && sizeOf(all) === all[1];
  };
  const bias = own || addedTo(graph, node, isBias);
  if (bias && constants.has(bias)) take(bias, layer, 'bias', flat);
}

/** What is added to a node's output, which nobody else takes. */
function addedTo(
  { takers, model }: Graph,
  { outputs: [output] }: OnnxNode,
  isBias: (name: string) => boolean,
): string | undefined {
  const next = takers.get(output) ?? [];
  if (next.length !== 1 || next[0].op !== 'Add' || next[0].domain !== '' || model.outputs.includes(output))
    return undefined;
  return next[0].inputs.find((name) => name !== output && isBias(name));
}

function takeLinear(graph: Graph, node: OnnxNode, layerOf: () => string, take: Take): void {
  const { constants } = graph;
  const [, weight] = node.inputs;
  if (constants.get(weight)?.shape.length !== 2) return;
  const layer = layerOf();
  const number = (name: string) => (node.op === 'Gemm' ? shortest(node.attributes.get(name), 1) : 1);
  const scaled = (values: Values, by: number) =>
    by === 1 ? values : (Float64Array.from(values, (value) => value * by) as Values);
  const isOurs = node.op === 'Gemm' && Boolean(node.attributes.get('transB'));
  const outFeatures = constants.get(weight)!.shape[isOurs ? 0 : 1];
  take(weight, layer, 'weight', (values, shape) => {
    const { data, shape: ours } = isOurs ? { data: values, shape } : fromKernel(values, shape);
    return { data: scaled(data, number('alpha')), shape: ours };
  });
  const bias = biasOf(graph, node, outFeatures);
  if (bias === undefined) return;
  take(bias, layer, 'bias', (values, shape) => ({
    data: scaled(biasRow(values, shape, outFeatures)!, number('beta')),
    shape: [outFeatures],
  }));
}

/** The bias of a linear layer: Gemm's own, or that of the addition behind it. */
function biasOf(graph: Graph, node: OnnxNode, outFeatures: number): string | undefined {
  const isBias = (name: string) => {
    const found = graph.constants.get(name);
    return found !== undefined && isRow(found.shape, outFeatures);
  };
  const own = node.op === 'Gemm' ? node.inputs[2] : undefined;
  if (own) return isBias(own) ? own : undefined;
  return addedTo(graph, node, (name) => isBias(name) && sizeOf(graph.constants.get(name)!.shape) === outFeatures);
}

/** Is this one value for each output, or one for all of them? */
function isRow(shape: readonly number[], outFeatures: number): boolean {
  const size = sizeOf(shape);
  return size === 1 || (size === outFeatures && shape.at(-1) === outFeatures);
}

/**
 * A bias as one value for each output, from whatever shape broadcasts to it; undefined for others.
 */
export function biasRow(values: Values, shape: readonly number[], outFeatures: number): Values | undefined {
  if (!isRow(shape, outFeatures)) return undefined;
  return values.length === outFeatures ? values : new Float32Array(outFeatures).fill(values[0]);
}
