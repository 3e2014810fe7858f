import { instantiateSync } from '@assemblyscript/loader';
import type { Build } from '#wasm';
import { compile } from '#wasm';
import { Heap } from './memory.ts';

const PAGE = 65536;
/** One short of 4 GiB: a block that ended there would end at address 0. */
const MAX_PAGES = 65535;

/** Instantiates one build over a memory of its own. Throws what the host throws where it cannot. */
export function instantiate(build: Build): { heap: Heap; exports: Record<string, (...args: number[]) => void> } {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: MAX_PAGES });
  const { instance } = instantiateSync(compile(build), { env: { memory } });
  const heap = new Heap({
    buffer: memory.buffer,
    grow(bytes) {
      memory.grow(Math.ceil(bytes / PAGE));
      return memory.buffer;
    },
    limit: MAX_PAGES * PAGE,
  });
  // the loader's own exports cost five times as much per call
  return { heap, exports: instance.exports as Record<string, (...args: number[]) => void> };
}
