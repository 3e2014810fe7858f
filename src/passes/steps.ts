// Sequences of unequal length as the rows of their time steps: all rows of a step together, and of
// padding none.

import { backend } from '../kernels/backend.ts';
import type { Call } from '../tensors/call.ts';
import { floats } from '../wasm/views.ts';

/** The rows of a batch `[N, T, ...]` in the order in which steps are worked through. */
export interface Steps {
  /** Which row n·T + t of the batch each is. */
  readonly rows: Int32Array;
  /**
   * The first row of each step, and behind the last step the number of rows. Steps that no sequence
   * reaches are left out at the end.
   */
  readonly starts: readonly number[];
  /** Sequences, in the order in which a step has them: those that last longest come first. */
  readonly order: Int32Array;
  /** Rows of the batch, N·T. */
  readonly all: number;
}

/**
 * Sorts rows by step. Where each sequence counts up to its length, the rows of a step are a prefix
 * of those of the step before.
 *
 * @param counts does step t of sequence n count?
 */
export function stepsOf(samples: number, steps: number, counts: (n: number, t: number) => boolean): Steps {
  const ends = Int32Array.from({ length: samples }, (_, n) => {
    let end = steps;
    while (end > 0 && !counts(n, end - 1)) end--;
    return end;
  });
  const order = Int32Array.from(ends.keys()).sort((a, b) => ends[b] - ends[a] || a - b);
  const rows: number[] = [];
  const starts = [0];
  const last = samples === 0 ? 0 : ends[order[0]];
  for (let t = 0; t < last; t++) {
    for (const n of order) {
      if (ends[n] <= t) break;
      if (counts(n, t)) rows.push(n * steps + t);
    }
    starts.push(rows.length);
  }
  return { rows: Int32Array.from(rows), starts, order, all: samples * steps };
}

/**
 * Rows of at least so many values are copied by the engine's own copy, shorter ones value by value.
 */
const WIDE = 32;

/** Copies rows out of a batch at `x`, to `at`: scratch memory, unless told otherwise. */
export function gather(
  call: Call,
  { rows, all }: Steps,
  x: number,
  width: number,
  at = call.scratch(Math.max(rows.length * width, 1) * 4),
): number {
  const { heap } = backend();
  const [from, to] = [floats(heap, x, all * width), floats(heap, at, rows.length * width)];
  for (let i = 0; i < rows.length; i++) copyRow(from, rows[i] * width, to, i * width, width);
  return at;
}

/** Copies rows back into a batch at `y`; 0 in those that are not among them. */
export function scatter({ rows, all }: Steps, at: number, y: number, width: number): void {
  const { heap } = backend();
  const [from, to] = [floats(heap, at, rows.length * width), floats(heap, y, all * width)];
  if (rows.length < all) to.fill(0);
  for (let i = 0; i < rows.length; i++) copyRow(from, i * width, to, rows[i] * width, width);
}

function copyRow(from: Float32Array, first: number, to: Float32Array, target: number, width: number): void {
  if (width >= WIDE) to.set(from.subarray(first, first + width), target);
  else for (let c = 0; c < width; c++) to[target + c] = from[first + c];
}
