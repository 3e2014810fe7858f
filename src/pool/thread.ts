// A worker as the pool's thread sees it, whichever kind the host has.

import type { Done, Job, Opened, Opening } from './messages.ts';

/** What a pool does with a worker. */
export interface Thread {
  send(message: Opening | Job): void;
  /** Keeps the process alive, or lets it end. */
  hold(alive: boolean): void;
  /** Ends it, whatever it is doing. */
  end(): Promise<unknown>;
}

/** What a pool is told of a worker. */
export interface Listener {
  message(message: Opened | Done): void;
  /** It is no more, and was not told to end. */
  lost(why: string): void;
}

interface NodeWorker {
  on(event: string, listener: (value: unknown) => void): void;
  postMessage(message: unknown): void;
  ref(): void;
  unref(): void;
  terminate(): Promise<number>;
}

interface NodeHost {
  getBuiltinModule?(name: string): unknown;
  readonly execArgv?: readonly string[];
}

/** Options of the main thread that no worker takes. */
const NOT_FOR_WORKERS = /^--(input-type|test|watch|eval|print)\b/;

/**
 * Starts a worker. Throws what the host throws where it cannot.
 *
 * @param hasModule whether it imports a module of the user, for which it needs the loaders that the
 *   program was started with
 * @param file the module that it runs; that of the package, unless told
 */
export function startThread(listener: Listener, hasModule: boolean, file?: URL): Thread {
  const { process } = globalThis as { process?: NodeHost };
  const threads = process?.getBuiltinModule?.('node:worker_threads') as
    | { Worker: new (file: URL, options: object) => NodeWorker }
    | undefined;
  let isEnding = false;
  const lost = (why: string) => {
    if (isEnding) return;
    isEnding = true;
    listener.lost(why);
  };
  if (threads) {
    const execArgv = hasModule ? process?.execArgv?.filter((option) => !NOT_FOR_WORKERS.test(option)) : [];
    const options = { execArgv, name: 'evenkeel pool' };
    const worker = new threads.Worker(file ?? new URL('./worker.js', import.meta.url), options);
    worker.on('message', (message) => {
      if (!isEnding) listener.message(message as Opened | Done);
    });
    worker.on('error', (error) => lost(`${error}`));
    worker.on('exit', (code) => lost(`an exit with code ${code}`));
    return {
      send: (message) => worker.postMessage(message),
      hold: (alive) => (alive ? worker.ref() : worker.unref()),
      end() {
        isEnding = true;
        return worker.terminate();
      },
    };
  }
  // written so that bundlers find the module
  const worker = file
    ? new Worker(file, { type: 'module' })
    : new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
  const end = () => {
    isEnding = true;
    worker.terminate();
  };
  // a Web Worker that closes itself, or is killed, tells nobody: it lets go of its lock
  const { locks } = navigator as { locks?: LockManager };
  const lock = locks && `evenkeel pool ${crypto.randomUUID()}`;
  worker.onmessage = ({ data }: { data: Opened | Done }) => {
    if (isEnding) return;
    if (lock && !('id' in data)) locks.request(lock, () => lost('an end without a message')).catch(() => {});
    listener.message(data);
  };
  worker.onerror = (event) => {
    // otherwise it becomes an error of the page
    event.preventDefault();
    lost(event.message || 'an error');
    end();
  };
  return {
    send: (message) => ('source' in message ? worker.postMessage({ ...message, lock }) : post(worker, message)),
    hold: () => {},
    end: async () => end(),
  };
}

/**
 * Sends a batch to a Web Worker. Where memory is not shared, values are copied and the copy is
 * given away: a view would take all of the batch's memory along.
 */
function post(worker: Worker, job: Job): void {
  if (typeof SharedArrayBuffer !== 'undefined') {
    worker.postMessage(job);
    return;
  }
  const inputs = job.inputs.map(({ data, shape }) => ({ data: data.slice(), shape }));
  worker.postMessage(
    { ...job, inputs },
    inputs.map(({ data }) => data.buffer),
  );
}
