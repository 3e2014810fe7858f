// All kernels in one module, as `evenkeel/simd.wasm` and `evenkeel/relaxed.wasm` hold them.
export * from './inference';
export * from './training';
