// The requests of a pool: they gather into batches, workers run them, and the thread that asks is
// never blocked.

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
import { labelOf, type Port } from '../infer/program.ts';
import { wanted } from '../kernels/backend.ts';
import { checkRecord, readSchema } from '../named-options.ts';
import { wrongRank } from '../passes/plan.ts';
import { agree, readPlain } from '../tensors/shape.ts';
import { processors } from '../threads/worker.ts';
import { Batch, Memory, type Request, type Values } from './batch.ts';
import { Ledger, type PoolStats } from './measures.ts';
import { type Answer, errorOf, type Failure, type Opened, type Output, type Source } from './messages.ts';
import { type PoolRunOptions, runSchema, type Settings, SUBJECT } from './options.ts';
import type { Pool } from './pool.ts';
import { Crew, type Start } from './workers.ts';

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

/** A pool's requests: batches that wait, workers that run them, and who is told what came of it. */
export class Requests implements Pool {
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
  readonly #ledger: Ledger;
  /** Told when fewer requests wait. */
  #roomy: (() => void)[] = [];
  /** Told when nothing waits and nothing runs. */
  #idle: (() => void)[] = [];
  #closing: Promise<void> | undefined;
  #ports!: Exclude<Opened, { error: unknown }>;

  constructor(source: Source, settings: Settings, start: Start | undefined) {
    const { workers } = settings;
    this.#settings = settings;
    this.#ledger = new Ledger(settings.metrics);
    this.#crew = new Crew(
      workers === 'auto' ? Math.max(1, processors() - 1) : workers,
      { source, settings: { ...wanted } },
      {
        done: (batch, answers, isBatchable) => this.#done(batch, answers, isBatchable),
        lost: (begun, sent, why) => this.#lost(begun, sent, why),
        ready: () => this.#pump(),
        gone: (why) => this.#gone(why),
        measure: (...measurement) => this.#ledger.measure(...measurement),
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
    return { queued: this.#queued, running: this.#running, ...this.#ledger.stats(), workers: this.#crew.stats() };
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
        this.#ledger.counts.aborted++;
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
        const isError = answer instanceof Error;
        this.#ledger.ended(how, performance.now() - started, isError ? answer : undefined);
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
    const { maxQueue } = this.#settings;
    const error = wrongMoment('ERR_BUSY', SUBJECT, 'run', `fewer than ${maxQueue} requests waiting`, `${queued}`);
    this.#ledger.ended('refused', 0, error);
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
    this.#ledger.measure('evenkeel.pool.pending_requests', this.#queued);
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
    this.#ledger.measure('evenkeel.pool.pending_requests', this.#queued);
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
      this.#ledger.waited(now - request.started);
    }
    this.#running += requests.length;
    this.#ledger.sent(requests.length);
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
}

const ready = () => 'ready' as const;
const taken = () => 'taken' as const;

const workersGone = (why: string) => wrongMoment('ERR_WORKER', SUBJECT, 'run', 'a worker', 'none', why);
