import type { Store } from './memory.ts';

const PAGE = 65536;
/** One short of 4 GiB: a block that ended there would end at address 0. `asconfig.json` says the same to the compiler. */
const MAX_PAGES = 65535;

/** The exports of a module over this memory. Throws what the host throws where it cannot. */
export function instantiate(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
): Record<string, (...args: number[]) => void> {
  return new WebAssembly.Instance(module, { env: { memory } }).exports as Record<string, (...args: number[]) => void>;
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
