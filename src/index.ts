// The public list: what js.ts has, and behind each name the kernels that it runs (provided.ts).
// Names that run none come as they are.

export * from './generated/index.ts';
