// Norms of rows: values along some axes of each sample by statistics of their own, scale and shift
// by place.

import { show, wrongKind, wrongValue } from '../errors.ts';
import { checkFeatures } from '../layers/options.ts';
import { type Option, readSchema, type Schema } from '../named-options.ts';
import type { MaskOptions } from '../passes/mask.ts';
import { countOf } from '../tensors/shape.ts';
import { RowEngine } from './engine/row-engine.ts';
import { learnedScale, Norm } from './norm.ts';
import { type AffineOptions, activation, affine, epsilon, type Settings } from './options.ts';

/** Options of `LayerNorm` and `RMSNorm`. */
export interface RowNormOptions extends Omit<AffineOptions, 'layout' | 'axis'> {
  /**
   * The axes that are normalised together, one for each length of `normalizedShape` and in its
   * order; they count the batch, and from the end where they are negative. Axes that are not the
   * last ones are brought there and back: two copies of the input forward, three backward. Default
   * `null`: the last axes.
   */
  axis?: number | readonly number[] | null;
}

/** Options as a norm of rows uses them. */
type RowNormOptionsRead = Settings<Omit<AffineOptions, 'layout' | 'axis'>> & {
  readonly axis: readonly number[] | null;
};

/** What tells one norm of rows from another. */
interface RowNormKind {
  /** Its name in errors. */
  readonly kind: string;
  /** Is the mean subtracted? */
  readonly centred: boolean;
  /** Defaults of the options. */
  readonly eps: number;
  readonly affine: true | 'gamma';
}

/** The axes of a norm of so many; null where they are the last ones. */
const axesOption = (many: number): Option<readonly number[] | null> => ({
  standard: null,
  read(subject, name, value) {
    if (value === null) return null;
    const axes: readonly unknown[] = Array.isArray(value) ? Array.from(value) : [value];
    const fits = axes.every((axis) => Number.isSafeInteger(axis) && axis !== 0) && new Set(axes).size === axes.length;
    if (!fits || axes.length !== many) {
      const expected = `${many === 1 ? 'an axis' : `${many} different axes`} behind that of the samples, or null`;
      throw wrongValue('ERR_OPTION', subject, name, expected, show(value));
    }
    return axes.every((axis, i) => axis === i - many) ? null : Object.freeze(axes as number[]);
  },
});

const rowNormSchema = (standard: RowNormKind, many: number): Schema<RowNormOptionsRead> => ({
  eps: epsilon(standard.eps),
  affine: affine(standard.affine),
  axis: axesOption(many),
  activation: activation(),
});

/** A norm of rows. */
export abstract class RowNorm extends Norm<number, MaskOptions> {
  /** Lengths of the axes that are normalised together. */
  readonly normalizedShape: readonly number[];
  /** Those axes, from the end where they are negative; `null`: the last ones. */
  readonly axis: readonly number[] | null;

  /** @internal */
  constructor(normalizedShape: number | readonly number[], options: RowNormOptions, standard: RowNormKind) {
    const { kind, centred } = standard;
    const shape = typeof normalizedShape === 'number' ? [normalizedShape] : normalizedShape;
    if (!Array.isArray(shape) || shape.length === 0) {
      throw wrongKind('ERR_OPTION', kind, 'normalizedShape', 'a length, or an array of lengths', show(normalizedShape));
    }
    for (const length of shape) checkFeatures(kind, 'normalizedShape', length);
    checkFeatures(kind, 'normalizedShape', countOf(shape));
    const subject = `${kind}(${shape.join(', ')})`;
    const frozen = Object.freeze([...shape]);
    const { eps, affine, axis, activation } = readSchema(subject, options, rowNormSchema(standard, frozen.length));
    const learned = learnedScale(affine, frozen);
    super(new RowEngine({ subject, normalizedShape: frozen, axes: axis, eps, centred, activation, learned }));
    this.normalizedShape = frozen;
    this.axis = axis;
  }
}
