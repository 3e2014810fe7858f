// The three products of a weight [outFeatures, inFeatures]: with inputs, with gradients, and of
// gradients with inputs.

import { NO_ACTIVATION } from '../kernels/activations.ts';
import { backend } from '../kernels/backend.ts';
import { linear, pack } from '../kernels/linear/calls.ts';
import type { Call } from '../tensors/call.ts';
import { store } from '../wasm/views.ts';

/** Floats that `pack` writes for a matrix. */
export function packedLength(depth: number, cols: number): number {
  return Math.ceil(cols / 8) * 8 * depth;
}

/**
 * A weight in the panels that y = x·Wᵀ reads, at `packed`: `packedLength(inFeatures, outFeatures)`
 * floats.
 */
export function packForward(call: Call, weight: Float32Array, packed: number, inFeatures: number, outFeatures: number) {
  const current = backend();
  const at = call.scratch(weight.length * 4);
  store(current.heap, at, weight);
  pack(current, at, packed, inFeatures, outFeatures, 1, inFeatures);
}

/** A weight in the panels that dx = dy·W reads, in scratch memory. */
export function packBackward(call: Call, weight: Float32Array, inFeatures: number, outFeatures: number): number {
  const current = backend();
  const at = call.scratch(weight.length * 4);
  store(current.heap, at, weight);
  const packed = call.scratch(packedLength(outFeatures, inFeatures) * 4);
  pack(current, at, packed, outFeatures, inFeatures, inFeatures, 1);
  return packed;
}

/**
 * dyᵀ·x, `[outFeatures, inFeatures]` in scratch memory: x [rows, inFeatures], dy [rows,
 * outFeatures].
 */
export function weightSums(
  call: Call,
  x: number,
  dy: number,
  rows: number,
  inFeatures: number,
  outFeatures: number,
): number {
  const current = backend();
  const packed = call.scratch(packedLength(rows, inFeatures) * 4);
  const sums = call.scratch(inFeatures * outFeatures * 4);
  pack(current, x, packed, rows, inFeatures, inFeatures, 1);
  linear(current, dy, packed, 0, sums, NO_ACTIVATION, outFeatures, rows, inFeatures, 1, outFeatures);
  return sums;
}
