// Graph models of TF.js: nodes of TensorFlow with weights among their inputs. Their norms are FusedBatchNorm nodes: they alone say which weight is
// what, and eps.

import type { StoredTensor } from '../formats/dtypes.ts';
import { asRecord, type Json } from '../formats/json.ts';
import type { BatchNormOptions } from '../layers/options.ts';
import { preset } from '../layers/options.ts';
import type { NormOption } from './imported.ts';

const NORMS = /^(?:_?FusedBatchNorm(?:V[23]|Ex)?|BatchNormWithGlobalNormalization)$/;

interface GraphNode {
  readonly name: string;
  readonly op: string;
  readonly inputs: readonly string[];
  readonly attributes: { readonly [name: string]: Json };
}

/** A norm of a graph: names of the weights that its node takes. */
export interface GraphNorm {
  readonly name: string;
  readonly options: BatchNormOptions;
  readonly stated: readonly NormOption[];
  readonly inputs: Readonly<Record<'gamma' | 'beta' | 'runningMean' | 'runningVar', string | undefined>>;
}

/** Is a topology a graph, not a list of layers? */
export function isGraph(topology: Json): boolean {
  return Array.isArray(asRecord(topology)?.node);
}

export function graphNorms(topology: Json, tensors: ReadonlyMap<string, StoredTensor>): GraphNorm[] {
  const nodes = nodesOf(topology);
  const standard = preset('keras');
  const named = new Map<string, number>();
  const short = (name: string) => name.replace(/\/[^/]*[Bb]atch_?[Nn]orm[^/]*$/, '');
  for (const { name, op } of nodes.values())
    if (NORMS.test(op)) named.set(short(name), (named.get(short(name)) ?? 0) + 1);
  return [...nodes.values()]
    .filter(({ op }) => NORMS.test(op))
    .map(({ name, op, inputs, attributes }) => {
      const weight = (i: number) => weightOf(inputs[i], nodes, tensors);
      const epsilon = asRecord(attributes.epsilon ?? attributes.variance_epsilon)?.f;
      const format = textOf(asRecord(attributes.data_format)?.s);
      const old = op.startsWith('BatchNormWith');
      const eps = typeof epsilon === 'number' ? epsilon : standard.eps;
      return {
        // two norms in one scope: by the names of their nodes
        name: (named.get(short(name)) === 1 ? short(name) : name).replaceAll('/', '.'),
        options: { ...standard, eps, layout: format === 'NCHW' ? 'channels-first' : 'channels-last' } as const,
        stated: [
          ...(typeof epsilon === 'number' ? (['eps'] as const) : []),
          ...(format === undefined ? [] : (['layout'] as const)),
        ],
        // the older node takes mean, variance, beta, gamma
        inputs: old
          ? { gamma: weight(4), beta: weight(3), runningMean: weight(1), runningVar: weight(2) }
          : { gamma: weight(1), beta: weight(2), runningMean: weight(3), runningVar: weight(4) },
      };
    });
}

/** Weights that are depthwise kernels. */
export function depthwiseWeights(topology: Json, tensors: ReadonlyMap<string, StoredTensor>): Set<string> {
  const nodes = nodesOf(topology);
  const found = new Set<string>();
  for (const { op, inputs } of nodes.values()) {
    const weight = /Depthwise/.test(op) ? weightOf(inputs[1], nodes, tensors) : undefined;
    if (weight !== undefined) found.add(weight);
  }
  return found;
}

function nodesOf(topology: Json): Map<string, GraphNode> {
  const list = asRecord(topology)?.node;
  const nodes = new Map<string, GraphNode>();
  for (const item of Array.isArray(list) ? list : []) {
    const { name, op, input, attr } = asRecord(item) ?? {};
    if (typeof name !== 'string' || typeof op !== 'string') continue;
    const inputs = Array.isArray(input) ? input.filter((from) => typeof from === 'string') : [];
    nodes.set(name, { name, op, inputs, attributes: asRecord(attr) ?? {} });
  }
  return nodes;
}

/** The weight that an input is, behind nodes that pass it on. */
function weightOf(
  input: string | undefined,
  nodes: ReadonlyMap<string, GraphNode>,
  tensors: ReadonlyMap<string, StoredTensor>,
): string | undefined {
  let name = input?.replace(/^\^|:\d+$/g, '');
  for (let steps = 0; name !== undefined && steps < 16; steps++) {
    if (tensors.has(name)) return name;
    const node: GraphNode | undefined = nodes.get(name);
    if (!node || !/^(?:Identity|ReadVariableOp|Const|VariableV2)$/.test(node.op)) return undefined;
    name = node.inputs[0]?.replace(/:\d+$/, '');
  }
  return undefined;
}

/** Texts of attributes are base64, or lists of bytes. */
function textOf(value: Json | undefined): string | undefined {
  if (Array.isArray(value)) return String.fromCharCode(...(value.slice(0, 16) as number[]));
  if (typeof value !== 'string') return undefined;
  return /^N[CDHW]+$/.test(value) ? value : atobOr(value);
}

function atobOr(value: string): string {
  try {
    return atob(value);
  } catch {
    return value;
  }
}
