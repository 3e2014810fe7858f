// What a pool knows of its own work: times, sizes of batches, and a hook that is told each.

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
