// What the page and its worker say to each other. Texts are put into words by the page.

import type { Scene, Settings } from '../duel.ts';
import type { Controls, Result } from '../experiment.ts';
import type { Text, Value } from '../words.ts';

export type ToWorker =
  | { readonly do: 'run'; readonly name: string; readonly seed: number; readonly controls: Partial<Controls> }
  /** `isStill`: only the end is shown. */
  | { readonly do: 'duel'; readonly settings: Settings; readonly isStill: boolean }
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
  readonly neuron: readonly { readonly stage: Text; readonly values: readonly number[] }[];
}

export type FromWorker =
  | { readonly tell: 'ready' }
  | { readonly tell: 'progress'; readonly text: Value }
  | { readonly tell: 'live'; readonly live: Live }
  | { readonly tell: 'scene'; readonly scene: Scene; readonly isDone: boolean }
  /** `trained` and `held`: how many digits there are in the page. */
  | { readonly tell: 'result'; readonly result: Result; readonly trained: number; readonly held: number }
  | { readonly tell: 'error'; readonly message: string };
