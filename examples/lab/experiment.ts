// What an experiment is: a question, a claim that answers it, how it is tried, figures, and a
// verdict that is made of the figures.

import type { Series } from '../digits/chart.ts';
import type { Digits } from '../digits/digits.ts';
import type { Text, Value } from './words.ts';

export type Norm = 'none' | 'batch' | 'renorm' | 'layer' | 'group';
export type Activation = 'tanh' | 'sigmoid' | 'relu';

/** What may be turned while an experiment is looked at; each says which of them it minds. */
export interface Controls {
  /** Initial weights: standard deviation times √inputs. */
  scale: number;
  /** Learning rate. */
  rate: number;
  /** Samples of a batch. */
  batch: number;
  norm: Norm;
  activation: Activation;
  /** Hidden layers. */
  depth: number;
}

/** A curve of a figure; its label is a text until it is shown. */
export type Curve<W = Value> = Omit<Series, 'label'> & { readonly label: W };

export interface Figure<W = Value> {
  readonly title: W;
  readonly series: readonly Curve<W>[];
  readonly xLabel: W;
  readonly yLabel: W;
  readonly xTicks?: readonly (readonly [x: number, label: W])[];
  readonly yRange?: readonly [number, number];
  /** Bars from 0, instead of lines. */
  readonly isBars?: boolean;
}

/** Numbers to be read one by one. */
export interface Table<W = Value> {
  readonly title: W;
  readonly heads: readonly W[];
  readonly rows: readonly (readonly (W | number)[])[];
}

export interface Result<W = Value> {
  /** What was done in this run, for whoever wants to do it again. */
  readonly setup: W;
  readonly figures: readonly Figure<W>[];
  readonly tables?: readonly Table<W>[];
  /** One sentence, worked out from the figures. */
  readonly verdict: W;
  /** Is the claim true of these figures? Undefined: the figures are of a clock, and not judged. */
  readonly holds: boolean | undefined;
}

/** What an experiment is given. */
export interface Lab {
  readonly digits: { readonly train: Digits; readonly test: Digits };
  readonly seeds: readonly number[];
  /** Share of the steps of a whole run. */
  readonly share: number;
  readonly controls: Partial<Controls>;
  /** Tells how far it is; whoever shows it may wait here, and stop by throwing. */
  show(text: Value, done?: number): Promise<void>;
}

export interface Experiment {
  /** `npm run lab -- NAME` */
  readonly name: string;
  readonly title: Text;
  readonly question: Text;
  /** What is said of batch norm; a run finds that it holds, or does not see it. */
  readonly claim: Text;
  /** What may be set, with the value that stands if nothing is. */
  readonly controls?: Partial<Controls>;
  run(lab: Lab): Promise<Result>;
}
