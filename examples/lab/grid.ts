// Nets with and without batch norm over a grid of something.

import type { Digits } from '../digits/digits.ts';
import type { Activation, Curve, Norm } from './experiment.ts';
import { buildNet, evaluate, firstOf, trainOn } from './training.ts';
import { t } from './words.ts';

export interface Outcome {
  /** Mean loss of the last steps; infinite where it stopped being finite. */
  readonly loss: number;
  readonly accuracy: number;
  /** Steps until nine of ten held-out digits were recognised; undefined: never. */
  readonly reached: number | undefined;
}

export async function outcomeOf(
  { train, test }: { train: Digits; test: Digits },
  options: {
    seed: number;
    norm: Norm;
    scale?: number;
    rate: number;
    steps: number;
    batch?: number;
    activation?: Activation;
    depth?: number;
  },
): Promise<Outcome> {
  const { seed, norm, scale, rate, steps, batch = 60, activation, depth } = options;
  const net = buildNet({ seed, norm, scale, activation, depth });
  const losses: number[] = [];
  const look = firstOf(test, 500);
  let reached: number | undefined;
  await trainOn(net, train, { steps, size: batch, lr: rate, seed, stays: true }, (step, loss) => {
    losses.push(loss);
    if (reached === undefined && step % 10 === 0 && evaluate(net, look).accuracy >= 0.9) reached = step;
  });
  const tail = losses.slice(-Math.max(1, Math.floor(steps / 10)));
  const mean = tail.reduce((a, b) => a + b, 0) / tail.length;
  const { accuracy } = evaluate(net, test);
  net.dispose();
  return { loss: Number.isFinite(mean) ? mean : Number.POSITIVE_INFINITY, accuracy, reached };
}

export const BOTH = [
  { norm: 'batch', label: t`with batch norm`, tone: 'a' },
  { norm: 'none', label: t`without`, tone: 'b', stroke: 'dashed' },
] as const;

/** A curve with batch norm and one without. */
export function compared(curveOf: (norm: 'batch' | 'none') => Pick<Curve, 'x' | 'y' | 'band'>): Curve[] {
  return BOTH.map(({ norm, ...line }) => ({ ...line, ...curveOf(norm) }));
}
