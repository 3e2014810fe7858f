// Requests that wait together, and the memory that their values lie in: copied once, to where the
// worker reads them.

import type { Answer, Output } from './messages.ts';

/** Values of one input for all requests of a batch. */
type Floats = Float32Array<ArrayBufferLike>;

/** How many arrays of one length are kept, and how many lengths. */
const MOST_FREE = 8;
const MOST_LENGTHS = 16;

/** Arrays that were given back. */
export class Memory {
  readonly #free = new Map<number, Floats[]>();

  /** Shared with workers where the host has shared memory. Holds what an earlier batch left. */
  take(length: number): Floats {
    const known = this.#free.get(length)?.pop();
    if (known) return known;
    const bytes = length * 4;
    return new Float32Array(
      typeof SharedArrayBuffer === 'undefined' ? new ArrayBuffer(bytes) : new SharedArrayBuffer(bytes),
    );
  }

  give(floats: Floats): void {
    const { length } = floats;
    const free = this.#free.get(length) ?? [];
    if (free.length < MOST_FREE) free.push(floats);
    // the length that was used last comes last
    this.#free.delete(length);
    this.#free.set(length, free);
    for (const oldest of this.#free.keys()) if (this.#free.size > MOST_LENGTHS) this.#free.delete(oldest);
  }
}

/** One call of `run`. */
export interface Request {
  /** Rows along axis 0. */
  readonly rows: number;
  readonly started: number;
  /** Where the worker has begun with it. */
  begun: boolean;
  /** A worker was lost with it: it is run once more, alone. */
  isRerun: boolean;
  /** Nobody waits for it any more. */
  isSettled: boolean;
  batch: Batch | undefined;
  settle(answer: readonly Output[] | Error): void;
}

/** What an input of a request is. */
export interface Values {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/** Requests of equal shapes but for axis 0, in the order in which they came. */
export class Batch {
  readonly requests: Request[] = [];
  /** Shapes but for axis 0; undefined: it is one request alone. */
  readonly key: string | undefined;
  readonly opened: number;
  /** No request joins it any more. */
  isClosed = false;
  readonly #capacity: number;
  readonly #rowShapes: readonly (readonly number[])[];
  readonly #sizes: readonly number[];
  readonly #memory: Memory;
  readonly #floats: Floats[];
  /** Shapes of a request that is alone: lengths of axis 0 may be any. */
  readonly #alone: readonly (readonly number[])[] | undefined;
  rows = 0;

  /** @param capacity rows that there is room for */
  constructor(key: string | undefined, inputs: readonly Values[], capacity: number, memory: Memory, opened: number) {
    this.key = key;
    this.opened = opened;
    this.#capacity = capacity;
    this.#rowShapes = inputs.map(({ shape }) => shape.slice(1));
    this.#sizes = this.#rowShapes.map((row) => row.reduce((size, length) => size * length, 1));
    this.#memory = memory;
    this.#alone = key === undefined ? inputs.map(({ shape }) => [...shape]) : undefined;
    this.#floats = inputs.map(({ data }, i) => memory.take(this.#alone ? data.length : this.#sizes[i] * capacity));
  }

  takes(rows: number): boolean {
    return !this.isClosed && this.rows + rows <= this.#capacity;
  }

  /** Copies a request's values behind those that are there. */
  add(request: Request, inputs: readonly Values[]): void {
    inputs.forEach(({ data }, i) => {
      this.#floats[i].set(data, this.rows * this.#sizes[i]);
    });
    this.requests.push(request);
    request.batch = this;
    this.rows += request.rows;
    if (this.#alone || this.rows === this.#capacity) this.isClosed = true;
  }

  /** Takes out a request that nobody waits for. Only before the batch is sent. */
  remove(request: Request): void {
    const place = this.requests.indexOf(request);
    const from = this.requests.slice(0, place).reduce((rows, one) => rows + one.rows, 0);
    if (!this.#alone)
      this.#floats.forEach((floats, i) => {
        const size = this.#sizes[i];
        floats.copyWithin(from * size, (from + request.rows) * size, this.rows * size);
      });
    this.requests.splice(place, 1);
    this.rows -= request.rows;
  }

  /** What the worker is sent. */
  inputs(): Values[] {
    const alone = this.#alone;
    if (alone) return this.#floats.map((floats, i) => ({ data: floats as Float32Array, shape: alone[i] }));
    return this.#floats.map((floats, i) => ({
      data: floats.subarray(0, this.rows * this.#sizes[i]) as Float32Array,
      shape: [this.rows, ...this.#rowShapes[i]],
    }));
  }

  /** The values of each request, as views. */
  split(): { request: Request; inputs: Values[] }[] {
    if (this.#alone) return this.requests.map((request) => ({ request, inputs: this.inputs() }));
    let at = 0;
    return this.requests.map((request) => {
      const from = at;
      at += request.rows;
      const inputs = this.#floats.map((floats, i) => ({
        data: floats.subarray(from * this.#sizes[i], at * this.#sizes[i]) as Float32Array,
        shape: [request.rows, ...this.#rowShapes[i]],
      }));
      return { request, inputs };
    });
  }

  /** Gives each request what is its own of the answers. */
  settle(answers: readonly Answer[], errorOf: (answer: Answer & { error: unknown }) => Error): void {
    let at = 0;
    const isJoint = answers.length === 1 && this.requests.length > 1;
    this.requests.forEach((request, i) => {
      const from = at;
      at += request.rows;
      const answer = answers[isJoint ? 0 : i];
      if (request.isSettled) return;
      if ('error' in answer) request.settle(errorOf(answer));
      else if (!isJoint) request.settle(answer.outputs);
      else {
        request.settle(
          answer.outputs.map(({ data, shape: [, ...row] }) => {
            const size = data.length / this.rows;
            return { data: data.slice(from * size, at * size), shape: [request.rows, ...row] };
          }),
        );
      }
    });
  }

  /** The worker has answered, or is no more. */
  release(): void {
    for (const floats of this.#floats.splice(0)) this.#memory.give(floats);
  }
}
