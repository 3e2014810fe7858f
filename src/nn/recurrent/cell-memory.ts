// Where the rows and states of a forward lie until backward.

import type { Steps } from '../../passes/steps.ts';
import { Region } from '../../tensors/block.ts';
import type { Heap } from '../../wasm/memory.ts';
import type { CellStep } from './cell-kind.ts';

/** Lengths of a cell's vectors. */
export interface CellSizes {
  readonly inputSize: number;
  readonly hiddenSize: number;
  /** All gates, gates·H. */
  readonly wide: number;
}

/** Where what a forward leaves for backward lies. */
export type Places = Readonly<
  Record<'x' | 'fromInput' | 'input' | 'fromState' | 'gates' | 'extra' | 'h' | 'c' | 'first', number>
>;

/** Where rows and states of a forward lie until backward. */
export type Memory = Readonly<Record<'rows' | 'states', Region>>;

export function memoryIn(heap: Heap): Memory {
  return { rows: new Region(heap), states: new Region(heap) };
}

export function releaseMemory({ rows, states }: Memory): void {
  rows.release();
  states.release();
}

/**
 * Addresses of what a forward leaves for backward: by name a row of some width for every row of the
 * batch; and states, which have the rows before the first step besides.
 */
export function placesOf({ inputSize, hiddenSize, wide }: CellSizes, { rows, starts }: Steps, memory: Memory): Places {
  const many = rows.length;
  const widths = { x: inputSize, fromInput: wide, input: wide, fromState: wide, gates: wide, extra: hiddenSize };
  const total = Object.values(widths).reduce((sum, width) => sum + width, 0);
  let at = memory.rows.atLeast(Math.max(total * many, 1) * 4);
  const found = {} as Record<keyof typeof widths, number>;
  for (const name of Object.keys(widths) as (keyof typeof widths)[]) {
    found[name] = at;
    at += widths[name] * many * 4;
  }
  const first = starts[1] ?? 0;
  const h = memory.states.atLeast(Math.max(2 * (many + first) * hiddenSize, 1) * 4);
  return { ...found, h, c: h + (many + first) * hiddenSize * 4, first };
}

/**
 * What a cell is told of a step. `first`: rows before the first step's, which hold the initial
 * state.
 */
export function stepAt(
  { hiddenSize, wide }: CellSizes,
  { starts }: Steps,
  t: number,
  at: Places,
): Omit<CellStep, 'fromState' | 'spare'> {
  const row = hiddenSize * 4;
  const before = starts[t];
  const states = (base: number) => ({
    before: base + (t === 0 ? 0 : at.first + starts[t - 1]) * row,
    after: base + (at.first + before) * row,
  });
  return {
    rows: starts[t + 1] - before,
    before,
    h: states(at.h),
    c: states(at.c),
    input: at.input + before * wide * 4,
    gates: at.gates + before * wide * 4,
    extra: at.extra + before * row,
  };
}

/** The row, in order of steps, in which each sequence ends; of those that are not empty. */
export function endsOf({ starts, order }: Steps): { n: number; row: number }[] {
  return Array.from(order.subarray(0, starts[1] ?? 0), (n, rank) => {
    let t = starts.length - 2;
    while (starts[t + 1] - starts[t] <= rank) t--;
    return { n, row: starts[t] + rank };
  });
}
