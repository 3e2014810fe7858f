// What a pool and its workers say to each other.

import type { Port, Program } from '../infer/program.ts';
import type { Configuration } from '../kernels/backend.ts';

/** Groups of operations, by the names that `evenkeel/infer` gives them. */
export const GROUPS = [
  'activations',
  'arithmetic',
  'convolutions',
  'indexing',
  'merging',
  'norms',
  'pooling',
  'recurrent',
  'reshaping',
  'softmax',
] as const;

/** Where the network comes from: a compiled file, or a module whose default export it is. */
export type Source =
  | {
      readonly file: Uint8Array;
      /** Names of groups, and kinds of operations; undefined: all that there are. */
      readonly operations: readonly string[] | undefined;
    }
  | { readonly module: string };

/** The first message to a worker. */
export interface Opening {
  readonly source: Source;
  /** Settings of the library, as the pool's thread has them. */
  readonly settings: Configuration;
  /** A Web Lock that the worker holds as long as it lives; undefined where the host has none. */
  readonly lock?: string | undefined;
}

/** One batch: requests that follow each other along axis 0 of every input. */
export interface Job {
  readonly id: number;
  readonly inputs: readonly { readonly data: Float32Array; readonly shape: readonly number[] }[];
  /** Rows of each request; a request that is alone has all of them. */
  readonly rows: readonly number[];
  /**
   * Compares the batch with its requests one by one: nobody has looked yet whether rows of such
   * shapes are independent.
   */
  readonly isNew: boolean;
}

/** An output of the network. */
export interface Output {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/** An error on its way between threads. */
export interface Failure {
  readonly name: string;
  readonly message: string;
  readonly code?: string | undefined;
  readonly stack?: string | undefined;
}

/** What a request gave. */
export type Answer = { readonly outputs: readonly Output[] } | { readonly error: Failure };

/** A worker's first message. */
export type Opened =
  | { readonly inputs: readonly Port[]; readonly outputs: readonly Port[]; readonly ranks: Program['ranks'] }
  | { readonly error: Failure };

/** A worker's answer to a job. */
export interface Done {
  readonly id: number;
  /** One answer for all requests, whose outputs follow each other; or one for each. */
  readonly answers: readonly Answer[];
  /** Are rows independent? Only where the job asked, and its requests could tell. */
  readonly isBatchable?: boolean | undefined;
  /** Milliseconds of work. */
  readonly time: number;
}

/** An error as it is sent. */
export function failureOf(error: unknown): Failure {
  if (!(error instanceof Error)) return { name: 'Error', message: `${error}` };
  const { name, message, stack } = error;
  const { code } = error as { code?: unknown };
  return { name, message, stack, code: typeof code === 'string' ? code : undefined };
}

/** The same error in this thread: of the same kind, with the same code. */
export function errorOf({ name, message, code, stack }: Failure): Error {
  const Kind = name === 'TypeError' ? TypeError : name === 'RangeError' ? RangeError : Error;
  const error = new Kind(message);
  if (error.name !== name) Object.defineProperty(error, 'name', { value: name, configurable: true, writable: true });
  if (stack) error.stack = stack;
  return code ? Object.assign(error, { code }) : error;
}
