/**
 * A row-major array of f32 values with its shape, as most libraries hold it. `dims` is what
 * onnxruntime and transformers.js call the shape.
 */
export type PlainTensor =
  | {
      /** Values, row-major. */
      data: Float32Array;
      /** Length of each axis, outermost first. */
      shape: readonly number[];
    }
  | {
      /** Values, row-major. */
      data: Float32Array;
      /** Length of each axis, outermost first. */
      dims: readonly number[];
    };

/** Where the channels lie: axis 1 (`[N, C, ...]`) or the last axis (`[N, ..., C]`). */
export type Layout = 'channels-first' | 'channels-last';

/** One tensor of a state dict. */
export interface StateEntry {
  /** Values, row-major: f32 for parameters and statistics, f64 where every digit counts. */
  data: Float32Array | Float64Array;
  /** Length of each axis, outermost first; `[]` for a single number. */
  shape: readonly number[];
}

/** A flat record of names to tensors: `{ '0.weight': { data, shape }, … }`. */
export type StateDict = Record<string, StateEntry>;

/** A learned parameter as users see it: its values, and the gradient that `backward` adds to. */
export interface Parameter {
  /** Values, row-major, f32. Writing to them changes the layer. */
  readonly data: Float32Array;
  /** The gradient, in the order of `data`. `backward` adds to it; `zeroGrad` sets it to 0. */
  readonly grad: Float32Array;
  /** Length of each axis, outermost first. */
  readonly shape: readonly number[];
  /** Set by `freeze()`: `backward` leaves `grad` alone and optimizers leave `data` alone. */
  frozen: boolean;
}
