// A compiled network as data: what a file holds and a run executes. Nothing here knows where it
// came from.

import type { Operation, Runner } from '../graph/operation.ts';
import { type ActivationCode, activationName, NO_ACTIVATION } from '../kernels/activations.ts';
import type { Ranks } from '../passes/plan.ts';
import { agree, checkShape, nullsIn } from '../tensors/shape.ts';

/**
 * One kernel call: y = f(operation(inputs) + residual). Values are numbered: first the network's
 * inputs, then the output of each step.
 */
export interface Step {
  readonly runner: Runner;
  readonly operation: Operation;
  /** Numbers of the operation's own inputs, then that of a residual, if any. */
  readonly inputs: readonly number[];
  readonly activation: ActivationCode;
}

/** The name of an input or output in a message: a file may say anything. */
export function labelOf({ name }: Port): string {
  const text = name.slice(0, 80).replace(/[^ -~\u00a0-\uffff]/g, '?');
  return name.length > 80 ? `${text}…` : text;
}

/** Steps, and which values are the outputs. */
export interface Steps {
  readonly steps: readonly Step[];
  readonly outputs: readonly number[];
}

/** An input or an output of a network. */
export interface Port {
  /** Its name: that of a Graph's port, else `x` and `output`. */
  readonly name: string;
  /**
   * Lengths by axis: null where the batch says them. A null shape where the network does not even
   * say the rank.
   */
  readonly shape: readonly (number | null)[] | null;
}

export interface Program {
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  /** For inputs of rank 2, and for all others where `general` is null. */
  readonly flat: Steps;
  /** For an input of another rank, where folding depended on the rank. */
  readonly general: Steps | null;
  /**
   * Ranks of the input that the layers take; null where inputs have the shapes of their ports, and
   * undefined where nothing is known but what the steps check.
   */
  readonly ranks?: Ranks | null;
  /** Inputs of other ranks are refused. */
  readonly rowsOnly?: boolean;
}

/** A step in a few words. */
export function stepName({ runner, operation, inputs, activation }: Step): string {
  const added = inputs.length > runner.arity ? ' + residual' : '';
  return `${runner.name(operation)}${added}${activation.kind === NO_ACTIVATION.kind ? '' : `, ${activationName(activation)}`}`;
}

/** Ranks in which a network may be given its input. What takes the last takes all above it. */
const RANKS = [2, 3, 4, 5, 6];

/**
 * The shapes of all values for inputs of these shapes. @throws ERR_SHAPE, in the name of the step
 */
export function shapesOf(
  subject: string,
  { steps }: Steps,
  inputs: readonly (readonly number[])[],
): (readonly number[])[] {
  const shapes = inputs.map((shape) => Array.from(shape) as readonly number[]);
  for (const { runner, operation, inputs: from } of steps) {
    const given = from.map((value) => shapes[value]);
    const shape = runner.shape(`${subject}: ${runner.name(operation)}`, operation, given.slice(0, runner.arity));
    const residual = given[runner.arity];
    if (residual && !agree(residual, shape)) checkShape(subject, 'a residual', residual, shape, 'shape');
    shapes.push(shape);
  }
  return shapes;
}

/**
 * Shapes of the one input and the one output in the least rank that they may have, and the ranks,
 * as far as the steps show them.
 */
export function portsOf(program: Steps): Pick<Program, 'inputs' | 'outputs' | 'ranks'> {
  // the first step that says, as long as those before it keep the shape
  const first = program.steps.find(({ runner }) => !runner.keepsShape);
  const found = RANKS.flatMap((rank) => {
    const taken = first?.runner.takes?.(first.operation, rank);
    try {
      return taken ? [[taken, shapesOf('', program, [taken])[program.outputs[0]]]] : [];
    } catch {
      return [];
    }
  });
  const [shape, output] = found.length ? found[0].map(nullsIn) : [null, null];
  const most = found.at(-1)?.[0].length;
  return {
    inputs: [{ name: 'x', shape }],
    outputs: [{ name: 'output', shape: output }],
    ...(most && { ranks: [found[0][0].length, most < RANKS[RANKS.length - 1] ? most : Number.POSITIVE_INFINITY] }),
  };
}
