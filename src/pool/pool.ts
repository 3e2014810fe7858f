// `pool`: what it takes and gives.

import type { Bytes } from '../formats/bytes.ts';
import type { Port } from '../infer/program.ts';
import { readSchema } from '../named-options.ts';
import type { TensorLike } from '../tensors/tensor.ts';
import type { PoolStats } from './measures.ts';
import { type PoolOptions, type PoolRunOptions, poolSchema, SUBJECT } from './options.ts';
import { Requests } from './requests.ts';
import { type LinkLike, sourceOf } from './source.ts';
import type { Start } from './workers.ts';

/**
 * What a pool returns for an input of type X: plain values, under the name that X has for its
 * shape.
 */
export type PoolResult<X> = X extends {
  /** The name that X uses for its shape. */
  dims: readonly number[];
}
  ? {
      /** Values, row-major. */
      data: Float32Array;
      /** Length of each axis, outermost first. */
      dims: number[];
    }
  : {
      /** Values, row-major. */
      data: Float32Array;
      /** Length of each axis, outermost first. */
      shape: number[];
    };

/** Compiled networks in worker threads. */
export interface Pool extends AsyncDisposable {
  /**
   * Runs the network on an input, in a worker. The values are copied before it returns: the input
   * may change from then on.
   *
   *     const { data } = await p.run({ data: pixels, shape: [1, 784] }, { timeout: 100 });
   *
   * @param x what the network takes; a record of tensors where it has several inputs
   * @returns what the network gives, as plain values; a record where it has several outputs
   * @throws (rejects with) ERR_SHAPE, ERR_TYPE, ERR_OPTION for an input that the network does not
   *   take, before it waits; ERR_BUSY where `maxQueue` requests wait, whose number is the error's
   *   `queued`; ERR_TIMEOUT; ERR_CLOSED after `close()`; ERR_WORKER where a worker was lost with
   *   it,
   *   and another with its second run; the signal's reason; what the network throws
   */
  run<X extends TensorLike, O = PoolResult<X>>(x: X, options?: PoolRunOptions): Promise<O>;
  /** The same for a network of several inputs or outputs: records by their names. */
  run<X extends TensorLike>(
    x: Readonly<Record<string, X>>,
    options?: PoolRunOptions,
  ): Promise<Record<string, PoolResult<X>>>;
  /**
   * Runs the network on each of some inputs, and gives the results in their order. No more inputs
   * are taken than keep the workers busy, and they wait where the queue is full.
   *
   *     for await (const y of p.map(images)) save(y);
   *
   * @throws what reading the inputs throws, and what `run` rejects with; those that wait are then
   *   not begun
   */
  map<X extends TensorLike, O = PoolResult<X>>(
    inputs: AsyncIterable<X> | Iterable<X>,
    options?: PoolRunOptions,
  ): AsyncGenerator<O, void, undefined>;
  /** The same for a network of several inputs or outputs: records by their names. */
  map<X extends TensorLike>(
    inputs: AsyncIterable<Readonly<Record<string, X>>> | Iterable<Readonly<Record<string, X>>>,
    options?: PoolRunOptions,
  ): AsyncGenerator<Record<string, PoolResult<X>>, void, undefined>;
  /** What it has done, and what it is doing. */
  stats(): PoolStats;
  /** What the network takes: names, and lengths by axis. */
  readonly inputs: readonly Port[];
  /** What the network gives: names, and lengths by axis. */
  readonly outputs: readonly Port[];
  /**
   * Answers what was asked for, and ends the workers. New requests are ERR_CLOSED. Resolves when
   * the last worker has ended.
   */
  close(): Promise<void>;
}

/**
 * Starts worker threads with a compiled network. `run` then answers without blocking the thread
 * that asks, and requests that wait together become batches.
 *
 *     await using p = await pool('net.safetensors', { maxBatch: 32, timeout: 500 });
 *     const { data } = await p.run({ data: pixels, shape: [1, 784] });
 *
 * Requests are run as one batch only where that changes nothing: the first batch of each shape is
 * compared with its requests run one by one, and a network whose rows depend on each other is run
 * one request at a time. A worker that is lost is replaced, and its requests are run once more,
 * each
 * alone. An open pool does not keep the process alive, and a request does.
 *
 * @param source a compiled file (`save()`, `npx evenkeel compile`) as bytes, a path or a URL; or
 * the
 *   path or URL of a module (`.js`, `.mjs`, `.ts` and the like) whose default export is a compiled
 *   network, a `Sequential` or `Graph` to be compiled, or a function that returns either
 * @throws (rejects with) ERR_OPTION, ERR_TYPE; what reading the file, loading the network
 * (ERR_FORMAT,
 *   ERR_MEMORY) and importing the module throw; ERR_WORKER where a worker cannot start
 */
export function pool(source: Bytes | string | LinkLike, options: PoolOptions = {}): Promise<Pool> {
  return openPool(source, options);
}

/** `pool` with workers of another kind. */
export async function openPool(source: Bytes | string | LinkLike, options: PoolOptions, start?: Start): Promise<Pool> {
  const settings = readSchema(SUBJECT, options, poolSchema());
  const found = await sourceOf(source, settings.operations);
  return Requests.open(found, settings, start);
}
