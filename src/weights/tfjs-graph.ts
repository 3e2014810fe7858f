// Graph models of TF.js: nodes of TensorFlow with weights among their inputs. The nodes alone say
// which weight is what, and eps of norms.

import { malformed } from '../errors.ts';
import type { StoredTensor } from '../formats/dtypes.ts';
import { asRecord, type Json } from '../formats/json.ts';
import { type BatchNormOptions, preset } from '../norms/options.ts';
import type { NormOption } from './imported.ts';

interface GraphNode {
  readonly name: string;
  readonly op: string;
  readonly inputs: readonly string[];
  readonly attributes: { readonly [name: string]: Json };
}

/** How a weight's axes become ours. */
type Axes = 'as they are' | 'kernel' | 'depthwise';

/** A node that takes weights: which, under which of our names, and of a norm its options. */
interface GraphLayer {
  readonly name: string;
  readonly weights: readonly { readonly ours: string; readonly full: string; readonly axes: Axes }[];
  readonly missing: readonly string[];
  readonly norm?: { readonly options: BatchNormOptions; readonly stated: readonly NormOption[] };
}

const NORMS = /^(?:_?FusedBatchNorm(?:V[23]|Ex)?|BatchNormWithGlobalNormalization)$/;
const PRODUCTS =
  /^(?:_?(?:Fused)?(?:Conv2D|Conv3D|MatMul|DepthwiseConv2dNative)|Conv2DBackpropInput|Conv3DBackpropInputV2)$/;

/** More are nothing that anybody runs. */
const MOST_NODES = 1 << 17;
const MOST_LAYERS = 1 << 13;

/** Is a topology a graph, not a list of layers? */
export function isGraph(topology: Json): boolean {
  return Array.isArray(asRecord(topology)?.node);
}

/** The norms, convolutions and products of a graph, with the weights that they take. */
export function graphLayers(topology: Json, tensors: ReadonlyMap<string, StoredTensor>): GraphLayer[] {
  const nodes = nodesOf(topology);
  const weightAt = (node: GraphNode, i: number) => weightOf(node.inputs[i], nodes, tensors);
  const biases = new Map<string, string>();
  for (const node of nodes.values()) {
    const bias = node.op === 'BiasAdd' ? weightAt(node, 1) : undefined;
    if (bias !== undefined) biases.set(bare(node.inputs[0]), bias);
  }
  const isLayer = ({ op }: GraphNode) => NORMS.test(op) || PRODUCTS.test(op);
  const some = [...nodes.values()].filter(isLayer);
  if (some.length > MOST_LAYERS)
    throw malformed('TF.js', 'modelTopology', `at most ${MOST_LAYERS} norms and products`, `${some.length}`, 0);
  const layers = some.flatMap((node) => {
    if (NORMS.test(node.op)) return [{ ...normOf(node, (i) => weightAt(node, i)), node }];
    const full = PRODUCTS.test(node.op) ? weightAt(node, 1) : undefined;
    if (full === undefined) return [];
    const bias = node.op.includes('Fused') && fuses(node, 'BiasAdd') ? weightAt(node, 2) : biases.get(node.name);
    const weights = [
      { ours: 'weight', full, axes: axesOf(node) },
      ...(bias === undefined ? [] : [{ ours: 'bias', full: bias, axes: 'as they are' as const }]),
    ];
    return [{ weights, missing: [], node }];
  });
  // by the folder of the node; where two share it, by the node
  const folder = ({ name }: GraphNode) => name.replace(/\/[^/]*$/, '');
  const shared = new Map<string, number>();
  for (const { node } of layers) shared.set(folder(node), (shared.get(folder(node)) ?? 0) + 1);
  return layers.map(({ node, ...layer }) => ({
    ...layer,
    name: (shared.get(folder(node)) === 1 ? folder(node) : node.name).replaceAll('/', '.'),
  }));
}

function normOf({ op, attributes }: GraphNode, weight: (i: number) => string | undefined): Omit<GraphLayer, 'name'> {
  const standard = preset('keras');
  const epsilon = asRecord(attributes.epsilon ?? attributes.variance_epsilon)?.f;
  const format = textOf(asRecord(attributes.data_format)?.s);
  // the older node takes mean, variance, beta, gamma
  const order = op.startsWith('BatchNormWith') ? [4, 3, 1, 2] : [1, 2, 3, 4];
  const found = ['gamma', 'beta', 'runningMean', 'runningVar'].map((ours, i) => ({ ours, full: weight(order[i]) }));
  return {
    weights: found.flatMap(({ ours, full }) =>
      full === undefined ? [] : [{ ours, full, axes: 'as they are' as const }],
    ),
    missing: found.flatMap(({ ours, full }) => (full === undefined ? [ours] : [])),
    norm: {
      options: {
        ...standard,
        eps: typeof epsilon === 'number' ? epsilon : standard.eps,
        layout: format === 'NCHW' ? 'channels-first' : 'channels-last',
      },
      stated: [
        ...(typeof epsilon === 'number' ? (['eps'] as const) : []),
        ...(format === undefined ? [] : (['layout'] as const)),
      ],
    },
  };
}

function axesOf({ op, attributes }: GraphNode): Axes {
  if (op.includes('Depthwise')) return 'depthwise';
  return op.includes('MatMul') && asRecord(attributes.transpose_b)?.b === true ? 'as they are' : 'kernel';
}

/** Is an operation among those that a node does as well? */
function fuses({ attributes }: GraphNode, op: string): boolean {
  const list = asRecord(asRecord(attributes.fused_ops)?.list)?.s;
  return Array.isArray(list) && textOf(list[0]) === op;
}

function nodesOf(topology: Json): Map<string, GraphNode> {
  const list = asRecord(topology)?.node;
  const nodes = new Map<string, GraphNode>();
  if (Array.isArray(list) && list.length > MOST_NODES)
    throw malformed('TF.js', 'modelTopology', `at most ${MOST_NODES} nodes`, `${list.length}`, 0);
  for (const item of Array.isArray(list) ? list : []) {
    const { name, op, input, attr } = asRecord(item) ?? {};
    if (typeof name !== 'string' || typeof op !== 'string') continue;
    const inputs = Array.isArray(input) ? input.filter((from) => typeof from === 'string') : [];
    nodes.set(name, { name, op, inputs, attributes: asRecord(attr) ?? {} });
  }
  return nodes;
}

/** An input's node: without the number of its output. */
function bare(input: string): string {
  return input.replace(/:\d+$/, '');
}

/** The weight that an input is, behind nodes that pass it on. */
function weightOf(
  input: string | undefined,
  nodes: ReadonlyMap<string, GraphNode>,
  tensors: ReadonlyMap<string, StoredTensor>,
): string | undefined {
  let name = input;
  for (let steps = 0; name !== undefined && steps < 16; steps++) {
    name = bare(name);
    if (tensors.has(name)) return name;
    const node: GraphNode | undefined = nodes.get(name);
    if (!node || !/^(?:Identity|ReadVariableOp)$/.test(node.op)) return undefined;
    name = node.inputs[0];
  }
  return undefined;
}

/** Attributes that are looked at are short words. */
const LONGEST_WORD = 64;
const BASE64 = /^(?:[A-Za-z\d+/]{4})*(?:[A-Za-z\d+/]{2}==|[A-Za-z\d+/]{3}=)?$/;

/** Texts of attributes are base64, or lists of bytes, or as they are. */
function textOf(value: Json | undefined): string | undefined {
  if (Array.isArray(value))
    return String.fromCharCode(...value.slice(0, 16).map((byte) => (typeof byte === 'number' ? byte : 0)));
  if (typeof value !== 'string') return undefined;
  const isPlain = value.length > LONGEST_WORD || !BASE64.test(value) || /^N(?:HWC|CHW)$/.test(value);
  return isPlain ? value : atob(value);
}
