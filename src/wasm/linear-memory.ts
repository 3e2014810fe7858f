import { Heap, type Store } from './memory.ts';

const PAGE = 65536;
/**
 * One short of 4 GiB: a block that ended there would end at address 0. `asconfig.json` says the
 * same to the compiler.
 */
const MAX_PAGES = 65535;

/**
 * The linear memory of a backend, and the heap in it. Taken when it is first looked at, so that a
 * host that refuses to compile is not left with it.
 */
export class LinearMemory {
  #memory: WebAssembly.Memory | undefined;
  #heap: Heap | undefined;

  get memory(): WebAssembly.Memory {
    this.#memory ??= reserveMemory(1);
    return this.#memory;
  }

  get heap(): Heap {
    this.#heap ??= new Heap(storeIn(this.memory));
    return this.#heap;
  }
}

/** The exports of a module over this memory. Throws what the host throws where it cannot. */
export function instantiate(
  module: object,
  memory: WebAssembly.Memory,
): Record<string, (...args: number[]) => unknown> {
  const { exports } = new WebAssembly.Instance(module as WebAssembly.Module, { env: { memory } });
  return exports as Record<string, (...args: number[]) => unknown>;
}

/** A memory of at least `bytes` bytes. */
export function reserveMemory(bytes: number, shared = false): WebAssembly.Memory {
  return new WebAssembly.Memory({ initial: Math.ceil(bytes / PAGE), maximum: MAX_PAGES, shared });
}

/** A memory as a heap takes it. */
export function storeIn(memory: WebAssembly.Memory): Store {
  return {
    buffer: memory.buffer,
    grow(bytes) {
      memory.grow(Math.ceil(bytes / PAGE));
      return memory.buffer;
    },
    retire: () => memory.grow(0), // detaches its buffer
    limit: MAX_PAGES * PAGE,
  };
}
