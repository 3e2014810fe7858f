// All kernels as plain loops.

export * from './inference/js.ts';
export * from './linear/js.ts';
export * from './masked/js.ts';
export * from './rows/js.ts';
export * from './training/js.ts';
