// Norms that a model writes as several nodes, as exporters do for versions of ONNX that have no
// such operator:
//
//   LayerNorm      d = x − mean(x);  y = d / sqrt(mean(d²) + eps) · gamma + beta
//   RMSNorm                          y = x / sqrt(mean(x²) + eps) · gamma
//
// Found from the mean of squares, whose neighbours are the same everywhere.

import type { OnnxNode } from '../formats/onnx.ts';
import { type Shape, sizeOf, wholesOf } from './onnx-constants.ts';
import type { Graph } from './onnx-graph.ts';
import { shortest } from './onnx-names.ts';

export interface Decomposed {
  readonly centred: boolean;
  /** What is normalised, and what comes out. */
  readonly input: string;
  readonly output: string;
  readonly eps: number;
  /** Normalised axes, from the end, the first one first: [-2, -1]. */
  readonly axes: readonly number[];
  readonly gamma?: string;
  readonly beta?: string;
  /**
   * Its nodes, the last one last. Its last node may be the root: the rest is written in a way that
   * is not known here.
   */
  readonly nodes: readonly OnnxNode[];
  readonly isWhole: boolean;
}

/** Of a value that a thousand nodes take nobody looks for the one that makes a norm of it. */
const MOST_TAKERS = 64;

/** The norms of a graph that are written as several nodes, in the order of their means. */
export function decomposedOf(graph: Graph): Decomposed[] {
  return graph.model.nodes.flatMap((node) => {
    const found = node.op === 'ReduceMean' && node.domain === '' ? decomposedAt(graph, node) : undefined;
    return found ? [found] : [];
  });
}

function decomposedAt(graph: Graph, variance: OnnxNode): Decomposed | undefined {
  const { constants, producers, takers } = graph;
  const nodes: OnnxNode[] = [];
  const scalar = (name: string | undefined): number | undefined => {
    const constant = name === undefined ? undefined : constants.get(name);
    const rank = graph.shapes.get(variance.inputs[0])?.length ?? 1;
    if (!constant || sizeOf(constant.shape) !== 1 || constant.shape.length > rank) return undefined;
    return /^B?F/.test(constant.dtype) ? constant.data[0] : undefined;
  };
  const isSame = (name: string, op: string) => {
    const node = producers.get(name);
    return node?.op === op && node.domain === '' ? node : undefined;
  };
  /** The nodes of an operator that take a value. */
  const takersOf = (name: string, op: string) => [
    ...new Set((takers.get(name) ?? []).slice(0, MOST_TAKERS).filter((node) => node.op === op && node.domain === '')),
  ];
  const other = ({ inputs }: OnnxNode, name: string) => (inputs[0] === name ? inputs[1] : inputs[0]);

  const square = isSame(variance.inputs[0], 'Pow') ?? isSame(variance.inputs[0], 'Mul');
  if (!square) return undefined;
  const [squared, exponent] = square.inputs;
  if (square.op === 'Pow' ? scalar(exponent) !== 2 : exponent !== squared) return undefined;
  const axes = axesOf(graph, variance, graph.shapes.get(squared));
  if (!axes) return undefined;

  // the input itself, or what is left of it without its mean
  const centre = isSame(squared, 'Sub');
  const mean = centre && isSame(centre.inputs[1], 'ReduceMean');
  const centred =
    mean !== undefined &&
    mean.inputs[0] === centre!.inputs[0] &&
    axesOf(graph, mean, graph.shapes.get(mean.inputs[0]))?.join() === axes.join();
  const input = centred ? centre!.inputs[0] : squared;
  // exporters write the same difference twice
  const centres = centred
    ? takersOf(input, 'Sub').filter(({ inputs }) => inputs[0] === input && inputs[1] === mean!.outputs[0])
    : [];
  if (centred) nodes.push(mean!, ...centres);
  const numerators = centred ? centres.map(({ outputs }) => outputs[0]) : [input];
  nodes.push(square, variance);

  const [sum] = takersOf(variance.outputs[0], 'Add');
  const eps = sum && scalar(other(sum, variance.outputs[0]));
  if (eps === undefined) return undefined;
  const root = takersOf(sum.outputs[0], 'Sqrt')[0];
  const power = takersOf(sum.outputs[0], 'Pow').find(({ inputs }) => inputs[0] === sum.outputs[0]);
  if (!root && !(power && scalar(power.inputs[1]) === -0.5)) return undefined;
  nodes.push(sum, root ?? power!);
  const found = { centred, input, eps: shortest(eps, eps), axes };
  const half = { ...found, output: (root ?? power!).outputs[0], nodes, isWhole: false };

  // divided by the root, or multiplied by its inverse
  let last: OnnxNode | undefined;
  const divisor = root?.outputs[0];
  const quotient =
    divisor === undefined ? undefined : takersOf(divisor, 'Div').find(({ inputs }) => inputs[1] === divisor);
  if (quotient && numerators.includes(quotient.inputs[0])) last = quotient;
  else {
    const inverse =
      power ??
      (quotient && scalar(quotient.inputs[0]) === 1 ? quotient : undefined) ??
      (divisor === undefined ? undefined : takersOf(divisor, 'Reciprocal')[0]);
    if (!inverse) return half;
    if (inverse !== power) nodes.push(inverse);
    const [name] = inverse.outputs;
    last = takersOf(name, 'Mul').find((node) => numerators.includes(other(node, name)));
  }
  if (!last) return half;
  nodes.push(last);
  const only = (name: string) => ((takers.get(name) ?? []).length === 1 ? takers.get(name)![0] : undefined);
  const affine = (op: string): string | undefined => {
    const [value] = last!.outputs;
    const next = graph.model.outputs.includes(value) ? undefined : only(value);
    if (next?.op !== op || next.domain !== '') return undefined;
    const weight = other(next, value);
    // one number for all is a map of its own
    const shape = constants.get(weight)?.shape;
    if (!shape || sizeOf(shape) === 1 || shape.length > (graph.shapes.get(input)?.length ?? 1)) return undefined;
    nodes.push(next);
    last = next;
    return weight;
  };
  const gamma = affine('Mul');
  const beta = gamma === undefined ? undefined : affine('Add');
  return {
    ...found,
    output: last.outputs[0],
    ...(gamma !== undefined && { gamma }),
    ...(beta !== undefined && { beta }),
    nodes,
    isWhole: isClosed(graph, input, last, nodes),
  };
}

/** Does nobody else take what is inside? */
export function isClosed({ model, takers }: Graph, input: string, last: OnnxNode, nodes: readonly OnnxNode[]): boolean {
  const own = new Set(nodes);
  const outputs = new Set(model.outputs);
  return nodes.every(
    (node) =>
      node === last ||
      node.outputs.every(
        (name) => !outputs.has(name) && name !== input && (takers.get(name) ?? []).every((taker) => own.has(taker)),
      ),
  );
}

/** The axes that a mean goes over, from the end, where they are kept as axes of length 1. */
function axesOf(
  { constants }: Graph,
  { attributes, inputs }: OnnxNode,
  shape: Shape | undefined,
): number[] | undefined {
  if (((attributes.get('keepdims') as number | undefined) ?? 1) !== 1) return undefined;
  const axes = wholesOf(attributes.get('axes') ?? constants.get(inputs[1] ?? ''));
  if (!axes || axes.length === 0) return undefined;
  if (!shape && axes.some((axis) => axis >= 0)) return undefined;
  return axes.map((axis) => (axis < 0 ? axis : axis - shape!.length)).sort((a, b) => a - b);
}
