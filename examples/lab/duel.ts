// Two nets that differ in batch norm alone, trained in turns on the same batches, and one sentence
// about them that is worked out from their figures.

import { ActivationLayer, BatchNorm, Linear, type Sequential, SGD } from 'evenkeel';
import type { Digits } from '../digits/digits.ts';
import type { Controls } from './experiment.ts';
import { batchesOf, buildNet, evaluate, firstOf, live, lookOn, percent, stepOn } from './training.ts';
import { constantUnits, explained, type Trouble, troubleOf } from './trouble.ts';
import { type Text, t } from './words.ts';

/** What may be set; see `Controls`. */
export type Settings = Pick<Controls, 'rate' | 'scale' | 'depth' | 'batch'>;

export const DEFAULTS: Settings = { rate: 0.5, scale: 1, depth: 3, batch: 60 };
export const STEPS = 600;
/** Points of a curve. */
const POINTS = 60;
/** Held-out digits that accuracy is counted on, if there are so many. */
const HELD = 500;
/** Bins of the histogram, over the sigmoid's range. */
export const BINS = 20;
/** Values of one neuron that are shown. */
const SHOWN = 60;
const NEURON = 0;
/** A value nearer than this to 0 or 1 is saturated: there the sigmoid's slope is below 0.02. */
const EDGE = 0.02;
/** A net that recognises fewer has not begun to learn: a tenth is chance. */
const LEARNED = 0.3;
/** Accuracy to which steps are counted. */
const GOAL = 0.8;
/** A smaller difference of accuracies is noise on so few digits. */
const NOISE = 0.03;
/** From this share on a net is called dead. */
const DEAD = 0.5;

export type Stage = 'linear' | 'batch norm' | 'sigmoid';

/** The last hidden layer on the last batch. */
export interface Hidden {
  /** Share of its outputs in each bin. */
  readonly histogram: readonly number[];
  /** Deviation of a unit's outputs over the batch, as a root mean square over the units. */
  readonly spread: number;
  /** Share of its outputs at either end of the sigmoid. */
  readonly saturated: number;
  /** Share of units, of all hidden layers, that give one value for the whole batch. */
  readonly dead: number;
  /** One unit's values, stage by stage. */
  readonly neuron: readonly { readonly stage: Stage; readonly values: readonly number[] }[];
}

/** One of the two nets. */
export interface Side {
  readonly steps: readonly number[];
  /** Mean loss of the steps up to each point. */
  readonly loss: readonly number[];
  /** Share of held-out digits that are recognised. */
  readonly accuracy: readonly number[];
  /** Step at which eight of ten were recognised; undefined: not yet. */
  readonly reached: number | undefined;
  /** Undefined before the first step. */
  readonly hidden: Hidden | undefined;
  /** Where the loss stopped being finite, and why. */
  readonly stopped: { readonly step: number; readonly trouble: Trouble } | undefined;
}

export interface Scene {
  readonly step: number;
  readonly steps: number;
  readonly settings: Settings;
  readonly batch: Side;
  readonly none: Side;
}

/** One net with its curves. */
class Contestant {
  readonly #net: Sequential;
  readonly #optimizer: SGD;
  readonly #look: Digits;
  readonly #curve = { steps: [] as number[], loss: [] as number[], accuracy: [] as number[] };
  #recent: number[] = [];
  #reached: number | undefined;
  #hidden: Hidden | undefined;
  #stopped: Side['stopped'];

  constructor(norm: 'batch' | 'none', { rate, scale, depth }: Settings, seed: number, test: Digits) {
    this.#net = buildNet({ seed, norm, scale, depth, activation: 'sigmoid' });
    this.#optimizer = new SGD(this.#net.parameters(), { lr: rate });
    this.#look = firstOf(test, Math.min(HELD, test.count));
  }

  /** A net whose loss is not finite takes no step any more. */
  step(step: number, { x, labels }: Batch, isPoint: boolean, isSeen: boolean): void {
    if (this.#stopped) return;
    const net = this.#net;
    const loss = stepOn(net, this.#optimizer, net.forward(x), labels);
    if (!Number.isFinite(loss)) {
      this.#stopped = { step, trouble: troubleOf(net, x) };
      return;
    }
    this.#recent.push(loss);
    if (isSeen) {
      lookOn(net, x, step, loss);
      this.#hidden = hiddenOf(net);
    }
    if (!isPoint) return;
    const { steps, loss: losses, accuracy } = this.#curve;
    steps.push(step);
    losses.push(this.#recent.reduce((a, b) => a + b, 0) / this.#recent.length);
    accuracy.push(evaluate(net, this.#look).accuracy);
    this.#recent = [];
    if (accuracy.at(-1)! >= GOAL) this.#reached ??= step;
  }

  get side(): Side {
    const { steps, loss, accuracy } = this.#curve;
    return {
      steps: [...steps],
      loss: [...loss],
      accuracy: [...accuracy],
      reached: this.#reached,
      hidden: this.#hidden,
      stopped: this.#stopped,
    };
  }

  get isStopped(): boolean {
    return this.#stopped !== undefined;
  }

  dispose(): void {
    this.#net.dispose();
  }
}

type Batch = ReturnType<typeof batchesOf> extends Generator<infer T> ? T : never;

/** What the last hidden layer made of the last batch. */
function hiddenOf(net: Sequential): Hidden {
  const outputs = live.outputs(net);
  const [activations, last] = [[] as typeof outputs, [] as typeof outputs];
  for (const output of outputs.slice(0, -1)) {
    if (output.layer instanceof Linear) last.length = 0;
    last.push(output);
    if (output.layer instanceof ActivationLayer) activations.push(output);
  }
  const { data, units } = last.at(-1)!;
  const rows = data.length / units;
  const histogram = new Array<number>(BINS).fill(0);
  let saturated = 0;
  for (const value of data) {
    histogram[Math.min(BINS - 1, Math.floor(value * BINS))] += 1 / data.length;
    if (value < EDGE || value > 1 - EDGE) saturated += 1 / data.length;
  }
  let variance = 0;
  for (let c = 0; c < units; c++) {
    let mean = 0;
    for (let k = c; k < data.length; k += units) mean += data[k] / rows;
    for (let k = c; k < data.length; k += units) variance += (data[k] - mean) ** 2 / data.length;
  }
  const dead = activations.reduce((sum, one) => sum + constantUnits(one.data, one.units), 0);
  return {
    histogram,
    spread: Math.sqrt(variance),
    saturated,
    dead: dead / activations.reduce((sum, one) => sum + one.units, 0),
    neuron: last.map(({ layer, data: values }) => ({
      stage: layer instanceof Linear ? 'linear' : layer instanceof BatchNorm ? 'batch norm' : 'sigmoid',
      values: Array.from({ length: Math.min(rows, SHOWN) }, (_, n) => values[n * units + NEURON]),
    })),
  };
}

/** Both nets: as many steps as they are asked for, in turns. */
export class Duel {
  readonly #settings: Settings;
  readonly #steps: number;
  readonly #batches: Generator<Batch>;
  readonly #sides: { readonly batch: Contestant; readonly none: Contestant };
  #step = 0;

  constructor(
    { train, test }: { train: Digits; test: Digits },
    settings: Settings,
    { seed = 1, steps = STEPS }: { seed?: number; steps?: number } = {},
  ) {
    this.#settings = settings;
    this.#steps = steps;
    this.#batches = batchesOf(train, settings.batch, seed);
    const side = (norm: 'batch' | 'none') => new Contestant(norm, settings, seed, test);
    this.#sides = { batch: side('batch'), none: side('none') };
  }

  get isDone(): boolean {
    return this.#step === this.#steps || (this.#sides.batch.isStopped && this.#sides.none.isStopped);
  }

  /** A step of each net; `isSeen` if the scene is asked for behind it. */
  step(isSeen: boolean): void {
    const step = ++this.#step;
    const batch = this.#batches.next().value;
    const isPoint = step === 1 || step % Math.ceil(this.#steps / POINTS) === 0;
    const isLast = step === this.#steps;
    for (const side of Object.values(this.#sides)) side.step(step, batch, isPoint || isLast, isSeen || isLast);
  }

  get scene(): Scene {
    return {
      step: this.#step,
      steps: this.#steps,
      settings: this.#settings,
      batch: this.#sides.batch.side,
      none: this.#sides.none.side,
    };
  }

  dispose(): void {
    for (const side of Object.values(this.#sides)) side.dispose();
  }
}

/** A net before its first step. */
const FRESH: Side = {
  steps: [],
  loss: [],
  accuracy: [],
  reached: undefined,
  hidden: undefined,
  stopped: undefined,
};
/** What there is before anything ran. */
export const sceneBefore = (settings: Settings): Scene => ({
  step: 0,
  steps: STEPS,
  settings,
  batch: FRESH,
  none: FRESH,
});

const recognised = ({ accuracy }: Side) => percent(accuracy.at(-1) ?? 0);
const isDead = ({ hidden, accuracy }: Side) => hidden!.dead >= DEAD && accuracy.at(-1)! < LEARNED;
const WITH = t`With batch norm`;
const WITHOUT = t`Without batch norm`;

/** What one sees. */
export function sentenceOf({ settings, batch, none }: Scene): Text {
  // of the last point, which the figures are of
  const step = Math.max(batch.steps.at(-1) ?? 0, none.steps.at(-1) ?? 0);
  if (batch.stopped && none.stopped) {
    return t`Both nets stopped. ${stopped(WITH, batch)} ${stopped(WITHOUT, none)}`;
  }
  if (none.stopped)
    return t`${stopped(WITHOUT, none)} With it ${recognised(batch)} of the held-out digits are recognised after ${step} steps.`;
  if (batch.stopped)
    return t`${stopped(WITH, batch)} Without it ${recognised(none)} of the held-out digits are recognised after ${step} steps.`;
  if (!batch.hidden || !none.hidden || !batch.steps.length) {
    return t`Two nets of the same layers, ${settings.depth} of them hidden, learn from the same digits; one has batch norm.`;
  }
  const dead = [batch, none].map(isDead);
  if (dead[0] && dead[1]) {
    return t`After ${step} steps both nets are dead: with batch norm ${percent(batch.hidden.dead)} of the hidden units give one value for the whole batch, without it ${percent(none.hidden.dead)}; no digit looks different from another, and ${recognised(batch)} and ${recognised(none)} are recognised.`;
  }
  if (dead[1]) return died(WITHOUT, none, batch, step);
  if (dead[0]) return died(WITH, batch, none, step);
  return compared(step, settings, batch, none);
}

const stopped = (who: Text, { stopped: end }: Side): Text =>
  t`${who} the net stopped at step ${end!.step}: ${explained(end!.trouble)}`;

const died = (who: Text, side: Side, other: Side, step: number): Text =>
  t`${who} ${percent(side.hidden!.dead)} of the hidden units are dead after ${step} steps: they give one value for the whole batch, so no digit looks different from another. That net recognises ${recognised(side)} of the held-out digits, the other ${recognised(other)}.`;

/** Two nets that both train. */
function compared(step: number, { batch: size }: Settings, batch: Side, none: Side): Text {
  const [a, b] = [batch.accuracy.at(-1)!, none.accuracy.at(-1)!];
  const why = reason(size, batch, none);
  if (a < LEARNED && b < LEARNED) {
    return t`After ${step} steps neither net has begun to learn (a tenth is chance): ${percent(a)} of the held-out digits are recognised with batch norm, ${percent(b)} without.`;
  }
  if (a > b + NOISE) {
    return t`After ${step} steps the net with batch norm recognises ${percent(a)} of the held-out digits, the net without it ${percent(b)}.${why}`;
  }
  if (b > a + NOISE) {
    return t`After ${step} steps the net without batch norm is ahead: it recognises ${percent(b)} of the held-out digits, the net with it ${percent(a)}.${why}`;
  }
  const [soon, late] = [batch.reached, none.reached];
  if (soon && late && soon !== late) {
    return t`After ${step} steps both nets recognise about as many held-out digits, ${percent(a)} with batch norm and ${percent(b)} without; to ${percent(GOAL)} the net with it took ${soon} steps, the net without ${late}.`;
  }
  return t`After ${step} steps both nets recognise about as many held-out digits: ${percent(a)} with batch norm, ${percent(b)} without.`;
}

/** What in the last hidden layer goes with it. */
function reason(size: number, batch: Side, none: Side): Text | '' {
  const [a, b] = [batch.hidden!, none.hidden!];
  const isAhead = batch.accuracy.at(-1)! > none.accuracy.at(-1)!;
  if (!isAhead)
    return size < 16 ? t` Batch norm takes its mean and variance from ${size} digits, and these waver.` : '';
  if (b.spread < a.spread / 3) {
    return t` Its last hidden layer tells digits apart: a unit's outputs spread by ${a.spread.toPrecision(2)}, without batch norm by ${b.spread.toPrecision(2)}.`;
  }
  if (b.saturated > 0.3 && a.saturated < b.saturated / 2) {
    return t` Without batch norm ${percent(b.saturated)} of the last hidden layer's outputs lie at the ends of the sigmoid, where its slope is almost 0; with it ${percent(a.saturated)}.`;
  }
  return '';
}
