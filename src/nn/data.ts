import { show, wrongKind, wrongValue } from '../errors.ts';
import { readState, type StateSlots, writeState } from '../layers/state.ts';
import { flag, integer, option, readSchema, type Schema, seed } from '../named-options.ts';
import { listOf } from '../typed-arrays.ts';
import type { StateDict } from '../types.ts';
import { Random } from './random.ts';

/**
 * How `batches` cuts a source.
 *
 * @experimental
 */
export interface BatchOptions {
  /** Items in a batch, 1 or more. */
  size: number;
  /**
   * `true`: another random order in every epoch; a source that is no array is gathered first. A
   * number: items of a stream wait in a buffer of that size, from which the next item is drawn.
   * Default `false`.
   */
  shuffle?: boolean | number;
  /** `true`: leaves out a last batch of fewer items. Default `false`. */
  dropLast?: boolean;
  /** Seed of the order. Default: a different one every time. */
  seed?: number;
}

const SUBJECT = 'batches';

const batchSchema = (): Schema<BatchSettings> => ({
  size: integer(1),
  shuffle: option<boolean | number>(false, (subject, name, value) => {
    if (typeof value !== 'boolean' && !(Number.isSafeInteger(value) && value >= 1)) {
      throw wrongValue('ERR_OPTION', subject, name, 'true, false or a whole number of 1 or more', show(value));
    }
  }),
  dropLast: flag(false),
  seed: seed(),
});

type BatchSettings = Required<Omit<BatchOptions, 'seed'>> & Pick<BatchOptions, 'seed'>;

/** What both kinds of batches share: settings, the generator, and where an epoch stands. */
abstract class Batched<S> {
  /** @internal */
  protected readonly source: S;
  /** @internal */
  protected readonly size: number;
  /** @internal */
  protected readonly buffer: number;
  /** @internal */
  protected readonly dropLast: boolean;
  /**
   * Each epoch's order is drawn from its next bits, which it leaves where they are until the epoch
   * is over.
   */
  readonly #random: Random;
  /** Batches of this epoch that were handed out. */
  #taken = 0;
  #resumes = false;
  #epoch = 0;
  #isRunning = false;

  constructor(source: S, options: BatchOptions) {
    const { size, shuffle, dropLast, seed } = readSchema(SUBJECT, options, batchSchema());
    this.source = source;
    this.size = size;
    this.buffer = typeof shuffle === 'number' ? shuffle : shuffle ? Number.POSITIVE_INFINITY : 0;
    this.dropLast = dropLast;
    this.#random = new Random(seed);
  }

  /** The state of the order, in the middle of an epoch or between two: save it beside a network. */
  stateDict(): StateDict {
    return readState(this.#slots());
  }

  /**
   * Takes a state. The next epoch is then the one that was interrupted, from the first batch that
   * had not been handed out.
   *
   * @param state what `stateDict` returned
   * @throws ERR_STATE for anything but such a state, and for a state of batches of another size
   */
  loadStateDict(state: StateDict): void {
    writeState(SUBJECT, this.#slots(), state);
    this.#resumes = true;
    this.#epoch++;
  }

  /** @internal Begins an epoch: how many batches to pass over, and what its order is drawn with. */
  protected begin(): { skip: number; random: Random; epoch: number } {
    if (this.#resumes) this.#resumes = false;
    else if (this.#isRunning) this.#next();
    this.#isRunning = true;
    return { skip: this.#taken, random: new Random(this.#random.clone().bits()), epoch: ++this.#epoch };
  }

  /**
   * @internal A batch is handed out. An epoch that another one, or a state, has taken the place of
   *   counts no more.
   */
  protected count(epoch: number): void {
    if (epoch === this.#epoch) this.#taken++;
  }

  /** @internal The epoch is over. */
  protected end(epoch: number): void {
    if (epoch === this.#epoch) this.#next();
  }

  #next(): void {
    this.#random.bits();
    this.#taken = 0;
    this.#isRunning = false;
  }

  #slots(): StateSlots {
    return {
      ...this.#random.stateSlots(),
      taken: {
        shape: [],
        read: () => Float64Array.of(this.#taken),
        refuse: (values) =>
          Number.isSafeInteger(values[0]) && values[0] >= 0 ? undefined : 'a whole number of 0 or more',
        write: (values) => {
          this.#taken = values[0];
        },
      },
      size: {
        shape: [],
        read: () => Float64Array.of(this.size),
        refuse: (values) => (values[0] === this.size ? undefined : `${this.size} items in a batch`),
        write: () => {},
      },
    };
  }
}

/** Groups items; a last group of fewer counts where none is to be left out. */
class Grouping<T> {
  readonly #size: number;
  readonly #random: Random;
  readonly #buffer: number;
  readonly #waiting: T[] = [];
  #group: T[] = [];

  constructor(size: number, buffer: number, random: Random) {
    this.#size = size;
    this.#buffer = buffer;
    this.#random = random;
  }

  /** Takes an item in; a batch where one is full. */
  add(item: T): T[] | undefined {
    if (this.#buffer === 0) return this.#put(item);
    this.#waiting.push(item);
    return this.#waiting.length > this.#buffer ? this.#put(this.#draw()) : undefined;
  }

  /** What is left at the end. */
  *rest(dropLast: boolean): Generator<T[]> {
    while (this.#waiting.length) {
      const full = this.#put(this.#draw());
      if (full) yield full;
    }
    if (this.#group.length && !dropLast) yield this.#group;
  }

  #put(item: T): T[] | undefined {
    this.#group.push(item);
    if (this.#group.length < this.#size) return undefined;
    const full = this.#group;
    this.#group = [];
    return full;
  }

  #draw(): T {
    const waiting = this.#waiting;
    const i = Math.floor(this.#random.uniform() * waiting.length);
    const item = waiting[i];
    const last = waiting.pop()!;
    if (i < waiting.length) waiting[i] = last;
    return item;
  }
}

/**
 * Batches of an array or another iterable: an epoch for each `for … of`. `batches` makes it.
 *
 *     for (const batch of batches([1, 2, 3], { size: 2 })) console.log(batch); // [1, 2], [3]
 *
 * @experimental
 */
export class BatchIterable<T> extends Batched<ArrayLike<T> | Iterable<T>> implements Iterable<T[]> {
  static override readonly name: string = 'Batches';

  /**
   * Begins an epoch: the batches in its order.
   *
   * @throws what the source throws; the epoch is then over
   */
  *[Symbol.iterator](): Generator<T[], void, undefined> {
    const { skip, random, epoch } = this.begin();
    let given = 0;
    for (const batch of this.#groups(random)) {
      if (given++ < skip) continue;
      this.count(epoch);
      yield batch;
    }
    this.end(epoch);
  }

  *#groups(random: Random): Generator<T[]> {
    const { source, size, buffer, dropLast } = this;
    const list = listOf(source) as ArrayLike<T> | undefined;
    if (list && (buffer === 0 || buffer === Number.POSITIVE_INFINITY)) {
      const order = buffer === 0 ? undefined : random.permutation(list.length);
      for (let from = 0; from < list.length; from += size) {
        const length = Math.min(size, list.length - from);
        if (length < size && dropLast) return;
        yield Array.from({ length }, (_, i) => list[order ? order[from + i] : from + i]);
      }
      return;
    }
    const grouping = new Grouping<T>(size, buffer, random);
    for (const item of source as Iterable<T>) {
      const full = grouping.add(item);
      if (full) yield full;
    }
    yield* grouping.rest(dropLast);
  }
}

/**
 * Batches of an async iterable: an epoch for each `for await … of`. `batches` makes it.
 *
 *     for await (const batch of batches(rows(), { size: 32 })) console.log(batch.length);
 *
 * @experimental
 */
export class AsyncBatchIterable<T> extends Batched<AsyncIterable<T>> implements AsyncIterable<T[]> {
  static override readonly name: string = 'Batches';

  /**
   * Begins an epoch: the batches in its order.
   *
   * @throws what the source throws; the epoch is then over
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<T[], void, undefined> {
    const { skip, random, epoch } = this.begin();
    let given = 0;
    for await (const batch of this.#groups(random)) {
      if (given++ < skip) continue;
      this.count(epoch);
      yield batch;
    }
    this.end(epoch);
  }

  async *#groups(random: Random): AsyncGenerator<T[]> {
    const { source, size, buffer, dropLast } = this;
    const grouping = new Grouping<T>(size, buffer, random);
    for await (const item of source) {
      const full = grouping.add(item);
      if (full) yield full;
    }
    yield* grouping.rest(dropLast);
  }
}

/**
 * Batches of a source's items, in arrays. Each `for … of` (of an async source `for await … of`) is
 * an epoch. With `shuffle` every epoch has another order, the same for the same seed.
 *
 *     const train = batches(samples, { size: 32, shuffle: true, seed: 1 });
 *     for (const batch of train) …
 *
 * If the source throws, the epoch ends with its error: the items of an incomplete batch are
 * dropped, the next epoch begins anew, in another order with `shuffle`, and a source that can be
 * closed is closed. `stateDict()` has the state of the order, in the middle of an epoch as well;
 * the source of a resumed epoch must give the same items.
 *
 * @param source an array, a typed array, an iterable, or an async iterable; an iterator, which can
 *   be run through once, lasts one epoch
 * @throws ERR_TYPE for another source; ERR_OPTION for an unknown option or a value that it does not
 *   take
 * @experimental
 */
export function batches<T>(source: readonly T[] | Iterable<T>, options: BatchOptions): BatchIterable<T>;
export function batches<T>(source: AsyncIterable<T>, options: BatchOptions): AsyncBatchIterable<T>;
export function batches<T>(
  source: readonly T[] | Iterable<T> | AsyncIterable<T>,
  options: BatchOptions,
): BatchIterable<T> | AsyncBatchIterable<T> {
  const { [Symbol.asyncIterator]: isAsync, [Symbol.iterator]: isSync } = (
    typeof source === 'object' && source !== null ? source : {}
  ) as Partial<AsyncIterable<T> & Iterable<T>>;
  if (typeof isSync === 'function') return new BatchIterable(source as Iterable<T>, options);
  if (typeof isAsync === 'function') return new AsyncBatchIterable(source as AsyncIterable<T>, options);
  throw wrongKind('ERR_TYPE', SUBJECT, 'source', 'an array, an iterable or an async iterable', show(source));
}

/** A sample or a row: values of one shape. */
export type Sample =
  | readonly number[]
  | Float32Array
  | {
      /** Values, row-major. */
      readonly data: Float32Array;
      /** Length of each axis, outermost first. */
      readonly shape: readonly number[];
    };

/**
 * Samples of one shape as one batch, `[samples, ...shape]`; numbers in an array have the shape
 * `[length]`.
 *
 *     const x = stack([[1, 2], [3, 4], [5, 6]]);   // shape [3, 2]
 *
 * @param samples arrays of numbers, or `{ data, shape }`, at least one
 * @throws ERR_SHAPE for none, or for samples of different shapes; ERR_TYPE for anything that is no
 *   sample
 */
export function stack(samples: readonly Sample[]): {
  /** Values of all samples, one after the other. */
  data: Float32Array;
  /** `[samples, ...shape]`. */
  shape: number[];
} {
  if (!Array.isArray(samples)) throw wrongKind('ERR_TYPE', 'stack', 'samples', 'an array', show(samples));
  const read = samples.map((sample, i) => {
    const flat = listOf(sample) as ArrayLike<number> | undefined;
    const { data, shape } = flat
      ? { data: flat, shape: [flat.length] }
      : ((sample ?? {}) as { data: Float32Array; shape: number[] });
    const values = listOf(data) as ArrayLike<number> | undefined;
    const sizes = listOf(shape) as ArrayLike<number> | undefined;
    const size = sizes && Array.from(sizes).reduce((product, length) => product * length, 1);
    if (!values || values.length !== size || !Array.from(values).every((value) => typeof value === 'number'))
      throw wrongKind('ERR_TYPE', 'stack', `samples[${i}]`, 'numbers, or { data, shape }', show(sample));
    return { values, shape: Array.from(sizes!) };
  });
  if (read.length === 0) throw wrongValue('ERR_SHAPE', 'stack', 'samples', 'at least one', 'none');
  const { shape } = read[0];
  const size = shape.reduce((product, length) => product * length, 1);
  const data = new Float32Array(read.length * size);
  read.forEach((sample, i) => {
    if (`${sample.shape}` !== `${shape}`)
      throw wrongValue(
        'ERR_SHAPE',
        'stack',
        `samples[${i}]`,
        `shape [${shape.join(', ')}]`,
        `[${sample.shape.join(', ')}]`,
      );
    data.set(sample.values, i * size);
  });
  return { data, shape: [read.length, ...shape] };
}
