// Options of the normalization layers: type, defaults and checks in one place each.

import { show, wrongValue } from '../errors.ts';
import { type Activation, type ActivationCode, activationCode, NO_ACTIVATION } from '../kernels/activations.ts';
import { checkEps, checkFeatures, layout } from '../layers/options.ts';
import { checkChoice, choice, flag, type Option, option, readSchema, type Schema } from '../named-options.ts';
import { type ChannelPlace, channelAxisOf, planAt } from '../passes/channel-axis.ts';
import type { Ranks } from '../passes/plan.ts';
import type { Layout } from '../types.ts';
import type { NormEngine } from './engine/norm-engine.ts';
import type { Unbuilt } from './norm.ts';

/** Options that every norm by channel or by row has. */
export interface AffineOptions {
  /** Added to the variance, under the root. Default 1e-5. */
  eps?: number;
  /** Learned scale and shift: both, one of them, or none. Default `true`. */
  affine?: boolean | 'gamma' | 'beta';
  /** Where the channels lie. Default `'channels-first'`. */
  layout?: Layout;
  /**
   * The axis of the channels where no layout says it, such as 2 for `[N, T, C, W]`: it counts the
   * batch, and from the end where it is negative. It goes before `layout`. Default `null`: as
   * `layout` says.
   */
  axis?: number | null;
  /** Applied to the output, in the same pass. Default none. */
  activation?: Activation;
}

/** Options of the batch normalization layers. Defaults are PyTorch's. */
export interface BatchNormOptions extends AffineOptions {
  /**
   * Weight of the new batch in the running statistics, 0 to 1. `null`: cumulative average over all
   * batches. Default 0.1.
   */
  momentum?: number | null;
  /**
   * Keep running statistics for evaluation. Without them evaluation uses the batch's own. Default
   * `true`.
   */
  trackRunningStats?: boolean;
  /** Estimator of the variance that is tracked: divided by m − 1 or by m. Default `'unbiased'`. */
  runningVariance?: 'unbiased' | 'biased';
  /**
   * One value per channel in training, where the batch has no variance.
   *
   * - `'throw'` (default): ERR_SINGLE_VALUE.
   * - `'use-running'`: learns online. The value is normalised by the running statistics, which
   *   gradients take as constants, and then moves them: with d = x − mean and w = momentum, mean ←
   *   mean + w·d and variance ← (1 − w)·(variance + w·d²) (Finch 2009). The output is that of batch
   *   renormalization with r and d unclipped.
   * - `'skip-update'`: normalises by the batch, which gives beta, and leaves the running statistics
   *   as they are.
   */
  onSingleValue?: 'throw' | 'use-running' | 'skip-update';
  /**
   * A batch whose statistics are not finite: with NaN or Inf in it, or beyond f32.
   * `nonFiniteBatches` counts such batches.
   *
   * - `'propagate'` (default): lets them into the running statistics.
   * - `'skip-update'`: computes the output, and leaves the running statistics as they are.
   * - `'throw'`: ERR_NON_FINITE, and nothing changes.
   */
  onNonFinite?: 'propagate' | 'skip-update' | 'throw';
  /**
   * Ghost batch normalization (Hoffer et al. 2017). In training, each run of this many consecutive
   * samples is normalised by its own statistics; the last run may be shorter. The running
   * statistics move once for each run. Default `null`: all samples together.
   */
  virtualBatchSize?: number | null;
}

/** Options as a norm uses them: defaults filled in, the activation as the kernels take it. */
export type Settings<O extends AffineOptions> = Required<Omit<O, 'activation'>> & { activation: ActivationCode };

export type BatchNormOptionsRead = Settings<BatchNormOptions>;

/** Options with their defaults filled in. */
export type BatchNormSettings = Required<Omit<BatchNormOptions, 'activation'>> & Pick<BatchNormOptions, 'activation'>;

/** Added to the variance, under the root. */
export const epsilon = (standard: number): Option<number> =>
  option(standard, (subject, _name, value) => checkEps(subject, value));

/** The axis of the channels, or none: as the layout says. */
export const channelAxis = (): Option<number | null> =>
  option<number | null>(null, (subject, name, value) => {
    if (value === null || (Number.isSafeInteger(value) && value !== 0)) return;
    const expected = 'an axis behind that of the samples, or null';
    throw wrongValue('ERR_OPTION', subject, name, expected, show(value));
  });

/**
 * Where the channels lie, of what `layout` and `axis` say: a layout wherever one says the same.
 *
 * @throws ERR_OPTION for an axis that no shape of these ranks has
 */
export function channelPlace(
  subject: string,
  { layout, axis }: { readonly layout: Layout; readonly axis: number | null },
  [least, most]: Ranks,
): ChannelPlace {
  if (axis === null) return layout;
  const place = least === most ? channelAxisOf(axis, most) : axis;
  // the axis of samples at the earliest, in the longest shape
  if (axis > 0 ? axis >= most : axis + most < 1) {
    const expected = `an axis behind that of the samples, of at most ${most}`;
    throw wrongValue('ERR_OPTION', subject, 'axis', expected, `${axis}`);
  }
  if (place === 1) return 'channels-first';
  return place === -1 || (least === most && place === most - 1) ? 'channels-last' : place;
}

/** Options with the place in them, so that `layout` is right wherever a layout says it. */
export function placedOptions<S extends { readonly layout: Layout; readonly axis: number | null }>(
  settings: S,
  place: ChannelPlace,
): S {
  return typeof place === 'string' ? { ...settings, layout: place, axis: null } : { ...settings, axis: place };
}

/** Learned scale and shift: both, one of them, or none. */
export const affine = (standard: boolean | 'gamma'): Option<boolean | 'gamma' | 'beta'> =>
  option<boolean | 'gamma' | 'beta'>(standard, (subject, name, value) => {
    if (typeof value !== 'boolean') checkChoice(subject, name, value, ['gamma', 'beta'], 'true, false, ');
  });

/** What is applied to the output, in the same pass. */
export const activation = (): Option<ActivationCode> => ({
  standard: NO_ACTIVATION,
  read: (subject, _name, value) => activationCode(subject, value as Activation),
});

export const momentum = (): Option<number | null> =>
  option<number | null>(0.1, (subject, name, value) => {
    if (value !== null && !(typeof value === 'number' && value >= 0 && value <= 1)) {
      throw wrongValue('ERR_OPTION', subject, name, 'a number from 0 to 1, or null', show(value));
    }
  });

export const runningVariance = (): Option<'unbiased' | 'biased'> => choice('unbiased', ['unbiased', 'biased']);

export const onSingleValue = (): Option<'throw' | 'use-running' | 'skip-update'> =>
  choice('throw', ['throw', 'use-running', 'skip-update']);

export const batchNormSchema = (): Schema<BatchNormOptionsRead> => ({
  eps: epsilon(1e-5),
  momentum: momentum(),
  affine: affine(true),
  trackRunningStats: flag(true),
  layout: layout(),
  axis: channelAxis(),
  runningVariance: runningVariance(),
  onSingleValue: onSingleValue(),
  onNonFinite: choice('propagate', ['propagate', 'skip-update', 'throw']),
  virtualBatchSize: option<number | null>(null, (subject, name, value) => {
    if (value !== null && !(Number.isInteger(value) && value >= 1)) {
      throw wrongValue('ERR_OPTION', subject, name, 'an integer of 1 or more, or null', show(value));
    }
  }),
  activation: activation(),
});

/**
 * The engine of a norm by channel; what there is instead until the first input says how many
 * channels there are.
 *
 * @param subject in errors, for so many channels
 */
export function engineOrUnbuilt(
  channels: number | null,
  subject: (channels: number | null) => string,
  place: ChannelPlace,
  ranks: Ranks,
  make: (channels: number) => NormEngine,
): NormEngine | Unbuilt {
  if (channels !== null) return make(channels);
  return {
    subject: subject(null),
    check: (shape) => {
      planAt(subject(null), shape, Number.NaN, place, ranks);
    },
    make(shape) {
      const found = shape[channelAxisOf(place, shape.length)];
      // in a graph a length that is not known is NaN
      if (Number.isNaN(found)) return undefined;
      checkFeatures(subject(null), 'channels', found);
      return make(found);
    },
  };
}

/** Reads the options of a norm by channel, whose name in errors is `kind(numFeatures)`. */
export function readNormOptions<S extends object>(
  kind: string,
  numFeatures: number | null,
  given: object,
  schema: Schema<S>,
): S {
  if (numFeatures !== null) checkFeatures(kind, 'numFeatures', numFeatures);
  const subject = `${kind}(${numFeatures})`;
  const settings = readSchema(subject, given, schema);
  const { onSingleValue, trackRunningStats }: Partial<BatchNormOptionsRead> = settings;
  if (onSingleValue === 'use-running' && trackRunningStats === false) {
    throw wrongValue('ERR_OPTION', subject, "onSingleValue 'use-running'", 'trackRunningStats: true', 'false');
  }
  return settings;
}

/** A framework whose conventions `BatchNorm.preset` knows. */
export type Preset = 'torch' | 'keras' | 'flax' | 'onnx' | 'tfjs';

/** What a preset sets, as options of `BatchNorm`. */
export type PresetOptions = Required<Pick<BatchNormOptions, 'eps' | 'momentum' | 'runningVariance' | 'layout'>>;

// Each framework's own defaults in our words. Momentum here is the weight of the new batch; Keras,
// Flax, ONNX and TF.js write the weight of the old value (0.99, 0.99, 0.9, 0.99).
const PRESETS: Record<Preset, PresetOptions> = {
  torch: { eps: 1e-5, momentum: 0.1, runningVariance: 'unbiased', layout: 'channels-first' },
  keras: { eps: 1e-3, momentum: 0.01, runningVariance: 'biased', layout: 'channels-last' },
  flax: { eps: 1e-5, momentum: 0.01, runningVariance: 'biased', layout: 'channels-last' },
  onnx: { eps: 1e-5, momentum: 0.1, runningVariance: 'biased', layout: 'channels-first' },
  tfjs: { eps: 1e-3, momentum: 0.01, runningVariance: 'biased', layout: 'channels-last' },
};

/**
 * A framework's eps, momentum, estimator of the running variance and layout, as options.
 *
 * @throws ERR_OPTION for an unknown framework
 */
export function preset(name: Preset): PresetOptions {
  checkChoice('BatchNorm.preset', 'name', name, Object.keys(PRESETS));
  return { ...PRESETS[name] };
}
