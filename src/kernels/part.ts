// Kernels that come together, and what it takes to call them.

import type { PartName } from '../wasm/source.ts';

/** A kernel over linear memory: pointers and sizes, in the order of its row. */
export type Kernel = (...args: number[]) => void;

/**
 * The plain loops of a kernel, and the types of its vectors, which are its first arguments: `'ffd'`
 * are two of f32 and one of f64. The loops take arrays in their place, null for none.
 */
// biome-ignore lint/suspicious/noExplicitAny: loops differ in arguments, which rows describe
export type Twin = readonly [vectors: string, loops: (...args: any[]) => void];

export interface Part<Twins = Readonly<Record<string, Twin>>> {
  readonly name: PartName;
  readonly twins: Twins;
}

/** Values of a call worth cutting: some 20 µs of work. */
export const WORTHWHILE = 3 << 15;

/** Multiplications of a product worth cutting. */
export const WORTHWHILE_PRODUCT = 1 << 18;
