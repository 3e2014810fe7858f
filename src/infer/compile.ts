// A small compiler: stages → optimized nodes → a program → a function that runs it.

import type { Stage } from '../layers/layer.ts';
import { checkNames } from '../named-options.ts';
import { locate } from '../tensors/call.ts';
import type { TensorLike } from '../tensors/tensor.ts';
import { certify, type NetworkCertificate } from './certificate.ts';
import { explainProgram } from './explain.ts';
import { type Node, type Optimized, optimize, stepsOf } from './optimize.ts';
import type { Program, Step } from './program.ts';
import { type Compiled, instantiate, type RunOptions } from './run.ts';
import { writeProgram } from './save.ts';

export interface CompileOptions extends RunOptions {
  /** Inputs on which the compiled network is held against the one it is made from: `certificate`. */
  samples?: TensorLike;
}

/** A compiled network that knows how it came about. */
export interface CompiledNetwork extends Compiled {
  /**
   * The plan as a table: each step, the layers in it, bytes of weights, multiply-adds per row, and what the rounding of folded weights can do to
   * an output for inputs of magnitude 1; then what stayed as it was and why, and what was dropped. For inputs of rank 2, unless told another.
   */
  explain(rank?: number): string;
  /** On the samples given to `compile`; null without. */
  readonly certificate: NetworkCertificate | null;
  /**
   * One file, which `load` of `evenkeel/infer` reads: a safetensors file with the steps in its metadata.
   *
   * @param options.rowsOnly `true`: for inputs of rank 2 alone. Where norms have their channels first, other ranks need weights of their own, and the
   *   file is half as large without them. Default `false`
   */
  save(options?: { rowsOnly?: boolean }): Uint8Array<ArrayBuffer>;
}

const SUBJECT = 'compile';

export function compile(stages: readonly Stage[], options: CompileOptions): CompiledNetwork {
  checkNames(SUBJECT, options, ['maxBatch', 'inputShape', 'samples']);
  const samples = options.samples === undefined ? undefined : locate(SUBJECT, 'samples', options.samples);
  const flat = built(stages, true);
  const other = built(stages, false);
  const general = isSame(flat, other) ? flat : other;
  const program: Program = { flat: flat.steps, general: general === flat ? null : general.steps };
  const run = instantiate(program, options);
  const forRank = (rank: number) => (rank === 2 ? flat : general);
  let certificate: NetworkCertificate | null = null;
  if (samples) {
    try {
      const { optimized, steps } = forRank(('shape' in samples ? samples.shape : samples.dims).length);
      certificate = certify(stages, optimized.nodes, steps, samples, run);
    } catch (error) {
      run.dispose();
      throw error;
    }
  }
  return Object.assign(run, {
    explain: (rank = 2) => explainProgram(forRank(rank).optimized, forRank(rank).steps, forRank(rank).rounding),
    certificate,
    save: ({ rowsOnly = false }: { rowsOnly?: boolean } = {}) =>
      writeProgram(rowsOnly ? { flat: program.flat, general: null, rowsOnly } : program),
  });
}

interface Built {
  readonly optimized: Optimized;
  readonly steps: readonly Step[];
  /** By step: Σ|W′ − exact| of the channel with the largest; null where nothing was rounded. */
  readonly rounding: readonly (number | null)[];
}

function built(stages: readonly Stage[], flat: boolean): Built {
  const optimized = optimize(stages, flat);
  const steps = stepsOf(optimized.nodes);
  return { optimized, steps, rounding: optimized.nodes.map((node, i) => roundingOf(node, steps[i])) };
}

function roundingOf({ operation }: Node, step: Step): number | null {
  if (operation.kind === 'elementwise' || step.operation.kind === 'elementwise') return null;
  if (operation.kind === 'affine') {
    const { scale } = step.operation as { scale: Float32Array };
    return operation.scale.reduce((most, value, c) => Math.max(most, Math.abs(value - scale[c])), 0);
  }
  const { weight } = step.operation as { weight: Float32Array };
  const sums = new Float64Array(operation.outFeatures);
  for (let i = 0; i < weight.length; i++)
    sums[Math.floor(i / operation.inFeatures)] += Math.abs(operation.weight[i] - weight[i]);
  const most = sums.reduce((a, b) => Math.max(a, b), 0);
  return most > 0 ? most : null;
}

/** Did both kinds of input lead to the same steps? */
function isSame(a: Built, b: Built): boolean {
  const shape = ({ optimized, steps }: Built) =>
    JSON.stringify(
      steps.map(({ operation, x, add, activation }, i) => [
        operation.kind,
        x,
        add,
        activation,
        optimized.nodes[i].sources,
      ]),
    );
  return shape(a) === shape(b);
}
