// A small compiler: a network traced into a graph of operations → rewritten → a program → a
// function that runs it.

import { OperationGraph, type Value } from '../graph/graph.ts';
import type { Description, Operation } from '../graph/operation.ts';
import { OPERATIONS } from '../graph/operations/list.ts';
import { rewrite } from '../graph/passes/rewrite.ts';
import { checkNames } from '../named-options.ts';
import { locate } from '../tensors/call.ts';
import { nullsIn, shapeOf } from '../tensors/shape.ts';
import type { TensorLike } from '../tensors/tensor.ts';
import { certify, type NetworkCertificate } from './certificate.ts';
import { explainProgram } from './explain.ts';
import { type Port, type Program, portsOf, type Steps } from './program.ts';
import { type Compiled, instantiate, type Named, type RunOptions, tensorsOf } from './run.ts';
import { writeProgram } from './save.ts';

export interface CompileOptions extends RunOptions {
  /**
   * Inputs on which the compiled network is held against the one it is made from: `certificate`. A
   * record where there are several.
   */
  samples?: TensorLike | Named<TensorLike>;
}

/** A compiled network that knows how it came about. */
export interface CompiledNetwork extends Compiled {
  /**
   * The plan as a table: each step, the layers in it, bytes of weights, multiply-adds per row, and
   * what the rounding of folded weights can do to an output for inputs of magnitude 1; then what
   * stayed as it was and why, and what was dropped. For inputs of rank 2, unless told another.
   */
  explain(rank?: number): string;
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
   */
  save(options?: { rowsOnly?: boolean }): Uint8Array<ArrayBuffer>;
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
  const run = instantiate(program, options);
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
    explain: (rank = 2) => explainProgram(forRank(rank).graph, forRank(rank).steps.steps),
    certificate,
    operations: groupsOf([flat.graph, general.graph]),
    save: ({ rowsOnly = false }: { rowsOnly?: boolean } = {}) =>
      writeProgram(rowsOnly ? { ...program, general: null, rowsOnly } : program),
  });
}

function groupsOf(graphs: readonly OperationGraph[]): string[] {
  const groups = graphs.flatMap(({ nodes }) => nodes.map(({ description }) => description.group));
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
