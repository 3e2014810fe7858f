// What folding a file came to, norm by norm.

export interface FileFold {
  readonly file: Uint8Array<ArrayBuffer>;
  readonly folded: readonly FoldedNorm[];
  /** Norms that stay, and why. */
  readonly kept: readonly { readonly norm: string; readonly reason: string }[];
}

export interface FoldedNorm {
  readonly norm: string;
  readonly into: string;
  /** Does the norm stand before the layer or behind it? */
  readonly side: 'before' | 'behind';
  readonly channels: number;
  readonly eps: number;
  /** What the rounding of the new weights can do to an output, for inputs of magnitude 1: the channel with the most. */
  readonly rounding: number;
}
