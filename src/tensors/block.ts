import type { Heap } from '../wasm/memory.ts';
import { doubles, floats } from '../wasm/views.ts';

/** Frees what a program forgot. A net only: it never runs in a synchronous loop. */
const forgotten = /* @__PURE__ */ new FinalizationRegistry<() => void>((free) => free());

/** A piece of linear memory that belongs to a layer and is made larger when more is asked of it. */
export class Region {
  readonly #heap: Heap;
  readonly #held = { ptr: 0, bytes: 0 };

  constructor(heap: Heap) {
    this.#heap = heap;
    const held = this.#held;
    forgotten.register(this, () => heap.free(held.ptr));
  }

  get bytes(): number {
    return this.#held.bytes;
  }

  /**
   * The address of at least `bytes` bytes. What lay there is kept as long as the region need not
   * grow.
   */
  atLeast(bytes: number): number {
    const held = this.#held;
    if (held.bytes < bytes) {
      const ptr = this.#heap.alloc(bytes);
      this.release();
      held.ptr = ptr;
      held.bytes = bytes;
    }
    return held.ptr;
  }

  /** Gives the memory back; the region can be used again. */
  release(): void {
    this.#heap.free(this.#held.ptr);
    this.#held.ptr = this.#held.bytes = 0;
  }
}

/** Bytes of an entry of each vector: 4 for f32; 8, or several f64, for f64. */
type Widths = Readonly<Record<string, number>>;

/** Vectors side by side in one piece of linear memory: their addresses by name. */
export type Block<W extends Widths> = Readonly<Record<keyof W, number>> & {
  /** The vectors themselves. Valid until the next `alloc`; asking again costs next to nothing. */
  views(): { readonly [Name in keyof W]: W[Name] extends 4 ? Float32Array : Float64Array };
  release(): void;
};

const padded = (length: number) => Math.ceil(length / 4) * 4;

/** Bytes of vectors of `length` entries side by side. */
export function blockBytes(length: number, widths: Widths): number {
  return Object.values(widths).reduce((sum, width) => sum + width * padded(length), 0);
}

/** Vectors of `length` entries each, in memory of another owner that begins at `at`. */
export function blockAt<W extends Widths>(heap: Heap, at: number, length: number, widths: W): Block<W> {
  const names = Object.keys(widths);
  const block: Record<string, unknown> = { release() {} };
  let next = at;
  for (const name of names) {
    block[name] = next;
    next += widths[name] * padded(length);
  }
  let views: Record<string, unknown> = {};
  let buffer: ArrayBufferLike | undefined;
  block.views = () => {
    if (buffer !== heap.buffer) {
      views = {};
      for (const name of names) {
        const width = widths[name];
        const start = block[name] as number;
        views[name] = width === 4 ? floats(heap, start, length) : doubles(heap, start, (width / 8) * length);
      }
      buffer = heap.buffer;
    }
    return views;
  };
  return block as Block<W>;
}

/** Reserves vectors of `length` entries each. Their content is undefined. */
export function reserve<W extends Widths>(heap: Heap, length: number, widths: W): Block<W> {
  const region = new Region(heap);
  const block = blockAt(heap, region.atLeast(blockBytes(length, widths)), length, widths);
  return Object.assign(block, { release: () => region.release() });
}
