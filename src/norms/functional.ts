import { show, wrongKind, wrongValue } from '../errors.ts';
import { type Activation, activationCode } from '../kernels/activations.ts';
import { backend } from '../kernels/backend.ts';
import { affine } from '../kernels/inference/calls.ts';
import { checkEps, checkLayout } from '../layers/options.ts';
import { checkNames } from '../named-options.ts';
import { evaluationMap } from '../passes/coefficients.ts';
import { planOf } from '../passes/plan.ts';
import { locate, produce, targetOf } from '../tensors/call.ts';
import { checkShape, shapeOf } from '../tensors/shape.ts';
import type { Result, TensorLike } from '../tensors/tensor.ts';
import { floatsOf } from '../typed-arrays.ts';
import type { Layout } from '../types.ts';

/** Statistics and parameters of the functional form; each vector has one value per channel. */
export interface BatchNormArguments<O extends TensorLike = TensorLike> {
  /** Mean of each channel, `[C]`. Its length says how many channels there are. */
  mean: Float32Array | readonly number[];
  /** Variance of each channel, `[C]`, 0 or more: divided by the count, not the count less one. */
  variance: Float32Array | readonly number[];
  /** Scale of each channel, `[C]`. Default: 1 for all. */
  gamma?: Float32Array | readonly number[] | null;
  /** Shift of each channel, `[C]`. Default: 0 for all. */
  beta?: Float32Array | readonly number[] | null;
  /** Added to the variance, under the root. Default 1e-5. */
  eps?: number;
  /** Where the channels lie. Default `'channels-first'`. */
  layout?: Layout;
  /** Applied to the output in the same pass. Default: none. */
  activation?: Activation;
  /** Added before the activation: a tensor of x's shape. Default: none. */
  residual?: TensorLike;
  /** Where to write the output: a tensor of x's shape, or x itself for in-place work. */
  out?: O;
}

/** The norms of a cell. */
const NAMES = ['mean', 'variance', 'gamma', 'beta', 'eps', 'layout', 'activation', 'residual', 'out'];
const SUBJECT = 'batchNorm';

/**
 * Batch normalization in evaluation form, without a layer:
 *
 *   y = f((x − mean)/√(variance + eps)·gamma + beta + residual)
 *
 * with f the activation.
 *
 *     const y = batchNorm(x, { mean, variance, gamma, beta, activation: 'relu' });
 *
 * @param x `[N, C, ...]`, or `[N, ..., C]` with `layout: 'channels-last'`; rank 2 or more
 * @returns `out`, or new memory of x's kind, of x's shape
 * @throws ERR_SHAPE for another rank or channel count; ERR_TYPE for vectors that are no numbers;
 *   ERR_OPTION for an unknown option or a negative variance; ERR_ALIAS for an `out` that overlaps
 *   an input in part; ERR_DISPOSED, ERR_MEMORY
 */
export function batchNorm<X extends TensorLike, O extends TensorLike = Result<X>>(
  x: X,
  settings: BatchNormArguments<O>,
): O {
  checkNames(SUBJECT, settings, NAMES);
  const { eps = 1e-5, layout = 'channels-first' } = settings;
  checkEps(SUBJECT, eps);
  checkLayout(SUBJECT, layout);
  const activation = activationCode(SUBJECT, settings.activation);
  let channels = 0;
  /** A vector, read once and checked: as long as the first. */
  const read = (name: 'mean' | 'variance' | 'gamma' | 'beta'): ArrayLike<number> => {
    const given = settings[name];
    const values = floatsOf(given) ?? (Array.isArray(given) && Array.from(given));
    if (!values || !Array.prototype.every.call(values, (value) => typeof value === 'number')) {
      throw wrongKind('ERR_TYPE', SUBJECT, name, 'a Float32Array or an array of numbers', show(given));
    }
    channels ||= values.length;
    if (values.length && values.length === channels) return values;
    const expected = channels ? `${channels} values, as many as mean` : 'a value per channel';
    throw wrongValue('ERR_SHAPE', SUBJECT, name, expected, `${values.length}`);
  };
  const [mean, variance] = [read('mean'), read('variance')];
  const [gamma, beta] = (['gamma', 'beta'] as const).map((name) => (settings[name] == null ? undefined : read(name)));
  if (Array.prototype.some.call(variance, (v) => v < 0)) {
    throw wrongValue('ERR_OPTION', SUBJECT, 'variance', 'values of 0 or more', show(variance));
  }
  // before memory is taken: a vector may be a view of it
  const [scale, shift, center] = Array.from({ length: 3 }, () => new Float32Array(channels));
  const centred = evaluationMap(mean, variance, eps, gamma, beta, scale, shift, center);
  const input = locate(SUBJECT, 'x', x);
  const plan = planOf(SUBJECT, shapeOf(input), channels, layout, [2, Number.POSITIVE_INFINITY]);
  const residual = settings.residual === undefined ? undefined : locate(SUBJECT, 'residual', settings.residual);
  if (residual) checkShape(SUBJECT, 'residual', shapeOf(residual), plan.shape, 'shape');
  const product = {
    subject: SUBJECT,
    like: x,
    shape: plan.shape,
    out: settings.out,
    inputs: { x: input, residual },
    aliasing: 'in-place',
  } as const;
  return produce<O>(product, targetOf(product), (call, result) => {
    if (plan.size === 0) return;
    const current = backend();
    const at = call.input(input);
    const added = residual ? call.input(residual) : 0;
    const y = call.output(result, { x: input, at });
    const [a, b, h] = [scale, shift, center].map((vector) => call.input({ data: vector, shape: [channels] }));
    affine(current, plan, at, { center: centred ? h : 0, scale: a, shift: b }, added, y, activation);
  });
}
