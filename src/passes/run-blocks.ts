// Where the statistics and coefficients of a pass' runs lie between forward and backward.

import type { Heap } from '../wasm/memory.ts';
import { reserveTraining, type Training } from './coefficients.ts';

/** Mean and variance of each channel: views, valid until the next `alloc`. */
export interface RunMoments {
  readonly mean: Float64Array;
  readonly variance: Float64Array;
}

/** Learned scale and shift. */
export interface Scaling {
  readonly gamma?: Float32Array;
  readonly beta?: Float32Array;
}

/**
 * Runs with a block each. More runs than this share one block, so that a pass over many small runs
 * (group norm of many rows) takes memory in proportion to them: mean and variance of each are kept,
 * coefficients are worked out again when the run is come back to.
 */
const MOST_BLOCKS = 64;

/** Blocks for the runs of a pass. They share the room for sums. */
export class RunBlocks {
  readonly #heap: Heap;
  readonly #channels: number;
  readonly #blocks: Training[] = [];
  /** Mean and variance of every run, where runs share a block; else empty. */
  #kept = new Float64Array(0);
  #isShared = false;
  /** Scale and shift as they were in the pass, where runs share a block. */
  #scaling: Scaling = {};

  constructor(heap: Heap, channels: number) {
    this.#heap = heap;
    this.#channels = channels;
  }

  /** Makes room for so many runs of a pass with this scale and shift. */
  reserve(runs: number, { gamma, beta }: Scaling = {}): void {
    const isShared = runs > MOST_BLOCKS;
    const many = isShared ? 1 : runs;
    while (this.#blocks.length < many) {
      this.#blocks.push(reserveTraining(this.#heap, this.#channels, this.#blocks[0]));
    }
    // behind what may fail
    this.#isShared = isShared;
    const values = isShared ? 2 * runs * this.#channels : 0;
    if (this.#kept.length !== values) this.#kept = new Float64Array(values);
    if (isShared) this.#scaling = { gamma: gamma?.slice(), beta: beta?.slice() };
  }

  /** The block in which a run is worked on. */
  at(run: number): Training {
    return this.#blocks[this.#isShared ? 0 : run];
  }

  /** Keeps mean and variance of a run, now in its block. */
  keep(run: number): void {
    if (!this.#isShared) return;
    this.#copy(this.#blocks[0].views(), this.moments(run));
  }

  /**
   * Brings mean and variance of a run back to its block. Returns the scale and shift by which its
   * coefficients are to be worked out again; undefined where they are still there.
   */
  recall(run: number): Scaling | undefined {
    if (!this.#isShared) return undefined;
    this.#copy(this.moments(run), this.#blocks[0].views());
    return this.#scaling;
  }

  /** Mean and variance of a run that was kept. */
  moments(run: number): RunMoments {
    if (!this.#isShared) return this.#blocks[run].views();
    const [mean, variance] = [2 * run, 2 * run + 1].map((i) => i * this.#channels);
    return {
      mean: this.#kept.subarray(mean, variance),
      variance: this.#kept.subarray(variance, variance + this.#channels),
    };
  }

  #copy({ mean, variance }: RunMoments, to: RunMoments): void {
    to.mean.set(mean);
    to.variance.set(variance);
  }

  /** Gives the memory back; the blocks can be reserved again. */
  release(): void {
    for (const block of this.#blocks.splice(0)) block.release();
    this.#kept = new Float64Array(0);
  }
}
