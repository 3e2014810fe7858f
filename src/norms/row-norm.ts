// Norms of rows: values along some axes of each sample by statistics of their own, scale and shift
// by place.

import { show, wrongKind, wrongValue } from '../errors.ts';
import { checkFeatures } from '../layers/options.ts';
import { notBuilt } from '../layers/unbuilt.ts';
import { type Option, readSchema, type Schema } from '../named-options.ts';
import type { MaskOptions } from '../passes/mask.ts';
import { arrangedPlan } from '../passes/row-plan.ts';
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

/** Lengths of axes as they were given, checked. */
function lengthsOf(kind: string, given: number | readonly number[]): readonly number[] {
  const lengths = typeof given === 'number' ? [given] : given;
  if (!Array.isArray(lengths) || lengths.length === 0) {
    throw wrongKind('ERR_OPTION', kind, 'normalizedShape', 'a length, or an array of lengths', show(given));
  }
  checkLengths(kind, lengths);
  return lengths;
}

function checkLengths(subject: string, lengths: readonly number[]): void {
  for (const length of lengths) checkFeatures(subject, 'normalizedShape', length);
  checkFeatures(subject, 'normalizedShape', countOf(lengths));
}

/** A norm of rows. */
export abstract class RowNorm extends Norm<number, MaskOptions> {
  /**
   * The axes that are normalised together, from the end where they are negative; `null`: the last
   * ones.
   */
  readonly axis: readonly number[] | null;
  readonly #made: { shape?: readonly number[] };

  /** @internal */
  constructor(normalizedShape: number | readonly number[] | null, options: RowNormOptions, standard: RowNormKind) {
    const { kind, centred } = standard;
    const given = normalizedShape === null ? null : lengthsOf(kind, normalizedShape);
    const subjectOf = (lengths: readonly number[] | null) => `${kind}(${lengths?.join(', ') ?? null})`;
    const subject = subjectOf(given);
    // where no lengths are given, as many axes as `axis` says: the last one, if it says nothing
    const many = given?.length ?? (Array.isArray(options?.axis) ? options.axis.length : 1);
    const { eps, affine, axis, activation } = readSchema(subject, options, rowNormSchema(standard, many));
    const made: { shape?: readonly number[] } = {};
    const make = (lengths: readonly number[]) => {
      const shape = Object.freeze([...lengths]);
      const learned = learnedScale(affine, shape);
      made.shape = shape;
      const common = { eps, centred, activation, learned };
      return new RowEngine({ subject: subjectOf(shape), normalizedShape: shape, axes: axis, ...common });
    };
    const unknown = new Array<number>(many).fill(Number.NaN);
    const planFor = (shape: readonly number[]) => arrangedPlan(subject, shape, unknown, axis);
    super(
      given
        ? make(given)
        : {
            subject,
            check: planFor,
            make(shape) {
              const lengths = planFor(shape).axes.map((i) => shape[i]);
              // in a graph a length that is not known is NaN
              if (lengths.some(Number.isNaN)) return undefined;
              checkLengths(subject, lengths);
              return make(lengths);
            },
          },
    );
    this.axis = axis;
    this.#made = made;
  }

  /**
   * Lengths of the axes that are normalised together.
   *
   * @throws ERR_MODE where they are not known yet
   */
  get normalizedShape(): readonly number[] {
    return (this.isBuilt && this.#made.shape) || notBuilt(this.subject, 'normalizedShape');
  }
}
