// Steps in linear memory: weights packed once, and a buffer for every value for as long as it lives.

import type { Backend } from '../kernels/create-backend.ts';
import { IDENTITY } from '../kernels/inference/calls.ts';
import { pack } from '../kernels/linear/calls.ts';
import { Region } from '../tensors/block.ts';
import { Call } from '../tensors/call.ts';
import type { Step } from './program.ts';

/** Steps over weights in memory of their own. */
export interface Loaded {
  readonly steps: readonly Step[];
  /** Where each step's vectors and packed weights lie. */
  readonly at: readonly number[];
  readonly memory: Region;
  /** Which buffer each value lies in; −1 is the caller's. */
  readonly slots: readonly number[];
}

const LANES = 8;

/** Puts the vectors and packed weights of all steps into one piece of memory. */
export function load(current: Backend, steps: readonly Step[]): Loaded {
  const memory = new Region(current.heap);
  const sizes = steps.map(bytesOf);
  let next = memory.atLeast(sizes.reduce((sum, bytes) => sum + bytes, 64));
  const at: number[] = [];
  try {
    steps.forEach((step, i) => {
      at.push(next);
      fill(current, step, next);
      next += sizes[i];
    });
  } catch (error) {
    memory.release();
    throw error;
  }
  return { steps, at, memory, slots: slotsOf(steps) };
}

/** Bytes of a vector in memory, whole lanes of a packed panel. */
export const padded = (values: number) => Math.ceil(values / LANES) * LANES * 4;

function bytesOf({ operation, add }: Step): number {
  if (operation.kind === 'linear') return padded(operation.outFeatures) * (operation.inFeatures + 1);
  if (operation.kind === 'affine') return (operation.center ? 3 : 2) * padded(operation.scale.length);
  return add >= 0 ? padded(IDENTITY.length) : 0;
}

function fill(current: Backend, { operation, add }: Step, at: number): void {
  const { heap } = current;
  if (operation.kind === 'linear') {
    const { weight, bias, inFeatures, outFeatures } = operation;
    const call = new Call(current);
    try {
      const from = call.scratch(weight.length * 4);
      heap.f32.set(weight, from >>> 2);
      pack(current, from, at, inFeatures, outFeatures, 1, inFeatures);
    } finally {
      call.end();
    }
    if (bias) heap.f32.set(bias, (at + padded(outFeatures) * inFeatures) >>> 2);
  } else if (operation.kind === 'affine') {
    const { scale, shift, center } = operation;
    [scale, shift, center].forEach((vector, i) => {
      if (vector) heap.f32.set(vector, (at + i * padded(scale.length)) >>> 2);
    });
  } else if (add >= 0) {
    heap.f32.set(IDENTITY, at >>> 2);
  }
}

/**
 * A buffer for every value: one that is free, or that of a value which is read here for the last time where the kernel can write over it. The input
 * and the output are the caller's.
 */
function slotsOf(steps: readonly Step[]): number[] {
  const last: number[] = [];
  steps.forEach(({ x, add }, i) => {
    last[x] = i;
    if (add >= 0) last[add] = i;
  });
  const slots = [-1];
  const free: number[] = [];
  let count = 0;
  steps.forEach(({ operation, x, add }, i) => {
    const dying = [...new Set([x, add])].filter((value) => value > 0 && last[value] === i).map((value) => slots[value]);
    let slot = -1;
    if (i < steps.length - 1) {
      // a linear kernel adds onto what is there, but must not read where it writes
      const over = operation.kind === 'linear' ? (add === x ? -1 : add) : last[x] === i && x > 0 ? x : add;
      slot = over > 0 && last[over] === i ? slots[over] : (free.pop() ?? count++);
    }
    slots.push(slot);
    for (const one of dying) if (one !== slot && one >= 0) free.push(one);
  });
  return slots;
}
