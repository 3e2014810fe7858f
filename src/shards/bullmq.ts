// Runs over BullMQ, on Redis or PostgreSQL: jobs are shards, and results are merged by whoever
// asks.

import { type EvenkeelError, show, wrongKind, wrongMoment } from '../errors.ts';
import {
  callable,
  checkNumber,
  integer,
  number,
  option,
  optional,
  readSchema,
  required,
  type Schema,
} from '../named-options.ts';
import type { LinkLike } from '../pool/source.ts';
import { sha256, urlOf } from './host.ts';
import { type Manifest, runIdOf, type Shard, shardsOf } from './manifest.ts';
import { readPart, writePart } from './part.ts';
import { type Broker, type BrokerConnection, brokerOf, type Job, type JobData, type Queue } from './peer.ts';
import { never, partName, type ShardProgress, shardFailed } from './run.ts';
import type { PartStore } from './store.ts';
import { loadTask, type ShardResult, type ShardTask, type TaskSignal } from './task.ts';
import { TaskThread } from './task-thread.ts';

/** What `runOnBullMQ` takes. */
export interface BullMQRunOptions<R> {
  /** How the broker is reached. */
  connection: BrokerConnection;
  /** The shards. */
  manifest: Manifest;
  /** The task, or the path or URL of a module whose default export it is: for its merge. */
  task: ShardTask<R> | string | LinkLike;
  /** Where workers put results of more than 64 kB. Default: none, and such results are an error. */
  store?: PartStore;
  /** The queue's name, which workers know. Default `'evenkeel'`. */
  queue?: string;
  /** Times that a shard is tried. Default 3. */
  attempts?: number;
  /** Milliseconds until the run is ERR_TIMEOUT. Default 3,600,000, an hour. */
  deadline?: number;
  /** Milliseconds in which the broker has to answer at first. Default 10,000. */
  connectTimeout?: number;
  /** Aborts the run with the signal's reason; shards that wait are taken back. */
  signal?: TaskSignal;
  /** Is told how many shards are done. */
  progress?: (now: ShardProgress) => void;
}

/** What `workOnBullMQ` takes. */
export interface BullMQWorkerOptions {
  /** How the broker is reached. */
  connection: BrokerConnection;
  /** The path or URL of the module whose default export is the task. */
  task: string | LinkLike;
  /** Where results of more than 64 kB go. Default: none, and such results are an error. */
  store?: PartStore;
  /** The queue's name. Default `'evenkeel'`. */
  queue?: string;
  /** Threads, each with the task, that compute one shard at a time. Default 1. */
  threads?: number;
  /** Milliseconds for which a worker has a shard without a sign of life. Default 30,000. */
  lockDuration?: number;
  /** Milliseconds in which the broker has to answer at first. Default 10,000. */
  connectTimeout?: number;
}

/** A worker that serves a queue. */
export interface BullMQWorker extends AsyncDisposable {
  /** Ends it: shards that it computes are finished first. */
  close(): Promise<void>;
}

/** Results up to this go through the queue, in bytes. */
const MOST_INLINE = 64 << 10;
/** Shards under one parent. */
const GROUP = 100;
/** A worker may be lost with a shard so often. */
const MOST_STALLED = 5;
const [FIRST_LOOK, LONGEST_LOOK] = [20, 500];
const LONGEST = 0x7fffffff;

interface RunSettings {
  readonly connection: unknown;
  readonly manifest: unknown;
  readonly task: unknown;
  readonly store: PartStore | undefined;
  readonly queue: string;
  readonly attempts: number;
  readonly deadline: number;
  readonly connectTimeout: number;
  readonly signal: TaskSignal | undefined;
  readonly progress: ((now: ShardProgress) => void) | undefined;
}

const queueName = () =>
  option('evenkeel', (subject, name, value) => {
    if (typeof value !== 'string' || !/^[\w.-]+$/.test(value)) {
      throw wrongKind('ERR_OPTION', subject, name, 'letters, digits, ., _ and -', show(value));
    }
  });
const given = () => required<unknown>(() => {});
const milliseconds = (standard: number) =>
  number(standard, `milliseconds from 1 to ${LONGEST}`, (time) => time >= 1 && time <= LONGEST);
const store = () =>
  optional(
    required<PartStore>((subject, name, value) => {
      if (typeof (value as PartStore | null)?.putIfAbsent !== 'function') {
        throw wrongKind('ERR_OPTION', subject, name, 'a store of parts', show(value));
      }
    }),
  );

const runSchema = (): Schema<RunSettings> => ({
  connection: given(),
  manifest: given(),
  task: given(),
  store: store(),
  queue: queueName(),
  attempts: integer(1, 3),
  deadline: milliseconds(3_600_000),
  connectTimeout: milliseconds(10_000),
  signal: optional(required(() => {})),
  progress: callable(),
});

const pause = (time: number) => new Promise((resolve) => setTimeout(resolve, time));

const jobId = (run: string, key: string) => `${run}-${key}`;

/** What a shard's job returns: the part, or where it lies. */
type Returned = { readonly part: string } | { readonly name: string; readonly sha256: string };

/** Waits for a broker, and hears of its errors, which are no reason to end. */
class Connected {
  readonly #subject: string;
  readonly #broker: Broker;
  #last: Error | undefined;

  constructor(subject: string, broker: Broker) {
    this.#subject = subject;
    this.#broker = broker;
  }

  hear(emitter: { on(event: string, listener: (error: never) => void): unknown }): void {
    emitter.on('error', (error: Error) => {
      this.#last = error;
    });
  }

  async ready(work: Promise<unknown>, timeout: number): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), timeout);
    });
    try {
      if ((await Promise.race([work, late])) === 'late') throw this.#last ?? new Error('silence');
    } catch (error) {
      throw this.failed(`to answer within ${timeout} ms`, error);
    } finally {
      clearTimeout(timer);
      work.catch(() => {});
    }
  }

  failed(expected: string, error: unknown): EvenkeelError {
    const { message, code } = error as { message?: string; code?: string };
    const why = message || code || `${error}`;
    return Object.assign(wrongMoment('ERR_BROKER', this.#subject, this.#broker.shown, expected, why), { cause: error });
  }
}

/**
 * Runs the shards of a manifest on the workers of a queue (`npx evenkeel worker`), and merges their
 * results here: the same as of `runShards`, byte for byte, whatever fails in between.
 *
 *     const statistics = await runOnBullMQ({ connection: 'redis://127.0.0.1:6379', manifest, task:
 *     './task.mjs' });
 *
 * Jobs are named by the run's id and the shard's key. A run that is asked for again, at the same
 * time or after its coordinator was lost, goes on where it was.
 *
 * @returns what the task's `merge` returns
 * @throws ERR_PEER without BullMQ 6 and the driver (`ioredis` or `pg`), with the command that
 *   installs it; ERR_BROKER where the broker does not answer; ERR_SHARD where a shard has failed
 *   `attempts` times; ERR_TIMEOUT after the deadline; ERR_PART for a result that is damaged or of
 *   another run; ERR_OPTION; what `merge` throws; the signal's reason
 */
export async function runOnBullMQ<R>(options: BullMQRunOptions<R>): Promise<R> {
  const subject = 'runOnBullMQ';
  const settings = readSchema(subject, options, runSchema());
  const { signal = never, progress } = settings;
  const shards = shardsOf(subject, settings.manifest as Manifest);
  const task = await loadTask(subject, settings.task as BullMQRunOptions<R>['task']);
  const run = await runIdOf(settings.manifest as Manifest, task);
  const broker = await brokerOf(subject, settings.connection);
  const { bullmq, connection, backend } = broker;
  const connected = new Connected(subject, broker);
  const until = performance.now() + settings.deadline;
  const check = () => {
    signal.throwIfAborted();
    if (performance.now() < until) return;
    const got = `${done} of ${shards.length} shards`;
    throw wrongMoment('ERR_TIMEOUT', subject, 'the run', `to end within ${settings.deadline} ms`, got);
  };
  let done = 0;
  const groups: Shard[][] = [];
  for (let from = 0; from < shards.length; from += GROUP) groups.push(shards.slice(from, from + GROUP) as Shard[]);
  const groupId = (i: number) => `${run}-group-${i}`;
  const opened: { close(force?: boolean): Promise<void> }[] = [];
  const open = <E extends Queue | ReturnType<typeof flowProducer> | InstanceType<(typeof bullmq)['Worker']>>(
    one: E,
  ): E => {
    opened.push(one);
    connected.hear(one);
    return one;
  };
  const flowProducer = () => new bullmq.FlowProducer({ connection }, backend);
  const groupQueue = `${settings.queue}-groups`;
  try {
    const queue = open(new bullmq.Queue(settings.queue, { connection }, backend));
    await connected.ready(queue.waitUntilReady(), settings.connectTimeout);
    const parents = open(new bullmq.Queue(groupQueue, { connection }, backend));
    const flows = open(flowProducer());
    // a group has nothing to do but to be there when its shards are done, or one has failed
    const closing = open(new bullmq.Worker(groupQueue, async () => null, { connection, concurrency: 16 }, backend));
    await connected.ready(Promise.all([parents.waitUntilReady(), closing.waitUntilReady()]), settings.connectTimeout);
    const flowOf = (i: number) => ({
      name: 'group',
      queueName: groupQueue,
      data: { run },
      opts: { jobId: groupId(i) },
      children: groups[i].map(({ key, input }) => ({
        name: task.name,
        queueName: settings.queue,
        data: { run, key, input, task: task.name, version: task.version } satisfies JobData,
        opts: {
          jobId: jobId(run, key),
          attempts: settings.attempts,
          backoff: { type: 'exponential', delay: 200 },
          failParentOnFailure: true,
        },
      })),
    });
    /** Tries again as long as the broker does not answer and there is time. */
    const patiently = async <T>(work: () => Promise<T>): Promise<T> => {
      for (let wait = FIRST_LOOK; ; wait = Math.min(2 * wait, LONGEST_LOOK)) {
        check();
        try {
          return await inTime(work(), until, check);
        } catch (error) {
          if ('code' in (error as object) && ['ERR_TIMEOUT'].includes((error as EvenkeelError).code)) throw error;
          signal.throwIfAborted();
          if (!isOutage(error)) throw connected.failed('to take the run', error);
          await pause(wait);
        }
      }
    };
    const submit = (some: readonly number[]) => patiently(() => flows.addBulk(some.map(flowOf)));
    // what had failed before is tried anew
    const begin = async (i: number) => {
      const before = await patiently(() => parents.getJob(groupId(i)));
      if (before && (await patiently(() => before.getState())) === 'failed') {
        await patiently(() => before.remove({ removeChildren: true }));
      }
    };
    for (let i = 0; i < groups.length; i++) {
      await begin(i);
      await submit([i]);
    }
    const ended = new Set<number>();
    try {
      for (let wait = FIRST_LOOK; ended.size < groups.length; wait = Math.min(1.5 * wait, LONGEST_LOOK)) {
        let now = 0;
        for (let i = 0; i < groups.length; i++) {
          if (ended.has(i)) {
            now += groups[i].length;
            continue;
          }
          const parent = await patiently(() => parents.getJob(groupId(i)));
          const state = parent ? await patiently(() => parent.getState()) : 'unknown';
          if (state === 'completed') {
            ended.add(i);
            now += groups[i].length;
          } else if (state === 'failed') {
            throw await failure(subject, queue, groups[i], run, parent!);
          } else if (state === 'unknown') {
            // a broker that lost what it was told
            await submit([i]);
          } else if (parent) {
            now += (await patiently(() => parent.getDependenciesCount({ processed: true }))).processed ?? 0;
          }
        }
        if (now !== done) progress?.({ done: now, all: shards.length });
        done = now;
        check();
        if (ended.size < groups.length) await pause(wait);
      }
    } catch (error) {
      for (let i = 0; i < groups.length; i++) {
        if (!ended.has(i)) await takeBack(parents, groupId(i));
      }
      throw error;
    }
    async function* results(): AsyncGenerator<ShardResult> {
      for (const { key } of shards) {
        const job = await patiently(() => queue.getJob(jobId(run, key)));
        yield { key, bytes: await resultOf(subject, job, run, key, settings.store) };
      }
    }
    return await task.merge(results());
  } finally {
    await Promise.race([Promise.all(opened.map((one) => one.close(true).catch(() => {}))), pause(5000)]);
  }
}

/** Rejects once there is no time left, whatever the broker does. */
async function inTime<T>(work: Promise<T>, until: number, check: () => void): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => {
        try {
          check();
        } catch (error) {
          reject(error as Error);
        }
      },
      Math.max(0, until - performance.now()) + 1,
    );
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
    work.catch(() => {});
  }
}

/** Is it an error that passes: of a broker that is away, or of a shard that is being computed? */
function isOutage(error: unknown): boolean {
  const { message = '', code = '' } = error as { message?: string; code?: string };
  return (
    /^(ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|57P0|08)/.test(code) ||
    /ECONN|Connection|closed|terminat|retries per request|LOADING|Missing key|timeout|locked/i.test(message)
  );
}

/** Why a group has failed: the first of its shards that did. */
async function failure(
  subject: string,
  queue: Queue,
  group: readonly Shard[],
  run: string,
  parent: Job,
): Promise<EvenkeelError> {
  for (const { key } of group) {
    const job = await queue.getJob(jobId(run, key));
    if (job?.failedReason && (await job.getState()) === 'failed') {
      return shardFailed(subject, key, job.failedReason, job.attemptsMade);
    }
  }
  return wrongMoment('ERR_SHARD', subject, 'a shard', 'a result', parent.failedReason ?? 'a failure');
}

/** Shards that nobody waits for are not begun; those that are being computed end by themselves. */
async function takeBack(parents: Queue, id: string): Promise<void> {
  try {
    const parent = await Promise.race([parents.getJob(id), pause(1000)]);
    await Promise.race([(parent as Job | undefined)?.remove({ removeChildren: true }), pause(1000)]);
  } catch {
    // one of them is being computed, or the broker is gone
  }
}

async function resultOf(
  subject: string,
  job: Job | undefined,
  run: string,
  key: string,
  store: PartStore | undefined,
): Promise<Uint8Array> {
  const label = `the part of shard '${key}'`;
  const returned = job?.returnvalue as Partial<Record<'part' | 'name' | 'sha256', string>> | undefined;
  if (returned?.part !== undefined) {
    const part = Uint8Array.from(atob(returned.part), (character) => character.charCodeAt(0));
    return readPart(subject, part, run, key);
  }
  if (returned?.name === undefined) throw wrongMoment('ERR_PART', subject, label, 'to be there', 'none');
  if (!store) throw wrongMoment('ERR_PART', subject, label, 'a store', 'none', 'the worker has put it into one');
  const part = await store.get(returned.name);
  if (!part) throw wrongMoment('ERR_PART', subject, label, 'to be in the store', 'none');
  const bytes = await readPart(subject, part, run, key);
  const sum = await sha256(bytes);
  if (sum !== returned.sha256) throw wrongMoment('ERR_PART', subject, label, `sha256 '${returned.sha256}'`, sum);
  return bytes;
}

interface WorkerSettings {
  readonly connection: unknown;
  readonly task: string | LinkLike;
  readonly store: PartStore | undefined;
  readonly queue: string;
  readonly threads: number;
  readonly lockDuration: number;
  readonly connectTimeout: number;
}

const workerSchema = (): Schema<WorkerSettings> => ({
  connection: given(),
  task: required((subject, name, value) => {
    if (typeof value !== 'string' && typeof (value as Partial<LinkLike> | null)?.href !== 'string') {
      throw wrongKind('ERR_OPTION', subject, name, 'the path or URL of a module', show(value));
    }
  }),
  store: store(),
  queue: queueName(),
  threads: integer(1, 1),
  lockDuration: required((subject, name, value) =>
    checkNumber(subject, name, value, `milliseconds from 100 to ${LONGEST}`, (time) => time >= 100 && time <= LONGEST),
  ),
  connectTimeout: milliseconds(10_000),
});

/**
 * Serves a queue: computes shards in threads of its own, so that this thread can tell the broker
 * that it lives. `npx evenkeel worker` calls it.
 *
 *     await using worker = await workOnBullMQ({ connection: 'redis://127.0.0.1:6379', task:
 *     './task.mjs' });
 *
 * A shard whose worker was lost goes to another one after `lockDuration`, up to 5 times. Where a
 * worker that was thought lost comes back, its result is refused by the broker.
 *
 * @returns a worker, once the task is loaded and the broker has answered
 * @throws ERR_PEER, ERR_BROKER, ERR_OPTION as `runOnBullMQ`; what importing the module throws
 */
export async function workOnBullMQ(options: BullMQWorkerOptions): Promise<BullMQWorker> {
  const subject = 'workOnBullMQ';
  const settings = readSchema(subject, { lockDuration: 30_000, ...options } as BullMQWorkerOptions, workerSchema());
  const { queue, threads, lockDuration, store: parts } = settings;
  const broker = await brokerOf(subject, settings.connection);
  const connected = new Connected(subject, broker);
  const module = typeof settings.task === 'string' ? urlOf(settings.task).href : settings.task.href;
  const all = Array.from({ length: threads }, () => new TaskThread(subject, module));
  const free = [...all];
  const end = () => Promise.all(all.map((thread) => thread.end()));
  let task: { name: string; version: string };
  try {
    [task] = await Promise.all(all.map((thread) => thread.open()));
  } catch (error) {
    await end();
    throw error;
  }
  const compute = async ({ data: { run, key, input, task: name, version } }: Job): Promise<Returned> => {
    if (name !== task.name || version !== task.version) {
      const got = `'${task.name}' in version '${task.version}'`;
      throw wrongMoment('ERR_SHARD', subject, `shard '${key}'`, `task '${name}' in version '${version}'`, got);
    }
    const stored = await parts?.get(partName(run, key));
    let bytes: Uint8Array | undefined;
    if (stored) {
      try {
        bytes = await readPart(subject, stored, run, key);
      } catch {
        await parts!.remove(partName(run, key));
      }
    }
    if (!bytes) {
      // there are as many as jobs at a time
      const thread = free.pop()!;
      try {
        bytes = await thread.run({ input, run, key });
      } finally {
        free.push(thread);
      }
      const part = await writePart(run, key, bytes);
      if (part.length <= MOST_INLINE) return { part: textOf(part) };
      if (!parts) {
        const context = `${part.length} bytes`;
        throw wrongMoment('ERR_SHARD', subject, `shard '${key}'`, 'a store for more than 64 kB', 'none', context);
      }
      await parts.putIfAbsent(partName(run, key), part);
    }
    return { name: partName(run, key), sha256: await sha256(bytes) };
  };
  const { bullmq, connection, backend } = broker;
  const worker = new bullmq.Worker(
    queue,
    compute,
    {
      connection,
      concurrency: threads,
      lockDuration,
      stalledInterval: lockDuration / 2,
      maxStalledCount: MOST_STALLED,
    },
    backend,
  );
  connected.hear(worker);
  try {
    await connected.ready(worker.waitUntilReady(), settings.connectTimeout);
  } catch (error) {
    await Promise.race([worker.close(true).catch(() => {}), pause(2000)]);
    await end();
    throw error;
  }
  let closed: Promise<void> | undefined;
  const close = () => (closed ??= worker.close().then(async () => void (await end())));
  return { close, [Symbol.asyncDispose]: close };
}

/** Base64. */
function textOf(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 4096) text += String.fromCharCode(...bytes.subarray(at, at + 4096));
  return btoa(text);
}
