// A network looked at while it runs: what comes into its norms, with nothing moved by it.

import { show, wrongKind, wrongMoment } from '../errors.ts';
import type { Settled } from '../layers/channel-norm.ts';
import { Layer } from '../layers/layer.ts';
import type { RunMoments } from '../layers/run-blocks.ts';
import { TrackedNorm } from '../layers/tracked-norm.ts';
import { Dropout } from '../nn/dropout.ts';
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

// biome-ignore lint/suspicious/noExplicitAny: whatever its options and ranks
export type AnyNorm = TrackedNorm<any, any>;

/**
 * The norms of a network that may keep running statistics, by name, in the order of their layers.
 */
export function normsOf(net: Layer): { readonly name: string; readonly norm: AnyNorm }[] {
  return net.named().flatMap(([name, norm]) => (norm instanceof TrackedNorm ? [{ name, norm }] : []));
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
 * Watches a network from now on, in the mode that `watching` says.
 *
 * @param tell is told of every forward of a norm
 * @returns ends it: every layer is in the mode in which it was, dropout goes on with the masks it
 *   would have drawn, cells with their states
 */
export function watch(
  net: Layer,
  { training, dropout }: Watching,
  tell: (name: string, seen: readonly Seen[]) => void,
): () => void {
  const norms = normsOf(net);
  const busy = norms.find(({ norm }) => norm.isWatched);
  if (busy) {
    throw wrongMoment(
      'ERR_MODE',
      busy.norm.subject,
      'statistics',
      'one at a time',
      'a network that is being watched already',
    );
  }
  const leaves = net.named().map(([, layer]) => layer);
  const modes = leaves.map((layer) => ({ layer, was: layer.training }));
  for (const layer of leaves) layer.train(layer instanceof Dropout ? dropout : training);
  const drawn = leaves.map((layer) => (layer instanceof TrackedNorm ? undefined : layer.checkpoint()));
  for (const { name, norm } of norms) {
    norm.watch((runs, moments) =>
      tell(
        name,
        runs.map((one) => seenOf(one, moments(one.index))),
      ),
    );
  }
  return () => {
    for (const { norm } of norms) norm.watch(undefined);
    for (const restore of drawn) restore?.();
    for (const { layer, was } of modes) layer.train(was);
  };
}

/** Statistics of a run, as copies. */
function seenOf({ run }: Settled, moments: RunMoments): Seen {
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
