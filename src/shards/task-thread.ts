// Threads that compute shards: an engine's own thread has to answer its broker in time.

import { show, wrongKind, wrongMoment } from '../errors.ts';
import { builtin } from './host.ts';
import { checkResult } from './task.ts';

/** What a thread runs, as text: there is no file to find, whatever a bundler did to this one. */
const serve = () => `
const { parentPort, workerData } = require('node:worker_threads');
const fail = ({ name, message, code }) => ({ name, message, code });
let task;
const running = new Map();
const run = async ({ id, input, run, key }) => {
  const controller = new AbortController();
  running.set(id, controller);
  try {
    const given = await task.shard(input, { run, key, signal: controller.signal });
    if (!(given instanceof Uint8Array)) throw new TypeError('the result of shard ' + key + ' expected a Uint8Array');
    const bytes = given.slice();
    parentPort.postMessage({ id, bytes }, [bytes.buffer]);
  } catch (error) {
    parentPort.postMessage({ id, error: fail(error instanceof Error ? error : new Error(String(error))) });
  } finally {
    running.delete(id);
  }
};
import(workerData.module).then(
  ({ default: found }) => {
    task = found;
    const { name, version, shard } = task ?? {};
    parentPort.postMessage({ name: String(name), version: String(version), isTask: typeof shard === 'function' });
    parentPort.on('message', (message) => ('abort' in message ? running.get(message.abort)?.abort() : run(message)));
  },
  (error) => parentPort.postMessage({ error: fail(error) }),
);
`;

interface NodeWorker {
  on(event: string, listener: (value: never) => void): void;
  postMessage(message: unknown): void;
  terminate(): Promise<number>;
}

interface Failure {
  readonly name: string;
  readonly message: string;
  readonly code?: string;
}

type Message =
  | { readonly name: string; readonly version: string; readonly isTask: boolean }
  | { readonly error: Failure }
  | { readonly id: number; readonly bytes: Uint8Array }
  | { readonly id: number; readonly error: Failure };

/** A shard, as a thread is given it. */
export interface Work {
  readonly input: unknown;
  readonly run: string;
  readonly key: string;
}

interface Waiting {
  readonly key: string;
  resolve(bytes: Uint8Array): void;
  reject(error: Error): void;
}

const errorOf = ({ name, message, code }: Failure) =>
  Object.assign(new Error(message), { name, ...(code !== undefined && { code }) });

/** One thread with a task; a thread that is lost is started anew for the next shard. */
export class TaskThread {
  readonly #module: string;
  readonly #subject: string;
  #worker: NodeWorker | undefined;
  #opened: Promise<{ name: string; version: string }> | undefined;
  readonly #waiting = new Map<number, Waiting>();
  #next = 0;

  constructor(subject: string, module: string) {
    this.#subject = subject;
    this.#module = module;
  }

  /** Starts it; name and version of the task. */
  open(): Promise<{ name: string; version: string }> {
    this.#opened ??= new Promise((resolve, reject) => {
      const { Worker } = builtin<{ Worker: new (text: string, options: object) => NodeWorker }>('node:worker_threads');
      const worker = new Worker(serve(), { eval: true, workerData: { module: this.#module }, name: 'evenkeel shards' });
      this.#worker = worker;
      worker.on('message', (message: Message) => {
        if ('id' in message) this.#answered(message);
        else if ('error' in message) reject(errorOf(message.error));
        else if (message.isTask) resolve(message);
        else {
          const got = show(message.name);
          reject(
            wrongKind('ERR_TYPE', this.#subject, 'task', '{ name, version, shard, merge, encode }', got, this.#module),
          );
        }
      });
      const lost = (why: string) => {
        if (this.#worker !== worker) return;
        this.#worker = undefined;
        this.#opened = undefined;
        const error = wrongMoment('ERR_WORKER', this.#subject, 'a thread', 'to answer', why);
        reject(error);
        for (const waiting of this.#waiting.values()) waiting.reject(error);
        this.#waiting.clear();
      };
      worker.on('error', (error: Error) => lost(`${error}`));
      worker.on('exit', (code: number) => lost(`an exit with code ${code}`));
    });
    return this.#opened;
  }

  #answered(message: Extract<Message, { id: number }>): void {
    const waiting = this.#waiting.get(message.id);
    this.#waiting.delete(message.id);
    if ('error' in message) waiting?.reject(errorOf(message.error));
    else waiting?.resolve(checkResult(this.#subject, waiting.key, message.bytes));
  }

  async run(work: Work, signal?: AbortSignal): Promise<Uint8Array> {
    await this.open();
    const id = this.#next++;
    const abort = () => this.#worker?.postMessage({ abort: id });
    signal?.addEventListener('abort', abort);
    try {
      return await new Promise((resolve, reject) => {
        this.#waiting.set(id, { key: work.key, resolve, reject });
        this.#worker!.postMessage({ id, ...work });
      });
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  async end(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    const error = wrongMoment('ERR_CLOSED', this.#subject, 'a thread', 'to answer', 'one that was ended');
    for (const waiting of this.#waiting.values()) waiting.reject(error);
    this.#waiting.clear();
    await worker?.terminate();
  }
}
