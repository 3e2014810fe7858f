// Norms of rows: the last axes of each sample by statistics of their own, scale and shift by place.

import { show, wrongKind } from '../errors.ts';
import { checkFeatures } from '../layers/options.ts';
import { readSchema, type Schema } from '../named-options.ts';
import { countOf } from '../tensors/shape.ts';
import { RowEngine } from './engine/row-engine.ts';
import { learnedScale, Norm } from './norm.ts';
import { type AffineOptions, activation, affine, epsilon, type Settings } from './options.ts';

/** Options of `LayerNorm` and `RMSNorm`: `eps`, `affine` and `activation`. */
export type RowNormOptions = Omit<AffineOptions, 'layout'>;

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

const rowNormSchema = (standard: RowNormKind): Schema<Settings<RowNormOptions>> => ({
  eps: epsilon(standard.eps),
  affine: affine(standard.affine),
  activation: activation(),
});

/** A norm of rows. */
export abstract class RowNorm extends Norm {
  /** Lengths of the axes that are normalised together, the last ones. */
  readonly normalizedShape: readonly number[];

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
    const { eps, affine, activation } = readSchema(subject, options, rowNormSchema(standard));
    const learned = learnedScale(affine, frozen);
    super(new RowEngine({ subject, normalizedShape: frozen, eps, centred, activation, learned }));
    this.normalizedShape = frozen;
  }
}
