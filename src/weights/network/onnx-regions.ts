// Activations that a model writes as several nodes: x·sigmoid(x), x·clip(x + 3, 0, 6)/6, GELU with
// erf and their kin. A
// region is what hangs together between one value and another; its function says which activation
// it is.

import type { OnnxNode } from '../../formats/onnx.ts';
import type { ActivationName } from '../../kernels/activations.ts';
import { sizeOf } from '../onnx-constants.ts';
import { activationOfNodes, ELEMENTWISE } from '../onnx-elementwise.ts';
import type { Graph } from '../onnx-graph.ts';

export interface Region {
  readonly input: string;
  readonly nodes: readonly OnnxNode[];
  readonly activation: ActivationName;
  readonly factor: number;
}

/** No activation is written as more nodes. */
const MOST_NODES = 12;
/** A value that so many nodes take is no activation's. */
const MOST_TAKERS = 8;

/** The regions of a graph by their last node; no node is in two of them. */
export function regionsOf(graph: Graph, order: readonly OnnxNode[]): Map<OnnxNode, Region> {
  const found = new Map<OnnxNode, Region>();
  const places = new Map(order.map((node, i) => [node, i]));
  const taken = new Set<OnnxNode>();
  const known = new Map<string, { activation: ActivationName; factor: number } | undefined>();
  const elementwise = new Set(ELEMENTWISE);
  const starts = [...graph.model.inputs.keys(), ...order.flatMap((node) => node.outputs)];
  for (const input of starts) {
    const takers = graph.takers.get(input) ?? [];
    if (takers.length === 0 || takers.length > MOST_TAKERS) continue;
    let best: Region | undefined;
    for (const nodes of growing(graph, places, elementwise, taken, input)) {
      const key = signatureOf(graph, nodes, input);
      if (!known.has(key)) known.set(key, activationOfNodes(nodes, input, graph));
      const activation = known.get(key);
      if (activation) best = { input, nodes, ...activation };
    }
    if (!best) continue;
    for (const node of best.nodes) taken.add(node);
    found.set(best.nodes.at(-1)!, best);
  }
  return found;
}

/** Ever more nodes behind a value, wherever all that comes of them is one value. */
function* growing(
  { constants, takers, model }: Graph,
  places: ReadonlyMap<OnnxNode, number>,
  elementwise: ReadonlySet<string>,
  taken: ReadonlySet<OnnxNode>,
  input: string,
): Generator<readonly OnnxNode[]> {
  const values = new Set([input]);
  const nodes: OnnxNode[] = [];
  const isConstant = (name: string) => {
    const constant = constants.get(name);
    return constant !== undefined && sizeOf(constant.shape) === 1;
  };
  const fits = (node: OnnxNode) =>
    places.has(node) &&
    !taken.has(node) &&
    node.domain === '' &&
    elementwise.has(node.op) &&
    node.outputs.length === 1 &&
    node.inputs.every((name) => name === '' || values.has(name) || isConstant(name));
  for (;;) {
    const next = [...values]
      .flatMap((name) => (takers.get(name) ?? []).slice(0, MOST_TAKERS))
      .filter((node) => !nodes.includes(node) && fits(node))
      .sort((a, b) => places.get(a)! - places.get(b)!)[0];
    if (!next || nodes.length === MOST_NODES) return;
    nodes.push(next);
    values.add(next.outputs[0]);
    const open = nodes.filter(({ outputs: [name] }) => {
      const own = takers.get(name) ?? [];
      return model.outputs.includes(name) || own.length === 0 || own.some((node) => !nodes.includes(node));
    });
    if (nodes.length > 1 && open.length === 1 && open[0] === next) yield [...nodes];
  }
}

/** Regions of one form with the same numbers are one function. */
function signatureOf({ constants, shapes }: Graph, nodes: readonly OnnxNode[], input: string): string {
  const names = new Map([[input, 'x']]);
  const parts = nodes.map((node) => {
    const inputs = node.inputs.map((name) => {
      if (name === '') return '';
      const constant = constants.get(name);
      return names.get(name) ?? `${constant?.data[0]}:${constant?.shape.length}`;
    });
    names.set(node.outputs[0], `v${names.size}`);
    return `${node.op}(${inputs.join()})${JSON.stringify([...node.attributes])}`;
  });
  return `${shapes.get(input)?.length} ${parts.join(' ')}`;
}
