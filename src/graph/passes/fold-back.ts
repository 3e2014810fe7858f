import type { OperationGraph } from '../graph.ts';

/**
 * Folds maps by channel (batch norm in evaluation) into the operation before them, which then does
 * both.
 */
export function foldBack(graph: OperationGraph): void {
  for (const node of [...graph.nodes]) {
    const map = node.description.map?.(node.operation);
    if (!map) continue;
    const [x] = node.inputs;
    const before = x.node;
    const reason = () => {
      if (!before) return 'nothing before it';
      const { description, operation } = before;
      if (!description.foldBack || !description.output) {
        if (before.inputs.length > description.runner.arity) return 'a residual before it';
        return before.activation.kind ? 'an activation before it' : `${description.noun} before it`;
      }
      if (graph.usesOf(x) > 1) return 'its input is used elsewhere';
      const [own, given] = [node.description.input!(node.operation), description.output(operation)];
      if (own.count !== given.count || !graph.isSameAxis(x, own.axis, given.axis)) {
        return `${description.noun} of another axis before it`;
      }
      const folded = description.foldBack(operation, map, node.operation);
      if (typeof folded === 'string') return folded;
      before.operation = folded;
      return undefined;
    };
    node.kept = reason();
    if (node.kept) continue;
    before!.sources.push(...node.sources);
    graph.replace(node, x);
  }
}
