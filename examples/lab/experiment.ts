// What an experiment is: a question, how it is asked, figures, and a verdict that is made of the
// figures.

import type { Series } from '../digits/chart.ts';
import type { Digits } from '../digits/digits.ts';

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

export interface Figure {
  readonly title: string;
  readonly series: readonly Series[];
  readonly xLabel: string;
  readonly yLabel: string;
  readonly xTicks?: readonly (readonly [x: number, label: string])[];
  readonly yRange?: readonly [number, number];
}

/** Numbers to be read one by one. */
export interface Table {
  readonly title: string;
  readonly heads: readonly string[];
  readonly rows: readonly (readonly (string | number)[])[];
}

export interface Result {
  readonly figures: readonly Figure[];
  readonly tables?: readonly Table[];
  /** One sentence, worked out from the figures. */
  readonly verdict: string;
  /** Is the claim true of these figures? */
  readonly holds: boolean;
}

/** What an experiment is given. */
export interface Lab {
  readonly digits: { readonly train: Digits; readonly test: Digits };
  readonly seeds: readonly number[];
  /** Share of the steps of a whole run. */
  readonly share: number;
  readonly controls: Partial<Controls>;
  /** Tells how far it is; whoever shows it may wait here, and stop by throwing. */
  show(text: string, done?: number): Promise<void>;
}

export interface Experiment {
  /** `npm run lab -- NAME` */
  readonly name: string;
  readonly title: string;
  readonly question: string;
  /** What is done, for whoever wants to do it again. */
  readonly setup: string;
  readonly controls?: readonly (keyof Controls)[];
  run(lab: Lab): Promise<Result>;
}
