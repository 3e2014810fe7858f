// What a format is to the fuzzer: how a file of it is taken apart, changed, and put together.

import type { Dice } from '../dice.ts';

/** A file taken apart, and how its parts may be changed. */
export interface Structure<T> {
  /** The parts, afresh. */
  parts(): T;
  /** Changes something about them, in place. `large`: may become megabytes. */
  change(parts: T, dice: Dice, large: boolean): void;
  encode(parts: T): Uint8Array;
}

/** Numbers that lengths, offsets and sizes like to be wrong by. */
export const NUMBERS: readonly bigint[] = [
  0n,
  1n,
  2n,
  0x7fn,
  0x80n,
  0xffn,
  0x7fffffffn,
  0x80000000n,
  0xffffffffn,
  1n << 40n,
  (1n << 53n) - 1n,
  1n << 53n,
  (1n << 63n) - 1n,
  1n << 63n,
  (1n << 64n) - 1n,
];

/** How often something is repeated: mostly a few times. */
export function times(dice: Dice, large: boolean): number {
  return large ? 1 << dice.between(10, 21) : 1 << dice.between(1, 7);
}

/** A place in a list, its end among them. */
export const anywhere = (dice: Dice, list: readonly unknown[]) => dice.below(list.length + 1);
