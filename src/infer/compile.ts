// A small compiler: a network traced into a graph of operations → rewritten → a program → a
// function that runs it.

import { show, wrongKind, wrongValue } from '../errors.ts';
import { OperationGraph, type Value } from '../graph/graph.ts';
import type { Description, Operation } from '../graph/operation.ts';
import { OPERATIONS } from '../graph/operations/list.ts';
import { rewrite } from '../graph/passes/rewrite.ts';
import { checkNames } from '../named-options.ts';
import { locate } from '../tensors/call.ts';
import { nullsIn, shapeOf } from '../tensors/shape.ts';
import type { TensorLike } from '../tensors/tensor.ts';
import { certify, type NetworkCertificate } from './certificate.ts';
import { explainProgram, explainShapes, planOf, type StepPlan } from './explain.ts';
import { convolutions } from './operations.ts';
import { type Profile, profileOf } from './profile.ts';
import { type Port, type Program, portsOf, type Steps } from './program.ts';
import { type Compiled, instantiate, type Named, type RunOptions, tensorsOf, type Watch } from './run.ts';
import { writeProgram } from './save.ts';

export interface CompileOptions extends RunOptions {
  /**
   * Inputs on which the compiled network is compared with the network it is made from:
   * `certificate`. A record where there are several.
   */
  samples?: TensorLike | Named<TensorLike>;
}

/** A compiled network with its plan, its certificate and its file. */
export interface CompiledNetwork extends Compiled {
  /**
   * The plan as a table: each step, the layers in it, bytes of weights, multiply-adds per row, and
   * what the rounding of folded weights can do to an output for inputs of magnitude 1; then what
   * stayed as it was and why, and what was dropped. For inputs of rank 2, unless told another.
   *
   * For inputs of known shapes, the shape of each step's output and all of its multiply-adds: where
   * they are given (a shape, or a record of shapes by the names of inputs), and for a batch of one
   * where the network says all lengths but that of the batch.
   *
   * @throws ERR_SHAPE for shapes that the network does not take
   */
  explain(of?: number | readonly number[] | Named<readonly number[]>): string;
  /**
   * Each step for inputs of these shapes as data: `[{ step, layers, shape, bytes, multiplyAdds }]`.
   *
   * @throws ERR_SHAPE for shapes that the network does not take
   */
  plan(of?: readonly number[] | Named<readonly number[]>): StepPlan[];
  /**
   * Runs the network and measures each step: `String(profile)` is a table,
   * `JSON.stringify(profile)`
   * the same as data. Times are medians in milliseconds.
   *
   * @param x what a run takes
   * @param options.runs how many times. Default 20, after as many as 3 that are not measured
   * @throws ERR_OPTION for `runs` of anything but an integer of 1 or more; what a run throws
   */
  profile(x: TensorLike | Named<TensorLike>, options?: { runs?: number }): Profile;
  /** Names of the groups of `evenkeel/infer` that `load` has to be given for the saved network. */
  readonly operations: readonly string[];
  /**
   * On the samples given to `compile`; null without. Channels of several outputs follow each other.
   */
  readonly certificate: NetworkCertificate | null;
  /**
   * One file, which `load` of `evenkeel/infer` reads: a safetensors file with the steps in its
   * metadata.
   *
   * @param options.rowsOnly `true`: for inputs of rank 2 alone. Where norms have their channels
   *   first, other ranks need weights of their own, and the file is half as large without them.
   *   Default `false`
   * @param options.f16 `true`: weights of two axes and more, and constants of as many, in half
   *   precision: half the size, and each weight off by up to 2^-11 of itself. They are worked with
   *   in float32. Default `false`
   * @throws ERR_OPTION for a weight that half precision does not hold
   */
  save(options?: { rowsOnly?: boolean; f16?: boolean }): Uint8Array<ArrayBuffer>;
}

const SUBJECT = 'compile';

/** A network as the compiler takes it. */
export interface Network {
  /**
   * Inputs by name, lengths null where the batch says them; a null shape where the network does not
   * say.
   */
  readonly inputs: readonly Port[];
  readonly outputNames: readonly string[];
  /** Traces everything; returns the outputs. */
  trace(graph: OperationGraph, inputs: readonly Value[]): readonly Value[];
}

/**
 * @throws ERR_MODE for layers that have no operation, ERR_OPTION, ERR_SHAPE, ERR_MEMORY
 */
export function compile(network: Network, options: CompileOptions): CompiledNetwork {
  checkNames(SUBJECT, options, ['maxBatch', 'inputShape', 'samples']);
  const samples =
    options.samples === undefined
      ? undefined
      : tensorsOf('samples', network.inputs, options.samples).map((x) => locate(SUBJECT, 'samples', x));
  const traced = new OperationGraph(OPERATIONS, undefined);
  const inputs = network.inputs.map(({ shape }) => traced.input(shape?.map((length) => length ?? Number.NaN)));
  traced.outputs = [...network.trace(traced, inputs)];
  const flat = built(traced, 2);
  const general = flat.graph.needsRank2 ? built(traced, undefined) : flat;
  const ports = network.inputs.every(({ shape }) => shape)
    ? {
        ranks: null,
        inputs: network.inputs,
        outputs: traced.outputs.map(({ shape }, i) => ({
          name: network.outputNames[i],
          shape: shape ? nullsIn(shape) : null,
        })),
      }
    : portsOf(stepsOf(traced, (_, operation) => operation));
  const program: Program = { ...ports, flat: flat.steps, general: general === flat ? null : general.steps };
  const watch: Watch = {};
  const run = instantiate(program, options, watch);
  const forRank = (rank: number) => (rank === 2 ? flat : general);
  let certificate: NetworkCertificate | null = null;
  if (samples) {
    try {
      const { graph, steps } = forRank(shapeOf(samples[0]).length);
      certificate = certify(traced, graph, steps, samples, (xs) => {
        const named = Object.fromEntries(program.inputs.map(({ name }, i) => [name, xs[i]]));
        const ys = run(named) as TensorLike | Named<TensorLike>;
        return tensorsOf('the outputs', program.outputs, ys);
      });
    } catch (error) {
      run.dispose();
      throw error;
    }
  }
  return Object.assign(run, {
    explain(of?: number | readonly number[] | Named<readonly number[]>) {
      const shapes = typeof of === 'number' ? undefined : shapesGiven(program, of);
      const { graph, steps } = forRank(typeof of === 'number' ? of : (shapes?.[0].length ?? 2));
      return shapes ? explainShapes(graph, steps.steps, shapes) : explainProgram(graph, steps.steps);
    },
    plan(of?: readonly number[] | Named<readonly number[]>) {
      const shapes = shapesGiven(program, of);
      if (!shapes) throw wrongValue('ERR_OPTION', SUBJECT, 'plan', 'shapes, as the network does not say them', 'none');
      const { graph, steps } = forRank(shapes[0].length);
      return planOf(graph, steps.steps, shapes);
    },
    profile(x: TensorLike | Named<TensorLike>, options: { runs?: number } = {}) {
      const located = tensorsOf('x', program.inputs, x).map((one) => shapeOf(locate(SUBJECT, 'x', one)));
      return profileOf(run, watch, x, options, () => {
        const { graph, steps } = forRank(located[0].length);
        return planOf(graph, steps.steps, located);
      });
    },
    certificate,
    operations: groupsOf([flat.graph, general.graph]),
    save(options: { rowsOnly?: boolean; f16?: boolean } = {}) {
      const { rowsOnly = false, f16 = false } = options;
      const descriptions = [flat, general].flatMap(({ graph }) => graph.nodes.map(({ description }) => description));
      return writeProgram(rowsOnly ? { ...program, general: null, rowsOnly } : program, descriptions, f16);
    },
  });
}

/** Shapes of inputs as they were given, or with a batch of one as the network says them. */
function shapesGiven(
  { inputs, ranks }: Program,
  given: readonly number[] | Named<readonly number[]> | undefined,
): readonly (readonly number[])[] | undefined {
  if (given === undefined) {
    const shapes = inputs.map(({ shape }) => shape?.map((length, axis) => (axis === 0 ? (length ?? 1) : length)));
    const isKnown = ranks === null && shapes.every((shape) => shape && !shape.includes(null));
    return isKnown ? (shapes as number[][]) : undefined;
  }
  const shapes = inputs.map(({ name }) => (Array.isArray(given) ? given : (given as Named<readonly number[]>)[name]));
  if (Array.isArray(given) ? inputs.length === 1 : shapes.every((shape) => Array.isArray(shape))) return shapes;
  const names = inputs.map(({ name }) => `'${name}'`).join(', ');
  throw wrongKind('ERR_OPTION', SUBJECT, 'shapes', `one for each of ${names}`, show(given));
}

function groupsOf(graphs: readonly OperationGraph[]): string[] {
  const used = graphs.flatMap(({ nodes }) => nodes.map(({ description }) => description));
  const hasConvolutions = used.some(({ group }) => group === 'convolutions');
  // what comes with convolutions is there
  const groups = used.map(({ group, runner }) =>
    hasConvolutions && convolutions.includes(runner) ? 'convolutions' : group,
  );
  return [...new Set(groups.filter((group) => group !== undefined))].sort();
}

interface Built {
  readonly graph: OperationGraph;
  readonly steps: Steps;
}

/** A traced graph rewritten, as steps with weights in f32. */
function built(traced: OperationGraph, rank: number | undefined): Built {
  const graph = rewrite(traced.copy(rank));
  return { graph, steps: stepsOf(graph, ({ rounded }, operation) => rounded(operation)) };
}

/** Nodes as steps: values numbered. */
function stepsOf(
  { inputs, nodes, outputs }: OperationGraph,
  operationOf: (description: Description, operation: Operation) => Operation,
): Steps {
  const values = [...inputs, ...nodes.map(({ output }) => output)];
  const numbers = new Map(values.map((value, i) => [value, i]));
  const numberOf = (value: Value) => numbers.get(value)!;
  const steps = nodes.map(({ description, operation, inputs: from, activation }) => ({
    runner: description.runner,
    operation: operationOf(description, operation),
    inputs: from.map(numberOf),
    activation,
  }));
  return { steps, outputs: outputs.map(numberOf) };
}
