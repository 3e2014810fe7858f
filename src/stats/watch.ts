// A network looked at while it runs: what comes into its norms, with nothing moved by it.

import { show, wrongKind, wrongMoment } from '../errors.ts';
import { Layer } from '../layers/layer.ts';
import { Dropout } from '../nn/dropout.ts';
import type { ChannelEngine } from '../norms/engine/channel-engine.ts';
import type { NormalizedRun } from '../norms/engine/policy.ts';
import { Norm } from '../norms/norm.ts';
import type { RunningStats } from '../norms/statistics/running-stats.ts';
import type { RunMoments } from '../passes/run-blocks.ts';
import { type TensorLike, tidy } from '../tensors/tensor.ts';

/** What a watcher is told of a run: statistics of what came in, whichever it was normalised by. */
export interface Seen {
  /** The time step that it is, in sequences; else 0. */
  readonly step: number;
  /** Values behind each channel, with weights Σw, and what they are worth. */
  readonly count: number;
  readonly effective: number;
  /** Samples that it is made of. */
  readonly samples: number;
  readonly mean: Float64Array;
  /** Biased. */
  readonly variance: Float64Array;
  /** Are all of these finite in f32? */
  readonly finite: boolean;
}

/** A norm whose statistics may be observed. */
export interface ObservedNorm {
  readonly name: string;
  /** The layer in errors. */
  readonly subject: string;
  readonly engine: ChannelEngine;
  /** The running statistics that training moves; undefined: none. */
  readonly tracked: RunningStats | undefined;
  /** Which estimator of the variance these track. */
  readonly estimator: 'unbiased' | 'biased';
}

/**
 * The norms of a network that may keep running statistics, by name, in the order of their layers.
 */
export function normsOf(net: Layer): ObservedNorm[] {
  return net.named().flatMap(([name, layer]) => {
    const engine = layer instanceof Norm ? layer.engine.observable : undefined;
    if (!engine) return [];
    const { subject, policy } = engine.description;
    return { name, subject, engine, tracked: policy.tracked, estimator: policy.estimator };
  });
}

/** Checks that something is a layer. */
export function checkNet(subject: string, net: unknown): void {
  if (!(net instanceof Layer)) throw wrongKind('ERR_TYPE', subject, 'net', 'a Layer', show(net));
}

/** How a network runs while it is watched. */
export interface Watching {
  /** Norms normalise by the batch. */
  readonly training: boolean;
  /** Dropout drops. */
  readonly dropout: boolean;
}

/**
 * Is told of a forward's runs, whichever statistics they were normalised by; `moments` finds those
 * of what came in.
 */
export interface Watcher {
  /** Is told the statistics of what each norm normalises. */
  statistics?(name: string, seen: readonly Seen[]): void;
  /** Is told the input and the output of each layer. */
  output?(name: string, layer: Layer, x: TensorLike, y: TensorLike): void;
}

/**
 * Watches a network from now on, in the mode that `watching` says.
 *
 * @param tell is told of every forward of a norm
 * @returns ends it: every layer is in the mode in which it was, dropout goes on with the masks it
 *   would have drawn, cells with their states
 */
export function watch(net: Layer, { training, dropout }: Watching, watcher: Watcher): () => void {
  const norms = normsOf(net);
  const busy = norms.find(({ engine }) => engine.isObserved);
  if (busy) {
    const got = 'a network that is being watched already';
    throw wrongMoment('ERR_MODE', busy.subject, 'statistics', 'one at a time', got);
  }
  const leaves = net.named().map(([name, layer]) => ({ name, layer, was: layer.training }));
  for (const { layer } of leaves) layer.train(layer instanceof Dropout ? dropout : training);
  const observed = new Set(norms.map(({ name }) => name));
  const drawn = leaves.map(({ name, layer }) => (observed.has(name) ? undefined : layer.checkpoint()));
  for (const { name, engine } of norms) {
    engine.observe((runs, moments) => {
      watcher.statistics?.(
        name,
        runs.map((one) => seenOf(one, moments(one.index))),
      );
    });
  }
  if (watcher.output)
    for (const { name, layer } of leaves) layer.observe((x, y) => watcher.output?.(name, layer, x, y));
  return () => {
    for (const { engine } of norms) engine.observe(undefined);
    for (const { layer } of leaves) layer.observe(undefined);
    for (const restore of drawn) restore?.();
    for (const { layer, was } of leaves) layer.train(was);
  };
}

/** Statistics of a run, as copies. */
function seenOf({ run }: NormalizedRun, moments: RunMoments): Seen {
  const { mask, plan, step, count } = run;
  const [mean, variance] = [moments.mean.slice(), moments.variance.slice()];
  const fits = (values: Float64Array) => values.every((value) => Number.isFinite(Math.fround(value)));
  return {
    step,
    count: mask?.total[0] ?? count,
    effective: count,
    samples: plan.shape[0],
    mean,
    variance,
    finite: fits(mean) && fits(variance),
  };
}

/** Runs a batch through a network; tensors that are made for it go back. */
export function runBatch<B>(net: Layer, batch: B, forward?: (batch: B) => unknown): unknown {
  if (forward) return forward(batch);
  return tidy(() => {
    net.forward(batch as TensorLike);
  });
}
