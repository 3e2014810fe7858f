// Modules as text inside the JavaScript: no file to find, no fetch, works in every bundle. The text is compressed harder than a server's gzip would, so
// that packages and memory hold less of it too. scripts/pack.mjs writes it; a small module that lies beside it, as bytes, reads it (assembly/unpack.ts).

import probe from './generated/probe.ts';
import plain from './generated/unpack.ts';
import { instantiate, type LinearMemory } from './linear-memory.ts';
import type { Build, ModuleSource } from './source.ts';

/** The fixed build of some kernels, as the build script packs it. The relaxed one is made of it. */
export type Packed = readonly [size: number, text: string];

/** What the unpacker needs beside input and output, in bytes. */
const SCRATCH = 1 << 16;

let unpacker: WebAssembly.Module | undefined;

export function packedSource(kernels: Packed): ModuleSource {
  const [size, { length }] = kernels;
  const bytesOf = (build: Build, linear: LinearMemory) => {
    unpacker ??= new WebAssembly.Module(decode(plain)); // before memory is taken: what refuses to compile should not leave that behind
    if (build === 'relaxed') new WebAssembly.Module(decode(probe)); // one fused instruction: a host that refuses it need not be asked for more
    const { memory, heap } = linear;
    const input = decode([length, kernels[1]]);
    const scratch = heap.alloc(SCRATCH + size + input.length);
    try {
      const output = scratch + SCRATCH;
      const packed = output + size;
      new Uint8Array(heap.buffer).set(input, packed);
      const { unpack, relax } = instantiate(unpacker, memory);
      unpack(packed, output, size, scratch);
      if (build === 'relaxed') relax(output, size);
      return new Uint8Array(memory.buffer as ArrayBuffer).slice(output, output + size);
    } finally {
      heap.free(scratch);
    }
  };
  return { compile: (build, linear) => new WebAssembly.Module(bytesOf(build, linear)), bytesOf };
}

/** The bytes of a text, at most `size`: two characters are 13 bits, the lower digit to base 91 first. Digits are all that prints but " ' \ `. */
function decode([size, text]: Packed): Uint8Array<ArrayBuffer> {
  const digit = (i: number) => {
    const c = text.charCodeAt(i);
    return c - 32 - +(c > 34) - +(c > 39) - +(c > 92) - +(c > 96);
  };
  const bytes = new Uint8Array(Math.min(size, (text.length * 13) >> 4));
  let held = 0;
  let bits = 0;
  for (let i = 0, at = 0; i < text.length; i += 2) {
    held = (held << 13) | (digit(i) + 91 * digit(i + 1));
    for (bits += 13; bits >= 8; ) bytes[at++] = held >>> (bits -= 8);
  }
  return bytes;
}
