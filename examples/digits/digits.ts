export const PIXELS = 28 * 28;

export interface Digits {
  /** [count, 784], 0 to 1. */
  images: Float32Array;
  /** 0 to 9. */
  labels: Uint8Array;
  count: number;
}
