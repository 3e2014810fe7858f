import { show, wrongValue } from '../../errors.ts';
import { checkNumber } from '../../named-options.ts';
import { type Entry, type Parameters, readParameters } from './parameters.ts';

/**
 * Scales gradients so that their norm, over all parameters together, is at most `max`, as
 * torch.nn.utils.clip_grad_norm_: norm = √Σ grad², in f64; where max/(norm + 1e-6) is below 1,
 * every gradient is multiplied by it. Frozen parameters have no part in it.
 *
 *     net.backward(grad);
 *     const norm = clipGradNorm(net.parameters(), 1);
 *     optimizer.step();
 *
 * @param max above 0
 * @returns the norm before
 * @throws ERR_NON_FINITE where a gradient is NaN or infinite, by its place: no gradient has changed
 *   then, and the step may be left out; ERR_TYPE, ERR_OPTION
 */
export function clipGradNorm(parameters: Parameters, max: number): number {
  const entries = readMoving('clipGradNorm', parameters, max);
  let sum = 0;
  for (const { name, parameter } of entries) {
    const { grad } = parameter;
    let part = 0;
    for (let i = 0; i < grad.length; i++) part += grad[i] * grad[i];
    if (!Number.isFinite(part)) {
      const i = grad.findIndex((value) => !Number.isFinite(value));
      throw wrongValue(
        'ERR_NON_FINITE',
        'clipGradNorm',
        `gradient of '${name}'`,
        'finite values',
        show(grad[i]),
        `value ${i}`,
      );
    }
    sum += part;
  }
  const norm = Math.sqrt(sum);
  const scale = max / (norm + 1e-6);
  if (scale < 1) for (const { parameter } of entries) scaleBy(parameter.grad, scale);
  return norm;
}

/**
 * Brings every value of every gradient into [−max, max], as torch.nn.utils.clip_grad_value_; NaN
 * stays NaN. Frozen parameters have no part in it.
 *
 *     clipGradValue(net.parameters(), 0.5);
 *
 * @param parameters `net.parameters()` or `namedParameters(net)`
 * @param max a finite number above 0
 * @throws ERR_OPTION for another `max`; ERR_TYPE for anything but parameters
 */
export function clipGradValue(parameters: Parameters, max: number): void {
  for (const { parameter } of readMoving('clipGradValue', parameters, max)) {
    const { grad } = parameter;
    for (let i = 0; i < grad.length; i++) grad[i] = Math.min(Math.max(grad[i], -max), max);
  }
}

function scaleBy(values: Float32Array, scale: number): void {
  for (let i = 0; i < values.length; i++) values[i] *= scale;
}

/** The parameters that are not frozen, each once. */
function readMoving(subject: string, parameters: Parameters, max: number): Entry[] {
  const entries = readParameters(subject, 'parameters', parameters);
  checkNumber(subject, 'max', max, 'a finite number above 0', (value) => value > 0 && value < Number.POSITIVE_INFINITY);
  const moving = entries.filter(({ parameter }) => !parameter.frozen);
  return [...new Map(moving.map((entry) => [entry.parameter, entry])).values()];
}
