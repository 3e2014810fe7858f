export type Build = 'relaxed' | 'simd';

/** Where the module of some kernels comes from, in either build. */
export interface ModuleSource {
  /** Compiles it, synchronously; throws what the host throws where it cannot. */
  compile(build: Build): WebAssembly.Module;
  /** Its bytes. */
  bytesOf(build: Build): Uint8Array<ArrayBuffer>;
}
