// Throws of dice by a seed, and data made of them.

import { generator } from './mutate.ts';

export class Dice {
  readonly below: (n: number) => number;

  constructor(seed: number) {
    this.below = generator(seed);
  }

  /** An integer from `low` to `high`, both among them. */
  between(low: number, high: number): number {
    return low + this.below(high - low + 1);
  }

  /** True once in so many throws. */
  oneIn(n: number): boolean {
    return this.below(n) === 0;
  }

  of<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)];
  }

  uniform(): number {
    return this.below(2 ** 31) / 2 ** 31;
  }

  /** About normal: the sum of four. */
  normal(): number {
    return (this.uniform() + this.uniform() + this.uniform() + this.uniform() - 2) * 1.7320508;
  }

  seed(): number {
    return this.below(2 ** 30);
  }

  normals(length: number, mean = 0, std = 1): Float32Array {
    return Float32Array.from({ length }, () => mean + std * this.normal());
  }
}
