import { show, showChoices, wrongKind, wrongValue } from '../errors.ts';
import { type Activation, type ActivationCode, activationCode } from '../kernels/activations.ts';
import { takeOptions } from '../named-options.ts';
import type { Layout } from '../types.ts';

/** Options that every norm by channel or by row has. */
export interface AffineOptions {
  /** Added to the variance, under the root. Default 1e-5. */
  eps?: number;
  /** Learned scale and shift: both, one of them, or none. Default `true`. */
  affine?: boolean | 'gamma' | 'beta';
  /** Where the channels lie. Default `'channels-first'`. */
  layout?: Layout;
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

const DEFAULTS: Required<Omit<BatchNormOptions, 'activation'>> = {
  eps: 1e-5,
  momentum: 0.1,
  affine: true,
  trackRunningStats: true,
  layout: 'channels-first',
  runningVariance: 'unbiased',
  onSingleValue: 'throw',
  onNonFinite: 'propagate',
  virtualBatchSize: null,
};

/** The names of these options, for norms that take others besides. */
export const batchNormOptions = () => [...Object.keys(DEFAULTS), 'activation'];

/** What every norm by channel has to know. */
export interface KinSettings {
  readonly eps: number;
  readonly layout: Layout;
  readonly activation: ActivationCode;
}

/** Checks options, and fills in these defaults. */
export function readKinOptions<O extends AffineOptions, D extends object>(subject: string, given: O, defaults: D) {
  const { activation, ...taken } = takeOptions(subject, given, [...Object.keys(defaults), 'activation']);
  const options = { ...defaults, ...taken } as D & Required<Omit<AffineOptions, 'activation'>>;
  const { eps, affine, layout } = options;
  checkEps(subject, eps);
  if (typeof affine !== 'boolean') checkChoice(subject, 'affine', affine, ['gamma', 'beta'], 'true, false, ');
  if ('layout' in defaults) checkLayout(subject, layout);
  return { ...options, activation: activationCode(subject, activation) };
}

/** Options with their defaults filled in. */
export type BatchNormSettings = Required<Omit<BatchNormOptions, 'activation'>> & Pick<BatchNormOptions, 'activation'>;

export type ResolvedOptions = ReturnType<typeof readOptions>;

/** Checks every option, and fills in the defaults. */
export function readOptions(subject: string, given: BatchNormOptions) {
  const options = readKinOptions(subject, given, DEFAULTS);
  checkTracking(subject, options);
  checkSingleValue(subject, options);
  checkChoice(subject, 'onNonFinite', options.onNonFinite, ['propagate', 'skip-update', 'throw']);
  const { virtualBatchSize } = options;
  if (virtualBatchSize !== null && !(Number.isInteger(virtualBatchSize) && virtualBatchSize >= 1)) {
    const expected = 'an integer of 1 or more, or null';
    throw wrongValue('ERR_OPTION', subject, 'virtualBatchSize', expected, show(virtualBatchSize));
  }
  return options;
}

/** Checks the policy for single values, which may need running statistics. */
export function checkSingleValue(
  subject: string,
  { onSingleValue, trackRunningStats }: Required<Pick<BatchNormOptions, 'onSingleValue' | 'trackRunningStats'>>,
): void {
  checkChoice(subject, 'onSingleValue', onSingleValue, ['throw', 'use-running', 'skip-update']);
  if (onSingleValue === 'use-running' && !trackRunningStats) {
    throw wrongValue('ERR_OPTION', subject, "onSingleValue 'use-running'", 'trackRunningStats: true', 'false');
  }
}

/** Checks what says how running statistics are kept. */
export function checkTracking(
  subject: string,
  {
    momentum,
    trackRunningStats,
    runningVariance,
  }: Required<Pick<BatchNormOptions, 'momentum' | 'trackRunningStats' | 'runningVariance'>>,
): void {
  if (momentum !== null && !(typeof momentum === 'number' && momentum >= 0 && momentum <= 1)) {
    throw wrongValue('ERR_OPTION', subject, 'momentum', 'a number from 0 to 1, or null', show(momentum));
  }
  if (typeof trackRunningStats !== 'boolean') {
    throw wrongKind('ERR_OPTION', subject, 'trackRunningStats', 'true or false', show(trackRunningStats));
  }
  checkChoice(subject, 'runningVariance', runningVariance, ['unbiased', 'biased']);
}

const MOST_FEATURES = 16_777_216;

/** Checks that a constructor was given a whole number of features. */
export function checkFeatures(subject: string, argument: string, value: unknown): void {
  if (!Number.isInteger(value) || (value as number) < 1 || (value as number) > MOST_FEATURES) {
    throw wrongValue('ERR_OPTION', subject, argument, `an integer from 1 to ${MOST_FEATURES}`, show(value));
  }
}

export function checkEps(subject: string, eps: unknown): void {
  if (typeof eps !== 'number' || !(eps >= 0) || eps === Number.POSITIVE_INFINITY) {
    throw wrongValue('ERR_OPTION', subject, 'eps', 'a finite number of 0 or more', show(eps));
  }
}

export function checkLayout(subject: string, layout: unknown): void {
  checkChoice(subject, 'layout', layout, ['channels-first', 'channels-last']);
}

export function checkChoice(
  subject: string,
  argument: string,
  value: unknown,
  choices: readonly string[],
  also = '',
): void {
  if (!choices.includes(value as string)) {
    throw wrongValue('ERR_OPTION', subject, argument, also + showChoices(choices), show(value));
  }
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
