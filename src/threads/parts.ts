import { isVector, type Row, type Sizes } from '../kernels/row.ts';

/**
 * Work of one part at the most: a few milliseconds, so that a thread that comes late finds
 * something left to do.
 */
const MOST_WORK = 1 << 22;
export const MOST_PARTS = 64;

/** A call's arguments, part by part. */
export type Parts = readonly (readonly number[])[];

const WHOLE: Parts = [];

/**
 * Cuts one kernel's calls into parts, from what its row in the table says. Remembers the last call:
 * programs repeat themselves.
 */
export class Cutter {
  readonly #row: Row;
  readonly #along: number;
  /** Where the sizes stand whose product is the work. */
  readonly #work: readonly number[];
  readonly #last: number[] = [];
  #parts: Parts = WHOLE;

  constructor(row: Row) {
    this.#row = row;
    const place = (name: string) => row.args.findIndex((arg) => arg.name === name);
    this.#along = place(row.split!.along);
    this.#work = row.split!.work.map(place);
  }

  /** The parts of a call with these arguments; none if it is better not cut. */
  cut(values: readonly number[], threads: number): Parts {
    const { least, most = Number.POSITIVE_INFINITY } = this.#row.split!;
    let amount = 1;
    for (const at of this.#work) amount *= values[at];
    if (!(amount >= least && amount <= most)) return WHOLE;
    const last = this.#last;
    let same = last.length === values.length;
    for (let i = 0; same && i < values.length; i++) same = values[i] === last[i];
    if (!same) {
      last.length = 0;
      last.push(...values);
      this.#parts = this.#cut(values, threads, amount);
    }
    return this.#parts;
  }

  #cut(values: readonly number[], threads: number, amount: number): Parts {
    const { args } = this.#row;
    const { along, grain: grainOf } = this.#row.split!;
    const sizes: Sizes = {};
    args.forEach((arg, i) => {
      if (!isVector(arg)) sizes[arg.name] = values[i];
    });
    const whole = sizes[along];
    const grain = grainOf(sizes);
    const units = Math.ceil(whole / grain);
    const many = Math.min(Math.max(threads, Math.ceil(amount / MOST_WORK)), MOST_PARTS, units);
    if (many < 2) return WHOLE;
    const border = (part: number) => Math.min(Math.floor((part * units) / many) * grain, whole);
    return Array.from({ length: many }, (_, part) => {
      const from = border(part);
      const until = part + 1 === many ? whole : border(part + 1);
      const at = { ...sizes, [along]: from };
      const origin = { ...sizes, [along]: 0 };
      return args.map((arg, i) => {
        if (!isVector(arg)) return i === this.#along ? until - from : values[i];
        const bytes = arg.type === 'f32' ? 4 : 8;
        return values[i] && values[i] + (arg.length(at) - arg.length(origin)) * bytes;
      });
    });
  }
}
