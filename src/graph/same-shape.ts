// Lengths of values as terms: two values whose terms are equal have equal lengths, whatever the
// inputs turn out to be.

import type { Node, OperationGraph, Value } from './graph.ts';
import type { ConvOperation } from './operations/conv.ts';
import type { PoolOperation } from './operations/pool.ts';

/** A length that is known, or how it comes of lengths that are not. */
type Term = number | string;

/** Operations whose output is as long as their first input, along every axis. */
const KEEP_ALL = ['affine', 'curve', 'elementwise', 'prelu', 'channel-norm', 'row-norm', 'softmax'];
/** Those of which that holds of the samples. */
const KEEP_SAMPLES = ['conv', 'pool', 'upsample', 'pad', 'linear'];

/** The terms of all values by axis; of those whose rank is not known there are none. */
export function lengthsIn({ inputs, nodes }: OperationGraph): ReadonlyMap<Value, readonly Term[]> {
  const found = new Map<Value, readonly Term[]>();
  let unknown = 0;
  // one input has one batch
  const other = (axis: number) => (axis === 0 && inputs.length === 1 ? 'samples' : `length ${unknown++}`);
  const termsOf = ({ shape }: Value, known?: (axis: number) => Term | undefined) =>
    shape?.map((length, axis) => (Number.isNaN(length) ? (known?.(axis) ?? other(axis)) : length));
  const add = (value: Value, terms: readonly Term[] | undefined) => terms && found.set(value, terms);
  for (const input of inputs) add(input, termsOf(input));
  for (const node of nodes) {
    const from = found.get(node.inputs[0]);
    add(node.output, termsOf(node.output, from && ((axis) => termBehind(node, from, axis, found))));
  }
  return found;
}

/** A length of an operation's output, where it follows from those of its first input. */
function termBehind(
  { description, operation, inputs, output }: Node,
  from: readonly Term[],
  axis: number,
  found: ReadonlyMap<Value, readonly Term[]>,
): Term | undefined {
  const { kind } = description.runner;
  if (KEEP_ALL.includes(kind)) return from[axis];
  if (kind === 'add' || kind === 'multiply') {
    return inputs.every((input) => sameTerms(found.get(input), from)) ? from[axis] : undefined;
  }
  if (axis === 0 && KEEP_SAMPLES.includes(kind)) return from[0];
  const [windows, layout] =
    kind === 'conv'
      ? [operation as ConvOperation, (operation as ConvOperation).layout]
      : [kind === 'pool' ? (operation as PoolOperation).windows : null, (operation as PoolOperation).layout];
  if (!windows || ('transposed' in windows && windows.transposed) || ('ceilMode' in windows && windows.ceilMode)) {
    return undefined;
  }
  const place = axis - (layout === 'channels-last' ? 1 : 2);
  const axes = windows.kernel.length;
  if (place < 0 || place >= axes || from.length !== axes + 2 || output.shape?.length !== from.length) return undefined;
  const stride = windows.stride[place];
  // zeros around less cells that a window has besides its first: 'same' has as many
  const around = windows.padding === 'same' ? undefined : [windows.padding[place]].flat();
  const more =
    around === undefined
      ? 0
      : (around.length === 2 ? around[0] + around[1] : 2 * around[0]) -
        windows.dilation[place] * (windows.kernel[place] - 1);
  // ⌊(length + more − 1)/stride⌋ + 1
  return stride === 1 && more === 0 ? from[axis] : `(${from[axis]} + ${more})/${stride}`;
}

/** Are these the same lengths, as far as that can be known? */
export function sameTerms(a: readonly Term[] | undefined, b: readonly Term[] | undefined): boolean {
  return a !== undefined && b?.length === a.length && a.every((term, axis) => term === b[axis]);
}
