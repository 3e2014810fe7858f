import { wrongMoment } from '../../errors.ts';
import { readState, type StateSlots, writeState } from '../../layers/state.ts';
import { flag, number, readSchema, type Schema } from '../../named-options.ts';
import type { StateDict } from '../../types.ts';
import { checkOnce, type Entry, type Parameters, readParameters, valuesOf, writableOf } from './parameters.ts';

/** Options of `EMA`. */
export interface EMAOptions {
  /** Weight of the old average, in [0, 1). Default 0.999. */
  decay?: number;
  /**
   * `true`: the t-th update weighs the old average by min(decay, t/(9 + t)), so that the first
   * weights are soon forgotten. Default `false`.
   */
  warmUp?: boolean;
}

const emaSchema = (): Schema<Required<EMAOptions>> => ({
  decay: number(0.999, 'a number of 0 or more and below 1', (value) => value >= 0 && value < 1),
  warmUp: flag(false),
});

/**
 * Exponential moving average of weights (Polyak & Juditsky 1992), in f64, from the weights as they
 * are when it is made:
 *
 *   average ← decay·average + (1 − decay)·p
 *
 * The network does not see the averages until `swapIn()`.
 *
 *     const ema = new EMA(net.parameters(), { decay: 0.99 });
 *     …; optimizer.step(); ema.update();
 *     ema.swapIn();               // the network has the averages
 *     evaluate(net.eval());
 *     ema.swapOut();              // and its own weights again, bit for bit
 *
 * Running statistics of batch norm belong to the weights they were tracked under: `recalibrate`
 * renews them for the averages.
 */
export class EMA {
  /** The class's name, also where the library was minified. */
  static readonly name: string = 'EMA';
  /** Weight of the old average. */
  readonly decay: number;
  /** Do the first updates weigh the old average less? */
  readonly warmUp: boolean;
  readonly #entries: readonly Entry[];
  readonly #averages: readonly Float64Array[];
  #updates = 0;
  /** The weights themselves, while the averages are in their place. */
  #own: readonly Float32Array[] | undefined;

  /**
   * @param parameters `net.parameters()` or `namedParameters(net)`
   * @param options see `EMAOptions`
   * @throws ERR_OPTION, also for a parameter given twice; ERR_TYPE for anything but parameters
   */
  constructor(parameters: Parameters, options: EMAOptions = {}) {
    const { decay, warmUp } = readSchema('EMA', options, emaSchema());
    this.#entries = readParameters('EMA', 'parameters', parameters);
    checkOnce('EMA', [this.#entries]);
    this.decay = decay;
    this.warmUp = warmUp;
    this.#averages = this.#entries.map(({ parameter }) => Float64Array.from(valuesOf(parameter)));
  }

  /** Updates so far. */
  get updates(): number {
    return this.#updates;
  }

  /** Are the averages in the network? */
  get isSwappedIn(): boolean {
    return this.#own !== undefined;
  }

  /**
   * Takes the weights into the averages; after `optimizer.step()`. @throws ERR_MODE while the
   * averages are swapped in
   */
  update(): void {
    if (this.#own)
      throw wrongMoment('ERR_MODE', 'EMA', 'update', 'the weights in the network', 'the averages, swapped in');
    const t = ++this.#updates;
    const decay = this.warmUp ? Math.min(this.decay, t / (9 + t)) : this.decay;
    this.#entries.forEach(({ parameter }, i) => {
      const values = valuesOf(parameter);
      const average = this.#averages[i];
      for (let k = 0; k < average.length; k++) average[k] = decay * average[k] + (1 - decay) * values[k];
    });
  }

  /**
   * Puts the averages, rounded to f32, in the place of the weights, which are kept. @throws
   * ERR_MODE where they are swapped in already
   */
  swapIn(): void {
    if (this.#own)
      throw wrongMoment('ERR_MODE', 'EMA', 'swapIn', 'the weights in the network', 'the averages, swapped in');
    this.#own = this.#entries.map(({ parameter }) => valuesOf(parameter).slice());
    this.#entries.forEach(({ parameter }, i) => {
      writableOf(parameter).set(this.#averages[i]);
    });
  }

  /**
   * Brings the weights back, bit for bit. @throws ERR_MODE where the averages are not swapped in
   */
  swapOut(): void {
    const own = this.#own;
    if (!own) throw wrongMoment('ERR_MODE', 'EMA', 'swapOut', 'the averages swapped in', 'the weights in the network');
    this.#entries.forEach(({ parameter }, i) => {
      writableOf(parameter).set(own[i]);
    });
    this.#own = undefined;
  }

  /** Copies of `updates` and of the averages by name, `averages.0.weight`. */
  stateDict(): StateDict {
    return readState(this.#slots());
  }

  /**
   * Takes a state: all of it, or after an error nothing.
   *
   * @param state what `stateDict` returned
   * @throws ERR_STATE; ERR_MODE while the averages are swapped in
   */
  loadStateDict(state: StateDict): void {
    if (this.#own)
      throw wrongMoment('ERR_MODE', 'EMA', 'loadStateDict', 'the weights in the network', 'the averages, swapped in');
    writeState('EMA', this.#slots(), state);
  }

  #slots(): StateSlots {
    const slots: StateSlots = {
      updates: {
        shape: [],
        read: () => Float64Array.of(this.#updates),
        refuse: (values) =>
          Number.isSafeInteger(values[0]) && values[0] >= 0 ? undefined : 'a whole number of 0 or more',
        write: (values) => {
          this.#updates = values[0];
        },
      },
    };
    this.#entries.forEach(({ name, shape }, i) => {
      const average = this.#averages[i];
      slots[`averages.${name}`] = { shape, read: () => average.slice(), write: (values) => average.set(values) };
    });
    return slots;
  }
}
