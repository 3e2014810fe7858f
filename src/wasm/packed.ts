// Modules as text inside the JavaScript: no file to find, no fetch, works in every bundle. The text
// is compressed harder than a server's gzip would, so that packages and memory hold less of it too.
// assembly/packer/pack.mjs writes it; a small module that lies beside it, as bytes, reads it
// (assembly/packer/unpack.ts).

import probe from './generated/probe.ts';
import unpackerBytes from './generated/unpack.ts';
import { instantiate, type LinearMemory } from './linear-memory.ts';
import type { Build, ModuleSource } from './source.ts';

/**
 * The fixed build of some kernels, as the build script packs it: bytes, what the unpacker leaves of
 * the text, and the text. The relaxed one is made of it.
 */
export type Packed = readonly [size: number, left: number, text: string];

/** What the unpacker needs beside input and output, in bytes. */
const SCRATCH = 1 << 16;

let unpacker: WebAssembly.Module | undefined;

export function packedSource([size, left, text]: Packed): ModuleSource {
  const bytesOf = (build: Build, linear: LinearMemory) => {
    // before memory is taken: a module that does not compile should not leave that behind
    unpacker ??= new WebAssembly.Module(bytesIn(unpackerBytes));
    // one fused instruction: a host that refuses it is not asked for more
    if (build === 'relaxed') new WebAssembly.Module(bytesIn(probe));
    const { memory, heap } = linear;
    const characters = new TextEncoder().encode(text);
    const { length } = characters;
    const scratch = heap.alloc(SCRATCH + size + length);
    try {
      const output = scratch + SCRATCH;
      const packed = output + size;
      new Uint8Array(heap.buffer, packed, length).set(characters);
      const { unpack, relax } = instantiate(unpacker, memory);
      // a text that leads out of its memory is a trap
      if (unpack(packed, output, size, scratch) !== left) throw new Error('damaged');
      if (build === 'relaxed') relax(output, size);
      return new Uint8Array(heap.buffer as ArrayBuffer, output, size).slice();
    } finally {
      heap.free(scratch);
    }
  };
  return { compile: (build, linear) => new WebAssembly.Module(bytesOf(build, linear)), bytesOf };
}

function bytesIn(hex: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(hex.match(/../g)!, (digits) => Number(`0x${digits}`));
}
