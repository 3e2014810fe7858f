import { wrongValue } from '../errors.ts';

/**
 * What a heap lies in: a WebAssembly memory, or an ordinary buffer for the plain loops. Nothing
 * else makes it grow.
 */
export interface Store {
  readonly buffer: ArrayBufferLike;
  /**
   * Adds at least `bytes` bytes and returns the buffer from then on; views of the old one may die.
   * Throws where there is no more.
   */
  grow(bytes: number): ArrayBufferLike;
  /** Makes views of the buffer die, once it has been left for another. */
  retire?(): void;
  readonly limit: number;
}

/** Blocks begin on a cache line. The first line is never given out, so that 0 can mean "none". */
const ALIGN = 64;
/** What a processor compares of two addresses to see whether a load may overtake a store. */
const PAGE = 4096;
/** Least distance between the page offsets of a large block's two ends. */
const STAGGER = 1024;
/** Memory grows by at least this much, so that many small tensors do not mean many growths. */
const GROWTH = 1 << 20;

/**
 * Bytes to leave free behind a large block that ends near a page's border, so that the next one
 * begins elsewhere in its page: a load that lies where a store has just been, but for whole pages,
 * waits for that store (evaluation of 12544x64 in L3: 1.66 cycles per vector with equal page
 * offsets, 1.40 with others; Node 20, AMD EPYC).
 */
function gapBehind(size: number): number {
  const offset = size % PAGE;
  return size >= PAGE && (offset < STAGGER || offset > PAGE - STAGGER) ? STAGGER + ALIGN : 0;
}

/**
 * The one linear memory: blocks are taken with `alloc` and given back with `free`. First fit over a
 * list of free blocks in address order, neighbours joined when one is freed, so a program that
 * repeats itself needs no more memory the second time.
 */
export class Heap {
  #store: Store;
  /** Free blocks in address order: start, end, start, end … */
  readonly #free: number[];
  readonly #sizes = new Map<number, number>();
  /** Every buffer that memory has been: views of an old one may live on where memory is shared. */
  readonly #buffers = new WeakSet<ArrayBufferLike>();
  /** Memory as it is now. Another object after an `alloc` that made it grow. */
  buffer: ArrayBufferLike;
  /** All of memory as f32. Valid until the next `alloc`. */
  f32: Float32Array;
  /** All of memory as f64. Valid until the next `alloc`. */
  f64: Float64Array;

  constructor(store: Store) {
    this.#store = store;
    this.#free = [ALIGN, store.buffer.byteLength];
    this.buffer = store.buffer;
    this.#buffers.add(this.buffer);
    this.f32 = new Float32Array(this.buffer);
    this.f64 = new Float64Array(this.buffer);
  }

  /**
   * Moves everything into another store, of as many bytes or more. Blocks keep their addresses;
   * views of the old memory die.
   */
  moveTo(store: Store): void {
    new Uint8Array(store.buffer).set(new Uint8Array(this.buffer));
    const end = this.size;
    const old = this.#store;
    this.#store = store;
    this.#look(store.buffer);
    if (this.size > end) this.#release(end, this.size);
    old.retire?.();
  }

  /** Are these values a view of linear memory, as it is or as it was? */
  holds({ buffer }: Pick<ArrayBufferView, 'buffer'>): boolean {
    return this.#buffers.has(buffer);
  }

  /** Does all of this range lie in blocks that are in use? */
  isLive(at: number, bytes: number): boolean {
    // starts of free blocks, and their ends, by turns
    return this.#free.every((start, i, free) => i % 2 || start >= at + bytes || at >= free[i + 1]);
  }

  /** Bytes of linear memory, used or not. */
  get size(): number {
    return this.buffer.byteLength;
  }

  /** Number of blocks in use. */
  get blocks(): number {
    return this.#sizes.size;
  }

  /** Takes a block of at least `bytes` bytes. Its content is undefined. */
  alloc(bytes: number): number {
    const least = Math.max(ALIGN, Math.ceil(bytes / ALIGN) * ALIGN);
    const roomy = least + gapBehind(least);
    let at = this.#find(roomy);
    if (at < 0) at = this.#find(least);
    if (at < 0) {
      this.#grow(least, roomy - least);
      at = this.#find(least);
    }
    const start = this.#free[at];
    const size = Math.min(roomy, this.#free[at + 1] - start);
    if (this.#free[at + 1] - start === size) this.#free.splice(at, 2);
    else this.#free[at] = start + size;
    this.#sizes.set(start, size);
    return start;
  }

  /** Gives a block back. */
  free(start: number): void {
    const size = this.#sizes.get(start);
    if (size === undefined) return;
    this.#sizes.delete(start);
    this.#release(start, start + size);
  }

  #find(size: number): number {
    const free = this.#free;
    for (let i = 0; i < free.length; i += 2) if (free[i + 1] - free[i] >= size) return i;
    return -1;
  }

  #release(start: number, end: number): void {
    const free = this.#free;
    let at = 0;
    while (at < free.length && free[at] < start) at += 2;
    const joinsLeft = at > 0 && free[at - 1] === start;
    const joinsRight = at < free.length && free[at] === end;
    if (joinsLeft && joinsRight) free.splice(at - 1, 2);
    else if (joinsLeft) free[at - 1] = end;
    else if (joinsRight) free[at] = start;
    else free.splice(at, 0, start, end);
  }

  #grow(size: number, gap: number): void {
    const end = this.size;
    const tail =
      this.#free.length && this.#free[this.#free.length - 1] === end ? end - this.#free[this.#free.length - 2] : 0;
    const room = this.#store.limit - end;
    try {
      if (size - tail > room) throw new RangeError('beyond the address space');
      this.#look(this.#store.grow(Math.min(Math.max(size + gap - tail, GROWTH), room)));
    } catch (cause) {
      const error = wrongValue(
        'ERR_MEMORY',
        'memory',
        'a request',
        `at most ${room + tail} bytes more`,
        `${size} bytes`,
        `${this.blocks} blocks in use; dispose() of tensors, tidy(() => …) or smaller batches free memory`,
      );
      error.cause = cause;
      throw error;
    }
    this.#release(end, this.size);
  }

  /** Takes the views of a buffer. */
  #look(buffer: ArrayBufferLike): void {
    this.#buffers.add(buffer);
    this.buffer = buffer;
    this.f32 = new Float32Array(buffer);
    this.f64 = new Float64Array(buffer);
  }
}
