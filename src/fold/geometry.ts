// Where an output channel, an input channel and a place in the window lie in the weights of a
// linear or convolution layer.

import { show, wrongKind, wrongValue } from '../errors.ts';
import type { WeightAxes } from '../graph/weights.ts';
import { checkChoice } from '../named-options.ts';

/** Weights of a fully connected layer. */
export interface LinearWeights {
  /** Values in the order of `layout`. */
  readonly weight: ArrayLike<number>;
  /** One value per output, `[out]`. Default: none. */
  readonly bias?: ArrayLike<number> | null;
  /** The weight's shape, in the order of `layout`. */
  readonly shape: readonly number[];
  /** `'torch'` (default): `[out, in]`. `'keras'`: `[in, out]`. */
  readonly layout?: 'torch' | 'keras';
}

/**
 * Weights of a convolution layer in 1, 2 or 3 dimensions.
 *
 * `layout: 'torch'` (default): `[out, in/groups, ...window]`, transposed `[in, out/groups,
 * ...window]`. `'keras'`: `[...window, in/groups, out]`, transposed `[...window, out/groups, in]`,
 * depthwise `[...window, in, multiplier]`.
 */
export interface ConvWeights extends LinearWeights {
  /** `true` for a transposed convolution. Default `false`. */
  readonly transposed?: boolean;
  /** Default 1. */
  readonly groups?: number;
  /**
   * Keras' depthwise layout: one group for each input channel. In PyTorch's layout it is `groups:
   * in`.
   */
  readonly depthwise?: boolean;
  /**
   * Zeros around the input: a number, one for each axis, `[before, after]` for each axis, or
   * `'same'` or `'valid'`. Default 0. Folding a norm before the layer depends on it.
   */
  readonly padding?:
    | number
    | readonly number[]
    | readonly (readonly [before: number, after: number])[]
    | 'same'
    | 'valid';
  /** Default 1. For samples only. */
  readonly stride?: number | readonly number[];
  /** Default 1. For samples only. */
  readonly dilation?: number | readonly number[];
  /** Of a transposed layer. Default 0. For samples only. */
  readonly outputPadding?: number | readonly number[];
}

/** The axes of some weights. */
export interface Geometry extends WeightAxes {
  readonly inChannels: number;
  readonly window: readonly number[];
  /** Place in the window of each weight. */
  readonly tapOf: (index: number) => number;
}

/** Reads the shape of a linear layer's weights. Throws ERR_SHAPE, ERR_TYPE, ERR_OPTION. */
export function linearGeometry(subject: string, given: LinearWeights): Geometry {
  checkWeights(subject, given);
  if (given.shape.length !== 2) throw wrongShape(subject, 'rank 2', given.shape);
  const { shape, layout } = given;
  return geometryOf(subject, { shape, layout, groups: 1, transposed: false, depthwise: false });
}

/** Reads the shape of a convolution layer's weights. Throws ERR_SHAPE, ERR_TYPE, ERR_OPTION. */
export function convGeometry(subject: string, given: ConvWeights): Geometry {
  checkWeights(subject, given);
  const rank = given.shape.length;
  if (rank < 3 || rank > 5) throw wrongShape(subject, 'rank 3 to 5', given.shape);
  return geometryOf(subject, given);
}

/** The same from the shape alone, whose rank is known. */
export function geometryOf(subject: string, given: Omit<ConvWeights, 'weight'>): Geometry {
  const { shape, layout = 'torch', transposed = false, depthwise = false, groups = 1 } = given;
  checkChoice(subject, 'layout', layout, ['torch', 'keras']);
  if (!Number.isInteger(groups) || groups < 1) {
    throw wrongValue('ERR_OPTION', subject, 'groups', 'an integer of 1 or more', show(groups));
  }
  if (depthwise && (layout !== 'keras' || transposed || groups !== 1)) {
    throw wrongValue(
      'ERR_OPTION',
      subject,
      'depthwise',
      "layout 'keras', not transposed, without groups",
      `layout '${layout}'${transposed ? ', transposed' : ''}, ${groups} groups`,
    );
  }
  const keras = layout === 'keras';
  const window = keras ? shape.slice(0, -2) : shape.slice(2);
  const [first, second] = keras ? shape.slice(-2) : shape;
  const taps = window.reduce((product, length) => product * length, 1);
  // the axis that holds all channels of its side, and the one that holds those of a group
  const whole = keras ? second : first;
  const part = keras ? first : second;
  const wholeOf = keras ? (i: number) => i % second : (i: number) => Math.floor(i / (second * taps));
  const partOf = keras ? (i: number) => Math.floor(i / second) % first : (i: number) => Math.floor(i / taps) % second;
  const tapOf = keras ? (i: number) => Math.floor(i / (first * second)) : (i: number) => i % taps;
  if (depthwise) {
    const outOf = (i: number) => partOf(i) * second + wholeOf(i);
    return { inChannels: first, outChannels: first * second, window, outOf, inOf: partOf, tapOf };
  }
  if (whole % groups) {
    throw wrongShape(subject, `a multiple of ${groups} (groups) on axis ${keras ? shape.length - 1 : 0}`, shape);
  }
  const otherOf = (i: number) => Math.floor(wholeOf(i) / (whole / groups)) * part + partOf(i);
  return transposed
    ? { inChannels: whole, outChannels: part * groups, window, outOf: otherOf, inOf: wholeOf, tapOf }
    : { inChannels: part * groups, outChannels: whole, window, outOf: wholeOf, inOf: otherOf, tapOf };
}

function checkWeights(subject: string, given: LinearWeights): void {
  if (typeof given !== 'object' || given === null) {
    throw wrongKind('ERR_TYPE', subject, 'the layer', '{ weight, bias?, shape }', show(given));
  }
  const { weight, bias, shape } = given;
  if (!Array.isArray(shape) || !shape.every((length) => Number.isInteger(length) && length >= 1)) {
    throw wrongKind('ERR_SHAPE', subject, 'shape', 'lengths of 1 or more', show(shape));
  }
  const count = shape.reduce((product, length) => product * length, 1);
  for (const [name, values] of [
    ['weight', weight],
    ['bias', bias],
  ] as const) {
    if (values == null && name === 'bias') continue;
    if (typeof values !== 'object' || values === null || typeof values.length !== 'number') {
      throw wrongKind('ERR_TYPE', subject, name, 'an array of numbers', show(values));
    }
  }
  if (weight.length !== count) {
    throw wrongValue('ERR_SHAPE', subject, 'weight', `${count} values for shape ${show(shape)}`, `${weight.length}`);
  }
}

function wrongShape(subject: string, expected: string, shape: readonly number[]): Error {
  return wrongValue('ERR_SHAPE', subject, 'shape', expected, show(shape));
}
