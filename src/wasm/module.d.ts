/** The type of `evenkeel/simd.wasm` and `evenkeel/relaxed.wasm`, on hosts and bundlers that import WebAssembly as a module. */
declare const module: WebAssembly.Module;
export default module;
