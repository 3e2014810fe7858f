// A backend: kernels over a memory of their own, compiled ones or the plain loops.

import { wrongValue } from '../errors.ts';
import { instantiate, type LinearMemory } from '../wasm/linear-memory.ts';
import { Heap } from '../wasm/memory.ts';
import { type Build, isProvided, sourceOf } from '../wasm/source.ts';
import { INFERENCE, type InferenceKernels } from './inference/part.ts';
import type { Kernel, Part, Twin } from './part.ts';

/**
 * Which kernels run: SIMD with relaxed multiply-adds, SIMD with fixed rounding, or plain
 * JavaScript.
 */
export type BackendName = 'relaxed' | 'simd' | 'js';

export interface Backend {
  readonly name: BackendName;
  readonly heap: Heap;
  /** The kernels, on this thread. Those of other parts join at first use. */
  kernels: InferenceKernels;
  /**
   * The same, for calls that may be large: spread over threads once there are any (src/threads/).
   */
  parallel: InferenceKernels;
  /** The parts whose kernels are there. */
  readonly parts: Part[];
  /** A part's kernels over this backend's memory. Throws what the host throws where it cannot. */
  bind: (part: Part) => Record<string, Kernel>;
  /** The bytes of a part's module, for threads. Throws where there are none. */
  bytesOf: (part: Part) => Uint8Array<ArrayBuffer>;
  /** The threads beside this one. */
  team?: Team;
}

/** What a backend knows of its threads. */
export interface Team {
  /** Threads at work, this one included. */
  readonly count: number;
  /** Why so many. */
  readonly reason: string;
  close(): Promise<void>;
}

/**
 * Where a compiled backend finds what it needs: memory, and a module that was compiled before it
 * was asked for.
 */
export interface Supplies {
  readonly linear: LinearMemory;
  /** The module of a part, where there is one already. */
  readonly moduleOf?: (part: Part, build: Build) => object | undefined;
}

/** Makes a backend for inference at first. Throws what the host throws where it cannot. */
export function createBackend(name: BackendName, supplies: Supplies): Backend {
  const base = name === 'js' ? plain() : compiled(name, supplies);
  const kernels = base.bind(INFERENCE) as InferenceKernels;
  // after the kernels: where a host refuses to compile them, memory stays untaken
  const { heap } = base;
  return { name, heap, kernels, parallel: kernels, parts: [INFERENCE], bind: base.bind, bytesOf: base.bytesOf };
}

/**
 * The same backend with the kernels of another part: loaded at the first call, and never where
 * there is none. Throws ERR_MEMORY; ERR_BACKEND for what the host throws where it compiled others
 * and will not compile these.
 */
export function withPart<B extends Backend, T extends Part['twins']>(backend: B, part: Part<T>) {
  if (!backend.parts.includes(part)) {
    backend.kernels = backend.parallel = { ...backend.kernels, ...bound(backend, part) };
    backend.parts.push(part);
  }
  type Joined = B['kernels'] & Readonly<Record<keyof T, Kernel>>;
  return backend as Omit<B, 'kernels' | 'parallel'> & Backend & { kernels: Joined; parallel: Joined };
}

function bound({ bind }: Backend, part: Part): Record<string, Kernel> {
  try {
    return bind(part);
  } catch (cause) {
    const { name, message, code } = cause as Error & { code?: string };
    if (code) throw cause;
    const error = wrongValue('ERR_BACKEND', 'kernels', part.name, 'ones that load', `${name}: ${message}`);
    error.cause = cause;
    throw error;
  }
}

type Base = Pick<Backend, 'heap' | 'bind' | 'bytesOf'>;

function compiled(build: Build, { linear, moduleOf }: Supplies): Base {
  return {
    get heap() {
      return linear.heap;
    },
    bind(part) {
      // a program may mix names that bring kernels with names of evenkeel/js, which bring none
      if (part !== INFERENCE && !isProvided(part.name)) return loopsOver(part, () => linear.heap.buffer);
      const module = moduleOf?.(part, build) ?? sourceOf(part.name).compile(build, linear);
      return instantiate(module, linear.memory);
    },
    bytesOf: (part) => sourceOf(part.name).bytesOf(build, linear),
  };
}

/** The plain loops over an ordinary buffer. */
function plain(): Base {
  let buffer = new ArrayBuffer(1 << 16);
  const heap = new Heap({
    buffer,
    grow(bytes) {
      const larger = new ArrayBuffer(Math.ceil((buffer.byteLength + bytes) / 8) * 8);
      new Uint8Array(larger).set(new Uint8Array(buffer));
      // views of the old memory must die here as they do in WebAssembly: otherwise a write to one
      // would be lost without an error
      globalThis.structuredClone?.(buffer, { transfer: [buffer] });
      buffer = larger;
      return buffer;
    },
    limit: 65535 * 65536,
  });
  return {
    heap,
    bind: (part) => loopsOver(part, () => buffer),
    bytesOf() {
      throw new Error('plain loops have no module');
    },
  };
}

/** A part's plain loops, called as kernels are. */
function loopsOver({ twins }: Part, memory: () => ArrayBufferLike): Record<string, Kernel> {
  const kernel =
    ([vectors, loops]: Twin): Kernel =>
    (...values) => {
      const buffer = memory();
      const views = values.map((value, i) => {
        if (i >= vectors.length) return value;
        if (value === 0) return null;
        return vectors[i] === 'f' ? new Float32Array(buffer, value) : new Float64Array(buffer, value);
      });
      loops(...views);
    };
  return Object.fromEntries(Object.entries<Twin>(twins).map(([name, twin]) => [name, kernel(twin)]));
}
