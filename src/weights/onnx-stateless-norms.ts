// ONNX' norms beside batch norm: https://onnx.ai/onnx/operators/onnx__LayerNormalization.html,
// …GroupNormalization, …InstanceNormalization, …RMSNormalization, …MeanVarianceNormalization.

import { malformed, show } from '../errors.ts';
import { quote } from '../formats/bytes.ts';
import type { Values } from '../formats/dtypes.ts';
import type { OnnxModel, OnnxNode } from '../formats/onnx.ts';
import { placesOf, type Shape, sizeOf } from './onnx-constants.ts';
import { type Decomposed, decomposedOf } from './onnx-decomposed.ts';
import { type Graph, graphFor, originOf } from './onnx-graph.ts';
import { type DecomposedGroups, groupNormsOf } from './onnx-group-norm.ts';
import { commonName, labelOf, shortest } from './onnx-names.ts';

const FORMAT = 'ONNX';

/**
 * A norm of an ONNX model that tracks no statistics: which values it takes, and what it does with
 * them.
 *
 * @experimental
 */
export interface OnnxStatelessNorm {
  /** Its name in an import. */
  readonly name: string;
  /** The node; the last one of a norm that is written as several. */
  readonly node: OnnxNode;
  /** Which norm it is; `'MeanVariance'` stands for MeanVarianceNormalization. */
  readonly kind: 'LayerNorm' | 'RMSNorm' | 'GroupNorm' | 'InstanceNorm' | 'MeanVariance';
  /** Added to the variance or the mean square, under the root. */
  readonly eps: number;
  /** Names of scale and bias, where it has them. */
  readonly inputs: Readonly<Partial<Record<'gamma' | 'beta', string>>>;
  /** The first normalised axis of LayerNorm and RMSNorm, from the end where negative. */
  readonly axis?: number;
  /**
   * Lengths of the normalised axes of LayerNorm and RMSNorm: scale and bias are spread over them
   * where they are smaller.
   */
  readonly shape?: readonly number[];
  /** Groups of a GroupNorm. */
  readonly numGroups?: number;
  /**
   * Are scale and bias those of groups, as GroupNorm's were before version 21? Otherwise they are
   * those of channels.
   */
  readonly byGroup?: boolean;
  /** Channels of the others, where they are known. */
  readonly channels?: number;
  /** Axes that MeanVarianceNormalization takes together. */
  readonly axes?: readonly number[];
  /** Why it is no layer that there is here. */
  readonly problem?: string;
  /** All nodes of a norm that is written as several, `node` last. */
  readonly nodes?: readonly OnnxNode[];
  /** Name of the value that it takes. */
  readonly input: string;
  /** Name of the value that it gives. */
  readonly output: string;
}

/**
 * The norms of a model beside BatchNormalization, in the order of its nodes; then those that it
 * writes as several nodes.
 *
 *     statelessNormsOf(readOnnx(bytes)).map(({ name, kind }) => [name, kind]);
 *
 * @param model what `readOnnx` returned
 * @throws ERR_FORMAT where inputs or attributes are missing
 * @experimental
 */
export function statelessNormsOf(model: OnnxModel): OnnxStatelessNorm[] {
  const graph = graphFor(model);
  const groups = groupNormsOf(graph);
  const inside = new Set(groups.map(({ instance }) => instance));
  const single = model.nodes.flatMap((node) => {
    const stateless = node.domain === '' && !inside.has(node) ? statelessNormFor(graph, node) : undefined;
    return stateless ? [stateless] : [];
  });
  const taken = new Set(graph.names.values());
  const nameOf = (norm: Decomposed | DecomposedGroups) => {
    const label = labelOf(norm.nodes.at(-1)!);
    const weights = [norm.gamma, norm.beta].filter((name) => name !== undefined);
    const common = commonName(weights.map((name) => originOf(graph.producers, name)));
    let name = common !== undefined && !taken.has(common) ? common : label;
    for (let i = 2; taken.has(name); i++) name = `${label}.${i}`;
    taken.add(name);
    return name;
  };
  const several = decomposedOf(graph).map((norm) => ({ name: nameOf(norm), ...fromSeveral(graph, norm) }));
  const byGroups = groups.map((norm) => ({ name: nameOf(norm), ...fromGroups(norm) }));
  return [...single, ...several, ...byGroups];
}

const OTHERWISE = 'a norm in other nodes than are known here';

/** A group norm that is written as several nodes. */
function fromGroups(norm: DecomposedGroups): Omit<OnnxStatelessNorm, 'name'> {
  const { numGroups, channels, eps, input, output, gamma, beta, nodes, isWhole } = norm;
  const inputs = { ...(gamma !== undefined && { gamma }), ...(beta !== undefined && { beta }) };
  const node = nodes.at(-1)!;
  const stateless = { node, kind: 'GroupNorm' as const, eps, inputs, numGroups, channels, nodes, input, output };
  return isWhole ? stateless : { problem: OTHERWISE, ...stateless };
}

/** A norm that is written as several nodes. */
function fromSeveral(graph: Graph, norm: Decomposed): Omit<OnnxStatelessNorm, 'name'> {
  const { centred, axes, eps, gamma, beta, nodes, input, output } = norm;
  const shapes = [gamma, beta].map((name) => (name === undefined ? undefined : graph.constants.get(name)!.shape));
  const inputs = { ...(gamma !== undefined && { gamma }), ...(beta !== undefined && { beta }) };
  const base = { node: nodes.at(-1)!, eps, inputs, nodes, input, output };
  const shape = graph.shapes.get(input);
  const [first] = axes;
  const isTrailing = axes.length === -first;
  // gamma of channels: one value for each of them, and the axes behind normalised
  const [scale] = shapes;
  const channels = scale?.length && scale.length >= axes.length + 1 ? scale.at(first - 1) : undefined;
  const isByChannel =
    centred &&
    isTrailing &&
    shape?.length === axes.length + 2 &&
    channels !== undefined &&
    shapes.every((weights) => !weights || (sizeOf(weights) === channels && weights.at(first - 1) === channels)) &&
    channels > 1;
  const open = norm.isWhole ? {} : { problem: OTHERWISE };
  if (isByChannel) return { ...base, kind: 'InstanceNorm', channels, ...open };
  const kind = centred ? 'LayerNorm' : 'RMSNorm';
  if (!isTrailing) return { ...base, kind, problem: `normalised axes ${show(axes)}, not the last ones` };
  return { ...base, kind, axis: first, ...normalised(first, shape, shapes), ...open };
}

function statelessNormFor(graph: Graph, node: OnnxNode): OnnxStatelessNorm | undefined {
  const { op, attributes, inputs } = node;
  const label = `node ${quote(labelOf(node))}`;
  const number = (name: string, standard: number) => shortest(attributes.get(name), standard);
  const [x, gamma, beta] = inputs;
  const base = (names: OnnxStatelessNorm['inputs']) => ({
    name: graph.names.get(node)!,
    node,
    input: x,
    output: node.outputs[0] ?? '',
    eps: number('epsilon', 1e-5),
    inputs: names,
  });
  const need = (count: number) => {
    if (inputs.length < count) throw malformed(FORMAT, label, `${count} inputs`, `${inputs.length}`, node.offset);
  };
  const shapeOf = (name: string | undefined): Shape | undefined =>
    name === undefined ? undefined : (graph.constants.get(name)?.shape ?? graph.shapes.get(name));
  switch (op) {
    case 'LayerNormalization':
    case 'RMSNormalization': {
      need(2);
      const kind = op === 'LayerNormalization' ? 'LayerNorm' : 'RMSNorm';
      const axis = number('axis', -1);
      const names = { gamma, ...(beta && { beta }) };
      return { ...base(names), kind, axis, ...normalised(axis, shapeOf(x), Object.values(names).map(shapeOf)) };
    }
    case 'InstanceNormalization':
      need(3);
      return { ...base({ gamma, beta }), kind: 'InstanceNorm', channels: shapeOf(gamma)?.[0] };
    case 'GroupNormalization': {
      need(3);
      const numGroups = attributes.get('num_groups');
      if (typeof numGroups !== 'number') throw malformed(FORMAT, label, 'num_groups', 'none', node.offset);
      const byGroup = graph.model.opset < 21;
      const channels = byGroup ? shapeOf(x)?.[1] : (shapeOf(gamma)?.[0] ?? shapeOf(x)?.[1]);
      const problem = channels === undefined ? { problem: 'channels of unknown number' } : {};
      return { ...base({ gamma, beta }), kind: 'GroupNorm', numGroups, byGroup, channels, ...problem };
    }
    case 'MeanVarianceNormalization':
      // the formula adds 1e-9 to the deviation: nothing to f32
      return { ...base({}), eps: 0, kind: 'MeanVariance', axes: (attributes.get('axes') as number[]) ?? [0, 2, 3] };
    default:
      return undefined;
  }
}

/**
 * The lengths of the axes from `axis` on, by the input's shape and those of scale and bias; or why
 * they are not known.
 */
function normalised(
  axis: number,
  input: Shape | undefined,
  weights: readonly (Shape | undefined)[],
): { shape: readonly number[] } | { problem: string } {
  if (axis >= 0 && !input) return { problem: `axis ${axis} of an input of unknown rank` };
  const count = axis < 0 ? -axis : input!.length - axis;
  const most = input?.length ?? MOST_AXES;
  if (!Number.isInteger(count) || count < 1 || count > most)
    return { problem: `axis ${axis} of an input of ${input ? `rank ${most}` : 'unknown rank'}` };
  const lengths: (number | undefined)[] = input
    ? [...input.slice(-count)]
    : Array.from({ length: count }, () => undefined);
  for (const shape of weights) {
    if (!shape) continue;
    if (shape.slice(0, -count).some((length) => length !== 1))
      return { problem: `weights of shape ${show(shape)} for the last ${count} axes` };
    const own = shape.slice(-count);
    for (const [i, length] of own.entries()) {
      const place = count - own.length + i;
      if (length === 1 || length === undefined) continue;
      if (lengths[place] !== undefined && lengths[place] !== length)
        return { problem: `weights of shape ${show(shape)} for axes of lengths ${show(lengths)}` };
      lengths[place] = length;
    }
  }
  if (lengths.some((length) => length === undefined)) return { problem: 'normalised axes of unknown length' };
  const known = lengths as number[];
  // lengths that nothing in the file takes room for
  if (sizeOf(known) > MOST_SPREAD && weights.some((shape) => shape && sizeOf(shape as number[]) < sizeOf(known)))
    return { problem: `weights for normalised axes of ${sizeOf(known)} values` };
  return { shape: known };
}

/** No tensor has more. */
const MOST_AXES = 64;

/** A scale of fewer values is spread over no more than this. */
const MOST_SPREAD = 1 << 22;

/** Values of groups as those of their channels. */
function spreadGroups(values: ArrayLike<number>, channels: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: channels }, (_, c) => values[Math.floor((c * values.length) / channels)]);
}

/**
 * Scale or bias of a norm as our layer has it: spread over all that it normalises, or over its
 * channels.
 */
export function spreadWeights(
  { shape: to, byGroup, channels }: OnnxStatelessNorm,
  values: Values,
  shape: readonly number[],
): { data: Values; shape: readonly number[] } {
  if (byGroup && channels !== undefined) return { data: spreadGroups(values, channels), shape: [channels] };
  if (!to) return { data: values, shape: [values.length] };
  if (shape.join() === to.join()) return { data: values, shape };
  const from = shape.slice(-to.length);
  const place = placesOf(from, to);
  const data = (values instanceof Float64Array ? new Float64Array(sizeOf(to)) : new Float32Array(sizeOf(to))) as Values;
  for (let i = 0; i < data.length; i++) data[i] = values[place(i)];
  return { data, shape: to };
}
