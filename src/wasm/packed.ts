// Modules as text inside the JavaScript: no file to find, no fetch, works in every bundle. The text is compressed harder than a server's gzip would, so
// that packages and memory hold less of it too. scripts/pack.mjs writes it; a small module that lies beside it, as bytes, reads it (assembly/unpack.ts).

import plain from './generated/unpack.ts';
import { instantiate, type LinearMemory } from './linear-memory.ts';
import type { Build, ModuleSource } from './source.ts';

/** The fixed build of some kernels, as the build script packs it. The relaxed one is made of it. */
export type Packed = readonly [size: number, text: string];

/** What the unpacker needs beside input and output, in bytes. */
const SCRATCH = 1 << 16;

/** A module of one relaxed multiply-add: a host that refuses it need not be asked for more. */
const RELAXED = Uint8Array.of(
  ...[0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 19, 1, 17, 0, 65, 0, 253, 15, 65, 0, 253],
  ...[15, 65, 0, 253, 15, 253, 133, 2, 11],
);

let unpacker: WebAssembly.Module | undefined;

export function packedSource(kernels: Packed): ModuleSource {
  const [size] = kernels;
  const bytesOf = (build: Build, linear: LinearMemory) => {
    unpacker ??= new WebAssembly.Module(decode(plain)); // before memory is taken: what refuses to compile should not leave that behind
    if (build === 'relaxed') new WebAssembly.Module(RELAXED);
    const { memory, heap } = linear;
    const input = decode(kernels);
    const scratch = heap.alloc(SCRATCH + size + input.length + 8);
    try {
      const output = scratch + SCRATCH;
      const packed = output + size + 4;
      const bytes = new Uint8Array(heap.buffer);
      bytes.set(input, packed);
      bytes.fill(0, packed + input.length, packed + input.length + 4);
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

/** Characters for 0 to 90: all that print, but quotes and the backslash. Two of them are 13 bits, the lower digit first. */
const DIGITS = Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i)).filter((c) => !'"\'\\`'.includes(c));

/** The bytes of a text, at most `size`. */
function decode([size, text]: Packed): Uint8Array<ArrayBuffer> {
  const digit = new Uint8Array(128);
  DIGITS.forEach((c, i) => {
    digit[c.charCodeAt(0)] = i;
  });
  const bytes = new Uint8Array(Math.min(size, (text.length * 13) >> 4));
  let held = 0;
  let bits = 0;
  for (let i = 0, at = 0; i < text.length; i += 2) {
    held = (held << 13) | (digit[text.charCodeAt(i)] + 91 * digit[text.charCodeAt(i + 1)]);
    for (bits += 13; bits >= 8; ) bytes[at++] = held >>> (bits -= 8);
  }
  return bytes;
}
