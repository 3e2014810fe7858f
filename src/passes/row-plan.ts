// What a shape means to norms of rows: values along some axes are a row, in the order of those axes.

import { showShape, wrongValue } from '../errors.ts';
import { countOf, differs } from '../tensors/shape.ts';
import type { Places } from './mask.ts';
import { type Permutation, permutationOf, permute } from './permutation.ts';
import { type RowPlan, rowPlanOf } from './plan.ts';

/** A plan whose rows may lie apart in memory. */
export interface ArrangedPlan extends RowPlan {
  /** The axes that are normalised together, from the front. */
  readonly axes: readonly number[];
  /** Brings rows side by side; undefined where they lie so. */
  readonly order: Permutation | undefined;
}

/**
 * Reads a shape.
 *
 * @param axes one for each length, from the end where they are negative; null: the last ones
 *
 * @throws ERR_SHAPE for a rank without these axes, or other lengths along them
 */
export function arrangedPlan(
  subject: string,
  shape: readonly number[],
  lengths: readonly number[],
  axes: readonly number[] | null,
): ArrangedPlan {
  const rank = shape.length;
  const first = rank - lengths.length;
  if (!axes) return { ...rowPlanOf(subject, shape, lengths), axes: lengths.map((_, i) => first + i), order: undefined };
  const places = axes.map((axis) => (axis < 0 ? axis + rank : axis));
  const context = `shape ${showShape(shape)}`;
  if (places.some((axis, i) => axis < 1 || axis >= rank || places.indexOf(axis) < i)) {
    const expected = `different axes ${axes.join(', ')} behind that of the samples`;
    throw wrongValue('ERR_SHAPE', subject, 'x', expected, `rank ${rank}`, context);
  }
  const wrong = places.findIndex((axis, i) => differs(shape[axis], lengths[i]));
  if (wrong >= 0) {
    const axis = places[wrong];
    throw wrongValue('ERR_SHAPE', subject, 'x', `length ${lengths[wrong]} of axis ${axis}`, `${shape[axis]}`, context);
  }
  const others = shape.map((_, i) => i).filter((i) => !places.includes(i));
  const isLast = places.every((axis, i) => axis === first + i);
  const cols = countOf(lengths);
  const rows = countOf(others.map((i) => shape[i]));
  const order = isLast ? undefined : permutationOf(shape, [...others, ...places]);
  return { rows, cols, size: rows * cols, shape, axes: places, order };
}

/** Rows that count, and for how much each of their values does. */
export interface RowMask {
  /** The rows with a value that counts, by number. */
  readonly rows: Int32Array;
  /** Weights of their values, row by row; undefined where all values of a row count the same. */
  readonly weights: Float32Array | undefined;
}

/** What the weights of a batch's places say of its rows; undefined where every row counts whole. */
export function rowMaskOf({ rows, cols, order }: ArrangedPlan, places: Places | undefined): RowMask | undefined {
  if (!places) return undefined;
  let { values } = places;
  if (places.byFeature && order) {
    values = new Float32Array(values.length);
    permute(places.values, 0, 0, order, false, values);
  }
  const width = places.byFeature ? cols : 1;
  const kept: number[] = [];
  let isWhole = true;
  for (let r = 0; r < rows; r++) {
    const first = values[r * width];
    let some = false;
    for (let i = r * width; i < (r + 1) * width; i++) {
      if (values[i] !== first) isWhole = false;
      if (values[i] > 0) some = true;
    }
    if (some) kept.push(r);
  }
  if (isWhole) return kept.length === rows ? undefined : { rows: Int32Array.from(kept), weights: undefined };
  const weights = new Float32Array(kept.length * cols);
  kept.forEach((r, i) => {
    weights.set(values.subarray(r * cols, (r + 1) * cols), i * cols);
  });
  return { rows: Int32Array.from(kept), weights };
}

/** Brings the rows that count side by side, to `to`, which has room for all of them. */
export function gatherRows(
  f32: Float32Array,
  from: number,
  to: number,
  { rows, cols, order }: ArrangedPlan,
  mask: RowMask | undefined,
): void {
  if (order) permute(f32, from, to, order);
  else if (!mask) f32.copyWithin(to, from, from + rows * cols);
  const at = order ? to : from;
  mask?.rows.forEach((r, i) => {
    if (order && r === i) return;
    f32.copyWithin(to + i * cols, at + r * cols, at + (r + 1) * cols);
  });
}

/**
 * Brings rows that lie side by side from `from`, where there is room for all of them, to where they
 * belong; 0 in those that do not count.
 */
export function scatterRows(
  f32: Float32Array,
  from: number,
  to: number,
  { rows, cols, order }: ArrangedPlan,
  mask: RowMask | undefined,
): void {
  const onto = order ? from : to;
  if (mask) {
    // from the last one on: rows move back, and do not meet
    let end = rows;
    for (let i = mask.rows.length - 1; i >= 0; i--) {
      const r = mask.rows[i];
      f32.fill(0, onto + (r + 1) * cols, onto + end * cols);
      f32.copyWithin(onto + r * cols, from + i * cols, from + (i + 1) * cols);
      end = r;
    }
    f32.fill(0, onto, onto + end * cols);
  } else if (!order) f32.copyWithin(to, from, from + rows * cols);
  if (order) permute(f32, from, to, order, true);
}
