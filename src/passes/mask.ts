// Which places of a batch count, and for how much: masks, lengths and weights read into one array
// of weights by place.

import { show, showShape, wrongKind, wrongValue } from '../errors.ts';
import { countOf, shapeOf } from '../tensors/shape.ts';
import { listOf } from '../typed-arrays.ts';
import type { Plan } from './plan.ts';

/** Values of some of the axes of a batch. */
export type Field =
  | {
      /** Values, row-major. */
      readonly data: ArrayLike<number | boolean>;
      /** Length of each axis, outermost first. */
      readonly shape: readonly number[];
    }
  | {
      /** Values, row-major. */
      readonly data: ArrayLike<number | boolean>;
      /** Length of each axis, outermost first. */
      readonly dims: readonly number[];
    };

/**
 * Which places of a batch count. A place that does not count has no part in statistics and
 * gradients, whatever is stored there, and its output is 0. Of several options, a place must count
 * in each; its weight is that of `weights`.
 */
export interface MaskOptions {
  /**
   * 1 or `true` where a place counts, 0 or `false` where it does not. Its shape is that of x
   * without the channels (`[N, T]` for `[N, T, C]`), or with them; lengths of 1 stand for any
   * length, and axes at the end may be missing. For layer and RMS norm it is that of x without the
   * axes that are normalised, or with them.
   */
  mask?: Field;
  /**
   * How many steps of each sequence count, `[N]`: along the first axis behind that of the samples
   * which is not that of the channels, nor normalised by layer or RMS norm. Where all are, steps
   * lie along the first of them.
   */
  lengths?: ArrayLike<number>;
  /**
   * For how much a place counts, 0 or more, in a shape as that of `mask`: mean = Σw·x / Σw,
   * variance = Σw·(x − mean)² / Σw.
   */
  weights?: Field;
}

/** Weights of the places of a batch, in the order of memory. */
export interface Mask {
  /** What the shape means to kernels that are given these weights. */
  readonly plan: Plan;
  /** 1 or 0 for each place. */
  readonly places: Float32Array;
  /** Real weights, where not all of them are 1 or 0. */
  readonly weights: Float32Array | undefined;
  /**
   * From a sample to the next, and from a channel to the next: 0 where all channels share the
   * weights.
   */
  readonly sampleStep: number;
  readonly channelStep: number;
  /** Σw by channel: what sums are divided by. */
  readonly total: Float64Array;
  /** (Σw)²/Σw² by channel: as many values of equal weight say as much of the variance. */
  readonly effective: Float64Array;
}

export const MASK_OPTIONS = ['mask', 'lengths', 'weights'];

/**
 * Reads what a call says of its places; undefined where all of them count fully.
 *
 * @param axis of the channels
 *
 * @throws ERR_SHAPE, ERR_TYPE, ERR_MASK
 */
export function readMask(subject: string, plan: Plan, axis: number, options: MaskOptions): Mask | undefined {
  const read = readPlaces(subject, plan.shape, [axis], options);
  return read && maskOf(plan, read.values, read.byFeature && plan.channels > 1);
}

/** Weights of the places of a batch. */
export interface Places {
  /** In the order of memory; for all features at once, unless `byFeature`. */
  readonly values: Float32Array;
  readonly byFeature: boolean;
}

/**
 * Reads what a call says of its places; undefined where all of them count fully.
 *
 * @param features axes that a mask need not have: those of channels, or of what is normalised
 *
 * @throws ERR_SHAPE, ERR_TYPE, ERR_MASK
 */
export function readPlaces(
  subject: string,
  shape: readonly number[],
  features: readonly number[],
  { mask, lengths, weights }: MaskOptions,
): Places | undefined {
  if (mask === undefined && lengths === undefined && weights === undefined) return undefined;
  const selects =
    mask === undefined ? undefined : readField(subject, 'mask', mask, shape, features, firstNoFlag, '0 or 1');
  const weighs =
    weights === undefined
      ? undefined
      : readField(subject, 'weights', weights, shape, features, firstNoWeight, 'finite values of 0 or more');
  // behind the samples, and where features leave none, the first of them
  const time = Math.max(
    shape.findIndex((_, i) => i > 0 && !features.includes(i)),
    1,
  );
  const until = lengths === undefined ? undefined : readLengths(subject, lengths, shape, time);
  const tells = (field: Axes | undefined) => features.some((axis) => field && field.strides[axis] > 0);
  const byFeature = tells(selects) || tells(weighs) || (until !== undefined && features.includes(time));

  const dims = shape.map((length, i) => (features.includes(i) && !byFeature ? 1 : length));
  const values = new Float32Array(countOf(dims));
  const fields = [selects, weighs].filter((field) => field !== undefined);
  if (fields[0]?.data.length === values.length) values.set(fields.shift()!.data as ArrayLike<number>);
  else values.fill(1);
  for (const field of fields) multiply(values, dims, field);
  if (until) {
    // steps, and what lies within one and around
    const inner = countOf(dims.slice(time + 1));
    const outer = countOf(dims.slice(1, time));
    const whole = outer * dims[time] * inner;
    until.forEach((length, n) => {
      for (let o = 0; o < outer; o++) {
        const from = n * whole + o * dims[time] * inner;
        values.fill(0, from + length * inner, from + dims[time] * inner);
      }
    });
  }
  return areOnes(values) ? undefined : { values, byFeature };
}

function areOnes(values: Float32Array): boolean {
  for (let i = 0; i < values.length; i++) if (values[i] !== 1) return false;
  return true;
}

/**
 * Multiplies values of these dimensions by those of a field, whose strides are 0 along what it does
 * not tell apart.
 */
function multiply(values: Float32Array, dims: readonly number[], { data, strides }: Axes): void {
  const last = dims.length - 1;
  const width = dims[last];
  const step = strides[last];
  const place = dims.map(() => 0);
  let from = 0;
  for (let i = 0; i < values.length; i += width) {
    for (let j = 0, at = from; j < width; j++, at += step) {
      // a weight of 0 is 0, whatever the other mask holds there
      const value = +data[at];
      values[i + j] = value === 0 ? 0 : values[i + j] * value;
    }
    for (let a = last - 1; a >= 0; a--) {
      from += strides[a];
      if (++place[a] < dims[a]) break;
      from -= strides[a] * dims[a];
      place[a] = 0;
    }
  }
}

/** A mask of weights by place, or of every element. */
export function maskOf(plan: Plan, values: Float32Array, byChannel: boolean): Mask {
  const { kernel, outer, channels, inner } = plan;
  // weights of every element: rows of channels as planes of one
  const read: Plan = byChannel && kernel === 'nxc' ? { ...plan, kernel: 'ncx' } : plan;
  let real = false;
  const [sampleStep, channelStep] = byChannel ? [channels * inner, inner] : [inner, 0];
  const total = new Float64Array(channels);
  const square = new Float64Array(channels);
  const count = (c: number, from: number, to: number) => {
    let sum = 0;
    let squares = 0;
    for (let i = from; i < to; i++) {
      const value = values[i];
      sum += value;
      squares += value * value;
      if (value !== 0 && value !== 1) real = true;
    }
    total[c] += sum;
    square[c] += squares;
  };
  if (!byChannel) count(0, 0, values.length);
  else
    for (let n = 0; n < outer; n++)
      for (let c = 0; c < channels; c++) count(c, (n * channels + c) * inner, (n * channels + c + 1) * inner);
  if (!byChannel) {
    total.fill(total[0]);
    square.fill(square[0]);
  }
  return {
    plan: read,
    places: real ? values.map((value) => (value === 0 ? 0 : 1)) : values,
    weights: real ? values : undefined,
    sampleStep,
    channelStep,
    total,
    effective: total.map((sum, c) => (sum === 0 ? 0 : (sum * sum) / square[c])),
  };
}

/** A field, and from one of its values to the next along each axis of the batch. */
interface Axes {
  readonly data: ArrayLike<number | boolean>;
  readonly strides: readonly number[];
}

/** Where the first value lies that is neither true nor false; −1: nowhere. */
function firstNoFlag(data: ArrayLike<unknown>): number {
  for (let i = 0; i < data.length; i++) {
    const value = data[i];
    if (value !== 0 && value !== 1 && value !== true && value !== false) return i;
  }
  return -1;
}

/** Where the first value lies by which nothing can be weighed. */
function firstNoWeight(data: ArrayLike<unknown>): number {
  for (let i = 0; i < data.length; i++) {
    const value = data[i];
    if (!(typeof value === 'number' && value >= 0 && Number.isFinite(Math.fround(value)))) return i;
  }
  return -1;
}

function readField(
  subject: string,
  name: string,
  field: Field,
  shape: readonly number[],
  features: readonly number[],
  firstBad: (data: ArrayLike<unknown>) => number,
  expected: string,
): Axes {
  const isRecord = typeof field === 'object' && field !== null && ('shape' in field || 'dims' in field);
  const data = isRecord ? (listOf(field.data) as Axes['data'] | undefined) : undefined;
  if (!data) throw wrongKind('ERR_TYPE', subject, name, '{ data, shape }', show(field));
  const given = Array.from(shapeOf(field as never) ?? []) as number[];
  const short = shape.filter((_, i) => !features.includes(i));
  const full = given.length > short.length;
  const against = full ? shape : short;
  if (given.length > shape.length || given.some((length, i) => length !== 1 && length !== against[i])) {
    const wanted = `shape ${showShape(short)} or ${showShape(shape)}, with 1 for any length`;
    throw wrongValue('ERR_SHAPE', subject, name, wanted, showShape(given));
  }
  const size = countOf(given);
  if (data.length !== size) {
    throw wrongValue(
      'ERR_SHAPE',
      subject,
      `${name}.data`,
      `${size} values`,
      `${data.length}`,
      `shape ${showShape(given)}`,
    );
  }
  const bad = firstBad(data);
  if (bad >= 0) throw wrongValue('ERR_MASK', subject, name, expected, show(data[bad]), `value ${bad}`);
  const own = given.map((length, i) => (length === 1 ? 0 : countOf(given.slice(i + 1))));
  let place = 0;
  const strides = shape.map((_, i) => (features.includes(i) && !full ? 0 : (own[place++] ?? 0)));
  return { data, strides };
}

/** How many steps of each sequence count; the steps lie along the axis `time`. */
export function readLengths(subject: string, given: unknown, shape: readonly number[], time: number): number[] {
  const lengths = listOf(given);
  if (!lengths) throw wrongKind('ERR_TYPE', subject, 'lengths', 'an array of numbers', show(given));
  if (shape.length < 3) {
    throw wrongValue(
      'ERR_SHAPE',
      subject,
      'lengths',
      'x of rank 3 or more',
      `rank ${shape.length}`,
      `shape ${showShape(shape)}`,
    );
  }
  if (lengths.length !== shape[0]) {
    throw wrongValue('ERR_SHAPE', subject, 'lengths', `${shape[0]} values, one for each sequence`, `${lengths.length}`);
  }
  const steps = shape[time];
  return Array.from(lengths, (length, n) => {
    if (Number.isInteger(length) && (length as number) >= 0 && (length as number) <= steps) return length as number;
    throw wrongValue('ERR_MASK', subject, 'lengths', `integers from 0 to ${steps}`, show(length), `sequence ${n}`);
  });
}
