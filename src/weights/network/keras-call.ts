// A call of a Keras layer as its converter sees it: settings checked, variables with their shapes.

import { malformed } from '../../errors.ts';
import { quote } from '../../formats/bytes.ts';
import { asRecord, type Json } from '../../formats/json.ts';
import { showJson } from '../../formats/show-json.ts';
import type { Layer } from '../../layers/layer.ts';
import type { Layout } from '../../types.ts';
import { kindOf } from '../keras-config.ts';
import { unwrapped } from '../keras-model.ts';
import type { Draft, Flow, Known } from './draft.ts';
import type { Masks } from './keras-masks.ts';
import type { LayerWeights } from './keras-weights.ts';
import { loaded } from './onnx-layers.ts';

/** A layer with its settings. */
export interface KerasSettings {
  /** With the networks around it. */
  readonly name: string;
  readonly className: string;
  readonly config: { readonly [key: string]: Json };
  /** Its kind, where that is not what the class says: an operation may be called as a layer is. */
  readonly kind?: string | undefined;
}

/** What a call is given: a value of the network, a constant, a list of them. */
export type Operand =
  | { readonly flow: Flow }
  | { readonly constant: Json }
  | { readonly list: readonly Operand[] }
  | { readonly record: Readonly<Record<string, Operand>> };

/** What all calls of a network share. */
export interface KerasSurroundings {
  readonly format: 'Keras' | 'TF.js';
  /** The version of Keras that wrote the file; undefined where the file does not say. */
  readonly version: string | undefined;
  readonly draft: Draft;
  readonly masks: Masks;
  assume(what: string): void;
  /** Counts values of weights, which no file may have more of than it justifies. */
  spend(values: number): void;
  /** Converts a layer that another one holds. */
  convert(call: KerasCall): Flow[];
}

/** Makes a layer's outputs of its inputs. */
export type KerasConverter = (call: KerasCall) => Flow | readonly Flow[];

const MOST = 2 ** 24;

export class KerasCall {
  readonly settings: KerasSettings;
  readonly around: KerasSurroundings;
  readonly weights: LayerWeights;
  readonly inputs: readonly Flow[];
  /** Arguments by name, with the values of the network that they are. */
  readonly kwargs: Readonly<Record<string, readonly Flow[]>>;
  /** Arguments as they were given, with constants among them. */
  readonly given: readonly Operand[];
  readonly named: Readonly<Record<string, Operand>>;
  /** What the layer is called in the network. */
  readonly name: string;
  readonly draft: Draft;

  constructor(
    settings: KerasSettings,
    around: KerasSurroundings,
    weights: LayerWeights,
    inputs: readonly Flow[],
    {
      kwargs = {},
      given = [],
      named = {},
    }: {
      kwargs?: Readonly<Record<string, readonly Flow[]>>;
      given?: readonly Operand[];
      named?: Readonly<Record<string, Operand>>;
    } = {},
  ) {
    this.settings = settings;
    this.around = around;
    this.weights = weights;
    this.inputs = inputs;
    this.kwargs = kwargs;
    this.given = given;
    this.named = named;
    this.draft = around.draft;
    this.name = settings.name.replaceAll('/', '.');
  }

  /** The same layer on other values, under another name in the network. */
  on(inputs: readonly Flow[], settings: KerasSettings = this.settings, weights = this.weights): KerasCall {
    return new KerasCall(settings, this.around, weights, inputs);
  }

  get config(): KerasSettings['config'] {
    return this.settings.config;
  }

  get kind(): string {
    return this.settings.kind ?? kindOf(this.settings.className);
  }

  /** Is it of Keras 3, which changed some formulas? */
  get isNew(): boolean {
    return this.around.format === 'Keras' && /^[3-9]/.test(this.around.version ?? '');
  }

  fail(expected: string, got: string): Error {
    const { className, name } = this.settings;
    return malformed(this.around.format, `layer ${className} ${quote(name)}`, expected, got, 0);
  }

  /** The one input. */
  get x(): Flow {
    if (this.inputs.length === 1) return this.inputs[0];
    throw this.fail('one input', `${this.inputs.length}`);
  }

  /** The one input, of a rank. */
  ranked(...ranks: number[]): Flow {
    const { x } = this;
    if (ranks.includes(x.shape.length)) return x;
    throw this.fail(`an input of rank ${ranks.join(' or ')}`, `rank ${x.shape.length}`);
  }

  // ---- settings

  number(name: string, standard: number): number {
    const value = this.config[name] ?? standard;
    if (typeof value === 'number' && Number.isFinite(value)) return value;
    throw this.fail(`a number as ${name}`, showJson(value));
  }

  whole(name: string, standard: number, least = 1, most = MOST): number {
    return this.#whole(name, this.config[name] ?? standard, least, most);
  }

  #whole(name: string, value: Json, least: number, most: number): number {
    if (Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most) return value as number;
    throw this.fail(`a whole number from ${least} to ${most} as ${name}`, showJson(value));
  }

  flag(name: string, standard: boolean): boolean {
    const value = this.config[name] ?? standard;
    // TF.js has 0 and 1 in places
    if (typeof value === 'boolean' || value === 0 || value === 1) return Boolean(value);
    throw this.fail(`true or false as ${name}`, showJson(value));
  }

  choice<const T extends readonly string[]>(name: string, standard: T[number], choices: T): T[number] {
    const value = this.config[name] ?? standard;
    if (typeof value === 'string' && choices.includes(value)) return value;
    throw this.fail(`${name} among ${choices.join(', ')}`, showJson(value));
  }

  /** A number for each axis, or one for all. */
  perAxis(name: string, axes: number, standard: number | readonly number[] | undefined, least = 1): number[] {
    const value = this.config[name] ?? (standard as Json | undefined) ?? null;
    const list = Array.isArray(value) ? value : new Array<Json>(axes).fill(value);
    if (list.length !== axes) throw this.fail(`${axes} numbers as ${name}`, showJson(value));
    return list.map((one) => this.#whole(name, one, least, MOST));
  }

  /** Places before and behind each axis: a number, one for each axis, or pairs. */
  around2(name: string, axes: number, standard: number): (readonly [number, number])[] {
    const value = this.config[name] ?? standard;
    const isFlat = axes === 1 && Array.isArray(value) && value.length === 2 && !value.some(Array.isArray);
    const list = isFlat ? [value] : Array.isArray(value) ? value : new Array<Json>(axes).fill(value);
    if (list.length !== axes) throw this.fail(`${axes} pairs as ${name}`, showJson(value));
    return list.map((one) => {
      const pair = Array.isArray(one) ? one : [one, one];
      if (pair.length !== 2) throw this.fail(`pairs as ${name}`, showJson(value));
      return [this.#whole(name, pair[0], 0, MOST), this.#whole(name, pair[1], 0, MOST)] as const;
    });
  }

  /** Axes of a rank, counted from the front. */
  axes(name: string, standard: number, rank: number): number[] {
    const value = this.config[name] ?? standard;
    const list = Array.isArray(value) ? value : [value];
    const found = list.map((one) => this.axisOf(one, rank, name));
    if (found.length > 0 && new Set(found).size === found.length) return found;
    throw this.fail(`axes as ${name}`, showJson(value));
  }

  axisOf(value: Json, rank: number, name = 'axis'): number {
    const axis = typeof value === 'number' && value < 0 ? value + rank : value;
    if (Number.isInteger(axis) && (axis as number) >= 0 && (axis as number) < rank) return axis as number;
    throw this.fail(`an axis of rank ${rank} as ${name}`, showJson(value));
  }

  /** Where the channels lie. */
  get layout(): Layout {
    const given = this.choice('data_format', 'channels_last', ['channels_last', 'channels_first']);
    return given === 'channels_first' ? 'channels-first' : 'channels-last';
  }

  /** The length of the input's channels. */
  channels(x: Flow): number {
    const axis = this.layout === 'channels-first' ? 1 : x.shape.length - 1;
    const length = x.shape[axis];
    if (length > 0) return length;
    throw this.fail('an input with a known number of channels', `shape [${shown(x.shape)}]`);
  }

  // ---- variables

  has(leaf: string): boolean {
    return this.weights.find(leaf, this.kind, this.config) !== undefined;
  }

  /** A variable of a shape; NaN is any length. */
  weight(leaf: string, shape: readonly number[], otherwise?: string): Known {
    const known =
      this.weights.find(leaf, this.kind, this.config) ??
      (otherwise === undefined ? undefined : this.weights.find(otherwise, this.kind, this.config));
    const scales = this.weights.find(`${leaf}_scale`);
    const isFloat = known !== undefined && /^B?F\d/.test(known.dtype);
    const policy = policyOf(this.config);
    if (isQuantized(policy) && (scales || !isFloat)) {
      throw this.fail(`'${leaf}' as it is`, `one that is quantized: ${policy}`);
    }
    if (!known) {
      const there = this.weights.names;
      const got = there.length ? `none (there are ${there.slice(0, 4).map(quote).join(', ')})` : 'none';
      throw this.fail(`a variable '${leaf}'`, got);
    }
    if (!isFloat) throw this.fail(`floating-point numbers as '${leaf}'`, `type ${known.dtype}`);
    if (scales) throw this.fail(`'${leaf}' as it is`, `one that is quantized, with '${leaf}_scale' beside it`);
    if (this.weights.find(`lora_${leaf}_a`)) {
      const got = `one with 'lora_${leaf}_a' beside it, which is added to it: a .keras file has the sum`;
      throw this.fail(`'${leaf}' as it is`, got);
    }
    const fits =
      known.shape.length === shape.length && known.shape.every((n, i) => Number.isNaN(shape[i]) || n === shape[i]);
    if (fits) return known;
    throw this.fail(`'${leaf}' of shape [${shown(shape)}]`, `shape [${known.shape.join(', ')}]`);
  }

  /** A variable that is there where a setting says so. */
  optional(leaf: string, isThere: boolean, shape: readonly number[]): Known | undefined {
    return isThere ? this.weight(leaf, shape) : undefined;
  }

  /** Gives a layer its weights. */
  loaded<L extends Layer>(layer: L, weights: Readonly<Record<string, WeightValues | undefined>>): L {
    const given: Record<string, { data: Float32Array; shape: readonly number[] }> = {};
    for (const [name, one] of Object.entries(weights)) {
      if (!one) continue;
      this.around.spend(one.data.length);
      given[name] = { data: floats(one.data), shape: one.shape };
    }
    return loaded(layer, given);
  }

  /** A constant as an operand. */
  constant(data: Float32Array, shape: readonly number[]): Flow {
    this.around.spend(data.length);
    return this.draft.constant({ dtype: 'F32', shape, data });
  }

  assume(what: string): void {
    this.around.assume(what);
  }

  /** A layer that another one's settings hold. */
  inner(key: string, name: string): KerasSettings {
    const record = asRecord(this.config[key] ?? null);
    const config = asRecord(record?.config);
    if (!record || !config || typeof record.class_name !== 'string') {
      throw this.fail(`a layer as ${key}`, showJson(this.config[key]));
    }
    return { name, className: record.class_name, config: unwrapped(config) };
  }
}

/** The types that a layer stores and computes in: `mixed_bfloat16`, `int8_from_float32`. */
export function policyOf({ dtype }: KerasSettings['config']): string {
  if (typeof dtype === 'string') return dtype;
  const { config } = asRecord(dtype ?? null) ?? {};
  const { name, mode, source_name: source } = asRecord(config ?? null) ?? {};
  if (typeof mode === 'string') return `${mode}_from_${source}`;
  return typeof name === 'string' ? name : 'float32';
}

export const isQuantized = (policy: string): boolean => policy.includes('_from_');

export interface WeightValues {
  readonly data: ArrayLike<number>;
  readonly shape: readonly number[];
}

export const floats = (values: ArrayLike<number>): Float32Array =>
  values instanceof Float32Array ? values : Float32Array.from(values);

export const shown = (shape: readonly number[]) =>
  shape.map((length) => (Number.isNaN(length) ? '?' : `${length}`)).join(', ');
