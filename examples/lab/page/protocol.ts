// What the page and its worker say to each other.

import type { Controls, Result } from '../experiment.ts';

export type ToWorker =
  | { readonly do: 'run'; readonly name: string; readonly seed: number; readonly controls: Partial<Controls> }
  | { readonly do: 'pause' | 'resume' };

/** A net while it trains. */
export interface Live {
  readonly step: number;
  readonly loss: number;
  readonly stepsPerSecond: number;
  /** Outputs of the last activation on the last batch, in 20 bins over their range. */
  readonly histogram: readonly number[];
  readonly range: readonly [number, number];
  /**
   * One neuron on the last batch: what its linear layer gave, what batch norm made of it, what its
   * activation made of that.
   */
  readonly neuron: readonly { readonly stage: string; readonly values: readonly number[] }[];
}

export type FromWorker =
  | { readonly tell: 'ready' }
  | { readonly tell: 'progress'; readonly text: string }
  | { readonly tell: 'live'; readonly live: Live }
  | { readonly tell: 'result'; readonly result: Result<string>; readonly judged: string }
  | { readonly tell: 'error'; readonly message: string };
