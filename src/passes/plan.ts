import { showShape, wrongValue } from '../errors.ts';
import { countOf, differs, showSymbolic } from '../tensors/shape.ts';
import type { Layout } from '../types.ts';

/**
 * What a shape means to the kernels. The only place that reads shapes and layouts of normalization
 * layers.
 *
 * `'ncx'`: `[outer, channels, inner]`; `'nxc'`: `[outer, channels]`, inner 1. The cheaper one is
 * chosen where both describe the same memory.
 */
export interface Plan {
  readonly kernel: 'ncx' | 'nxc';
  readonly outer: number;
  readonly channels: number;
  readonly inner: number;
  /** Values behind one statistic: outer·inner. */
  readonly count: number;
  /** Where it is a part of a batch with channels innermost: the rows of all of it. */
  readonly whole?: number;
  /** Values in all. */
  readonly size: number;
  readonly shape: readonly number[];
}

/** The ranks that a layer takes. */
export type Ranks = readonly [least: number, most: number];

/** Samples, channels, and any number of axes besides. */
export const anyRank = (): Ranks => [2, Number.POSITIVE_INFINITY];

/**
 * Reads a shape.
 *
 * @throws ERR_SHAPE for a rank outside `ranks` or another channel count
 */
export function planOf(
  subject: string,
  shape: readonly number[],
  channels: number,
  layout: Layout,
  ranks: Ranks,
): Plan {
  const rank = shape.length;
  if (rank < ranks[0] || rank > ranks[1]) throw wrongRank(subject, shape, ranks);
  const axis = layout === 'channels-first' ? 1 : rank - 1;
  if (shape[axis] - channels) {
    throw wrongValue(
      'ERR_SHAPE',
      subject,
      'x',
      `${channels} channels on axis ${axis}`,
      `${shape[axis]}`,
      `shape ${showShape(shape)}, ${layout}`,
    );
  }
  let before = 1;
  let after = 1;
  for (let i = 0; i < axis; i++) before *= shape[i];
  for (let i = axis + 1; i < rank; i++) after *= shape[i];
  const count = before * after;
  const size = count * channels;
  if (channels === 1) return { kernel: 'ncx', outer: 1, channels, inner: count, count, size, shape };
  return { kernel: after === 1 ? 'nxc' : 'ncx', outer: before, channels, inner: after, count, size, shape };
}

/** The error for a shape of another rank. */
export function wrongRank(subject: string, shape: readonly number[], [least, most]: Ranks): Error {
  const expected =
    least === most
      ? `rank ${least}`
      : most === Number.POSITIVE_INFINITY
        ? `rank ${least} or more`
        : `rank ${least} to ${most}`;
  return wrongValue('ERR_SHAPE', subject, 'x', expected, `rank ${shape.length}`, `shape ${showShape(shape)}`);
}

/** What a shape means to norms of rows: the last axes of each sample are a row. */
export interface RowPlan {
  readonly rows: number;
  readonly cols: number;
  readonly size: number;
  readonly shape: readonly number[];
}

/**
 * Reads a shape whose last axes are normalised together.
 *
 * @throws ERR_SHAPE where they have other lengths
 */
export function rowPlanOf(subject: string, shape: readonly number[], normalized: readonly number[]): RowPlan {
  const first = shape.length - normalized.length;
  if (first < 0 || normalized.some((length, i) => differs(shape[first + i], length))) {
    const expected = `last axes ${showShape(normalized)}`;
    throw wrongValue('ERR_SHAPE', subject, 'x', expected, `shape ${showShape(shape)}`);
  }
  const rows = countOf(shape.slice(0, first));
  const cols = countOf(normalized);
  return { rows, cols, size: rows * cols, shape };
}

/**
 * Where the values along an axis lie; the axis counts the batch, and from the end where it is
 * negative.
 *
 * @throws ERR_SHAPE for a rank that has no such axis
 */
export function alongOf(
  subject: string,
  shape: readonly number[],
  axis: number,
): { readonly outer: number; readonly length: number; readonly inner: number } {
  const at = axis < 0 ? axis + shape.length : axis;
  if (at < 0 || at >= shape.length) {
    throw wrongValue('ERR_SHAPE', subject, 'x', `an axis ${axis}`, `shape ${showSymbolic(shape)}`);
  }
  return { outer: countOf(shape.slice(0, at)), length: shape[at], inner: countOf(shape.slice(at + 1)) };
}
