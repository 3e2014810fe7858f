/** A row-major array of f32 values with its shape, as most libraries hold it. `dims` is what onnxruntime and transformers.js call the shape. */
export type PlainTensor =
  | { data: Float32Array; shape: readonly number[] }
  | { data: Float32Array; dims: readonly number[] };

/** Where the channels lie: axis 1 (`[N, C, ...]`) or the last axis (`[N, ..., C]`). */
export type Layout = 'channels-first' | 'channels-last';

/** One tensor of a state dict. */
export interface StateEntry {
  data: Float32Array | Float64Array;
  shape: readonly number[];
}

/** A flat record of names to tensors. */
export type StateDict = Record<string, StateEntry>;

/** What a learned parameter looks like from outside: the values, and the gradient that `backward` adds to. */
export interface Parameter {
  readonly data: Float32Array;
  readonly grad: Float32Array;
  readonly shape: readonly number[];
  /** Set by `freeze()`: `backward` leaves `grad` alone and optimizers leave `data` alone. */
  frozen: boolean;
}
