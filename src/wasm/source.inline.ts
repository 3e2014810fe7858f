// The kernels as base64 inside the JavaScript: no file to find, no fetch, works in every bundle. What `#wasm` means by default.

import relaxed from './generated/relaxed.ts';
import simd from './generated/simd.ts';

export type Build = 'relaxed' | 'simd';

const SOURCES: Record<Build, string> = { relaxed, simd };

/** Compiles one build, synchronously; throws what the host throws where it cannot. */
export function compile(build: Build): WebAssembly.Module {
  return new WebAssembly.Module(bytesOf(build));
}

/** The bytes of one build. */
export function bytesOf(build: Build): Uint8Array<ArrayBuffer> {
  return decode(SOURCES[build]);
}

function decode(base64: string): Uint8Array<ArrayBuffer> {
  if ('fromBase64' in Uint8Array)
    return (Uint8Array as unknown as { fromBase64(text: string): Uint8Array<ArrayBuffer> }).fromBase64(base64);
  const binary = atob(base64);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}
