// All kernels in one module, as `evenkeel/simd.wasm` and `evenkeel/relaxed.wasm` hold them.
export * from './parts/conv';
export * from './parts/elementwise';
export * from './parts/gradients';
export * from './parts/inference';
export * from './parts/linear';
export * from './parts/masked';
export * from './parts/pool';
export * from './parts/rows';
export * from './parts/training';
