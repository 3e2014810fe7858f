import { NO_ACTIVATION } from '../../kernels/activations.ts';
import type { Layout } from '../../types.ts';
import type { Node, OperationGraph, Value } from '../graph.ts';
import type { Operation } from '../operation.ts';
import { describeTurn, type TurnOperation, turnedShape } from '../operations/turn.ts';

/** Operations that take either layout, and say which. */
const EITHER = ['affine', 'conv', 'pad', 'pool', 'prelu', 'upsample'];
/** Operations that do not care; of values of one shape, or of one rank. */
const NEUTRAL = ['curve', 'elementwise'];
const BROADCASTING = ['add', 'multiply'];

type WithLayout = Operation & { readonly layout?: Layout; readonly axis?: number };

/**
 * Lets convolutions with their channels first run on channels last, and what lies between them as
 * well: values are turned at the borders, once, instead of before and behind every convolution.
 * Where that is no less work, nothing changes.
 */
export function turnLayouts(graph: OperationGraph): void {
  const isFirst = ({ kind, layout }: WithLayout) => kind === 'conv' && layout === 'channels-first';
  const before = 2 * graph.nodes.filter(({ operation }) => isFirst(operation)).length;
  if (before === 0) return;
  const nodes: Node[] = [];
  /** What a value of the graph has become, with its channels where they were, and behind. */
  const versions = { 'channels-first': new Map<Value, Value>(), 'channels-last': new Map<Value, Value>() };
  const lasts = versions['channels-last'];
  for (const input of graph.inputs) versions['channels-first'].set(input, input);
  let turns = 0;

  const push = (node: Omit<Node, 'output'>, { shape, axis }: Value, layout: Layout): Value => {
    const isLast = layout === 'channels-last';
    const output = {
      graph,
      shape: isLast && shape ? turnedShape(shape, layout) : shape,
      axis: isLast ? (-1 as const) : axis,
      node: undefined as Node | undefined,
    };
    output.node = { ...node, output };
    nodes.push(output.node);
    return output;
  };

  const version = (value: Value, layout: Layout): Value => {
    const known = versions[layout].get(value);
    if (known) return known;
    turns++;
    const other = versions[layout === 'channels-last' ? 'channels-first' : 'channels-last'].get(value)!;
    const operation: TurnOperation = { kind: 'turn', to: layout };
    const node = { description: describeTurn, operation, inputs: [other], activation: NO_ACTIVATION, sources: [] };
    const made = push(node as Omit<Node, 'output'>, value, layout);
    versions[layout].set(value, made);
    return made;
  };

  for (const node of graph.nodes) {
    const { operation, inputs } = node;
    const turned = turnedOperation(operation, inputs, lasts, isFirst(operation));
    const layout = turned ? 'channels-last' : 'channels-first';
    const given = inputs.map((value) => version(value, layout));
    versions[layout].set(
      node.output,
      push({ ...node, operation: turned ?? operation, inputs: given }, node.output, layout),
    );
  }
  const outputs = graph.outputs.map((value) => version(value, 'channels-first'));
  if (turns >= before) return;
  graph.nodes.splice(0, graph.nodes.length, ...nodes);
  graph.outputs = outputs;
}

/** The operation on channels last, where it is to run on them. */
function turnedOperation(
  operation: WithLayout,
  inputs: readonly Value[],
  lasts: ReadonlyMap<Value, Value>,
  isFirst: boolean,
): Operation | undefined {
  const { kind, layout, axis } = operation;
  if (isFirst) return { ...operation, layout: 'channels-last' } as Operation;
  const some = inputs.some((value) => lasts.has(value));
  if (!some) return undefined;
  if (EITHER.includes(kind)) {
    return layout === 'channels-first' && lasts.has(inputs[0])
      ? ({ ...operation, layout: 'channels-last' } as Operation)
      : undefined;
  }
  if (NEUTRAL.includes(kind)) return operation;
  const ranks = inputs.map(({ shape }) => shape?.length);
  const isOneRank = ranks.every((rank) => rank !== undefined && rank > 2 && rank === ranks[0]);
  if (BROADCASTING.includes(kind)) return isOneRank ? operation : undefined;
  if (kind !== 'concat' || !isOneRank) return undefined;
  const rank = ranks[0]!;
  const at = axis! < 0 ? axis! + rank : axis!;
  return { kind, axis: at === 0 ? 0 : at === 1 ? rank - 1 : at - 1 } as Operation;
}
