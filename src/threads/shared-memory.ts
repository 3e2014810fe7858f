import type { Backend } from '../kernels/create-backend.ts';
import type { Part } from '../kernels/part.ts';
import { instantiate, reserveMemory, storeIn } from '../wasm/linear-memory.ts';

/**
 * The import of memory as the compiler writes it: "env", "memory", kind 2, limits with a maximum.
 */
const IMPORT = [3, 101, 110, 118, 6, 109, 101, 109, 111, 114, 121, 2, 1];

/**
 * The same build for shared memory. A module says in one byte of its import whether memory is
 * shared; nothing else differs, so that a second pair of builds would be a second copy of every
 * kernel.
 */
function sharedModule(backend: Backend, part: Part): WebAssembly.Module {
  const bytes = backend.bytesOf(part);
  const at = bytes.findIndex((_, i) => IMPORT.every((byte, k) => bytes[i + k] === byte));
  if (at < 0) throw new Error('the build does not import its memory');
  bytes[at + IMPORT.length - 1] = 3;
  return new WebAssembly.Module(bytes);
}

/** Memory that threads share, and the modules of all kernels over it. */
export interface Shared {
  readonly modules: readonly WebAssembly.Module[];
  readonly memory: WebAssembly.Memory;
}

const shared = new WeakMap<Backend, Shared>();

/**
 * What a backend shares with workers. The first call moves its memory there. Throws what the host
 * throws where it cannot.
 */
export function shareMemory(backend: Backend): Shared {
  if (!shared.has(backend)) shared.set(backend, moveToShared(backend));
  return shared.get(backend)!;
}

/** Moves linear memory into a shared one, with everything in it, and its kernels over to it. */
function moveToShared(backend: Backend): Shared {
  if (typeof SharedArrayBuffer === 'undefined') throw new Error('no SharedArrayBuffer');
  const modules = backend.parts.map((part) => sharedModule(backend, part));
  const memory = reserveMemory(backend.heap.size, true);
  const kernels = Object.assign({}, ...modules.map((module) => instantiate(module, memory)));
  backend.heap.moveTo(storeIn(memory));
  backend.kernels = backend.parallel = kernels;
  return { modules, memory };
}
