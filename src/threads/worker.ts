// What a worker runs, as text: there is no file to find, whatever a bundler did to this one.

/** Words of the control block; those that threads write to are on cache lines of their own. */
export const WORD = {
  generation: 0,
  done: 16,
  sleepers: 32,
  stop: 33,
  failed: 34,
  /** Workers that have begun to serve. */
  ready: 35,
  kernel: 48,
  parts: 49,
  place: 50,
  arity: 51,
  /** One word for each part: 1 where it is to be had, 0 once a thread has taken it. */
  open: 64,
} as const;
/** Where the arguments begin, in f64, and how many a part has at the most. */
export const ARGUMENTS = 64;
export const MOST_ARGUMENTS = 24;
/**
 * How often a worker looks for work before it goes to sleep: about a millisecond. To wake one takes
 * some 100 µs; with less patience than a call takes on one thread, a worker that came late once
 * would fall asleep again before the next call, and come late for ever.
 */
const PATIENCE = 300_000;

export interface WorkerData {
  modules: readonly WebAssembly.Module[];
  memory: WebAssembly.Memory;
  control: SharedArrayBuffer;
  names: readonly string[];
  /** Which of the threads it is; the calling one is 0. */
  index: number;
}

/**
 * A worker waits for the generation to change, then takes the part of its own number, and after it
 * any part that no thread has taken. Parts are opened last of all: a worker that comes late finds
 * nothing, or a complete call. Call after call the same part goes to the same processor, whose
 * cache still holds its data.
 */
const serve = () => `
const serve = ({ modules, memory, control, names, index }) => {
  const exports = modules.map((module) => new WebAssembly.Instance(module, { env: { memory } }).exports);
  const kernels = names.map((name) => exports.find((some) => name in some)[name]);
  const word = new Int32Array(control);
  const numbers = new Float64Array(control);
  Atomics.add(word, ${WORD.ready}, 1);
  for (let seen = 0; ; ) {
    for (let looks = 0; Atomics.load(word, ${WORD.generation}) === seen; looks++) {
      if (looks < ${PATIENCE}) continue;
      Atomics.add(word, ${WORD.sleepers}, 1);
      Atomics.wait(word, ${WORD.generation}, seen);
      Atomics.sub(word, ${WORD.sleepers}, 1);
      looks = 0;
    }
    seen = Atomics.load(word, ${WORD.generation});
    if (Atomics.load(word, ${WORD.stop})) return;
    const parts = word[${WORD.parts}];
    for (let i = 0; i < parts; i++) {
      const part = (index + i) % parts;
      if (!Atomics.exchange(word, ${WORD.open} + part, 0)) continue;
      const at = word[${WORD.place}] + part * ${MOST_ARGUMENTS};
      const values = [];
      for (let k = 0; k < word[${WORD.arity}]; k++) values.push(numbers[at + k]);
      try {
        kernels[word[${WORD.kernel}]](...values);
      } catch {
        Atomics.store(word, ${WORD.failed}, 1);
      }
      Atomics.add(word, ${WORD.done}, 1);
    }
  }
};
`;

/** A worker, whichever kind the host has. */
export interface Thread {
  end(): Promise<void>;
}

interface NodeWorker {
  on(event: 'error' | 'exit', listener: (reason: unknown) => void): void;
  unref(): void;
  terminate(): Promise<number>;
}

interface NodeHost {
  getBuiltinModule?(name: string): unknown;
}

const host = () => (globalThis as { process?: NodeHost }).process;

/** Logical processors of this machine. */
export function processors(): number {
  const os = host()?.getBuiltinModule?.('node:os') as { availableParallelism(): number } | undefined;
  return os?.availableParallelism() ?? globalThis.navigator?.hardwareConcurrency ?? 1;
}

/**
 * Starts a worker that does not keep the process alive. Throws what the host throws where it
 * cannot.
 *
 * @param lost called when it ends before it was told to
 */
export function startThread(data: WorkerData, lost: (why: string) => void): Thread {
  let ending = false;
  const report = (why: string) => {
    if (!ending) lost(why);
  };
  const threads = host()?.getBuiltinModule?.('node:worker_threads') as
    | { Worker: new (text: string, options: object) => NodeWorker }
    | undefined;
  if (threads) {
    const text = `${serve()}serve(require('node:worker_threads').workerData);`;
    // no options of the main thread: its loaders would have to run in every worker
    const worker = new threads.Worker(text, { eval: true, workerData: data, execArgv: [], name: 'evenkeel' });
    worker.unref();
    worker.on('error', (error) => report(`${error}`));
    worker.on('exit', (code) => report(`an exit with code ${code}`));
    return {
      async end() {
        ending = true;
        await worker.terminate();
      },
    };
  }
  const url = URL.createObjectURL(
    new Blob([`${serve()}onmessage = ({ data }) => serve(data);`], { type: 'text/javascript' }),
  );
  const worker = new Worker(url, { name: 'evenkeel' });
  worker.onerror = (event) => report(event.message || 'an error');
  worker.postMessage(data);
  return {
    async end() {
      ending = true;
      worker.terminate();
      URL.revokeObjectURL(url);
    },
  };
}
