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

/** The terms of a graph's values by axis, read once while the graph grows. */
export class Lengths {
  readonly #graph: OperationGraph;
  /** Of values whose rank is not known there are none. */
  readonly #found = new Map<Value, readonly Term[]>();
  /** Nodes that were read. */
  #count = 0;
  #unknown = 0;

  /** @param graph a graph to which nodes are only added */
  constructor(graph: OperationGraph) {
    this.#graph = graph;
  }

  /** Have values equal lengths, as far as that can be known? */
  areAlike([first, ...others]: readonly Value[]): boolean {
    const { inputs, nodes } = this.#graph;
    if (this.#count === 0) for (const input of inputs) this.#add(input);
    for (; this.#count < nodes.length; this.#count++) {
      const node = nodes[this.#count];
      const from = this.#found.get(node.inputs[0]);
      this.#add(node.output, from && ((axis) => termBehind(node, from, axis, this.#found)));
    }
    return others.every((value) => sameTerms(this.#found.get(value), this.#found.get(first)));
  }

  #add(value: Value, known?: (axis: number) => Term | undefined): void {
    // one input has one batch
    const other = (axis: number) =>
      axis === 0 && this.#graph.inputs.length === 1 ? 'samples' : `length ${this.#unknown++}`;
    const terms = value.shape?.map((length, axis) => (Number.isNaN(length) ? (known?.(axis) ?? other(axis)) : length));
    if (terms) this.#found.set(value, terms);
  }
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
function sameTerms(a: readonly Term[] | undefined, b: readonly Term[] | undefined): boolean {
  return a !== undefined && b?.length === a.length && a.every((term, axis) => term === b[axis]);
}
