// Values that stay where they are until they are needed, such as the weights of a file.

/** Values in f32 that never change, and are written where they are to be. */
export interface Stored {
  readonly length: number;
  /** Writes as many as there is room for, from one of them on: whole rows of the first axis. */
  write(out: Float32Array, first: number): void;
  /**
   * Writes the same with the first axis innermost, from a row of as many values on, where they lie
   * so: `[...window, in, out]` of `[out, in, ...window]`.
   */
  readonly writeAcross?: ((out: Float32Array, firstRow: number) => void) | undefined;
  /** Bytes in the order of `writeAcross` whose values are byte·scale + min, in f64. */
  readonly bytes?: { readonly codes: Uint8Array; readonly scale: number; readonly min: number } | undefined;
  /** What they are the products of: others, and a factor for each place along the first axis. */
  readonly scaled?: { readonly values: Stored; readonly factors: Float64Array } | undefined;
  /** All of them, where they lie as such in memory. Nobody writes to it. */
  readonly data?: Float32Array;
  /** What no absolute value exceeds, up to rounding, where that is quick to say. */
  readonly most?: number;
}

/** Values in memory, to which nobody writes any more. */
export const held = (data: Float32Array): Stored => ({
  length: data.length,
  write: (out, first) => out.set(data.subarray(first, first + out.length)),
  data,
});

/** All values, in an array to which nobody writes. */
export const allOf = (stored: Stored): Float32Array => stored.data ?? copied(stored);

/** All values, in an array of their own. */
export function copied(stored: Stored): Float32Array {
  const values = new Float32Array(stored.length);
  stored.write(values, 0);
  return values;
}
