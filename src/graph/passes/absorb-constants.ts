import type { Node, OperationGraph, Value } from '../graph.ts';
import type { Shape } from '../operation.ts';
import { type AffineOperation, describeAffine } from '../operations/affine.ts';
import type { ConstantOperation } from '../operations/constant.ts';

/**
 * Turns sums and products with constants into maps by channel, which fold like batch norm: x·c by
 * channel is scale c and shift 0, x + c is scale 1 and shift c. So becomes batch norm that a file
 * writes as a product and a sum.
 */
export function absorbConstants(graph: OperationGraph): void {
  for (const node of [...graph.nodes]) {
    const { kind } = node.description.runner;
    if ((kind !== 'add' && kind !== 'multiply') || node.inputs.length !== 2) continue;
    const place = node.inputs.findIndex((value) => value.node?.operation.kind === 'constant');
    const x = node.inputs[1 - place];
    if (place < 0 || x.node?.operation.kind === 'constant') continue;
    const constant = node.inputs[place].node!;
    const map = mapOf(x, constant.operation as ConstantOperation, kind === 'multiply');
    if (!map) continue;
    const changed: { -readonly [K in keyof Node]: Node[K] } = node;
    changed.description = describeAffine as never;
    changed.operation = map;
    changed.inputs = [x];
    if (graph.usesOf(constant.output) === 0) graph.nodes.splice(graph.nodes.indexOf(constant), 1);
  }
}

/** The map that a constant makes; undefined where it has other values along more than one axis. */
function mapOf(
  { shape, axis: known }: Value,
  { shape: own, values }: ConstantOperation,
  isProduct: boolean,
): AffineOperation | undefined {
  if (!shape || shape.length < 2 || own.length > shape.length) return undefined;
  const axis = axisOf(shape, own, known === -1);
  const channels = axis === undefined ? undefined : shape[axis];
  // a constant that is longer than its axis makes the value longer
  if (axis === undefined || !(channels! > 0) || (values.length > 1 && values.length !== channels)) return undefined;
  if (!Array.prototype.every.call(values, Number.isFinite)) return undefined;
  const spread = Float64Array.from({ length: channels! }, (_, c) => values[values.length === 1 ? 0 : c]);
  const other = new Float64Array(channels!).fill(isProduct ? 0 : 1);
  const rank = shape.length;
  return {
    kind: 'affine',
    center: null,
    scale: isProduct ? spread : other,
    shift: isProduct ? other : spread,
    layout: axis === 1 ? 'channels-first' : 'channels-last',
    ranks: [rank, rank],
  };
}

/**
 * The axis along which a constant differs: the second or the last; that of channels for a number.
 */
function axisOf(shape: Shape, own: Shape, isLast: boolean): number | undefined {
  const axes = own.flatMap((length, i) => (length === 1 ? [] : [i - own.length + shape.length]));
  const last = shape.length - 1;
  if (axes.length > 1) return undefined;
  const [axis] = axes.length ? axes : [isLast ? last : 1];
  return axis === 1 || axis === last ? axis : undefined;
}
