// Batch norm in f64, as in Ioffe and Szegedy (2015, arXiv:1502.03167): what the tests compare with.
//
//   mean[c]      = Σ x / m                   over the m elements of channel c in this batch
//   variance[c]  = Σ (x − mean[c])² / m
//   x̂            = (x − mean[c]) / √(variance[c] + eps)
//   y            = gamma[c]·x̂ + beta[c]      training: statistics of the batch;
//                                            evaluation: runningMean and runningVar
//   runningMean ← (1 − momentum)·runningMean + momentum·mean
//   runningVar  ← (1 − momentum)·runningVar + momentum·variance·m/(m − 1)
//   dbeta[c]     = Σ dy
//   dgamma[c]    = Σ dy·x̂
//   dx           = gamma[c]/√(variance[c] + eps) · (dy − dbeta[c]/m − x̂·dgamma[c]/m)   training
//   dx           = gamma[c]/√(variance[c] + eps) · dy                                  evaluation

type Values = ArrayLike<number>;
type Statistics = { mean: Values; variance: Values; count?: number };
/** Without gamma its values are 1, without beta 0, without eps 1e-5. */
type Affine = { gamma?: Values; beta?: Values; eps?: number };

/** The channel of element `i` of a tensor. Axis 1 holds the channels, or the last one. */
export function channelsOf(shape: readonly number[], layout = 'channels-first') {
  const last = layout === 'channels-last';
  const inner = last ? 1 : shape.slice(2).reduce((size, length) => size * length, 1);
  return (i: number): number => Math.floor(i / inner) % shape[last ? shape.length - 1 : 1];
}

/** Mean and biased variance of each channel; `count` is m. */
export function statisticsOf(x: Values, channels: number, channelOf: (i: number) => number) {
  const count = x.length / channels;
  const mean = new Float64Array(channels);
  const variance = new Float64Array(channels);
  for (let i = 0; i < x.length; i++) mean[channelOf(i)] += x[i];
  for (let c = 0; c < channels; c++) mean[c] /= count;
  for (let i = 0; i < x.length; i++) variance[channelOf(i)] += (x[i] - mean[channelOf(i)]) ** 2;
  for (let c = 0; c < channels; c++) variance[c] /= count;
  return { mean, variance, count };
}

/** y for one value of channel `c`. */
export function normalized(value: number, c: number, { mean, variance }: Statistics, affine: Affine = {}): number {
  const { gamma, beta, eps = 1e-5 } = affine;
  return ((value - mean[c]) / Math.sqrt(variance[c] + eps)) * (gamma?.[c] ?? 1) + (beta?.[c] ?? 0);
}

/** The running statistics after one training batch. */
export function movedBy(running: Statistics, batch: ReturnType<typeof statisticsOf>, momentum = 0.1) {
  const unbiased = batch.count / (batch.count - 1);
  const moved = (old: Values, batch: Float64Array) => batch.map((now, c) => (1 - momentum) * old[c] + momentum * now);
  return {
    mean: moved(running.mean, batch.mean),
    variance: moved(
      running.variance,
      batch.variance.map((v) => v * unbiased),
    ),
  };
}

/** dx, dgamma and dbeta. `count` is m in training; without it, the statistics are constants. */
export function gradients(
  x: Values,
  dy: Values,
  channelOf: (i: number) => number,
  statistics: Statistics,
  { gamma, eps }: Affine,
) {
  const { count = Number.POSITIVE_INFINITY, mean, variance } = statistics;
  const dgamma = new Float64Array(mean.length);
  const dbeta = new Float64Array(mean.length);
  const hat = Float64Array.from(x, (value, i) => normalized(value, channelOf(i), statistics, { eps }));
  hat.forEach((value, i) => {
    dgamma[channelOf(i)] += dy[i] * value;
    dbeta[channelOf(i)] += dy[i];
  });
  const dx = hat.map((value, i) => {
    const c = channelOf(i);
    const centred = dy[i] - dbeta[c] / count - (value * dgamma[c]) / count;
    return ((gamma?.[c] ?? 1) / Math.sqrt(variance[c] + (eps ?? 1e-5))) * centred;
  });
  return { dx, dgamma, dbeta };
}
