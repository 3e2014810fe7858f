// Where the time of a compiled network goes.

import { show, wrongValue } from '../errors.ts';
import { checkNames } from '../named-options.ts';
import type { TensorLike } from '../tensors/tensor.ts';
import { type StepPlan, tableOf } from './explain.ts';
import type { Compiled, Named, Watch } from './run.ts';

/** A step, and how long it takes. */
export interface StepProfile extends StepPlan {
  /** The median of all runs, in milliseconds. */
  readonly ms: number;
  /** Of the time of all steps, from 0 to 1. */
  readonly share: number;
}

/** What a network was measured to take: as a table where it is made a text, and plain data. */
export interface Profile {
  /** Each step in its place. */
  readonly steps: readonly StepProfile[];
  /** Milliseconds of a whole run: the median. */
  readonly ms: number;
  /** How many runs were measured. */
  readonly runs: number;
  /** A table. */
  toString(): string;
}

const now = () => (globalThis as unknown as { performance: { now(): number } }).performance.now();

function medianOf(times: readonly number[]): number {
  const sorted = [...times].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? 0;
}

export function profileOf(
  run: Compiled,
  watch: Watch,
  x: TensorLike | Named<TensorLike>,
  options: { runs?: number },
  planOf: () => readonly StepPlan[],
): Profile {
  checkNames('profile', options, ['runs']);
  const { runs = 20 } = options;
  if (!Number.isInteger(runs) || runs < 1) {
    throw wrongValue('ERR_OPTION', 'profile', 'runs', 'an integer of 1 or more', show(runs));
  }
  const once = () => {
    const y = run(x as TensorLike) as unknown;
    // results that lie in linear memory are not waited for
    for (const one of 'dispose' in (y as object) ? [y] : Object.values(y as object)) {
      (one as { dispose?(): void }).dispose?.();
    }
  };
  for (let i = 0; i < Math.min(runs, 3); i++) once();
  const plan = planOf();
  const times: number[][] = plan.map(() => []);
  const whole: number[] = [];
  watch.each = (step, call) => {
    const start = now();
    call();
    times[step]?.push(now() - start);
  };
  try {
    for (let i = 0; i < runs; i++) {
      const start = now();
      once();
      whole.push(now() - start);
    }
  } finally {
    watch.each = undefined;
  }
  const medians = times.map(medianOf);
  const sum = medians.reduce((a, b) => a + b, 0) || 1;
  const steps = plan.map((one, i) => ({ ...one, ms: medians[i], share: medians[i] / sum }));
  const ms = medianOf(whole);
  // a method of the prototype: JSON has none of it
  return Object.assign(Object.create({ toString: () => textOf(steps, ms, runs) }), { steps, ms, runs }) as Profile;
}

function textOf(steps: readonly StepProfile[], ms: number, runs: number): string {
  const rows = steps.map(({ step, layers, shape, multiplyAdds, ms: own, share }, i) => {
    const rate = own > 0 && multiplyAdds > 0 ? (multiplyAdds / own / 1e6).toFixed(2) : '';
    return [`${i}`, step, layers, shape.join('×'), own.toFixed(3), (100 * share).toFixed(1), rate];
  });
  const head = ['', 'step', 'made of', 'shape', 'ms', '%', '10^9 multiply-adds/s'];
  const around = Math.max(0, ms - steps.reduce((sum, step) => sum + step.ms, 0));
  const rest = ['', 'around the steps: checks, copies', '', '', around.toFixed(3), '', ''];
  const totals = ['', `in all, median of ${runs} runs`, '', '', ms.toFixed(3), '', ''];
  return tableOf([head, ...rows, rest, totals], [0, 4, 5, 6]).join('\n');
}
