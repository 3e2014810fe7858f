// What folding a file came to, norm by norm.

import { wrongValue } from '../errors.ts';
import { exactFold } from '../fold/fold.ts';
import { type ConvWeights, convGeometry, linearGeometry } from '../fold/geometry.ts';
import { affineOf, type Statistics } from '../fold/norm.ts';
import { decode, encode } from '../formats/dtypes.ts';
import { roundingOf } from '../graph/weights.ts';

/** A file with norms folded away, and what was done. */
export interface FileFold {
  /** The new file. */
  readonly file: Uint8Array<ArrayBuffer>;
  /** Norms that are gone, and where they went. */
  readonly folded: readonly FoldedNorm[];
  /** Norms that stay, and why. */
  readonly kept: readonly {
    /** Name of the norm. */
    readonly norm: string;
    /** Why it stays, in a sentence. */
    readonly reason: string;
  }[];
  /**
   * What the file does not say and was taken for granted, in sentences: an eps that is wrong makes
   * the folded weights wrong.
   */
  readonly assumed: readonly string[];
}

/** One norm that was folded. */
export interface FoldedNorm {
  /** Name of the norm. */
  readonly norm: string;
  /** Name of the layer that took it in. */
  readonly into: string;
  /** Does the norm stand before the layer or behind it? */
  readonly side: 'before' | 'behind';
  /** Channels of the norm. */
  readonly channels: number;
  /** The eps that was used. */
  readonly eps: number;
  /**
   * What the rounding of the new weights, to the type they are stored as, can do to an output for
   * inputs of magnitude 1: the channel with the most.
   */
  readonly rounding: number;
  /**
   * What the file does not say: `eps`, `layer`, `transposed`; `inputs`: weights that a caller may
   * replace.
   */
  readonly assumed?: readonly string[];
  /** What else was taken for granted. */
  readonly note?: string;
}

/** Folded weights as they are stored. */
export interface StoredFold {
  readonly weight: Uint8Array<ArrayBuffer>;
  readonly bias: Uint8Array<ArrayBuffer>;
  readonly outChannels: number;
  readonly rounding: number;
}

/**
 * Folds in f64 and rounds once, to the types of the file.
 *
 * @throws ERR_FOLD as `foldConv`, and for values that the type does not hold
 */
export function storedFold(
  subject: string,
  layer: ConvWeights,
  statistics: Statistics,
  before: boolean,
  dtypes: { readonly weight: string; readonly bias: string },
): StoredFold {
  const geometry = layer.shape.length === 2 ? linearGeometry(subject, layer) : convGeometry(subject, layer);
  const exact = exactFold(subject, layer, geometry, affineOf(subject, statistics), before);
  const stored = (name: 'weight' | 'bias') => {
    const bytes = encode(exact[name], dtypes[name]);
    const values = decode(subject, name, dtypes[name], bytes, 0);
    const bad = values.findIndex((value) => !Number.isFinite(value));
    if (bad >= 0) {
      throw wrongValue(
        'ERR_FOLD',
        subject,
        `the folded ${name}`,
        `values that ${dtypes[name]} holds`,
        `${exact[name][bad]}`,
      );
    }
    return { bytes, values };
  };
  const weight = stored('weight');
  const rounding = roundingOf(exact.weight, weight.values, geometry).reduce((most, value) => Math.max(most, value), 0);
  return { weight: weight.bytes, bias: stored('bias').bytes, outChannels: geometry.outChannels, rounding };
}
