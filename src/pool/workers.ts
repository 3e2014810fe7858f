// The workers of a pool: started, sent batches, and replaced when they are lost.

import { wrongMoment } from '../errors.ts';
import type { Batch } from './batch.ts';
import { type Measurement, type Percentiles, Recent } from './measures.ts';
import { type Answer, type Done, errorOf, type Opened, type Opening } from './messages.ts';
import { startThread, type Thread } from './thread.ts';

/** How workers are started. */
export type Start = typeof startThread;

/** Batches that a worker is sent at once: the next one waits where it is run. */
const MOST_SENT = 2;
/** Starts that fail one after the other before a worker is given up. */
const MOST_FAILURES = 5;
/** Milliseconds before the second start that follows a failed one; each further one doubles it. */
const PAUSE = 100;

/** One worker of a pool. */
export interface WorkerStats {
  /** Its number, from 0; a worker that replaces it has the same. */
  readonly id: number;
  /** What it is doing; `'failed'`: it could not be replaced. */
  readonly state: 'starting' | 'idle' | 'busy' | 'failed';
  /** Batches that it has run. */
  readonly batches: number;
  /** Requests in them. */
  readonly requests: number;
  /** How often it was replaced. */
  readonly restarts: number;
  /** Milliseconds of work on batches. */
  readonly busy: number;
  /** Milliseconds of work on a batch, of the last 2,048. */
  readonly time: Percentiles;
}

/** What a crew tells its pool. */
export interface Reports {
  done(batch: Batch, answers: readonly Answer[], isBatchable: boolean | undefined): void;
  /** A worker was lost: with a batch that it may have begun, and others that it had been sent. */
  lost(begun: Batch | undefined, sent: readonly Batch[], why: string): void;
  /** A worker can be sent a batch. */
  ready(): void;
  /** No worker is left. */
  gone(why: string): void;
  measure(name: Measurement['name'], value: number, attributes: Measurement['attributes']): void;
}

/** A place for a worker. */
class Post {
  readonly id: number;
  readonly #opening: Opening;
  readonly #reports: Reports;
  readonly #start: Start;
  readonly #failed: (why: string) => void;
  #thread: Thread | undefined;
  #sent: { readonly id: number; readonly batch: Batch }[] = [];
  #next = 0;
  #isOpen = false;
  #isOver = false;
  #failures = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #batches = 0;
  #requests = 0;
  #restarts = 0;
  #busy = 0;
  readonly #time = new Recent();
  /** Told how the first start went. */
  #first: { resolve(opened: Opened): void; reject(error: Error): void } | undefined;

  constructor(id: number, opening: Opening, reports: Reports, start: Start, failed: (why: string) => void) {
    this.id = id;
    this.#opening = opening;
    this.#reports = reports;
    this.#start = start;
    this.#failed = failed;
  }

  get sent(): number {
    return this.#sent.length;
  }

  get isIdle(): boolean {
    return this.#isOpen && this.#sent.length === 0;
  }

  get isFree(): boolean {
    return this.#isOpen && this.#sent.length < MOST_SENT;
  }

  /** The first start: what the network takes and gives. */
  open(): Promise<Opened> {
    return new Promise((resolve, reject) => {
      this.#first = { resolve, reject };
      this.#begin();
    });
  }

  #begin(): void {
    try {
      const thread = this.#start(
        { message: (message) => this.#hear(message), lost: (why) => this.#lost(why) },
        'module' in this.#opening.source,
      );
      this.#thread = thread;
      thread.send(this.#opening);
      // a pool that waits for a worker keeps the process alive
      this.#hold();
    } catch (error) {
      this.#lost(`${error}`);
    }
  }

  #hold(): void {
    this.#thread?.hold(this.#sent.length > 0 || !this.#isOpen);
  }

  #hear(message: Opened | Done): void {
    if ('id' in message) this.#answered(message);
    else if ('error' in message) this.#refused(errorOf(message.error));
    else {
      this.#isOpen = true;
      this.#failures = 0;
      this.#hold();
      this.#first?.resolve(message);
      this.#first = undefined;
      this.#reports.ready();
    }
  }

  #answered({ answers, isBatchable, time }: Done): void {
    const { batch } = this.#sent.shift()!;
    this.#batches++;
    this.#requests += batch.requests.length;
    this.#busy += time;
    this.#time.add(time);
    this.#hold();
    this.#reports.measure('evenkeel.pool.batch.duration', time / 1000, { 'evenkeel.worker.id': this.id });
    this.#reports.done(batch, answers, isBatchable);
    this.#reports.ready();
  }

  /** It has started, and cannot open the network. */
  #refused(error: Error): void {
    void this.#thread?.end();
    if (this.#first) this.#first.reject(error);
    else this.#lost(error.message);
  }

  #lost(why: string): void {
    if (this.#isOver) return;
    const wasOpen = this.#isOpen;
    const [begun, ...others] = this.#sent.splice(0).map(({ batch }) => batch);
    this.#isOpen = false;
    this.#thread = undefined;
    if (this.#first) {
      this.#first.reject(wrongMoment('ERR_WORKER', 'pool', 'a worker', 'to start', why));
      return;
    }
    if (wasOpen) {
      this.#restarts++;
      this.#reports.measure('evenkeel.pool.worker.restarts', 1, { 'evenkeel.worker.id': this.id });
      this.#begin();
      this.#reports.lost(begun, others, why);
    } else if (++this.#failures < MOST_FAILURES) {
      this.#timer = setTimeout(() => this.#begin(), PAUSE * 2 ** (this.#failures - 1));
    } else {
      this.#isOver = true;
      this.#failed(why);
    }
  }

  send(batch: Batch, isNew: boolean): void {
    const id = this.#next++;
    this.#sent.push({ id, batch });
    this.#hold();
    this.#thread!.send({ id, inputs: batch.inputs(), rows: batch.requests.map(({ rows }) => rows), isNew });
  }

  stats(): WorkerStats {
    return {
      id: this.id,
      state: this.#isOver ? 'failed' : !this.#isOpen ? 'starting' : this.#sent.length ? 'busy' : 'idle',
      batches: this.#batches,
      requests: this.#requests,
      restarts: this.#restarts,
      busy: this.#busy,
      time: this.#time.percentiles(),
    };
  }

  async end(): Promise<void> {
    this.#isOver = true;
    this.#isOpen = false;
    clearTimeout(this.#timer);
    await this.#thread?.end();
  }
}

/** All workers of a pool. */
export class Crew {
  readonly #posts: Post[];
  readonly #reports: Reports;
  #left: number;
  /** Why no worker is left. */
  why: string | undefined;

  constructor(size: number, opening: Opening, reports: Reports, start: Start = startThread) {
    this.#reports = reports;
    this.#left = size;
    const failed = (why: string) => {
      if (--this.#left > 0) return;
      this.why = why;
      this.#reports.gone(why);
    };
    this.#posts = Array.from({ length: size }, (_, id) => new Post(id, opening, reports, start, failed));
  }

  get size(): number {
    return this.#posts.length;
  }

  /** Starts all; what the network takes and gives. Where one cannot start, none is left. */
  async opened(): Promise<Exclude<Opened, { error: unknown }>> {
    try {
      const [first] = await Promise.all(this.#posts.map((post) => post.open()));
      return first as Exclude<Opened, { error: unknown }>;
    } catch (error) {
      await this.end();
      throw error;
    }
  }

  /** The worker that has been sent least, where it can be sent more. */
  free(): Post | undefined {
    return this.#posts
      .filter(({ isFree }) => isFree)
      .reduce<Post | undefined>((best, post) => (best && best.sent <= post.sent ? best : post), undefined);
  }

  stats(): WorkerStats[] {
    return this.#posts.map((post) => post.stats());
  }

  async end(): Promise<void> {
    await Promise.all(this.#posts.map((post) => post.end()));
  }
}
