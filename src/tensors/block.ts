import type { Heap } from '../wasm/memory.ts';

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

  /** The address of at least `bytes` bytes. What lay there is kept as long as the region need not grow. */
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

/** Vectors side by side in one piece of linear memory: their addresses by name. */
export type Block<Name extends string> = Readonly<Record<Name, number>> & { release(): void };

/** Bytes per entry of vectors side by side, by their names. */
type Widths<Name extends string> = Readonly<Record<Name, number>>;

const padded = (length: number) => Math.ceil(length / 4) * 4;

/** Bytes of vectors of `length` entries side by side. */
export function blockBytes<Name extends string>(length: number, widths: Widths<Name>): number {
  return Object.values<number>(widths).reduce((sum, width) => sum + width * padded(length), 0);
}

/** Addresses of vectors of `length` entries side by side, in memory that begins at `at`. */
export function blockAt<Name extends string>(at: number, length: number, widths: Widths<Name>): Record<Name, number> {
  let next = at;
  const block: Record<string, number> = {};
  for (const [name, width] of Object.entries<number>(widths)) {
    block[name] = next;
    next += width * padded(length);
  }
  return block as Record<Name, number>;
}

/** Reserves vectors of `length` entries each. Their content is undefined. */
export function reserve<Name extends string>(heap: Heap, length: number, widths: Widths<Name>): Block<Name> {
  const region = new Region(heap);
  const at = region.atLeast(blockBytes(length, widths));
  return { ...blockAt(at, length, widths), release: () => region.release() };
}
