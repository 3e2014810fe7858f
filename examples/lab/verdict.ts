// What a run says of its claim.

import { type Text, t } from './words.ts';

/** Seeds that nothing was tuned with: a claim has to hold in four of five, each alone. */
export const UNSEEN = [101, 102, 103, 104, 105];
export const ENOUGH = 4;

/** In a word; figures of a clock are not judged. */
export const judged = (holds: boolean | undefined): Text =>
  holds === undefined ? t`Figures, not judged.` : holds ? t`Holds.` : t`Not seen here.`;

/** Does a claim hold, now that further seeds were tried? */
export const afterCheck = (holds: boolean | undefined, held: number): boolean | undefined =>
  holds === undefined ? undefined : holds && held >= ENOUGH;
