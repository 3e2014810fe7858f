// What is wrong with a network, found by running one batch through it: without dropout as
// evaluation does, and twice as training does, with and without.

import { wrongValue } from '../errors.ts';
import { BOUNDS } from '../kernels/activations.ts';
import type { Layer } from '../layers/layer.ts';
import { layout as layoutOption } from '../layers/options.ts';
import { callable, readSchema } from '../named-options.ts';
import { ActivationLayer } from '../nn/activations.ts';
import { Dropout } from '../nn/dropout.ts';
import { Norm } from '../norms/norm.ts';
import { shapeOf } from '../tensors/shape.ts';
import type { TensorLike } from '../tensors/tensor.ts';
import type { Layout } from '../types.ts';
import {
  type Cause,
  type ChannelGap,
  Diagnosis,
  type DropoutDiagnosis,
  label,
  type NormDiagnosis,
  rms,
  type UnitDiagnosis,
} from './diagnosis.ts';
import { checkNet, normsOf, type ObservedNorm, runBatch, type Seen, type Watcher, watch } from './watch.ts';

/**
 * Options of `diagnose`.
 *
 * @experimental
 */
export interface DiagnoseOptions<B> {
  /** How the batch runs through the network. Default `(batch) => net.forward(batch)`. */
  forward?: (batch: B) => unknown;
  /** Where the channels lie in the network's input. Default `'channels-first'`. */
  layout?: Layout;
}

/**
 * A tanh beyond ±0.97 passes less than 6 % of a gradient on (1 − 0.97²); a sigmoid likewise, scaled
 * to ±1.
 */
const SATURATED = 0.97;
/** The share of saturated values at which a channel is reported. */
const MOSTLY = 0.5;
/** An absolute value at which a channel is reported as exploding. */
const EXPLODING = 1e4;
/** A gap of less than this share of gamma is none. */
const NO_GAP = 1e-3;
/**
 * A gap of up to this many times the gap that a batch of this size shows by chance counts as
 * chance.
 */
const BY_CHANCE = 2.5;

/**
 * What the statistics of one channel do to its output: y = gamma·(x − mean)/σ + beta by those of
 * the batch and by the running ones, over the values of the batch. With z = (x − mean)/σ of the
 * batch they differ by gamma·(z·(1 − σ/σ′) − (mean − mean′)/σ′).
 */
function gapOf(
  { effective: m, mean, variance }: Seen,
  c: number,
  running: ReturnType<ObservedNorm['engine']['evaluationAt']>,
  { estimator }: ObservedNorm,
): Omit<ChannelGap, 'channel'> {
  const { mean: means, variance: variances, gamma, eps } = running;
  const scale = Math.abs(gamma ? gamma[c] : 1);
  const sigma = Math.sqrt(variances[c] + eps);
  const ratio = Math.sqrt(variance[c] + eps) / sigma;
  const shift = (mean[c] - means[c]) / sigma;
  // what is tracked as m/(m − 1) of the batch's is the larger by that
  const byEstimator = estimator === 'unbiased' && m > 1 ? 1 - Math.sqrt((m - 1) / m) : 0;
  const rest = 1 - ratio - byEstimator;
  const parts = {
    'mean drift': scale * Math.abs(shift),
    'variance drift': scale * Math.abs(rest),
    estimator: scale * byEstimator,
  };
  const gap = scale * Math.hypot(shift, 1 - ratio);
  const chance = m > 1 ? scale * ratio * Math.sqrt(1 / m + 1 / (2 * m)) : 0;
  const largest = (Object.keys(parts) as (keyof typeof parts)[]).reduce((a, b) => (parts[b] > parts[a] ? b : a));
  const others = Math.hypot(parts['mean drift'], parts['variance drift']);
  let cause: Cause | null = largest;
  if (!(gap > NO_GAP * scale)) cause = Number.isNaN(gap) ? 'variance drift' : null;
  else if (others < parts.estimator / 4) cause = 'estimator';
  else if (gap <= BY_CHANCE * chance) cause = 'batch size';
  return {
    gap,
    meanDrift: parts['mean drift'],
    varianceDrift: parts['variance drift'],
    estimator: parts.estimator,
    batchSize: chance,
    cause,
  };
}

function diagnoseNorm(norm: ObservedNorm, seen: readonly Seen[]): NormDiagnosis[] {
  const { name, subject, engine, tracked } = norm;
  const steps = [...new Set(seen.map(({ step }) => step))];
  return steps.map((step) => {
    const runs = seen.filter((run) => run.step === step);
    const running = engine.evaluationAt(step);
    const channels = Array.from({ length: engine.description.channels }, (_, channel): ChannelGap => {
      const gaps = runs.map((run) => gapOf(run, channel, running, norm));
      const over = (of: (gap: Omit<ChannelGap, 'channel'>) => number) => rms(gaps.map(of));
      return {
        channel,
        gap: over(({ gap }) => gap),
        meanDrift: over(({ meanDrift }) => meanDrift),
        varianceDrift: over(({ varianceDrift }) => varianceDrift),
        estimator: over(({ estimator }) => estimator),
        batchSize: over(({ batchSize }) => batchSize),
        cause: gaps.reduce((worst, gap) => (gap.gap > worst.gap ? gap : worst)).cause,
      };
    });
    // the cause that has most of the squared gaps
    const shares = new Map<Cause | null, number>();
    for (const { cause, gap } of channels) shares.set(cause, (shares.get(cause) ?? 0) + gap * gap);
    const [cause] = [...shares].reduce((a, b) => (b[1] > a[1] ? b : a));
    const values = runs.reduce((sum, { count }) => sum + count, 0) / (tracked?.averages ? runs.length : 1);
    const gap = rms(channels.map((channel) => channel.gap));
    return {
      name,
      subject,
      step: steps.length > 1 || step > 0 ? step : null,
      values,
      gap,
      cause,
      channels,
    };
  });
}

/** Σ variance over the channels of all runs. */
const spread = (seen: readonly Seen[]) =>
  seen.reduce((sum, { variance, count }) => sum + count * variance.reduce((a, b) => a + b, 0), 0) /
  seen.reduce((sum, { count }) => sum + count, 0);

type Sight = ReadonlyMap<string, readonly Seen[]>;

function diagnoseDropout(net: Layer, dropped: Sight, whole: Sight): DropoutDiagnosis[] {
  const leaves = net.named();
  const found: DropoutDiagnosis[] = [];
  let last: { name: string; layer: Dropout } | undefined;
  let normBetween = false;
  const norms = normsOf(net);
  const lastNorm = norms.at(-1);
  for (const [name, layer] of leaves) {
    if (layer instanceof Dropout && layer.p > 0) {
      last = { name, layer };
      normBetween = false;
      continue;
    }
    const norm = norms.find((one) => one.name === name);
    const [on, off] = [dropped.get(name), whole.get(name)];
    if (!norm || !last || !on || !off) continue;
    const { tracked } = norm;
    const steps = [...new Set(off.map(({ step }) => step))];
    const running = tracked
      ? steps.reduce((sum, step) => sum + norm.engine.evaluationAt(step).variance.reduce((a, b) => a + b, 0), 0)
      : Number.NaN;
    const seen = steps.reduce((sum, step) => sum + spread(off.filter((run) => run.step === step)), 0);
    const ratio = spread(on) / spread(off);
    const inUse = running / seen;
    const keep = 1 - last.layer.p;
    // as far as chance alone leads with so many values
    const values = off.reduce((sum, { effective }) => sum + effective, 0) * norm.engine.description.channels;
    const far = (of: number) => !(Math.abs(of - 1) <= Math.max(0.05, 3 * Math.sqrt(2 / values)));
    const move = `move ${label(last.name, last.layer.subject)} behind the last batch norm (${label(lastNorm!.name, lastNorm!.subject)})`;
    const calibrated = tracked ? `${move}, or recalibrate(net, batches), in which dropout is off` : move;
    const remedy = far(ratio) && (!tracked || far(inUse)) ? calibrated : null;
    found.push({
      dropout: last.name,
      norm: name,
      keep,
      direct: !normBetween,
      ratio,
      expected: 1 / keep,
      running: inUse,
      remedy,
    });
    normBetween = true;
  }
  return found;
}

/** Which values are saturated, for activations that saturate. */
function saturationOf(layer: Layer): ((y: number) => boolean) | undefined {
  const activation =
    layer instanceof ActivationLayer ? layer.activation : layer instanceof Norm ? layer.fused : undefined;
  const range = activation && BOUNDS[typeof activation === 'string' ? activation : activation.name].saturates;
  if (!range) return undefined;
  const [low, high] = range;
  return (y) => Math.abs((2 * y - low - high) / (high - low)) > SATURATED;
}

/** Looks at the outputs of one layer, channel by channel. */
function diagnoseUnits(name: string, layer: Layer, y: TensorLike, axis: number): UnitDiagnosis {
  const shape = shapeOf(y);
  const channels = shape[axis];
  const inner = shape.slice(axis + 1).reduce((a, b) => a * b, 1);
  const count = y.data.length / channels;
  const saturates = saturationOf(layer);
  const result = {
    name,
    subject: layer.subject,
    channels,
    saturated: [] as number[],
    dead: [] as number[],
    exploding: [] as number[],
  };
  let beyond = 0;
  for (let c = 0; c < channels; c++) {
    let [low, high, most, share] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, 0];
    let finite = true;
    for (let i = 0; i < count; i++) {
      const value = y.data[(Math.floor(i / inner) * channels + c) * inner + (i % inner)];
      if (!Number.isFinite(value)) finite = false;
      low = Math.min(low, value);
      high = Math.max(high, value);
      most = Math.max(most, Math.abs(value));
      if (saturates?.(value)) share++;
    }
    beyond += share;
    if (share > MOSTLY * count) result.saturated.push(c);
    if (count > 1 && finite && high - low <= 1e-6 * most) result.dead.push(c);
    if (!finite || most > EXPLODING) result.exploding.push(c);
  }
  return { ...result, saturation: saturates ? beyond / y.data.length : null };
}

/**
 * Runs a batch through a network and says what is wrong with it. By layer and channel: the gap
 * between what batch norm gives in training and in evaluation, and where it comes from; dropout
 * before batch norm, and what it does to the variance (Li et al. 2018); channels that are
 * saturated, dead or exploding. Nothing changes, but that a backward needs a forward of its own
 * afterwards.
 *
 *     console.log(`${diagnose(net, batch)}`);       // a table
 *     JSON.stringify(diagnose(net, batch));
 *
 * @param batch at best as large as those of training: what chance does to a batch of its size is
 *   told apart from drift
 * @throws ERR_TYPE for anything but a network; ERR_OPTION for an unknown option; what a forward
 *   throws
 * @experimental
 */
export function diagnose<B>(net: Layer, batch: B, options: DiagnoseOptions<B> = {}): Diagnosis {
  checkNet('diagnose', net);
  const schema = { forward: callable<(batch: B) => unknown>(), layout: layoutOption() };
  const { forward, layout } = readSchema('diagnose', options, schema);
  const look = (training: boolean, dropout: boolean, output?: Watcher['output']): Map<string, Seen[]> => {
    const sight = new Map<string, Seen[]>();
    const statistics = (name: string, seen: readonly Seen[]) => {
      sight.set(name, [...(sight.get(name) ?? []), ...seen]);
    };
    const end = watch(net, { training, dropout }, { statistics, output });
    try {
      const result = runBatch(net, batch, forward);
      if (result instanceof Promise) {
        throw wrongValue('ERR_OPTION', 'diagnose', 'forward', 'a function that is done when it returns', 'a Promise');
      }
    } finally {
      end();
    }
    return sight;
  };
  const units: UnitDiagnosis[] = [];
  const axisOf = outputAxes(layout);
  const evaluation = look(false, false, (name, layer, x, y) => {
    const axis = axisOf(layer, x, y);
    if (y.data.length > 0 && shapeOf(y).length > 0) units.push(diagnoseUnits(name, layer, y, axis));
  });
  const hasDropout = net.named().some(([, layer]) => layer instanceof Dropout && layer.p > 0);
  const dropout = hasDropout ? diagnoseDropout(net, look(true, true), look(true, false)) : [];
  const norms = normsOf(net).flatMap((norm) => {
    const seen = norm.tracked && evaluation.get(norm.name);
    return seen ? diagnoseNorm(norm, seen) : [];
  });
  return new Diagnosis(norms, dropout, units);
}

/**
 * Tells along which axis the channels of each layer's output lie: where the layer does not say,
 * where they lay in its input.
 */
function outputAxes(layout: Layout): (layer: Layer, x: TensorLike, y: TensorLike) => number {
  const first = (rank: number) => (layout === 'channels-first' ? Math.min(1, rank - 1) : rank - 1);
  /**
   * By value: given the rank, the axis of its channels. Values between layers follow the last one.
   */
  const axes = new WeakMap<object, (rank: number) => number>();
  let last = first;
  return (layer, x, y) => {
    const rank = shapeOf(y).length;
    if (layer.channelAxis(rank) === undefined) last = axes.get(x.data) ?? last;
    else last = (r: number) => layer.channelAxis(r)!;
    axes.set(y.data, last);
    return last(rank);
  };
}
