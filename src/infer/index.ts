// `evenkeel/infer`: compiled networks and batch norm in evaluation, without anything that trains.
// Behind each name the kernels that it runs (provided.ts); names of `evenkeel` too are provided in
// both, since a module for them would be one more file to load at the start of each.

export * from '../generated/infer.ts';
