import type { Node, OperationGraph } from '../graph.ts';
import type { ChannelMap } from '../operation.ts';

/**
 * A mean so many (scaled) deviations from 0 costs a product that takes it away as many times its
 * rounding.
 */
const FAR = 64;

/** Folds the maps by channel that `foldBack` left into the operation behind them. */
export function foldForward(graph: OperationGraph): void {
  for (const node of [...graph.nodes]) {
    const map = node.description.map?.(node.operation);
    if (!map || !node.kept) continue;
    const next = graph.nodes.find(({ inputs }) => inputs[0] === node.output);
    const reason = folded(graph, node, next, map);
    if (reason) node.kept = `${node.kept}; ${reason}`;
    else {
      next!.sources.unshift(...node.sources);
      graph.replace(node, node.inputs[0]);
    }
  }
}

/** Gives the next operation folded weights. Returns why not, where it cannot. */
function folded(graph: OperationGraph, node: Node, next: Node | undefined, map: ChannelMap): string | undefined {
  if (!next) return 'nothing behind it';
  if (graph.usesOf(node.output) > 1) return 'its output is used elsewhere';
  const { description, operation } = next;
  if (!description.foldForward || !description.input) {
    return description.map ? `${description.noun} of another axis behind it` : 'no linear layer behind it';
  }
  const [own, taken] = [node.description.output!(node.operation), description.input(operation)];
  if (own.count !== taken.count || !graph.isSameAxis(node.output, own.axis, taken.axis)) {
    return `${description.noun} of another axis behind it`;
  }
  const { center, scale } = map;
  if (Array.prototype.some.call(center, (value, c) => Math.abs(value * scale[c]) > FAR)) {
    return `a mean of more than ${FAR} deviations, which a product would cancel`;
  }
  const result = description.foldForward(operation, map);
  if (typeof result === 'string') return result;
  next.operation = result;
  return undefined;
}
