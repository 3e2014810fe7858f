import type { Node, OperationGraph } from '../graph.ts';

/** Lets the operation that makes one summand add the other in the same pass. */
export function addResiduals(graph: OperationGraph): void {
  for (const node of [...graph.nodes]) {
    const { description, inputs } = node;
    if (description.runner.kind !== 'elementwise' || inputs.length < 2) continue;
    const place = (one: Node | undefined) => (one ? graph.nodes.indexOf(one) : -1);
    // the summand that is made last: the other one is there by then
    const last = place(inputs[0].node) >= place(inputs[1].node) ? 0 : 1;
    const maker = inputs[last].node;
    if (!maker || graph.usesOf(maker.output) > 1 || maker.inputs.length > maker.description.runner.arity) continue;
    if (maker.activation.kind || !maker.description.fuses.residual) continue;
    maker.inputs.push(inputs[1 - last]);
    maker.activation = node.activation;
    maker.sources.push(...node.sources);
    graph.replace(node, maker.output);
  }
}
