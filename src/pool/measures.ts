// What a pool knows of its own work: times, sizes of batches, and a hook that is told each.

import type { WorkerStats } from './workers.ts';

/** One value that was measured, under a name and a unit as OpenTelemetry writes them. */
export interface Measurement {
  /**
   * - `evenkeel.pool.request.duration`: from `run` to its answer, with `error.type` where that is
   *   an error
   * - `evenkeel.pool.request.wait_time`: from `run` to the beginning of its batch
   * - `evenkeel.pool.batch.duration`: work of a worker on a batch
   * - `evenkeel.pool.batch.size`: requests in a batch
   * - `evenkeel.pool.pending_requests`: requests that wait
   * - `evenkeel.pool.worker.restarts`: workers that were replaced
   */
  readonly name:
    | 'evenkeel.pool.request.duration'
    | 'evenkeel.pool.request.wait_time'
    | 'evenkeel.pool.batch.duration'
    | 'evenkeel.pool.batch.size'
    | 'evenkeel.pool.pending_requests'
    | 'evenkeel.pool.worker.restarts';
  /** The instrument that takes it. */
  readonly instrument: 'histogram' | 'gauge' | 'counter';
  /** `s` for seconds; `{request}` and `{worker}` for counts. */
  readonly unit: 's' | '{request}' | '{worker}';
  /** The value, in that unit. */
  readonly value: number;
  /** `error.type`: the error's code. `evenkeel.worker.id`: the worker's number. */
  readonly attributes: Readonly<Record<string, string | number>>;
}

/** Percentiles in milliseconds; NaN before the first value. */
export interface Percentiles {
  /** The median. */
  readonly p50: number;
  /** 95 of 100 are no longer. */
  readonly p95: number;
  /** 99 of 100 are no longer. */
  readonly p99: number;
}

/** How many values percentiles are of. */
const RECENT = 2048;

/** The last values of a series. */
export class Recent {
  readonly #values = new Float64Array(RECENT);
  #count = 0;

  add(value: number): void {
    this.#values[this.#count++ % RECENT] = value;
  }

  percentiles(): Percentiles {
    const sorted = this.#values.slice(0, Math.min(this.#count, RECENT)).sort();
    // the nearest rank
    const at = (share: number) =>
      sorted.length ? sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] : Number.NaN;
    return { p50: at(0.5), p95: at(0.95), p99: at(0.99) };
  }
}

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

const INSTRUMENTS: Readonly<Record<Measurement['name'], [Measurement['instrument'], Measurement['unit']]>> = {
  'evenkeel.pool.request.duration': ['histogram', 's'],
  'evenkeel.pool.request.wait_time': ['histogram', 's'],
  'evenkeel.pool.batch.duration': ['histogram', 's'],
  'evenkeel.pool.batch.size': ['histogram', '{request}'],
  'evenkeel.pool.pending_requests': ['gauge', '{request}'],
  'evenkeel.pool.worker.restarts': ['counter', '{worker}'],
};

/** What a pool has done. Tells the hook, where there is one. */
export class Ledger {
  readonly counts = { completed: 0, failed: 0, aborted: 0, timedOut: 0, refused: 0 };
  readonly #metrics: ((measurement: Measurement) => void) | undefined;
  readonly #sizes = new Map<number, number>();
  readonly #latency = new Recent();
  readonly #wait = new Recent();

  constructor(metrics: ((measurement: Measurement) => void) | undefined) {
    this.#metrics = metrics;
  }

  /** A request has begun, so many milliseconds after `run`. */
  waited(time: number): void {
    this.#wait.add(time);
    this.measure('evenkeel.pool.request.wait_time', time / 1000);
  }

  /** A worker was sent a batch. */
  sent(requests: number): void {
    this.#sizes.set(requests, (this.#sizes.get(requests) ?? 0) + 1);
    this.measure('evenkeel.pool.batch.size', requests);
  }

  /** A request has ended, so many milliseconds after `run`. */
  ended(how: keyof PoolStats['requests'], time: number, error: (Error & { code?: string }) | undefined): void {
    this.counts[how]++;
    if (how === 'completed' || how === 'failed') this.#latency.add(time);
    const attributes: Measurement['attributes'] = error ? { 'error.type': error.code ?? error.name } : {};
    this.measure('evenkeel.pool.request.duration', time / 1000, attributes);
  }

  /** An error that the hook throws is reported as uncaught. */
  measure(name: Measurement['name'], value: number, attributes: Measurement['attributes'] = {}): void {
    if (!this.#metrics) return;
    const [instrument, unit] = INSTRUMENTS[name];
    try {
      this.#metrics({ name, instrument, unit, value, attributes });
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }

  stats(): Pick<PoolStats, 'requests' | 'batches' | 'latency' | 'wait'> {
    return {
      requests: { ...this.counts },
      batches: {
        count: [...this.#sizes.values()].reduce((sum, count) => sum + count, 0),
        sizes: Object.fromEntries(this.#sizes),
      },
      latency: this.#latency.percentiles(),
      wait: this.#wait.percentiles(),
    };
  }
}
