// What optimizers share: groups of parameters, settings that are checked whenever they are set, and
// state that can be saved.

import { show, wrongKind, wrongValue } from '../../errors.ts';
import { readState, type StateSlot, type StateSlots, writeState } from '../../layers/state.ts';
import { takeOptions } from '../../named-options.ts';
import { listOf } from '../../typed-arrays.ts';
import type { Parameter, StateDict } from '../../types.ts';
import { checkOnce, type Entry, isNormOrBias, type Parameters, readParameters, writableOf } from './parameters.ts';

/** Settings that every optimizer has. */
export interface CommonOptions {
  /** Learning rate, 0 or more. May be changed later: `optimizer.lr`, `optimizer.groups[0].lr`. */
  lr?: number;
  /** Pull towards 0, 0 or more. */
  weightDecay?: number;
  /**
   * `false`: `weightDecay` passes by gamma and beta of norms and biases, which are all parameters
   * with fewer than two axes. Default `true`: it holds for every parameter, as in PyTorch.
   */
  decayNorms?: boolean;
}

/** Parameters with settings of their own; settings left out are the optimizer's. */
export type GroupOptions<O> = {
  /** `net.parameters()`, or with names `namedParameters(net)`. */
  parameters: Parameters;
} & O;

/**
 * The settings of one group of an optimizer. Setting one checks it: a value that it does not take
 * throws ERR_OPTION, and the old value stays.
 */
export type ParameterGroup<O> = {
  /** The group's parameters, in the order given. */
  readonly parameters: readonly Parameter[];
} & Required<O>;

/** Settings by name. */
export type Settings = Record<string, number | boolean | readonly [number, number]>;

/** What is wrong with a setting: which one, what was expected and what came. */
export type Fault = readonly [setting: string, expected: string, got: unknown, isKind?: boolean];

/** What an optimizer remembers of a parameter. */
export interface Memory {
  /** Steps of this parameter: one that was frozen at first begins when it is not. */
  steps: number;
  readonly arrays: Record<string, Float32Array>;
}

interface Group {
  readonly settings: Settings;
  readonly entries: readonly Entry[];
  readonly memories: readonly Memory[];
}

/** The first setting of these that is no finite number of 0 or more. */
export function faultAtLeast0(settings: Settings, names: readonly string[]): Fault | undefined {
  for (const name of names) {
    const value = settings[name];
    if (typeof value !== 'number' || !(value >= 0 && value < Number.POSITIVE_INFINITY))
      return [name, 'a finite number of 0 or more', value];
  }
  return undefined;
}

/** The first setting of these that is neither `true` nor `false`. */
export function faultBoolean(settings: Settings, names: readonly string[]): Fault | undefined {
  for (const name of names)
    if (typeof settings[name] !== 'boolean') return [name, 'true or false', settings[name], true];
  return undefined;
}

/**
 * What optimizers have in common. `step()` follows once gradients are there:
 *
 *     optimizer.zeroGrad();
 *     net.backward(crossEntropy(net.forward(x), labels).grad);
 *     optimizer.step();
 */
export abstract class Optimizer<O extends CommonOptions = CommonOptions> {
  /** The class's name, also where the library was minified. */
  static readonly name: string = 'Optimizer';
  /** What errors call the optimizer: `AdamW`. */
  readonly subject: string;
  /** The groups in the order given; one where parameters were given without groups. */
  readonly groups: readonly ParameterGroup<O>[];
  readonly #groups: readonly Group[];

  constructor(subject: string, given: Parameters | readonly GroupOptions<O>[], options: O, defaults: Required<O>) {
    const names = Object.keys(defaults);
    const settings = { ...defaults, ...takeOptions(subject, options, names) } as Settings;
    const isGroup = (one: unknown) => typeof one === 'object' && one !== null && 'parameters' in one;
    this.subject = subject;
    const groups = Array.isArray(given) && given.some(isGroup) ? given : [{ parameters: given }];
    let first = 0;
    this.#groups = groups.map((group: GroupOptions<O>, i) => {
      if (!isGroup(group)) throw wrongKind('ERR_TYPE', subject, `groups[${i}]`, '{ parameters, … }', show(group));
      const { parameters, ...own } = takeOptions(subject, group, ['parameters', ...names]);
      const entries = readParameters(subject, 'parameters', parameters, first);
      first += entries.length;
      const memories = entries.map(() => ({ steps: 0, arrays: {} }));
      const all = { ...settings, ...own } as Settings;
      this.#check(all);
      return { settings: copyOf(all), entries, memories };
    });
    const entries = this.#groups.map((group) => group.entries);
    if (!entries.some(({ length }) => length)) {
      throw wrongValue('ERR_OPTION', subject, 'parameters', 'one or more', 'none');
    }
    checkOnce(subject, entries);
    this.groups = Object.freeze(this.#groups.map((group) => this.#facade(group)));
  }

  /**
   * Learning rate of the first group. Setting it sets that of every group.
   *
   * @throws ERR_OPTION for anything but a finite number of 0 or more
   */
  get lr(): number {
    return this.get('lr');
  }

  /**
   * Sets the learning rate of every group.
   *
   * @throws ERR_OPTION for anything but a finite number of 0 or more
   */
  set lr(lr: number) {
    this.set('lr', lr);
  }

  /**
   * Weight decay of the first group. Setting it sets that of every group.
   *
   * @throws ERR_OPTION for anything but a finite number of 0 or more
   */
  get weightDecay(): number {
    return this.get('weightDecay');
  }

  /**
   * Sets the weight decay of every group.
   *
   * @throws ERR_OPTION for anything but a finite number of 0 or more
   */
  set weightDecay(weightDecay: number) {
    this.set('weightDecay', weightDecay);
  }

  /** Moves every parameter that is not frozen against its gradient. */
  step(): void {
    for (const { settings, entries, memories } of this.#groups) {
      const spared = { ...settings, weightDecay: 0 };
      entries.forEach(({ parameter }, i) => {
        if (parameter.frozen) return;
        const isSpared = settings.decayNorms === false && isNormOrBias(parameter);
        const memory = memories[i];
        memory.steps++;
        this.move(writableOf(parameter), parameter.grad, memory, isSpared ? spared : settings);
      });
    }
  }

  /** Sets all gradients to 0. */
  zeroGrad(): void {
    for (const { entries } of this.#groups) for (const { parameter } of entries) parameter.grad.fill(0);
  }

  /**
   * Copies of everything that the next steps depend on besides the parameters: `groups.0.lr` and
   * the other settings of each group; and for each parameter by name `parameters.0.weight.steps`
   * and what the optimizer remembers of it, once there is something.
   *
   * @experimental
   */
  stateDict(): StateDict {
    return readState(this.#slots());
  }

  /**
   * Takes a state, settings included: all of it, or after an error nothing.
   *
   * @param state what `stateDict` returned
   * @throws ERR_STATE for an entry that is missing, unknown, of another shape or of a value that
   *   its setting does not take
   * @experimental
   */
  loadStateDict(state: StateDict): void {
    writeState(this.subject, this.#slots(state), state);
  }

  /** @internal What is wrong with the settings of a group. */
  protected abstract faultIn(settings: Settings): Fault | undefined;

  /** @internal Which arrays are remembered of a parameter, under these settings. */
  protected abstract remembered(settings: Settings): readonly string[];

  /** @internal Which arrays may be remembered: a setting may have been another one before. */
  protected abstract readonly memories: readonly string[];

  /** @internal One parameter; `memory.steps` counts this step already. */
  protected abstract move(values: Float32Array, grad: Float32Array, memory: Memory, settings: Settings): void;

  /** @internal A setting of the first group. */
  protected get<V>(name: string): V {
    return this.#groups[0].settings[name] as V;
  }

  /** @internal Sets a setting in every group, or after an error in none. */
  protected set(name: string, value: unknown): void {
    const changed = this.#groups.map(({ settings }) => copyOf({ ...settings, [name]: value as number }));
    for (const settings of changed) this.#check(settings, name);
    this.#groups.forEach((group, i) => {
      group.settings[name] = changed[i][name];
    });
  }

  /** Throws what is wrong; `changed` is to blame where two settings do not go together. */
  #check(settings: Settings, changed?: string): void {
    const fault = this.faultIn(settings);
    if (!fault) return;
    const [setting, expected, got, isKind] = fault;
    const wrong = isKind ? wrongKind : wrongValue;
    if (changed === undefined || changed === setting)
      throw wrong('ERR_OPTION', this.subject, setting, expected, show(got));
    const value = show(settings[changed]);
    throw wrong(
      'ERR_OPTION',
      this.subject,
      changed,
      `a value that goes with ${setting} ${show(settings[setting])}`,
      value,
    );
  }

  /** What users see of a group: settings as properties that are checked. */
  #facade(group: Group): ParameterGroup<O> {
    const facade = { parameters: Object.freeze(group.entries.map(({ parameter }) => parameter)) };
    for (const name of Object.keys(group.settings)) {
      Object.defineProperty(facade, name, {
        enumerable: true,
        get: () => group.settings[name],
        set: (value) => {
          const changed = copyOf({ ...group.settings, [name]: value });
          this.#check(changed, name);
          group.settings[name] = changed[name];
        },
      });
    }
    return Object.freeze(facade) as ParameterGroup<O>;
  }

  /**
   * The entries of a state dict: those that there are, or those that `state` should have, by its
   * own settings and steps.
   */
  #slots(state?: StateDict): StateSlots {
    const slots: StateSlots = {};
    this.#groups.forEach(({ settings, entries, memories }, g) => {
      const candidate = state ? { ...settings } : settings;
      for (const name in settings) candidate[name] = peek(state, `groups.${g}.${name}`, settings[name]);
      const fault = this.faultIn(candidate);
      for (const name in settings) {
        slots[`groups.${g}.${name}`] = settingSlot(settings, name, fault?.[0] === name ? fault[1] : undefined);
      }
      const needed = this.remembered(candidate);
      entries.forEach(({ name, shape, parameter }, i) => {
        const memory = memories[i];
        const key = `parameters.${name}`;
        slots[`${key}.steps`] = stepsSlot(memory);
        if (!peek(state, `${key}.steps`, memory.steps)) return;
        const isThere = (array: string) =>
          state ? Object.hasOwn(state, `${key}.${array}`) : memory.arrays[array] !== undefined;
        const arrays = this.memories.filter((array) => needed.includes(array) || isThere(array));
        for (const array of arrays) slots[`${key}.${array}`] = arraySlot(memory, array, shape, parameter.grad.length);
      });
    });
    return slots;
  }
}

/** Settings of our own: pairs copied and frozen. */
function copyOf(settings: Settings): Settings {
  return Object.fromEntries(
    Object.entries(settings).map(([name, value]) => [name, Array.isArray(value) ? Object.freeze([...value]) : value]),
  ) as Settings;
}

/**
 * What a state says of a setting, in the form of `like`; `like` where it says nothing, which is
 * found out when all of it is checked.
 */
function peek<V extends Settings[string]>(state: StateDict | undefined, name: string, like: V): V {
  const data =
    typeof state === 'object' && state !== null && Object.hasOwn(state, name) ? listOf(state[name]?.data) : undefined;
  if (!data?.length) return like;
  const values = Array.from(data, Number);
  if (Array.isArray(like)) return values as unknown as V;
  return (
    typeof like === 'boolean' ? (values[0] === 0 || values[0] === 1 ? values[0] === 1 : values[0]) : values[0]
  ) as V;
}

function settingSlot(settings: Settings, name: string, refusal: string | undefined): StateSlot {
  const value = settings[name];
  return {
    shape: Array.isArray(value) ? [value.length] : [],
    read: () => Float64Array.from(Array.isArray(value) ? value : [Number(value)]),
    refuse: () => refusal && (typeof value === 'boolean' && refusal === 'true or false' ? '0 or 1' : refusal),
    write: (given) => {
      const values = Array.from(given);
      if (typeof value === 'boolean') settings[name] = values[0] === 1;
      else settings[name] = Array.isArray(value) ? (Object.freeze(values) as unknown as [number, number]) : values[0];
    },
  };
}

/** Steps so far; a parameter without steps has nothing remembered. */
function stepsSlot(memory: Memory): StateSlot {
  return {
    shape: [],
    read: () => Float64Array.of(memory.steps),
    refuse: ([steps]: ArrayLike<number> & Iterable<number>) =>
      Number.isSafeInteger(steps) && steps >= 0 ? undefined : 'a whole number of 0 or more',
    write: ([steps]: ArrayLike<number> & Iterable<number>) => {
      memory.steps = steps;
      for (const name in memory.arrays) delete memory.arrays[name];
    },
  } as StateSlot;
}

function arraySlot({ arrays }: Memory, name: string, shape: readonly number[], length: number): StateSlot {
  return {
    shape,
    read: () => arrays[name]?.slice() ?? new Float32Array(length),
    write: (values) => {
      arrays[name] = Float32Array.from(values);
    },
  };
}
