// The options of a pool and of its requests.

import { show, wrongKind, wrongValue } from '../errors.ts';
import type { Operations } from '../infer/list.ts';
import { callable, checkNumber, integer, number, option, optional, required, type Schema } from '../named-options.ts';
import type { Measurement } from './measures.ts';
import { checkOperations } from './source.ts';

export const SUBJECT = 'pool';

/** An AbortSignal, as far as a pool uses one. */
export interface CancelSignal {
  /** Whether it was aborted. */
  readonly aborted: boolean;
  /** Why. */
  readonly reason: unknown;
  /** Is told when it is aborted. */
  addEventListener(type: 'abort', listener: () => void): void;
  /** Is not told any more. */
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** What `pool` takes besides a network. */
export interface PoolOptions {
  /**
   * Worker threads, each with a copy of the network's weights. Default `'auto'`: one for each
   * processor but one, which is left to the thread that asks; at least 1.
   */
  workers?: number | 'auto';
  /**
   * Rows of a batch at the most: requests that wait together, and whose shapes are equal but for
   * axis 0, are run as one. 1: each alone. A request that has more rows is run alone. Default 32.
   */
  maxBatch?: number;
  /**
   * Milliseconds that a request waits for company while a worker is free. Default 0: what is asked
   * for in one turn of the event loop.
   */
  maxDelay?: number;
  /** Requests that wait at the most; further ones are refused with ERR_BUSY. Default 1,024. */
  maxQueue?: number;
  /** Milliseconds from `run` to its answer, after which it is ERR_TIMEOUT. Default: no limit. */
  timeout?: number;
  /**
   * Groups of operations of `evenkeel/infer` that the file may have beyond those of every network,
   * or their names (`compiled.operations`). Default: all.
   */
  operations?: readonly (Operations | string)[];
  /** Is told what is measured, as it happens. An error that it throws is reported as uncaught. */
  metrics?: (measurement: Measurement) => void;
}

/** What one request takes besides its input. */
export interface PoolRunOptions {
  /**
   * Aborts the request: it is rejected with the signal's reason, and not begun if it was not.
   */
  signal?: CancelSignal;
  /** Milliseconds to the answer. Default: the pool's `timeout`. */
  timeout?: number;
}

/** Options that were read. */
export interface Settings {
  readonly workers: number | 'auto';
  readonly maxBatch: number;
  readonly maxDelay: number;
  readonly maxQueue: number;
  readonly timeout: number | undefined;
  readonly operations: readonly (Operations | string)[] | undefined;
  readonly metrics: ((measurement: Measurement) => void) | undefined;
}

/** Timers count to this, in milliseconds. */
const LONGEST = 0x7fffffff;
const MOST_WORKERS = 256;

const checkTimeout = (subject: string, name: string, value: unknown) =>
  checkNumber(subject, name, value, `milliseconds from 0 to ${LONGEST}`, (time) => time >= 0 && time <= LONGEST);

/** Reads the options of a pool. */
export const poolSchema = (): Schema<Settings> => ({
  workers: option<number | 'auto'>('auto', (subject, name, value) => {
    if (value === 'auto') return;
    const expected = `an integer from 1 to ${MOST_WORKERS}, or 'auto'`;
    if (!(Number.isInteger(value) && value >= 1 && value <= MOST_WORKERS)) {
      throw wrongValue('ERR_OPTION', subject, name, expected, show(value));
    }
  }),
  maxBatch: integer(1, 32),
  maxDelay: number(0, `milliseconds from 0 to ${LONGEST}`, (time) => time >= 0 && time <= LONGEST),
  maxQueue: integer(1, 1024),
  timeout: optional(required(checkTimeout)),
  operations: optional(required(checkOperations)),
  metrics: callable(),
});

/** Reads the options of a request. */
export const runSchema = (): Schema<{ signal: CancelSignal | undefined; timeout: number | undefined }> => ({
  signal: optional(
    required((subject, name, value) => {
      if (typeof (value as CancelSignal | null)?.addEventListener !== 'function') {
        throw wrongKind('ERR_OPTION', subject, name, 'an AbortSignal', show(value));
      }
    }),
  ),
  timeout: optional(required(checkTimeout)),
});
