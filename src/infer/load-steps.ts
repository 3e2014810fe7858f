// Steps in linear memory: weights packed once, and a buffer for every value for as long as it
// lives.

import type { Backend } from '../kernels/create-backend.ts';
import { Region } from '../tensors/block.ts';
import type { Steps } from './program.ts';

/** Steps over weights in memory of their own. */
export interface Loaded extends Steps {
  /** Where each step's vectors and packed weights lie. */
  readonly at: readonly number[];
  readonly memory: Region;
  /** Which buffer each value lies in; −1 is the caller's. */
  readonly slots: readonly number[];
}

/** Puts the vectors and packed weights of all steps into one piece of memory. */
export function load(current: Backend, program: Steps, inputs: number): Loaded {
  const memory = new Region(current.heap);
  const { steps } = program;
  const sizes = steps.map(({ runner, operation, inputs }) => runner.bytes?.(operation, inputs.length) ?? 0);
  let next = memory.atLeast(sizes.reduce((sum, bytes) => sum + bytes, 64));
  const at: number[] = [];
  try {
    steps.forEach(({ runner, operation, inputs }, i) => {
      at.push(next);
      runner.fill?.(current, operation, next, inputs.length);
      next += sizes[i];
    });
  } catch (error) {
    memory.release();
    throw error;
  }
  return { ...program, at, memory, slots: slotsOf(program, inputs) };
}

/**
 * A buffer for every value: one that is free, or that of a value which is read here for the last
 * time where the operation can write over it. Inputs and outputs of the network are the caller's.
 */
function slotsOf({ steps, outputs }: Steps, inputs: number): number[] {
  const last: number[] = [];
  steps.forEach((step, i) => {
    for (const value of step.inputs) last[value] = i;
  });
  const slots = new Array<number>(inputs).fill(-1);
  const free: number[] = [];
  const given = new Set(outputs);
  let count = 0;
  steps.forEach(({ runner, inputs: from }, i) => {
    const isDying = (value: number) => last[value] === i && slots[value] >= 0;
    let slot = -1;
    if (!given.has(slots.length) && !runner.isStored) {
      // a value that the operation reads in another place as well may be one that it must not write
      // over
      const over = runner.overwrites.find(
        (place) =>
          isDying(from[place]) && from.every((value, k) => value !== from[place] || runner.overwrites.includes(k)),
      );
      slot = over !== undefined ? slots[from[over]] : (free.pop() ?? count++);
    }
    slots.push(slot);
    for (const value of new Set(from)) if (isDying(value) && slots[value] !== slot) free.push(slots[value]);
  });
  return slots;
}
