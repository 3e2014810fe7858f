// torchvision's networks in test/fixtures/models, and the formula that their weights and images
// follow.

import { readFileSync } from 'node:fs';

export interface TorchvisionNet {
  /** Names and shapes of its state dict, in order. */
  state: [name: string, shape: number[]][];
  /** The shape of the images. */
  x: number[];
  /** The first logits of each image, the sum of all of them, and the largest of all images. */
  logits: number[][];
  sums: number[];
  largest: number;
}

export const torchvision: Record<string, TorchvisionNet> = JSON.parse(
  readFileSync(new URL('../fixtures/models/torchvision.json', import.meta.url), 'utf8'),
).nets;

export const sizeOf = (shape: readonly number[]) => shape.reduce((size, length) => size * length, 1);

/** In [−1, 1), as make_torchvision.py has it. */
export function noise(size: number, seed: number): Float32Array {
  const values = new Float32Array(size);
  for (let i = 0; i < size; i++) {
    let bits = (Math.imul(i + 1, 2654435761) + Math.imul(seed, 40503)) >>> 0;
    bits = Math.imul(bits ^ (bits >>> 15), 0x2c1b3c6d) >>> 0;
    values[i] = bits / 2 ** 31 - 1;
  }
  return values;
}

/** Weights that keep the size of values, norms that are not the identity, variances above 0. */
function filled(name: string, shape: readonly number[], seed: number): Float32Array {
  const values = noise(sizeOf(shape), seed);
  const last = name.slice(name.lastIndexOf('.') + 1);
  const change: (value: number) => number =
    last === 'num_batches_tracked'
      ? () => 7
      : last === 'running_mean'
        ? (value) => 0.2 * value
        : last === 'running_var'
          ? (value) => 1 + 0.5 * value
          : shape.length > 1
            ? (value) => value * Math.sqrt(3 / sizeOf(shape.slice(1)))
            : last === 'weight'
              ? (value) => 0.8 + 0.2 * value
              : (value) => 0.1 * value;
  return values.map(change);
}

/** A state dict under torchvision's names, with the formula's values. */
export function torchState({ state }: TorchvisionNet): Map<string, { data: Float32Array; shape: number[] }> {
  return new Map(state.map(([name, shape], seed) => [name, { data: filled(name, shape, seed), shape }]));
}
