// How far a compiled network may be from the network it was made from, on given inputs: the error
// of both in f32, side by side (src/graph/error-analysis.ts).

import { sumOf, type Valued } from '../graph/error-analysis.ts';
import type { Node, OperationGraph, Value } from '../graph/graph.ts';
import type { Operation } from '../graph/operation.ts';
import { type ActivationCode, type ActivationName, activate, activationName, BOUNDS } from '../kernels/activations.ts';
import { shapeOf } from '../tensors/shape.ts';
import type { PlainTensor } from '../types.ts';
import type { Steps } from './program.ts';

/** What compiling a network costs in digits, per output channel, on the samples that were given. */
export interface NetworkCertificate {
  /**
   * `run(x)` and `net.eval().forward(x)` differ by no more than this: rounded weights, and the
   * arithmetic of both in f32.
   */
  readonly bound: Float64Array;
  /** The largest difference between `run(x)` and the network worked out in f64. */
  readonly measured: Float64Array;
}

/**
 * Rounding of activations: 4 units in the last place at the most
 * (test/backends/activations.test.ts), and of what they are made of.
 */
const ACTIVATION_ROUNDING = 4.76837158203125e-7; // 8·2⁻²⁴

function activated(input: Valued, code: ActivationCode): Valued {
  if (code.kind === 0) return input;
  const { steepest: own, exact } = BOUNDS[activationName(code) as ActivationName];
  const steepest = Math.max(own, Math.abs(code.alpha));
  const value = input.value.map((x) => activate(code.kind, x, code.alpha));
  const error = input.error.map((e, i) => {
    const rounding = exact ? 0 : ACTIVATION_ROUNDING * (Math.abs(value[i]) + Math.min(Math.abs(input.value[i]), 1));
    return steepest * e + rounding;
  });
  return { shape: input.shape, value, error };
}

/**
 * All values of a graph in f64, and their errors in f32. `used` gives the weights of a node as they
 * are used.
 */
function analyse(
  graph: OperationGraph,
  inputs: readonly Valued[],
  used: (node: Node, index: number) => Operation,
): readonly Valued[] {
  const values = new Map<Value, Valued>(graph.inputs.map((value, i) => [value, inputs[i]]));
  graph.nodes.forEach((node, i) => {
    const { description, operation, activation } = node;
    const given = node.inputs.map((value) => values.get(value)!);
    const { arity } = description.runner;
    let y = description.analyse(given.slice(0, arity), operation, used(node, i));
    if (given.length > arity) y = sumOf(y, given[arity]);
    values.set(node.output, activated(y, activation));
  });
  return graph.outputs.map((value) => values.get(value)!);
}

/**
 * Runs samples through everything. Channels of several outputs follow each other.
 *
 * @param traced what the network does, layer by layer
 * @param rewritten what was made of it, operation by operation as `steps`
 * @param run the compiled network
 */
export function certify(
  traced: OperationGraph,
  rewritten: OperationGraph,
  { steps }: Steps,
  samples: readonly PlainTensor[],
  run: (xs: readonly PlainTensor[]) => readonly PlainTensor[],
): NetworkCertificate {
  const inputs = samples.map((x) => ({
    shape: shapeOf(x),
    value: Float64Array.from(x.data),
    error: new Float64Array(x.data.length),
  }));
  const forward = analyse(traced, inputs, ({ operation }) => operation);
  const compiled = analyse(rewritten, inputs, (_, i) => steps[i].operation);
  const got = run(samples.map((x) => ({ data: Float32Array.from(x.data), shape: shapeOf(x) })));
  const parts = forward.map(({ shape, value, error }, k) => {
    const [channels, inner] = channelsOf(traced.outputs[k], shape);
    const bound = new Float64Array(channels);
    const measured = new Float64Array(channels);
    value.forEach((truth, i) => {
      const c = Math.floor(i / inner) % channels;
      // ∞ − ∞ and 0·∞ on the way say that there is no bound
      const most = error[i] + compiled[k].error[i];
      bound[c] = Math.max(bound[c], Number.isNaN(most) ? Number.POSITIVE_INFINITY : most);
      measured[c] = Math.max(measured[c], Math.abs(truth - got[k].data[i]));
    });
    return { bound, measured };
  });
  const joined = (name: keyof NetworkCertificate) => Float64Array.from(parts.flatMap((part) => [...part[name]]));
  return { bound: joined('bound'), measured: joined('measured') };
}

/** Channels of an output, and how many of its values lie side by side in each. */
function channelsOf({ axis }: Value, shape: readonly number[]): [channels: number, inner: number] {
  const at = axis === 1 && shape.length > 1 ? 1 : shape.length - 1;
  return [shape[at], shape.slice(at + 1).reduce((product, length) => product * length, 1)];
}
