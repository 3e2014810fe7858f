// Truth with what an implementation may be off by: 8·2⁻²⁴ of a scale that says what rounding its
// operands permits, as in the reference data (test/fixtures/golden/README.md, `strict`).

const UNIT = 2 ** -24;
export const STRICT = 8 * UNIT;
export const TINY = 2 ** -126;
const LARGEST = 3.4028234663852886e38;

/** Values in f64, and for each how far off is right. */
export interface Truth {
  readonly name: string;
  readonly values: Float64Array;
  readonly tolerance: Float64Array;
}

export function truth(name: string, size: number): Truth {
  return { name, values: new Float64Array(size), tolerance: new Float64Array(size) };
}

/**
 * The first value that is out of tolerance, in words. NaN and infinities must be where the truth
 * has them; a tolerance of NaN, which NaN among the operands makes, says nothing.
 */
export function firstWrong({ name, values, tolerance }: Truth, got: ArrayLike<number>): string | undefined {
  if (got.length !== values.length) return `${name}: ${got.length} values for ${values.length}`;
  for (let i = 0; i < values.length; i++) {
    const [want, is] = [values[i], got[i]];
    if (Number.isNaN(tolerance[i]) && !Number.isNaN(want)) continue;
    if (Number.isNaN(want) ? Number.isNaN(is) : isRight(want, is, tolerance[i])) continue;
    return `${name}[${i}] is ${is} for ${want} ± ${tolerance[i]}`;
  }
  return undefined;
}

function isRight(want: number, is: number, tolerance: number): boolean {
  if (Math.abs(want) > LARGEST)
    return is === Math.sign(want) * Number.POSITIVE_INFINITY || Math.abs(is) > LARGEST * (1 - 2 ** -20);
  return is === want || Math.abs(is - want) <= tolerance;
}

/**
 * The first value whose bits differ; every NaN alike. `zeros`: zeros of either sign are alike
 * too.
 */
export function firstOther(a: ArrayLike<number>, b: ArrayLike<number>, zeros = false): string | undefined {
  if (a.length !== b.length) return `${a.length} values for ${b.length}`;
  for (let i = 0; i < a.length; i++)
    if (!Object.is(a[i], b[i]) && !(zeros && a[i] === b[i])) return `[${i}] is ${a[i]} for ${b[i]}`;
  return undefined;
}
