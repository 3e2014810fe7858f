// Compiled networks in worker threads: requests gather into batches, workers run them, and the
// thread that asks is never blocked.

import {
  type EvenkeelError,
  isList,
  show,
  showChoices,
  showShape,
  wrongKind,
  wrongMoment,
  wrongValue,
} from '../errors.ts';
import type { Bytes } from '../formats/bytes.ts';
import type { Operations } from '../infer/list.ts';
import { labelOf, type Port } from '../infer/program.ts';
import { wanted } from '../kernels/backend.ts';
import {
  callable,
  checkNumber,
  checkRecord,
  integer,
  number,
  option,
  optional,
  readSchema,
  required,
  type Schema,
} from '../named-options.ts';
import { wrongRank } from '../passes/plan.ts';
import { agree, readPlain } from '../tensors/shape.ts';
import type { TensorLike } from '../tensors/tensor.ts';
import { processors } from '../threads/worker.ts';
import { Batch, Memory, type Request, type Values } from './batch.ts';
import { type Measurement, type Percentiles, Recent } from './measures.ts';
import { type Answer, errorOf, type Failure, type Opened, type Output, type Source } from './messages.ts';
import { checkOperations, type LinkLike, sourceOf } from './source.ts';
import { Crew, type Start, type WorkerStats } from './workers.ts';

const SUBJECT = 'pool';

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

/** What a pool has done, and what it is doing. */
export interface PoolStats {
  /** Requests that wait. */
  readonly queued: number;
  /** Requests that workers have been sent. */
  readonly running: number;
  /** Requests that have ended, by how. */
  readonly requests: {
    /** Answered. */
    readonly completed: number;
    /** Answered with an error of the network, or ERR_WORKER. */
    readonly failed: number;
    /** Aborted by their signals. */
    readonly aborted: number;
    /** ERR_TIMEOUT. */
    readonly timedOut: number;
    /** ERR_BUSY. */
    readonly refused: number;
  };
  /** Batches that were run. */
  readonly batches: {
    /** How many. */
    readonly count: number;
    /** How many had so many requests. */
    readonly sizes: Readonly<Record<number, number>>;
  };
  /** Milliseconds from `run` to the answer, of the last 2,048 requests that were answered. */
  readonly latency: Percentiles;
  /** Milliseconds from `run` to the beginning of the batch, of the last 2,048 that began. */
  readonly wait: Percentiles;
  /** Each worker. */
  readonly workers: readonly WorkerStats[];
}

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

interface Settings {
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

const schema = (): Schema<Settings> => ({
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

const runSchema = (): Schema<{ signal: CancelSignal | undefined; timeout: number | undefined }> => ({
  signal: optional(
    required((subject, name, value) => {
      if (typeof (value as CancelSignal | null)?.addEventListener !== 'function') {
        throw wrongKind('ERR_OPTION', subject, name, 'an AbortSignal', show(value));
      }
    }),
  ),
  timeout: optional(required(checkTimeout)),
});

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
  const settings = readSchema(SUBJECT, options, schema());
  const found = await sourceOf(source, settings.operations);
  return Requests.open(found, settings, start);
}

/** Waits for the turns of the event loop that have something to read now. */
const soon: (work: () => void) => void =
  (globalThis as { setImmediate?: (work: () => void) => void }).setImmediate ??
  ((work) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      work();
    };
    port2.postMessage(0);
  });

/** How many keys of shapes are remembered. */
const MOST_KEYS = 1024;

class Requests implements Pool {
  readonly #settings: Settings;
  readonly #crew: Crew;
  readonly #memory = new Memory();
  #waiting: Batch[] = [];
  #queued = 0;
  #running = 0;
  #scheduled = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Are rows of these shapes independent? Missing: nobody has looked. */
  readonly #batchable = new Map<string, boolean>();
  readonly #counts = { completed: 0, failed: 0, aborted: 0, timedOut: 0, refused: 0 };
  readonly #sizes = new Map<number, number>();
  readonly #latency = new Recent();
  readonly #wait = new Recent();
  /** Told when fewer requests wait. */
  #roomy: (() => void)[] = [];
  /** Told when nothing waits and nothing runs. */
  #idle: (() => void)[] = [];
  #closing: Promise<void> | undefined;
  #ports!: Exclude<Opened, { error: unknown }>;

  constructor(source: Source, settings: Settings, start: Start | undefined) {
    const { workers } = settings;
    this.#settings = settings;
    this.#crew = new Crew(
      workers === 'auto' ? Math.max(1, processors() - 1) : workers,
      { source, settings: { ...wanted } },
      {
        done: (batch, answers, isBatchable) => this.#done(batch, answers, isBatchable),
        lost: (begun, sent, why) => this.#lost(begun, sent, why),
        ready: () => this.#pump(),
        gone: (why) => this.#gone(why),
        measure: (...measurement) => this.#measure(...measurement),
      },
      start,
    );
  }

  static async open(source: Source, settings: Settings, start: Start | undefined): Promise<Pool> {
    const requests = new Requests(source, settings, start);
    requests.#ports = await requests.#crew.opened();
    return requests;
  }

  get inputs(): readonly Port[] {
    return this.#ports.inputs;
  }

  get outputs(): readonly Port[] {
    return this.#ports.outputs;
  }

  run(x: unknown, options: PoolRunOptions = {}): Promise<never> {
    return this.#ask(x, options) as Promise<never>;
  }

  async *map(inputs: unknown, options: PoolRunOptions = {}): AsyncGenerator<never, void, undefined> {
    const given = inputs as Partial<AsyncIterable<unknown> & Iterable<unknown>> | null | undefined;
    const iterator = given?.[Symbol.asyncIterator]?.() ?? given?.[Symbol.iterator]?.();
    if (!iterator || typeof inputs === 'string' || ArrayBuffer.isView(inputs)) {
      throw wrongKind('ERR_TYPE', SUBJECT, 'inputs', 'an iterable or async iterable', show(inputs));
    }
    const { signal, timeout } = readSchema(SUBJECT, options, runSchema());
    const most = Math.min(2 * this.#crew.size * this.#settings.maxBatch, this.#settings.maxQueue);
    const all = new AbortController();
    const abort = () => all.abort(signal?.reason);
    const aborted = new Promise<'aborted'>((resolve) => {
      all.signal.addEventListener('abort', () => resolve('aborted'));
    });
    if (signal?.aborted) abort();
    signal?.addEventListener('abort', abort);
    const pending: Promise<unknown>[] = [];
    let next: Promise<IteratorResult<unknown>> | undefined;
    let ended = false;
    try {
      for (;;) {
        if (all.signal.aborted) throw all.signal.reason;
        if (!ended && pending.length < most) next ??= Promise.resolve(iterator.next());
        if (!next && pending.length === 0) return;
        // a slow source does not hold results back
        const first = await Promise.race([
          aborted,
          ...pending.slice(0, 1).map((answer) => answer.then(ready, ready)),
          ...(next ? [next.then(taken)] : []),
        ]);
        if (first === 'aborted') throw all.signal.reason;
        if (first === 'ready') {
          yield (await pending.shift()) as never;
          continue;
        }
        const { done, value } = await next!;
        next = undefined;
        if (done) ended = true;
        else {
          while (this.#queued >= this.#settings.maxQueue && !this.#closing) await this.#room();
          const answer = this.#ask(value, { signal: all.signal, ...(timeout !== undefined && { timeout }) });
          answer.catch(() => {});
          pending.push(answer);
        }
      }
    } finally {
      signal?.removeEventListener('abort', abort);
      all.abort(new Error('nobody waits for it'));
      next?.catch(() => {});
      // a source that is asked for an input hears of the end after it
      const returned = ended ? undefined : Promise.resolve(iterator.return?.());
      if (next) returned?.catch(() => {});
      else await returned;
    }
  }

  stats(): PoolStats {
    return {
      queued: this.#queued,
      running: this.#running,
      requests: { ...this.#counts },
      batches: {
        count: [...this.#sizes.values()].reduce((sum, count) => sum + count, 0),
        sizes: Object.fromEntries(this.#sizes),
      },
      latency: this.#latency.percentiles(),
      wait: this.#wait.percentiles(),
      workers: this.#crew.stats(),
    };
  }

  close(): Promise<void> {
    this.#closing ??= this.#drain();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #drain(): Promise<void> {
    // not before #closing is set
    await undefined;
    this.#pump();
    while (this.#queued + this.#running > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
    clearTimeout(this.#timer);
    await this.#crew.end();
    for (const resolve of this.#roomy.splice(0)) resolve();
  }

  /** Waits until a request has left the queue. */
  #room(): Promise<void> {
    return new Promise((resolve) => this.#roomy.push(resolve));
  }

  /** The tensors of an input in the order of the ports, checked against them. */
  #read(x: unknown): { inputs: Values[]; named: 'shape' | 'dims' } {
    const { inputs: ports, ranks } = this.#ports;
    const { data, shape, dims } = (x ?? {}) as Record<string, unknown>;
    const isRecord = typeof x === 'object' && x && !isList(x) && !ArrayBuffer.isView(data) && !isList(shape ?? dims);
    let given = [x];
    if (isRecord || ports.length > 1) {
      checkRecord(SUBJECT, x);
      const names = ports.map(({ name }) => name);
      for (const name in x as object) {
        if (!names.includes(name)) {
          throw wrongKind('ERR_OPTION', SUBJECT, 'inputs', showChoices(ports.slice(0, 16).map(labelOf)), show(name));
        }
      }
      given = ports.map(({ name }) => (x as Record<string, unknown>)[name]);
    }
    const inputs = given.map((one, i) => {
      const { shape: declared } = ports[i];
      const label = labelOf(ports[i]);
      const { data, shape } = readPlain(SUBJECT, label, one);
      if (ranks && (shape.length < ranks[0] || shape.length > ranks[1])) throw wrongRank(SUBJECT, shape, ranks);
      const expected = declared?.map((length) => length ?? Number.NaN);
      const isOther = expected && (shape.length === expected.length || ranks === null) && !agree(shape, expected);
      if (isOther) throw wrongValue('ERR_SHAPE', SUBJECT, label, `shape ${show(declared)}`, showShape(shape));
      return { data, shape };
    });
    return { inputs, named: typeof given[0] === 'object' && given[0] && 'shape' in given[0] ? 'shape' : 'dims' };
  }

  /** What makes requests one batch; undefined for those that are run alone. */
  #keyOf(inputs: readonly Values[], rows: number): string | undefined {
    const { inputs: ports, outputs } = this.#ports;
    const isFixed = [...ports, ...outputs].some(({ shape }) => shape && (shape.length === 0 || shape[0] !== null));
    if (isFixed || rows < 1 || rows >= this.#settings.maxBatch || inputs.some(({ shape }) => shape[0] !== rows)) {
      return undefined;
    }
    const key = inputs.map(({ shape }) => shape.slice(1).join()).join('|');
    return this.#batchable.get(key) === false ? undefined : key;
  }

  #ask(x: unknown, options: PoolRunOptions): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const { signal, timeout = this.#settings.timeout } = readSchema(SUBJECT, options, runSchema());
      if (this.#closing) throw wrongMoment('ERR_CLOSED', SUBJECT, 'run', 'an open pool', 'one that was closed');
      if (this.#crew.why) throw workersGone(this.#crew.why);
      const { inputs, named } = this.#read(x);
      if (signal?.aborted) {
        this.#counts.aborted++;
        throw signal.reason;
      }
      if (this.#queued >= this.#settings.maxQueue) throw this.#busy();
      const started = performance.now();
      let timer: ReturnType<typeof setTimeout> | undefined;
      const settle = (answer: readonly Output[] | Error, how: keyof PoolStats['requests']) => {
        if (request.isSettled) return;
        request.isSettled = true;
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
        this.#counts[how]++;
        const time = performance.now() - started;
        if (how === 'completed' || how === 'failed') this.#latency.add(time);
        const isError = answer instanceof Error;
        const { code, name } = (isError ? answer : {}) as { code?: string; name?: string };
        this.#measure(
          'evenkeel.pool.request.duration',
          time / 1000,
          isError ? { 'error.type': code ?? `${name}` } : {},
        );
        if (isError) reject(answer);
        else resolve(this.#shown(answer, named));
      };
      const cancel = (why: Error, how: keyof PoolStats['requests']) => {
        settle(why, how);
        this.#forget(request);
      };
      const abort = () => {
        const { reason } = signal!;
        // anything may be a reason
        if (reason instanceof Error) cancel(reason, 'aborted');
        else {
          reject(reason);
          cancel(new Error('aborted'), 'aborted');
        }
      };
      const request: Request = {
        rows: inputs[0].shape[0] ?? 1,
        started,
        begun: false,
        isRerun: false,
        isSettled: false,
        batch: undefined,
        settle: (answer) => settle(answer, answer instanceof Error ? 'failed' : 'completed'),
      };
      this.#enqueue(request, inputs);
      signal?.addEventListener('abort', abort);
      if (timeout !== undefined) {
        timer = setTimeout(() => {
          const got = `none${request.begun ? '' : `, and ${this.#queued} requests waiting`}`;
          cancel(wrongMoment('ERR_TIMEOUT', SUBJECT, 'run', `an answer within ${timeout} ms`, got), 'timedOut');
        }, timeout);
      }
    });
  }

  #busy(): EvenkeelError & { queued: number } {
    const queued = this.#queued;
    this.#counts.refused++;
    const { maxQueue } = this.#settings;
    this.#measure('evenkeel.pool.request.duration', 0, { 'error.type': 'ERR_BUSY' });
    const error = wrongMoment('ERR_BUSY', SUBJECT, 'run', `fewer than ${maxQueue} requests waiting`, `${queued}`);
    return Object.assign(error, { queued });
  }

  /** Outputs as the user gets them. */
  #shown(outputs: readonly Output[], named: 'shape' | 'dims'): unknown {
    const tensors = outputs.map(({ data, shape }) => ({ data, [named]: [...shape] }));
    const { outputs: ports } = this.#ports;
    return ports.length === 1 ? tensors[0] : Object.fromEntries(ports.map(({ name }, i) => [name, tensors[i]]));
  }

  #enqueue(request: Request, inputs: readonly Values[]): void {
    const key = this.#keyOf(inputs, request.rows);
    let batch = key === undefined ? undefined : this.#waiting.findLast((one) => one.key === key);
    if (batch && !batch.takes(request.rows)) {
      batch.isClosed = true;
      batch = undefined;
    }
    if (!batch) {
      batch = new Batch(key, inputs, this.#settings.maxBatch, this.#memory, request.started);
      this.#waiting.push(batch);
    }
    batch.add(request, inputs);
    this.#queued++;
    this.#measure('evenkeel.pool.pending_requests', this.#queued);
    this.#schedule();
  }

  /** Takes a request out of the queue, if it has not begun. */
  #forget(request: Request): void {
    const { batch } = request;
    if (!batch || request.begun) return;
    batch.remove(request);
    if (batch.requests.length === 0) {
      this.#waiting.splice(this.#waiting.indexOf(batch), 1);
      batch.release();
    }
    this.#left(1);
  }

  /** So many requests have left the queue. */
  #left(count: number): void {
    this.#queued -= count;
    this.#measure('evenkeel.pool.pending_requests', this.#queued);
    for (const resolve of this.#roomy.splice(0)) resolve();
    this.#rest();
  }

  #rest(): void {
    if (this.#queued + this.#running === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    soon(() => {
      this.#scheduled = false;
      this.#pump();
    });
  }

  /** Sends batches to workers that can take them. */
  #pump(): void {
    const { maxDelay } = this.#settings;
    for (;;) {
      const now = performance.now();
      const isRipe = (batch: Batch) => batch.isClosed || this.#closing || now - batch.opened >= maxDelay;
      // a worker that is busy is sent what no request can join
      const worker = this.#crew.free();
      const place = worker ? this.#waiting.findIndex(worker.isIdle ? isRipe : ({ isClosed }) => isClosed) : -1;
      if (place < 0) {
        this.#wake(now);
        return;
      }
      const [batch] = this.#waiting.splice(place, 1);
      this.#send(worker!, batch, now);
    }
  }

  #wake(now: number): void {
    const { maxDelay } = this.#settings;
    const oldest = this.#waiting.find(({ isClosed }) => !isClosed);
    if (!oldest || maxDelay === 0) return;
    clearTimeout(this.#timer);
    const left = maxDelay - (now - oldest.opened);
    if (left > 0) this.#timer = setTimeout(() => this.#pump(), Math.ceil(left));
  }

  #send(worker: NonNullable<ReturnType<Crew['free']>>, batch: Batch, now: number): void {
    const { requests } = batch;
    batch.isClosed = true;
    for (const request of requests) {
      request.begun = true;
      this.#wait.add(now - request.started);
      this.#measure('evenkeel.pool.request.wait_time', (now - request.started) / 1000);
    }
    this.#running += requests.length;
    this.#sizes.set(requests.length, (this.#sizes.get(requests.length) ?? 0) + 1);
    this.#measure('evenkeel.pool.batch.size', requests.length);
    worker.send(batch, batch.key !== undefined && requests.length > 1 && !this.#batchable.has(batch.key));
    this.#left(requests.length);
  }

  #done(batch: Batch, answers: readonly Answer[], isBatchable: boolean | undefined): void {
    if (isBatchable !== undefined && batch.key !== undefined) {
      if (this.#batchable.size >= MOST_KEYS) this.#batchable.clear();
      this.#batchable.set(batch.key, isBatchable);
      if (!isBatchable) this.#scatter(batch.key);
    }
    this.#running -= batch.requests.length;
    batch.settle(answers, ({ error }) => errorOf(error as Failure));
    batch.release();
    this.#rest();
  }

  /** Requests that wait together, and are to be run alone. */
  #scatter(key: string): void {
    this.#waiting = this.#waiting.flatMap((batch) =>
      batch.key === key && batch.requests.length > 1 ? this.#alone(batch) : [batch],
    );
  }

  #alone(batch: Batch): Batch[] {
    const parts = batch.split().map(({ request, inputs }) => {
      const one = new Batch(undefined, inputs, 1, this.#memory, batch.opened);
      one.add(request, inputs);
      return one;
    });
    batch.release();
    return parts;
  }

  /**
   * A worker is no more: what it had begun is run once more, what it had only been sent as before.
   */
  #lost(begun: Batch | undefined, sent: readonly Batch[], why: string): void {
    const again: Batch[] = [];
    for (const batch of begun ? [begun, ...sent] : sent) {
      this.#running -= batch.requests.length;
      if (batch === begun) {
        for (const request of batch.requests) {
          if (request.isRerun) request.settle(wrongMoment('ERR_WORKER', SUBJECT, 'run', 'a worker that answers', why));
          request.isRerun = true;
        }
      }
      for (const request of batch.requests.filter(({ isSettled }) => isSettled)) batch.remove(request);
      if (batch.requests.length === 0) {
        batch.release();
        continue;
      }
      for (const request of batch.requests) request.begun = false;
      this.#queued += batch.requests.length;
      again.push(...(batch === begun ? this.#alone(batch) : [batch]));
    }
    this.#waiting.unshift(...again);
    this.#rest();
    this.#schedule();
  }

  /** No worker is left, and none can be started. */
  #gone(why: string): void {
    const batches = this.#waiting.splice(0);
    for (const batch of batches) {
      for (const request of batch.requests) {
        request.begun = true;
        request.settle(workersGone(why));
      }
      this.#left(batch.requests.length);
      batch.release();
    }
  }

  #measure(name: Measurement['name'], value: number, attributes: Measurement['attributes'] = {}): void {
    const { metrics } = this.#settings;
    if (!metrics) return;
    const [instrument, unit] = INSTRUMENTS[name];
    try {
      metrics({ name, instrument, unit, value, attributes });
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}

const ready = () => 'ready' as const;
const taken = () => 'taken' as const;

const workersGone = (why: string) => wrongMoment('ERR_WORKER', SUBJECT, 'run', 'a worker', 'none', why);

const INSTRUMENTS: Readonly<Record<Measurement['name'], [Measurement['instrument'], Measurement['unit']]>> = {
  'evenkeel.pool.request.duration': ['histogram', 's'],
  'evenkeel.pool.request.wait_time': ['histogram', 's'],
  'evenkeel.pool.batch.duration': ['histogram', 's'],
  'evenkeel.pool.batch.size': ['histogram', '{request}'],
  'evenkeel.pool.pending_requests': ['gauge', '{request}'],
  'evenkeel.pool.worker.restarts': ['counter', '{worker}'],
};
