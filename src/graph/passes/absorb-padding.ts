import type { Around } from '../../layers/conv-geometry.ts';
import type { Node, OperationGraph } from '../graph.ts';
import type { ConvOperation } from '../operations/conv.ts';
import type { PadOperation } from '../operations/pad.ts';

/**
 * Zeros around the input of convolutions become their padding: what is never written need not be
 * read. Keras and TensorFlow pad so before a stride of 2.
 */
export function absorbPadding(graph: OperationGraph): void {
  for (const node of [...graph.nodes]) {
    if (node.operation.kind !== 'pad') continue;
    const next = graph.nodes.find(({ inputs }) => inputs[0] === node.output);
    const padding = next && paddingOf(node.operation as PadOperation, next);
    if (!padding || graph.usesOf(node.output) > 1) continue;
    next.operation = { ...(next.operation as ConvOperation), padding } as ConvOperation;
    next.sources.unshift(...node.sources);
    graph.replace(node, node.inputs[0]);
  }
}

/** The padding of a convolution with these zeros around its input; undefined where it has none. */
function paddingOf({ layout, mode, value, pads }: PadOperation, { operation }: Node): Around[] | undefined {
  if (mode !== 'constant' || value !== 0 || operation.kind !== 'conv') return undefined;
  const { padding, transposed, kernel, layout: own } = operation as ConvOperation;
  if (transposed || padding === 'same' || own !== layout) return undefined;
  const more = typeof pads === 'number' ? kernel.map((): Around => [pads, pads]) : pads;
  if (more.length !== kernel.length) return undefined;
  return padding.map(([before, after], axis): Around => [before + more[axis][0], after + more[axis][1]]);
}
