// Values at an address of linear memory: the only place where layers' pointers become indices.

import type { Heap } from './memory.ts';

/** A view of f32 values. Valid until the next `alloc`. */
export function floats({ f32 }: Heap, at: number, length: number): Float32Array {
  return f32.subarray(at >>> 2, (at >>> 2) + length);
}

/** A view of f64 values. Valid until the next `alloc`. */
export function doubles({ f64 }: Heap, at: number, length: number): Float64Array {
  return f64.subarray(at >>> 3, (at >>> 3) + length);
}

/**
 * Where the value at an address lies in `heap.f32`: for loops over many vectors, which are slower
 * over as many views (a step of an LSTM, 16 rows of 64: 40 µs over the one array, 49 µs over seven
 * views; Node 20, AMD EPYC).
 */
export function indexOf(at: number): number {
  return at >>> 2;
}

/** Copies values to an address, as f32. A copy costs less than a view. */
export function store({ f32 }: Heap, at: number, values: ArrayLike<number>): void {
  f32.set(values, at >>> 2);
}

/** Sets f32 values to one. */
export function fill({ f32 }: Heap, at: number, length: number, value: number): void {
  f32.fill(value, at >>> 2, (at >>> 2) + length);
}

/** Copies f32 values from one address to another. */
export function move({ f32 }: Heap, from: number, to: number, length: number): void {
  f32.copyWithin(to >>> 2, from >>> 2, (from >>> 2) + length);
}
