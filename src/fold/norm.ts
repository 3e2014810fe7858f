// What folding folds: a batch norm in evaluation as a map by channel, y = x·scale + shift, in f64.

import { type EvenkeelError, show, wrongKind, wrongMoment, wrongValue } from '../errors.ts';
import { composedMaps } from '../graph/weights.ts';
import type { Activation } from '../kernels/activations.ts';
import { checkEps } from '../layers/options.ts';
import { checkNames } from '../named-options.ts';
import { BatchNorm } from '../norms/batch-norm.ts';
import { evaluationMap } from '../passes/coefficients.ts';

/** Statistics and parameters of a batch norm; each vector has one value per channel. */
export interface Statistics {
  /** Mean of each channel, `[C]`. */
  readonly mean: ArrayLike<number>;
  /** Variance of each channel, `[C]`: divided by the count, not the count less one. */
  readonly variance: ArrayLike<number>;
  /** Scale of each channel, `[C]`. Default: 1 for all. */
  readonly gamma?: ArrayLike<number> | null;
  /** Shift of each channel, `[C]`. Default: 0 for all. */
  readonly beta?: ArrayLike<number> | null;
  /** Added to the variance, under the root. Default 1e-5. */
  readonly eps?: number;
}

/** A map by channel: y = x·scale + shift. */
export interface Scale {
  /** Factor of each channel, `[C]`. */
  readonly scale: ArrayLike<number>;
  /** Addend of each channel, `[C]`. Default: 0 for all. */
  readonly shift?: ArrayLike<number> | null;
}

/**
 * A batch norm as folding takes it: a layer in evaluation mode, its statistics, or the map that
 * they amount to.
 */
export type Norm = BatchNorm | Statistics | Scale;

export interface Affine {
  readonly scale: Float64Array;
  readonly shift: Float64Array;
  readonly activation: Activation | undefined;
}

export function isNorm(value: unknown): value is Norm {
  if (value instanceof BatchNorm) return true;
  return typeof value === 'object' && value !== null && ('scale' in value || 'mean' in value);
}

/**
 * A norm's map.
 *
 * @throws ERR_FOLD for a layer in training mode or without running statistics, and for values that
 *   are not finite or variances below 0
 */
export function affineOf(subject: string, norm: Norm): Affine {
  if (norm instanceof BatchNorm) return affineOfLayer(norm);
  checkNames(subject, norm, 'scale' in norm ? ['scale', 'shift'] : ['mean', 'variance', 'gamma', 'beta', 'eps']);
  if ('scale' in norm) {
    const scale = vector(subject, 'scale', norm.scale);
    const shift =
      norm.shift == null ? new Float64Array(scale.length) : vector(subject, 'shift', norm.shift, scale.length);
    return { scale, shift, activation: undefined };
  }
  const mean = vector(subject, 'mean', norm.mean);
  const optional = (name: 'gamma' | 'beta') =>
    norm[name] == null ? undefined : vector(subject, name, norm[name], mean.length);
  if (norm.variance == null) throw missing(subject, 'variance');
  const variance = vector(subject, 'variance', norm.variance, mean.length);
  const { eps = 1e-5 } = norm;
  checkEps(subject, eps);
  return mapOf(subject, mean, variance, eps, optional('gamma'), optional('beta'), undefined);
}

function affineOfLayer(bn: BatchNorm): Affine {
  const { subject } = bn;
  if (bn.training && !bn.frozen) {
    throw wrongMoment('ERR_FOLD', subject, 'fold', 'a layer in evaluation mode', 'one in training mode');
  }
  const state = bn.stateDict();
  if (!state.runningMean) throw missing(subject, 'running statistics');
  const { gamma, beta, runningMean, runningVar } = state;
  const read = (name: string, entry: { data: ArrayLike<number> } | undefined) =>
    entry && vector(subject, name, entry.data);
  return mapOf(
    subject,
    vector(subject, 'runningMean', runningMean.data),
    vector(subject, 'runningVar', runningVar.data),
    bn.options.eps,
    read('gamma', gamma),
    read('beta', beta),
    bn.options.activation,
  );
}

function mapOf(
  subject: string,
  mean: Float64Array,
  variance: Float64Array,
  eps: number,
  gamma: Float64Array | undefined,
  beta: Float64Array | undefined,
  activation: Activation | undefined,
): Affine {
  const negative = variance.findIndex((value) => value < 0);
  if (negative >= 0) {
    throw wrongValue(
      'ERR_FOLD',
      subject,
      'variance',
      'values of 0 or more',
      `${variance[negative]}`,
      `channel ${negative}`,
    );
  }
  const scale = new Float64Array(mean.length);
  const shift = new Float64Array(mean.length);
  evaluationMap(mean, variance, eps, gamma, beta, scale, shift);
  return { scale, shift, activation };
}

function vector(subject: string, argument: string, given: ArrayLike<number>, channels?: number): Float64Array {
  if (typeof given !== 'object' || given === null || typeof given.length !== 'number') {
    throw wrongKind('ERR_TYPE', subject, argument, 'an array of numbers', show(given));
  }
  if (given.length === 0 || (channels !== undefined && given.length !== channels)) {
    throw wrongValue('ERR_FOLD', subject, argument, `${channels ?? 'some'} values`, `${given.length}`);
  }
  const values = Float64Array.from(given);
  const bad = values.findIndex((value) => !Number.isFinite(value));
  if (bad >= 0) {
    throw wrongValue('ERR_FOLD', subject, argument, 'finite values', `${values[bad]}`, `channel ${bad}`);
  }
  return values;
}

function missing(subject: string, what: string): EvenkeelError {
  return wrongMoment('ERR_FOLD', subject, 'fold', what, 'none');
}

/**
 * Norms in a row as one map, in f64:
 *
 *   y = (x·scale₁ + shift₁)·scale₂ + shift₂, and so on
 *
 * The result can be folded in turn.
 *
 *     const { scale, shift } = foldNorms(bn1, bn2);
 *
 * @param first the norm that data passes first
 * @throws ERR_FOLD as `foldLinear` for one norm; for different numbers of channels; for an
 *   activation between two norms
 */
export function foldNorms(
  first: Norm,
  ...others: readonly Norm[]
): {
  /** `[C]`. */
  scale: Float64Array;
  /** `[C]`. */
  shift: Float64Array;
} {
  const subject = 'foldNorms';
  let folded = affineOf(subject, first);
  for (const norm of others) {
    if (folded.activation) throw betweenNorms(subject, folded.activation);
    folded = chain(subject, folded, affineOf(subject, norm));
  }
  if (folded.activation) throw betweenNorms(subject, folded.activation);
  return { scale: folded.scale, shift: folded.shift };
}

function chain(subject: string, first: Affine, second: Affine): Affine {
  const { length } = first.scale;
  if (second.scale.length !== length) {
    throw wrongValue('ERR_FOLD', subject, 'a norm', `${length} channels`, `${second.scale.length}`);
  }
  const center = new Float64Array(length);
  const { scale, shift } = composedMaps({ center, ...first }, { center, ...second });
  return { scale, shift, activation: second.activation };
}

/** An activation stands where a map would have to go through it. */
export function betweenNorms(subject: string, activation: Activation): EvenkeelError {
  const name = typeof activation === 'string' ? activation : activation.name;
  return wrongValue('ERR_FOLD', subject, 'a norm before another map', 'no activation', `'${name}'`);
}
