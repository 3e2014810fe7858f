// Batch norm folded into the weights beside it, in f64: after a linear or convolution layer W′ =
// W·scale by output channel and b′ = b·scale + shift; before one W′ = W·scale by input channel and
// b′ = b + Σ W·shift.

import { show, wrongKind, wrongValue } from '../errors.ts';
import { type ExactWeights, foldedBefore, foldedBehind, roundingOf } from '../graph/weights.ts';
import type { Activation } from '../kernels/activations.ts';
import { checkNames } from '../named-options.ts';
import type { Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d } from '../nn/conv.ts';
import { Linear } from '../nn/linear.ts';
import { locate } from '../tensors/call.ts';
import type { TensorLike } from '../tensors/tensor.ts';
import { convolve } from './convolve.ts';
import { type ConvWeights, convGeometry, type Geometry, type LinearWeights, linearGeometry } from './geometry.ts';
import { type Affine, affineOf, betweenNorms, isNorm, type Norm } from './norm.ts';

/** A convolution as a layer. */
export type Convolution = Conv1d | Conv2d | Conv3d | ConvTranspose1d | ConvTranspose2d;

/** Options of `foldLinear` and `foldConv`. */
export interface FoldOptions {
  /**
   * Inputs of the first of the two layers: the error on them is measured. `[N, in]`, or as a
   * convolution takes them in its layout.
   */
  samples?: TensorLike;
}

/**
 * What the rounding of the folded weights to f32 can do to the output, per output channel. The
 * arithmetic of running them comes on top.
 */
export interface Certificate {
  /** Σ|W′ − exact| over the channel's weights: the error for inputs of magnitude 1. */
  readonly weights: Float64Array;
  /** |b′ − exact|. */
  readonly bias: Float64Array;
  /** The largest error for inputs no larger than `magnitude`: weights·magnitude + bias. */
  bound(magnitude: number): Float64Array;
  /** The largest error on the samples, both sides worked out in f64; null without samples. */
  readonly measured: Float64Array | null;
  /** The bound for the largest magnitude among the samples; null without samples. */
  readonly sampleBound: Float64Array | null;
}

/** The layer as it was given, with the folded weights, and what they are worth. */
export type Folded<L> = Omit<L, 'weight' | 'bias'> & {
  /** In the layout and the shape of the weight that was given. */
  readonly weight: Float32Array;
  /** One value per output channel. */
  readonly bias: Float32Array;
  /** What the norm applied to its output, which is still to be done; undefined without. */
  readonly activation: Activation | undefined;
  /** What rounding to f32 can do to the output. */
  readonly certificate: Certificate;
};

/**
 * Folds a batch norm into a fully connected layer, in f64:
 *
 *   behind the layer W′ = W·scale by output, b′ = b·scale + shift
 *   before the layer W′ = W·scale by input, b′ = b + Σ W·shift
 *
 * with scale = gamma/√(variance + eps) and shift = beta − mean·scale. Arguments stand in the order
 * in which data passes them: `foldLinear(linear, bn)`, or `foldLinear(bn, linear)` for a norm
 * before the layer. Nothing is changed in place.
 *
 *     const { weight, bias } = foldLinear(fc, bn.eval());
 *
 * @param linear a layer, or its weights
 * @param norm a layer in evaluation mode, its statistics, or a map
 * @param options `samples`, on which the error is measured
 * @throws ERR_FOLD for a norm in training mode, without statistics, with variances below 0 or
 *   values that are not finite, for channel counts that differ, for an activation between the two,
 *   and for folded weights beyond f32; ERR_SHAPE, ERR_TYPE, ERR_OPTION
 */
export function foldLinear(linear: Linear | LinearWeights, norm: Norm, options?: FoldOptions): Folded<LinearWeights>;
/**
 * The same with the norm before the layer.
 *
 * @throws as with the norm behind the layer
 */
export function foldLinear(norm: Norm, linear: Linear | LinearWeights, options?: FoldOptions): Folded<LinearWeights>;
export function foldLinear(
  first: Linear | LinearWeights | Norm,
  second: Linear | LinearWeights | Norm,
  options: FoldOptions = {},
): Folded<LinearWeights> {
  const subject = 'foldLinear';
  const { layer, norm, before } = inOrder<Linear | LinearWeights>(subject, first, second);
  const plain = layer instanceof Linear ? plainLinear(layer) : layer;
  return fold(subject, plain, linearGeometry(subject, plain), norm, before, options);
}

/**
 * Folds a batch norm into a convolution of 1, 2 or 3 axes, a layer or its weights, with the
 * formulas of `foldLinear`: PyTorch's and Keras' layouts, transposed, grouped, depthwise. A layer
 * comes back as weights, on samples with channels first whatever its own layout. Arguments stand in
 * the order in which data passes them: `foldConv(conv, bn)`, or `foldConv(bn, conv)`.
 *
 *     const { weight, bias } = foldConv(conv, bn.eval());
 *
 * A norm before the layer is refused where the layer pads with zeros, unless its shift is 0: in the
 * unfolded pair the zeros come after the norm, in the folded one they would go through it, and
 * values at the border differ. Likewise before a transposed layer, whose outputs do not all see as
 * many inputs.
 *
 * @param conv a layer
 * @param norm a layer in evaluation mode, its statistics, or a map
 * @param options `samples`, on which the error is measured
 * @throws as `foldLinear`
 */
export function foldConv(conv: Convolution, norm: Norm, options?: FoldOptions): Folded<ConvWeights>;
/**
 * The same with the norm before the layer.
 *
 * @throws as with the norm behind the layer
 */
export function foldConv(norm: Norm, conv: Convolution, options?: FoldOptions): Folded<ConvWeights>;
/**
 * The same for the weights of a layer, which come back in the form in which they were given.
 *
 * @throws as with a layer
 */
export function foldConv<C extends ConvWeights>(conv: C, norm: Norm, options?: FoldOptions): Folded<C>;
/**
 * The same for the weights of a layer, with the norm before it.
 *
 * @throws as with a layer
 */
export function foldConv<C extends ConvWeights>(norm: Norm, conv: C, options?: FoldOptions): Folded<C>;
export function foldConv(
  first: Convolution | ConvWeights | Norm,
  second: Convolution | ConvWeights | Norm,
  options: FoldOptions = {},
): Folded<ConvWeights> {
  const subject = 'foldConv';
  const { layer, norm, before } = inOrder<Convolution | ConvWeights>(subject, first, second);
  const plain: ConvWeights = isConvolution(layer) ? layer.plain() : layer;
  const geometry = convGeometry(subject, plain);
  return fold(subject, plain, geometry, norm, before, options);
}

/** Asked by its method, so that who folds weights alone bundles no layer. */
function isConvolution(layer: Convolution | ConvWeights): layer is Convolution {
  return typeof (layer as Partial<Convolution> | null)?.plain === 'function';
}

function plainLinear(linear: Linear): LinearWeights {
  const { weight, bias } = linear.stateDict();
  return { weight: weight.data, bias: bias?.data ?? null, shape: weight.shape };
}

/** Which of two arguments is the norm. */
function inOrder<L>(subject: string, first: unknown, second: unknown): { layer: L; norm: Affine; before: boolean } {
  const before = isNorm(first);
  if (before === isNorm(second)) {
    throw wrongKind(
      'ERR_TYPE',
      subject,
      'the arguments',
      'a layer and a norm, in either order',
      before ? 'two norms' : `${show(first)} and ${show(second)}`,
    );
  }
  const norm = affineOf(subject, (before ? first : second) as Norm);
  if (before && norm.activation) throw betweenNorms(subject, norm.activation);
  return { layer: (before ? second : first) as L, norm, before };
}

function checkBorders(
  subject: string,
  { padding = 0, transposed = false }: Pick<ConvWeights, 'padding' | 'transposed'>,
  shift: Float64Array,
): void {
  if (shift.every((value) => value === 0)) return;
  const pads = padding === 'same' || (padding !== 'valid' && [padding].flat(2).some((value) => value !== 0));
  if (!pads && !transposed) return;
  throw wrongValue(
    'ERR_FOLD',
    subject,
    transposed ? 'a norm before a transposed layer' : 'a norm before zero padding',
    'a shift of 0, as border values would differ',
    show(shift),
  );
}

/**
 * Can a norm's scale and shift be folded into a layer, before or behind it?
 *
 * @internal
 * @throws ERR_FOLD for channel counts that differ and for a norm before a border that would differ;
 *   ERR_SHAPE
 */
export function checkFold(
  subject: string,
  layer: Omit<ConvWeights, 'weight'>,
  { inChannels, outChannels }: Pick<Geometry, 'inChannels' | 'outChannels'>,
  { scale, shift }: Pick<Affine, 'scale' | 'shift'>,
  before: boolean,
): void {
  const channels = before ? inChannels : outChannels;
  if (scale.length !== channels) {
    throw wrongValue(
      'ERR_FOLD',
      subject,
      'the norm',
      `${channels} channels, as the layer ${before ? 'takes' : 'gives'}`,
      `${scale.length}`,
    );
  }
  const { bias } = layer;
  if (bias && bias.length !== outChannels) {
    throw wrongValue('ERR_SHAPE', subject, 'bias', `${outChannels} values`, `${bias.length}`);
  }
  if (before) checkBorders(subject, layer, shift);
}

/**
 * The folded weights of a layer in f64, before they are rounded to whatever they will be stored as.
 *
 * @internal
 * @throws as `checkFold`
 */
export function exactFold(
  subject: string,
  layer: ConvWeights,
  geometry: Geometry,
  map: Pick<Affine, 'scale' | 'shift'>,
  before: boolean,
): ExactWeights {
  checkFold(subject, layer, geometry, map, before);
  return (before ? foldedBefore : foldedBehind)(layer, geometry, map);
}

function fold<L extends ConvWeights>(
  subject: string,
  layer: L,
  geometry: Geometry,
  norm: Affine,
  before: boolean,
  options: FoldOptions,
): Folded<L> {
  checkNames(subject, options, ['samples']);
  const { outChannels, outOf, inOf } = geometry;
  const { scale, shift } = norm;
  const { weight, bias } = layer;
  const exact = exactFold(subject, layer, geometry, norm, before);
  const folded = { weight: Float32Array.from(exact.weight), bias: Float32Array.from(exact.bias) };
  for (const name of ['weight', 'bias'] as const) {
    const bad = folded[name].findIndex((value) => !Number.isFinite(value));
    if (bad >= 0) {
      throw wrongValue('ERR_FOLD', subject, `the folded ${name}`, 'values that f32 holds', `${exact[name][bad]}`);
    }
  }
  // what is lost in f64 as well, so that the bound is one: every term of a sum rounds
  const lost = (weight.length / outChannels + 4) * 2 ** -52;
  const errors = {
    weights: roundingOf(exact.weight, folded.weight, geometry),
    bias: exact.bias.map((value, o) => {
      const terms = before ? 0 : Math.abs((bias ? bias[o] : 0) * scale[o]) + Math.abs(shift[o]);
      return Math.abs(value - folded.bias[o]) + terms * lost;
    }),
  };
  for (let i = 0; i < weight.length; i++) {
    const o = outOf(i);
    errors.weights[o] += Math.abs(exact.weight[i]) * lost;
    if (before) errors.bias[o] += Math.abs(weight[i] * shift[inOf(i)]) * lost;
  }
  const bound = (magnitude: number) => errors.weights.map((value, o) => value * magnitude + errors.bias[o]);
  const tested =
    options.samples === undefined ? null : measure(subject, layer, geometry, norm, before, folded, options.samples);
  return {
    ...layer,
    ...folded,
    activation: norm.activation,
    certificate: {
      ...errors,
      bound,
      measured: tested?.measured ?? null,
      sampleBound: tested && bound(tested.magnitude),
    },
  };
}

/**
 * Both sides on samples, in f64: the largest difference per output channel, and the largest input.
 */
function measure(
  subject: string,
  layer: ConvWeights,
  geometry: Geometry,
  { scale, shift }: Affine,
  before: boolean,
  folded: { weight: Float32Array; bias: Float32Array },
  samples: TensorLike,
): { measured: Float64Array; magnitude: number } {
  const input = locate(subject, 'samples', samples);
  const run = (
    weight: ArrayLike<number>,
    bias: ArrayLike<number> | null | undefined,
    map?: (value: number, channel: number) => number,
  ) => convolve(subject, layer, geometry, weight, bias, input, map);
  const pair = run(layer.weight, layer.bias, before ? (value, c) => value * scale[c] + shift[c] : undefined);
  const one = run(folded.weight, folded.bias);
  const measured = new Float64Array(geometry.outChannels);
  for (let i = 0; i < pair.length; i++) {
    const o = i % geometry.outChannels;
    const truth = before ? pair[i] : pair[i] * scale[o] + shift[o];
    measured[o] = Math.max(measured[o], Math.abs(truth - one[i]));
  }
  return { measured, magnitude: input.data.reduce((most, value) => Math.max(most, Math.abs(value)), 0) };
}
