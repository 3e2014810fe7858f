// Where modules come from. The list for everyone (provided.ts) provides each name of its own with
// the kernels it runs, so that a bundle holds those of the names it uses; `evenkeel/js` provides
// none.

import type { PartName } from './generated/part-name.ts';
import type { LinearMemory } from './linear-memory.ts';

export type Build = 'relaxed' | 'simd';

/** Where the module of some kernels comes from, in either build. `linear` is room to work in. */
export interface ModuleSource {
  /**
   * Compiles it, synchronously; throws what the host throws where it cannot. A WebAssembly.Module,
   * which is not named here: programs without the types of a browser do not know it.
   */
  compile(build: Build, linear: LinearMemory): object;
  /** Its bytes. Throws where the host has compiled them and keeps them to itself. */
  bytesOf(build: Build, linear: LinearMemory): Uint8Array<ArrayBuffer>;
}

/** Modules that the host has compiled: all kernels in each. */
export function compiledSource(modules: Partial<Record<Build, object>>): ModuleSource {
  return {
    compile(build) {
      const module = modules[build];
      if (!module) throw new Error(`this host was not given ${build}.wasm`);
      // a bundler that was told to treat such files as data
      return ArrayBuffer.isView(module) ? new WebAssembly.Module(module as BufferSource) : module;
    },
    bytesOf() {
      throw new Error('this host hands over modules without their bytes');
    },
  };
}

export type { PartName };

const sources: Partial<Record<PartName, ModuleSource>> = {};

/**
 * The same value, which runs kernels of these parts. Calls are marked as pure where they stand:
 * what is not used by anyone needs no kernels either.
 */
export function provide<T>(value: T, parts: Partial<Record<PartName, ModuleSource>>): T {
  Object.assign(sources, parts);
  return value;
}

export function isProvided(part: PartName): boolean {
  return part in sources;
}

export function sourceOf(part: PartName): ModuleSource {
  const source = sources[part];
  if (!source) throw new Error('evenkeel/js has no WebAssembly');
  return source;
}
