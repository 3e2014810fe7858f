import type { OperationGraph } from '../graph.ts';

/** Takes away what does nothing in evaluation: dropout. */
export function dropIdle(graph: OperationGraph): void {
  for (const node of [...graph.nodes]) {
    const { description, inputs, activation, sources } = node;
    if (description.runner.kind !== 'elementwise' || inputs.length > 1 || activation.kind) continue;
    graph.dropped.push(...sources);
    graph.replace(node, inputs[0]);
  }
}
