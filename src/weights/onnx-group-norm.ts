// GroupNorm as exporters write it for versions of ONNX that have no such operator:
//
//   Reshape to [N, groups, −1], InstanceNormalization with scale 1 and bias 0, Reshape as it was,
//   Mul by gamma, Add of beta

import type { OnnxNode } from '../formats/onnx.ts';
import { type Constant, sizeOf, wholesOf } from './onnx-constants.ts';
import { isClosed } from './onnx-decomposed.ts';
import type { Graph } from './onnx-graph.ts';
import { shortest } from './onnx-names.ts';
import { isWholeShape } from './onnx-shapes.ts';

export interface DecomposedGroups {
  readonly numGroups: number;
  readonly channels: number;
  readonly eps: number;
  readonly input: string;
  readonly output: string;
  readonly gamma: string | undefined;
  readonly beta: string | undefined;
  /** Its InstanceNormalization, and all its nodes, the last one last. */
  readonly instance: OnnxNode;
  readonly nodes: readonly OnnxNode[];
  /** Does nobody else take what is inside? */
  readonly isWhole: boolean;
}

/** No norm has more groups. */
const MOST_GROUPS = 1 << 16;

/** The group norms of a graph that are written as several nodes. */
export function groupNormsOf(graph: Graph): DecomposedGroups[] {
  return graph.model.nodes.flatMap((node) => {
    const found = node.op === 'InstanceNormalization' && node.domain === '' ? groupNormAt(graph, node) : undefined;
    return found ? [found] : [];
  });
}

function groupNormAt(graph: Graph, instance: OnnxNode): DecomposedGroups | undefined {
  const { constants, producers, takers, shapes, model } = graph;
  const isOf = (node: OnnxNode | undefined, op: string) => (node?.op === op && node.domain === '' ? node : undefined);
  const next = (name: string, op: string) => {
    const [taker, ...others] = takers.get(name) ?? [];
    return others.length || model.outputs.includes(name) ? undefined : isOf(taker, op);
  };
  const before = isOf(producers.get(instance.inputs[0]), 'Reshape');
  const after = next(instance.outputs[0], 'Reshape');
  if (!before || !after) return undefined;
  const [input] = before.inputs;
  const given = shapes.get(input);
  const split = wholesOf(constants.get(before.inputs[1]));
  if (split?.length !== 3) return undefined;
  const [samples, numGroups, rest] = split;
  if (numGroups < 1 || numGroups > MOST_GROUPS || (samples < 0 && rest < 0)) return undefined;
  if (samples > 0 && given?.[0] !== undefined && samples !== given[0]) return undefined;
  const isAll = (name: string, value: number) => {
    const constant = constants.get(name);
    return (
      constant !== undefined && sizeOf(constant.shape) === numGroups && constant.data.every((one) => one === value)
    );
  };
  if (!isAll(instance.inputs[1], 1) || !isAll(instance.inputs[2], 0)) return undefined;

  // as it was: the shape of the input, or the same lengths
  const lengths = isOf(producers.get(after.inputs[1]), 'Shape');
  const whole = wholesOf(constants.get(after.inputs[1]));
  if (lengths ? lengths.inputs[0] !== input || !isWholeShape(lengths) : !whole) return undefined;
  if (whole && given && (whole.length !== given.length || !whole.every((n, i) => n <= 0 || n === (given[i] ?? n))))
    return undefined;
  const rank = given?.length ?? whole?.length;
  const nodes = [before, instance, ...(lengths ? [lengths] : []), after];
  let channels = given?.[1] ?? (whole && whole[1] > 0 ? whole[1] : undefined);
  let last = after;
  const isByChannel = ({ shape }: Constant): boolean => {
    // without a rank nobody knows which axis it lies along
    const place = rank === undefined ? -1 : shape.length - (rank - 1);
    if (place < 0 || place > 1 || shape[place] !== sizeOf(shape)) return false;
    return channels === undefined || shape[place] === channels;
  };
  const affine = (op: string): string | undefined => {
    const [value] = last.outputs;
    const node = next(value, op);
    const weight = node && (node.inputs[0] === value ? node.inputs[1] : node.inputs[0]);
    const constant = weight === undefined ? undefined : constants.get(weight);
    if (!node || !constant || !isByChannel(constant)) return undefined;
    channels ??= sizeOf(constant.shape);
    nodes.push(node);
    last = node;
    return weight;
  };
  const gamma = affine('Mul');
  const beta = affine('Add');
  if (channels === undefined || channels % numGroups) return undefined;
  const eps = shortest(instance.attributes.get('epsilon'), 1e-5);
  const [output] = last.outputs;
  const isWhole = isClosed(graph, input, last, nodes);
  return { numGroups, channels, eps, input, output, gamma, beta, instance, nodes, isWhole };
}
