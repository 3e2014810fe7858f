import { readState, type StateSlots, writeState } from '../layers/state.ts';
import { checkNumber } from '../named-options.ts';
import type { StateDict } from '../types.ts';

/**
 * A seeded source of random numbers (sfc32, Chris Doty-Humphrey's small fast counting generator). A
 * seed gives the same numbers on every machine.
 *
 *     const random = new Random(7);
 *     random.uniform();        // in [0, 1)
 *     random.permutation(10);  // Uint32Array: 0 to 9 in random order
 */
export class Random {
  /** The class's name, also where the library was minified. */
  static readonly name: string = 'Random';
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;
  #spare: number | undefined;

  /**
   * @param seed any finite number; its integer part modulo 2³² counts. Default: a different one
   *   every time
   * @throws ERR_OPTION for anything else
   */
  constructor(seed: number = Math.random() * 2 ** 32) {
    checkNumber('Random', 'seed', seed);
    this.#a = seed >>> 0;
    this.#b = (seed / 2 ** 32) >>> 0;
    this.#c = 0x9e3779b9;
    for (let i = 0; i < 15; i++) this.bits();
  }

  /** 32 random bits as an integer from 0 to 2³² − 1. */
  bits(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    return sum >>> 0;
  }

  /** Another source in the same state. */
  clone(): Random {
    const copy = new Random(0);
    copy.#a = this.#a;
    copy.#b = this.#b;
    copy.#c = this.#c;
    copy.#counter = this.#counter;
    copy.#spare = this.#spare;
    return copy;
  }

  /**
   * The state of the sequence: `state`, five f64 values. A generator that loads it continues with
   * the same numbers.
   */
  stateDict(): StateDict {
    return readState(this.stateSlots());
  }

  /**
   * Takes a state: all of it, or after an error nothing.
   *
   * @param state what `stateDict` returned
   * @throws ERR_STATE for anything but such a state
   */
  loadStateDict(state: StateDict): void {
    writeState('Random', this.stateSlots(), state);
  }

  /** @internal Four words, and the normal value that is left of a pair; NaN where none is. */
  stateSlots(): StateSlots {
    const state = {
      shape: [5],
      read: () => Float64Array.of(this.#a | 0, this.#b | 0, this.#c | 0, this.#counter, this.#spare ?? Number.NaN),
      refuse: (values: ArrayLike<number>) =>
        [0, 1, 2, 3].every((i) => values[i] === (values[i] | 0)) ? undefined : 'four integers of 32 bits and a number',
      write: (values: ArrayLike<number>) => {
        [this.#a, this.#b, this.#c, this.#counter] = [values[0], values[1], values[2], values[3]];
        this.#spare = Number.isNaN(values[4]) ? undefined : values[4];
      },
    };
    return { state };
  }

  /** Uniform in [0, 1). */
  uniform(): number {
    return this.bits() / 2 ** 32;
  }

  /** Normal with mean 0 and standard deviation 1 (Marsaglia's polar method). */
  normal(): number {
    if (this.#spare !== undefined) {
      const spare = this.#spare;
      this.#spare = undefined;
      return spare;
    }
    for (;;) {
      const u = 2 * this.uniform() - 1;
      const v = 2 * this.uniform() - 1;
      const square = u * u + v * v;
      if (square >= 1 || square === 0) continue;
      const scale = Math.sqrt((-2 * Math.log(square)) / square);
      this.#spare = v * scale;
      return u * scale;
    }
  }

  /**
   * The integers below `length` in random order (Fisher & Yates).
   *
   * @param length how many, an integer of 0 or more
   */
  permutation(length: number): Uint32Array {
    const order = Uint32Array.from({ length }, (_, i) => i);
    for (let i = length - 1; i > 0; i--) {
      const j = Math.floor(this.uniform() * (i + 1));
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  }
}
