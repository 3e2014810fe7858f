// Steps in linear memory: weights packed once, and memory for every value for as long as it lives.

import type { Backend } from '../kernels/create-backend.ts';
import { Region } from '../tensors/block.ts';
import type { Steps } from './program.ts';

/** Steps over weights in memory of their own. */
export interface Loaded extends Steps {
  /** Where each step's vectors and packed weights lie. */
  readonly at: readonly number[];
  readonly memory: Region;
  /** Memory of values, and when it is in use. */
  readonly lives: readonly Life[];
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
  return { ...program, at, memory, lives: livesOf(program, inputs) };
}

/** A piece of memory for one value, or for several of which each is written over the one before. */
export interface Life {
  /** Numbers of the values. */
  readonly values: number[];
  /** The step that writes it first, and the last one that reads it. */
  readonly from: number;
  to: number;
}

/**
 * The lives of all values that are not the caller's, as inputs and outputs of the network are. A
 * value that is read for the last time by an operation which can write over it gives its memory to
 * the result.
 */
function livesOf({ steps, outputs }: Steps, inputs: number): Life[] {
  const last: number[] = [];
  steps.forEach((step, i) => {
    for (const value of step.inputs) last[value] = i;
  });
  const lives: Life[] = [];
  const lifeOf: (Life | undefined)[] = new Array(inputs);
  const given = new Set(outputs);
  steps.forEach(({ runner, inputs: from }, i) => {
    const value = inputs + i;
    if (given.has(value) || runner.isStored) return;
    // a value that the operation reads in another place as well may be one that it must not write
    // over
    const over = runner.overwrites.find(
      (place) =>
        last[from[place]] === i && from.every((other, k) => other !== from[place] || runner.overwrites.includes(k)),
    );
    let life = over === undefined ? undefined : lifeOf[from[over]];
    if (life) life.values.push(value);
    else lives.push((life = { values: [value], from: i, to: i }));
    life.to = last[value] ?? i;
    lifeOf[value] = life;
  });
  return lives;
}

/** Bytes between neighbours, so that they do not fall on the same sets of the first cache. */
const APART = 64;

/** A piece of memory and the steps during which it is in use. */
interface Piece {
  readonly bytes: number;
  readonly from: number;
  readonly to: number;
}

/**
 * Places for pieces in one memory, and its size: the largest first, each where it fits lowest
 * between those that are in use at the same time (Pisarchyk and Lee, Efficient memory management
 * for deep neural net inference, 2020: greedy by size).
 */
export function arrange(pieces: readonly Piece[]): { offsets: number[]; bytes: number } {
  const offsets: number[] = [];
  /** In the order of their places. */
  const placed: number[] = [];
  let bytes = 0;
  for (const i of [...pieces.keys()].sort((a, b) => pieces[b].bytes - pieces[a].bytes)) {
    const piece = pieces[i];
    let at = 0;
    for (const k of placed) {
      const other = pieces[k];
      if (other.to < piece.from || piece.to < other.from) continue;
      if (offsets[k] >= at + piece.bytes) break;
      at = Math.max(at, offsets[k] + other.bytes - (other.bytes % APART) + 2 * APART);
    }
    offsets[i] = at;
    const behind = placed.findIndex((k) => offsets[k] > at);
    placed.splice(behind < 0 ? placed.length : behind, 0, i);
    bytes = Math.max(bytes, at + piece.bytes);
  }
  return { offsets, bytes };
}
