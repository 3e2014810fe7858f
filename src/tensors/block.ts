import type { Heap } from '../wasm/memory.ts';

/** Frees what a program forgot. A net only: it never runs in a synchronous loop. */
const forgotten = new FinalizationRegistry<() => void>((free) => free());

/** A piece of linear memory that belongs to a layer and is made larger when more is asked of it. */
export class Region {
  readonly #heap: Heap;
  readonly #held = { ptr: 0, bytes: 0 };

  constructor(heap: Heap) {
    this.#heap = heap;
    const held = this.#held;
    forgotten.register(this, () => heap.free(held.ptr));
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

/** Several vectors of the same length in one piece of linear memory: their addresses by name. */
export type Block<F64 extends string, F32 extends string> = Readonly<Record<F64 | F32, number>> & { release(): void };

/** Reserves f64 and f32 vectors of `length` values. Their content is undefined. */
export function reserve<F64 extends string, F32 extends string>(
  heap: Heap,
  length: number,
  f64: readonly F64[],
  f32: readonly F32[],
): Block<F64, F32> {
  const padded = Math.ceil(length / 4) * 4;
  const region = new Region(heap);
  const block: Record<string, unknown> = { release: () => region.release() };
  let at = region.atLeast(padded * (8 * f64.length + 4 * f32.length));
  for (const name of f64) {
    block[name] = at;
    at += padded * 8;
  }
  for (const name of f32) {
    block[name] = at;
    at += padded * 4;
  }
  return block as Block<F64, F32>;
}
