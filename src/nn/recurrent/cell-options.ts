import { show, showChoices, wrongKind } from '../../errors.ts';
import { choice, flag, readSchema, type Schema, seed, takeOptions } from '../../named-options.ts';
import { type RecurrentBatchNormOptions, recurrentSchema } from '../../norms/recurrent-batch-norm.ts';
import type { TensorLike } from '../../tensors/tensor.ts';
import { type Initializer, initializer } from '../initializers.ts';

/**
 * Options of both cells: those of `RecurrentBatchNorm1d`, and how the cell begins and what it
 * returns.
 */
export interface RecurrentCellOptions extends Partial<Omit<RecurrentBatchNormOptions, 'affine' | 'activation'>> {
  /**
   * Batch norm of what comes from the input, of what comes from the previous state and, in an LSTM,
   * of the cell's value, with statistics for each time step. `true` (default) takes `maxSteps` and
   * the other options of `RecurrentBatchNorm1d`; `false` is the plain cell, which takes none of
   * them.
   */
  norm?: boolean;
  /**
   * The output: the states of all steps, `[N, T, H]` (`'sequence'`, default), or the last state of
   * each sequence, `[N, H]` (`'last'`).
   */
  output?: 'sequence' | 'last';
  /**
   * How the weights begin. Default: uniform in ±1/√hiddenSize, as in PyTorch. Biases begin at 0.
   */
  init?: Initializer;
  /** Seed of the initial values. Default: a different one every time. */
  seed?: number;
}

/** The state between two pieces of the same sequences, with one row for each sequence. */
export interface RecurrentState {
  /** Hidden state, `[N, H]`. */
  h: Float32Array;
  /** The LSTM's cell value, `[N, H]`. */
  c?: Float32Array;
  /** Time steps before this one. */
  step: number;
}

/** What `forward` of a cell takes besides its input. */
export interface RecurrentForwardOptions<O extends TensorLike = TensorLike> {
  /** Where to write the output: memory apart from x. */
  out?: O;
  /** How many steps of each sequence count, `[N]`. Default: all. */
  lengths?: ArrayLike<number>;
  /**
   * The state to continue from: `state` of the cell after an earlier piece. Backward takes it as a
   * constant (truncated backpropagation through time). Default: zeros.
   */
  state?: RecurrentState;
}

/** Options of a cell itself, as it uses them. */
export interface CellSettings {
  readonly norm: boolean;
  readonly output: 'sequence' | 'last';
  readonly init: Initializer | undefined;
  readonly seed: number | undefined;
}

const cellSchema = (): Schema<CellSettings> => ({
  norm: flag(true),
  output: choice('sequence', ['sequence', 'last']),
  init: initializer(),
  seed: seed(),
});

/** Options of its norms that a cell leaves to be given. */
const normSchema = () => {
  const { affine, activation, ...rest } = recurrentSchema();
  return rest;
};

/**
 * Reads the options of a cell.
 *
 * @param more options that a cell takes besides
 * @returns the cell's own, and those of its norms; undefined for the plain cell
 */
export function readCellOptions<M extends object>(
  subject: string,
  options: RecurrentCellOptions & Partial<M>,
  more: Schema<M>,
): { cell: CellSettings & M; norm: RecurrentBatchNormOptions | undefined } {
  const own = { ...cellSchema(), ...more } as Schema<CellSettings & M>;
  const names = Object.keys(own);
  const norms = normSchema();
  const taken = Object.entries(takeOptions(subject, options, [...names, ...Object.keys(norms)]));
  const part = (isOwn: boolean) => Object.fromEntries(taken.filter(([name]) => names.includes(name) === isOwn));
  const cell = readSchema(subject, part(true), own);
  const rest = part(false);
  if (cell.norm) return { cell, norm: readSchema(subject, rest, norms) };
  const [stray] = Object.keys(rest);
  if (stray) throw wrongKind('ERR_OPTION', subject, 'options without norm', showChoices(names), show(stray));
  return { cell, norm: undefined };
}
