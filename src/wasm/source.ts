export type Build = 'relaxed' | 'simd';

/** Where the module of some kernels comes from, in either build. */
export interface ModuleSource {
  /**
   * Compiles it, synchronously; throws what the host throws where it cannot. A WebAssembly.Module, which is not named here: programs without the
   * types of a browser do not know it.
   */
  compile(build: Build): object;
  /** Its bytes. */
  bytesOf(build: Build): Uint8Array<ArrayBuffer>;
}
