// Modules as text inside the JavaScript: no file to find, no fetch, works in every bundle. scripts/build.mjs writes the text, and explains it.

import type { Build, ModuleSource } from './source.ts';

/** Both builds of a part, as the build script packs them. */
export type Packed = readonly [bytes: string, size: number, text: string];

const ALPHABET = Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i)).filter(
  (c) => !'"\\`\'$'.includes(c),
);

export function packedSource(packed: Packed): ModuleSource {
  let unpacked: Record<Build, Uint8Array<ArrayBuffer>> | undefined;
  const bytesOf = (build: Build) => {
    unpacked ??= unpack(packed);
    return unpacked[build];
  };
  return {
    compile: (build) => new WebAssembly.Module(bytesOf(build)),
    bytesOf: (build) => bytesOf(build).slice(),
  };
}

/** The fixed build as it is, and the relaxed one as what differs: (literals, their values, a skip, a copy from the fixed one) over and over. */
function unpack([frequent, size, text]: Packed): Record<Build, Uint8Array<ArrayBuffer>> {
  const bytes = decode(frequent, text);
  const simd = bytes.slice(0, size);
  const relaxed: number[] = [];
  let at = size;
  const number = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      value |= (byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  for (let from = 0; at < bytes.length; ) {
    const literals = number();
    const skip = number();
    const copy = number();
    for (let i = 0; i < literals; i++) relaxed.push(bytes[at++]);
    from += literals + (skip & 1 ? -(skip + 1) / 2 : skip / 2);
    for (let i = 0; i < copy; i++) relaxed.push(simd[from++]);
  }
  return { simd, relaxed: Uint8Array.from(relaxed) };
}

/** Frequent bytes are one character each, the others two, so that what repeats in the bytes repeats in the text and compresses as well. */
function decode(frequent: string, text: string): Uint8Array<ArrayBuffer> {
  const single: number[] = [];
  for (let i = 0; i < frequent.length; i += 2) single.push(Number.parseInt(frequent.slice(i, i + 2), 16));
  const rare = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => !single.includes(byte));
  const rank = new Uint8Array(128);
  ALPHABET.forEach((c, i) => {
    rank[c.charCodeAt(0)] = i;
  });
  const bytes = new Uint8Array(text.length);
  let size = 0;
  for (let i = 0; i < text.length; i++) {
    const first = rank[text.charCodeAt(i)];
    bytes[size++] =
      first < single.length
        ? single[first]
        : rare[(first - single.length) * ALPHABET.length + rank[text.charCodeAt(++i)]];
  }
  return bytes.slice(0, size);
}
