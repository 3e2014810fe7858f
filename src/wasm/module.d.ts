/**
 * What `evenkeel/simd.wasm` and `evenkeel/relaxed.wasm` are on hosts and bundlers that import
 * WebAssembly as a module: a `WebAssembly.Module`, where a program's types know that word.
 */
declare const module: typeof globalThis extends { WebAssembly: { Module: { prototype: infer Module extends object } } }
  ? Module
  : object;
export default module;
