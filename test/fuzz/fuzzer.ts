// What every fuzzer is: cases, each worked out from its seed alone.

export interface Options {
  /** Only subjects or files whose name has this in it. */
  readonly only: string;
  /** HDF5 files too, whose library is not ours. */
  readonly keras: boolean;
}

/** A fuzzer that has its subjects ready. */
export interface Trial {
  /** What was done so many times: `mutations of 31 files`. */
  readonly of: string;
  /**
   * What went wrong with the case of this seed, with what reproduces it; undefined if nothing
   * did. `keep`: whatever it is made of is left.
   */
  run(seed: number, keep: boolean): string | undefined | Promise<string | undefined>;
  /** Is it time for another process? */
  spent?(): boolean;
}

export interface Fuzzer {
  /** One line for `--list`. */
  readonly about: string;
  /** Flags of Node for the process in which cases run. */
  readonly flags?: readonly string[];
  /** Environment of that process. */
  readonly env?: Readonly<Record<string, string>>;
  prepare(options: Options): Trial | Promise<Trial>;
}
