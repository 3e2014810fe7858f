// Schedules of the learning rate. A schedule is a function of the step, over the rates of an
// optimizer or of another schedule; what it remembers is the step and the rates it began with.

import { show, wrongKind, wrongMoment, wrongValue } from '../../errors.ts';
import { readState, type StateSlots, writeState } from '../../layers/state.ts';
import {
  choice,
  integer,
  number,
  type Option,
  option,
  optional,
  readSchema,
  type Schema,
} from '../../named-options.ts';
import type { StateDict } from '../../types.ts';
import { Optimizer } from './optimizer.ts';

/** What a schedule says for a step: the rate of each group, and a momentum where it sets one. */
interface Rates {
  readonly lr: readonly number[];
  readonly momentum?: number;
}

/** An optimizer, or a schedule to put another one around. */
export type Scheduled = Optimizer | Schedule;

/** Momentum, or the weight of the first average, of a group. */
type Momentum = { momentum?: number; betas?: readonly [number, number] };

/**
 * What schedules have in common. A schedule around an optimizer sets its rates for step 0 at once;
 * each `step()`, after `optimizer.step()`, sets those of the next step. A schedule around another
 * schedule takes its rates as the base, and steps it:
 *
 *     const schedule = new WarmUp(new CosineLR(optimizer, { steps: 900 }), { steps: 100 });
 *     …; optimizer.step(); schedule.step();
 */
export abstract class Schedule {
  /** The class's name, also where the library was minified. */
  static readonly name: string = 'Schedule';
  /** What errors call the schedule: `CosineLR`. */
  readonly subject: string;
  readonly #optimizer: Optimizer;
  readonly #inner: Schedule | undefined;
  /** The rates of an optimizer's groups when the schedule was made. */
  #base: readonly number[];
  #steps = 0;
  #outer: string | undefined;

  constructor(subject: string, over: Scheduled) {
    const isSchedule = over instanceof Schedule;
    if (!isSchedule && !(over instanceof Optimizer))
      throw wrongKind('ERR_TYPE', subject, 'over', 'an optimizer or a schedule', show(over));
    if (isSchedule) over.#checkFree('new schedule');
    this.subject = subject;
    this.#optimizer = isSchedule ? over.#optimizer : over;
    this.#inner = isSchedule ? over : undefined;
    this.#base = isSchedule ? over.#base : over.groups.map(({ lr }) => lr);
  }

  /** @internal At the end of a constructor, when nothing can fail any more. */
  protected begin(): void {
    if (this.#inner) this.#inner.#outer = this.subject;
    this.#apply();
  }

  /** Steps so far. */
  get steps(): number {
    return this.#steps;
  }

  /** The rate of the first group for this step. */
  get lr(): number {
    return this.ratesAt(this.#steps)[0];
  }

  /**
   * The rates of the groups at a step, without setting them: for a plot.
   *
   * @param step a whole number of 0 or more
   * @throws ERR_OPTION for anything but a whole number of 0 or more
   */
  ratesAt(step: number): readonly number[] {
    if (!Number.isSafeInteger(step) || step < 0)
      throw wrongValue('ERR_OPTION', this.subject, 'step', 'a whole number of 0 or more', show(step));
    return this.at(step).lr;
  }

  /**
   * Goes on by one step and sets the rates of the optimizer. @throws ERR_MODE for a schedule that
   * another was made around, which drives it
   */
  step(): void {
    this.#checkFree('step');
    this.#steps++;
    this.#apply();
  }

  /**
   * Copies of `steps` and of the rates it began with, `base`. Settings are the program's, not the
   * state's.
   */
  stateDict(): StateDict {
    return readState(this.#slots());
  }

  /**
   * Takes a state, and sets the rates of the optimizer for its step: all of it, or after an error
   * nothing.
   *
   * @param state what `stateDict` returned
   * @throws ERR_STATE for NaN, a step that is no whole number, another number of groups; ERR_MODE
   *   for a schedule that another was made around
   */
  loadStateDict(state: StateDict): void {
    this.#checkFree('loadStateDict');
    writeState(this.subject, this.#slots(), state);
    this.#apply();
  }

  /** @internal What holds at a step. */
  protected abstract at(step: number): Rates;

  /** @internal What holds at a step of what the schedule was made around. */
  protected inner(step: number): Rates {
    return this.#inner ? this.#inner.at(step) : { lr: this.#base };
  }

  /** @internal The groups that it sets. */
  protected get groups(): readonly Momentum[] {
    return this.#optimizer.groups as readonly Momentum[];
  }

  #apply(): void {
    const { lr, momentum } = this.at(this.#steps);
    this.#optimizer.groups.forEach((group, i) => {
      group.lr = lr[i];
      if (momentum !== undefined) setMomentum(group as Momentum, momentum);
    });
  }

  #checkFree(argument: string): void {
    if (this.#outer)
      throw wrongMoment(
        'ERR_MODE',
        this.subject,
        argument,
        `the schedule around it, ${this.#outer}`,
        'a call of its own',
      );
  }

  #rebase(base: readonly number[]): void {
    this.#base = base;
    if (this.#inner) this.#inner.#rebase(base);
  }

  #slots(): StateSlots {
    return {
      steps: {
        shape: [],
        read: () => Float64Array.of(this.#steps),
        refuse: (values) =>
          Number.isSafeInteger(values[0]) && values[0] >= 0 ? undefined : 'a whole number of 0 or more',
        write: (values) => {
          this.#steps = values[0];
        },
      },
      base: {
        shape: [this.#base.length],
        read: () => Float64Array.from(this.#base),
        refuse: (values) =>
          Array.from(values).every((rate) => rate >= 0 && rate < Number.POSITIVE_INFINITY)
            ? undefined
            : 'finite numbers of 0 or more',
        write: (values) => this.#rebase(Array.from(values)),
      },
    };
  }
}

function setMomentum(group: Momentum, momentum: number): void {
  if (group.betas) group.betas = [momentum, group.betas[1]];
  else group.momentum = momentum;
}

/** A number of steps, 1 or more. */
const steps = (): Option<number> => integer(1);

/** A number between bounds. */
const within = (standard: number, least: number, most?: number): Option<number> =>
  option(standard, (subject, name, value) => checkWithin(subject, name, value, least, most));

/** Checks a number between bounds. */
function checkWithin(subject: string, argument: string, value: unknown, least: number, most = Number.MAX_VALUE): void {
  if (typeof value === 'number' && value >= least && value <= most) return;
  const expected =
    most === Number.MAX_VALUE ? `a finite number of ${least} or more` : `a number from ${least} to ${most}`;
  throw wrongValue('ERR_OPTION', subject, argument, expected, show(value));
}

/** Options of `StepLR`. */
export interface StepLROptions {
  /** Steps between two falls, 1 or more. */
  stepSize: number;
  /** Factor of each fall, 0 or more. Default 0.1. */
  factor?: number;
}

/**
 * The base rate in steps, as torch.optim.lr_scheduler.StepLR:
 *
 *   lr(t) = base·factor^⌊t/stepSize⌋
 *
 *     const schedule = new StepLR(optimizer, { stepSize: 30, factor: 0.1 });
 */
export class StepLR extends Schedule {
  static override readonly name: string = 'StepLR';
  /** Steps between two falls. */
  readonly stepSize: number;
  /** Factor of each fall. */
  readonly factor: number;

  /**
   * @param over the optimizer, or the schedule whose rates are the base
   * @param options see `StepLROptions`
   * @throws ERR_OPTION, ERR_TYPE, ERR_MODE. The optimizer's rate is then as it was
   */
  constructor(over: Scheduled, options: StepLROptions) {
    super('StepLR', over);
    const { stepSize, factor } = readSchema('StepLR', options, { stepSize: steps(), factor: within(0.1, 0) });
    this.stepSize = stepSize;
    this.factor = factor;
    this.begin();
  }

  /** @internal */
  protected override at(step: number): Rates {
    const base = this.inner(step);
    const scale = this.factor ** Math.floor(step / this.stepSize);
    return { ...base, lr: base.lr.map((rate) => rate * scale) };
  }
}

/** Options of `CosineLR`. */
export interface CosineLROptions {
  /** Steps from the base rate to the least one, 1 or more. */
  steps: number;
  /** The least rate, 0 or more. Default 0. */
  min?: number;
}

/**
 * From the base rate to `min` along half a cosine (Loshchilov & Hutter 2017), as
 * torch.optim.lr_scheduler.CosineAnnealingLR within its T_max:
 *
 *   lr(t) = min + (base − min)·(1 + cos(π·t/steps))/2, then min
 *
 *     const schedule = new CosineLR(optimizer, { steps: 1000 });
 */
export class CosineLR extends Schedule {
  static override readonly name: string = 'CosineLR';
  /** Steps from the base rate to `min`. */
  readonly totalSteps: number;
  /** The least rate. */
  readonly min: number;

  /**
   * @param over the optimizer, or the schedule whose rates are the base
   * @param options see `CosineLROptions`
   * @throws ERR_OPTION, ERR_TYPE, ERR_MODE. The optimizer's rate is then as it was
   */
  constructor(over: Scheduled, options: CosineLROptions) {
    super('CosineLR', over);
    const { steps: total, min } = readSchema('CosineLR', options, { steps: steps(), min: within(0, 0) });
    this.totalSteps = total;
    this.min = min;
    this.begin();
  }

  /** @internal */
  protected override at(step: number): Rates {
    const base = this.inner(step);
    const { min, totalSteps } = this;
    const share = step < totalSteps ? (1 + Math.cos((Math.PI * step) / totalSteps)) / 2 : 0;
    return { ...base, lr: base.lr.map((rate) => min + (rate - min) * share) };
  }
}

/** Options of `WarmUp`. */
export interface WarmUpOptions {
  /** Steps until the base rate is reached, 1 or more. */
  steps: number;
  /** Share of the base rate to begin with, 0 to 1. Default 1/3. */
  start?: number;
}

/**
 * From a share of the base rate to all of it in a straight line, as
 * torch.optim.lr_scheduler.LinearLR:
 *
 *   lr(t) = base·(start + (1 − start)·t/steps), then base
 *
 * A schedule that it is made around begins behind it, at its step 0, as with SequentialLR.
 *
 *     const schedule = new WarmUp(new CosineLR(optimizer, { steps: 900 }), { steps: 100 });
 */
export class WarmUp extends Schedule {
  static override readonly name: string = 'WarmUp';
  /** Steps until the base rate is reached. */
  readonly totalSteps: number;
  /** The share of the base rate at step 0. */
  readonly start: number;

  /**
   * @param over the optimizer, or the schedule whose rates are the base
   * @param options see `WarmUpOptions`
   * @throws ERR_OPTION, ERR_TYPE, ERR_MODE. The optimizer's rate is then as it was
   */
  constructor(over: Scheduled, options: WarmUpOptions) {
    super('WarmUp', over);
    const { steps: total, start } = readSchema('WarmUp', options, { steps: steps(), start: within(1 / 3, 0, 1) });
    this.totalSteps = total;
    this.start = start;
    this.begin();
  }

  /** @internal */
  protected override at(step: number): Rates {
    const { start, totalSteps } = this;
    if (step >= totalSteps) return this.inner(step - totalSteps);
    const base = this.inner(0);
    const share = start + (1 - start) * (step / totalSteps);
    return { ...base, lr: base.lr.map((rate) => rate * share) };
  }
}

/** Options of `OneCycle`. */
export interface OneCycleOptions {
  /** The largest rate, above 0: of every group. Default: the base rate of each. */
  max?: number;
  /** Steps of the cycle, 2 or more. */
  steps: number;
  /** Share of the steps in which the rate rises, above 0 and below 1. Default 0.3. */
  rise?: number;
  /** `'cos'` or `'linear'`. Default `'cos'`. */
  anneal?: 'cos' | 'linear';
  /** The first rate is max/div, 1 or more. Default 25. */
  div?: number;
  /** The last rate is max/(div·finalDiv), 1 or more. Default 1e4. */
  finalDiv?: number;
  /**
   * Least and largest momentum (of Adam, β₁), each above 0 and below 1: it falls while the rate
   * rises, and the other way round. Default: momentum stays as it is; PyTorch's is [0.85, 0.95].
   */
  momentum?: readonly [number, number];
}

type OneCycleSettings = Required<Omit<OneCycleOptions, 'max' | 'momentum'>> & Pick<OneCycleOptions, 'max' | 'momentum'>;

const oneCycleSchema = (): Schema<OneCycleSettings> => ({
  max: optional(number(1, 'a finite number above 0', (value) => value > 0 && Number.isFinite(value))),
  steps: integer(2),
  rise: number(0.3, 'a number above 0 and below 1', (value) => value > 0 && value < 1),
  anneal: choice('cos', ['cos', 'linear']),
  div: within(25, 1),
  finalDiv: within(1e4, 1),
  momentum: {
    standard: undefined,
    read(subject, name, value) {
      const pair = Array.isArray(value) ? Array.from(value) : [];
      if (pair.length !== 2 || !pair.every((one) => typeof one === 'number' && one > 0 && one < 1)) {
        throw wrongValue('ERR_OPTION', subject, name, 'two numbers above 0 and below 1', show(value));
      }
      return [pair[0], pair[1]];
    },
  },
});

/**
 * One cycle (Smith & Topin 2018), as torch.optim.lr_scheduler.OneCycleLR with two phases: with r =
 * rise·steps − 1 the rate goes from max/div at step 0 to max at step r, then to max/(div·finalDiv)
 * at step steps − 1, where it stays.
 *
 *     const schedule = new OneCycle(optimizer, { max: 0.1, steps: 1000, momentum: [0.85, 0.95] });
 */
export class OneCycle extends Schedule {
  static override readonly name: string = 'OneCycle';
  readonly #options: OneCycleSettings;

  /**
   * @param over the optimizer, or the schedule whose rates are the base
   * @param options see `OneCycleOptions`
   * @throws ERR_OPTION, ERR_TYPE, ERR_MODE. The optimizer's rate is then as it was
   */
  constructor(over: Scheduled, options: OneCycleOptions) {
    super('OneCycle', over);
    const read = readSchema('OneCycle', options, oneCycleSchema());
    const { steps, rise, momentum } = read;
    const fail = (argument: string, expected: string, got: unknown) =>
      wrongValue('ERR_OPTION', 'OneCycle', argument, expected, show(got));
    if (rise * steps <= 1) throw fail('rise', `more than 1 of ${steps} steps`, rise);
    const isTaken = ({ momentum, betas }: Momentum) => momentum !== undefined || betas !== undefined;
    if (momentum && !this.groups.every(isTaken)) throw fail('momentum', 'an optimizer that has one', momentum);
    this.#options = read;
    this.begin();
  }

  /** @internal */
  protected override at(step: number): Rates {
    const { max, steps, rise, anneal, div, finalDiv, momentum } = this.#options;
    const base = this.inner(step);
    const end = steps - 1;
    const top = rise * steps - 1;
    const isRising = step <= top;
    const part = isRising ? step / top : Math.min((step - top) / (end - top), 1);
    const share = anneal === 'linear' ? part : (1 - Math.cos(Math.PI * part)) / 2;
    const between = (from: number, to: number) => from + (to - from) * share;
    const lr = base.lr.map((rate) => {
      const most = max ?? rate;
      return isRising ? between(most / div, most) : between(most, most / div / finalDiv);
    });
    if (!momentum) return { ...base, lr };
    const [low, high] = momentum;
    return { lr, momentum: isRising ? between(high, low) : between(low, high) };
  }
}
