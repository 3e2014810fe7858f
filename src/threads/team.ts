import { type EvenkeelError, wrongMoment } from '../errors.ts';
import type { Backend, Team } from '../kernels/create-backend.ts';
import type { Kernel } from '../kernels/part.ts';
import { type CompleteBackend, KERNEL_NAMES, type KernelName, rowOf } from '../kernels/table.ts';
import { Cutter, MOST_PARTS, type Parts } from './parts.ts';
import type { Shared } from './shared-memory.ts';
import { ARGUMENTS, MOST_ARGUMENTS, startThread, type Thread, WORD } from './worker.ts';

/**
 * Milliseconds that the calling thread waits for a part that another has begun: parts take a few.
 */
const LONGEST_PART = 10_000;
/**
 * Looks at the clock within that time, so that a process that was stopped for a while does not take
 * the stop for silence.
 */
const GLANCES = 10;

/** Teams that are ending. */
const ending = new Set<Promise<void>>();

/** Resolves when every team that was closed has ended. */
export async function allEnded(): Promise<void> {
  await Promise.all(ending);
}

/** A backend without workers, and why. */
export function oneThread(backend: Backend, reason: string): Team {
  return {
    count: 1,
    reason,
    close: async () => {
      backend.team = undefined;
    },
  };
}

/**
 * The calling thread and its workers. A call is cut into parts, arguments written to a block of
 * shared memory, and every thread takes parts until none is left: a worker that sleeps, or has not
 * started yet, costs time but never the result.
 */
export class WorkerTeam implements Team {
  readonly count: number;
  reason: string;
  readonly #backend: CompleteBackend;
  readonly #word: Int32Array;
  readonly #numbers: Float64Array;
  /** Where each kernel's arguments lie, and what has been written there. */
  readonly #places: readonly number[];
  readonly #written: Parts[] = [];
  readonly #threads: Thread[] = [];
  readonly #longest: number;
  /**
   * Why a worker ended that was not told to, and whether that was before any of the team had begun.
   */
  #lost: { why: string; refused: boolean } | undefined;

  /** Starts `count − 1` workers. Throws what the host throws where it cannot. */
  constructor(backend: CompleteBackend, shared: Shared, count: number, reason: string, longest = LONGEST_PART) {
    this.count = count;
    this.reason = reason;
    this.#backend = backend;
    this.#longest = longest;
    const each = MOST_PARTS * MOST_ARGUMENTS;
    this.#places = KERNEL_NAMES.map((_, index) => ARGUMENTS + index * each);
    const control = new SharedArrayBuffer(8 * (ARGUMENTS + KERNEL_NAMES.length * each));
    this.#word = new Int32Array(control);
    this.#numbers = new Float64Array(control);
    try {
      for (let i = 1; i < count; i++) {
        const data = { ...shared, control, names: KERNEL_NAMES, index: i };
        this.#threads.push(
          startThread(data, (why) => {
            this.#lost ??= { why, refused: Atomics.load(this.#word, WORD.ready) < count - 1 };
          }),
        );
      }
    } catch (error) {
      void this.#end();
      throw error;
    }
    const kernels = { ...backend.kernels };
    for (const name of KERNEL_NAMES) if (rowOf(name).split) kernels[name] = this.#spread(name);
    backend.parallel = kernels;
  }

  /** Are all workers still there, as far as is known? */
  get whole(): boolean {
    return this.#lost === undefined;
  }

  /** Ends the workers; calls run on this thread from now on. */
  async close(): Promise<void> {
    if (this.#backend.team === this) {
      this.#backend.parallel = this.#backend.kernels;
      this.#backend.team = undefined;
    }
    await this.#end();
  }

  #end(): Promise<void> {
    const ended = this.#stop().finally(() => ending.delete(ended));
    ending.add(ended);
    return ended;
  }

  async #stop(): Promise<void> {
    Atomics.store(this.#word, WORD.stop, 1);
    Atomics.add(this.#word, WORD.generation, 1);
    Atomics.notify(this.#word, WORD.generation);
    await Promise.all(this.#threads.map((thread) => thread.end()));
  }

  /** A kernel whose large calls are spread over the team. */
  #spread(name: KernelName): Kernel {
    const kernel = this.#backend.kernels[name];
    const cutter = new Cutter(rowOf(name));
    const index = KERNEL_NAMES.indexOf(name);
    return (...values) => {
      const parts = cutter.cut(values, this.count);
      if (!parts.length) kernel(...values);
      else if (!this.#lost) this.#run(kernel, index, parts);
      else if (this.#lost.refused) {
        // a host that refuses workers after it has let them be made
        this.#retire(`refused: ${this.#lost.why}`);
        kernel(...values);
      } else throw this.#disband(this.#lost.why);
    };
  }

  #run(kernel: Kernel, index: number, parts: Parts): void {
    const word = this.#word;
    const place = this.#places[index];
    if (this.#written[index] !== parts) {
      for (let part = 0; part < parts.length; part++) this.#numbers.set(parts[part], place + part * MOST_ARGUMENTS);
      this.#written[index] = parts;
    }
    word[WORD.kernel] = index;
    word[WORD.place] = place;
    word[WORD.arity] = parts[0].length;
    word[WORD.parts] = parts.length;
    Atomics.store(word, WORD.done, 0);
    for (let part = 0; part < parts.length; part++) Atomics.store(word, WORD.open + part, 1);
    Atomics.add(word, WORD.generation, 1);
    if (Atomics.load(word, WORD.sleepers)) Atomics.notify(word, WORD.generation);
    for (let part = 0; part < parts.length; part++) {
      if (!Atomics.exchange(word, WORD.open + part, 0)) continue;
      try {
        kernel(...parts[part]);
      } catch {
        Atomics.store(word, WORD.failed, 1);
      }
      Atomics.add(word, WORD.done, 1);
    }
    this.#await(parts.length);
    if (Atomics.load(word, WORD.failed)) throw this.#disband('a kernel that trapped');
  }

  /** Waits until every part is done. */
  #await(parts: number): void {
    const word = this.#word;
    const glance = this.#longest / GLANCES;
    let done = -1;
    let since = 0;
    let silent = 0;
    for (let looks = 1; Atomics.load(word, WORD.done) < parts; looks++) {
      if (looks % 4096) continue;
      const now = performance.now();
      const seen = Atomics.load(word, WORD.done);
      if (seen !== done) silent = 0;
      else if (now - since < glance) continue;
      else if (++silent === GLANCES) throw this.#disband(`no answer for ${this.#longest / 1000} s`);
      done = seen;
      since = now;
    }
  }

  /** One thread from now on. */
  #retire(reason: string): void {
    void this.close();
    this.#backend.team = oneThread(this.#backend, reason);
  }

  /** The same after a worker was lost; the error to throw. */
  #disband(why: string): EvenkeelError {
    this.#retire(`a worker was lost: ${why}`);
    return wrongMoment(
      'ERR_THREADS',
      'threads',
      'a call',
      'all workers at work',
      why,
      'one thread from now on; setThreads starts new ones',
    );
  }
}
