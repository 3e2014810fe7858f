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

/** Reserves vectors of `length` entries each, with so many bytes per entry. Their content is undefined. */
export function reserve<Name extends string>(
  heap: Heap,
  length: number,
  bytes: Readonly<Record<Name, number>>,
): Block<Name> {
  const padded = Math.ceil(length / 4) * 4;
  const region = new Region(heap);
  const block: Record<string, unknown> = { release: () => region.release() };
  const widths = Object.entries<number>(bytes);
  let at = region.atLeast(widths.reduce((sum, [, width]) => sum + width * padded, 0));
  for (const [name, width] of widths) {
    block[name] = at;
    at += width * padded;
  }
  return block as Block<Name>;
}
