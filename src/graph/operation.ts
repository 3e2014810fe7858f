// What an operation is. Each has a file in operations/ with two exports: a Runner, which is all
// that a loaded network needs of it, and a Description, which compiling, saving, explaining and
// certifying need.

import type { ActivationCode } from '../kernels/activations.ts';
import type { Backend } from '../kernels/create-backend.ts';
import { Call } from '../tensors/call.ts';
import type { Layout } from '../types.ts';
import { floats } from '../wasm/views.ts';
import type { Valued } from './error-analysis.ts';

/** Lengths by axis, the batch first; NaN where a length is not known before a batch comes. */
export type Shape = readonly number[];

/**
 * An operation as data: its kind, sizes and weights. Runners take the weights in f32, descriptions
 * in f64.
 */
export interface Operation {
  readonly kind: string;
}

/** One operation on values of known shapes, to be called again and again. */
export interface Site<O extends Operation> {
  readonly backend: Backend;
  readonly operation: O;
  /** The address of what `fill` wrote. */
  readonly weights: number;
  /** Shapes of the inputs; of a residual last, where there is one. */
  readonly shapes: readonly Shape[];
  /**
   * Addresses in this run: of inputs, of a residual (0 without one), of the output and of the
   * scratch memory.
   */
  readonly inputs: readonly (() => number)[];
  readonly residual: () => number;
  readonly output: () => number;
  readonly scratch: () => number;
  readonly activation: ActivationCode;
}

/** An operation in a file. */
export interface Fields {
  readonly json: Readonly<Record<string, unknown>>;
  /** The error ERR_FORMAT, naming the step. */
  fail(expected: string, got: unknown): Error;
  /** An integer from `least` to `most`. Throws what `fail` makes. */
  whole(value: unknown, least: number, most: number): number;
  /**
   * Values in a tensor of the file, which a field names, for `fill` alone: they may be a view of
   * the file.
   */
  weight(field: string, shape: readonly number[]): Float32Array;
  /** A copy of such values. */
  vector(field: string, shape: readonly number[]): Float32Array;
  /** The same; null where the file says so, or has no such field. */
  optional(field: string, shape: readonly number[]): Float32Array | null;
}

/** Runs operations of one kind. */
export interface Runner<O extends Operation = Operation> {
  readonly kind: string;
  /** How many inputs it has of its own; MANY: one or more. */
  readonly arity: number;
  /** May one more input, a residual, be added, and an activation be applied, in the same pass? */
  readonly fuses: boolean;
  /**
   * Inputs whose memory the output may take, the best one first. The residual counts as the last
   * input.
   */
  readonly overwrites: readonly number[];
  /** For tables and errors: `linear 784 → 100`. */
  name(operation: O): string;
  /**
   * The shape of the output. Lengths may be NaN.
   *
   * @param subject who complains
   * @throws ERR_SHAPE
   */
  shape(subject: string, operation: O, inputs: readonly Shape[]): Shape;
  /** Is its output what `fill` wrote, in every run? */
  readonly isStored?: true;
  /** Does it take any shape, and keep it? */
  readonly keepsShape?: true;
  /** The shape of an input of so many axes, as far as the operation says. */
  takes?(operation: O, rank: number): Shape | undefined;
  /** Bytes of weights in memory. */
  bytes?(operation: O, inputs: number): number;
  /** Writes the weights. */
  fill?(backend: Backend, operation: O, at: number, inputs: number): void;
  /** Bytes of memory that a call works in. */
  scratch?(operation: O, shapes: readonly Shape[]): number;
  /** Throws for shapes that the operation takes and cannot run. */
  call(site: Site<O>): () => void;
  /** Reads an operation from a file. */
  read(fields: Fields): O;
}

/** y = (x − center)·scale + shift along one axis, in f64. */
export interface ChannelMap {
  /** The centres are values of f32; 0 in channels whose mean lies near 0. */
  readonly center: ArrayLike<number>;
  readonly scale: ArrayLike<number>;
  readonly shift: ArrayLike<number>;
}

/** Which axis of a value holds channels: 1 counts from the front, −1 from the back. */
export type ChannelAxis = 1 | -1;

/** Channels of an input or an output. */
export interface Channels {
  readonly axis: ChannelAxis;
  readonly count: number;
}

export const axisOf = (layout: Layout): ChannelAxis => (layout === 'channels-first' ? 1 : -1);

/** Puts vectors into a file, and returns their names there; null for null. */
export type StoreVector = (data: Float32Array | null, shape: readonly number[], name: string) => string | null;

/** Describes operations of one kind. `X` has its weights in f64, `O` in f32. */
export interface Description<X extends Operation = Operation, O extends Operation = X> {
  readonly runner: Runner<O>;
  /**
   * The group of `evenkeel/infer` that `load` has to be given; none for the operations of every
   * network.
   */
  readonly group?: string;
  /** For sentences: `a linear layer`. */
  readonly noun: string;
  /** A copy in f64 of what a layer has. */
  exact(given: X): X;
  /** Rounded to f32. */
  rounded(exact: X): O;
  /**
   * Largest sum of what rounding takes from the weights of one channel; null where nothing is
   * rounded.
   */
  rounding(exact: X, operation: O): number | null;
  /** The operation's fields in a file, but for its kind. */
  json(operation: O, store: StoreVector): Readonly<Record<string, unknown>>;
  /** Bytes of weights that a run reads. */
  bytes(operation: O): number;
  /** Multiply-adds per row; null where they depend on how many values a row has. */
  work(operation: O): number | null;
  /**
   * Multiply-adds for inputs and an output of known shapes. Default: `work` for each row, else one
   * for each value.
   */
  multiplyAdds?(operation: O, shapes: readonly Shape[], output: Shape): number;
  /** The same in words, where the rule is another than one per value: `576 per pixel`. */
  workWords?(operation: O): string;
  /** Values in f64, and the error of evaluation in f32 with the weights of `used`. */
  analyse(inputs: readonly Valued[], exact: X, used: O): Valued;
  /** Channels of the input and of the output. */
  input?(exact: X): Channels;
  output?(exact: X): Channels;
  /** The map that the operation is, for folding. */
  map?(exact: X): ChannelMap;
  /**
   * The operation followed by a map of its output channels, or why that cannot be one operation.
   */
  foldBack?(exact: X, map: ChannelMap, source: X): X | string;
  /** The operation behind a map of its input channels, or why that cannot be one operation. */
  foldForward?(exact: X, map: ChannelMap): X | string;
}

/**
 * The arity of operations that take any number of inputs. A literal, so that bundlers can leave out
 * a runner that has it.
 */
export const MANY = 4294967296;

const LANES = 8;

/** Bytes of a vector of f32 in memory: whole lanes of a packed panel. */
export const padded = (values: number) => Math.ceil(values / LANES) * LANES * 4;

/** Bytes that lie in a core's own cache beside what is written. */
const PIECE = 1 << 17;

/**
 * Passes the rows of a matrix, as many at a time as fill whole panels, through one small piece of
 * memory: weights are millions.
 *
 * @param write puts rows into memory, from one on, at an address
 * @param pack takes them from there
 */
export function inPieces(
  backend: Backend,
  rows: number,
  columns: number,
  write: (out: Float32Array, first: number, at: number) => void,
  pack: (from: number, first: number, count: number) => void,
  atOnce = Math.max(LANES, Math.floor(PIECE / (4 * LANES * columns)) * LANES),
): void {
  const call = new Call(backend);
  try {
    const from = call.scratch(Math.min(rows, atOnce) * columns * 4);
    for (let first = 0; first < rows; first += atOnce) {
      const count = Math.min(atOnce, rows - first);
      write(floats(backend.heap, from, count * columns), first, from);
      pack(from, first, count);
    }
  } finally {
    call.end();
  }
}

/** Ranks as a file has them: null for no end. */
export const jsonRanks = ([least, most]: readonly [number, number]) => [least, Number.isFinite(most) ? most : null];
