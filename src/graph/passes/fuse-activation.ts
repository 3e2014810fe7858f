import type { OperationGraph } from '../graph.ts';

/** Lets an operation apply the activation behind it in the same pass. */
export function fuseActivations(graph: OperationGraph): void {
  for (const node of [...graph.nodes]) {
    const { description, inputs, activation, sources } = node;
    if (description.runner.kind !== 'elementwise' || inputs.length > 1) continue;
    const maker = inputs[0].node;
    if (!maker || graph.usesOf(maker.output) > 1 || maker.activation.kind) continue;
    if (!maker.description.fuses.activation) continue;
    maker.activation = activation;
    maker.sources.push(...sources);
    graph.replace(node, maker.output);
  }
}
